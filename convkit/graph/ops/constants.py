"""What does not depend on the network's arrays: shapes, constants, ranges; and casts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit.graph.ir import Node, Shape, Value
from convkit.graph.ops import lowered
from convkit.graph.ops.row import Array, Keywords, Made, Op, given, whole_numbers

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering

#: Elements that a constant made by a node may have.
MOST_ELEMENTS = 1 << 26
#: What values may be.
DTYPES = (
    "float32", "float64", "bool", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32",
    "uint64",
)  # fmt: skip


def constant(node: Node, values: Sequence[int], shape: Shape) -> Node:
    """A node that gives out these integers."""
    settings = (("values", tuple(values)), ("shape", shape), ("dtype", "int64"))
    return Node("constant", node.name, (), node.outputs, settings)


def _constant_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    return [(keywords["shape"], keywords["dtype"])]


def _constant(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    return (np.array(keywords["values"], keywords["dtype"]).reshape(keywords["shape"]),)


def _shape_settle(node: Node, known: Sequence[Array | None]) -> Node:
    (x,) = given(node.inputs, "shape")
    keywords = node.keywords
    sizes = x.sizes[slice(keywords.get("start", 0), keywords.get("end"))]
    return constant(node, sizes, (len(sizes),))


def _size_settle(node: Node, known: Sequence[Array | None]) -> Node:
    (x,) = given(node.inputs, "size")
    return constant(node, (math.prod(x.sizes),), ())


def _filled_settle(node: Node, known: Sequence[Array | None]) -> Node:
    shape = whole_numbers(node, known, 0, "shape")
    if shape is None:
        raise ValueError("constant_of_shape needs a shape")
    return node.but(inputs=(), shape=shape)


def _filled_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    shape = tuple(keywords["shape"])
    if min(shape, default=0) < 0 or math.prod(shape) > MOST_ELEMENTS or len(shape) > 32:
        raise ValueError(
            f"shape={shape} must be of sizes from 0 and at most {MOST_ELEMENTS} in all"
        )
    return [(shape, keywords.get("dtype", "float32"))]


def _filled(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    dtype = keywords.get("dtype", "float32")
    return (np.full(keywords["shape"], keywords.get("value", 0), dtype),)


def _range_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    values = given(inputs, "range", 3)
    numbers: list[Any] = []
    for value, array in zip(values, known, strict=False):
        if array is None:
            raise ValueError(f"range reads {value.name}, which is not known before running")
        if array.size != 1 or array.dtype.kind not in "fiu" or value.dtype != values[0].dtype:
            raise ValueError(f"range needs numbers of one dtype, but {value.name} is {value.dtype}")
        numbers.append(array.reshape(-1)[0].item())
    start, limit, delta = numbers
    if not all(map(math.isfinite, numbers)) or delta == 0:
        raise ValueError(f"range from {start} to {limit} by {delta} has no end")
    count = max(math.ceil((limit - start) / delta), 0)
    if count > MOST_ELEMENTS:
        raise ValueError(f"range from {start} to {limit} by {delta} has {count} numbers")
    return [((count,), values[0].dtype)]


def _range(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    values = [Value("", a.shape, str(a.dtype)) for a in arrays if a is not None]
    (((count,), dtype),) = _range_shape(values, arrays, keywords)
    start, _, delta = (a.reshape(-1)[0] for a in arrays if a is not None)
    return ((start + np.arange(count) * delta).astype(dtype),)


def _cast_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "cast")
    if keywords["dtype"] not in DTYPES:
        raise ValueError(f"dtype={keywords['dtype']!r} must be one of {', '.join(DTYPES)}")
    return [(x.sizes, keywords["dtype"])]


def _cast(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    with np.errstate(all="ignore"):
        return (x.astype(keywords["dtype"]),)


def _cast_like_settle(node: Node, known: Sequence[Array | None]) -> Node:
    x, like = given(node.inputs, "cast_like", 2)
    return Node("cast", node.name, (x,), node.outputs, (("dtype", like.dtype),))


def _cast_lower(low: Lowering, node: Node) -> None:
    (x,) = node.reads
    if x.dtype != node.output.dtype:
        raise ValueError(
            f"node {node.name}: cast of {x.dtype} to {node.output.dtype} is not supported unless "
            f"its input is known before running"
        )
    low.alias(node)


def _filled_lower(low: Lowering, node: Node) -> None:
    y = low.shadow(node.output)
    value = np.full((), node.keywords.get("value", 0), y.dtype)
    lowered.copied(low, node, np.broadcast_to(value, y.shape), y)


ROWS: dict[str, Op] = {
    # constant(); values, shape, dtype
    "constant": Op(_constant_shape, _constant),
    # shape(x); start, end     size(x)
    "shape": Op(_constant_shape, _constant, settle=_shape_settle),
    "size": Op(_constant_shape, _constant, settle=_size_settle),
    # constant_of_shape(shape); shape, value, dtype
    "constant_of_shape": Op(_filled_shape, _filled, _filled_lower, _filled_settle, reads=(0,)),
    # range(start, limit, delta)
    "range": Op(_range_shape, _range, reads=(0, 1, 2)),
    # cast_like(x, like)
    "cast_like": Op(_cast_shape, _cast, settle=_cast_like_settle),
    # cast(x); dtype
    "cast": Op(_cast_shape, _cast, _cast_lower),
}
