"""Operators that move or rename what is there: flatten, reshape, pad_channels, shape, ..."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convkit.graph.ir import Node, Value
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    alias,
    given,
    image_shape,
    pixel_in_blocks,
)
from convkit.problem import integer
from convkit.sweeps import pad

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


def _flatten_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "flatten")
    axis = keywords.get("axis", 1)
    if not -len(x.sizes) <= axis <= len(x.sizes):
        raise ValueError(f"axis={axis} must be an axis of {x.name}, which has {len(x.sizes)}")
    axis %= len(x.sizes) + (axis == len(x.sizes))
    return [((math.prod(x.sizes[:axis]), math.prod(x.sizes[axis:])), x.dtype)]


def _flatten(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    ((shape, _),) = _flatten_shape([Value("x", x.shape, str(x.dtype))], [None], keywords)
    return (x.reshape(shape),)


def _identity_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "identity")
    return [(x.sizes, x.dtype)]


def _identity(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (x,)


def _pad_channels_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "pad_channels")
    n, c, h, w = image_shape(x, "pad_channels")
    before = integer("before", keywords["before"], least=0)
    after = integer("after", keywords["after"], least=0)
    stride = integer("stride", keywords["stride"], least=1)
    return [((n, before + c + after, -(-h // stride), -(-w // stride)), x.dtype)]


def _pad_channels(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    before, after, step = keywords["before"], keywords["after"], keywords["stride"]
    return (np.pad(x[:, :, ::step, ::step], ((0, 0), (before, after), (0, 0), (0, 0))),)


def _pad_channels_lower(low: Lowering, node: Node) -> None:
    (x,) = given(node.inputs, "pad_channels")
    step = node.keywords["stride"]
    widths = [(0, 0), (node.keywords["before"], node.keywords["after"]), (0, 0), (0, 0)]
    source, result = low.shadow(x)[:, :, ::step, ::step], low.shadow(node.output)
    low.sweeps(node, lambda: pad(source, widths, out=result))


def _reorder_lower(low: Lowering, node: Node) -> None:
    low.reorder(node)


ROWS: dict[str, Op] = {
    # flatten(x); axis: the axes before it become the rows, those from it the columns
    "flatten": Op(_flatten_shape, _flatten, alias, blocks=pixel_in_blocks, view=True),
    "identity": Op(_identity_shape, _identity, alias, view=True),
    # reorder(x): the same numbers in another layout
    "reorder": Op(_identity_shape, _identity, _reorder_lower),
    # pad_channels(x); before, after, stride: every stride-th row and column, zeros around
    "pad_channels": Op(_pad_channels_shape, _pad_channels, _pad_channels_lower),
}
