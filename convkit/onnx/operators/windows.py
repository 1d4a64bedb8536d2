"""What convolutions and pools share: kernel, strides, pads and dilations over one or two axes.

An operator over one axis runs over images of one row: (n, c, l) becomes (n, c, 1, l) and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convkit.graph.ir import Value
from convkit.onnx.node import OnnxNode, Unsupported

Pair = tuple[int, int]
AUTOMATIC = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": 0, "NOTSET": None}

#: No window is wider; a wider one would take for ever.
MOST_KERNEL = 1 << 16


@dataclass(frozen=True, slots=True)
class Slide:
    """How a window moves; `flat` where the operator has one axis."""

    flat: bool
    kernel: Pair | None
    stride: Pair
    dilation: Pair
    padding: Any

    def enter(self, node: OnnxNode, value: Value) -> Value:
        """The value with a row axis, where the operator has none."""
        return node.step("unsqueeze", (value,), axes=(2,)) if self.flat else value

    def leave(self, node: OnnxNode, op: str, inputs: Any, **settings: Any) -> None:
        """Add the operator, and take the row axis away again."""
        if not self.flat:
            node.emit(op, inputs, **settings)
            return
        y = node.step(op, inputs, **settings)
        node.emit("squeeze", (y,), axes=(2,))


def slide(node: OnnxNode, filters: int | None = None) -> Slide:
    """The attributes that all operators with windows have.

    `filters` is the input that holds a filter, whose rank tells the number of axes.
    """
    kernel, strides = node.integers("kernel_shape"), node.integers("strides")
    dilations, pads = node.integers("dilations"), node.integers("pads")
    axes = _axes(node, filters, kernel, strides, dilations, pads)
    if axes not in (1, 2):
        raise Unsupported(f"{node.op} over {axes} axes")
    for name, numbers, needed in (
        ("kernel_shape", kernel, axes),
        ("strides", strides, axes),
        ("dilations", dilations, axes),
        ("pads", pads, 2 * axes),
    ):
        if numbers is not None and len(numbers) != needed:
            raise ValueError(f"attribute {name}={numbers} must be {needed} numbers")
    flat = axes == 1
    if kernel and not 1 <= min(kernel) <= max(kernel) <= MOST_KERNEL:
        raise ValueError(f"attribute kernel_shape={kernel} must be from 1 to {MOST_KERNEL}")
    filter_array = None if filters is None else node.optional(filters)
    if kernel and filter_array is not None and filter_array.shape is not None:
        if tuple(filter_array.shape[2:]) != kernel:
            raise ValueError(
                f"attribute kernel_shape={kernel} differs from {filter_array.name}, which has "
                f"shape {filter_array.shape}"
            )
    word = node.word("auto_pad", "NOTSET")
    if word not in AUTOMATIC:
        raise ValueError(f"attribute auto_pad={word!r} must be one of {', '.join(AUTOMATIC)}")
    padding: Any = AUTOMATIC[word]
    if padding is None:
        sides = pads or (0,) * (2 * axes)
        padding = ((0, 0), sides) if flat else ((sides[0], sides[2]), (sides[1], sides[3]))
    elif pads and any(pads):
        raise ValueError(f"attribute pads={pads} and auto_pad={word} exclude each other")
    return Slide(
        flat,
        None if kernel is None else pair(kernel),
        pair(strides or (1,) * axes),
        pair(dilations or (1,) * axes),
        padding,
    )


def pair(numbers: tuple[int, ...], first: int = 1) -> Pair:
    """(rows, columns) of one number or two."""
    return (first, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _axes(node: OnnxNode, filters: int | None, *numbers: tuple[int, ...] | None) -> int:
    """How many axes the window moves along."""
    for index in () if filters is None else (filters, 0):
        value = node.optional(index)
        if value is not None and value.shape is not None:
            return len(value.shape) - 2
    kernel, strides, dilations, pads = numbers
    for given in (kernel, strides, dilations):
        if given:
            return len(given)
    return len(pads) // 2 if pads else 2
