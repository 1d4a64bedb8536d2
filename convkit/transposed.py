"""Transposed convolution by the kernels of ordinary ones: one convolution for each phase.

y[k, oy] = sum over c, iy, r with oy = iy u + r d - t of x[c, iy] w[c, k, r]    (u stride, d
dilation, t padding; columns alike). Outputs oy = a + u m of one phase a see the same taps,
r = r0 + j u / g with g = gcd(d, u), which exist where g divides a + t; tap j reads row
m + b - j d / g of x with b = (a + t - r0 d) / u. So a phase is a convolution of stride 1 with these
taps in reverse order and dilation d / g, stored into y[a::u]; where no tap exists, there is only
the bias.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from convkit import _convkit, sweeps
from convkit.backends import Array, enter
from convkit.epilogue import Activation, ActivationLike
from convkit.epilogue import activation as parse_activation
from convkit.plan import as_kernels_read, check_out, whole_elements
from convkit.problem import (
    MOST_BYTES,
    PaddingLike,
    PairLike,
    integer,
    padding_sides,
    pair,
)
from convkit.select import Decision, Request, decide, request
from convkit.threads import get_num_threads


class AxisPhase(NamedTuple):
    """One phase along one axis: which outputs, which taps in reverse order, which part of x."""

    outputs: slice
    taps: slice
    dilation: int
    rows: slice  # of x: padding that would be negative is left out instead
    padding: tuple[int, int]


def axis_phases(
    size: int, taps: int, stride: int, dilation: int, before: int, out: int
) -> list[AxisPhase]:
    """The phases that see taps and inputs, of an axis of `size` inputs and `out` outputs.

    `before` outputs are cut off in front.
    """
    phases = []
    common = math.gcd(dilation, stride)
    step, spread = stride // common, dilation // common
    for first in range(min(step, taps)):  # the phase whose first tap this is
        a = (first * dilation - before) % stride
        if a >= out:
            continue
        count = -(-(taps - first) // step)
        b = (a + before - first * dilation) // stride
        start = b - (count - 1) * spread  # the row that the first output's first tap reads
        stop = b + len(range(a, out, stride))  # behind the row that the last one's last reads
        rows = slice(max(start, 0), min(stop, size))
        if rows.start < rows.stop:
            reverse = slice(first + (count - 1) * step, None, -step)
            padding = (max(-start, 0), max(stop - size, 0))
            phases.append(AxisPhase(slice(a, out, stride), reverse, spread, rows, padding))
    return phases


class Phase(NamedTuple):
    """The outputs of one vertical and one horizontal phase, and the convolution that makes them."""

    outputs: tuple[slice, slice]
    inputs: tuple[slice, slice]
    decision: Decision
    native: _convkit.Plan


class TransposedPlan:
    """A transposed convolution with the weights of its phases packed. Safe from several threads."""

    __slots__ = (
        "_activation", "_bias", "covered", "dtype", "phases", "workspace", "x_shape", "y_shape",
    )  # fmt: skip

    def __init__(
        self,
        shape: TransposedShape,
        w: Array,
        bias: Array | None,
        activation: Activation,
        asked: Request,
        packing: bool,
    ) -> None:
        self.x_shape, self.y_shape = shape.x_shape, shape.y_shape
        self.dtype, self._activation = w.dtype, activation
        self._bias = None if bias is None else np.array(bias, order="C", copy=True)
        filters = _filters(w, shape.groups)
        #: Whether every output belongs to a phase; else the bias stands where no tap falls.
        self.covered = all(
            sum(len(range(*phase.outputs.indices(out))) for phase in phases) == out
            for phases, out in zip((shape.rows, shape.columns), shape.y_shape[2:], strict=True)
        )
        self.phases: list[Phase] = []
        for down in shape.rows:
            for across in shape.columns:
                self.phases.append(self._phase(shape, down, across, filters, asked, packing))
        #: Bytes: packed weights of all phases and the most scratch that one of them takes.
        sizes = [phase.native.sizes for phase in self.phases]
        self.workspace: int = sum(packed for packed, _, _ in sizes) + max(
            (shared + scratch for _, shared, scratch in sizes), default=0
        )

    def _phase(
        self,
        shape: TransposedShape,
        down: AxisPhase,
        across: AxisPhase,
        filters: Array,
        asked: Request,
        packing: bool,
    ) -> Phase:
        outputs, inputs = (down.outputs, across.outputs), (down.rows, across.rows)
        w = filters[:, :, down.taps, across.taps]
        n, c, _, _ = shape.x_shape
        rows, columns = (part.stop - part.start for part in inputs)
        decision = decide(
            (n, c, rows, columns), w, asked, packing, stride=1,
            padding=(down.padding, across.padding), padding_mode="zeros",
            dilation=(down.dilation, across.dilation), groups=shape.groups,
        )  # fmt: skip
        native = _convkit.Plan(
            decision.algorithm, decision.numbers, as_kernels_read(w), self._bias,
            *self._activation, -1, asked.max_workspace,
        )  # fmt: skip
        return Phase(outputs, inputs, decision, native)

    def run(self, x: Array, y: Array) -> None:
        """Write y (n, k, p, q), of any strides, for x (n, c, h, w)."""
        x, threads = whole_elements(x), get_num_threads()
        if not self.covered:
            sweeps.copy(np.broadcast_to(self._resting(), y.shape), out=y)
        for phase in self.phases:
            part = y[:, :, phase.outputs[0], phase.outputs[1]]
            phase.native.run(x[:, :, phase.inputs[0], phase.inputs[1]], None, part, threads)

    def _resting(self) -> Array:
        """What stands where no tap falls: activation(bias), as (k, 1, 1) or one number."""
        bias = np.zeros(1, self.dtype) if self._bias is None else self._bias
        return sweeps.unary(bias, self._activation)[:, None, None]


class TransposedShape(NamedTuple):
    """The sizes of a transposed convolution, validated, and the phases of its axes."""

    x_shape: tuple[int, int, int, int]
    y_shape: tuple[int, int, int, int]
    groups: int
    rows: list[AxisPhase]
    columns: list[AxisPhase]


def transposed_shape(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    itemsize: int,
    *,
    stride: PairLike = 1,
    padding: PaddingLike = 0,
    output_padding: PairLike = 0,
    dilation: PairLike = 1,
    groups: int = 1,
) -> TransposedShape:
    """Validate the arguments of a transposed convolution.

    Raises ValueError or TypeError that names the argument, the value and what was needed.
    """
    if len(x_shape) == 2 and len(w_shape) == 2:
        x_shape, w_shape = (1, 1, *x_shape), (1, 1, *w_shape)
    elif len(x_shape) == 3 and len(w_shape) == 4:
        x_shape = (1, *x_shape)
    if len(x_shape) != 4 or len(w_shape) != 4:
        raise ValueError(
            f"x of shape {x_shape} and w of shape {w_shape}: expected x (n, c, h, w) or (c, h, w) "
            "with w (c, k / groups, r, s), or x (h, w) with w (r, s)"
        )
    for name, shape in (("x", x_shape), ("w", w_shape)):
        if min(shape[1:]) < 1 or (name == "w" and shape[0] < 1):
            raise ValueError(f"{name} has shape {shape}: every size must be at least 1 (n: 0)")
    n, c, h, w = x_shape
    channels, per_group, r, s = w_shape
    groups = integer("groups", groups, least=1)
    if c % groups:
        raise ValueError(f"groups={groups} must divide the {c} input channels")
    if channels != c:
        raise ValueError(
            f"w has {channels} channels but x has {c}: expected w of shape ({c}, k / groups, r, s)"
        )
    strides = pair("stride", stride, least=1)
    dilations = pair("dilation", dilation, least=1)
    more = pair("output_padding", output_padding, least=0)
    if isinstance(padding, str):
        raise ValueError(f"padding={padding!r} must be a size for a transposed convolution")
    sides = padding_sides(padding, (h, w), (r, s), strides, dilations)
    sizes, phases = [], []
    for i, (size, taps) in enumerate(((h, r), (w, s))):
        if more[i] >= max(strides[i], dilations[i]):
            raise ValueError(
                f"output_padding={more[i]} must be less than stride={strides[i]} or "
                f"dilation={dilations[i]}"
            )
        before, after = sides[2 * i], sides[2 * i + 1]
        whole = (size - 1) * strides[i] + (taps - 1) * dilations[i] + 1 + more[i]
        out = whole - before - after
        if out < 1:
            raise ValueError(
                f"padding={before + after} takes all of the {whole} {('rows', 'columns')[i]} that "
                "x and w make"
            )
        if whole * itemsize > MOST_BYTES:
            raise ValueError(f"result of {whole} rows or columns: more than can be addressed")
        sizes.append(out)
        phases.append(axis_phases(size, taps, strides[i], dilations[i], before, out))
    y_shape = (n, per_group * groups, sizes[0], sizes[1])
    if math.prod(max(size, 1) for size in y_shape) * itemsize > MOST_BYTES:
        raise ValueError(f"result of shape {y_shape}: more than can be addressed")
    return TransposedShape((n, c, h, w), y_shape, groups, phases[0], phases[1])


def _filters(w: Array, groups: int) -> Array:
    """w (c, k / groups, r, s) as the filters (k, c / groups, r, s) of an ordinary convolution."""
    c, per_group, r, s = w.shape
    grouped = w.reshape(groups, c // groups, per_group, r, s).transpose(0, 2, 1, 3, 4)
    filters: Array = grouped.reshape(groups * per_group, c // groups, r, s)
    return filters


def conv_transpose2d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: PairLike = 1,
    padding: PaddingLike = 0,
    output_padding: PairLike = 0,
    dilation: PairLike = 1,
    groups: int = 1,
    algo: str = "auto",
    activation: ActivationLike = None,
    precision: str = "high",
    invariant: bool | None = None,
    max_workspace: int | None = None,
    out: Any = None,
) -> Any:
    """The transpose of `conv2d`, which takes its outputs back to the size of its inputs.

    y[n, k, p, q] = activation(bias[k] + sum of x[n, c, h, w] w[c, k, r, s] over all c, h, w, r, s
    with p = h u + r d - top, q = w u + s d - left), u the stride, d the dilation. Computed as u u
    ordinary convolutions, one for the outputs of each phase.

    Parameters
    ----------
    x : (n, c, h, w), (c, h, w) or (h, w) float32 or float64
    w : (c, k / groups, r, s), or (r, s) where x is (h, w)
    bias : (k,), optional
    stride, dilation : int or (vertical, horizontal)
    padding : int, (vertical, horizontal) or ((top, bottom), (left, right))
        Rows and columns cut off the result.
    output_padding : int or (vertical, horizontal)
        Rows and columns more at the bottom right; less than the stride or the dilation.
    groups : int
    algo : "auto" or a name out of `convkit.algorithms()`, for each phase
    activation, precision, invariant, max_workspace : as for `conv2d`; the workspace of each phase
    out : array like y, optional
        Written in place and returned; overlaps no input.

    Returns
    -------
    (n, k, p, q) array, or with as few axes as x
        p = (h - 1) stride - top - bottom + (r - 1) dilation + 1 + output_padding.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit, before any work; out is untouched.
    MemoryError
        Where the answer and the workspace are more than the machine's memory.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> x = np.array([[1, 2], [3, 4]], np.float32)
    >>> convkit.conv_transpose2d(x, np.ones((2, 2), np.float32), stride=2)
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.],
           [3., 3., 4., 4.],
           [3., 3., 4., 4.]], dtype=float32)
    """
    chosen = parse_activation(activation)
    asked = request(algo, precision, invariant, max_workspace)
    (data, weights, bias, target), leave = enter(x=x, w=w, bias=bias, out=out)
    shape = transposed_shape(
        data.shape, weights.shape, data.itemsize, stride=stride, padding=padding,
        output_padding=output_padding, dilation=dilation, groups=groups,
    )  # fmt: skip
    if bias is not None and bias.shape != (shape.y_shape[1],):
        raise ValueError(
            f"bias has shape {bias.shape}: expected ({shape.y_shape[1]},), one per filter"
        )
    y_shape = shape.y_shape[4 - data.ndim :]
    if target is not None:
        check_out(target, y_shape, x=data, w=weights, bias=bias)
    four = weights[(None,) * (4 - weights.ndim)]
    plan = TransposedPlan(shape, four, bias, chosen, asked, packing=True)
    y = _convkit.empty(y_shape, data.dtype) if target is None else target
    ones = (None,) * (4 - data.ndim)
    plan.run(data[ones], y[ones])
    return out if out is not None else leave(y)
