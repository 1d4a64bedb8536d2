"""conv_transpose2d: each pixel of x adds a filter, times its value, to the output.

y[n, k, i u + r d - top, j v + s e - left] += x[n, c, i, j] w[c, k, r, s]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from convkit import sweeps
from convkit.epilogue import activation
from convkit.graph.ir import Node, Value
from convkit.graph.ops import lowered
from convkit.graph.ops.activations import activated
from convkit.graph.ops.convolution import check_bias
from convkit.graph.ops.row import (
    Array,
    Keywords,
    Made,
    Op,
    given,
    image_shape,
    one_dtype,
    optional,
)
from convkit.problem import conv_problem, integer, padding_sides, pair
from convkit.transposed import axis_phases

if TYPE_CHECKING:
    from convkit.graph.lower import Lowering


class Transposed(NamedTuple):
    """A transposed convolution: where filters fall, and the part of them that is kept.

    `padding` is what is cut off at top, bottom, left and right; negative where the output goes on
    beyond the last filter.
    """

    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    groups: int
    shape: tuple[int, int, int, int]


def transposed_problem(inputs: Sequence[Value | None], keywords: Keywords) -> Transposed:
    """The transposed convolution that inputs (x, weight) and settings describe."""
    x, weight = given(inputs, "conv_transpose2d", 2)
    n, c, h, w = image_shape(x, "conv_transpose2d")
    if len(weight.sizes) != 4 or weight.sizes[0] != c or min(weight.sizes) < 1 or min(c, h, w) < 1:
        raise ValueError(
            f"{weight.name} has shape {weight.sizes}: expected ({c}, k / groups, r, s) for "
            f"{x.name} {x.sizes}"
        )
    groups = integer("groups", keywords.get("groups", 1), least=1)
    if c % groups:
        raise ValueError(f"groups={groups} must divide the {c} input channels")
    stride = pair("stride", keywords.get("stride", 1), least=1)
    dilation = pair("dilation", keywords.get("dilation", 1), least=1)
    extra = pair("output_padding", keywords.get("output_padding", 0), least=0)
    asked = keywords.get("padding", 0)
    automatic = asked in ("same", "same_lower")
    sizes = keywords.get("output_size")
    # What filters cover in all: (h - 1) u + (r - 1) d + 1, and the output padding below it.
    whole = [
        (size - 1) * u + (f - 1) * d + 1 + more
        for size, u, f, d, more in zip(
            (h, w), stride, weight.sizes[2:], dilation, extra, strict=True
        )
    ]
    if sizes is None and automatic:
        sizes = (h * stride[0], w * stride[1])
    if sizes is None:
        sides = padding_sides(asked, (h, w), weight.sizes[2:], stride, dilation)
    else:
        cut = []
        for total in (size - out for size, out in zip(whole, sizes, strict=True)):
            half = total // 2 if total > 0 else 0
            cut += [half, total - half] if asked == "same" or total < 0 else [total - half, half]
        sides = (cut[0], cut[1], cut[2], cut[3])
    top, bottom, left, right = sides
    p, q = whole[0] - top - bottom, whole[1] - left - right
    if p < 1 or q < 1:
        raise ValueError(f"padding={sides} leaves nothing of the {whole[0]} x {whole[1]} output")
    # What lies below the last filter is bias alone: output padding is padding that is not cut.
    sides = (top, bottom - extra[0], left, right - extra[1])
    shape = (n, weight.sizes[1] * groups, p, q)
    return Transposed(stride, dilation, sides, groups, shape)


def _shape(
    inputs: Sequence[Value | None], known: Sequence[Array | None], keywords: Keywords
) -> list[Made]:
    activation(keywords.get("activation"))
    problem = transposed_problem(inputs, keywords)
    values = [value for value in inputs if value is not None]
    check_bias(optional(inputs, 2), problem.shape[1])
    return [(problem.shape, one_dtype(values, "conv_transpose2d"))]


def _reference(arrays: Sequence[Array | None], keywords: Keywords) -> tuple[Array, ...]:
    x, weight = arrays[:2]
    assert x is not None and weight is not None
    values = [Value("", a.shape, str(a.dtype)) for a in (x, weight)]
    (u, v), (d, e), (top, _, left, _), groups, shape = transposed_problem(values, keywords)
    n, c, h, w = x.shape
    _, each, r, s = weight.shape
    rows = max((h - 1) * u + (r - 1) * d + 1, top + shape[2])
    columns = max((w - 1) * v + (s - 1) * e + 1, left + shape[3])
    y = np.zeros((n, groups, each, rows, columns))
    grouped = x.astype(np.float64).reshape(n, groups, c // groups, h, w)
    filters = weight.astype(np.float64).reshape(groups, c // groups, each, r, s)
    for i in range(r):
        for j in range(s):
            part = np.einsum("ngchw,gck->ngkhw", grouped, filters[..., i, j])
            y[
                ...,
                i * d : i * d + (h - 1) * u + 1 : u,
                j * e : j * e + (w - 1) * v + 1 : v,
            ] += part
    y = y[..., top : top + shape[2], left : left + shape[3]].reshape(shape)
    bias = optional(arrays, 2)
    if bias is not None:
        y = y + bias[:, None, None]
    return (activated(y, keywords.get("activation")).astype(x.dtype),)


def _lower(low: Lowering, node: Node) -> None:
    """A convolution of stride 1 for each phase of the outputs (convkit/transposed.py)."""
    from convkit.graph.lower import View

    x, weight = node.reads[:2]
    bias = optional(node.inputs, 2)
    made = transposed_problem(node.inputs, node.keywords)
    n, c, h, w = x.sizes
    (_, each, r, s), groups, y = weight.sizes, made.groups, node.output
    array = low.array(weight)
    if array is not None:
        grouped = array.reshape(groups, c // groups, each, r, s)
    else:
        shape = (groups, c // groups, each, r, s)
        grouped = low.shadow(low.renamed(low.in_rows(weight), shape))
    source, result = low.view(x), low.view(y)
    phases = [
        axis_phases(size, taps, u, d, before, out)
        for size, taps, u, d, before, out in zip(
            (h, w), (r, s), made.stride, made.dilation, made.padding[::2], made.shape[2:],
            strict=True,
        )
    ]  # fmt: skip
    covered = all(
        sum(len(range(*phase.outputs.indices(out))) for phase in axis) == out
        for axis, out in zip(phases, made.shape[2:], strict=True)
    )
    if not covered:
        added = np.zeros(1, y.dtype) if bias is None else low.shadow(bias)
        _rest(low, node, added[:, None, None], low.shadow(y))
    for i, down in enumerate(phases[0]):
        for j, across in enumerate(phases[1]):
            part = low.shadow(y)[:, :, down.outputs, across.outputs]
            taps = grouped[..., down.taps, across.taps].swapaxes(1, 2)
            shape = (groups * each, c // groups, *taps.shape[3:])
            if array is not None:
                names = f"{weight.name}:{groups}:{down.taps},{across.taps}"
                filters: Value = low.new_weight(names, np.ascontiguousarray(taps.reshape(shape)))
            else:
                filters = lowered.temporary(low, node, f"filters{i},{j}", shape, y.dtype)
                room = low.shadow(filters).reshape(taps.shape)
                lowered.copied(low, node, taps, room)
            rows, columns = down.rows, across.rows
            size = (n, c, rows.stop - rows.start, columns.stop - columns.start)
            phase_x, phase_y = (
                Value(f"{node.name}:{name}{i},{j}", shape, y.dtype)
                for name, shape in (("x", size), ("y", part.shape))
            )
            offset = rows.start * source.strides[2] + columns.start * source.strides[3]
            low.made.views[phase_x] = View(source.buffer, source.offset + offset, source.strides)
            offset = down.outputs.start * result.strides[2]
            offset += across.outputs.start * result.strides[3]
            steps = tuple(
                step * stride for step, stride in zip(result.strides[2:], made.stride, strict=True)
            )
            low.made.views[phase_y] = View(
                result.buffer, result.offset + offset, (*result.strides[:2], *steps)
            )
            problem = conv_problem(
                size, shape, padding=(down.padding, across.padding),
                dilation=(down.dilation, across.dilation), groups=groups, dtype=y.dtype,
            )  # fmt: skip
            settings = (("activation", node.keywords.get("activation")),)
            step = Node("conv2d", node.name, (phase_x, filters, bias), (phase_y,), settings)
            low.convolution(step, problem)


def _rest(low: Lowering, node: Node, added: Array, part: Array) -> None:
    """Outputs on which no filter falls: activation(bias)."""
    chosen = activation(node.keywords.get("activation"))
    low.sweeps(node, lambda: sweeps.unary(np.broadcast_to(added, part.shape), chosen, out=part))


ROWS: dict[str, Op] = {
    # conv_transpose2d(x, weight, bias); keywords of convkit.conv_transpose2d; output_size
    "conv_transpose2d": Op(_shape, _reference, _lower),
}
