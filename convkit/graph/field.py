"""The receptive field of a value: how many pixels of the image one of its pixels depends on.

A window of r taps whose input pixels stand `jump` image pixels apart adds (r - 1) jump to the field
and multiplies the jump by its stride (Araujo et al. 2019, Computing receptive fields of
convolutional neural networks). Padding is counted, so deep fields exceed the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from convkit.graph.ir import Node, Shape, Value
from convkit.graph.ops.pooling import dilation_of, windows_of
from convkit.graph.ops.transposed import transposed_problem
from convkit.problem import pair


@dataclass(frozen=True, slots=True)
class Axis:
    """What is known of rows, or of columns, of one value.

    `image` is how many the image has; `size` how many there were when they were last an axis of
    images: what a fully connected layer reads; `jump` the distance in the image of two neighbours,
    less than 1 after upsampling.
    """

    image: int
    size: int
    field: int | Fraction = 1
    jump: int | Fraction = 1

    def windowed(self, taps: int, stride: int, size: int) -> Axis:
        """After windows of so many pixels in all, gaps between taps included."""
        return replace(
            self, size=size, field=self.field + (taps - 1) * self.jump, jump=self.jump * stride
        )

    def spread(self, taps: int, stride: int, size: int) -> Axis:
        """After each pixel was spread over so many: an output reads ceil(taps / stride)."""
        reads = -(-taps // stride)
        return replace(
            self,
            size=size,
            field=self.field + (reads - 1) * self.jump,
            jump=Fraction(self.jump, stride),
        )

    def whole(self) -> Axis:
        """Of what reads all of them: the image."""
        if self.size == 1:
            return self
        field = max(self.field, self.image)
        return replace(self, size=1, field=field, jump=self.jump * self.size)


#: Of rows and of columns.
Field = tuple[Axis, Axis]
#: Operators that read all rows and columns.
GLOBAL = ("global_avg_pool2d", "global_max_pool2d")


def field_of_input(value: Value) -> Field | None:
    """Images see themselves; of other inputs there is nothing to say."""
    if len(value.sizes) != 4:
        return None
    _, _, h, w = value.sizes
    return Axis(h, h), Axis(w, w)


def pixels(field: Field | None) -> tuple[int, int] | None:
    """(rows, columns) of the image."""
    if field is None:
        return None
    # A fraction of a pixel needs the whole one.
    h, w = (int(-(-axis.field // 1)) for axis in field)
    return h, w


def field_of(node: Node, known: Mapping[str, Field | None]) -> Field | None:
    """The field of what a bound node makes, from those of what it reads."""
    read = [(v, f) for v in node.reads if (f := known.get(v.name)) is not None]
    if not read:
        return None
    y = node.outputs[0].sizes
    field = _joined(read, y)
    return _moved(node, field, read[0][0].sizes, y)


def _joined(read: Sequence[tuple[Value, Field]], y: Shape) -> Field:
    """The largest field of several; jump and size of those that are as large as the output."""
    if len(read) == 1:
        return read[0][1]
    like = [field for value, field in read if value.sizes[2:] == y[2:]] or [f for _, f in read]
    rows, columns = (
        replace(
            max((field[i] for field in like), key=lambda axis: axis.jump),
            field=max(field[i].field for _, field in read),
        )
        for i in (0, 1)
    )
    return rows, columns


def _moved(node: Node, field: Field, x: Shape, y: Shape) -> Field:
    """The field after the node; itself where each output reads one pixel of each input."""
    rows, columns = field
    settings = node.keywords
    if node.op == "conv2d":
        gaps = pair("dilation", settings.get("dilation", 1), least=1)
        taps = [(size - 1) * d + 1 for size, d in zip(node.reads[1].sizes[2:], gaps, strict=True)]
        return _each("windowed", field, taps, pair("stride", settings.get("stride", 1), least=1), y)
    if node.op in ("max_pool2d", "avg_pool2d"):
        made, gaps = windows_of(node.inputs, settings), dilation_of(settings)
        taps = [(size - 1) * d + 1 for size, d in zip(made.window, gaps, strict=True)]
        return _each("windowed", field, taps, made.stride, y)
    if node.op == "conv_transpose2d":
        weight, conv_t = node.reads[1], transposed_problem(node.inputs, settings)
        taps = [
            (size - 1) * d + 1 for size, d in zip(weight.sizes[2:], conv_t.dilation, strict=True)
        ]
        return _each("spread", field, taps, conv_t.stride, y)
    if node.op == "max_unpool2d":
        window = pair("kernel", settings["kernel"], least=1)
        stride = settings.get("stride")
        strides = window if stride is None else pair("stride", stride, least=1)
        return _each("spread", field, window, strides, y)
    if node.op == "resize" and len(x) == len(y) == 4:
        # Linear interpolation reads two neighbours, the cubic one four.
        reads = {"linear": 2, "cubic": 4}.get(str(settings.get("mode")), 1)
        rows, columns = (
            replace(
                axis,
                size=new,
                field=axis.field + (min(reads, old) - 1) * axis.jump * (new != old),
                jump=axis.jump * Fraction(old, new),
            )
            for axis, old, new in zip(field, x[2:], y[2:], strict=True)
        )
        return rows, columns
    if node.op == "pad_channels":
        step = pair("stride", settings.get("stride", 1), least=1)
        return _each("windowed", field, (1, 1), step, y)
    if node.op in ("pad", "slice") and len(x) == len(y) == 4:
        return replace(rows, size=y[2]), replace(columns, size=y[3])
    if node.op in ("depth_to_space", "space_to_depth") and len(y) == 4:
        how = "windowed" if node.op == "space_to_depth" else "spread"
        block = [max(a // b, b // a) for a, b in zip(x[2:], y[2:], strict=True)]
        return _each(how, field, block, block, y)
    if node.op in GLOBAL or (node.op.startswith("reduce_") and len(x) == 4 and y[2:] in LEFT):
        return rows.whole(), columns.whole()
    # A fully connected layer after a flatten reads every pixel; a product of tokens does not.
    if node.op in ("linear", "gemm") or (node.op == "matmul" and len(x) == 2):
        return rows.whole(), columns.whole()
    return field


#: What reducing rows and columns leaves of their axes.
LEFT = ((), (1, 1))


def _each(
    how: str, field: Field, taps: Sequence[int], stride: Sequence[int], shape: Shape
) -> Field:
    rows, columns = (
        getattr(axis, how)(taps[i], stride[i], shape[2 + i]) for i, axis in enumerate(field)
    )
    return rows, columns
