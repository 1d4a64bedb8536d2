"""Element by element: activation, add, batch_norm; softmax along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convkit.epilogue import activation
from convkit.graph.choice import has_kernel, operator_fields
from convkit.graph.ir import Node, Value
from convkit.graph.ops.activations import activated
from convkit.graph.ops.row import Array, Keywords, Made, Op, given, in_blocks, one_dtype

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


def _activation_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    if keywords.get("activation") is None:
        raise ValueError("activation=None must be a name or (name, parameters...)")
    activation(keywords["activation"])
    (x,) = given(inputs, "activation")
    return [(x.sizes, one_dtype((x,), "activation"))]


def _activation(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (activated(x.astype(np.float64), keywords["activation"]).astype(x.dtype),)


def _add_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    activation(keywords.get("activation"))
    x, y = given(inputs, "add", 2)
    if x.sizes != y.sizes:
        raise ValueError(
            f"add needs two values of one shape, but {x.name} has {x.sizes} and {y.name} {y.sizes}"
        )
    return [(x.sizes, one_dtype((x, y), "add"))]


def _add(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    x, y = arrays
    assert x is not None and y is not None
    return (activated(x + y, keywords.get("activation")).astype(x.dtype),)


def _elementwise_lower(low: Lowering, node: Node) -> None:
    low.elementwise(node)


def elementwise_blocks(node: Node, block: int) -> bool:
    blocked = in_blocks(node, block)
    (x,) = given(blocked.inputs, "activation")
    return len(x.sizes) == 4 and has_kernel("activation", operator_fields(x, blocked.output))


def _batch_norm_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    activation(keywords.get("activation"))
    eps = keywords.get("eps", 1e-5)
    if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0 <= eps < math.inf:
        raise ValueError(f"eps={eps!r} must be a number of at least 0")
    x, *vectors = given(inputs, "batch_norm", 5)
    if len(x.sizes) < 2:
        raise ValueError(f"batch_norm needs (n, c, ...), but {x.name} has shape {x.sizes}")
    for vector in vectors:
        if vector.sizes != (x.sizes[1],):
            raise ValueError(f"{vector.name} has shape {vector.sizes}: expected ({x.sizes[1]},)")
    return [(x.sizes, one_dtype((x, *vectors), "batch_norm"))]


def _batch_norm(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    x = arrays[0]
    assert x is not None
    weight, bias, mean, var = (
        np.asarray(a, np.float64).reshape((-1,) + (1,) * (x.ndim - 2)) for a in arrays[1:5]
    )
    y = (x - mean) / np.sqrt(var + keywords.get("eps", 1e-5)) * weight + bias
    return (activated(y, keywords.get("activation")).astype(x.dtype),)


def _batch_norm_blocks(node: Node, block: int) -> bool:
    blocked = in_blocks(node, block)
    (x,) = given(blocked.inputs, "batch_norm")
    return len(x.sizes) == 4 and has_kernel("batch_norm", operator_fields(x, blocked.output))


def _batch_norm_lower(low: Lowering, node: Node) -> None:
    low.batch_norm(node)


def _softmax_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "softmax")
    axis, axes = keywords.get("axis", -1), len(x.sizes)
    if isinstance(axis, bool) or not isinstance(axis, int) or not -axes <= axis < axes:
        raise ValueError(f"axis={axis!r} must be an axis of {x.name}, which has {axes}")
    return [(x.sizes, one_dtype((x,), "softmax"))]


def _softmax(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    axis, b = keywords.get("axis", -1), keywords.get("b", 1.0)
    z = b * x.astype(np.float64)
    e = np.exp(z - z.max(axis, keepdims=True))
    return ((e / e.sum(axis, keepdims=True)).astype(x.dtype),)


def _softmax_lower(low: Lowering, node: Node) -> None:
    low.softmax(node)


ROWS: dict[str, Op] = {
    # activation(x); activation
    "activation": Op(_activation_shape, _activation, _elementwise_lower, blocks=elementwise_blocks),
    # add(x, y); activation
    "add": Op(_add_shape, _add, _elementwise_lower, blocks=elementwise_blocks),
    # batch_norm(x, weight, bias, running_mean, running_var); eps, activation
    "batch_norm": Op(_batch_norm_shape, _batch_norm, _batch_norm_lower, blocks=_batch_norm_blocks),
    # softmax(x); axis, b
    "softmax": Op(_softmax_shape, _softmax, _softmax_lower),
}
