"""Products of matrices as ONNX writes them: gemm, matmul."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convkit.graph.ir import Node, Shape, Value
from convkit.graph.ops import lowered
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


def _gemm_settle(node: Node, known: Sequence[Array | None]) -> Node:
    """What a fully connected layer does is one."""
    keywords, c = node.keywords, optional(node.inputs, 2)
    plain = keywords.get("alpha", 1.0) == 1 and not keywords.get("trans_a")
    if not plain or not keywords.get("trans_b"):
        return node
    if c is not None and (keywords.get("beta", 1.0) != 1 or len(c.sizes) != 1):
        return node
    b = node.inputs[1]
    if c is not None and (b is None or len(b.sizes) != 2 or c.sizes != b.sizes[:1]):
        return node
    return Node("linear", node.name, node.inputs, node.outputs)


def _gemm_lower(low: Lowering, node: Node) -> None:
    """The product, by alpha; then beta c is added."""
    lowered.floats(node)
    keywords, (a, b) = node.keywords, node.reads[:2]
    product(
        low, node, turned(low, node, a, "rows") if keywords.get("trans_a") else a,
        b if keywords.get("trans_b") else turned(low, node, b, "matrix"), node.output,
    )  # fmt: skip
    y = low.shadow(node.output)
    alpha, beta = keywords.get("alpha", 1.0), keywords.get("beta", 1.0)
    if alpha != 1:
        lowered.binary(low, node, "multiply", y, alpha, y)
    c = optional(node.inputs, 2)
    if c is None:
        return
    added = low.shadow(c)
    if beta != 1:
        part = low.shadow(lowered.temporary(low, node, "added", c.sizes, c.dtype))
        lowered.binary(low, node, "multiply", added, beta, part)
        added = part
    lowered.binary(low, node, "add", y, added, y)


def turned(low: Lowering, node: Node, value: Value, hint: str) -> Value:
    """The transposed matrix: of a weight once, else in each run."""
    array = low.array(value)
    if array is not None:
        return low.new_weight(f"{value.name}:turned", np.ascontiguousarray(array.T))
    made = lowered.temporary(low, node, hint, value.sizes[::-1], value.dtype)
    lowered.copied(low, node, low.shadow(value).T, low.shadow(made))
    return made


def product(low: Lowering, node: Node, rows: Value, matrix: Value, y: Value) -> None:
    """y (n, k) = rows (n, c) matrix (k, c)."""
    if 0 in rows.sizes:
        zero = np.zeros((), y.dtype)
        lowered.copied(low, node, np.broadcast_to(zero, y.sizes), low.shadow(y))
        return
    low.linear(Node("linear", node.name, (rows, matrix), (y,)))


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
    """One product for all rows where the second factor is a matrix; else one for each of a stack."""
    lowered.floats(node)
    a, b = (low.in_rows(value) for value in node.reads)
    y = node.output
    if not math.prod(y.sizes):
        return
    depth = a.sizes[-1]
    if len(b.sizes) <= 2:
        columns = b.sizes[1] if len(b.sizes) == 2 else 1
        matrix = low.renamed(b, (1, depth)) if len(b.sizes) == 1 else turned(low, node, b, "matrix")
        rows = math.prod(a.sizes[:-1])
        product(
            low, node, low.renamed(a, (rows, depth)), matrix, low.renamed(y, (rows, columns))
        )
        return
    a_rows, columns = (a.sizes[-2] if len(a.sizes) > 1 else 1), b.sizes[-1]
    stack = np.broadcast_shapes(a.sizes[:-2], b.sizes[:-2])
    # The second factors turned, all of them by one step.
    flipped = lowered.temporary(
        low, node, "turned", (*b.sizes[:-2], columns, depth), b.dtype
    )
    lowered.copied(low, node, low.shadow(b).swapaxes(-1, -2), low.shadow(flipped))
    a_places = _stacked(a.sizes[:-2], stack)
    b_places = _stacked(b.sizes[:-2], stack)
    for index, (i, j) in enumerate(zip(a_places, b_places, strict=True)):
        product(
            low, node, low.renamed(a, (a_rows, depth), i * a_rows * depth),
            low.renamed(flipped, (columns, depth), j * columns * depth),
            low.renamed(y, (a_rows, columns), index * a_rows * columns),
        )  # fmt: skip


def _stacked(sizes: Shape, stack: Shape) -> list[int]:
    """For each of a stack of matrices the place of that one in a stack that spreads to it."""
    places = np.arange(math.prod(sizes)).reshape(sizes)
    return [int(place) for place in np.broadcast_to(places, stack).reshape(-1)]


ROWS: dict[str, Op] = {
    # gemm(a, b, c) = alpha a' b' + beta c; alpha, beta, trans_a, trans_b
    "gemm": Op(_gemm_shape, _gemm, _gemm_lower, _gemm_settle),
    # matmul(a, b): NumPy's, of vectors, matrices and stacks of them
    "matmul": Op(_matmul_shape, _matmul, _matmul_lower),
}
