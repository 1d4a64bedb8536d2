"""Layers with filters or matrices. Filters are (r, s, c, k) in the file, (k, c, r, s) here."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit.graph.ir import Value
from convkit.keras.layer import Layer, Pair, Unsupported
from convkit.keras.layers.activations import after, setting
from convkit.keras.net import Array, Net, Tensor

PADDINGS = ("valid", "same")
FILTERS = ("kernel", "bias")
SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")


def turned(kernel: Array) -> Array:
    """(r, s, c, k) -> (k, c, r, s)."""
    made: Array = kernel.transpose(3, 2, 0, 1)
    return made


def turned_depthwise(kernel: Array) -> Array:
    """(r, s, c, m), m filters a channel -> (c m, 1, r, s)."""
    r, s, c, m = kernel.shape
    made: Array = kernel.transpose(2, 3, 0, 1).reshape(c * m, 1, r, s)
    return made


def image(x: Tensor, layer: Layer) -> Value:
    """What the layer is called with, which must be images."""
    if len(x.value.sizes) != 4:
        raise ValueError(f"{layer.kind} needs images, got shape {x.value.sizes}")
    return x.value


def bias(net: Net, layer: Layer, used: bool, k: int, order: tuple[str, ...] = FILTERS) -> Any:
    return net.weight(layer, "bias", (k,), order, kind="bias") if used else None


def conv2d(layer: Layer) -> Any:
    layer.channels_last()
    k, window, groups = (
        layer.integer("filters"),
        layer.pair("kernel_size"),
        layer.integer("groups", 1),
    )
    settings = slide(layer)
    chosen, biased = setting(layer), layer.flag("use_bias", True)

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        value = image(x, layer)
        c = value.sizes[1]
        if c % groups:
            raise ValueError(f"groups={groups} must divide the {c} input channels")
        w = net.weight(layer, "kernel", (*window, c // groups, k), FILTERS, turned)
        inputs = (value, w, bias(net, layer, biased, k))
        y = net.emit(
            "conv2d", layer.name, inputs, groups=groups, activation=chosen.fused, **settings
        )
        return Tensor(after(net, chosen, y))

    return write


def slide(layer: Layer) -> dict[str, Any]:
    """Strides, padding and dilation, as they are called here and as short as they can be."""
    padding = layer.word("padding", "valid", PADDINGS)
    stride, dilation = layer.pair("strides", 1), layer.pair("dilation_rate", 1)
    return {
        "stride": short(stride),
        "padding": 0 if padding == "valid" else padding,
        "dilation": short(dilation),
    }


def short(both: Pair) -> Any:
    """One number where the two are equal, as listings of networks show it."""
    return both[0] if both[0] == both[1] else both


def depthwise_conv2d(layer: Layer) -> Any:
    """A number of filters for each channel."""
    layer.channels_last()
    window, each = layer.pair("kernel_size"), layer.integer("depth_multiplier", 1)
    if layer.integer("groups", 1) != 1:
        raise Unsupported("DepthwiseConv2D with groups")
    layer.get("filters")
    settings = slide(layer)
    chosen, biased = setting(layer), layer.flag("use_bias", True)
    order = ("depthwise_kernel", "bias")

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        value = image(x, layer)
        c = value.sizes[1]
        w = net.weight(layer, "depthwise_kernel", (*window, c, each), order, turned_depthwise)
        inputs = (value, w, bias(net, layer, biased, c * each, order))
        y = net.emit("conv2d", layer.name, inputs, groups=c, activation=chosen.fused, **settings)
        return Tensor(after(net, chosen, y))

    return write


def separable_conv2d(layer: Layer) -> Any:
    """A depthwise convolution, then one of 1x1."""
    layer.channels_last()
    k, window = layer.integer("filters"), layer.pair("kernel_size")
    each = layer.integer("depth_multiplier", 1)
    if layer.integer("groups", 1) != 1:
        raise Unsupported("SeparableConv2D with groups")
    settings = slide(layer)
    chosen, biased = setting(layer), layer.flag("use_bias", True)

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        value = image(x, layer)
        c = value.sizes[1]
        w = net.weight(
            layer, "depthwise_kernel", (*window, c, each), SEPARABLE, turned_depthwise,
            name="depthwise.weight",
        )  # fmt: skip
        value = net.emit("conv2d", f"{layer.name}.depthwise", (value, w), groups=c, **settings)
        w = net.weight(
            layer, "pointwise_kernel", (1, 1, c * each, k), SEPARABLE, turned,
            name="pointwise.weight",
        )  # fmt: skip
        inputs = (value, w, bias(net, layer, biased, k, SEPARABLE))
        y = net.emit("conv2d", layer.name, inputs, activation=chosen.fused)
        return Tensor(after(net, chosen, y))

    return write


def conv2d_transpose(layer: Layer) -> Any:
    """Filters are (r, s, k, c) in the file, (c, k, r, s) here."""
    layer.channels_last()
    k, window, groups = (
        layer.integer("filters"),
        layer.pair("kernel_size"),
        layer.integer("groups", 1),
    )
    if groups != 1:
        raise Unsupported(f"Conv2DTranspose with groups={groups}")
    if layer.get("output_padding") is not None:
        raise Unsupported("Conv2DTranspose with output_padding")
    settings = slide(layer)
    if not settings["padding"]:
        # Filters smaller than the stride leave the last rows and columns to the bias.
        steps, gaps = layer.pair("strides", 1), layer.pair("dilation_rate", 1)
        rest = (max(u - (f - 1) * d - 1, 0) for u, f, d in zip(steps, window, gaps, strict=True))
        settings["output_padding"] = short((next(rest), next(rest)))
    chosen, biased = setting(layer), layer.flag("use_bias", True)

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        value = image(x, layer)
        w = net.weight(layer, "kernel", (*window, k, value.sizes[1]), FILTERS, turned)
        inputs = (value, w, bias(net, layer, biased, k))
        y = net.emit("conv_transpose2d", layer.name, inputs, activation=chosen.fused, **settings)
        return Tensor(after(net, chosen, y))

    return write


def dense(layer: Layer) -> Any:
    """A matrix over the last axis, which of images are the channels: then a 1x1 convolution."""
    k = layer.integer("units")
    chosen, biased = setting(layer), layer.flag("use_bias", True)

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        value = x.value
        axes = len(value.sizes)
        if axes not in (2, 4):
            raise ValueError(f"Dense needs rows or images, got shape {value.sizes}")
        c = value.sizes[1]

        def flat(kernel: Array) -> Array:
            """(in, out) -> (out, in), with the rows of an image made flat in convkit's order."""
            if x.image is not None:
                _, channels, h, w = x.image.sizes
                kernel = kernel.reshape(h, w, channels, k).transpose(2, 0, 1, 3).reshape(c, k)
            matrix: Array = kernel.T if axes == 2 else kernel.T[:, :, None, None]
            return matrix

        form = f"{axes}" if x.image is None else f"{x.image.sizes}"
        w = net.weight(layer, "kernel", (c, k), FILTERS, flat, form=form)
        op = "linear" if axes == 2 else "conv2d"
        inputs = (value, w, bias(net, layer, biased, k))
        y = net.emit(op, layer.name, inputs, activation=chosen.fused)
        return Tensor(after(net, chosen, y))

    return write


def batch_normalization(layer: Layer) -> Any:
    """gamma and beta may be switched off; the mean and the deviation are those of training."""
    axis = layer.get("axis", -1)
    if isinstance(axis, list) and len(axis) == 1:
        axis = axis[0]
    if axis not in (-1, 1, 3) or isinstance(axis, bool):
        raise Unsupported(f"BatchNormalization with axis={axis!r}")
    eps = layer.number("epsilon", 1e-3)
    scaled, centred = layer.flag("scale", True), layer.flag("center", True)
    order = (
        *(["gamma"] if scaled else []), *(["beta"] if centred else []),
        "moving_mean", "moving_variance",
    )  # fmt: skip

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        value = net.plain(x)
        axes = len(value.sizes)
        if axes not in (2, 4) or axis not in (-1, axes - 1):
            raise ValueError(f"axis={axis} must be the last of {axes}: expected rows or images")
        c = (value.sizes[1],)
        prefix = net.prefix(layer)
        gamma = (
            net.weight(layer, "gamma", c, order)
            if scaled
            else net.constant(f"{prefix}.ones", np.ones(c))
        )
        beta = (
            net.weight(layer, "beta", c, order, kind="bias")
            if centred
            else net.constant(f"{prefix}.zeros", np.zeros(c))
        )
        mean = net.weight(layer, "moving_mean", c, order, kind="running_mean")
        var = net.weight(layer, "moving_variance", c, order, kind="running_var")
        return Tensor(net.emit("batch_norm", layer.name, (value, gamma, beta, mean, var), eps=eps))

    return write


TRANSLATORS = {
    "Conv2D": conv2d,
    "Convolution2D": conv2d,
    "DepthwiseConv2D": depthwise_conv2d,
    "SeparableConv2D": separable_conv2d,
    "Conv2DTranspose": conv2d_transpose,
    "Dense": dense,
    "BatchNormalization": batch_normalization,
    "BatchNormalizationV1": batch_normalization,
}
