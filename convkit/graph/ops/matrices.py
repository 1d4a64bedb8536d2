"""Products of matrices as ONNX writes them: gemm, matmul."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convkit.graph.ir import Node, Shape, Value
from convkit.graph.ops.row import Array, Keywords, Made, Op, broadcast, given, one_dtype, optional

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


def gemm_sizes(inputs: Sequence[Value | None], keywords: Keywords) -> tuple[int, int, int]:
    """(rows, columns, depth) of the product of what may be transposed."""
    a, b = given(inputs, "gemm", 2)
    for value in (a, b):
        if len(value.sizes) != 2:
            raise ValueError(f"gemm needs matrices, but {value.name} has shape {value.sizes}")
    rows, depth = a.sizes[::-1] if keywords.get("trans_a") else a.sizes
    other, columns = b.sizes[::-1] if keywords.get("trans_b") else b.sizes
    if depth != other:
        raise ValueError(f"gemm cannot multiply {a.name} {a.sizes} by {b.name} {b.sizes}")
    return rows, columns, depth


def _gemm_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    rows, columns, _ = gemm_sizes(inputs, keywords)
    values = [value for value in inputs if value is not None]
    c = optional(inputs, 2)
    made = Value("the product", (rows, columns), values[0].dtype)
    if c is not None and broadcast((made, c), "gemm") != (rows, columns):
        raise ValueError(f"{c.name} has shape {c.sizes}, which does not fit ({rows}, {columns})")
    return [((rows, columns), one_dtype(values, "gemm"))]


def _gemm(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    a, b = arrays[:2]
    assert a is not None and b is not None
    a64 = (a.T if keywords.get("trans_a") else a).astype(np.float64)
    b64 = (b.T if keywords.get("trans_b") else b).astype(np.float64)
    y = keywords.get("alpha", 1.0) * (a64 @ b64)
    c = optional(arrays, 2)
    if c is not None:
        y = y + keywords.get("beta", 1.0) * c.astype(np.float64)
    return (y.astype(a.dtype),)


def _gemm_lower(low: Lowering, node: Node) -> None:
    low.gemm(node)


def _matmul_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    a, b = given(inputs, "matmul", 2)
    if not a.sizes or not b.sizes:
        raise ValueError(f"matmul needs vectors or matrices, but got {a.sizes} and {b.sizes}")
    depth = b.sizes[-2] if len(b.sizes) > 1 else b.sizes[0]
    if a.sizes[-1] != depth:
        raise ValueError(f"matmul cannot multiply {a.name} {a.sizes} by {b.name} {b.sizes}")
    batches = broadcast(
        (Value(a.name, a.sizes[:-2], a.dtype), Value(b.name, b.sizes[:-2], b.dtype)), "matmul"
    )
    shape: Shape = batches + a.sizes[-2:-1] + (b.sizes[-1:] if len(b.sizes) > 1 else ())
    return [(shape, one_dtype((a, b), "matmul"))]


def _matmul(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    a, b = arrays
    assert a is not None and b is not None
    return (np.asarray(a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype),)


def _matmul_lower(low: Lowering, node: Node) -> None:
    low.matmul(node)


ROWS: dict[str, Op] = {
    # gemm(a, b, c) = alpha a' b' + beta c; alpha, beta, trans_a, trans_b
    "gemm": Op(_gemm_shape, _gemm, _gemm_lower),
    # matmul(a, b): NumPy's, of vectors, matrices and stacks of them
    "matmul": Op(_matmul_shape, _matmul, _matmul_lower),
}
