"""Pooling: max_pool2d, avg_pool2d, max_unpool2d, and of whole channels global_avg_pool2d and
global_max_pool2d."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from convkit import sweeps
from convkit.graph.choice import has_kernel, operator_fields
from convkit.graph.ir import Node, Value
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    Settle,
    given,
    image_shape,
    in_blocks,
    one_dtype,
    resolved_padding,
    whole_numbers,
)
from convkit.operators.pooling import COUNT_IMAGE, COUNT_PADDING
from convkit.problem import padding_sides, pair
from convkit.windows import Windows, windows

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


class Places(NamedTuple):
    """Where maxima were: counted in a plane of `rows` x `width` by the kernels, in rows.

    `value` holds them by columns, or through all planes of the array, where that is asked.
    """

    value: Value
    width: int
    rows: int
    by_columns: bool = False
    over_all: bool = False


def windows_of(inputs: Sequence[Value | None], keywords: Keywords) -> Windows:
    """The windows, strides, sides and sizes that the settings describe."""
    (x,) = given(inputs, "pooling")
    one_dtype((x,), "pooling")
    _, _, h, w = image_shape(x, "pooling")
    window = pair("kernel", keywords["kernel"], least=1)
    stride, ceil_mode = keywords.get("stride"), keywords.get("ceil_mode", False)
    strides = window if stride is None else pair("stride", stride, least=1)
    spread = dilation_of(keywords)
    padding = resolved_padding(keywords.get("padding", 0), (h, w), window, strides, spread)
    return windows((h, w), window, strides, padding, spread, ceil_mode)


def dilation_of(keywords: Keywords) -> tuple[int, int]:
    """The distance of two pixels of a window."""
    return pair("dilation", keywords.get("dilation", 1), least=1)


def _pool_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    made = windows_of(inputs, keywords)
    (x,) = given(inputs, "pooling")
    shape = (*x.sizes[:2], *made.size)
    return [(shape, x.dtype), (shape, "int64")] if _indices(keywords) else [(shape, x.dtype)]


def _indices(keywords: Keywords) -> str | None:
    """Whether max_pool2d also says where its maxima were: "rows" or "columns" first, in what."""
    return keywords.get("indices")


def _windows(x: Array, made: Windows, keywords: Keywords, fill: float) -> list[Array]:
    """For each place in the window, what all windows hold there; `fill` beyond the image."""
    (p, q), (rows, columns), (u, v) = made.size, made.window, made.stride
    d, e = dilation_of(keywords)
    rows, columns = (rows - 1) * d + 1, (columns - 1) * e + 1
    top, _, left, _ = made.padding
    room = ((p - 1) * u + rows, (q - 1) * v + columns)
    whole = np.full((*x.shape[:2], *room), fill, x.dtype)
    h, w = min(x.shape[2], room[0] - top), min(x.shape[3], room[1] - left)
    whole[:, :, top : top + h, left : left + w] = x[:, :, :h, :w]
    return [
        whole[:, :, r : r + (p - 1) * u + 1 : u, s : s + (q - 1) * v + 1 : v]
        for r in range(0, rows, d)
        for s in range(0, columns, e)
    ]


def windows_of_array(x: Array, keywords: Keywords) -> Windows:
    return windows_of((Value("x", x.shape, str(x.dtype)),), keywords)


def _max_pool2d(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    made = windows_of_array(x, keywords)
    held = _windows(x, made, keywords, -np.inf)
    y = np.max(held, axis=0)
    order = _indices(keywords)
    if order is None:
        return (y,)
    # The first place of each window, in row order, that holds its maximum; of NaN the last.
    n, c, h, w = x.shape
    flat = np.arange(h * w).reshape((h, w) if order == "rows" else (w, h))
    flat = flat if order == "rows" else flat.T
    at = _windows(np.broadcast_to(flat.astype(np.float64), x.shape), made, keywords, -1.0)
    chosen, taken = np.full(y.shape, -1.0), np.zeros(y.shape)
    for value, place in zip(reversed(held), reversed(at), strict=True):
        first_nan = np.isnan(value) & ~np.isnan(np.where(chosen < 0, 0, taken))
        here = ((value == y) | first_nan) & (place >= 0)
        chosen, taken = np.where(here, place, chosen), np.where(here, value, taken)
    if keywords.get("over_all"):  # ONNX counts through the whole array, PyTorch through a channel
        chosen += np.where(chosen < 0, 0, (np.arange(n * c) * (h * w)).reshape(n, c, 1, 1))
    return (y, chosen.astype(np.int64))


def _avg_pool2d(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    made = windows_of_array(x, keywords)
    total = np.sum(_windows(x.astype(np.float64), made, keywords, 0.0), axis=0)
    counted = np.ones((1, 1, *x.shape[2:]))
    if keywords.get("count_include_pad", True):
        top, bottom, left, right = made.padding
        counted = np.pad(counted, ((0, 0), (0, 0), (top, bottom), (left, right)), "edge")
        made = made._replace(padding=(0, 0, 0, 0))
    count = np.sum(_windows(counted, made, keywords, 0.0), axis=0)
    with np.errstate(invalid="ignore"):
        return ((total / count).astype(x.dtype),)


def _unpool_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    x, indices = given(inputs, "max_unpool2d", 2)
    n, c, h, w = image_shape(x, "max_unpool2d")
    if indices.sizes != x.sizes or indices.dtype != "int64":
        raise ValueError(
            f"max_unpool2d needs int64 indices of shape {x.sizes}, but {indices.name} is "
            f"{indices.dtype} {indices.sizes}"
        )
    return [((n, c, *unpooled(x, keywords)), one_dtype((x,), "max_unpool2d"))]


def unpooled(x: Value, keywords: Keywords) -> tuple[int, int]:
    """Rows and columns that max_unpool2d makes: (size - 1) stride + kernel - padding, or given."""
    window = pair("kernel", keywords["kernel"], least=1)
    stride = keywords.get("stride")
    strides = window if stride is None else pair("stride", stride, least=1)
    h, w = x.sizes[2:4]
    top, bottom, left, right = padding_sides(
        keywords.get("padding", 0), (h, w), window, strides, (1, 1)
    )
    sizes = (
        (h - 1) * strides[0] + window[0] - top - bottom,
        (w - 1) * strides[1] + window[1] - left - right,
    )
    asked = keywords.get("output_size")
    rows, columns = sizes if asked is None else asked[-2:]
    if rows < 1 or columns < 1:
        raise ValueError(f"max_unpool2d makes {rows} x {columns} of {x.name} {x.sizes}")
    return rows, columns


def _unpool_settle(node: Node, known: Sequence[Array | None]) -> Node:
    """output_size: (rows, columns)."""
    (x,) = given(node.inputs, "max_unpool2d")
    asked = whole_numbers(node, known, 2, "output_size")
    if asked is None:
        return node
    image_shape(x, "max_unpool2d")
    if len(asked) not in (2, 4) or (len(asked) == 4 and asked[:2] != x.sizes[:2]):
        raise ValueError(f"output_size={asked} must be rows and columns, or (n, c, rows, columns)")
    return node.but(inputs=node.inputs[:2], output_size=asked[-2:])


def _max_unpool2d(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    x, indices = arrays
    assert x is not None and indices is not None
    n, c = x.shape[:2]
    like = Value("x", x.shape, str(x.dtype))
    rows, columns = unpooled(like, keywords)
    h, w = rows, columns
    at = indices.reshape(n * c, -1)
    if keywords.get("over_all"):  # ONNX: places in the array that the windows cover, whole
        h, w = unpooled(like, {**keywords, "output_size": None})
        at = at - np.arange(n * c)[:, None] * (h * w)
    valid = (at >= 0) & (at < h * w)
    which = np.broadcast_to(np.arange(n * c)[:, None], at.shape)
    y = np.zeros((n * c, h, w), x.dtype)
    y[which[valid], at[valid] // w, at[valid] % w] = x.reshape(n * c, -1)[valid]
    whole = np.zeros((n, c, rows, columns), x.dtype)
    part = y.reshape(n, c, h, w)[:, :, :rows, :columns]
    whole[:, :, : part.shape[2], : part.shape[3]] = part
    return (whole,)


def _problem(kernel: str, node: Node) -> tuple[int, ...]:
    """What the kernel is told."""
    made = windows_of(node.inputs, node.keywords)
    counts = kernel == "avg_pool" and node.keywords.get("count_include_pad", True)
    (x,) = given(node.inputs, "pooling")
    return operator_fields(
        x, node.outputs[0], made.window, made.stride, made.padding,
        COUNT_PADDING if counts else COUNT_IMAGE, dilation_of(node.keywords),
    )  # fmt: skip


def _max_lower(low: Lowering, node: Node) -> None:
    (x,) = given(node.inputs, "max_pool2d")
    if not _indices(node.keywords):
        low.operator(node, "max_pool", _problem("max_pool", node))
        return
    by_columns = _indices(node.keywords) == "columns"
    over_all = bool(node.keywords.get("over_all"))
    places = Places(node.outputs[1], x.sizes[3], x.sizes[2], by_columns, over_all)
    low.operator(node, "max_pool", _problem("max_pool", node), places=places)


def _avg_lower(low: Lowering, node: Node) -> None:
    low.operator(node, "avg_pool", _problem("avg_pool", node))


def _unpool_lower(low: Lowering, node: Node) -> None:
    """Into the part of the output that the windows cover; what lies beyond is zero."""
    x, indices = given(node.inputs, "max_unpool2d", 2)
    y, over_all = node.output, bool(node.keywords.get("over_all"))
    h, w = unpooled(x, {**node.keywords, "output_size": None} if over_all else node.keywords)
    result = low.shadow(y)
    if (h, w) != y.sizes[2:]:
        zero = np.zeros((), y.dtype)
        low.sweeps(node, lambda: sweeps.copy(np.broadcast_to(zero, y.sizes), out=result))
    if h > y.sizes[2] or w > y.sizes[3]:
        raise ValueError(f"node {node.name}: output_size is less than the {h} x {w} of windows")
    part = Value(y.name, (*y.sizes[:2], h, w), y.dtype)
    places = Places(indices, w, h, False, over_all)
    low.operator(node, "max_unpool", operator_fields(x, part), places=places)


def _blocks(kernel: str) -> Callable[[Node, int], bool]:
    def blocks(node: Node, block: int) -> bool:
        if node.keywords.get("indices"):
            return False
        return has_kernel(kernel, _problem(kernel, in_blocks(node, block)))

    return blocks


def _global_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "global pooling")
    n, c, h, w = image_shape(x, "global pooling")
    if h < 1 or w < 1:
        raise ValueError(f"global pooling needs images, but {x.name} has shape {x.sizes}")
    return [((n, c, 1, 1), one_dtype((x,), "global pooling"))]


def _global_avg(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (x.astype(np.float64).mean((2, 3), keepdims=True).astype(x.dtype),)


def _global_max(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (x.max((2, 3), keepdims=True),)


def _global_problem(node: Node) -> tuple[int, ...]:
    (x,) = given(node.inputs, "global pooling")
    return operator_fields(x, node.output)


def _global_blocks(node: Node, block: int) -> bool:
    return has_kernel("global_avg_pool", _global_problem(in_blocks(node, block)))


def _global_avg_lower(low: Lowering, node: Node) -> None:
    low.operator(node, "global_avg_pool", _global_problem(node))


def _global_max_lower(low: Lowering, node: Node) -> None:
    (x,) = given(node.inputs, "global pooling")
    source, result = low.shadow(x), low.shadow(node.output)[:, :, 0, 0]
    low.sweeps(node, lambda: sweeps.reduce("max", source, (2, 3), out=result))


def _global_settle(what: str) -> Settle:
    """Of arrays with other axes than images it is a reduction."""

    def settle(node: Node, known: Sequence[Array | None]) -> Node:
        (x,) = given(node.inputs, "global pooling")
        if len(x.sizes) == 4 or len(x.sizes) < 3 or min(x.sizes[1:]) < 1:
            return node
        axes = tuple(range(2, len(x.sizes)))
        return Node(what, node.name, (x,), node.outputs, (("axes", axes), ("keepdims", True)))

    return settle


ROWS: dict[str, Op] = {
    # max_pool2d(x); kernel, stride, padding, dilation, ceil_mode; indices: None, or "rows" or
    # "columns" for a second output that counts in that order, over_all: through all channels
    "max_pool2d": Op(_pool_shape, _max_pool2d, _max_lower, blocks=_blocks("max_pool")),
    # avg_pool2d(x); kernel, stride, padding, dilation, ceil_mode, count_include_pad
    "avg_pool2d": Op(_pool_shape, _avg_pool2d, _avg_lower, blocks=_blocks("avg_pool")),
    # max_unpool2d(x, indices, output_size); kernel, stride, padding, output_size, over_all
    "max_unpool2d": Op(
        _unpool_shape, _max_unpool2d, _unpool_lower, settle=_unpool_settle, reads=(2,)
    ),
    "global_avg_pool2d": Op(
        _global_shape,
        _global_avg,
        _global_avg_lower,
        settle=_global_settle("reduce_mean"),
        blocks=_global_blocks,
    ),
    "global_max_pool2d": Op(
        _global_shape, _global_max, _global_max_lower, settle=_global_settle("reduce_max")
    ),
}
