"""Pools, and Resize, which is their opposite."""

from __future__ import annotations

from typing import Any

from convkit.onnx.node import OnnxNode, Unsupported
from convkit.onnx.operators.windows import slide


def max_pool(node: OnnxNode) -> None:
    node.at_most(1, outputs=2)
    window = slide(node)
    if window.kernel is None:
        raise ValueError("attribute kernel_shape is missing")
    x = window.enter(node, node.input(0))
    settings: dict[str, Any] = {
        "kernel": window.kernel, "stride": window.stride, "padding": window.padding,
        "dilation": window.dilation, "ceil_mode": node.flag("ceil_mode"),
    }  # fmt: skip
    order = "columns" if node.flag("storage_order") else "rows"
    if not node.wants(1):
        window.leave(node, "max_pool2d", (x,), **settings)
        return
    settings.update(indices=order, over_all=True)
    if not window.flat:
        node.emit("max_pool2d", (x,), (node.made(0), node.made(1)), **settings)
        return
    both = node.value("max"), node.value("indices")
    node.emit("max_pool2d", (x,), both, **settings)
    for index, value in enumerate(both):
        node.emit("squeeze", (value,), (node.made(index),), axes=(2,))


def average_pool(node: OnnxNode) -> None:
    node.at_most(1)
    window = slide(node)
    if window.kernel is None:
        raise ValueError("attribute kernel_shape is missing")
    window.leave(
        node, "avg_pool2d", (window.enter(node, node.input(0)),), kernel=window.kernel,
        stride=window.stride, padding=window.padding, dilation=window.dilation,
        ceil_mode=node.flag("ceil_mode"), count_include_pad=node.flag("count_include_pad"),
    )  # fmt: skip


def max_unpool(node: OnnxNode) -> None:
    node.at_most(3)
    window = slide(node)
    if window.kernel is None:
        raise ValueError("attribute kernel_shape is missing")
    if window.flat and node.optional(2) is not None:
        raise Unsupported("MaxUnpool over one axis with output_shape")
    x, indices = (window.enter(node, node.input(index)) for index in (0, 1))
    window.leave(
        node, "max_unpool2d", (x, indices, node.optional(2)), kernel=window.kernel,
        stride=window.stride, padding=window.padding, over_all=True,
    )  # fmt: skip


def global_average_pool(node: OnnxNode) -> None:
    node.at_most(1)
    node.emit("global_avg_pool2d", (node.input(0),))


def global_max_pool(node: OnnxNode) -> None:
    node.at_most(1)
    node.emit("global_max_pool2d", (node.input(0),))


#: Resize before opset 11, and Upsample: scales about the corner, the nearest element below.
OLD_RESIZE: dict[str, Any] = {"coordinates": "asymmetric", "rounding": "floor"}


def resize(node: OnnxNode) -> None:
    x = node.input(0)
    mode = node.word("mode", "nearest")
    if node.opset < 11:
        node.at_most(2)
        node.emit("resize", (x, None, node.input(1)), mode=_mode(mode), **OLD_RESIZE)
        return
    node.at_most(4)
    coordinates = node.word("coordinate_transformation_mode", "half_pixel")
    if coordinates == "tf_crop_and_resize":
        raise Unsupported("Resize with coordinate_transformation_mode=tf_crop_and_resize")
    node.ignore("extrapolation_value")  # of crops alone
    scales, sizes = node.optional(2), node.optional(3)
    if scales is not None and scales.shape == (0,):
        scales = None
    axes = node.integers("axes")
    settings: dict[str, Any] = {} if axes is None else {"axes": axes}
    node.emit(
        "resize", (x, None, scales, sizes), mode=_mode(mode), coordinates=coordinates,
        rounding=node.word("nearest_mode", "round_prefer_floor"),
        a=node.number("cubic_coeff_a", -0.75),
        exclude_outside=node.flag("exclude_outside"), antialias=node.flag("antialias"),
        policy=node.word("keep_aspect_ratio_policy", "stretch"),
        **settings,
    )  # fmt: skip


def upsample(node: OnnxNode) -> None:
    mode = _mode(node.word("mode", "nearest"))
    if node.opset >= 9:
        node.at_most(2)
        node.emit("resize", (node.input(0), None, node.input(1)), mode=mode, **OLD_RESIZE)
        return
    node.at_most(1)
    scales = node.numbers("scales")
    if scales is None:
        raise ValueError("attribute scales is missing")
    node.emit("resize", (node.input(0),), scales=scales, mode=mode, **OLD_RESIZE)


def _mode(mode: str) -> str:
    return {"bilinear": "linear"}.get(mode, mode)


TRANSLATORS = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "MaxUnpool": max_unpool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "Resize": resize,
    "Upsample": upsample,
}
