"""Pools, and UpSampling2D, which is their opposite."""

from __future__ import annotations

from typing import Any

from convkit.keras.layer import Layer
from convkit.keras.layers.convolution import PADDINGS, image, short
from convkit.keras.net import Net, Tensor


def _pool(op: str) -> Any:
    def pool(layer: Layer) -> Any:
        layer.channels_last()
        window = layer.pair("pool_size", 2)
        strides = window if layer.get("strides") is None else layer.pair("strides")
        padding = layer.word("padding", "valid", PADDINGS)
        settings: dict[str, Any] = {
            "kernel": short(window),
            "stride": short(strides),
            "padding": 0 if padding == "valid" else padding,
        }
        if op == "avg_pool2d":
            settings["count_include_pad"] = False

        def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
            return Tensor(net.emit(op, layer.name, (image(x, layer),), **settings))

        return write

    return pool


def _global_pool(op: str) -> Any:
    def pool(layer: Layer) -> Any:
        layer.channels_last()
        keepdims = layer.flag("keepdims", False)

        def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
            y = net.emit(op, layer.name, (image(x, layer),))
            if keepdims:
                return Tensor(y)
            return Tensor(net.emit("flatten", f"{layer.name}.flatten", (y,), axis=1))

        return write

    return pool


def up_sampling2d(layer: Layer) -> Any:
    layer.channels_last()
    rows, columns = layer.pair("size", 2)
    mode = layer.word("interpolation", "nearest", ("nearest", "bilinear"))
    settings = (
        {"mode": "nearest", "coordinates": "asymmetric", "rounding": "floor"}
        if mode == "nearest"
        else {"mode": "linear", "coordinates": "half_pixel"}
    )

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        scales = (1.0, 1.0, float(rows), float(columns))
        value = image(x, layer)
        return Tensor(net.emit("resize", layer.name, (value,), scales=scales, **settings))

    return write


TRANSLATORS = {
    "MaxPooling2D": _pool("max_pool2d"),
    "MaxPool2D": _pool("max_pool2d"),
    "AveragePooling2D": _pool("avg_pool2d"),
    "AvgPool2D": _pool("avg_pool2d"),
    "GlobalAveragePooling2D": _global_pool("global_avg_pool2d"),
    "GlobalAvgPool2D": _global_pool("global_avg_pool2d"),
    "GlobalMaxPooling2D": _global_pool("global_max_pool2d"),
    "GlobalMaxPool2D": _global_pool("global_max_pool2d"),
    "UpSampling2D": up_sampling2d,
}
