"""What lowerings of several operators share: sweeps on shadows, temporaries, arrays as images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit import sweeps
from convkit.epilogue import IDENTITY, Activation
from convkit.graph.choice import operator_fields
from convkit.graph.ir import Node, Shape, Value
from convkit.graph.ops.row import Array
from convkit.problem import DTYPES

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


def floats(node: Node) -> None:
    """Refuse what kernels cannot compute: integers and booleans of the network's arrays."""
    for value in (*node.reads, *node.outputs):
        if value.dtype not in DTYPES:
            raise ValueError(
                f"node {node.name}: {node.op} of {value.dtype} ({value.name}) is not supported "
                f"unless its inputs are known before running"
            )


def in_layout(low: Lowering, value: Value, y: Value) -> Array:
    """The shadow of an operand; of a weight beside images in blocks an array in such blocks."""
    array = low.array(value)
    if array is None or not y.block:
        return low.shadow(value)
    image: Array = array.reshape((1,) * (4 - array.ndim) + array.shape)
    if image.shape[1] == 1:
        return image[..., None]
    n, c, h, w = image.shape
    blocks = -(-c // y.block)
    padded = np.zeros((n, blocks * y.block, h, w), array.dtype)
    padded[:, :c] = image
    lanes = padded.reshape(n, blocks, y.block, h, w)
    return np.ascontiguousarray(lanes.transpose(0, 1, 3, 4, 2))


def temporary(
    low: Lowering, node: Node, hint: str, shape: Shape, dtype: str, block: int = 0
) -> Value:
    """A value between two steps of one node."""
    value = Value(f"{node.name}:{hint}", shape, dtype, block)
    low.view(value)
    return value


def copied(low: Lowering, node: Node, x: Array, y: Array) -> None:
    """A step y = x."""
    low.sweeps(node, lambda: sweeps.copy(x, out=y))


def unary(low: Lowering, node: Node, x: Array, name: str, y: Array, *parameters: float) -> None:
    """A step y = f(x), f out of sweeps.UNARY."""
    applied = sweeps.function(name, *parameters)
    low.sweeps(node, lambda: sweeps.unary(np.broadcast_to(x, y.shape), applied, out=y))


def binary(
    low: Lowering,
    node: Node,
    name: str,
    a: Array,
    b: Any,
    y: Array,
    activation: Activation = IDENTITY,
) -> None:
    """A step y = activation(f(a, b)), f out of sweeps.BINARY; b may be a number."""
    second = np.asarray(b, y.dtype)
    low.sweeps(
        node,
        lambda: sweeps.binary(
            name,
            np.broadcast_to(a, y.shape),
            np.broadcast_to(second, y.shape),
            activation=activation,
            out=y,
        ),
    )


def reduced(low: Lowering, node: Node, name: str, x: Array, axes: Shape, y: Array) -> None:
    """A step y = a reduction of x, out of sweeps.REDUCTIONS; y without these axes."""
    low.sweeps(node, lambda: sweeps.reduce(name, x, axes, out=y))


def on_images(
    low: Lowering,
    node: Node,
    kernel: str,
    weights: tuple[str, Array] | None = None,
    activation: Activation = IDENTITY,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> None:
    """A kernel that works by channel, on (n, c, ...) of any number of axes from two on."""
    from convkit.graph.lower import View, default_strides

    images = []
    for value in (low.in_rows(node.reads[0]), node.output):
        n, c, *rest = value.sizes
        image = Value(value.name, (n, c, 1, math.prod(rest)), value.dtype)
        view = low.view(value)
        images.append((image, View(view.buffer, view.offset, default_strides(image))))
    (x, x_view), (y, y_view) = images
    name, array = weights or ("", None)
    fields = operator_fields(x, y, padding=padding)
    layer = low.layer(kernel, fields, name, array, None, activation)
    low.add(node, kernel, layer, (x, x_view), (y, y_view))
