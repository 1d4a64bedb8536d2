"""Activations by the names that Keras gives them, inside other layers and as layers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from convkit.graph.ir import Value
from convkit.keras.layer import Layer, Unsupported, one_number
from convkit.keras.net import IMAGE_AXES, Net, Tensor
from convkit.weights.bounds import shown


class Activation(NamedTuple):
    """`fused` is the activation of a node, `op` (with its settings) an operator of its own."""

    fused: Any = None
    op: str = ""
    settings: tuple[tuple[str, Any], ...] = ()


#: Klambauer et al. 2017, Self-normalizing neural networks.
SELU = (("alpha", 1.6732632423543772), ("gamma", 1.0507009873554805))
#: What `Activation("relu")` and `activation="relu"` mean.
NAMED: dict[str, Activation] = {
    "linear": Activation(),
    "relu": Activation("relu"),
    "relu6": Activation("relu6"),
    "leaky_relu": Activation(("leaky_relu", 0.2)),
    "elu": Activation(("elu", 1.0)),
    "sigmoid": Activation("sigmoid"),
    "tanh": Activation("tanh"),
    "swish": Activation("silu"),
    "silu": Activation("silu"),
    "gelu": Activation("gelu"),
    "hard_swish": Activation("hardswish"),
    "hard_silu": Activation("hardswish"),
    "hard_sigmoid": Activation(("hardsigmoid", 1 / 6, 0.5)),
    "softmax": Activation(op="softmax"),
    "log_softmax": Activation(op="log_softmax"),
    "softplus": Activation(op="softplus"),
    "softsign": Activation(op="softsign"),
    "selu": Activation(op="selu", settings=SELU),
    "mish": Activation(op="mish"),
    "exponential": Activation(op="exp"),
}
#: Keras 2's hard sigmoid is that of Theano.
HARD_SIGMOID_OF_KERAS_2 = Activation(("hardsigmoid", 0.2, 0.5))


def setting(layer: Layer, key: str = "activation") -> Activation:
    """The activation that a setting names."""
    value = layer.get(key)
    if value is None:
        return NAMED["linear"]
    if isinstance(value, dict):  # {"class_name": "function", "config": "relu"}
        inside = value.get("config")
        value = inside if isinstance(inside, str) else value.get("class_name")
    if value == "hard_sigmoid" and not layer.keras_3:
        return HARD_SIGMOID_OF_KERAS_2
    if not isinstance(value, str) or value not in NAMED:
        raise Unsupported(f"{layer.kind} with {key}={shown(value)}")
    return NAMED[value]


def after(net: Net, chosen: Activation, value: Value) -> Value:
    """The value, through an operator of its own where the activation is one."""
    if not chosen.op:
        return value
    return apply(net, chosen, value, f"{value.name}.{chosen.op}")


def apply(net: Net, chosen: Activation, value: Value, name: str) -> Value:
    """A node that does nothing but the activation."""
    if chosen.fused is not None:
        return net.emit("activation", name, (value,), activation=chosen.fused)
    if not chosen.op:
        return value
    settings = dict(chosen.settings)
    if chosen.op in ("softmax", "log_softmax"):
        axis = settings.get("axis", -1)
        settings["axis"] = axis_of(axis, value)
    return net.emit(chosen.op, name, (value,), **settings)


def axis_of(axis: int, value: Value) -> int:
    """Keras' axis in convkit's layout."""
    axes = len(value.sizes)
    if not -axes <= axis < axes or axis % axes == 0:
        raise ValueError(f"axis={axis} must be an axis behind the batch of {value.sizes}")
    return IMAGE_AXES[axis % 4] if axes == 4 else axis % axes


def _layer_of(chosen: Activation) -> Any:
    """A layer that is an activation and nothing else."""

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        if not chosen.op and chosen.fused is None:
            return x
        if chosen.op in ("softmax", "log_softmax"):
            return Tensor(apply(net, chosen, net.plain(x), layer.name))
        # Element by element, the order of elements stays what it was.
        if x.image is not None:
            image = apply(net, chosen, x.image, f"{layer.name}.image")
            return Tensor(net.emit("flatten", layer.name, (image,), axis=1), image)
        return Tensor(apply(net, chosen, x.value, layer.name))

    return write


def activation(layer: Layer) -> Any:
    return _layer_of(setting(layer))


def relu(layer: Layer) -> Any:
    """x above 0, slope x below, and no more than max_value."""
    most = layer.get("max_value")
    slope = one_number("negative_slope", layer.get("negative_slope") or 0.0)
    threshold = one_number("threshold", layer.get("threshold") or 0.0)
    highest = math.inf if most is None else one_number("max_value", most)
    if threshold:
        if slope or highest != math.inf:
            raise Unsupported("ReLU with threshold and another setting")
        return _layer_of(Activation(op="thresholded_relu", settings=(("alpha", threshold),)))
    if highest < 0:
        raise ValueError(f"max_value={highest} must be at least 0")
    if not slope:
        plain: Any = {math.inf: "relu", 6.0: "relu6"}.get(highest, ("clip", 0.0, highest))
        return _layer_of(Activation(plain))
    if highest == math.inf:
        return _layer_of(Activation(("leaky_relu", slope)))
    leaky = Activation(("leaky_relu", slope))

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        y = apply(net, leaky, net.plain(x), f"{layer.name}.leaky")
        return Tensor(apply(net, Activation(("clip", -math.inf, highest)), y, layer.name))

    return write


def leaky_relu(layer: Layer) -> Any:
    """The slope was `alpha` in Keras 2."""
    slopes = [layer.get(key) for key in ("negative_slope", "alpha")]
    slope = next((each for each in slopes if each is not None), 0.3)
    return _layer_of(Activation(("leaky_relu", one_number("negative_slope", slope))))


def elu(layer: Layer) -> Any:
    return _layer_of(Activation(("elu", layer.number("alpha", 1.0))))


def softmax(layer: Layer) -> Any:
    axis = layer.get("axis", -1)
    if isinstance(axis, list) and len(axis) == 1:
        axis = axis[0]
    if type(axis) is not int:
        raise Unsupported(f"Softmax with axis={axis!r}")
    return _layer_of(Activation(op="softmax", settings=(("axis", axis),)))


def thresholded_relu(layer: Layer) -> Any:
    theta = layer.number("theta", 1.0)
    return _layer_of(Activation(op="thresholded_relu", settings=(("alpha", theta),)))


TRANSLATORS = {
    "Activation": activation,
    "ReLU": relu,
    "LeakyReLU": leaky_relu,
    "ELU": elu,
    "Softmax": softmax,
    "ThresholdedReLU": thresholded_relu,
}
