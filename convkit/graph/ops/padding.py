"""Operators whose output is larger: pad, expand, tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from convkit import sweeps
from convkit.graph.ir import Node
from convkit.graph.ops import lowered
from convkit.graph.ops.movement import MOST_AXES, Inputs, Known, needed
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    axes_of,
    axis_of,
    given,
    optional,
    whole_numbers,
)

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering

#: What a pad puts around: names of ONNX -> of NumPy.
PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


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
    # pad(x, pads, value, axes); the same, mode
    "pad": Op(_pad_shape, _pad, _pad_lower, _pad_settle, reads=(1, 2, 3)),
    # expand(x, shape); shape     tile(x, repeats); repeats
    "expand": Op(_expand_shape, _expand, _expand_lower, _expand_settle, reads=(1,)),
    "tile": Op(_tile_shape, _tile, _tile_lower, _tile_settle, reads=(1,)),
}
