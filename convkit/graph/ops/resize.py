"""resize: separable interpolation; every result along an axis is a weighted sum of a few taps.

y[.., i, ..] = sum_t weight[i, t] x[.., index[i, t], ..], axis by axis, as ONNX's Resize defines it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit import sweeps
from convkit.graph.choice import has_kernel, operator_fields
from convkit.graph.ir import Node, Value
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    axis_of,
    given,
    in_blocks,
    numbers,
    one_dtype,
    whole_numbers,
)
from convkit.operators.resize import AxisTable, packed_tables
from convkit.problem import DTYPES, MOST_BYTES, one_of

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering

MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_half_pixel_for_nn",
)  # fmt: skip
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
POLICIES = ("stretch", "not_larger", "not_smaller")
#: A scale's least and most: beyond them sizes overflow, or taps without end are needed.
SCALES = (1 / 1024, 1024.0)


def resize_taps(length: int, resized: int, scale: float, keywords: Keywords) -> tuple[Array, Array]:
    """(index, weight) of shape (resized, taps) along an axis of `length` elements."""
    at = _coordinates(length, resized, scale, keywords["coordinates"])
    mode = keywords["mode"]
    if mode == "nearest":
        nearest = _rounded(at, keywords["rounding"])[:, None]
        return np.clip(nearest, 0, length - 1), np.ones((resized, 1))
    # An antialiasing filter is as wide as the elements that one result stands for.
    shrink = min(scale, 1.0) if keywords["antialias"] else 1.0
    reach = math.ceil((1 if mode == "linear" else 2) / shrink)
    floor = np.floor(at).astype(np.int64)
    index = floor[:, None] + np.arange(1 - reach, reach + 1)
    distance = np.abs(index - at[:, None]) * shrink
    weight = np.clip(1 - distance, 0, 1) if mode == "linear" else _cubic(distance, keywords["a"])
    if keywords["exclude_outside"]:
        weight = np.where((index >= 0) & (index < length), weight, 0)
    if keywords["exclude_outside"] or shrink < 1:
        weight = weight / weight.sum(1, keepdims=True)
    return np.clip(index, 0, length - 1), weight


def _coordinates(length: int, resized: int, scale: float, mode: str) -> Array:
    """Where each result lies among the elements."""
    i = np.arange(resized, dtype=np.float64)
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        return i * ((length - 1) / (resized - 1)) if resized > 1 else i
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if mode == "pytorch_half_pixel" and resized == 1:
        return i
    at = (i + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":  # what rounding the size cut off is taken from both sides
        at += length / 2 * (1 - resized / (scale * length))
    return at


def _rounded(at: Array, rounding: str) -> Array:
    if rounding == "round_prefer_floor":
        at = np.ceil(at - 0.5)
    elif rounding == "round_prefer_ceil":
        at = np.floor(at + 0.5)
    else:
        at = np.floor(at) if rounding == "floor" else np.ceil(at)
    return at.astype(np.int64)


def _cubic(d: Array, a: float) -> Array:
    """Keys' kernel at distances d >= 0."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _settle(node: Node, known: Sequence[Array | None]) -> Node:
    """Sizes and scales of every axis, and all settings in full."""
    (x,) = given(node.inputs, "resize")
    keywords = node.keywords
    scales = numbers(node, known, 2, "scales") or None  # an empty vector is none
    sizes = whole_numbers(node, known, 3, "sizes") or None
    if (scales is None) == (sizes is None):
        raise ValueError("resize needs scales or sizes, one of the two")
    axes = keywords.get("axes")
    axes = tuple(range(len(x.sizes))) if axes is None else axes
    axes = tuple(axis_of(axis, x, "axes") for axis in axes)
    given_numbers: tuple[Any, ...] = sizes or scales or ()
    if len(given_numbers) != len(axes) or len(set(axes)) < len(axes):
        raise ValueError(f"resize reads {given_numbers} for the axes {axes} of {x.name} {x.sizes}")
    whole = list(x.sizes)
    factors = [1.0] * len(whole)
    if scales is not None:
        for axis, scale in zip(axes, scales, strict=True):
            if not SCALES[0] <= scale <= SCALES[1]:
                raise ValueError(f"scales={scales} must be from {SCALES[0]} to {SCALES[1]}")
            # In float32, as those who exported the scale multiplied it.
            whole[axis] = int(np.float32(x.sizes[axis]) * np.float32(scale))
            factors[axis] = scale
    else:
        assert sizes is not None
        if min(sizes) < 1 or min(x.sizes[axis] for axis in axes) < 1 or max(sizes) > MOST_BYTES:
            raise ValueError(f"sizes={sizes} and those of {x.name} {x.sizes} must be at least 1")
        ratios = [size / x.sizes[axis] for axis, size in zip(axes, sizes, strict=True)]
        policy = one_of("policy", keywords.get("policy", "stretch"), POLICIES)
        if policy != "stretch":
            one = min(ratios) if policy == "not_larger" else max(ratios)
            ratios = [one] * len(axes)
            sizes = tuple(math.floor(one * x.sizes[axis] + 0.5) for axis in axes)
        for axis, size, ratio in zip(axes, sizes, ratios, strict=True):
            whole[axis], factors[axis] = size, ratio
    settings = {
        "sizes": tuple(whole),
        "scales": tuple(factors),
        "mode": one_of("mode", keywords.get("mode", "nearest"), MODES),
        "coordinates": one_of(
            "coordinates", keywords.get("coordinates", "half_pixel"), COORDINATES
        ),
        "rounding": one_of("rounding", keywords.get("rounding", "round_prefer_floor"), ROUNDINGS),
        "a": float(keywords.get("a", -0.75)),
        "exclude_outside": bool(keywords.get("exclude_outside", False)),
        "antialias": bool(keywords.get("antialias", False)),
    }
    return Node("resize", node.name, (x,), node.outputs, tuple(settings.items()))


def _shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "resize")
    if min(x.sizes[1:], default=1) < 1 or min(keywords["sizes"][1:], default=1) < 1:
        raise ValueError(f"resize of {x.name} {x.sizes} to {keywords['sizes']}: nothing is left")
    if keywords["mode"] != "nearest":
        one_dtype((x,), "resize")
    return [(keywords["sizes"], x.dtype)]


def _reference(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    y = x.astype(np.float64) if keywords["mode"] != "nearest" else x
    for axis, (size, scale) in enumerate(zip(keywords["sizes"], keywords["scales"], strict=True)):
        if size == x.shape[axis] and scale == 1:
            continue
        index, weight = resize_taps(x.shape[axis], size, scale, keywords)
        if keywords["mode"] == "nearest":
            y = np.take(y, index[:, 0], axis)
            continue
        shape = (-1,) + (1,) * (x.ndim - axis - 1)
        taps = [
            np.take(y, index[:, tap], axis) * weight[:, tap].reshape(shape)
            for tap in range(index.shape[1])
        ]
        y = np.asarray(sum(taps))
    return (y.astype(x.dtype),)


def _tables(x: Value, keywords: Keywords) -> list[tuple[Array, Array] | None]:
    """For each axis the taps of its results, None where it stays."""
    return [
        None if size == length and scale == 1 else resize_taps(length, size, scale, keywords)
        for length, size, scale in zip(
            x.sizes, keywords["sizes"], keywords["scales"], strict=True
        )
    ]


def _lower(low: Lowering, node: Node) -> None:
    """Nearest elements are a movement; the rest is one kernel over rows and columns."""
    (x,) = node.reads
    tables = _tables(x, node.keywords)
    if node.keywords["mode"] == "nearest":
        picked = [None if table is None else table[0][:, 0] for table in tables]
        if x.block:
            picked.append(None)
        source, result = low.shadow(x), low.shadow(node.output)
        low.sweeps(node, lambda: sweeps.copy(source, tables=picked, out=result))
        return
    if len(x.sizes) != 4 or tables[0] or tables[1]:
        raise ValueError(
            f"node {node.name}: resize of {x.name} {x.sizes} to {node.keywords['sizes']} with "
            f"mode={node.keywords['mode']!r} is not supported: expected images (n, c, h, w) of "
            f"which h and w change"
        )
    weights, fields = _problem(node)
    names = f"{node.settings}"
    low.operator(node, "resize", fields, (names, weights))


def _problem(node: Node) -> tuple[Array, tuple[int, ...]]:
    """The tables in one row, as csrc/operators/resize.cpp reads them; what the kernel is told."""
    (x,) = node.reads
    tables = _tables(x, node.keywords)
    h, w = (
        table or (np.arange(size)[:, None], np.ones((size, 1)))
        for table, size in zip(tables[2:], x.sizes[2:], strict=True)
    )
    window = (h[0].shape[1], w[0].shape[1])
    return packed_tables(AxisTable(*h), AxisTable(*w), x.dtype), operator_fields(
        x, node.output, window
    )


def _blocks(node: Node, block: int) -> bool:
    (x,) = node.reads
    if len(x.sizes) != 4 or node.keywords["sizes"][:2] != x.sizes[:2]:
        return False
    if node.keywords["mode"] == "nearest":
        return x.dtype in DTYPES
    return has_kernel("resize", _problem(in_blocks(node, block))[1])


ROWS: dict[str, Op] = {
    # resize(x, roi, scales, sizes); scales or sizes, axes, policy, mode, coordinates, rounding, a,
    # exclude_outside, antialias
    "resize": Op(
        _shape, _reference, _lower, _settle, reads=(2, 3), blocks=_blocks
    ),
}
