"""Operators that move or rename elements: reshape, transpose, concat, slice, pad, gather, ..."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit import sweeps
from convkit.graph.ir import Node, Value
from convkit.graph.ops import lowered
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    axes_of,
    axis_of,
    given,
    image_shape,
    optional,
    whole_numbers,
)
from convkit.problem import integer

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering

#: More axes than this no array has.
MOST_AXES = 32
#: What a pad puts around: names of ONNX -> of NumPy.
PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}

Inputs = Sequence[Value | None]
Known = Sequence[Array | None]


def _alias(low: Lowering, node: Node) -> None:
    low.alias(node)


def needed(numbers: Any, name: str, what: str) -> tuple[Any, ...]:
    """Numbers that an operator cannot do without."""
    if numbers is None:
        raise ValueError(f"{what} needs {name}")
    return tuple(numbers)


# Other shapes of the same memory


def _reshape_settle(node: Node, known: Known) -> Node:
    """The shape in full: 0 keeps a size (unless allowzero), one -1 takes what is left."""
    (x,) = given(node.inputs, "reshape")
    asked = needed(whole_numbers(node, known, 1, "shape"), "shape", "reshape")
    count = math.prod(x.sizes)
    shape = list(asked)
    if len(shape) > MOST_AXES or min(shape, default=0) < -1 or shape.count(-1) > 1:
        raise ValueError(f"shape={asked} must be of sizes, of which one may be -1")
    if not node.keywords.get("allowzero"):
        for axis, size in enumerate(shape):
            if size == 0:
                if axis >= len(x.sizes):
                    raise ValueError(f"shape={asked} keeps axis {axis}, but {x.name} has {x.sizes}")
                shape[axis] = x.sizes[axis]
    if -1 in shape:
        rest = math.prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = count // rest if rest else 0
    if math.prod(shape) != count:
        raise ValueError(f"shape={asked} does not fit the {count} elements of {x.name} {x.sizes}")
    return Node("reshape", node.name, (x,), node.outputs, (("shape", tuple(shape)),))


def _reshape_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "reshape")
    shape = tuple(keywords["shape"])
    if math.prod(shape) != math.prod(x.sizes) or min(shape, default=0) < 0:
        raise ValueError(f"shape={shape} does not fit the elements of {x.name} {x.sizes}")
    return [(shape, x.dtype)]


def _reshape(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (x.reshape(keywords["shape"]),)


def _squeeze_settle(node: Node, known: Known) -> Node:
    (x,) = given(node.inputs, "squeeze")
    axes = whole_numbers(node, known, 1, "axes")
    if axes is None:
        axes = tuple(axis for axis, size in enumerate(x.sizes) if size == 1)
    return Node("squeeze", node.name, (x,), node.outputs, (("axes", axes_of(axes, x)),))


def _squeeze_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "squeeze")
    for axis in keywords["axes"]:
        if x.sizes[axis] != 1:
            raise ValueError(
                f"axes={keywords['axes']} must be of size 1, but {x.name} is {x.sizes}"
            )
    kept = [size for axis, size in enumerate(x.sizes) if axis not in keywords["axes"]]
    return [(tuple(kept), x.dtype)]


def _squeeze(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (np.squeeze(x, keywords["axes"]),)


def _unsqueeze_settle(node: Node, known: Known) -> Node:
    (x,) = given(node.inputs, "unsqueeze")
    axes = needed(whole_numbers(node, known, 1, "axes"), "axes", "unsqueeze")
    if len(x.sizes) + len(axes) > MOST_AXES:
        raise ValueError(f"axes={axes}: at most {MOST_AXES} axes")
    axes = axes_of(axes, x, len(axes))
    return Node("unsqueeze", node.name, (x,), node.outputs, (("axes", axes),))


def _unsqueeze_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "unsqueeze")
    sizes = list(x.sizes)
    for axis in keywords["axes"]:
        sizes.insert(axis, 1)
    return [(tuple(sizes), x.dtype)]


def _unsqueeze(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (np.expand_dims(x, keywords["axes"]),)


# Other orders


def _transpose_settle(node: Node, known: Known) -> Node:
    (x,) = given(node.inputs, "transpose")
    perm = node.keywords.get("perm")
    axes = tuple(reversed(range(len(x.sizes)))) if perm is None else tuple(perm)
    if sorted(axes) != list(range(len(x.sizes))):
        raise ValueError(f"perm={axes} must name each axis of {x.name} {x.sizes} once")
    return node.but(perm=axes)


def _transpose_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "transpose")
    return [(tuple(x.sizes[axis] for axis in keywords["perm"]), x.dtype)]


def _transpose(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (x.transpose(keywords["perm"]),)


def _transpose_lower(low: Lowering, node: Node) -> None:
    source = low.shadow(node.reads[0]).transpose(node.keywords["perm"])
    lowered.copied(low, node, source, low.shadow(node.output))


def _block(x: Value, keywords: Keywords, what: str) -> tuple[int, int, int, int, int]:
    n, c, h, w = image_shape(x, what)
    return n, c, h, w, integer("block", keywords["block"], least=1)


def _depth_to_space_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "depth_to_space")
    n, c, h, w, b = _block(x, keywords, "depth_to_space")
    if c % (b * b):
        raise ValueError(f"block={b} squared must divide the {c} channels of {x.name}")
    return [((n, c // (b * b), h * b, w * b), x.dtype)]


def _depth_to_space(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    (n, c, h, w), b = x.shape, keywords["block"]
    each = c // (b * b)
    if keywords.get("mode", "DCR") == "DCR":
        y = x.reshape(n, b, b, each, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, each, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return (y.reshape(n, each, h * b, w * b),)


def _depth_to_space_lower(low: Lowering, node: Node) -> None:
    x, b = low.in_rows(node.reads[0]), node.keywords["block"]
    n, c, h, w = x.sizes
    each = c // (b * b)
    if node.keywords.get("mode", "DCR") == "DCR":
        source = low.shadow(low.renamed(x, (n, b, b, each, h, w))).transpose(0, 3, 4, 1, 5, 2)
    else:
        source = low.shadow(low.renamed(x, (n, each, b, b, h, w))).transpose(0, 1, 4, 2, 5, 3)
    result = low.shadow(low.renamed(node.output, (n, each, h, b, w, b)))
    lowered.copied(low, node, source, result)


def _space_to_depth_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "space_to_depth")
    n, c, h, w, b = _block(x, keywords, "space_to_depth")
    if h % b or w % b:
        raise ValueError(f"block={b} must divide the rows and columns of {x.name} {x.sizes}")
    return [((n, c * b * b, h // b, w // b), x.dtype)]


def _space_to_depth(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    (n, c, h, w), b = x.shape, keywords["block"]
    y = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    return (y.reshape(n, c * b * b, h // b, w // b),)


def _space_to_depth_lower(low: Lowering, node: Node) -> None:
    x, b = low.in_rows(node.reads[0]), node.keywords["block"]
    n, c, h, w = x.sizes
    parts = low.shadow(low.renamed(x, (n, c, h // b, b, w // b, b)))
    result = low.shadow(low.renamed(node.output, (n, b, b, c, h // b, w // b)))
    lowered.copied(low, node, parts.transpose(0, 3, 5, 1, 2, 4), result)


# Parts


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


def _concat_lower(low: Lowering, node: Node) -> None:
    """Each part into its slice; in blocks one that begins within a block comes by rows."""
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


# Larger arrays


def _pad_settle(node: Node, known: Known) -> Node:
    """pads: (before, after) of each axis; mode; value."""
    (x,) = given(node.inputs, "pad")
    flat = needed(whole_numbers(node, known, 1, "pads"), "pads", "pad")
    value = node.keywords.get("value", 0.0)
    filler = optional(node.inputs, 2)
    if filler is not None:
        array = known[2]
        if array is None or array.size != 1 or array.dtype.kind not in "fiub":
            raise ValueError(f"pad reads {filler.name}: expected one number known before running")
        value = array.reshape(-1)[0].item()
    axes = whole_numbers(node, known, 3, "axes")
    axes = tuple(range(len(x.sizes))) if axes is None else axes
    axes_of(axes, x)
    if len(flat) != 2 * len(axes):
        raise ValueError(f"pads={flat} must be a begin for each of {len(axes)} axes, then the ends")
    pads = [(0, 0)] * len(x.sizes)
    for i, axis in enumerate(axes):
        pads[axis_of(axis, x)] = (flat[i], flat[i + len(axes)])
    settings = (("pads", tuple(pads)), ("mode", node.keywords.get("mode", "constant")))
    return Node("pad", node.name, (x,), node.outputs, (*settings, ("value", value)))


def _pad_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "pad")
    mode = keywords["mode"]
    if mode not in PAD_MODES:
        raise ValueError(f"mode={mode!r} must be one of {', '.join(PAD_MODES)}")
    sizes = []
    for size, (before, after) in zip(x.sizes, keywords["pads"], strict=True):
        cut = size + min(before, 0) + min(after, 0)
        most = cut - 1 if mode == "reflect" else cut
        if cut < 0 or (mode != "constant" and max(before, after, 0) > 0 and cut < 1):
            raise ValueError(f"pads={keywords['pads']} cut off more than {x.name} {x.sizes} has")
        if mode in ("reflect", "wrap") and max(before, after) > most:
            raise ValueError(
                f"pads={keywords['pads']} must be at most {most} for mode={mode!r} and {x.name} "
                f"{x.sizes}"
            )
        sizes.append(size + before + after)
    return [(tuple(sizes), x.dtype)]


def _pad(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    for axis, (before, after) in enumerate(keywords["pads"]):
        part = slice(max(-before, 0), x.shape[axis] - max(-after, 0))
        x = x[(slice(None),) * axis + (part,)]
    wide = [(max(before, 0), max(after, 0)) for before, after in keywords["pads"]]
    if keywords["mode"] != "constant":
        return (np.pad(x, wide, PAD_MODES[keywords["mode"]]),)  # type: ignore[call-overload]
    return (np.pad(x, wide, constant_values=keywords["value"]),)


def _pad_lower(low: Lowering, node: Node) -> None:
    (x,), keywords = node.reads, node.keywords
    source, result = low.shadow(x), low.shadow(node.output)
    low.sweeps(
        node,
        lambda: sweeps.pad(
            source, keywords["pads"], mode=keywords["mode"], value=keywords["value"], out=result
        ),
    )


def _expand_settle(node: Node, known: Known) -> Node:
    """The shape that the input's and the one given spread to."""
    (x,) = given(node.inputs, "expand")
    asked = needed(whole_numbers(node, known, 1, "shape"), "shape", "expand")
    rank = max(len(asked), len(x.sizes))
    if rank > MOST_AXES:
        raise ValueError(f"shape={asked} has {len(asked)} axes: at most {MOST_AXES}")
    made = []
    for have, want in zip(
        (1,) * (rank - len(x.sizes)) + x.sizes, (1,) * (rank - len(asked)) + asked, strict=True
    ):
        if want < 0 or (have != want and 1 not in (have, want)):
            raise ValueError(f"{x.name} {x.sizes} does not spread to shape={asked}")
        made.append(want if have == 1 else have)
    return Node("expand", node.name, (x,), node.outputs, (("shape", tuple(made)),))


def _expand_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "expand")
    return [(keywords["shape"], x.dtype)]


def _expand(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (np.broadcast_to(x, keywords["shape"]),)


def _expand_lower(low: Lowering, node: Node) -> None:
    source = np.broadcast_to(low.shadow(node.reads[0]), node.output.sizes)
    lowered.copied(low, node, source, low.shadow(node.output))


def _tile_settle(node: Node, known: Known) -> Node:
    (x,) = given(node.inputs, "tile")
    repeats = needed(whole_numbers(node, known, 1, "repeats"), "repeats", "tile")
    if len(repeats) != len(x.sizes) or min(repeats, default=0) < 0:
        raise ValueError(f"repeats={repeats} must be a count for each axis of {x.name} {x.sizes}")
    return Node("tile", node.name, (x,), node.outputs, (("repeats", repeats),))


def _tile_shape(inputs: Inputs, known: Known, keywords: Keywords) -> list[Made]:
    (x,) = given(inputs, "tile")
    return [(tuple(n * r for n, r in zip(x.sizes, keywords["repeats"], strict=True)), x.dtype)]


def _tile(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (np.tile(x, keywords["repeats"]),)


def _tile_lower(low: Lowering, node: Node) -> None:
    source, result = low.shadow(node.reads[0]), low.shadow(node.output)
    repeats = node.keywords["repeats"]
    if result.size:
        low.sweeps(node, lambda: sweeps.tile(source, repeats, out=result))


ROWS: dict[str, Op] = {
    # Each reads its second and later inputs as numbers known before running; or as settings.
    # reshape(x, shape); shape, allowzero
    "reshape": Op(_reshape_shape, _reshape, _alias, _reshape_settle, reads=(1,), view=True),
    # squeeze(x, axes), unsqueeze(x, axes); axes
    "squeeze": Op(_squeeze_shape, _squeeze, _alias, _squeeze_settle, reads=(1,), view=True),
    "unsqueeze": Op(_unsqueeze_shape, _unsqueeze, _alias, _unsqueeze_settle, reads=(1,), view=True),
    # transpose(x); perm, reversed axes if left out
    "transpose": Op(_transpose_shape, _transpose, _transpose_lower, _transpose_settle),
    # depth_to_space(x); block, mode DCR or CRD     space_to_depth(x); block
    "depth_to_space": Op(_depth_to_space_shape, _depth_to_space, _depth_to_space_lower),
    "space_to_depth": Op(_space_to_depth_shape, _space_to_depth, _space_to_depth_lower),
    # concat(x, y, ...); axis
    "concat": Op(_concat_shape, _concat, _concat_lower, _concat_settle),
    # split(x, sizes); axis, sizes
    "split": Op(_split_shape, _split, _split_lower, _split_settle, reads=(1,)),
    # slice(x, starts, ends, axes, steps); the same, after settling starts, sizes, axes, steps
    "slice": Op(_slice_shape, _slice, _slice_lower, _slice_settle, reads=(1, 2, 3, 4)),
    # gather(x, indices); axis
    "gather": Op(_gather_shape, _gather, _gather_lower, _gather_settle, reads=(1,)),
    # pad(x, pads, value, axes); the same, mode
    "pad": Op(_pad_shape, _pad, _pad_lower, _pad_settle, reads=(1, 2, 3)),
    # expand(x, shape); shape     tile(x, repeats); repeats
    "expand": Op(_expand_shape, _expand, _expand_lower, _expand_settle, reads=(1,)),
    "tile": Op(_tile_shape, _tile, _tile_lower, _tile_settle, reads=(1,)),
}
