"""Pooling: max_pool2d, avg_pool2d, global_avg_pool2d."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from convkit.graph.choice import has_kernel, operator_fields
from convkit.graph.ir import Node, Value
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    given,
    image_shape,
    in_blocks,
    one_dtype,
)
from convkit.operators import COUNT_IMAGE, COUNT_PADDING
from convkit.windows import Windows, windows

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


def windows_of(inputs: Sequence[Value | None], keywords: Keywords) -> Windows:
    """The window, strides, sides and sizes that the settings describe."""
    (x,) = given(inputs, "pooling")
    one_dtype((x,), "pooling")
    _, _, h, w = image_shape(x, "pooling")
    settings = {"stride": None, "padding": 0, "ceil_mode": False, **keywords}
    return windows(
        (h, w), settings["kernel"], settings["stride"], settings["padding"], settings["ceil_mode"]
    )


def _pool_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    made = windows_of(inputs, keywords)
    (x,) = given(inputs, "pooling")
    return [((*x.sizes[:2], *made.size), x.dtype)]


def _windows(x: Array, made: Windows, fill: float) -> list[Array]:
    """For each place in the window, what all windows hold there; `fill` beyond the image."""
    (p, q), (rows, columns), (u, v) = made.size, made.window, made.stride
    top, _, left, _ = made.padding
    room = ((p - 1) * u + rows, (q - 1) * v + columns)
    whole = np.full((*x.shape[:2], *room), fill, x.dtype)
    h, w = min(x.shape[2], room[0] - top), min(x.shape[3], room[1] - left)
    whole[:, :, top : top + h, left : left + w] = x[:, :, :h, :w]
    return [
        whole[:, :, r : r + (p - 1) * u + 1 : u, s : s + (q - 1) * v + 1 : v]
        for r in range(rows)
        for s in range(columns)
    ]


def windows_of_array(x: Array, keywords: Keywords) -> Windows:
    return windows_of((Value("x", x.shape, str(x.dtype)),), keywords)


def _max_pool2d(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (np.max(_windows(x, windows_of_array(x, keywords), -np.inf), axis=0),)


def _avg_pool2d(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    made = windows_of_array(x, keywords)
    total = np.sum(_windows(x.astype(np.float64), made, 0.0), axis=0)
    counted = np.ones((1, 1, *x.shape[2:]))
    if keywords.get("count_include_pad", True):
        top, bottom, left, right = made.padding
        counted = np.pad(counted, ((0, 0), (0, 0), (top, bottom), (left, right)), "edge")
        made = made._replace(padding=(0, 0, 0, 0))
    return ((total / np.sum(_windows(counted, made, 0.0), axis=0)).astype(x.dtype),)


def _problem(kernel: str, node: Node) -> tuple[int, ...]:
    """What the kernel is told."""
    made = windows_of(node.inputs, node.keywords)
    counts = kernel == "avg_pool" and node.keywords.get("count_include_pad", True)
    (x,) = given(node.inputs, "pooling")
    return operator_fields(
        x, node.output, made.window, made.stride, made.padding,
        COUNT_PADDING if counts else COUNT_IMAGE,
    )  # fmt: skip


def _lower(kernel: str) -> Callable[[Lowering, Node], None]:
    return lambda low, node: low.operator(node, kernel, _problem(kernel, node))


def _blocks(kernel: str) -> Callable[[Node, int], bool]:
    return lambda node, block: has_kernel(kernel, _problem(kernel, in_blocks(node, block)))


def _global_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "global pooling")
    n, c, _, _ = image_shape(x, "global pooling")
    return [((n, c, 1, 1), one_dtype((x,), "global pooling"))]


def _global_avg(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (x.astype(np.float64).mean((2, 3), keepdims=True).astype(x.dtype),)


def _global_problem(node: Node) -> tuple[int, ...]:
    (x,) = given(node.inputs, "global pooling")
    return operator_fields(x, node.output)


def _global_lower(low: Lowering, node: Node) -> None:
    low.operator(node, "global_avg_pool", _global_problem(node))


def _global_blocks(node: Node, block: int) -> bool:
    """Means of whole channels are few numbers, which what follows wants in a row."""
    blocked = in_blocks(node, block).but(outputs=node.outputs)
    return has_kernel("global_avg_pool", _global_problem(blocked))


ROWS: dict[str, Op] = {
    # max_pool2d(x); kernel, stride, padding, ceil_mode
    "max_pool2d": Op(_pool_shape, _max_pool2d, _lower("max_pool"), blocks=_blocks("max_pool")),
    # avg_pool2d(x); the same and count_include_pad
    "avg_pool2d": Op(_pool_shape, _avg_pool2d, _lower("avg_pool"), blocks=_blocks("avg_pool")),
    # global_avg_pool2d(x)
    "global_avg_pool2d": Op(_global_shape, _global_avg, _global_lower, blocks=_global_blocks),
}
