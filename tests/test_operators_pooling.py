"""Places of maxima, unpooling, dilation, and pooling in blocks of channels."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import LAYOUTS, guarded
from native import blocked

import convkit
from convkit import _convkit
from convkit.epilogue import activation as parse_activation
from convkit.operators.native import operator_problem
from convkit.operators.pooling import COUNT_IMAGE, COUNT_PADDING, pool

NAN, INFINITY = float("nan"), float("inf")
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(params=_convkit.available_isas())
def isa(request, checked_kernels):
    _convkit.select_isa(request.param)
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(29)


CASES = {
    # name: (h, w), window, stride, padding, dilation
    "2x2": ((8, 8), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    "resnet stem": ((13, 15), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "stride 1, more outputs than inputs": ((5, 6), (2, 2), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "uneven padding": ((10, 11), (4, 5), (2, 1), ((3, 1), (0, 4)), (1, 1)),
    "dilation": ((9, 20), (3, 2), (1, 2), ((1, 1), (0, 1)), (2, 3)),
    "dilation and stride": ((12, 13), (2, 3), (3, 2), ((1, 0), (2, 2)), (4, 2)),
    "windows without a pixel": ((2, 3), (2, 2), (1, 1), ((1, 1), (1, 1)), (3, 4)),
    "one pixel": ((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
}


def outputs(case, ceil_mode=False):
    size, window, stride, padding, dilation = CASES[case]
    found = []
    for i in range(2):
        span = size[i] + sum(padding[i]) - (window[i] - 1) * dilation[i] - 1
        count = span // stride[i] + 1
        if ceil_mode and span % stride[i] and count * stride[i] < size[i] + padding[i][0]:
            count += 1
        found.append(count)
    return found


def taps(case, p, q):
    """(row, column) of each tap of a window, in or outside the image."""
    _, window, stride, padding, dilation = CASES[case]
    for r, s in np.ndindex(*window):
        yield (
            p * stride[0] - padding[0][0] + r * dilation[0],
            q * stride[1] - padding[1][0] + s * dilation[1],
        )


def by_loops(x, case, ceil_mode=False):
    """Maxima, their places, and means by both counts, from the definition."""
    (h, w), _, _, padding, _ = CASES[case]
    rows, columns = outputs(case, ceil_mode)
    shape = (*x.shape[:2], rows, columns)
    most, places = np.full(shape, -INFINITY), np.full(shape, -1)
    sums, inside, padded = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for n, c, p, q in np.ndindex(*shape):
        at = (n, c, p, q)
        for i, j in taps(case, p, q):
            padded[at] += i < h + padding[0][1] and j < w + padding[1][1]
            if not (0 <= i < h and 0 <= j < w):
                continue
            v = x[n, c, i, j]
            sums[at] += v
            inside[at] += 1
            if places[at] < 0 or v > most[at] or np.isnan(v):
                most[at], places[at] = v, i * w + j
    with np.errstate(all="ignore"):
        return most, places, sums / inside, sums / padded


def keywords_of(case, ceil_mode):
    _, window, stride, padding, dilation = CASES[case]
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    return {"kernel": window, **settings, "ceil_mode": ceil_mode}


@DTYPES
@pytest.mark.parametrize("ceil_mode", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize("case", CASES)
def test_pooling_by_loops(case, ceil_mode, dtype, isa, rng):
    x = rng.standard_normal((2, 3, *CASES[case][0])).round(1).astype(dtype)  # with equal ones
    keywords = keywords_of(case, ceil_mode)
    most, places, mean, padded_mean = by_loops(x.astype(np.float64), case, ceil_mode)
    got, found = convkit.max_pool2d(x, **keywords, return_indices=True)
    np.testing.assert_array_equal(got, most.astype(dtype))
    np.testing.assert_array_equal(found, places)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(convkit.max_pool2d(x, **keywords), got)
    for count, want in ((COUNT_IMAGE, mean), (COUNT_PADDING, padded_mean)):
        got = pool("avg_pool", x, **keywords, count=count)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_places_of_nan(isa, rng):
    x = rng.standard_normal((1, 2, 9, 10))
    x[0, 1, 3, 4] = x[0, 1, 4, 4] = NAN
    most, places, _, _ = by_loops(np.pad(x, ((0, 0),) * 2 + ((0, 4), (0, 5))), "resnet stem")
    x = np.pad(x, ((0, 0),) * 2 + ((0, 4), (0, 5)))
    got, found = convkit.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    np.testing.assert_array_equal(got, most)
    np.testing.assert_array_equal(found, places)
    assert np.isnan(got).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_places_in_any_memory(layout, isa, rng):
    x = rng.standard_normal((2, 3, 9, 21)).astype(np.float32)
    want, places = convkit.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    view = guarded(x.shape, "float32", layout, x).array
    out = guarded(want.shape, "float32", layout)
    got, found = convkit.max_pool2d(
        view, 3, stride=2, padding=1, return_indices=True, out=out.array
    )
    assert got is out.array
    out.check("out")
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(found, places)
    back = guarded(x.shape, "float32", layout)
    convkit.max_unpool2d(got, found[::-1][::-1], 3, stride=2, output_size=(9, 21), out=back.array)
    back.check("out")
    plain = convkit.max_unpool2d(want, places, 3, stride=2, output_size=x.shape)
    np.testing.assert_array_equal(back.array, plain)


@pytest.mark.parametrize("threads", [2, 3])
def test_places_do_not_depend_on_threads(threads, isa, rng):
    x = rng.standard_normal((3, 4, 90, 91)).astype(np.float32)
    keywords = {"stride": 2, "padding": 1, "return_indices": True}
    with convkit.threads(1):
        want, places = convkit.max_pool2d(x, 3, **keywords)
    with convkit.threads(threads):
        got, found = convkit.max_pool2d(x, 3, **keywords)
        one, of_one = convkit.max_pool2d(x[1:2], 3, **keywords)
    np.testing.assert_array_equal(found, places)
    np.testing.assert_array_equal(of_one, places[1:2])
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(one, want[1:2])


# ---- unpooling


@DTYPES
def test_unpool_is_the_way_back(dtype, isa, rng):
    x = rng.standard_normal((2, 3, 8, 10)).astype(dtype)
    y, places = convkit.max_pool2d(x, 2, return_indices=True)
    got = convkit.max_unpool2d(y, places, 2)
    chosen = np.zeros(x.shape, bool)
    for n, c in np.ndindex(2, 3):
        chosen[n, c].ravel()[places[n, c].ravel()] = True
    np.testing.assert_array_equal(got, np.where(chosen, x, 0))


def test_unpool_sizes_as_pytorch():
    y, places = np.ones((1, 1, 2, 2)), np.arange(4).reshape(1, 1, 2, 2)
    assert convkit.max_unpool2d(y, places, 2).shape == (1, 1, 4, 4)
    assert convkit.max_unpool2d(y, places, 3, stride=2, padding=1).shape == (1, 1, 3, 3)
    assert convkit.max_unpool2d(y, places, 2, output_size=(5, 4)).shape == (1, 1, 5, 4)
    assert convkit.max_unpool2d(y[0], places[0], 2, output_size=(1, 5, 4)).shape == (1, 5, 4)
    assert convkit.max_unpool2d(y[0, 0], places[0, 0], 2).shape == (4, 4)


def test_of_two_values_with_one_place_the_later_stays(isa):
    y, places = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0, 0], [5, 5]])
    want = np.zeros((4, 4))
    want[0, 0], want[1, 1] = 2, 4
    np.testing.assert_array_equal(convkit.max_unpool2d(y, places, 2), want)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"indices": np.zeros((1, 2, 2), int)}, ValueError, "indices has shape .* expected"),
        ({"indices": np.zeros((1, 1, 2, 2), "i4")}, TypeError, "indices has dtype int32: expected"),
        ({"indices": [[0, 1], [2, 3]]}, TypeError, "indices is a list: expected an int64 array"),
        ({"indices": np.full((1, 1, 2, 2), 16)}, ValueError, "indices holds 16: expected 0 to 15"),
        ({"indices": np.full((1, 1, 2, 2), -1)}, ValueError, "indices holds -1: expected 0 to 15"),
        ({"kernel": 0}, ValueError, "kernel=0 must be at least 1"),
        ({"padding": 2}, ValueError, "result of 0 rows and 0 columns"),
        ({"output_size": (3, 1, 4, 4)}, ValueError, r"output_size=.* must be \(rows, columns\) or"),
        ({"out": np.zeros((4, 4))}, ValueError, r"out has shape \(4, 4\): expected \(1, 1, 4, 4\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_unpooling(arguments, error, message):
    places = np.zeros((1, 1, 2, 2), int)
    call = {"x": np.zeros((1, 1, 2, 2)), "indices": places, "kernel": 2, **arguments}
    with pytest.raises(error, match=message):
        convkit.max_unpool2d(**call)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"dilation": 0}, ValueError, "dilation=0 must be at least 1"),
        (
            {"dilation": 4},
            ValueError,
            r"kernel has 3 rows \(spread over 9 by dilation\), more than",
        ),
        ({"return_indices": 1}, TypeError, "return_indices=1 must be True or False"),
    ],
    ids=["dilation", "too wide", "flag"],
)
def test_wrong_max_pool(arguments, error, message):
    with pytest.raises(error, match=message):
        convkit.max_pool2d(np.zeros((8, 20)), 3, **arguments)


# ---- blocks of channels


def in_blocks(name, x, y_shape, fields, block, activation=None, residual=None, weights=None):
    """What the variant for nchwc makes of x, with fences and NaN around it."""
    plan = _convkit.Plan(
        name, tuple(fields._replace(x_layout=1, y_layout=1, block=block)), weights, None,
        *parse_activation(activation), -1, _convkit.NO_LIMIT,
    )  # fmt: skip
    given = blocked(x, block, True)[2]
    more = None if residual is None else blocked(residual, block, True)[2]
    whole, _, to = blocked(np.empty(y_shape, x.dtype), block, False)
    plan.run(given, more, to, 3)
    whole.check("y in blocks")
    n, c, p, q = y_shape
    inside = whole.array.reshape((n, -(-c // block), p, q, block)).transpose(0, 1, 4, 2, 3)
    lanes = inside.reshape((n, -1, p, q))
    assert not lanes[:, c:].any(), "lanes past the last channel are not zero"
    return lanes[:, :c]


LANES = {"avx512": 64, "avx2": 32}


@DTYPES
@pytest.mark.parametrize("c", [3, 16, 37])
@pytest.mark.parametrize("case", CASES)
def test_pooling_in_blocks(case, c, dtype, isa, rng):
    block = LANES.get(isa, 16) // np.dtype(dtype).itemsize
    size, window, stride, padding, dilation = CASES[case]
    x = rng.standard_normal((2, c, *size)).astype(dtype)
    sides = (*padding[0], *padding[1])
    p, q = outputs(case)
    residual = rng.standard_normal((2, c, p, q)).astype(dtype)
    for name, count in (("max_pool", 0), ("avg_pool", COUNT_IMAGE), ("avg_pool", COUNT_PADDING)):
        fields = operator_problem(
            x.dtype, x.shape, (c, p, q), window, stride, sides, count, dilation
        )
        want = pool(name, x, **keywords_of(case, False), count=count)
        for several in (1, 2):
            got = in_blocks(name, x, want.shape, fields, several * block)
            if name == "max_pool":
                np.testing.assert_array_equal(got, want)
            else:
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        with np.errstate(invalid="ignore"):
            want = 1 / (1 + np.exp(-(want + residual).astype(np.float64)))
        got = in_blocks(name, x, want.shape, fields, block, "sigmoid", residual)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@DTYPES
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (3, 11), (56, 57)], ids=str)
def test_global_mean_in_blocks(size, dtype, isa, rng):
    block = LANES.get(isa, 16) // np.dtype(dtype).itemsize
    for c in (1, 16, 37):
        x = rng.standard_normal((2, c, *size)).astype(dtype)
        want = x.mean((2, 3), dtype=np.longdouble, keepdims=True)
        bound = 4 * np.finfo(dtype).eps * np.abs(x).mean((2, 3), keepdims=True)
        fields = operator_problem(x.dtype, x.shape, (c, 1, 1))
        got = in_blocks("global_avg_pool", x, want.shape, fields, block)
        assert (np.abs(got - want) <= bound).all()
