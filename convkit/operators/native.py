"""What the operators of this package share: their call of a kernel, and checks of arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np

from convkit import _convkit
from convkit.backends import Array
from convkit.epilogue import IDENTITY, Activation
from convkit.plan import check_out, whole_elements
from convkit.problem import DTYPES, KernelProblem
from convkit.threads import get_num_threads

#: Below this many elements a thread more costs more than it saves.
ELEMENTS_PER_THREAD = 1 << 15


def joined_axes(views: Sequence[Array], *, keep_last: bool, axes: int) -> list[list[Array]]:
    """The arrays of one shape with `axes` axes: neighbours joined where the memory of all allows
    it, ones put in front; where too many are left, one list of arrays per index of the first."""
    shape = views[0].shape
    kept = [i for i in range(len(shape) - keep_last) if shape[i] != 1]
    groups: list[list[int]] = [[i] for i in kept[:1]]
    for before, after in pairwise(kept):
        if all(a.strides[before] == shape[after] * a.strides[after] for a in views):
            groups[-1].append(after)
        else:
            groups.append([after])
    sizes = [math.prod(shape[i] for i in group) for group in groups]
    steps = [[a.strides[group[-1]] for group in groups] for a in views]
    if keep_last:
        sizes.append(shape[-1])
        steps = [[*step, a.strides[-1]] for step, a in zip(steps, views, strict=True)]
    if all(a.flags.c_contiguous for a in views):
        return [[a.reshape([1] * (axes - len(sizes)) + sizes) for a in views]]
    ones = [1] * (axes - len(sizes))
    whole = [
        np.lib.stride_tricks.as_strided(a, ones + sizes, [0] * len(ones) + step)
        for a, step in zip(views, steps, strict=True)
    ]
    surplus = whole[0].ndim - axes
    return [[a[index] for a in whole] for index in np.ndindex(*whole[0].shape[: max(surplus, 0)])]


def result_array(
    shape: tuple[int, ...], like: Array, out: Array | None, /, **inputs: Array | None
) -> Array:
    """`out` after its checks, or a new array."""
    if out is not None:
        check_out(out, shape, **inputs)
        return out
    return np.empty_like(like, subok=False) if shape == like.shape else np.empty(shape, like.dtype)


def same_memory(a: Array, b: Array) -> bool:
    place, other = (array.__array_interface__["data"][0] for array in (a, b))
    return bool(place == other and a.strides == b.strides and a.shape == b.shape)


def images(name: str, x: Array, *, least_axes: int = 2) -> Array:
    """x as (n, c, h, w)."""
    if not least_axes <= x.ndim <= 4:
        forms = ("(h, w)", "(c, h, w)", "(n, c, h, w)")[least_axes - 2 :]
        raise ValueError(f"{name} has shape {x.shape}: expected {' or '.join(forms)}")
    if 0 in x.shape[x.ndim - 3 if x.ndim > 2 else 0 :]:
        raise ValueError(f"{name} has shape {x.shape}: every size must be at least 1 (n: 0)")
    return x[(None,) * (4 - x.ndim)]


def operator_problem(
    dtype: np.dtype[Any],
    x_shape: Sequence[int],
    y_shape: Sequence[int],
    window: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    mode: int = 0,
    dilation: tuple[int, int] = (1, 1),
) -> KernelProblem:
    """What an operator's kernel is told; y_shape is (k, p, q). groups is 0: w is no filter."""
    number = DTYPES.index(dtype.name)
    n, c, h, w = x_shape
    k, p, q = y_shape
    return KernelProblem(
        n, c, h, w, k, *window, p, q, 0, *stride, *dilation, *padding, mode, number, number, number
    )


def run_operator(
    name: str,
    problem: KernelProblem,
    x: Array,
    y: Array,
    *,
    weights: Array | None = None,
    residual: Array | None = None,
    activation: Activation = IDENTITY,
    work: int | None = None,
    indices: Array | None = None,
) -> None:
    """One call of an operator's kernel; all four-dimensional arrays."""
    plan = _convkit.Plan(name, tuple(problem), weights, None, *activation, -1, _convkit.NO_LIMIT)
    most = max((y.size if work is None else work) // ELEMENTS_PER_THREAD, 1)
    x, residual = whole_elements(x), None if residual is None else whole_elements(residual)
    plan.run(x, residual, y, min(get_num_threads(), most), indices)


def require(**arrays: object) -> None:
    for name, array in arrays.items():
        if array is None:
            raise TypeError(f"{name} is None: expected an array")


def check_vector(name: str, vector: Array | None, size: int) -> None:
    if vector is not None and vector.shape != (size,):
        raise ValueError(f"{name} has shape {vector.shape}: expected ({size},)")


def real_number(name: str, value: SupportsFloat) -> float:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}={value!r} must be a number")
    return float(value)


def flag(name: str, value: bool) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r} must be True or False")
    return bool(value)


def axis_number(axis: SupportsIndex, axes: int) -> int:
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"axis={axis!r} must be an integer")
    number = axis.__index__()
    if not -axes <= number < axes:
        raise ValueError(f"axis={number} must be from {-axes} to {axes - 1}, x has {axes} axes")
    return number % axes
