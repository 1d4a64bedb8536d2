"""Operators with filters or matrices: conv2d, linear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convkit.epilogue import activation
from convkit.graph.ir import Node, Value
from convkit.graph.ops.activations import activated
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    given,
    image_shape,
    one_dtype,
    optional,
    resolved_padding,
)
from convkit.problem import ConvProblem, conv_problem, pair

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering

#: The settings that a convolution's problem is made of.
CONVOLUTION = ("stride", "padding", "padding_mode", "dilation", "groups")
PAIRS = ("stride", "dilation")


def conv2d_problem(inputs: Sequence[Value | None], keywords: Keywords) -> ConvProblem:
    """The convolution that inputs (x, weight, bias, residual) and settings describe."""
    x, w = given(inputs, "conv2d", 2)
    image_shape(x, "conv2d")
    settings = {name: keywords[name] for name in CONVOLUTION if name in keywords}
    if settings.get("padding") == "same_lower" and len(w.sizes) == 4:
        strides, gaps = (pair(name, settings.get(name, 1), least=1) for name in PAIRS)
        settings["padding"] = resolved_padding(
            "same_lower",
            x.sizes[2:4],
            w.sizes[2:4],
            strides,
            gaps,
        )
    return conv_problem(x.sizes, w.sizes, dtype=one_dtype((x, w), "conv2d"), **settings)


def _conv2d_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    activation(keywords.get("activation"))
    problem = conv2d_problem(inputs, keywords)
    check_bias(optional(inputs, 2), problem.k)
    residual = optional(inputs, 3)
    if residual is not None and residual.sizes != problem.y_shape:
        raise ValueError(
            f"the residual {residual.name} has shape {residual.sizes}: expected {problem.y_shape}"
        )
    return [(problem.y_shape, problem.dtype)]


def check_bias(bias: Value | None, features: int) -> None:
    """A bias holds one number a filter."""
    if bias is not None and bias.sizes != (features,):
        raise ValueError(f"{bias.name} has shape {bias.sizes}: expected ({features},)")


def _conv2d_reference(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    x, w = arrays[:2]
    assert x is not None and w is not None
    bias, residual = optional(arrays, 2), optional(arrays, 3)
    names = [None if a is None else Value("x", a.shape, str(a.dtype)) for a in arrays[:2]]
    problem = conv2d_problem(names, keywords)
    top, bottom, left, right = problem.padding
    mode = {"zeros": "constant", "replicate": "edge", "circular": "wrap"}.get(
        problem.padding_mode, problem.padding_mode
    )
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode)  # type: ignore[call-overload]
    y = np.zeros(problem.y_shape, np.float64)
    each, made = problem.c // problem.groups, problem.k // problem.groups
    for g in range(problem.groups):
        for r in range(problem.r):
            for s in range(problem.s):
                rows = slice(r * problem.dilation[0], None, problem.stride[0])
                columns = slice(s * problem.dilation[1], None, problem.stride[1])
                part = padded[:, g * each : (g + 1) * each, rows, columns]
                y[:, g * made : (g + 1) * made] += np.einsum(
                    "kc,nchw->nkhw",
                    w[g * made : (g + 1) * made, :, r, s].astype(np.float64),
                    part[:, :, : problem.p, : problem.q],
                )
    if bias is not None:
        y += bias[:, None, None]
    if residual is not None:
        y += residual
    return (activated(y, keywords.get("activation")).astype(x.dtype),)


def _conv2d_lower(low: Lowering, node: Node) -> None:
    low.convolution(node, conv2d_problem(node.inputs, node.keywords))


def _linear_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    activation(keywords.get("activation"))
    x, w = given(inputs, "linear", 2)
    dtype = one_dtype((x, w), "linear")
    if len(x.sizes) != 2:
        raise ValueError(
            f"linear needs features (n, c), but {x.name} has shape {x.sizes}: flatten it first"
        )
    if len(w.sizes) != 2 or w.sizes[1] != x.sizes[1]:
        raise ValueError(
            f"{w.name} has shape {w.sizes}: expected (features, {x.sizes[1]}) for {x.name}"
        )
    check_bias(optional(inputs, 2), w.sizes[0])
    return [((x.sizes[0], w.sizes[0]), dtype)]


def _linear_reference(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    x, w = arrays[:2]
    assert x is not None and w is not None
    y = x.astype(np.float64) @ w.T.astype(np.float64)
    bias = optional(arrays, 2)
    y = y if bias is None else y + bias
    return (activated(y, keywords.get("activation")).astype(x.dtype),)


def _linear_lower(low: Lowering, node: Node) -> None:
    low.linear(node)


def conv2d_weights(x: Value, filters: int, kernel: tuple[int, int], groups: int) -> tuple[int, ...]:
    """The shape of a Builder's filters."""
    _, c, _, _ = image_shape(x, "conv2d")
    if c % groups:
        raise ValueError(f"groups={groups} must divide the {c} input channels")
    return (filters, c // groups, *kernel)


def linear_weights(x: Value, features: int) -> tuple[int, ...]:
    """The shape of a Builder's matrix."""
    return (features, math.prod(x.sizes[1:]))


ROWS: dict[str, Op] = {
    # conv2d(x, weight, bias, residual); keywords of convkit.conv2d
    "conv2d": Op(_conv2d_shape, _conv2d_reference, _conv2d_lower),
    # linear(x, weight, bias); activation
    "linear": Op(_linear_shape, _linear_reference, _linear_lower),
}
