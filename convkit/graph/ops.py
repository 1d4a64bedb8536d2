"""OPS: the operators of a graph, one row each: shape, weights, and how to run them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.epilogue import activation
from convkit.graph.ir import Node, Value
from convkit.problem import conv_problem, integer, pair

Array = Any  # a NumPy array, or another kind that the operations take
Shape = tuple[int, ...]
#: What a node does to its inputs, all that depends on the weights already done.
Step = Callable[..., Array]
Keywords = dict[str, Any]


def _no_weights(inputs: Sequence[Value], keywords: Keywords) -> dict[str, Shape]:
    return {}


@dataclass(frozen=True, slots=True)
class Op:
    """A row of OPS.

    `infer` checks the settings and gives the output's shape, `weights` gives role -> shape, and
    `prepare` makes the step that runs a node; `may_be_view`: what that returns may share memory
    with its input.
    """

    infer: Callable[[Sequence[Value], Keywords], Shape]
    prepare: Callable[[Node, Mapping[str, Array]], Step]
    weights: Callable[[Sequence[Value], Keywords], dict[str, Shape]] = _no_weights
    may_be_view: bool = False


def image_shape(value: Value, what: str) -> tuple[int, int, int]:
    """(c, h, w) of a value that must be an image."""
    if len(value.shape) != 3:
        raise ValueError(
            f"{what} needs an image (c, h, w), but {value.name} has shape {value.shape}"
        )
    c, h, w = value.shape
    return c, h, w


# Convolution and linear


def _conv2d_weights(inputs: Sequence[Value], keywords: Keywords) -> dict[str, Shape]:
    c, _, _ = image_shape(inputs[0], "conv2d")
    filters = integer("filters", keywords["filters"], least=1)
    groups = integer("groups", keywords["groups"], least=1)
    if c % groups:
        raise ValueError(f"groups={groups} must divide the {c} input channels")
    weights: dict[str, Shape] = {
        "weight": (filters, c // groups, *pair("kernel", keywords["kernel"], least=1))
    }
    return {**weights, "bias": (filters,)} if keywords["bias"] else weights


def _conv2d_keywords(keywords: Keywords) -> Keywords:
    names = ("stride", "padding", "padding_mode", "dilation", "groups")
    return {name: keywords[name] for name in names}


def _conv2d_shape(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    activation(keywords["activation"])
    w_shape = _conv2d_weights(inputs, keywords)["weight"]
    problem = conv_problem((1, *inputs[0].shape), w_shape, **_conv2d_keywords(keywords))
    return problem.y_shape[1:]


def _conv2d(node: Node, weights: Mapping[str, Array]) -> Step:
    from convkit import plan

    keywords = node.keywords
    made: Step = plan(
        (1, *node.inputs[0].shape),
        weights["weight"],
        weights.get("bias"),
        activation=keywords["activation"],
        **_conv2d_keywords(keywords),
    )
    return made


def _linear_weights(inputs: Sequence[Value], keywords: Keywords) -> dict[str, Shape]:
    features = integer("features", keywords["features"], least=1)
    weights: dict[str, Shape] = {"weight": (features, math.prod(inputs[0].shape))}
    return {**weights, "bias": (features,)} if keywords["bias"] else weights


def _linear_shape(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    activation(keywords["activation"])
    if len(inputs[0].shape) != 1:
        raise ValueError(
            f"linear needs features (c,), but {inputs[0].name} has shape {inputs[0].shape}: "
            f"flatten it first"
        )
    return (_linear_weights(inputs, keywords)["weight"][0],)


def _linear(node: Node, weights: Mapping[str, Array]) -> Step:
    from convkit import linear

    w, bias, name = weights["weight"], weights.get("bias"), node.keywords["activation"]
    return lambda x: linear(x, w, bias, activation=name)


# Normalisation


def _batch_norm_weights(inputs: Sequence[Value], keywords: Keywords) -> dict[str, Shape]:
    c = inputs[0].shape[0]
    return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (c,))


def _batch_norm_shape(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    activation(keywords["activation"])
    eps = keywords["eps"]
    if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0 < eps < math.inf:
        raise ValueError(f"eps={eps!r} must be a positive number")
    if len(inputs[0].shape) not in (1, 3):
        raise ValueError(
            f"batch_norm needs (c,) or (c, h, w), but {inputs[0].name} has shape {inputs[0].shape}"
        )
    return inputs[0].shape


def _batch_norm(node: Node, weights: Mapping[str, Array]) -> Step:
    from convkit import batch_norm

    keywords = node.keywords
    return lambda x: batch_norm(
        x,
        weights["running_mean"],
        weights["running_var"],
        weights["weight"],
        weights["bias"],
        eps=keywords["eps"],
        activation=keywords["activation"],
    )


# Pooling


def _pooled(pool: Callable[..., Array], inputs: Sequence[Value], keywords: Keywords) -> Shape:
    """The pooling's own checks and sizes, asked with a batch of no images."""
    value = inputs[0]
    shape = pool(np.empty((0, *image_shape(value, "pooling")), value.dtype), **keywords).shape
    return tuple(shape[1:])


def _max_pool2d_shape(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    from convkit import max_pool2d

    return _pooled(max_pool2d, inputs, keywords)


def _avg_pool2d_shape(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    from convkit import avg_pool2d

    return _pooled(avg_pool2d, inputs, keywords)


def _max_pool2d(node: Node, weights: Mapping[str, Array]) -> Step:
    from convkit import max_pool2d

    keywords = node.keywords
    return lambda x: max_pool2d(x, **keywords)


def _avg_pool2d(node: Node, weights: Mapping[str, Array]) -> Step:
    from convkit import avg_pool2d

    keywords = node.keywords
    return lambda x: avg_pool2d(x, **keywords)


def _global_avg_pool2d(node: Node, weights: Mapping[str, Array]) -> Step:
    from convkit import global_avg_pool2d

    return global_avg_pool2d


# Element by element


def _activation_shape(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    if keywords["activation"] is None:
        raise ValueError("activation=None must be a name or (name, parameters...)")
    activation(keywords["activation"])
    return inputs[0].shape


def _activation(node: Node, weights: Mapping[str, Array]) -> Step:
    from convkit import activate

    value = node.keywords["activation"]
    return lambda x: activate(x, value)


def _add_shape(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    activation(keywords["activation"])
    x, y = inputs
    if x.shape != y.shape:
        raise ValueError(
            f"add needs two values of one shape, but {x.name} has {x.shape} and {y.name} {y.shape}"
        )
    return x.shape


def _add(node: Node, weights: Mapping[str, Array]) -> Step:
    from convkit import add

    value = node.keywords["activation"]
    return lambda x, y: add(x, y, activation=value)


def _softmax_shape(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    axes = len(inputs[0].shape) + 1
    axis = keywords["axis"]
    if isinstance(axis, bool) or not isinstance(axis, int) or not -axes < axis < axes or axis == 0:
        raise ValueError(f"axis={axis!r} must be an axis of {inputs[0].name} behind the batch")
    return inputs[0].shape


def _softmax(node: Node, weights: Mapping[str, Array]) -> Step:
    from convkit import softmax

    keywords = node.keywords
    return lambda x: softmax(x, **keywords)


# Shapes


def _flatten_shape(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    return (math.prod(inputs[0].shape),)


def _flatten(node: Node, weights: Mapping[str, Array]) -> Step:
    size = node.output.shape[0]
    return lambda x: x.reshape((x.shape[0], size))


def _pad_channels_shape(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    c, h, w = image_shape(inputs[0], "pad_channels")
    before = integer("before", keywords["before"], least=0)
    after = integer("after", keywords["after"], least=0)
    stride = integer("stride", keywords["stride"], least=1)
    return (before + c + after, -(-h // stride), -(-w // stride))


def _pad_channels(node: Node, weights: Mapping[str, Array]) -> Step:
    begin, step = node.keywords["before"], node.keywords["stride"]
    end = begin + node.inputs[0].shape[0]

    def run(x: Array) -> Array:
        y = np.zeros((x.shape[0], *node.output.shape), x.dtype)
        y[:, begin:end] = x[:, :, ::step, ::step]
        return y

    return run


def _same_channels(inputs: Sequence[Value], keywords: Keywords) -> Shape:
    return (image_shape(inputs[0], "global_avg_pool2d")[0], 1, 1)


OPS: dict[str, Op] = {
    "conv2d": Op(_conv2d_shape, _conv2d, _conv2d_weights),
    "linear": Op(_linear_shape, _linear, _linear_weights),
    "batch_norm": Op(_batch_norm_shape, _batch_norm, _batch_norm_weights),
    "max_pool2d": Op(_max_pool2d_shape, _max_pool2d),
    "avg_pool2d": Op(_avg_pool2d_shape, _avg_pool2d),
    "global_avg_pool2d": Op(_same_channels, _global_avg_pool2d),
    "activation": Op(_activation_shape, _activation),
    "add": Op(_add_shape, _add),
    "softmax": Op(_softmax_shape, _softmax),
    "flatten": Op(_flatten_shape, _flatten, may_be_view=True),
    "pad_channels": Op(_pad_channels_shape, _pad_channels),
}
