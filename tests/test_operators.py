"""Pooling, linear, batch_norm, softmax and add against their definitions in float64."""

from __future__ import annotations

import numpy as np
import pytest

import convkit
from convkit import _convkit

NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture(params=_convkit.available_isas())
def isa(request, checked_kernels):
    _convkit.select_isa(request.param)
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(17)


DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def variants_of(x):
    """(name, array) equal to x, its elements placed differently."""
    yield "contiguous", x
    yield (
        "channels last",
        np.ascontiguousarray(np.moveaxis(x, 1, -1)).swapaxes(-1, 1).swapaxes(2, -1)
        if x.ndim == 4
        else np.ascontiguousarray(x.T).T,
    )
    yield "reversed", np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    wide = np.full((*x.shape, 3), np.nan, x.dtype)
    wide[..., 1] = x
    yield "every third", wide[..., 1]
    margin = np.full([size + 3 for size in x.shape], np.nan, x.dtype)
    inner = margin[tuple(slice(1, size + 1) for size in x.shape)]
    inner[...] = x
    yield "crop", inner
    yield (
        "odd address",
        np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
    )


def test_variants_are_equal(rng):
    for shape in ((2, 3, 4, 5), (6, 7)):
        x = rng.standard_normal(shape)
        for name, array in variants_of(x):
            np.testing.assert_array_equal(array, x, err_msg=name)
            assert len({array.strides for _, array in variants_of(x)}) >= 4


# --- pooling


def windows(x, window, stride, padding, p, q, fill):
    """(n, c, p, q, rows, columns): what each window sees, `fill` outside the image."""
    (top, bottom), (left, right) = padding
    n, c, h, w = x.shape
    padded = np.full(
        (n, c, h + top + bottom + window[0] + stride[0], w + left + right + window[1] + stride[1]),
        fill,
        np.float64,
    )
    padded[:, :, top : top + h, left : left + w] = x
    every = np.lib.stride_tricks.sliding_window_view(padded, window, (2, 3))
    return every[:, :, :: stride[0], :: stride[1]][:, :, :p, :q]


def pooled_size(size, before, after, window, stride, ceil_mode):
    """PyTorch's rule, term by term."""
    span = size + before + after - window
    outputs = (-(-span // stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (outputs - 1) * stride >= size + before:
        outputs -= 1
    return outputs


POOLINGS = {
    # name: (h, w), window, stride, padding
    "2x2": ((8, 8), (2, 2), (2, 2), ((0, 0), (0, 0))),
    "one pixel": ((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0))),
    "one pixel, padded": ((1, 1), (3, 3), (2, 2), ((1, 1), (1, 1))),
    "resnet stem": ((13, 15), (3, 3), (2, 2), ((1, 1), (1, 1))),
    "inception": ((9, 35), (3, 3), (1, 1), ((1, 1), (1, 1))),
    "odd sizes": ((7, 19), (2, 2), (2, 2), ((0, 0), (0, 0))),
    "stride over window": ((17, 18), (2, 3), (4, 5), ((1, 0), (0, 2))),
    "stride 3": ((16, 33), (3, 4), (3, 3), ((0, 0), (0, 0))),
    "uneven padding": ((10, 11), (4, 5), (2, 1), ((3, 1), (0, 4))),
    "whole image": ((6, 9), (6, 9), (1, 1), ((0, 0), (0, 0))),
    "one row": ((1, 40), (1, 5), (1, 2), ((0, 0), (2, 2))),
    "wide": ((3, 70), (3, 3), (1, 1), ((1, 1), (1, 1))),
    "hangs over": ((6, 7), (3, 3), (2, 2), ((0, 0), (0, 0))),
    "would start in padding": ((4, 5), (2, 2), (3, 3), ((1, 1), (1, 1))),
}


@DTYPES
@pytest.mark.parametrize("ceil_mode", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize("case", POOLINGS)
def test_pooling(case, ceil_mode, dtype, isa, rng):
    size, window, stride, padding = POOLINGS[case]
    x = rng.standard_normal((2, 3, *size)).astype(dtype)
    p, q = (pooled_size(size[i], *padding[i], window[i], stride[i], ceil_mode) for i in range(2))
    keywords = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}

    most = windows(x, window, stride, padding, p, q, -INFINITY).max((-1, -2))
    got = convkit.max_pool2d(x, window, **keywords)
    np.testing.assert_array_equal(got, most)
    assert got.dtype == dtype

    inside = np.ones((1, 1, *size))
    counts = windows(inside, window, stride, padding, p, q, 0).sum((-1, -2))
    (top, bottom), (left, right) = padding
    padded = np.ones((1, 1, size[0] + top + bottom, size[1] + left + right))
    none = ((0, 0), (0, 0))
    all_counts = windows(padded, window, stride, none, p, q, 0).sum((-1, -2))
    total = windows(x, window, stride, padding, p, q, 0).sum((-1, -2))
    magnitude = windows(np.abs(x), window, stride, padding, p, q, 0).sum((-1, -2))
    for include, count in ((False, counts), (True, all_counts)):
        got = convkit.avg_pool2d(x, window, count_include_pad=include, **keywords)
        assert got.shape == total.shape and got.dtype == dtype
        error = np.abs(got - total / count)
        assert (error <= 4 * np.finfo(dtype).eps * magnitude / count).all(), error.max()


@DTYPES
def test_pooling_of_any_strides(dtype, isa, rng):
    x = rng.standard_normal((2, 5, 9, 21)).astype(dtype)
    for function in (convkit.max_pool2d, convkit.avg_pool2d):
        want = function(x, 3, stride=2, padding=1)
        for name, view in variants_of(x):
            got = function(view, 3, stride=2, padding=1)
            np.testing.assert_array_equal(got, want, err_msg=name)
        for name, out in variants_of(np.full_like(want, NAN)):
            if not out.flags.writeable:
                continue
            assert function(x, 3, stride=2, padding=1, out=out) is out
            np.testing.assert_array_equal(out, want, err_msg=name)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_nan_reaches_exactly_its_windows(stride, isa, rng):
    for place in ((0, 0), (4, 7), (9, 39), (5, 16)):
        x = rng.standard_normal((1, 2, 10, 40)).astype(np.float32)
        x[0, 1][place] = NAN
        keywords = {"stride": stride, "padding": ((1, 1), (1, 1))}
        p, q = (pooled_size(size, 1, 1, 3, stride, False) for size in (10, 40))
        seen = windows(np.isnan(x), (3, 3), (stride, stride), ((1, 1), (1, 1)), p, q, 0)
        for function in (convkit.max_pool2d, convkit.avg_pool2d):
            got = function(x, 3, **keywords)
            np.testing.assert_array_equal(np.isnan(got), seen.any((-1, -2)))


def test_max_of_infinities(isa):
    x = np.full((1, 1, 4, 4), -INFINITY)
    np.testing.assert_array_equal(convkit.max_pool2d(x, 2, padding=1), -INFINITY)
    x[0, 0, 1, 1] = INFINITY
    np.testing.assert_array_equal(
        convkit.max_pool2d(x, 2)[0, 0], [[INFINITY, -INFINITY], [-INFINITY, -INFINITY]]
    )


def test_ceil_mode_as_pytorch():
    # Written down from torch.nn.functional: the last window hangs over; it starts in the image.
    x = np.arange(1, 26, dtype=np.float32).reshape(1, 1, 5, 5)
    np.testing.assert_array_equal(
        convkit.max_pool2d(x, 2, ceil_mode=True)[0, 0], [[7, 9, 10], [17, 19, 20], [22, 24, 25]]
    )
    np.testing.assert_array_equal(
        convkit.avg_pool2d(x, 2, ceil_mode=True)[0, 0],
        [[4, 6, 7.5], [14, 16, 17.5], [21.5, 23.5, 25]],
    )
    # Padding counts as zeros, what lies beyond it does not: the corner is 25 / 4.
    np.testing.assert_array_equal(
        convkit.avg_pool2d(x, 3, stride=3, padding=1, ceil_mode=True)[0, 0],
        np.array([[16, 39], [99, 171]], np.float32) / np.float32(9),
    )
    # A window that would start in the padding behind the image is left out.
    assert convkit.max_pool2d(x[..., :4, :4], 2, stride=3, padding=1, ceil_mode=True).shape == (
        1, 1, 2, 2,
    )  # fmt: skip


def test_same_padding_is_uneven():
    x = np.arange(1, 17, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(
        convkit.max_pool2d(x, 3, stride=2, padding="same"), [[11, 12], [15, 16]]
    )
    assert convkit.max_pool2d(x, 3, stride=2, padding="valid").shape == (1, 1)


@pytest.mark.parametrize(
    "shape, want",
    [((6, 8), (3, 4)), ((3, 6, 8), (3, 3, 4)), ((0, 3, 6, 8), (0, 3, 3, 4))],
    ids=str,
)
def test_pooling_keeps_the_axes(shape, want):
    for function in (convkit.max_pool2d, convkit.avg_pool2d):
        assert function(np.zeros(shape), 2).shape == want


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"kernel": 0}, ValueError, "kernel=0 must be at least 1"),
        ({"kernel": 2.0}, TypeError, "kernel=2.0 must be an integer or a pair"),
        ({"kernel": (2, 2, 2)}, ValueError, r"kernel=\(2, 2, 2\) must be an integer or a pair"),
        ({"stride": 0}, ValueError, "stride=0 must be at least 1"),
        ({"stride": NAN}, TypeError, "stride=nan must be an integer or a pair"),
        ({"padding": -1}, ValueError, "padding=-1 must be at least 0"),
        ({"padding": 2}, ValueError, "padding=2 must be less than the 2 rows of kernel"),
        ({"padding": (1, 2)}, ValueError, "padding=2 must be less than the 2 columns of kernel"),
        ({"padding": "full"}, ValueError, "padding='full' must be"),
        ({"padding": "some"}, ValueError, "padding='some' must be one of"),
        ({"kernel": (7, 2)}, ValueError, "kernel has 7 rows, more than the 6 rows of the padded"),
        ({"kernel": (2, 9)}, ValueError, "kernel has 9 columns, more than the 8 columns"),
        ({"ceil_mode": 1}, TypeError, "ceil_mode=1 must be True or False"),
        ({"out": np.zeros((1, 3, 4))}, ValueError, r"out has shape .* expected \(1, 1, 3, 4\)"),
        ({"out": np.zeros((1, 1, 3, 4), "f4")}, TypeError, "out has dtype float32"),
        ({"x": np.zeros(5)}, ValueError, r"x has shape \(5,\): expected \(h, w\) or \(c, h, w\)"),
        ({"x": np.zeros((1, 0, 6, 8))}, ValueError, "every size must be at least 1"),
        ({"x": np.zeros((1, 1, 6, 8), "i4")}, TypeError, "x has dtype int32"),
        ({"x": [[1.0]]}, TypeError, "x is a list"),
    ],
    ids=lambda value: "" if not isinstance(value, dict) else next(iter(value)),
)
def test_wrong_pooling(arguments, error, message):
    call = {"x": np.zeros((1, 1, 6, 8)), "kernel": 2, **arguments}
    for function in (convkit.max_pool2d, convkit.avg_pool2d):
        with pytest.raises(error, match=message):
            function(**call)


def test_wrong_count_include_pad():
    with pytest.raises(TypeError, match="count_include_pad=None must be True or False"):
        convkit.avg_pool2d(np.zeros((4, 4)), 2, count_include_pad=None)


def test_out_that_overlaps_x_is_refused():
    memory = np.arange(72.0)
    x, out = memory[:64].reshape(8, 8), memory[56:72].reshape(4, 4)
    with pytest.raises(ValueError, match="out overlaps x"):
        convkit.max_pool2d(x, 2, out=out)
    np.testing.assert_array_equal(memory, np.arange(72.0))


@DTYPES
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (3, 11), (56, 57), (1, 300)], ids=str)
def test_global_avg_pool(size, dtype, isa, rng):
    x = rng.standard_normal((2, 5, *size)).astype(dtype)
    want = x.mean((2, 3), dtype=np.longdouble, keepdims=True)
    bound = 4 * np.finfo(dtype).eps * np.abs(x).mean((2, 3), dtype=np.float64, keepdims=True)
    whole = convkit.global_avg_pool2d(x)
    assert whole.shape == (2, 5, 1, 1) and whole.dtype == dtype
    assert (np.abs(whole - want) <= bound).all()
    for name, view in variants_of(x):
        np.testing.assert_array_equal(convkit.global_avg_pool2d(view), whole, err_msg=name)
    np.testing.assert_array_equal(convkit.global_avg_pool2d(x[1]), whole[1])


def test_wrong_global_avg_pool():
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\): expected \(c, h, w\) or \(n, c"):
        convkit.global_avg_pool2d(np.zeros((3, 4)))


# --- linear


@DTYPES
@pytest.mark.parametrize(
    "n, c, k",
    [
        (1, 1, 1), (1, 400, 120), (2, 15, 3), (3, 16, 7), (5, 17, 24), (7, 129, 25),
        (30, 84, 10), (33, 33, 33), (64, 100, 5), (1, 5000, 6), (2, 2049, 49), (100, 3, 1),
        (32, 8300, 101),
    ],
)  # fmt: skip
def test_linear(n, c, k, dtype, isa, rng):
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in ((n, c), (k, c)))
    bias = rng.standard_normal(k).astype(dtype)
    x64, w64 = x.astype(np.float64), w.astype(np.float64)
    want = x64 @ w64.T
    bound = 4 * np.finfo(dtype).eps * (np.abs(x64) @ np.abs(w64).T)
    got = convkit.linear(x, w)
    assert got.shape == (n, k) and got.dtype == dtype
    assert (np.abs(got - want) <= bound).all()
    got = convkit.linear(x, w, bias, activation="relu")
    assert (np.abs(got - np.maximum(want + bias, 0)) <= bound + np.abs(bias) * 1e-6).all()


@DTYPES
@pytest.mark.parametrize("c", [1, 15, 130, 1100])
def test_linear_rows_do_not_depend_on_the_batch(c, dtype, isa, rng):
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in ((70, c), (35, c)))
    bias = rng.standard_normal(35).astype(dtype)
    whole = convkit.linear(x, w, bias)
    for begin, end in ((0, 1), (69, 70), (3, 10), (20, 54), (1, 37)):
        np.testing.assert_array_equal(convkit.linear(x[begin:end], w, bias), whole[begin:end])
    with convkit.threads(3):
        np.testing.assert_array_equal(convkit.linear(x, w, bias), whole)


@DTYPES
def test_linear_of_any_strides(dtype, isa, rng):
    for n, k in ((5, 31), (31, 5)):
        x, w = (rng.standard_normal(shape).astype(dtype) for shape in ((n, 37), (k, 37)))
        bias = rng.standard_normal(2 * k).astype(dtype)
        want = convkit.linear(x, w, bias[::2].copy())
        for (name, other), (_, weights) in zip(variants_of(x), variants_of(w), strict=True):
            for one, two in ((other, w), (x, weights), (other, weights)):
                got = convkit.linear(one, two, bias[::2])
                np.testing.assert_array_equal(got, want, err_msg=name)


def test_linear_keeps_a_nan_in_its_row_and_filter(isa):
    x, w = np.ones((4, 19), np.float32), np.ones((30, 19), np.float32)
    x[2, 18], w[7, 3] = NAN, INFINITY
    got = convkit.linear(x, w)
    assert np.isnan(got[2]).all()
    np.testing.assert_array_equal(got[[0, 1, 3], 7], INFINITY)
    rest = np.delete(np.delete(got, 2, 0), 7, 1)
    np.testing.assert_array_equal(rest, 19)


def test_linear_of_no_rows():
    assert convkit.linear(np.zeros((0, 3)), np.zeros((2, 3))).shape == (0, 2)


@pytest.mark.parametrize(
    "x, w, bias, error, message",
    [
        (np.zeros((2, 3, 4)), np.zeros((5, 3)), None, ValueError, r"write x.reshape\(n, -1\)"),
        (np.zeros((2, 3)), np.zeros((5, 4)), None, ValueError, r"w has shape .* expected \(k, 3\)"),
        (np.zeros((2, 3)), np.zeros(3), None, ValueError, r"w has shape \(3,\): expected \(k, 3\)"),
        (np.zeros((2, 3)), np.zeros((0, 3)), None, ValueError, "every size must be at least 1"),
        (np.zeros((2, 3)), np.zeros((5, 3)), np.zeros(3), ValueError, r"bias .* expected \(5,\)"),
        (np.zeros((2, 3)), np.zeros((5, 3), "f4"), None, TypeError, "w has dtype float32 but x"),
        (np.zeros((2, 3)), None, None, TypeError, "w is None: expected an array"),
    ],
    ids=["image", "channels", "vector", "empty", "bias", "dtype", "no w"],
)
def test_wrong_linear(x, w, bias, error, message):
    with pytest.raises(error, match=message):
        convkit.linear(x, w, bias)


# --- batch_norm


@DTYPES
@pytest.mark.parametrize("shape", [(3, 5, 7, 9), (2, 33, 1, 1), (6, 40), (1, 3), (0, 4)], ids=str)
@pytest.mark.parametrize("affine", [False, True], ids=["plain", "affine"])
def test_batch_norm(shape, affine, dtype, isa, rng):
    c = shape[1]
    x = rng.standard_normal(shape).astype(dtype)
    mean, weight, bias = (rng.standard_normal(c).astype(dtype) for _ in range(3))
    var = rng.random(c).astype(dtype)
    channel = (1, c, 1, 1)[: len(shape)]
    x64, mean64, var64, weight64, bias64 = (
        a.astype(np.float64) if a is x else a.astype(np.float64).reshape(channel)
        for a in (x, mean, var, weight, bias)
    )
    scale = (weight64 if affine else 1) / np.sqrt(var64 + 1e-5)
    want = (x64 - mean64) * scale + (bias64 if affine else 0)
    bound = (np.abs(x64 - mean64) * np.abs(scale) + np.abs(bias64)) * 4 * np.finfo(dtype).eps
    given = (weight, bias) if affine else ()
    whole = convkit.batch_norm(x, mean, var, *given)
    assert whole.shape == shape and whole.dtype == dtype
    assert (np.abs(whole - want) <= bound).all()
    activated = convkit.batch_norm(x, mean, var, *given, activation="relu")
    np.testing.assert_array_equal(activated, np.maximum(whole, 0))
    for name, view in variants_of(x) if x.size else ():
        got = convkit.batch_norm(view, mean[::-1][::-1], var, *given)
        np.testing.assert_array_equal(got, whole, err_msg=name)


def test_batch_norm_keeps_digits_beside_a_large_mean(isa):
    x = np.array([[10000.5, 10001]], np.float32)
    one = np.ones(2, np.float32)
    got = convkit.batch_norm(x, 10000 * one, one, 3 * one, -one, eps=0)
    np.testing.assert_array_equal(got, [[0.5, 2]])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"x": np.zeros((2, 3, 4))}, ValueError, r"expected \(n, c, h, w\) or \(n, c\)"),
        ({"mean": np.zeros(4)}, ValueError, r"mean has shape \(4,\): expected \(3,\)"),
        ({"var": np.zeros((3, 1))}, ValueError, r"var has shape \(3, 1\): expected \(3,\)"),
        ({"weight": np.zeros(1)}, ValueError, r"weight has shape \(1,\): expected \(3,\)"),
        ({"bias": np.zeros(2)}, ValueError, r"bias has shape \(2,\): expected \(3,\)"),
        ({"mean": np.zeros(3, "f4")}, TypeError, "mean has dtype float32 but x has float64"),
        ({"eps": -1e-5}, ValueError, "eps=-1e-05 must be at least 0"),
        ({"eps": NAN}, ValueError, "eps=nan must be at least 0"),
        ({"eps": "1"}, TypeError, "eps='1' must be a number"),
        ({"mean": None}, TypeError, "mean is None: expected an array"),
        ({"var": None}, TypeError, "var is None: expected an array"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_batch_norm(arguments, error, message):
    call = {"x": np.zeros((2, 3)), "mean": np.zeros(3), "var": np.ones(3), **arguments}
    with pytest.raises(error, match=message):
        convkit.batch_norm(**call)


# --- softmax


def shares(x, axis, b):
    z = x.astype(np.longdouble) * b
    e = np.exp(z - z.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@DTYPES
@pytest.mark.parametrize("b", [1.0, 2.0, -0.7], ids="b={}".format)
@pytest.mark.parametrize(
    "shape, axis",
    [
        ((1,), 0), ((17,), -1), ((4, 10), 1), ((4, 10), 0), ((2, 33, 5, 6), 1), ((3, 1000), -1),
        ((2, 3, 4, 5, 6), 2), ((3, 4, 5, 6), 0), ((1, 2, 1, 2, 1, 2, 3), 5),
    ],
    ids=str,
)  # fmt: skip
def test_softmax(shape, axis, b, dtype, isa, rng):
    x = (3 * rng.standard_normal(shape)).astype(dtype)
    want = shares(x, axis, b)
    got = convkit.softmax(x, axis=axis, b=b)
    assert got.shape == shape and got.dtype == dtype
    assert (np.abs(got - want) <= 4 * np.finfo(dtype).eps * want).all()
    for name, view in variants_of(x) if x.ndim in (2, 4) else ():
        again = convkit.softmax(view, axis=axis, b=b)
        np.testing.assert_array_equal(again, got, err_msg=name)


def test_softmax_does_not_overflow(isa):
    for dtype in (np.float32, np.float64):
        top = np.finfo(dtype).max
        np.testing.assert_array_equal(
            convkit.softmax(np.array([top, top, 0], dtype)), [0.5, 0.5, 0]
        )
        np.testing.assert_array_equal(convkit.softmax(np.array([-top, -top], dtype)), [0.5, 0.5])
        np.testing.assert_array_equal(
            convkit.softmax(np.array([1, -INFINITY, 1], dtype)), [0.5, 0, 0.5]
        )
        for bad in ([0, NAN, 1], [INFINITY, 0, 1], [-INFINITY, -INFINITY]):
            got = convkit.softmax(np.array([bad, [0] * len(bad)], dtype))
            assert np.isnan(got[0]).all()
            np.testing.assert_allclose(got[1], 1 / len(bad), rtol=1e-6)


def test_softmax_finds_the_maximum_anywhere(isa):
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(convkit.softmax(np.eye(35, dtype=dtype), b=2000), np.eye(35))


def test_softmax_with_factor_zero_shares_equally():
    np.testing.assert_array_equal(convkit.softmax(np.array([1.0, 5, -7, 9]), b=0), 0.25)


def test_softmax_of_nothing():
    assert convkit.softmax(np.zeros((0, 4))).shape == (0, 4)
    assert convkit.softmax(np.zeros((3, 0))).shape == (3, 0)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"axis": 2}, ValueError, "axis=2 must be from -2 to 1, x has 2 axes"),
        ({"axis": 1.0}, TypeError, "axis=1.0 must be an integer"),
        ({"b": NAN}, ValueError, "b=nan must be finite"),
        ({"b": "1"}, TypeError, "b='1' must be a number"),
        ({"x": np.zeros(())}, ValueError, "axis=-1 .* x has 0 axes"),
    ],
    ids=["axis", "axis type", "b", "b type", "no axes"],
)
def test_wrong_softmax(arguments, error, message):
    with pytest.raises(error, match=message):
        convkit.softmax(**{"x": np.zeros((2, 3)), **arguments})


# --- add


@DTYPES
def test_add(dtype, isa, rng):
    x, y = (rng.standard_normal((2, 5, 6, 7)).astype(dtype) for _ in range(2))
    np.testing.assert_array_equal(convkit.add(x, y), x + y)
    np.testing.assert_array_equal(convkit.add(x, y, activation="relu"), np.maximum(x + y, 0))
    for (name, one), (_, two) in zip(variants_of(x), list(variants_of(y))[::-1], strict=True):
        np.testing.assert_array_equal(convkit.add(one, two), x + y, err_msg=name)


def test_add_in_place_of_either(isa, rng):
    for which in (0, 1):
        arrays = [rng.standard_normal((3, 900)) for _ in range(2)]
        want = arrays[0] + arrays[1]
        assert convkit.add(*arrays, out=arrays[which]) is arrays[which]
        np.testing.assert_array_equal(arrays[which], want)
        assert not np.array_equal(arrays[1 - which], want)


@pytest.mark.parametrize(
    "y, out, error, message",
    [
        (np.zeros(3), None, ValueError, r"y has shape \(3,\): expected \(4,\), the shape of x"),
        (np.zeros(4, "f4"), None, TypeError, "y has dtype float32 but x has float64"),
        (None, None, TypeError, "y is None: expected an array"),
        (np.zeros(4), np.zeros(5), ValueError, r"out has shape \(5,\): expected \(4,\)"),
    ],
    ids=["shape", "dtype", "no y", "out"],
)
def test_wrong_add(y, out, error, message):
    with pytest.raises(error, match=message):
        convkit.add(np.zeros(4), y, out=out)


# --- native


def test_operators_are_those_of_the_folder():
    assert set(_convkit.operators()) >= {
        "activation", "avg_pool", "batch_norm", "global_avg_pool", "linear", "max_pool", "softmax",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_pooling_does_not_depend_on_threads(name, threads, isa, rng):
    x = rng.standard_normal((3, 4, 90, 91)).astype(np.float32)
    function = getattr(convkit, name)
    with convkit.threads(1):
        want = function(x, 3, stride=2, padding=1)
    with convkit.threads(threads):
        np.testing.assert_array_equal(function(x, 3, stride=2, padding=1), want)
        np.testing.assert_array_equal(function(x[1:2], 3, stride=2, padding=1), want[1:2])
