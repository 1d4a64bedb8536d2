"""Weights of Keras as the network's own: other names, and other orders of the axes.

Keras keeps images as (n, h, w, c): filters are (r, s, c, k), dense kernels (in, out), and what
follows a flatten counts its inputs in the order (h, w, c).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from convkit.graph.ir import Graph, Node, Shape, Value

Array = np.ndarray[Any, Any]

#: Keras' name of a weight -> the network's.
ROLES = {
    "kernel": "weight", "depthwise_kernel": "weight", "pointwise_kernel": "weight",
    "gamma": "weight", "beta": "bias", "bias": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip
#: LAYER/kernel:0 of Keras 2, LAYER/kernel, and LAYER/0 of Keras 3.
KERAS_NAME = re.compile(rf"(?P<layer>.+)/(?P<weight>{'|'.join(ROLES)}|\d{{1,3}})(:\d{{1,3}})?")
#: In which order Keras makes the weights of a layer, by the network's operation.
NUMBERED = {
    "batch_norm": ("gamma", "beta", "moving_mean", "moving_variance"),
    "separable": ("depthwise_kernel", "pointwise_kernel", "bias"),
}
#: Operations that leave each element where it is, so that the order before them is that after.
IN_PLACE = ("identity", "activation", "clip", "swish", "batch_norm")


class Part(NamedTuple):
    """One array of a file: its full name there, its layer, and what it is in that layer."""

    full: str
    layer: str
    weight: str
    array: Any
    keras: bool


def numbered(parts: list[Part], config: Mapping[str, Any] | None) -> list[Part]:
    """A layer's parts with names where Keras 3 numbered them; raises ValueError if none can tell.

    `config` is that of the layer in the file, which says what a batch norm of three arrays lacks.
    """
    if not parts or not parts[0].weight.isdigit():
        return parts
    arrays = [np.shape(part.array) for part in parts]
    names: tuple[str, ...] = ("kernel", "bias")
    if all(len(shape) == 1 for shape in arrays):
        names = NUMBERED["batch_norm"]
        settings = config or {}
        if len(parts) == 3 and "scale" not in settings:
            raise ValueError("has three arrays: nothing says whether it scales or shifts")
        lacking = [name for key, name in (("scale", "gamma"), ("center", "beta"))
                   if settings.get(key) is False]  # fmt: skip
        if len(parts) == 2:
            lacking = ["gamma", "beta"]
        names = tuple(name for name in names if name not in lacking)
    elif len([shape for shape in arrays if len(shape) == 4]) == 2:
        names = NUMBERED["separable"]
    if len(parts) > len(names):
        raise ValueError(f"has {len(parts)} arrays: expected {', '.join(names)}")
    return [part._replace(weight=names[int(part.weight)])
            if int(part.weight) < len(names) else part for part in parts]  # fmt: skip


def flattened(graph: Graph) -> dict[str, Shape]:
    """(c, h, w) in which the inputs of a node count, for the nodes that follow a flatten."""
    orders: dict[Value, Shape] = {}
    found: dict[str, Shape] = {}
    made = {value: node for node in graph.nodes for value in node.outputs}
    for node in graph.nodes:
        source = next((v for v in node.inputs if v is not None), None)
        if source is None:
            continue
        if node.op == "flatten" and source.shape is not None and len(source.shape) == 4:
            before = made.get(source)
            if before is None or before.op != "transpose":
                orders[node.outputs[0]] = source.shape[1:]
        elif source in orders:
            found[node.name] = orders[source]
            if node.op in IN_PLACE:
                orders[node.outputs[0]] = orders[source]
    return found


def converted(array: Array, role: str, node: Node, wanted: Shape, order: Shape | None) -> Any:
    """An array of Keras in the network's layout; unchanged where there is none that fits.

    `order` is the (c, h, w) of the flatten before the node.
    """
    if role != "weight":
        return _reordered(array, order) if array.ndim == 1 and node.op == "batch_norm" else array
    if node.op in ("conv2d", "conv_transpose2d") and array.ndim == 4:
        r, s, c, k = array.shape
        groups = node.keywords.get("groups", 1)
        # A depthwise kernel: m filters for each channel, which stand together here.
        if groups == c > 1 and wanted == (c * k, 1, r, s):
            return array.transpose(2, 3, 0, 1).reshape(wanted)
        return array.transpose(3, 2, 0, 1)
    if node.op == "conv2d" and array.ndim == 2 and wanted[2:] == (1, 1):
        return array.T[:, :, None, None]
    if node.op == "linear" and array.ndim == 4:
        # A convolution over all of the image.
        return array.transpose(3, 2, 0, 1).reshape(array.shape[3], -1)
    if node.op == "linear" and array.ndim == 2:
        return _reordered(array, order).T
    return _reordered(array, order) if node.op == "batch_norm" and array.ndim == 1 else array


def _reordered(array: Array, order: Shape | None) -> Any:
    """The first axis, which counts (h, w, c), in the order (c, h, w)."""
    if order is None or len(array) != np.prod(order):
        return array
    c, h, w = order
    split = array.reshape(h, w, c, *array.shape[1:])
    return np.moveaxis(split, 2, 0).reshape(array.shape)
