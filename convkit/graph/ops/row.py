"""Op: what a graph knows of one operator, and the checks that several operators share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit.graph.ir import Node, Shape, Value, Weight
from convkit.problem import padding_sides

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering

Array = np.ndarray[Any, Any]
Keywords = dict[str, Any]
#: More numbers than this are no axes, sizes or pads.
MOST_NUMBERS = 1 << 16
#: Shape and dtype of one output.
Made = tuple[Shape, str]
#: The inputs as the node names them, their values where those are known before running, settings.
Infer = Callable[[Sequence[Value | None], Sequence[Array | None], Keywords], list[Made]]
Reference = Callable[[Sequence[Array | None], Keywords], tuple[Array, ...]]
#: The node, arrays of its known inputs -> the node with what is known in its settings.
Settle = Callable[[Node, Sequence[Array | None]], Node]


@dataclass(frozen=True, slots=True)
class Op:
    """A row of OPS.

    Attributes
    ----------
    infer : (inputs, known, keywords) -> [(shape, dtype)] of the outputs
        Checks inputs and settings; ValueError or TypeError where they do not fit. `known` holds an
        array for each input whose value does not depend on the network's arrays, else None.
    reference : (arrays, keywords) -> arrays
        The definition in NumPy: for tests, for `convkit check`, and for what is known before a
        network runs. A compiled network never calls it.
    lower : (lowering, node) -> None, optional
        Adds the steps that compute the node. Without it the node must be known before running.
    settle : (node, known) -> node, optional
        The node with what it reads of known inputs (axes, sizes, bounds) moved into its settings,
        all of them given out in full; perhaps as a simpler operator. `bind` settles each node
        before it infers, so that `infer`, `lower` and the passes see one form of each operator.
    reads : positions of the inputs that must be known before running
    weights : names of the inputs after the first that a Builder makes weights for
    blocks : (node, block) -> bool
        Whether the node can read and make arrays in such blocks of channels (nchwc).
    view : bool
        Whether the output is the input's memory under another shape.
    """

    infer: Infer
    reference: Reference
    lower: Callable[[Lowering, Node], None] | None = None
    settle: Settle | None = None
    reads: tuple[int, ...] = ()
    weights: tuple[str, ...] = ()
    blocks: Callable[[Node, int], bool] | None = None
    view: bool = False


def in_blocks(node: Node, block: int) -> Node:
    """The node with its images in blocks of channels."""

    def blocked(value: Value | None) -> Value | None:
        if value is None or isinstance(value, Weight) or len(value.sizes) != 4:
            return value
        return Value(value.name, value.shape, value.dtype, block)

    inputs = tuple(map(blocked, node.inputs))
    return node.but(inputs=inputs, outputs=tuple(map(blocked, node.outputs)))


def alias(low: Lowering, node: Node) -> None:
    """The output is the input's memory under another shape."""
    low.alias(node)


def pixel_in_blocks(node: Node, block: int) -> bool:
    """Whether a node renames images of one pixel as rows, as which they stand in blocks too."""
    x, y = node.inputs[0], node.outputs[0]
    return x is not None and x.sizes[2:] == (1, 1) and y.sizes == x.sizes[:2]


def image_shape(value: Value, what: str) -> tuple[int, int, int, int]:
    """(n, c, h, w) of a value that must hold images."""
    if len(value.sizes) != 4:
        raise ValueError(
            f"{what} needs images (n, c, h, w), but {value.name} has shape {value.sizes}"
        )
    n, c, h, w = value.sizes
    return n, c, h, w


def given(inputs: Sequence[Value | None], what: str, least: int = 1) -> tuple[Value, ...]:
    """The first `least` inputs, which must be there."""
    found = tuple(value for value in inputs[:least] if value is not None)
    if len(found) < least:
        raise ValueError(f"{what} needs {least} inputs, got {len(found)}")
    return found


def optional(inputs: Sequence[Any], index: int) -> Any:
    """An input that may be left out."""
    return inputs[index] if index < len(inputs) else None


def one_dtype(values: Sequence[Value], what: str) -> str:
    """The dtype of inputs that must share one of float32 and float64."""
    dtype = values[0].dtype
    for value in values:
        if value.dtype not in ("float32", "float64"):
            raise ValueError(f"{what} needs float32 or float64, but {value.name} is {value.dtype}")
        if value.dtype != dtype:
            raise ValueError(
                f"{what} needs one dtype, but {values[0].name} is {dtype} and {value.name} is "
                f"{value.dtype}"
            )
    return dtype


def whole_numbers(node: Node, known: Sequence[Any], index: int, name: str) -> Any:
    """The integers that a node reads from an input or a setting, None if it has neither.

    ValueError where the input is there and its value is not known before running.
    """
    value = optional(node.inputs, index)
    if value is None:
        setting = node.keywords.get(name)
        return None if setting is None else tuple(setting)
    array = known[index]
    if array is None:
        raise ValueError(f"{name} is read from {value.name}, which is not known before running")
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise ValueError(
            f"{name} is read from {value.name} {array.dtype} of shape {array.shape}: "
            f"expected a vector of integers"
        )
    if array.size > MOST_NUMBERS:
        raise ValueError(f"{name} is read from {value.name} of {array.size} numbers")
    return tuple(int(number) for number in array.reshape(-1))


def numbers(node: Node, known: Sequence[Any], index: int, name: str) -> Any:
    """Like `whole_numbers`, of floats."""
    value = optional(node.inputs, index)
    if value is None:
        setting = node.keywords.get(name)
        return None if setting is None else tuple(setting)
    array = known[index]
    if array is None:
        raise ValueError(f"{name} is read from {value.name}, which is not known before running")
    if array.dtype.kind not in "fiu" or array.size > MOST_NUMBERS:
        raise ValueError(f"{name} is read from {value.name}: expected a few numbers")
    return tuple(float(number) for number in array.reshape(-1))


def axis_of(axis: object, value: Value, what: str = "axis", extra: int = 0) -> int:
    """An axis counted from 0; negative ones count from the end."""
    axes = len(value.sizes) + extra
    if isinstance(axis, bool) or not isinstance(axis, int) or not -axes <= axis < axes:
        raise ValueError(f"{what}={axis!r} must be an axis of {value.name}, which has {axes}")
    return axis % axes


def axes_of(axes: Sequence[int], value: Value, extra: int = 0) -> tuple[int, ...]:
    """Axes counted from 0, sorted; each may stand once."""
    found = tuple(sorted(axis_of(axis, value, "axes", extra) for axis in axes))
    if len(set(found)) < len(found):
        raise ValueError(f"axes={tuple(axes)} names an axis of {value.name} twice")
    return found


def broadcast(values: Sequence[Value], what: str) -> Shape:
    """The shape that the shapes of these values spread to, as NumPy does it."""
    rank = max(len(value.sizes) for value in values)
    made = [1] * rank
    for value in values:
        for axis, size in enumerate(value.sizes, rank - len(value.sizes)):
            if size != 1:
                if made[axis] not in (1, size):
                    names = " and ".join(f"{v.name} {v.sizes}" for v in values)
                    raise ValueError(f"{what} needs shapes that spread to one, but got {names}")
                made[axis] = size
    return tuple(made)


def resolved_padding(
    padding: Any,
    size: Shape,
    window: Shape,
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> Any:
    """The padding with "same_lower", whose extra row and column are above, made sizes."""
    if padding != "same_lower":
        return padding
    h, w = size
    r, s = window
    top, bottom, left, right = padding_sides("same", (h, w), (r, s), stride, dilation)
    return ((bottom, top), (right, left))
