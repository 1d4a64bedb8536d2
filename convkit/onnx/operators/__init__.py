"""TRANSLATORS: for each ONNX operator, what writes its nodes into the graph; files by family."""

from __future__ import annotations

from collections.abc import Callable

from convkit.onnx.node import OnnxNode
from convkit.onnx.operators import elementwise, layers, movement, pools

TRANSLATORS: dict[str, Callable[[OnnxNode], None]] = {
    **layers.TRANSLATORS,
    **pools.TRANSLATORS,
    **elementwise.TRANSLATORS,
    **movement.TRANSLATORS,
}

#: Roles of the initialisers that stand as these inputs.
ROLES: dict[str, tuple[str, ...]] = {
    "Conv": ("", "weight", "bias"),
    "ConvTranspose": ("", "weight", "bias"),
    "Gemm": ("", "weight", "bias"),
    "MatMul": ("", "weight"),
    "PRelu": ("", "weight"),
    "InstanceNormalization": ("", "weight", "bias"),
    "BatchNormalization": ("", "weight", "bias", "running_mean", "running_var"),
}
#: Operators that change no number of their first input.
TURNING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")

__all__ = ["ROLES", "TRANSLATORS", "TURNING"]
