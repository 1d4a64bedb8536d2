"""Normalisation by an image's own figures: instance_norm, local_response_norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convkit.graph.ir import Node, Value
from convkit.graph.ops import lowered
from convkit.graph.ops.row import Array, Keywords, Made, Op, given, one_dtype
from convkit.problem import integer

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


def _instance_norm_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    x, weight, bias = given(inputs, "instance_norm", 3)
    if len(x.sizes) < 3:
        raise ValueError(f"instance_norm needs images, but {x.name} has shape {x.sizes}")
    for vector in (weight, bias):
        if vector.sizes != (x.sizes[1],):
            raise ValueError(f"{vector.name} has shape {vector.sizes}: expected ({x.sizes[1]},)")
    eps = keywords.get("eps", 1e-5)
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps={eps!r} must be a number of at least 0")
    return [(x.sizes, one_dtype((x, weight, bias), "instance_norm"))]


def _instance_norm(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    x, weight, bias = arrays
    assert x is not None and weight is not None and bias is not None
    wide = x.astype(np.float64)
    axes = tuple(range(2, x.ndim))
    mean, var = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    shape = (-1,) + (1,) * (x.ndim - 2)
    scale = weight.reshape(shape) / np.sqrt(var + keywords.get("eps", 1e-5))
    return (((wide - mean) * scale + bias.reshape(shape)).astype(x.dtype),)


def _instance_norm_lower(low: Lowering, node: Node) -> None:
    """One row of weight, bias and eps, as csrc/operators/instance_norm.cpp reads it."""
    x, weight, bias = node.reads
    eps = node.keywords.get("eps", 1e-5)
    arrays = [low.array(value) for value in (weight, bias)]
    c = x.sizes[1]
    if all(array is not None for array in arrays):
        row = np.concatenate([*arrays, np.array([eps], x.dtype)])  # type: ignore[arg-type]
        names = f"{weight.name}+{bias.name}+{eps}"
        lowered.on_images(low, node, "instance_norm", (names, row))
        return
    row = np.array([1.0] * c + [0.0] * c + [eps], x.dtype)
    lowered.on_images(low, node, "instance_norm", (f"plain+{eps}", row))
    y = low.shadow(node.output)
    spread = (slice(None),) + (None,) * (len(x.sizes) - 2)
    lowered.binary(low, node, "multiply", y, low.shadow(weight)[spread], y)
    lowered.binary(low, node, "add", y, low.shadow(bias)[spread], y)


def _local_response_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "local_response_norm")
    integer("size", keywords["size"], least=1)
    for name in ("alpha", "beta", "k"):
        if not math.isfinite(keywords[name]):
            raise ValueError(f"{name}={keywords[name]!r} must be a finite number")
    if len(x.sizes) < 3:
        raise ValueError(f"local_response_norm needs images, but {x.name} has shape {x.sizes}")
    return [(x.sizes, one_dtype((x,), "local_response_norm"))]


def _local_response(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    size, c = keywords["size"], x.shape[1]
    squares = x.astype(np.float64) ** 2
    # Cumulative sums: windows of channels from c - (size - 1) // 2 to c + size // 2.
    total = np.concatenate([np.zeros_like(squares[:, :1]), np.cumsum(squares, 1)], 1)
    begin = np.clip(np.arange(c) - (size - 1) // 2, 0, c)
    end = np.clip(np.arange(c) + size // 2 + 1, 0, c)
    sums = total[:, end] - total[:, begin]
    base = keywords["k"] + keywords["alpha"] / size * sums
    return ((x / base ** keywords["beta"]).astype(x.dtype),)


def _local_response_lower(low: Lowering, node: Node) -> None:
    """One row of numbers, as csrc/operators/local_response_norm.cpp reads it."""
    keywords, size = node.keywords, node.keywords["size"]
    numbers = (keywords["alpha"] / size, keywords["beta"], keywords["k"])
    row = np.array(numbers, node.output.dtype)
    sides = ((size - 1) // 2, size // 2, 0, 0)
    names = f"{numbers}"
    lowered.on_images(low, node, "local_response_norm", (names, row), padding=sides)


ROWS: dict[str, Op] = {
    # instance_norm(x, weight, bias); eps
    "instance_norm": Op(_instance_norm_shape, _instance_norm, _instance_norm_lower),
    # local_response_norm(x); size, alpha, beta, k
    "local_response_norm": Op(_local_response_shape, _local_response, _local_response_lower),
}
