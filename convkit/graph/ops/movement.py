"""Operators that rename or reorder elements: reshape, squeeze, transpose, depth_to_space, ..."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit.graph.ir import Node, Value
from convkit.graph.ops import lowered
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    alias,
    axes_of,
    given,
    image_shape,
    pixel_in_blocks,
    whole_numbers,
)
from convkit.problem import integer

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering

#: More axes than this no array has.
MOST_AXES = 32

Inputs = Sequence[Value | None]
Known = Sequence[Array | None]


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


#: Axes of (n, c, h, b, w, b) in the order of the result; by whether channels come first (CRD).
TO_DEPTH = ((0, 3, 5, 1, 2, 4), (0, 1, 3, 5, 2, 4))


def _space_to_depth(arrays: Known, keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    (n, c, h, w), b = x.shape, keywords["block"]
    crd = keywords.get("mode", "DCR") == "CRD"
    y = x.reshape(n, c, h // b, b, w // b, b).transpose(TO_DEPTH[crd])
    return (y.reshape(n, c * b * b, h // b, w // b),)


def _space_to_depth_lower(low: Lowering, node: Node) -> None:
    x, b = low.in_rows(node.reads[0]), node.keywords["block"]
    n, c, h, w = x.sizes
    parts = low.shadow(low.renamed(x, (n, c, h // b, b, w // b, b)))
    crd = node.keywords.get("mode", "DCR") == "CRD"
    order = (n, c, b, b) if crd else (n, b, b, c)
    result = low.shadow(low.renamed(node.output, (*order, h // b, w // b)))
    lowered.copied(low, node, parts.transpose(TO_DEPTH[crd]), result)


ROWS: dict[str, Op] = {
    # Each reads its second and later inputs as numbers known before running; or as settings.
    # reshape(x, shape); shape, allowzero
    "reshape": Op(
        _reshape_shape,
        _reshape,
        alias,
        _reshape_settle,
        reads=(1,),
        blocks=pixel_in_blocks,
        view=True,
    ),
    # squeeze(x, axes), unsqueeze(x, axes); axes
    "squeeze": Op(
        _squeeze_shape,
        _squeeze,
        alias,
        _squeeze_settle,
        reads=(1,),
        blocks=pixel_in_blocks,
        view=True,
    ),
    "unsqueeze": Op(_unsqueeze_shape, _unsqueeze, alias, _unsqueeze_settle, reads=(1,), view=True),
    # transpose(x); perm, reversed axes if left out
    "transpose": Op(_transpose_shape, _transpose, _transpose_lower, _transpose_settle),
    # depth_to_space(x), space_to_depth(x); block, mode DCR or CRD: which axis of depth is first
    "depth_to_space": Op(_depth_to_space_shape, _depth_to_space, _depth_to_space_lower),
    "space_to_depth": Op(_space_to_depth_shape, _space_to_depth, _space_to_depth_lower),
}
