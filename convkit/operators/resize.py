"""Resizing images, nearest pixel, linear or cubic, with the conventions of ONNX. Internal.

Each axis has a table: for every output the inputs that it reads and their weights. Nearest pixels
are one movement of data; the rest is one call of the kernel `resize`, which joins rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from convkit import sweeps
from convkit.backends import Array
from convkit.operators.native import images, operator_problem, run_operator
from convkit.problem import one_of

MODES = ("nearest", "linear", "cubic")
#: Where output i of `out`, `scale` times `size` of them, lies among the inputs.
COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_half_pixel_for_nn",
)  # fmt: skip
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


class Interpolation(NamedTuple):
    """How values between pixels are found; names as in ONNX's Resize."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: bool = False  # pixels outside the image weigh nothing, else the edge's stand


class AxisTable(NamedTuple):
    """For each output the indices of the inputs, clamped to the image, and their weights."""

    indices: Array  # (out, taps) int64
    weights: Array  # (out, taps) float64


def positions(size: int, out: int, scale: float, coordinates: str) -> Array:
    """Where the outputs lie among `size` inputs, pixel centres at whole numbers."""
    i, length = np.arange(out, dtype=np.float64), scale * size
    match coordinates:
        case "align_corners":
            return i * (size - 1) / (length - 1) if length != 1 else 0 * i
        case "asymmetric":
            return i / scale
        case "tf_half_pixel_for_nn":
            return (i + 0.5) / scale
        case "pytorch_half_pixel" if length == 1:
            return 0 * i - 0.5
        case "half_pixel_symmetric":
            return size / 2 * (1 - out / length) + (i + 0.5) / scale - 0.5
    return (i + 0.5) / scale - 0.5


def axis_table(size: int, out: int, scale: float, how: Interpolation) -> AxisTable:
    """The inputs and weights of `out` outputs for `size` inputs."""
    at = positions(size, out, scale, how.coordinates)
    if how.mode == "nearest":
        below = np.floor(at)
        match how.nearest:
            case "floor":
                chosen = below
            case "ceil":
                chosen = np.ceil(at)
            case "round_prefer_floor":
                chosen = np.where(at - below <= 0.5, below, below + 1)
            case _:
                chosen = np.where(at - below < 0.5, below, below + 1)
        indices, weights = chosen[:, None].astype(np.int64), np.ones((out, 1))
    else:
        taps = 2 if how.mode == "linear" else 4
        first = np.floor(at).astype(np.int64)
        ratio = (at - first)[:, None]
        if how.mode == "linear":
            weights = np.concatenate([1 - ratio, ratio], axis=1)
        else:
            weights = _cubic(ratio, how.cubic_coeff_a)
        indices = first[:, None] + np.arange(taps) - (taps // 2 - 1)
    if how.exclude_outside:
        weights = np.where((indices < 0) | (indices >= size), 0.0, weights)
        weights = weights / weights.sum(axis=1, keepdims=True)
    return AxisTable(np.clip(indices, 0, size - 1), weights)


def _cubic(ratio: Array, a: float) -> Array:
    """Weights of the pixels at -1, 0, 1 and 2 (R. G. Keys, 1981)."""
    before, after = ratio + 1, 2 - ratio
    left = ((a + 2) * ratio - (a + 3)) * ratio**2 + 1
    right = ((a + 2) * (1 - ratio) - (a + 3)) * (1 - ratio) ** 2 + 1
    outer = [((a * t - 5 * a) * t + 8 * a) * t - 4 * a for t in (before, after)]
    return np.concatenate([outer[0], left, right, outer[1]], axis=1)


def resize_tables(
    size: tuple[int, int],
    out: Sequence[int] | None,
    scale: Sequence[float] | None,
    how: Interpolation,
) -> tuple[AxisTable, AxisTable]:
    """The tables of rows and columns for an output size, or for scales: floor(scale size)."""
    one_of("mode", how.mode, MODES)
    one_of("coordinates", how.coordinates, COORDINATES)
    one_of("nearest", how.nearest, NEAREST)
    tables = []
    for i in range(2):
        if out is not None:
            wanted, factor = out[i], out[i] / size[i] if scale is None else scale[i]
        elif scale is not None:
            wanted, factor = math.floor(scale[i] * size[i]), scale[i]
        else:
            raise ValueError("resize needs a size or scales")
        if wanted < 1 or not 0 < factor < math.inf:
            raise ValueError(f"resize of {size[i]} pixels by {factor} to {wanted}: at least 1")
        tables.append(axis_table(size[i], wanted, factor, how))
    return tables[0], tables[1]


def resize2d(
    x: Array,
    *,
    size: Sequence[int] | None = None,
    scale: Sequence[float] | None = None,
    how: Interpolation = Interpolation(),  # noqa: B008 (immutable)
    out: Array | None = None,
) -> Array:
    """x (n, c, h, w) or (c, h, w) with other rows and columns, by `size` or by `scale`.

    A result is NaN where a pixel that it reads is, even one of weight 0; nearest copies bits.
    """
    rows, columns = resize_tables((x.shape[-2], x.shape[-1]), size, scale, how)
    shape = (*x.shape[:-2], len(rows.indices), len(columns.indices))
    if how.mode == "nearest":
        tables = [None] * (x.ndim - 2) + [rows.indices[:, 0], columns.indices[:, 0]]
        return sweeps.copy(x, tables=tables, out=out)
    y = np.empty(shape, x.dtype) if out is None else out
    image = images("x", x)
    if max(image.shape[2:]) >= 1 << 24:
        raise ValueError(f"x has shape {x.shape}: at most {1 << 24} rows and columns are taken")
    window = (rows.indices.shape[1], columns.indices.shape[1])
    problem = operator_problem(x.dtype, image.shape, (image.shape[1], *shape[-2:]), window)
    weights = packed_tables(rows, columns, x.dtype)
    run_operator("resize", problem, image, images("y", y), weights=weights)
    return y


def packed_tables(rows: AxisTable, columns: AxisTable, dtype: Any) -> Array:
    """The tables as csrc/operators/resize.cpp reads them: one row of numbers."""
    parts = [part.ravel() for table in (rows, columns) for part in table]
    return np.concatenate(parts).astype(dtype)
