"""Operators with weights, and those that normalise."""

from __future__ import annotations

from typing import Any

from convkit.onnx.node import OnnxNode, Unsupported
from convkit.onnx.operators.windows import pair, slide


def conv(node: OnnxNode) -> None:
    node.at_most(3)
    window = slide(node, filters=1)
    x, w = (window.enter(node, node.input(index)) for index in (0, 1))
    window.leave(
        node, "conv2d", (x, w, node.optional(2)), stride=window.stride, padding=window.padding,
        dilation=window.dilation, groups=node.integer("group", 1),
    )  # fmt: skip


def conv_transpose(node: OnnxNode) -> None:
    node.at_most(3)
    window = slide(node, filters=1)
    x, w = (window.enter(node, node.input(index)) for index in (0, 1))
    axes = 1 if window.flat else 2
    settings: dict[str, Any] = {}
    extra, sizes = node.integers("output_padding"), node.integers("output_shape")
    if extra is not None:
        if len(extra) != axes:
            raise ValueError(f"attribute output_padding={extra} must be {axes} numbers")
        settings["output_padding"] = pair(extra, first=0)
    if sizes is not None:
        if len(sizes) < axes:
            raise ValueError(f"attribute output_shape={sizes} must be {axes} numbers")
        settings["output_size"] = pair(sizes[-axes:])
    window.leave(
        node, "conv_transpose2d", (x, w, node.optional(2)), stride=window.stride,
        padding=window.padding, dilation=window.dilation, groups=node.integer("group", 1),
        **settings,
    )  # fmt: skip


def gemm(node: OnnxNode) -> None:
    """linear where the matrix and the bias are those of a layer, else gemm."""
    node.at_most(3)
    a, b, c = node.input(0), node.input(1), node.optional(2)
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    trans_a, trans_b = node.flag("transA"), node.flag("transB")
    matrix, bias = node.array(1), node.array(2)
    features = None if matrix is None or matrix.ndim != 2 else matrix.shape[0 if trans_b else 1]
    plain_bias = c is None or (bias is not None and bias.shape == (features,) and beta == 1)
    if features is not None and plain_bias and alpha == 1 and not trans_a:
        weight = b if trans_b else node.step("transpose", (b,), perm=(1, 0))
        node.emit("linear", (a, weight, c))
        return
    node.emit("gemm", (a, b, c), alpha=alpha, beta=beta, trans_a=trans_a, trans_b=trans_b)


def matmul(node: OnnxNode) -> None:
    node.at_most(2)
    node.emit("matmul", (node.input(0), node.input(1)))


def batch_normalization(node: OnnxNode) -> None:
    node.at_most(5, outputs=5)
    node.ignore("momentum")
    if node.flag("training_mode") or any(map(node.wants, range(1, len(node.outputs)))):
        raise Unsupported("BatchNormalization in training")
    if node.opset < 9 and not node.flag("spatial", True):
        raise Unsupported("BatchNormalization with spatial=0")
    node.emit(
        "batch_norm", [node.input(index) for index in range(5)], eps=node.number("epsilon", 1e-5)
    )


def instance_normalization(node: OnnxNode) -> None:
    node.at_most(3)
    node.emit(
        "instance_norm", [node.input(index) for index in range(3)], eps=node.number("epsilon", 1e-5)
    )


def lrn(node: OnnxNode) -> None:
    node.at_most(1)
    node.emit(
        "local_response_norm", (node.input(0),), size=node.integer("size"),
        alpha=node.number("alpha", 1e-4), beta=node.number("beta", 0.75),
        k=node.number("bias", 1.0),
    )  # fmt: skip


TRANSLATORS = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "BatchNormalization": batch_normalization,
    "InstanceNormalization": instance_normalization,
    "LRN": lrn,
}
