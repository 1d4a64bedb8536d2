"""Pooling: max_pool2d, avg_pool2d, global_avg_pool2d."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit.graph.ir import Node, Value
from convkit.graph.ops.row import Array, Keywords, Made, Op, given, image_shape, one_dtype
from convkit.operators import COUNT_IMAGE, COUNT_PADDING
from convkit.windows import Windows, windows

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


def pooling_of(inputs: Sequence[Value | None], keywords: Keywords) -> Windows:
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
    made = pooling_of(inputs, keywords)
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


def _pooling_of_array(x: Array, keywords: Keywords) -> Windows:
    return pooling_of((Value("x", x.shape, str(x.dtype)),), keywords)


def _max_pool2d(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (np.max(_windows(x, _pooling_of_array(x, keywords), -np.inf), axis=0),)


def _avg_pool2d(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    made = _pooling_of_array(x, keywords)
    total = np.sum(_windows(x.astype(np.float64), made, 0.0), axis=0)
    counted = np.ones((1, 1, *x.shape[2:]))
    if keywords.get("count_include_pad", True):
        top, bottom, left, right = made.padding
        counted = np.pad(counted, ((0, 0), (0, 0), (top, bottom), (left, right)), "edge")
        made = made._replace(padding=(0, 0, 0, 0))
    return ((total / np.sum(_windows(counted, made, 0.0), axis=0)).astype(x.dtype),)


def _lower(kernel: str) -> Callable[[Lowering, Node], None]:
    def lower(low: Lowering, node: Node) -> None:
        made = pooling_of(node.inputs, node.keywords)
        count: Any = node.keywords.get("count_include_pad", True)
        low.operator(
            node, kernel, made.window, made.stride, made.padding,
            COUNT_PADDING if count and kernel == "avg_pool" else COUNT_IMAGE,
        )  # fmt: skip

    return lower


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


def _global_lower(low: Lowering, node: Node) -> None:
    low.operator(node, "global_avg_pool")


ROWS: dict[str, Op] = {
    "max_pool2d": Op(_pool_shape, _max_pool2d, _lower("max_pool")),
    "avg_pool2d": Op(_pool_shape, _avg_pool2d, _lower("avg_pool")),
    "global_avg_pool2d": Op(_global_shape, _global_avg, _global_lower),
}
