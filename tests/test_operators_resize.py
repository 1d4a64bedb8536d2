"""Resizing against its definition: kernels of interpolation evaluated output by output."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import LAYOUTS, guarded
from test_operators_pooling import LANES, in_blocks

import convkit
from convkit import _convkit
from convkit.operators.native import operator_problem
from convkit.operators.resize import (
    COORDINATES,
    NEAREST,
    Interpolation,
    packed_tables,
    positions,
    resize2d,
    resize_tables,
)

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
SIZES = [
    {"size": (18, 22)}, {"size": (5, 4)}, {"size": (1, 1)}, {"size": (9, 30)}, {"size": (7, 40)},
    {"scale": (1.3, 0.7)}, {"scale": (2.0, 2.5)}, {"scale": (1.0, 3.0)},
]  # fmt: skip


@pytest.fixture(params=_convkit.available_isas())
def isa(request, checked_kernels):
    _convkit.select_isa(request.param)
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(41)


def hat(t, how):
    """The weight of a pixel at distance t."""
    t = abs(t)
    if how.mode == "linear":
        return max(0.0, 1 - t)
    a = how.cubic_coeff_a
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def matrix(size, out, scale, how):
    """(out, size): the weight of every input in every output."""
    weights = np.zeros((out, size))
    for i, at in enumerate(positions(size, out, scale, how.coordinates)):
        reach = range(int(np.floor(at)) - 3, int(np.floor(at)) + 5)
        taps = [(j, hat(at - j, how)) for j in reach]
        if how.exclude_outside:
            taps = [(j, v) for j, v in taps if 0 <= j < size]
            total = sum(v for _, v in taps)
            taps = [(j, v / total) for j, v in taps]
        for j, v in taps:
            weights[i, min(max(j, 0), size - 1)] += v
    return weights


def by_matrices(x, keywords, how):
    rows, columns = resize_tables(x.shape[2:], keywords.get("size"), keywords.get("scale"), how)
    sides = []
    for i, table in enumerate((rows, columns)):
        size, out = x.shape[2 + i], len(table.indices)
        scale = keywords["scale"][i] if "scale" in keywords else out / size
        sides.append(matrix(size, out, scale, how))
    x = x.astype(np.float64)
    value = np.einsum("ph,nchw,qw->ncpq", sides[0], x, sides[1])
    bound = np.einsum("ph,nchw,qw->ncpq", np.abs(sides[0]), np.abs(x), np.abs(sides[1]))
    return value, bound


@DTYPES
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic", "cubic, inside"])
def test_interpolation(mode, coordinates, dtype, isa, rng):
    how = Interpolation(
        mode.split(",")[0], coordinates, cubic_coeff_a=-0.5, exclude_outside=mode.endswith("inside")
    )
    x = rng.standard_normal((2, 3, 9, 11)).astype(dtype)
    for keywords in SIZES:
        want, bound = by_matrices(x, keywords, how)
        got = resize2d(x, **keywords, how=how)
        assert got.dtype == dtype and got.shape == want.shape
        # The weights are computed in float64, which costs some 20 of its own eps.
        weighing = 50 * np.finfo("float64").eps * np.abs(x).max()
        allowed = 6 * np.finfo(dtype).eps * bound + weighing
        assert (np.abs(got - want) <= allowed).all(), keywords


@pytest.mark.parametrize("nearest", NEAREST)
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_nearest(coordinates, nearest, isa, rng):
    x = rng.standard_normal((2, 3, 9, 11))
    how = Interpolation("nearest", coordinates, nearest)
    for kind in ("float32", "int64", "uint8"):
        some = (50 + 10 * x).astype(kind)
        for keywords in SIZES:
            got = resize2d(some, **keywords, how=how)
            picked = []
            for i in range(2):
                size, out = x.shape[2 + i], got.shape[2 + i]
                scale = keywords["scale"][i] if "scale" in keywords else out / size
                at = positions(size, out, scale, coordinates)
                half = np.where(at % 1 == 0.5, 1e-6, 0)
                index = {
                    "floor": np.floor(at),
                    "ceil": np.ceil(at),
                    "round_prefer_floor": np.rint(at - half),
                    "round_prefer_ceil": np.rint(at + half),
                }[nearest]
                picked.append(np.clip(index, 0, size - 1).astype(int))
            want = some[:, :, picked[0]][..., picked[1]]
            np.testing.assert_array_equal(got, want)


def test_as_onnx_writes_them_down():
    # From the examples of ONNX's Resize.
    x = np.array([[1, 2], [3, 4]], np.float32)[None, None]
    got = resize2d(x, scale=(2, 2), how=Interpolation("linear"))
    want = [[1, 1.25, 1.75, 2], [1.5, 1.75, 2.25, 2.5], [2.5, 2.75, 3.25, 3.5], [3, 3.25, 3.75, 4]]
    np.testing.assert_array_equal(got[0, 0], want)
    got = resize2d(x, scale=(2, 2), how=Interpolation("linear", "align_corners"))
    thirds = np.add.outer(np.arange(4) * 2 / 3, np.arange(4) / 3) + 1
    np.testing.assert_allclose(got[0, 0], thirds, rtol=1e-6)
    got = resize2d(x, scale=(2, 3), how=Interpolation("nearest"))
    np.testing.assert_array_equal(got[0, 0], np.repeat(np.repeat(x[0, 0], 2, 0), 3, 1))
    x = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
    got = resize2d(x, scale=(0.8, 0.8), how=Interpolation("cubic"))
    want = [
        [1.47119141, 2.78125, 4.08251953], [6.71142578, 8.02148438, 9.32275391],
        [11.91650391, 13.2265625, 14.52783203],
    ]  # fmt: skip
    np.testing.assert_allclose(got[0, 0], want, rtol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory(layout, isa, rng):
    x = rng.standard_normal((2, 3, 9, 21)).astype(np.float32)
    for mode in ("nearest", "linear", "cubic"):
        want = resize2d(x, size=(13, 34), how=Interpolation(mode))
        view = guarded(x.shape, "float32", layout, x).array
        out = guarded(want.shape, "float32", layout)
        with convkit.threads(3):
            resize2d(view, size=(13, 34), how=Interpolation(mode), out=out.array)
        out.check("out")
        np.testing.assert_array_equal(out.array, want)
        np.testing.assert_array_equal(
            resize2d(x[1], size=(13, 34), how=Interpolation(mode)), want[1]
        )


@DTYPES
@pytest.mark.parametrize("c", [1, 16, 21])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_blocks_of_channels(mode, c, dtype, isa, rng):
    block = LANES.get(isa, 16) // np.dtype(dtype).itemsize
    x = rng.standard_normal((2, c, 5, 19)).astype(dtype)
    how = Interpolation(mode)
    want = resize2d(x, size=(11, 13), how=how)
    rows, columns = resize_tables((5, 19), (11, 13), None, how)
    window = (rows.indices.shape[1], columns.indices.shape[1])
    fields = operator_problem(x.dtype, x.shape, (c, 11, 13), window)
    weights = packed_tables(rows, columns, x.dtype)
    got = in_blocks("resize", x, want.shape, fields, block, weights=weights)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    got = in_blocks("resize", x, want.shape, fields, block, "sigmoid", weights=weights)
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-want.astype(float))), rtol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"how": Interpolation("lanczos"), "size": (3, 3)}, "mode='lanczos' must be one of"),
        ({"how": Interpolation("linear", "tf_crop_and_resize"), "size": (3, 3)}, "coordinates='tf"),
        ({"how": Interpolation("nearest", nearest="any"), "size": (3, 3)}, "nearest='any' must be"),
        ({"size": (0, 3)}, "resize of 4 pixels by 0.0 to 0: at least 1"),
        ({"scale": (0.1, 3)}, "resize of 4 pixels by 0.1 to 0: at least 1"),
        ({}, "resize needs a size or scales"),
    ],
    ids=["mode", "coordinates", "nearest", "size", "scale", "neither"],
)
def test_wrong_resize(arguments, message):
    with pytest.raises(ValueError, match=message):
        resize2d(np.zeros((1, 1, 4, 5)), **arguments)
