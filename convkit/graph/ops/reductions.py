"""Sums, means, maxima, ... over axes; log_softmax and softmax stand with what they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit.graph.ir import Node, Value
from convkit.graph.ops import lowered
from convkit.graph.ops.arithmetic import INTEGERS
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    Reference,
    axes_of,
    axis_of,
    given,
    one_dtype,
    whole_numbers,
)

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


def _log_sum_exp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    top = np.max(x, axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    total = np.log(np.sum(np.exp(x - top), axes, keepdims=True)) + top
    return np.asarray(total if keepdims else np.squeeze(total, axes))


def _maximum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    return np.asarray(np.max(x, axes, keepdims=keepdims, initial=least))


def _minimum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    most = np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).max
    return np.asarray(np.min(x, axes, keepdims=keepdims, initial=most))


#: name -> formula of (x, axes, keepdims)
REDUCTIONS: dict[str, Callable[[Array, tuple[int, ...], bool], Any]] = {
    "reduce_sum": lambda x, axes, keep: np.sum(x, axes, keepdims=keep),
    "reduce_mean": lambda x, axes, keep: (
        np.sum(x, axes, keepdims=keep) / np.float64(math.prod(x.shape[axis] for axis in axes))
    ),
    "reduce_max": _maximum,
    "reduce_min": _minimum,
    "reduce_prod": lambda x, axes, keep: np.prod(x, axes, keepdims=keep),
    "reduce_l1": lambda x, axes, keep: np.sum(np.abs(x), axes, keepdims=keep),
    "reduce_l2": lambda x, axes, keep: np.sqrt(np.sum(x * x, axes, keepdims=keep)),
    "reduce_sum_square": lambda x, axes, keep: np.sum(x * x, axes, keepdims=keep),
    "reduce_log_sum": lambda x, axes, keep: np.log(np.sum(x, axes, keepdims=keep)),
    "reduce_log_sum_exp": _log_sum_exp,
}


def _settle(node: Node, known: Sequence[Array | None]) -> Node:
    """Axes in full. Means and maxima of whole channels become the global pools."""
    (x,) = given(node.inputs, node.op)
    axes = whole_numbers(node, known, 1, "axes")
    if not axes:
        nothing = node.keywords.get("noop_with_empty_axes", False)
        axes = () if nothing else tuple(range(len(x.sizes)))
    axes = axes_of(axes, x)
    keepdims = bool(node.keywords.get("keepdims", True))
    pool = {"reduce_mean": "global_avg_pool2d", "reduce_max": "global_max_pool2d"}.get(node.op)
    images = len(x.sizes) == 4 and x.dtype.startswith("float")
    if pool and images and axes == (2, 3) and keepdims and min(x.sizes[1:]) > 0:
        return Node(pool, node.name, (x,), node.outputs)
    return Node(node.op, node.name, (x,), node.outputs, (("axes", axes), ("keepdims", keepdims)))


def _shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "a reduction")
    dtype = x.dtype if x.dtype in INTEGERS else one_dtype((x,), "a reduction")
    axes = keywords["axes"]
    sizes = [1 if axis in axes else size for axis, size in enumerate(x.sizes)]
    if not keywords["keepdims"]:
        sizes = [size for axis, size in enumerate(sizes) if axis not in axes]
    return [(tuple(sizes), dtype)]


def _reference(function: Callable[[Array, tuple[int, ...], bool], Any]) -> Reference:
    def reference(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
        (x,) = arrays
        assert x is not None
        wide = x.astype(np.float64) if x.dtype.kind == "f" else x
        with np.errstate(all="ignore"):
            made = function(wide, keywords["axes"], keywords["keepdims"])
            return (np.asarray(made).astype(x.dtype),)

    return reference


#: Reductions that kernels do, and what they give of nothing.
SWEEPS = {
    "reduce_sum": ("sum", 0.0), "reduce_mean": ("mean", math.nan),
    "reduce_max": ("max", -math.inf), "reduce_min": ("min", math.inf),
    "reduce_prod": ("product", 1.0), "reduce_l1": ("magnitudes", 0.0),
    "reduce_l2": ("length", 0.0), "reduce_sum_square": ("squares", 0.0),
    "reduce_log_sum": ("sum", 0.0), "reduce_log_sum_exp": ("sum", 0.0),
}  # fmt: skip


def _lower(low: Lowering, node: Node) -> None:
    lowered.floats(node)
    (x,) = node.reads
    axes = node.keywords["axes"]
    source, result = low.shadow(x), low.shadow(node.output)
    if node.keywords["keepdims"]:
        kept = (0 if axis in axes else slice(None) for axis in range(len(x.sizes)))
        result = result[tuple(kept) + (Ellipsis,)]
    name, empty = SWEEPS[node.op]
    if not source.size:
        if node.op.startswith("reduce_log"):
            empty = -math.inf
        lowered.copied(low, node, np.broadcast_to(np.array(empty, x.dtype), result.shape), result)
    elif node.op == "reduce_log_sum_exp":
        _log_sum_exp_lower(low, node, x, axes, result)
    else:
        _reduced(low, node, name, source, axes, result)
        if node.op == "reduce_log_sum":
            lowered.unary(low, node, result, "log", result)


def _reduced(
    low: Lowering, node: Node, name: str, x: Array, axes: tuple[int, ...], y: Array
) -> None:
    """A reduction; over no axis at all it is one of each number."""
    if axes:
        lowered.reduced(low, node, name, x, axes, y)
    else:
        lowered.reduced(low, node, name, x[..., None], (x.ndim,), y)


def _log_sum_exp_lower(
    low: Lowering,
    node: Node,
    x: Value,
    axes: tuple[int, ...],
    result: Array,
    less_top: Array | None = None,
) -> None:
    """log(sum(exp(x - top))) + top, with a top that is finite; x - top into less_top alone."""
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.sizes))
    top = low.shadow(lowered.temporary(low, node, "top", kept, x.dtype))
    flat = top[tuple(0 if axis in axes else slice(None) for axis in range(len(kept))) + (...,)]
    most = float(np.finfo(x.dtype).max)
    powers = low.shadow(lowered.temporary(low, node, "powers", x.sizes, x.dtype))
    _reduced(low, node, "max", low.shadow(x), axes, flat)
    lowered.unary(low, node, flat, "clip", flat, -most, most)
    part = powers if less_top is None else less_top
    lowered.binary(low, node, "subtract", low.shadow(x), top, part)
    lowered.unary(low, node, part, "exp", powers)
    _reduced(low, node, "sum", powers, axes, result)
    lowered.unary(low, node, result, "log", result)
    if less_top is None:
        lowered.binary(low, node, "add", result, flat, result)


def _log_softmax_settle(node: Node, known: Sequence[Array | None]) -> Node:
    (x,) = given(node.inputs, node.op)
    return node.but(axis=axis_of(node.keywords.get("axis", -1), x))


def _log_softmax_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "log_softmax")
    return [(x.sizes, one_dtype((x,), "log_softmax"))]


def _log_softmax(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    wide = x.astype(np.float64)
    return ((wide - _log_sum_exp(wide, (keywords["axis"],), True)).astype(x.dtype),)


def _log_softmax_lower(low: Lowering, node: Node) -> None:
    """x - top - log(sum(exp(x - top)))"""
    (x,) = node.reads
    axis = node.keywords["axis"]
    y = low.shadow(node.output)
    if not y.size:
        return
    kept = tuple(1 if i == axis else size for i, size in enumerate(x.sizes))
    total = low.shadow(lowered.temporary(low, node, "log_sum", kept, x.dtype))
    flat = total[(slice(None),) * axis + (0, ...)]
    _log_sum_exp_lower(low, node, x, (axis,), flat, y)
    lowered.binary(low, node, "subtract", y, total, y)


ROWS: dict[str, Op] = {
    # reduce_sum(x, axes), ...; axes, keepdims, noop_with_empty_axes
    **{
        name: Op(_shape, _reference(function), _lower, _settle, reads=(1,))
        for name, function in REDUCTIONS.items()
    },
    # log_softmax(x); axis
    "log_softmax": Op(_log_softmax_shape, _log_softmax, _log_softmax_lower, _log_softmax_settle),
}
