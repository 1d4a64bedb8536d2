"""Op: what a graph knows of one operator, and the checks that several operators share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit.graph.ir import Node, Shape, Value, Weight

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering

Array = np.ndarray[Any, Any]
Keywords = dict[str, Any]
#: Shape and dtype of one output.
Made = tuple[Shape, str]
#: The inputs as the node names them, their values where those are known before running, settings.
Infer = Callable[[Sequence[Value | None], Sequence[Array | None], Keywords], list[Made]]
Reference = Callable[[Sequence[Array | None], Keywords], tuple[Array, ...]]


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
    weights : names of the inputs after the first that a Builder makes weights for
    blocks : (node, block) -> bool
        Whether the node can read and make arrays in such blocks of channels (nchwc).
    view : bool
        Whether the output is the input's memory under another shape.
    """

    infer: Infer
    reference: Reference
    lower: Callable[[Lowering, Node], None] | None = None
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
