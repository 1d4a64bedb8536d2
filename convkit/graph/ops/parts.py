"""Operators that take parts, or join them: concat, split, slice, gather."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from convkit import sweeps
from convkit.graph.ir import Node, Value, Weight
from convkit.graph.ops import lowered
from convkit.graph.ops.movement import Inputs, Known, needed
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    axes_of,
    axis_of,
    given,
    whole_numbers,
)
from convkit.problem import DTYPES

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


def _concat_settle(node: Node, known: Known) -> Node:
    (x,) = given(node.inputs, "concat")
    return node.but(axis=axis_of(node.keywords.get("axis", 1), x))


def _concat_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    first, *rest = values = given(inputs, "concat", max(len(inputs), 1))
    axis = axis_of(keywords["axis"], first)
    for value in rest:
        same = [*value.sizes[:axis], *value.sizes[axis + 1 :]]
        if len(value.sizes) != len(first.sizes) or same != [
            *first.sizes[:axis],
            *first.sizes[axis + 1 :],
        ]:
            raise ValueError(
                f"concat along axis {axis} needs equal sizes elsewhere, but {first.name} is "
                f"{first.sizes} and {value.name} {value.sizes}"
            )
        if value.dtype != first.dtype:
            raise ValueError(
                f"concat needs one dtype, but {first.name} is {first.dtype} and {value.name} "
                f"{value.dtype}"
            )
    total = sum(value.sizes[axis] for value in values)
    return [((*first.sizes[:axis], total, *first.sizes[axis + 1 :]), first.dtype)]


def _concat(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    return (np.concatenate([a for a in arrays if a is not None], keywords["axis"]),)


def _concat_blocks(node: Node, block: int) -> bool:
    return node.keywords["axis"] == 1 and all(
        len(value.sizes) == 4 and not isinstance(value, Weight) and value.dtype in DTYPES
        for value in node.reads
    )


def _in_place(low: Lowering, value: Value, y: Value, block: int) -> bool:
    """Whether a part was made where it belongs, so many blocks behind the beginning."""
    part, whole = low.view(value), low.view(y)
    offset = whole.offset + block * whole.strides[1]
    return (part.buffer, part.offset, part.strides) == (whole.buffer, offset, whole.strides)


def _concat_lanes(low: Lowering, node: Node) -> None:
    """Parts in blocks of channels: one that begins within a block is copied to either side."""
    y, channel, clean = node.output, 0, True
    result, block = low.shadow(y), node.output.block
    for value in node.reads:
        c, (first, lane) = value.sizes[1], divmod(channel, block)
        channel += c
        clean = lane == 0 and _in_place(low, value, y, first)
        if clean:
            continue
        source = low.shadow(value)
        for begin, end, target in ((0, block - lane, first), (block - lane, block, first + 1)):
            into = lane if begin == 0 else 0
            # The blocks that are full; then the lanes that are filled of the last one.
            full = c // block
            for at, blocks, last in ((0, full, end), (full, 1, min(end, c % block))):
                if blocks and begin < last:
                    to = slice(target + at, target + at + blocks)
                    lowered.copied(
                        low, node, source[:, at : at + blocks, :, :, begin:last],
                        result[:, to, :, :, into : into + last - begin],
                    )  # fmt: skip
    if channel % block and not clean:
        rest = result[:, -1, :, :, channel % block :]
        lowered.copied(low, node, np.broadcast_to(np.zeros((), rest.dtype), rest.shape), rest)


def _concat_lower(low: Lowering, node: Node) -> None:
    """Each part into its slice, unless it was made there."""
    if node.output.block:
        _concat_lanes(low, node)
        return
    result, axis, begin = low.shadow(node.output), node.keywords["axis"], 0
    for value in node.reads:
        size = value.sizes[axis]
        part = result[(slice(None),) * axis + (slice(begin, begin + size),)]
        begin += size
        if math.prod(value.sizes):
            lowered.copied(low, node, low.shadow(value), part)


def _split_settle(node: Node, known: Known) -> Node:
    """The sizes in full: given, or equal parts of which the last may be smaller."""
    (x,) = given(node.inputs, "split")
    axis = axis_of(node.keywords.get("axis", 0), x)
    sizes = whole_numbers(node, known, 1, "sizes")
    whole, parts = x.sizes[axis], len(node.outputs)
    if sizes is None:
        each = -(-whole // parts)
        sizes = tuple(max(min(each, whole - each * part), 0) for part in range(parts))
    if len(sizes) != parts or sum(sizes) != whole or min(sizes, default=0) < 0:
        raise ValueError(
            f"split gives {parts} parts of sizes {sizes}, but axis {axis} of {x.name} is {whole}"
        )
    return Node("split", node.name, (x,), node.outputs, (("axis", axis), ("sizes", sizes)))


def _split_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "split")
    axis = keywords["axis"]
    return [((*x.sizes[:axis], size, *x.sizes[axis + 1 :]), x.dtype) for size in keywords["sizes"]]


def _split(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return tuple(np.split(x, np.cumsum(keywords["sizes"])[:-1], keywords["axis"]))


def _split_lower(low: Lowering, node: Node) -> None:
    source, axis, begin = low.shadow(node.reads[0]), node.keywords["axis"], 0
    for value, size in zip(node.outputs, node.keywords["sizes"], strict=True):
        part = source[(slice(None),) * axis + (slice(begin, begin + size),)]
        begin += size
        if math.prod(value.sizes):
            lowered.copied(low, node, part, low.shadow(value))


def _slice_settle(node: Node, known: Known) -> Node:
    """axes, starts, sizes and steps: what is taken of each axis, within its bounds."""
    (x,) = given(node.inputs, "slice")
    starts = needed(whole_numbers(node, known, 1, "starts"), "starts", "slice")
    ends = needed(whole_numbers(node, known, 2, "ends"), "ends", "slice")
    axes = whole_numbers(node, known, 3, "axes")
    steps = whole_numbers(node, known, 4, "steps")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError(
            f"slice reads {len(starts)} starts, {len(ends)} ends, {len(axes)} axes and "
            f"{len(steps)} steps: expected as many of each"
        )
    if 0 in steps:
        raise ValueError(f"steps={steps} must not be 0")
    axes_of(axes, x)
    taken = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = axis_of(axis, x, "axes")
        first, stop, _ = slice(start, end, step).indices(x.sizes[axis])
        taken.append((axis, first, len(range(first, stop, step)), step))
    axes, starts, sizes, steps = zip(*sorted(taken), strict=True) if taken else ((),) * 4
    settings = (("axes", axes), ("starts", starts), ("sizes", sizes), ("steps", steps))
    return Node("slice", node.name, (x,), node.outputs, settings)


def _slice_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "slice")
    sizes = list(x.sizes)
    for axis, size in zip(keywords["axes"], keywords["sizes"], strict=True):
        sizes[axis] = size
    return [(tuple(sizes), x.dtype)]


def _slice(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    for axis, start, size, step in zip(
        *(keywords[name] for name in ("axes", "starts", "sizes", "steps")), strict=True
    ):
        x = np.take(x, start + step * np.arange(size), axis)
    return (x,)


def _slice_lower(low: Lowering, node: Node) -> None:
    x = node.reads[0]
    parts = [slice(None)] * len(x.sizes)
    for axis, start, size, step in zip(
        *(node.keywords[name] for name in ("axes", "starts", "sizes", "steps")), strict=True
    ):
        stop = start + step * size
        parts[axis] = slice(start, None if stop < 0 else stop, step)
    if math.prod(node.output.sizes):
        lowered.copied(low, node, low.shadow(x)[tuple(parts)], low.shadow(node.output))


def _gather_settle(node: Node, known: Known) -> Node:
    (x,) = given(node.inputs, "gather")
    return node.but(axis=axis_of(node.keywords.get("axis", 0), x))


def _gather_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    x, indices = given(inputs, "gather", 2)
    axis, array = keywords["axis"], known[1]
    if array is None:
        raise ValueError(f"gather reads {indices.name}, which is not known before running")
    if array.dtype.kind not in "iu":
        raise ValueError(f"gather needs integers, but {indices.name} is {indices.dtype}")
    size = x.sizes[axis]
    if array.size and not (-size <= array.min() and array.max() < size):
        raise ValueError(
            f"gather reads indices from {array.min()} to {array.max()} of the {size} along axis "
            f"{axis} of {x.name}"
        )
    return [((*x.sizes[:axis], *indices.sizes, *x.sizes[axis + 1 :]), x.dtype)]


def _gather(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    x, indices = arrays
    assert x is not None and indices is not None
    return (np.asarray(np.take(x, indices.astype(np.int64), keywords["axis"])),)


def _gather_lower(low: Lowering, node: Node) -> None:
    x, indices = node.reads
    axis, size = node.keywords["axis"], x.sizes[node.keywords["axis"]]
    at = low.array(indices)
    assert at is not None
    flat = at.reshape(-1).astype(np.int64)
    tables: list[Array | None] = [None] * len(x.sizes)
    tables[axis] = np.where(flat < 0, flat + size, flat)
    shape = (*x.sizes[:axis], len(flat), *x.sizes[axis + 1 :])
    source, result = low.shadow(x), low.shadow(low.renamed(node.output, shape))
    if result.size:
        low.sweeps(node, lambda: sweeps.copy(source, tables=tables, out=result))


ROWS: dict[str, Op] = {
    # Each reads its second and later inputs as numbers known before running; or as settings.
    # concat(x, y, ...); axis
    "concat": Op(_concat_shape, _concat, _concat_lower, _concat_settle, blocks=_concat_blocks),
    # split(x, sizes); axis, sizes
    "split": Op(_split_shape, _split, _split_lower, _split_settle, reads=(1,)),
    # slice(x, starts, ends, axes, steps); the same, after settling starts, sizes, axes, steps
    "slice": Op(_slice_shape, _slice, _slice_lower, _slice_settle, reads=(1, 2, 3, 4)),
    # gather(x, indices); axis
    "gather": Op(_gather_shape, _gather, _gather_lower, _gather_settle, reads=(1,)),
}
