"""Layers that work element by element: merging, scaling, and those that do nothing when run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convkit.graph.ir import Value
from convkit.keras.layer import Layer, Unsupported, finite, numbers
from convkit.keras.layers import activations
from convkit.keras.layers.activations import axis_of
from convkit.keras.net import IMAGE_AXES, Net, Tensor

#: Keras takes the deviation as at least this.
LEAST_DEVIATION = 1e-7
#: What only training does.
NOTHING = (
    "Dropout", "SpatialDropout2D", "SpatialDropout1D", "AlphaDropout", "GaussianDropout",
    "GaussianNoise", "ActivityRegularization", "Identity", "RandomFlip", "RandomRotation",
    "RandomZoom", "RandomContrast", "RandomBrightness", "RandomTranslation",
)  # fmt: skip


def _values(net: Net, layer: Layer, tensors: Sequence[Tensor | float]) -> list[Value]:
    """What a merging layer is called with: values of one rank, numbers as constants."""
    values: list[Value] = []
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            values.append(net.plain(tensor))
        else:
            number = finite("a number that it is called with", tensor)
            values.append(net.constant(f"{layer.name}.number", number))
    ranks = {len(value.sizes) for value in values if value.sizes}
    if len(ranks) > 1:
        shapes = ", ".join(str(value.sizes) for value in values)
        raise ValueError(f"{layer.kind} needs tensors of one rank, got shapes {shapes}")
    return values


def _merge(op: str) -> Any:
    """Two by two, in order."""

    def write(net: Net, layer: Layer, *tensors: Tensor | float) -> Tensor:
        values = _values(net, layer, tensors)
        if len(values) < 2:
            raise ValueError(f"{layer.kind} needs 2 tensors, got {len(values)}")
        total = values[0]
        for number, value in enumerate(values[1:], 1):
            last = number == len(values) - 1
            total = net.emit(op, layer.name if last else f"{layer.name}.{number}", (total, value))
        return Tensor(total)

    return lambda layer: write


def average(layer: Layer) -> Any:
    def write(net: Net, layer: Layer, *tensors: Tensor | float) -> Tensor:
        values = _values(net, layer, tensors)
        if not values:
            raise ValueError("Average needs tensors, got none")
        total = values[0]
        for number, value in enumerate(values[1:], 1):
            total = net.emit("add", f"{layer.name}.{number}", (total, value))
        count = net.constant(f"{layer.name}.count", len(values))
        return Tensor(net.emit("div", layer.name, (total, count)))

    return write


def subtract(layer: Layer) -> Any:
    def write(net: Net, layer: Layer, *tensors: Tensor | float) -> Tensor:
        values = _values(net, layer, tensors)
        if len(values) != 2:
            raise ValueError(f"Subtract needs 2 tensors, got {len(values)}")
        return Tensor(net.emit("sub", layer.name, values))

    return write


def concatenate(layer: Layer) -> Any:
    axis = layer.get("axis", -1)
    if type(axis) is not int:
        raise ValueError(f"axis={axis!r} must be an integer")

    def write(net: Net, layer: Layer, *tensors: Tensor | float) -> Tensor:
        if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise ValueError("Concatenate needs tensors alone")
        values = _values(net, layer, tensors)
        return Tensor(net.emit("concat", layer.name, values, axis=axis_of(axis, values[0])))

    return write


def nothing(layer: Layer) -> Any:
    layer.ignore()

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        return x

    return write


# Constants and weights for each channel


def per_channel(values: Sequence[float], value: Value) -> Any:
    """One number, or one for each of the last axis, in a shape that spreads over the value."""
    if len(values) == 1:
        return np.float64(values[0])
    axes = len(value.sizes)
    channels = value.sizes[1 if axes == 4 else -1]
    if len(values) != channels:
        raise ValueError(f"{len(values)} numbers do not fit the {channels} channels")
    return np.asarray(values).reshape((-1, 1, 1) if axes == 4 else (-1,))


def rescaling(layer: Layer) -> Any:
    """scale x + offset."""
    scale = numbers("scale", layer.get("scale", 1.0))
    offset = numbers("offset", layer.get("offset", 0.0))

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        value = net.plain(x)
        shifted = any(offset)
        factor = net.constant(f"{layer.name}.scale", per_channel(scale, value))
        name = f"{layer.name}.scaled" if shifted else layer.name
        value = net.emit("mul", name, (value, factor))
        if shifted:
            more = net.constant(f"{layer.name}.offset", per_channel(offset, value))
            value = net.emit("add", layer.name, (value, more))
        return Tensor(value)

    return write


def normalization(layer: Layer) -> Any:
    """(x - mean) / deviation, of the data that it was adapted to or of settings."""
    axis = layer.get("axis", -1)
    if axis not in (-1, 1, 3, [-1], [1], [3]) or isinstance(axis, bool):
        raise Unsupported(f"Normalization with axis={axis!r}")
    number = axis[0] if isinstance(axis, list) else axis
    if layer.flag("invert", False):
        raise Unsupported("Normalization with invert")
    given = [layer.get(key) for key in ("mean", "variance")]
    order = ("mean", "variance", "count")

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        value = net.plain(x)
        axes = len(value.sizes)
        if axes not in (2, 4) or number not in (-1, axes - 1):
            raise ValueError(f"axis={number} must be the last of {axes}: expected rows or images")
        shape = (value.sizes[1],)
        if given[0] is None or given[1] is None:
            found: list[Any] = [net.taken(layer, role, shape, order) for role in order[:2]]
        else:
            found = [numbers(key, each) for key, each in zip(order, given, strict=False)]
        mean, deviation = (np.asarray(each, np.float64).reshape(-1).tolist() for each in found)
        deviation = [max(max(each, 0.0) ** 0.5, LEAST_DEVIATION) for each in deviation]
        middle = net.constant(f"{layer.name}.mean", per_channel(mean, value))
        value = net.emit("sub", f"{layer.name}.centred", (value, middle))
        spread = net.constant(f"{layer.name}.deviation", per_channel(deviation, value))
        return Tensor(net.emit("div", layer.name, (value, spread)))

    return write


def prelu(layer: Layer) -> Any:
    """Slopes for each element, equal along the shared axes."""
    shared = layer.get("shared_axes") or []
    if not isinstance(shared, list) or any(type(axis) is not int for axis in shared):
        raise ValueError(f"shared_axes={shared!r} must be a list of axes")

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        value = net.plain(x)
        axes = len(value.sizes)
        sizes = value.sizes if axes != 4 else tuple(value.sizes[axis] for axis in IMAGE_AXES)
        shape = tuple(1 if axis in shared else size for axis, size in enumerate(sizes) if axis)

        def turned(alpha: Any) -> Any:
            return alpha.transpose(2, 0, 1) if axes == 4 else alpha

        slope = net.weight(layer, "alpha", shape, ("alpha",), turned)
        return Tensor(net.emit("prelu", layer.name, (value, slope)))

    return write


def scaled_residual(layer: Layer) -> Any:
    """CustomScaleLayer of Keras' Inception-ResNet v2: x + scale y."""
    scale = finite("scale", layer.get("scale", 1.0))

    def write(net: Net, layer: Layer, *tensors: Tensor | float) -> Tensor:
        values = _values(net, layer, tensors)
        if len(values) != 2:
            raise ValueError(f"{layer.kind} needs 2 tensors, got {len(values)}")
        factor = net.constant(f"{layer.name}.scale", scale)
        value = net.emit("mul", f"{layer.name}.scaled", (values[1], factor))
        return Tensor(net.emit("add", layer.name, (values[0], value)))

    return write


MERGING: dict[str, Any] = {
    "Add": _merge("add"),
    "Multiply": _merge("mul"),
    "Maximum": _merge("maximum"),
    "Minimum": _merge("minimum"),
    "Subtract": subtract,
    "Average": average,
    "Concatenate": concatenate,
    "CustomScaleLayer": scaled_residual,
}

TRANSLATORS = {
    **activations.TRANSLATORS,
    **MERGING,
    "Rescaling": rescaling,
    "Normalization": normalization,
    "PReLU": prelu,
    **dict.fromkeys(NOTHING, nothing),
}
