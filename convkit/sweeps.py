"""Arithmetic element by element, reductions and movements of data: what stands between layers.

Each is one pass of a kernel of csrc/sweeps over arrays of up to 8 axes and any strides; nothing is
computed with NumPy. Internal: networks are made of these. What a caller gives is trusted but for
shapes; `out` may be an input itself in `binary` and `unary` and overlaps nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from convkit import _convkit
from convkit.backends import Array
from convkit.epilogue import ACTIVATIONS, IDENTITY, Activation, ActivationRow
from convkit.plan import whole_elements
from convkit.threads import get_num_threads

MOST_AXES = 8
#: Numbers as in csrc/sweep.h.
BINARY = {
    "first": 0, "add": 1, "subtract": 2, "multiply": 3, "divide": 4, "power": 5, "minimum": 6,
    "maximum": 7, "slope": 8,
}  # fmt: skip
REDUCTIONS = {
    "sum": 0, "mean": 1, "max": 2, "min": 3, "product": 4, "magnitudes": 5, "squares": 6,
    "length": 7,
}  # fmt: skip
#: Functions of one argument, the activations among them; numbers as in csrc/kernel.h.
UNARY: dict[str, ActivationRow] = {
    **ACTIVATIONS,
    "identity": ActivationRow(0),
    "selu": ActivationRow(11, ("alpha", "scale"), (1.6732632423543772, 1.0507009873554805)),
    "celu": ActivationRow(12, ("alpha",), (1.0,)),
    "thresholded_relu": ActivationRow(13, ("threshold",), (1.0,)),
    "softplus": ActivationRow(14),
    "softsign": ActivationRow(15),
    "mish": ActivationRow(16),
    "negative": ActivationRow(17),
    "absolute": ActivationRow(18),
    "sqrt": ActivationRow(19),
    "reciprocal": ActivationRow(20),
    "exp": ActivationRow(21),
    "log": ActivationRow(22),
    "erf": ActivationRow(23),
    "floor": ActivationRow(24),
    "ceil": ActivationRow(25),
    "round": ActivationRow(26),
    "sign": ActivationRow(27),
    "sin": ActivationRow(28),
    "cos": ActivationRow(29),
    "tan": ActivationRow(30),
    "arcsin": ActivationRow(31),
    "arccos": ActivationRow(32),
    "arctan": ActivationRow(33),
    "sinh": ActivationRow(34),
    "cosh": ActivationRow(35),
    "arcsinh": ActivationRow(36),
    "arccosh": ActivationRow(37),
    "arctanh": ActivationRow(38),
    "gelu_by_tanh": ActivationRow(39),
}
#: How what stands in the padding is found from the indices of an axis, in NumPy's words.
PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}
NO_TABLES: list[Any] = []


def function(name: str, *parameters: float) -> Activation:
    """A function of one argument as the kernels read it."""
    row = UNARY[name]
    return Activation(row.kind, *(parameters or row.defaults or row.fixed))


def unary(x: Array, applied: Activation, *, out: Array | None = None) -> Array:
    """applied(x), element by element."""
    return _elementwise("first", x, None, applied, out)


def binary(
    name: str, a: Array, b: Array, *, activation: Activation = IDENTITY, out: Array | None = None
) -> Array:
    """activation(f(a, b)) with NumPy's broadcasting, f out of BINARY.

    "slope" is b a where a < 0 and a elsewhere; minimum and maximum are NaN where one of both is.
    """
    return _elementwise(name, a, b, activation, out)


def reduce(
    name: str,
    x: Array,
    axes: Sequence[int] | None = None,
    keepdims: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """One of REDUCTIONS over some axes of x, by default all; sums are taken in float64.

    The same numbers give the same bits, however x lies in memory. `out` is without these axes.
    """
    every = range(x.ndim) if axes is None else {axis % x.ndim for axis in axes}
    kept, gone = [i for i in range(x.ndim) if i not in every], sorted(every)
    y = np.empty([x.shape[i] for i in kept], x.dtype) if out is None else out
    shape = [1 if i in every else size for i, size in enumerate(x.shape)] if keepdims else y.shape
    if x.size == 0:
        empty = {"max": -math.inf, "min": math.inf, "mean": math.nan, "product": 1.0}
        y[...] = empty.get(name, 0.0)
        return y.reshape(shape)
    x = whole_elements(x.transpose(kept + gone))
    _sweep("reduce", REDUCTIONS[name], x, None, y, reduced=len(gone))
    return y.reshape(shape)


# ---- movements of data


def copy(
    x: Array,
    *,
    tables: Sequence[Array | None] = (),
    fill: Any = 0,
    out: Array | None = None,
) -> Array:
    """x with its elements in a new order of memory: y[i, j, ...] = x[t[i], u[j], ...].

    `tables`: for each axis None or where its indices lead; -1 is the fill.
    """
    shape = tuple(
        size if table is None else len(table)
        for size, table in zip(x.shape, tables or [None] * x.ndim, strict=True)
    )
    y = np.empty(shape, x.dtype) if out is None else out
    if y.shape != shape:
        raise ValueError(f"out has shape {y.shape}: expected {shape}")
    if y.size == 0:
        return y
    if x.size == 0:  # all is padding
        x, tables = np.broadcast_to(np.array(fill, x.dtype), shape), ()
    bits = int(np.array(fill, x.dtype).view(f"u{x.itemsize}"))
    _sweep("copy", 0, whole_elements(x), None, y, tables=list(tables), fill=bits)
    return y


def transpose(x: Array, axes: Sequence[int] | None = None, *, out: Array | None = None) -> Array:
    """The axes in another order, by default reversed."""
    return copy(x.transpose(axes), out=out)


def concatenate(arrays: Sequence[Array], axis: int, *, out: Array | None = None) -> Array:
    """The arrays one after the other along an axis."""
    shape, axis = list(arrays[0].shape), axis % arrays[0].ndim
    shape[axis] = sum(array.shape[axis] for array in arrays)
    y = np.empty(shape, arrays[0].dtype) if out is None else out
    begin = 0
    for array in arrays:
        end = begin + array.shape[axis]
        copy(array, out=y[(slice(None),) * axis + (slice(begin, end),)])
        begin = end
    return y


def slices(x: Array, parts: tuple[slice, ...], *, out: Array | None = None) -> Array:
    """x[parts], with steps of any sign, apart from x's memory."""
    return copy(x[parts], out=out)


def take(x: Array, indices: Array, axis: int) -> Array:
    """The slices of x at `indices` (an integer array of any shape) along an axis.

    Negative indices count from the end.
    """
    axis, size = axis % x.ndim, x.shape[axis % x.ndim]
    flat = np.asarray(indices, np.int64).ravel()
    if ((flat < -size) | (flat >= size)).any():
        raise ValueError(f"indices lead outside axis {axis} of size {size}")
    tables: list[Array | None] = [None] * x.ndim
    tables[axis] = np.where(flat < 0, flat + size, flat)
    shape = x.shape[:axis] + np.shape(indices) + x.shape[axis + 1 :]
    return copy(x, tables=tables).reshape(shape)


def pad(
    x: Array,
    widths: Sequence[tuple[int, int]],
    *,
    mode: str = "constant",
    value: float = 0,
    out: Array | None = None,
) -> Array:
    """x with more elements before and after along each axis; negative widths cut off."""
    tables = [
        pad_table(size, before, after, mode) if before or after else None
        for size, (before, after) in zip(x.shape, widths, strict=True)
    ]
    return copy(x, tables=tables, fill=value, out=out)


def pad_table(size: int, before: int, after: int, mode: str) -> Array:
    """For each place of a padded axis the index that stands there, -1 for the padding's value."""
    if mode not in PAD_MODES:
        raise ValueError(f"mode={mode!r} must be one of {', '.join(PAD_MODES)}")
    inside = np.arange(max(-before, 0), size - max(-after, 0), dtype=np.int64)
    if not len(inside) and mode != "constant":
        raise ValueError(f"mode={mode!r} needs an element: the axis has none left")
    more = (max(before, 0), max(after, 0))
    if mode == "constant":
        return np.pad(inside, more, constant_values=-1)
    return np.pad(inside, more, mode=PAD_MODES[mode])  # type: ignore[call-overload,no-any-return]


def tile(x: Array, repeats: Sequence[int], *, out: Array | None = None) -> Array:
    """x so many times along each axis."""
    tables = [
        None if times == 1 else np.tile(np.arange(size, dtype=np.int64), times)
        for size, times in zip(x.shape, repeats, strict=True)
    ]
    return copy(x, tables=tables, out=out)


def expand(x: Array, shape: Sequence[int], *, out: Array | None = None) -> Array:
    """x repeated along axes of size 1, as NumPy's broadcasting has it."""
    return copy(np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))), out=out)


def depth_to_space(x: Array, block: int, *, channels_first: bool = False) -> Array:
    """(n, c b b, h, w) -> (n, c, h b, w b): each pixel becomes a square of b by b.

    The channels of x are (b, b, c), with channels_first (c, b, b).
    """
    n, channels, h, w = x.shape
    c = channels // block**2
    if channels_first:
        parts = x.reshape(n, c, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = x.reshape(n, block, block, c, h, w).transpose(0, 3, 4, 1, 5, 2)
    return copy(parts).reshape(n, c, h * block, w * block)


def space_to_depth(x: Array, block: int, *, channels_first: bool = False) -> Array:
    """(n, c, h b, w b) -> (n, c b b, h, w): squares become channels.

    They stand as (b, b, c), with channels_first as (c, b, b).
    """
    n, c, height, width = x.shape
    h, w = height // block, width // block
    parts = x.reshape(n, c, h, block, w, block)
    parts = parts.transpose((0, 1, 3, 5, 2, 4) if channels_first else (0, 3, 5, 1, 2, 4))
    return copy(parts).reshape(n, block**2 * c, h, w)


# ---- channels in blocks


def to_blocks(x: Array, block: int, *, out: Array | None = None) -> Array:
    """(n, c, h, w) -> (n, ceil(c / block), h, w, block), zero in lanes past the last c."""
    n, c, h, w = x.shape
    y = np.empty((n, -(-c // block), h, w, block), x.dtype) if out is None else out
    whole = c // block
    if whole:
        copy(_lanes(x[:, : whole * block], block), out=y[:, :whole])
    if c % block:
        last = y[:, whole:, ..., : c % block]
        copy(x[:, None, whole * block :].transpose(0, 1, 3, 4, 2), out=last)
        clear_lanes(y, c)
    return y


def from_blocks(x: Array, c: int, *, out: Array | None = None) -> Array:
    """(n, ceil(c / block), h, w, block) -> (n, c, h, w)."""
    n, _, h, w, block = x.shape
    y = np.empty((n, c, h, w), x.dtype) if out is None else out
    whole = c // block
    if whole:
        copy(x[:, :whole], out=_lanes(y[:, : whole * block], block))
    if c % block:
        copy(x[:, whole, ..., : c % block].transpose(0, 3, 1, 2), out=y[:, whole * block :])
    return y


def clear_lanes(y: Array, c: int) -> None:
    """Zero in the lanes past the last channel of (n, ceil(c / block), h, w, block).

    What a sweep over blocks needs behind it where its function of zeros is not zero.
    """
    block = y.shape[-1]
    if c % block:
        rest = y[:, c // block :, ..., c % block :]
        copy(np.broadcast_to(np.zeros((), y.dtype), rest.shape), out=rest)


def _lanes(x: Array, block: int) -> Array:
    """A view of (n, c, h, w) as (n, c / block, h, w, block)."""
    n, c, h, w = x.shape
    steps = x.strides
    return np.lib.stride_tricks.as_strided(
        x, (n, c // block, h, w, block), (steps[0], steps[1] * block, *steps[2:], steps[1])
    )


def _elementwise(
    name: str, a: Array, b: Array | None, activation: Activation, out: Array | None
) -> Array:
    shape = a.shape if b is None else np.broadcast_shapes(a.shape, b.shape)
    y = np.empty(shape, a.dtype) if out is None else out
    if y.shape != shape:
        raise ValueError(f"out has shape {y.shape}: expected {shape}")
    if y.size:
        first = whole_elements(np.broadcast_to(a, shape))
        second = None if b is None else whole_elements(np.broadcast_to(b, shape))
        _sweep("elementwise", BINARY[name], first, second, y, activation=activation)
    return y


def _sweep(
    name: str,
    number: int,
    a: Array,
    b: Array | None,
    y: Array,
    *,
    tables: list[Any] = NO_TABLES,
    reduced: int = 0,
    fill: int = 0,
    activation: Activation = IDENTITY,
) -> None:
    axes = y.ndim + reduced
    if axes > MOST_AXES:
        raise ValueError(f"{axes} axes: at most {MOST_AXES} are taken")
    record = _recorder.get()
    if record is not None:
        record(a, b, y, _convkit.Sweep(name, number, a, b, y, tables, reduced, fill, *activation))
        return
    _convkit.sweep(name, number, a, b, y, tables, reduced, fill, *activation, get_num_threads())


#: What is given sweeps (a, b, y, the sweep) instead of running them.
Recorder = Callable[[Array, Array | None, Array, _convkit.Sweep], None]
_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recorded(record: Recorder) -> Iterator[None]:
    """Within it no sweep runs: a compiler is told of them, whose arrays stand for others."""
    token = _recorder.set(record)
    try:
        yield
    finally:
        _recorder.reset(token)
