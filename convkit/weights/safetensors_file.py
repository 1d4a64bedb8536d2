"""safetensors: the library checks header and ranges, we make the arrays (bfloat16 widened)."""

from __future__ import annotations

import safetensors

from convkit.weights import Weights
from convkit.weights.bounds import Budget, cut_array, shown, sizes

#: The format's names of dtypes.
DTYPE_NAMES = {
    "F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16", "BOOL": "bool",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "C64": "complex64",
}  # fmt: skip


def read_safetensors(contents: bytes, max_bytes: int | None = None) -> Weights:
    """The tensors of a .safetensors file; none where it holds a network without weights."""
    try:
        tensors = safetensors.deserialize(contents)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ValueError(f"no valid safetensors file: {error}") from None
    budget = Budget(len(contents), max_bytes)
    weights: Weights = {}
    for name, tensor in tensors:
        what = f"tensor {shown(name)}"
        if tensor["dtype"] not in DTYPE_NAMES:
            raise ValueError(
                f"{what} has dtype {tensor['dtype']}: expected one of {', '.join(DTYPE_NAMES)}"
            )
        weights[name] = cut_array(
            what,
            tensor["data"],
            DTYPE_NAMES[tensor["dtype"]],
            sizes(f"shape of {what}", list(tensor["shape"])),
            budget,
        )
    return weights
