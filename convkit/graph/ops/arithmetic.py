"""Element by element: functions of one value, of two that spread to one shape, of a condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit.epilogue import activation
from convkit.graph.ir import Node, Value, Weight
from convkit.graph.ops import lowered
from convkit.graph.ops.activations import activated
from convkit.graph.ops.elementwise import elementwise_blocks
from convkit.graph.ops.row import (
    Array,
    Infer,
    Keywords,
    Made,
    Op,
    Reference,
    broadcast,
    given,
    one_dtype,
    optional,
)
from convkit.problem import DTYPES

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering

_erf = np.vectorize(math.erf, otypes=[np.float64])
#: What integers may be: shape arithmetic and indices.
INTEGERS = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")


def _quiet(function: Callable[..., Array]) -> Callable[..., Array]:
    """The function with IEEE's answers instead of NumPy's warnings."""

    def run(*arrays: Any) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(function(*arrays))

    return run


def _numeric(values: Sequence[Value], what: str) -> str:
    """The one dtype of floats or integers."""
    if values[0].dtype not in INTEGERS:
        return one_dtype(values, what)
    for value in values:
        if value.dtype != values[0].dtype:
            raise ValueError(
                f"{what} needs one dtype, but {values[0].name} is {values[0].dtype} and "
                f"{value.name} is {value.dtype}"
            )
    return values[0].dtype


# Of one value


def _unary_shape(what: str, integers: bool) -> Infer:
    def infer(
        inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
    ) -> list[Made]:
        (x,) = given(inputs, what)
        return [(x.sizes, (_numeric if integers else one_dtype)((x,), what))]

    return infer


def _unary(function: Callable[..., Array], *parameters: str) -> Reference:
    def reference(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
        (x,) = arrays
        assert x is not None
        wide = x.astype(np.float64) if x.dtype.kind == "f" else x
        made = _quiet(function)(wide, *(keywords[name] for name in parameters))
        return (made.astype(x.dtype),)

    return reference


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), which no x overflows."""
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _formula(op: str) -> tuple[Any, ...]:
    function, names = UNARY[op]
    return (function, *names)


def _selu(x: Array, alpha: float, gamma: float) -> Array:
    return np.where(x > 0, gamma * x, gamma * alpha * np.expm1(np.minimum(x, 0)))


#: name -> formula, names of its settings. Those on integers also stand in shape arithmetic.
UNARY: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "abs": (np.abs, ()),
    "neg": (np.negative, ()),
    "sign": (np.sign, ()),
    "floor": (np.floor, ()),
    "ceil": (np.ceil, ()),
    "round": (np.rint, ()),
    "sqrt": (np.sqrt, ()),
    "exp": (np.exp, ()),
    "log": (np.log, ()),
    "reciprocal": (lambda x: 1 / x, ()),
    "erf": (_erf, ()),
    "softplus": (softplus, ()),
    "softsign": (lambda x: x / (1 + np.abs(x)), ()),
    "mish": (lambda x: x * np.tanh(softplus(x)), ()),
    "gelu_tanh": (_gelu_tanh, ()),
    "swish": (lambda x, alpha: x / (1 + np.exp(-alpha * x)), ("alpha",)),
    "selu": (_selu, ("alpha", "gamma")),
    "celu": (
        lambda x, alpha: (
            np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))
        ),
        ("alpha",),
    ),
    "thresholded_relu": (lambda x, alpha: np.where(x <= alpha, 0, x), ("alpha",)),
}
ON_INTEGERS = ("abs", "neg", "sign")


#: Names of the kernels' functions where they differ.
FUNCTIONS = {"abs": "absolute", "neg": "negative"}


def _unary_lower(low: Lowering, node: Node) -> None:
    lowered.floats(node)
    (x,) = node.reads
    source, result = low.shadow(x), low.shadow(node.output)
    parameters = tuple(node.keywords[name] for name in UNARY[node.op][1])
    if node.op == "swish":  # x sigmoid(alpha x)
        part = low.shadow(lowered.temporary(low, node, "sigmoid", x.sizes, x.dtype, x.block))
        sigmoid = activation("sigmoid")
        lowered.binary(low, node, "multiply", source, parameters[0], part, sigmoid)
        lowered.binary(low, node, "multiply", source, part, result)
        return
    if node.op == "gelu_tanh":  # x / 2 (1 + tanh(a (x + b x^3)))
        part = low.shadow(lowered.temporary(low, node, "tanh", x.sizes, x.dtype, x.block))
        lowered.binary(low, node, "multiply", source, source, part)
        lowered.binary(low, node, "multiply", part, 0.044715, part)
        lowered.binary(low, node, "add", part, 1.0, part)
        lowered.binary(low, node, "multiply", part, source, part)
        tanh = activation("tanh")
        lowered.binary(low, node, "multiply", part, math.sqrt(2 / math.pi), part, tanh)
        lowered.binary(low, node, "add", part, 1.0, part)
        lowered.binary(low, node, "multiply", part, 0.5, part)
        lowered.binary(low, node, "multiply", part, source, result)
        return
    name = FUNCTIONS.get(node.op, node.op)
    lowered.unary(low, node, source, name, result, *parameters)


def _swish_settle(node: Node, known: Sequence[Array | None]) -> Node:
    if node.keywords["alpha"] != 1:
        return node
    return Node("activation", node.name, node.inputs, node.outputs, (("activation", "silu"),))


# Of two values


def _binary_shape(what: str, kinds: str, makes: str = "") -> Infer:
    """kinds: f floats, i integers, b booleans that the two may be; makes: dtype of the result."""

    def infer(
        inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
    ) -> list[Made]:
        activation(keywords.get("activation"))
        x, y = given(inputs, what, 2)
        if x.dtype == y.dtype == "bool":
            if "b" not in kinds:
                raise ValueError(f"{what} needs numbers, but {x.name} is bool")
            dtype = "bool"
        elif kinds == "b":
            raise ValueError(f"{what} needs bool, but {x.name} is {x.dtype}, {y.name} {y.dtype}")
        elif what == "pow":  # an exponent may be of another dtype
            dtype = _numeric((x,), what)
            _numeric((y,), what)
        else:
            dtype = _numeric((x, y), what)
        return [(broadcast((x, y), what), makes or dtype)]

    return infer


def _binary(function: Callable[..., Any]) -> Reference:
    def reference(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
        x, y = arrays[:2]
        assert x is not None and y is not None
        floats = x.dtype.kind == "f"
        wide = (x.astype(np.float64), y.astype(np.float64)) if floats else (x, y)
        made = activated(_quiet(function)(*wide), keywords.get("activation"))
        return (made if made.dtype == bool else made.astype(x.dtype),)

    return reference


def _divide(x: Array, y: Array) -> Array:
    """x / y; of integers the quotient is cut towards zero, and by zero it is 0."""
    if x.dtype.kind == "f":
        return np.asarray(x / y)
    whole = x // np.where(y == 0, 1, y)
    return np.where(y == 0, 0, whole + ((whole < 0) & (whole * y != x)))


def _mod(x: Array, y: Array) -> Array:
    """The remainder with the divisor's sign; 0 of integers by 0."""
    return np.asarray(np.mod(x, y) if x.dtype.kind == "f" else np.mod(x, np.where(y == 0, 1, y)))


#: name -> formula, what it takes (floats, integers, booleans), dtype of the result if not theirs
BINARY: dict[str, tuple[Callable[..., Any], str, str]] = {
    "add": (np.add, "fi", ""),
    "sub": (np.subtract, "fi", ""),
    "mul": (np.multiply, "fi", ""),
    "div": (_divide, "fi", ""),
    "pow": (np.power, "fi", ""),
    "maximum": (np.maximum, "fi", ""),
    "minimum": (np.minimum, "fi", ""),
    # prelu(x, slope)
    "prelu": (lambda x, slope: np.where(x < 0, slope * x, x), "fi", ""),
    # mod has the divisor's sign, fmod the dividend's
    "mod": (_mod, "fi", ""),
    "fmod": (np.fmod, "fi", ""),
    "equal": (np.equal, "fib", "bool"),
    "less": (np.less, "fi", "bool"),
    "less_or_equal": (np.less_equal, "fi", "bool"),
    "greater": (np.greater, "fi", "bool"),
    "greater_or_equal": (np.greater_equal, "fi", "bool"),
    "and": (np.logical_and, "b", "bool"),
    "or": (np.logical_or, "b", "bool"),
    "xor": (np.logical_xor, "b", "bool"),
}


#: Names of the kernels' functions; those that are not here run on known arrays alone.
SWEEPS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "pow": "power",
    "maximum": "maximum", "minimum": "minimum", "prelu": "slope",
}  # fmt: skip


def _binary_lower(low: Lowering, node: Node) -> None:
    x, y = node.reads
    lowered.floats(node.but(inputs=(x,)))
    if node.op == "add" and x.sizes == y.sizes and not isinstance(x, Weight):
        low.elementwise(node)
        return
    # An exponent may be of another dtype: then it must be known.
    exponent = low.array(y) if x.dtype != y.dtype else None
    if node.op not in SWEEPS or (x.dtype != y.dtype and exponent is None):
        raise ValueError(
            f"node {node.name}: {node.op} of {x.dtype} and {y.dtype} is not supported unless its "
            f"inputs are known before running"
        )
    chosen = activation(node.keywords.get("activation"))
    first = lowered.in_layout(low, x, node.output)
    second = lowered.in_layout(low, y, node.output) if exponent is None else exponent
    lowered.binary(low, node, SWEEPS[node.op], first, second, low.shadow(node.output), chosen)


def _unary_blocks(node: Node, block: int) -> bool:
    """Images; lanes past the last channel must stay zero."""
    (x,) = node.reads
    if len(x.sizes) != 4 or x.dtype not in DTYPES:
        return False
    return x.sizes[1] % block == 0 or _of_zero(node) == 0


def _of_zero(node: Node) -> float:
    zeros = [np.zeros((), value.dtype) for value in node.reads]
    reference = _unary(*_formula(node.op)) if node.op in UNARY else _binary(BINARY[node.op][0])
    (made,) = reference(zeros, node.keywords)
    return float(made)


def _binary_blocks(node: Node, block: int) -> bool:
    """Images of one number of channels, or weights; lanes past the last must stay zero."""
    c = node.output.sizes[1] if len(node.output.sizes) == 4 else 0
    if not c or node.op not in SWEEPS or len({value.dtype for value in node.reads}) > 1:
        return False
    sizes = [value.sizes for value in node.reads]
    if node.op == "add" and sizes[0] == sizes[1] and not node.weights:
        return elementwise_blocks(node, block)
    for value in node.reads:
        if not isinstance(value, Weight) and (len(value.sizes) != 4 or value.sizes[1] != c):
            return False
    if c % block == 0:
        return True
    spread = any(len(size) < 3 or size[-3] != c for size in sizes)
    return not spread and _of_zero(node) == 0


# Of a condition, or with bounds


def _not_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "not")
    if x.dtype != "bool":
        raise ValueError(f"not needs bool, but {x.name} is {x.dtype}")
    return [(x.sizes, "bool")]


def _not(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    (x,) = arrays
    assert x is not None
    return (np.asarray(np.logical_not(x)),)


def _where_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    condition, x, y = given(inputs, "where", 3)
    if condition.dtype != "bool" or x.dtype != y.dtype:
        raise ValueError(
            f"where needs a bool and two values of one dtype, but {condition.name} is "
            f"{condition.dtype}, {x.name} {x.dtype} and {y.name} {y.dtype}"
        )
    return [(broadcast((condition, x, y), "where"), x.dtype)]


def _where(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    condition, x, y = arrays
    assert condition is not None and x is not None and y is not None
    return (np.asarray(np.where(condition, x, y)),)


def _clip_settle(node: Node, known: Sequence[Array | None]) -> Node:
    """Known bounds make it an activation: min(max(x, lo), hi)."""
    bounds: list[float] = []
    x = node.inputs[0]
    for index, default in ((1, -math.inf), (2, math.inf)):
        value = optional(node.inputs, index)
        array = optional(known, index)
        if value is None:
            bounds.append(default)
        elif array is not None and array.size == 1 and array.dtype.kind in "fiu":
            bounds.append(float(array.reshape(-1)[0]))
        else:
            return node
    lo, hi = bounds
    if x is None or not x.dtype.startswith("float") or not lo <= hi:
        return node
    if bounds == [-math.inf, math.inf]:
        return Node("identity", node.name, (x,), node.outputs)
    kind = "relu" if (lo, hi) == (0, math.inf) else ("clip", lo, hi)
    kind = "relu6" if (lo, hi) == (0, 6) else kind
    return Node("activation", node.name, (x,), node.outputs, (("activation", kind),))


def _clip_shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    (x,) = given(inputs, "clip")
    bounds = [value for value in inputs[1:3] if value is not None]
    for bound in bounds:
        if math.prod(bound.sizes) != 1:
            raise ValueError(f"clip needs one number, but {bound.name} has shape {bound.sizes}")
    return [(x.sizes, _numeric((x, *bounds), "clip"))]


def _clip(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    x, lo, hi = arrays[0], optional(arrays, 1), optional(arrays, 2)
    assert x is not None
    y = x if lo is None else np.maximum(x, lo.reshape(()))
    return (y if hi is None else np.minimum(y, hi.reshape(())),)


def _clip_lower(low: Lowering, node: Node) -> None:
    lowered.floats(node)
    source, result = low.shadow(node.reads[0]), low.shadow(node.output)
    lo, hi = optional(node.inputs, 1), optional(node.inputs, 2)
    for name, bound in (("maximum", lo), ("minimum", hi)):
        if bound is not None:
            lowered.binary(low, node, name, source, low.shadow(bound).reshape(()), result)
            source = result


ROWS: dict[str, Op] = {
    # abs(x), neg(x), ...; their parameters
    **{
        name: Op(
            _unary_shape(name, name in ON_INTEGERS),
            _unary(function, *names),
            _unary_lower,
            blocks=_unary_blocks,
        )
        for name, (function, names) in UNARY.items()
    },
    # add(x, y), sub(x, y), ...; activation
    **{
        name: Op(
            _binary_shape(name, kinds, makes),
            _binary(function),
            _binary_lower,
            blocks=_binary_blocks,
        )
        for name, (function, kinds, makes) in BINARY.items()
    },
    "swish": Op(
        _unary_shape("swish", False),
        _unary(*_formula("swish")),
        _unary_lower,
        _swish_settle,
        blocks=_unary_blocks,
    ),
    "not": Op(_not_shape, _not),
    # where(condition, x, y)
    "where": Op(_where_shape, _where),
    # clip(x, lo, hi): bounds of one number each, either may be left out
    "clip": Op(_clip_shape, _clip, _clip_lower, _clip_settle),
}
