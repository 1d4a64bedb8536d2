"""Plan: a problem, its algorithm and its packed weights. Calling it only computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convkit import _convkit
from convkit.backends import Array, check_device, enter
from convkit.epilogue import Activation, ActivationLike
from convkit.epilogue import activation as parse_activation
from convkit.problem import ConvProblem, PaddingLike, PairLike, shape_of
from convkit.select import decide, four_weights, request
from convkit.threads import get_num_threads


class Plan:
    """Made by `convkit.plan`; safe to call from several threads, to pickle and to copy.

    Attributes
    ----------
    problem : ConvProblem
    algorithm : str
    workspace : int
        Bytes: packed weights, shared scratch and the scratch of one thread.
    """

    __slots__ = (
        "_activation", "_bias", "_dtype", "_image", "_limit", "_native", "_w", "_x_ndim", "_y_ndim",
        "_y_tail", "algorithm", "problem", "workspace",
    )  # fmt: skip

    def __init__(
        self,
        problem: ConvProblem,
        algorithm: str,
        w: Array,
        bias: Array | None,
        activation: Activation,
        limit: int,
        x_ndim: int,
    ) -> None:
        self.problem, self.algorithm = problem, algorithm
        self._w, self._bias, self._activation, self._limit = w, bias, activation, limit
        self._native = _convkit.Plan(
            algorithm, tuple(problem.kernel_problem()), w, bias, *activation, -1, limit
        )
        self.workspace: int = sum(self._native.sizes)
        self._dtype = np.dtype(problem.dtype)
        self._x_ndim = x_ndim
        self._image = (problem.c, problem.h, problem.w)
        self._y_tail = (problem.k, problem.p, problem.q)

    def __call__(self, x: Any, residual: Any = None, out: Any = None) -> Any:
        """Convolve any number of images of the plan's size.

        Parameters
        ----------
        x : (n, c, h, w), or (c, h, w) or (h, w) where the plan was made for one image
        residual : array like the answer, optional
            Added before the activation.
        out : array like the answer, optional
            Written in place and returned; may be `residual`, overlaps nothing else.

        Returns
        -------
        (n, k, p, q) array, or with as few axes as x

        Raises
        ------
        ValueError, TypeError
            Where an array does not fit, before any work.
        """
        if (
            residual is None
            and out is None
            and type(x) is np.ndarray
            and x.dtype is self._dtype
            and x.shape[1:] == self._image
            and x.flags.c_contiguous
        ):
            y = _convkit.empty((x.shape[0], *self._y_tail), self._dtype)
            self._native.run(x, None, y, get_num_threads())
            return y
        (x, residual, target), leave = enter(x=x, residual=residual, out=out)
        y = self._run(x, residual, target)
        return out if out is not None else leave(y)

    def _run(self, x: Array, residual: Array | None, out: Array | None) -> Array:
        """Check NumPy arrays against the plan, compute, and give the answer x's rank."""
        if x.dtype != self._dtype:
            raise TypeError(f"x has dtype {x.dtype}: this plan is for {self._dtype}")
        image = self._image
        shape: tuple[int, ...]
        if x.ndim == 4 and x.shape[1:] == image:
            x4, shape = x, (x.shape[0], *self._y_tail)
        elif x.ndim == 3 and x.shape == image:
            x4, shape = x[None], self._y_tail
        elif x.ndim == 2 and self._x_ndim == 2 and x.shape == image[1:]:
            x4, shape = x[None, None], self._y_tail[1:]
        else:
            wanted = image[1:] if self._x_ndim == 2 else ("n", *image)
            text = str(wanted).replace("'", "")
            raise ValueError(f"x has shape {x.shape}: this plan needs {text}")
        if residual is not None and residual.shape != shape:
            raise ValueError(f"residual has shape {residual.shape}: expected {shape} as y has")
        if out is not None:
            check_out(out, shape, x=x, residual=residual, w=None, bias=None)
        return compute(self._native, x4, residual, out, shape)

    def __reduce__(self) -> tuple[Any, ...]:
        """Packed weights depend on the instruction set: a copy packs again where it arrives."""
        return Plan, (
            self.problem, self.algorithm, self._w, self._bias, self._activation, self._limit,
            self._x_ndim,
        )  # fmt: skip

    def __copy__(self) -> Plan:
        return self  # it never changes

    def __repr__(self) -> str:
        return (
            f"<convkit.Plan {self.problem} {self.problem.dtype} by {self.algorithm} "
            f"({self._native.variant}), {self.workspace} bytes>"
        )


def compute(
    native: _convkit.Plan, x: Array, residual: Array | None, out: Array | None, shape: Sequence[int]
) -> Array:
    """Run a native plan on arrays that were checked; the answer, in `out` or of its own."""
    y = _convkit.empty(tuple(shape), x.dtype) if out is None else out
    if residual is not None:
        residual = whole_elements(_four(residual))
    native.run(whole_elements(_four(x)), residual, _four(y), get_num_threads())
    return y


def _four(array: Array) -> Array:
    """(n, c, h, w), whatever axes of one it was given without."""
    whole: Array = array[(None,) * (4 - array.ndim)] if array.ndim < 4 else array
    return whole


def whole_elements(array: Array) -> Array:
    """Kernels step in elements from an element's address: fields of packed records are copied."""
    flags = array.flags
    if flags.aligned:
        if flags.c_contiguous or all(step % array.itemsize == 0 for step in array.strides):
            return array
    return np.array(array, order="C", copy=True, subok=False)


def check_out(out: Array, shape: tuple[int, ...], **inputs: Array | None) -> None:
    """Refuse an out that does not fit, cannot be written, or overlaps itself or an input."""
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}: expected {shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only: expected an array that can be written")
    if not out.flags.aligned:
        raise ValueError(f"out begins inside an element: expected an address of {out.itemsize}s")
    if any(step % out.itemsize for step, size in zip(out.strides, shape, strict=True) if size > 1):
        raise ValueError(f"out has strides {out.strides}: expected multiples of {out.itemsize}")
    if not out.flags.c_contiguous and _overlaps_itself(out):
        raise ValueError(f"out of strides {out.strides} overlaps itself: expected no such overlap")
    for name, array in inputs.items():
        if array is None or not np.may_share_memory(out, array):
            continue
        if name == "residual" and (
            out.strides == array.strides
            and out.__array_interface__["data"][0] == array.__array_interface__["data"][0]
        ):
            continue
        if _share_memory(out, array):
            same = " in other places than its own" if name == "residual" else ""
            raise ValueError(f"out overlaps {name}{same}: expected memory apart from it")


def _share_memory(a: Array, b: Array) -> bool:
    try:
        return bool(np.shares_memory(a, b, max_work=100_000))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True  # cannot be told in reasonable time: refused rather than risked


def _overlaps_itself(array: Array) -> bool:
    """Whether two indices may name one element: some axis steps inside another's extent."""
    reach = array.itemsize
    pairs = zip(array.strides, array.shape, strict=True)
    axes = sorted((abs(step), size) for step, size in pairs if size > 1)
    for step, size in axes:
        if step < reach:
            return True
        reach = step * (size - 1) + reach
    return False


def as_kernels_read(array: Array) -> Array:
    """Contiguous and whole elements; a copy only where it is not."""
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.array(array, order="C", copy=True)


def check_bias(bias: Array | None, problem: ConvProblem) -> None:
    if bias is not None and bias.shape != (problem.k,):
        raise ValueError(f"bias has shape {bias.shape}: expected ({problem.k},), one per filter")


def check_flip(flip: bool) -> None:
    if not isinstance(flip, (bool, np.bool_)):
        raise TypeError(f"flip={flip!r} must be True or False")


def plan(
    x_shape: Sequence[int],
    w: Any,
    bias: Any = None,
    *,
    stride: PairLike = 1,
    padding: PaddingLike = 0,
    padding_mode: str = "zeros",
    dilation: PairLike = 1,
    groups: int = 1,
    flip: bool = False,
    algo: str = "auto",
    activation: ActivationLike = None,
    precision: str = "high",
    invariant: bool | None = None,
    max_workspace: int | None = None,
    device: str = "cpu",
) -> Plan:
    """Choose an algorithm and pack the weights once, for many calls.

    Parameters
    ----------
    x_shape : (n, c, h, w), (c, h, w) or (h, w)
        The plan takes any n.
    w : (k, c / groups, r, s) float32 or float64, or (r, s)
        Copied: changing it later changes nothing.
    bias : (k,) array of the same dtype, optional
    stride, padding, padding_mode, dilation, groups, flip, algo, activation, precision, \
invariant, max_workspace
        As for `conv2d`.
    device : "cpu"

    Returns
    -------
    Plan
        Call it as plan(x, residual=None, out=None).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit, before any work.
    MemoryError
        Where the answer and the workspace are more than the machine's memory.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> w = np.ones((8, 4, 3, 3), np.float32)
    >>> plan = convkit.plan((1, 4, 16, 16), w, padding=1, activation="relu")
    >>> plan(np.ones((5, 4, 16, 16), np.float32)).shape
    (5, 8, 16, 16)
    """
    check_device(device)
    chosen_activation = parse_activation(activation)
    asked = request(algo, precision, invariant, max_workspace)
    check_flip(flip)
    (w, bias), _ = enter(w=w, bias=bias)
    x_shape = shape_of("x", x_shape)
    decision = decide(
        x_shape, w, asked, False, stride=stride, padding=padding,
        padding_mode=padding_mode, dilation=dilation, groups=groups,
    )  # fmt: skip
    check_bias(bias, decision.problem)
    own_w = np.array(four_weights(w, flip), order="C", copy=True)
    own_bias = None if bias is None else np.array(bias, order="C", copy=True)
    return Plan(
        decision.problem, decision.algorithm, own_w, own_bias, chosen_activation,
        asked.max_workspace, len(x_shape),
    )  # fmt: skip
