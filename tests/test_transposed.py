"""conv_transpose2d against its definition: every input spread over the outputs that it reaches."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import LAYOUTS, guarded
from oracle import assert_within
from scipy import signal

import convkit
from convkit import _convkit
from convkit.transposed import axis_phases

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(params=_convkit.available_isas())
def isa(request, checked_kernels):
    _convkit.select_isa(request.param)
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(31)


def pairs(value):
    return value if isinstance(value, tuple) else (value, value)


def spread(array, steps):
    """The array with zeros between its rows and columns."""
    h, w = array.shape[-2:]
    wide = np.zeros((*array.shape[:-2], (h - 1) * steps[0] + 1, (w - 1) * steps[1] + 1))
    wide[..., :: steps[0], :: steps[1]] = array
    return wide


def oracle(x, w, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """In float64 by SciPy: the full convolution of x and w, both with zeros in between."""
    n, c = x.shape[:2]
    images, filters = spread(x, pairs(stride)), spread(w, pairs(dilation))
    per_group, channels = w.shape[1], c // groups
    rows = images.shape[2] + filters.shape[2] - 1
    columns = images.shape[3] + filters.shape[3] - 1
    more = pairs(output_padding)
    y = np.zeros((n, per_group * groups, rows + more[0], columns + more[1]))
    for image in range(n):
        for channel in range(c):
            for k in range(per_group):
                full = signal.convolve(
                    images[image, channel], filters[channel, k], mode="full", method="direct"
                )
                filter_number = channel // channels * per_group + k
                y[image, filter_number, :rows, :columns] += full
    sides = tuple(pairs(side) for side in pairs(padding))
    (top, bottom), (left, right) = sides
    return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]


def test_the_oracle_by_loops(rng):
    x, w = rng.standard_normal((1, 2, 3, 4)), rng.standard_normal((2, 3, 3, 2))
    y = np.zeros((1, 3, 9, 11))
    for c, k, h, i, r, s in np.ndindex(2, 3, 3, 4, 3, 2):
        y[0, k, 2 * h + 2 * r, 3 * i + s * 1] += x[0, c, h, i] * w[c, k, r, s]
    got = oracle(x, w, stride=(2, 3), dilation=(2, 1), padding=((1, 0), (0, 0)))
    np.testing.assert_allclose(got, y[:, :, 1:, : got.shape[3]], rtol=1e-13)


CASES = {
    # name: (n, c, h, w), (k / groups, r, s), keywords
    "one pixel": ((1, 1, 1, 1), (1, 1, 1), {}),
    "stride 1": ((1, 3, 7, 9), (4, 3, 3), {"padding": 1}),
    "stride 1, no padding": ((2, 3, 6, 5), (2, 5, 4), {}),
    "u-net": ((1, 16, 14, 14), (8, 2, 2), {"stride": 2}),
    "dcgan": ((2, 20, 8, 8), (10, 4, 4), {"stride": 2, "padding": 1}),
    "segmentation": ((1, 5, 6, 7), (5, 16, 16), {"stride": 8, "padding": 4}),
    "odd filter": ((1, 8, 9, 11), (6, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "stride over filter": ((1, 4, 5, 6), (3, 2, 3), {"stride": (3, 4)}),
    "stride over filter, more": ((1, 4, 5, 6), (3, 1, 1), {"stride": 3, "output_padding": 2}),
    "stride far over filter": ((1, 2, 2, 3), (3, 3, 2), {"stride": (70, 90), "padding": (2, 0)}),
    "stride 1x3": ((1, 4, 5, 6), (3, 3, 5), {"stride": (1, 3), "padding": (1, 2)}),
    "uneven padding": ((1, 3, 6, 6), (4, 4, 5), {"stride": 2, "padding": ((2, 0), (1, 3))}),
    "padding over filter": ((1, 2, 9, 9), (3, 2, 2), {"stride": 2, "padding": ((3, 4), (5, 2))}),
    "dilation": ((1, 4, 7, 8), (3, 3, 3), {"dilation": 2}),
    "dilation and stride": ((1, 4, 7, 8), (3, 3, 3), {"dilation": 2, "stride": 2}),
    "dilation 3, stride 2": ((1, 4, 7, 8), (3, 3, 2), {"dilation": 3, "stride": 2, "padding": 2}),
    "dilation 4, stride 6": ((1, 2, 5, 6), (3, 4, 3), {"dilation": 4, "stride": 6, "padding": 3}),
    "dilation 1x2, stride 3x2": (
        (1, 2, 5, 6), (3, 4, 3), {"dilation": (1, 2), "stride": (3, 2), "output_padding": (2, 1)},
    ),
    "groups": ((2, 12, 6, 7), (5, 3, 3), {"groups": 3, "stride": 2, "padding": 1}),
    "depthwise": ((1, 19, 8, 9), (1, 4, 4), {"groups": 19, "stride": 2, "padding": 1}),
    "depthwise, stride 1": ((1, 19, 8, 9), (1, 3, 3), {"groups": 19, "padding": 1}),
    "one row": ((1, 3, 1, 40), (2, 1, 4), {"stride": (1, 2)}),
    "many channels": ((1, 70, 10, 12), (40, 3, 3), {"stride": 2, "padding": 1}),
    "one channel": ((1, 1, 30, 31), (1, 7, 7), {"stride": 2, "padding": 3}),
}  # fmt: skip


def arrays(case, dtype, rng):
    x_shape, (per_group, r, s), keywords = CASES[case]
    x = rng.standard_normal(x_shape).astype(dtype)
    w = rng.standard_normal((x_shape[1], per_group, r, s)).astype(dtype)
    return x, w, keywords


@DTYPES
@pytest.mark.parametrize("case", CASES)
def test_conv_transpose(case, dtype, isa, rng):
    x, w, keywords = arrays(case, dtype, rng)
    k = w.shape[1] * keywords.get("groups", 1)
    bias = rng.standard_normal(k).astype(dtype)
    want = oracle(x, w, **keywords)
    size = oracle(np.abs(x), np.abs(w), **keywords)
    eps = np.finfo(dtype).eps
    got = convkit.conv_transpose2d(x, w, precision="highest", **keywords)
    assert got.dtype == dtype
    assert_within(got, want, 4 * eps * size)
    bound = 8 * eps * (size.max() + np.abs(bias).max())
    assert_within(convkit.conv_transpose2d(x, w, **keywords), want, bound)
    got = convkit.conv_transpose2d(x, w, bias, activation="relu", **keywords)
    assert_within(got, np.maximum(want + bias[:, None, None], 0), bound)
    sigmoid = convkit.conv_transpose2d(x, w, bias, activation="sigmoid", **keywords)
    assert_within(sigmoid, 1 / (1 + np.exp(-want - bias[:, None, None])), bound + 4 * eps)


@pytest.mark.parametrize("algo", ["direct", "im2col", "winograd_f2", "winograd_f4", "fft"])
def test_forced_algorithms(algo, isa, rng):
    x, w, keywords = arrays("many channels", "float32", rng)
    keywords = {**keywords, "stride": 1}
    want = oracle(x, w, **keywords)
    got = convkit.conv_transpose2d(x, w, algo=algo, **keywords)
    size = oracle(np.abs(x), np.abs(w), **keywords)
    assert_within(got, want, 8 * np.finfo("float32").eps * size.max())


def test_a_forced_algorithm_must_suit_every_phase():
    x, w = np.zeros((1, 2, 5, 5)), np.zeros((2, 3, 3, 3))
    with pytest.raises(ValueError, match="algo='winograd_f2' does not apply"):
        convkit.conv_transpose2d(x, w, stride=2, algo="winograd_f2")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory(layout, isa, rng):
    for case in ("u-net", "groups", "stride over filter", "padding over filter", "stride 1"):
        x, w, keywords = arrays(case, "float32", rng)
        want = convkit.conv_transpose2d(x, w, **keywords)
        view = guarded(x.shape, "float32", layout, x).array
        out = guarded(want.shape, "float32", layout)
        given = convkit.conv_transpose2d(view, w[::-1].copy()[::-1], out=out.array, **keywords)
        assert given is out.array
        out.check("out")
        np.testing.assert_array_equal(out.array, want)


@pytest.mark.parametrize("case", ["u-net", "dcgan", "groups", "dilation 3, stride 2"])
def test_neither_batch_nor_threads_change_bits(case, isa, rng):
    x, w, keywords = arrays(case, "float32", rng)
    x = np.concatenate([x, rng.standard_normal((3, *x.shape[1:])).astype("float32")])
    with convkit.threads(1):
        want = convkit.conv_transpose2d(x, w, **keywords)
    with convkit.threads(3):
        np.testing.assert_array_equal(convkit.conv_transpose2d(x, w, **keywords), want)
    one = convkit.conv_transpose2d(x[2:3], w, **keywords)
    np.testing.assert_array_equal(one, want[2:3])


def test_shapes_follow_x():
    w = np.ones((3, 2, 2, 2))
    assert convkit.conv_transpose2d(np.ones((3, 4, 5)), w, stride=2).shape == (2, 8, 10)
    assert convkit.conv_transpose2d(np.ones((0, 3, 4, 5)), w).shape == (0, 2, 5, 6)
    assert convkit.conv_transpose2d(np.ones((4, 5)), w[0, 0]).shape == (5, 6)


def test_phases_are_those_that_see_taps():
    # A stride far over the filter has as many phases as the filter has taps.
    assert len(axis_phases(5, 3, 1000, 1, 0, 4003)) == 3
    assert len(axis_phases(5, 16, 8, 1, 4, 40)) == 8
    assert [phase.outputs for phase in axis_phases(5, 3, 2, 2, 1, 11)] == [slice(1, 11, 2)]


def test_it_transposes_conv2d(rng):
    # <conv2d(x), y> = <x, conv_transpose2d(y)> for any x and y.
    x, w = rng.standard_normal((1, 4, 11, 12)), rng.standard_normal((6, 2, 3, 3))
    keywords = {"stride": 2, "padding": 1, "groups": 2}
    y = rng.standard_normal((1, 6, 6, 6))
    there = convkit.conv2d(x, w, **keywords)
    back = convkit.conv_transpose2d(y, w, output_padding=(0, 1), **keywords)
    assert back.shape == x.shape
    np.testing.assert_allclose((there * y).sum(), (x * back).sum(), rtol=1e-12)


def test_nan_stays_where_it_reaches(isa, rng):
    x, w = np.ones((1, 2, 6, 7), np.float32), np.ones((2, 3, 3, 3), np.float32)
    x[0, 1, 2, 3] = np.nan
    got = convkit.conv_transpose2d(x, w, stride=2, algo="direct")
    want = np.zeros((13, 15), bool)
    want[4:7, 6:9] = True
    np.testing.assert_array_equal(np.isnan(got), np.broadcast_to(want, got.shape))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"x": np.zeros((1, 3, 4, 4))}, ValueError, "w has 2 channels but x has 3"),
        ({"groups": 3}, ValueError, "groups=3 must divide the 2 input channels"),
        ({"groups": 0}, ValueError, "groups=0 must be at least 1"),
        ({"stride": 0}, ValueError, "stride=0 must be at least 1"),
        ({"padding": "same"}, ValueError, "padding='same' must be a size"),
        ({"padding": 3}, ValueError, "padding=6 takes all of the 6 rows that x and w make"),
        ({"padding": -1}, ValueError, "padding=-1 must be at least 0"),
        ({"output_padding": 1}, ValueError, "output_padding=1 must be less than stride=1 or dil"),
        ({"output_padding": (0, 2), "stride": 2}, ValueError, "output_padding=2 must be less"),
        ({"bias": np.zeros(2)}, ValueError, r"bias has shape \(2,\): expected \(3,\)"),
        ({"w": np.zeros((2, 3, 0, 3))}, ValueError, "w has shape .* every size must be at least 1"),
        ({"w": np.zeros((2, 3, 3, 3), "f4")}, TypeError, "w has dtype float32 but x has float64"),
        ({"w": np.zeros((3, 3))}, ValueError, r"expected x \(n, c, h, w\) or \(c, h, w\)"),
        ({"algo": "magic"}, ValueError, "algo='magic' must be one of auto"),
        ({"activation": "magic"}, ValueError, "activation='magic' must be one of"),
        ({"out": np.zeros((1, 3, 4, 4))}, ValueError, r"out has shape .* expected \(1, 3, 6, 6\)"),
        ({"max_workspace": 0}, ValueError, "max_workspace=0 is too little"),
        ({"stride": 1 << 46}, ValueError, "more than can be addressed"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_arguments(arguments, error, message):
    call = {"x": np.zeros((1, 2, 4, 4)), "w": np.zeros((2, 3, 3, 3)), **arguments}
    with pytest.raises(error, match=message):
        convkit.conv_transpose2d(**call)


def test_out_that_overlaps_x_is_refused():
    memory = np.zeros(200)
    x, out = memory[:16].reshape(1, 1, 4, 4), memory[8:44].reshape(1, 1, 6, 6)
    with pytest.raises(ValueError, match="out overlaps x"):
        convkit.conv_transpose2d(x, np.zeros((1, 1, 3, 3)), out=out)
