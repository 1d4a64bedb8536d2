"""Element by element, reductions, and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from convkit.onnx.file import dtype_of
from convkit.onnx.node import OnnxNode, Unsupported

Translate = Callable[[OnnxNode], None]
#: float32's least and most, which old Clips name for "no bound".
NO_BOUND = float(np.finfo(np.float32).max)


def _unary(op: str, **parameters: float) -> Translate:
    """A row of one input whose settings are attributes of these names, with their defaults."""

    def translate(node: OnnxNode) -> None:
        node.at_most(1)
        settings: dict[str, Any] = {
            name: node.number(name, default) for name, default in parameters.items()
        }
        node.emit(op, (node.input(0),), **settings)

    return translate


def _activation(name: str, **parameters: float) -> Translate:
    """An activation whose parameters are attributes of these names, with their defaults."""

    def translate(node: OnnxNode) -> None:
        node.at_most(1)
        numbers = tuple(node.number(key, default) for key, default in parameters.items())
        node.emit("activation", (node.input(0),), activation=(name, *numbers) if numbers else name)

    return translate


def _binary(op: str) -> Translate:
    def translate(node: OnnxNode) -> None:
        node.at_most(2)
        node.emit(op, (node.input(0), node.input(1)))

    return translate


def _many(op: str) -> Translate:
    """An operator of any number of inputs, two by two."""

    def translate(node: OnnxNode) -> None:
        node.at_most(len(node.inputs))
        _chain(node, op)

    return translate


def _chain(node: OnnxNode, op: str, *, last: bool = True) -> Any:
    """The inputs joined by op; the node's output if `last`, else a value to go on with."""
    total = node.input(0)
    if len(node.inputs) == 1:
        return node.emit("identity", (total,)) if last else total
    for index in range(1, len(node.inputs)):
        add = node.emit if last and index == len(node.inputs) - 1 else node.step
        total = add(op, (total, node.input(index)))
    return total


def mean(node: OnnxNode) -> None:
    node.at_most(len(node.inputs))
    if len(node.inputs) == 1:
        node.emit("identity", (node.input(0),))
        return
    total = _chain(node, "add", last=False)
    # A constant of the dtype that the sum has: it is cut from the first input's known dtype.
    dtype = node.input(0).dtype if node.input(0).dtype == "float64" else "float32"
    count = node.constant(np.array(len(node.inputs), dtype), "count")
    node.emit("div", (total, count))


def mod(node: OnnxNode) -> None:
    node.at_most(2)
    node.emit("fmod" if node.flag("fmod") else "mod", (node.input(0), node.input(1)))


def gelu(node: OnnxNode) -> None:
    node.at_most(1)
    word = node.word("approximate", "none")
    if word == "tanh":
        node.emit("gelu_tanh", (node.input(0),))
    elif word == "none":
        node.emit("activation", (node.input(0),), activation="gelu")
    else:
        raise ValueError(f"attribute approximate={word!r} must be none or tanh")


def clip(node: OnnxNode) -> None:
    if node.opset >= 11:
        node.at_most(3)
        node.emit("clip", (node.input(0), node.optional(1), node.optional(2)))
        return
    node.at_most(1)
    lo, hi = node.number("min", -NO_BOUND), node.number("max", NO_BOUND)
    lo = -math.inf if lo <= -NO_BOUND else lo
    hi = math.inf if hi >= NO_BOUND else hi
    if lo > hi:
        bounds = (node.constant(np.float32(value), key) for key, value in (("lo", lo), ("hi", hi)))
        node.emit("clip", (node.input(0), *bounds))
        return
    kind: Any = {(0.0, math.inf): "relu", (0.0, 6.0): "relu6"}.get((lo, hi), ("clip", lo, hi))
    node.emit("activation", (node.input(0),), activation=kind)


def dropout(node: OnnxNode) -> None:
    node.at_most(3, outputs=2)
    node.ignore("ratio", "seed", "is_test")
    training = node.optional(2)
    if training is not None:
        array = node.array(2)
        if array is None or array.any():
            raise Unsupported("Dropout in training")
    node.emit("identity", (node.input(0),))
    if node.wants(1):
        shape = node.step("shape", (node.input(0),))
        dtype = "bool" if node.opset >= 10 else "float32"
        node.emit("constant_of_shape", (shape,), (node.made(1),), value=1, dtype=dtype)


def cast(node: OnnxNode) -> None:
    node.at_most(1)
    node.ignore("saturate", "round_mode")
    try:
        dtype = dtype_of(node.integer("to"), "to")
    except ValueError as error:
        raise Unsupported(f"Cast: {error}") from None
    node.emit("cast", (node.input(0),), dtype=dtype)


def cast_like(node: OnnxNode) -> None:
    node.at_most(2)
    node.ignore("saturate", "round_mode")
    node.emit("cast_like", (node.input(0), node.input(1)))


def where(node: OnnxNode) -> None:
    node.at_most(3)
    node.emit("where", [node.input(index) for index in range(3)])


def _softmax(op: str) -> Translate:
    """Before opset 13 all axes from `axis` on were one."""

    def translate(node: OnnxNode) -> None:
        node.at_most(1)
        x = node.input(0)
        if node.opset >= 13:
            node.emit(op, (x,), axis=node.integer("axis", -1))
            return
        axis = node.integer("axis", 1)
        if axis == -1 or (x.shape is not None and axis == len(x.shape) - 1):
            node.emit(op, (x,), axis=-1)
            return
        shape = node.step("shape", (x,))
        rows = node.step("flatten", (x,), axis=axis)
        node.emit("reshape", (node.step(op, (rows,), axis=1), shape))

    return translate


def _reduction(op: str, axes_are_inputs: int) -> Translate:
    """Axes were an attribute before the opset in which they became an input."""

    def translate(node: OnnxNode) -> None:
        keepdims = node.flag("keepdims", True)
        settings: dict[str, Any] = {"keepdims": keepdims}
        if node.opset >= axes_are_inputs:
            node.at_most(2)
            nothing = node.flag("noop_with_empty_axes")
            node.emit(
                op, (node.input(0), node.optional(1)), noop_with_empty_axes=nothing, **settings
            )
            return
        node.at_most(1)
        axes = node.integers("axes")
        if axes is not None:
            settings["axes"] = axes
        node.emit(op, (node.input(0),), **settings)

    return translate


TRANSLATORS: dict[str, Translate] = {
    "Relu": _activation("relu"),
    "Sigmoid": _activation("sigmoid"),
    "Tanh": _activation("tanh"),
    "LeakyRelu": _activation("leaky_relu", alpha=0.01),
    "Elu": _activation("elu", alpha=1.0),
    "HardSigmoid": _activation("hardsigmoid", alpha=0.2, beta=0.5),
    "HardSwish": _activation("hardswish"),
    "Gelu": gelu,
    "Selu": _unary("selu", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "Celu": _unary("celu", alpha=1.0),
    "Swish": _unary("swish", alpha=1.0),
    "ThresholdedRelu": _unary("thresholded_relu", alpha=1.0),
    **{
        onnx: _unary(op)
        for onnx, op in {
            "Abs": "abs", "Neg": "neg", "Sign": "sign", "Floor": "floor", "Ceil": "ceil",
            "Round": "round", "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Erf": "erf",
            "Reciprocal": "reciprocal", "Softplus": "softplus", "Softsign": "softsign",
            "Mish": "mish", "Not": "not",
        }.items()
    },
    **{
        onnx: _binary(op)
        for onnx, op in {
            "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "PRelu": "prelu",
            "Equal": "equal", "Less": "less", "LessOrEqual": "less_or_equal",
            "Greater": "greater", "GreaterOrEqual": "greater_or_equal", "And": "and", "Or": "or",
            "Xor": "xor",
        }.items()
    },
    "Sum": _many("add"),
    "Max": _many("maximum"),
    "Min": _many("minimum"),
    "Mean": mean,
    "Mod": mod,
    "Clip": clip,
    "Dropout": dropout,
    "Cast": cast,
    "CastLike": cast_like,
    "Where": where,
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    "ReduceSum": _reduction("reduce_sum", 13),
    **{
        onnx: _reduction(op, 18)
        for onnx, op in {
            "ReduceMean": "reduce_mean", "ReduceMax": "reduce_max", "ReduceMin": "reduce_min",
            "ReduceProd": "reduce_prod", "ReduceL1": "reduce_l1", "ReduceL2": "reduce_l2",
            "ReduceSumSquare": "reduce_sum_square", "ReduceLogSum": "reduce_log_sum",
            "ReduceLogSumExp": "reduce_log_sum_exp",
        }.items()
    },
}  # fmt: skip
