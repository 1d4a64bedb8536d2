"""Fully connected layers and shares of a whole."""

from __future__ import annotations

import math
from typing import Any, SupportsIndex, TypeVar

import numpy as np

from convkit.backends import Array, enter
from convkit.epilogue import IDENTITY, Activation, ActivationLike
from convkit.epilogue import activation as activation_of
from convkit.operators.native import (
    axis_number,
    check_vector,
    joined_axes,
    operator_problem,
    real_number,
    require,
    run_operator,
)
from convkit.plan import whole_elements

#: The caller's kind of array.
Kind = TypeVar("Kind")


def linear(
    x: Kind,
    w: Any,
    bias: Any = None,
    *,
    activation: ActivationLike = None,
) -> Kind:
    """y[n, k] = activation(sum over c of x[n, c] w[k, c] + bias[k]): a fully connected layer.

    A row of the result has the same bits whatever batch it is computed in.

    Parameters
    ----------
    x : (n, c) float32 or float64
    w : (k, c) array of the same dtype
    bias : (k,) array of the same dtype, optional
    activation : as in `conv2d`, optional

    Returns
    -------
    (n, k) array

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit, before any work.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> x = np.array([[1, 2, 3]], np.float32)
    >>> w = np.array([[1, 0, 0], [1, 1, -2]], np.float32)
    >>> convkit.linear(x, w, np.array([0.5, 0], np.float32), activation="relu")
    array([[1.5, 0. ]], dtype=float32)
    """
    chosen = activation_of(activation)
    require(w=w)
    (rows, w, bias), leave = enter(x=x, w=w, bias=bias)
    if rows.ndim != 2:
        raise ValueError(f"x has shape {rows.shape}: expected (n, c), write x.reshape(n, -1)")
    if w.ndim != 2 or w.shape[1] != rows.shape[1]:
        raise ValueError(
            f"w has shape {w.shape}: expected (k, {rows.shape[1]}) for x of shape {rows.shape}"
        )
    if 0 in w.shape:
        raise ValueError(f"w has shape {w.shape}: every size must be at least 1")
    (n, c), k = rows.shape, w.shape[0]
    check_vector("bias", bias, k)
    y = np.empty((n, k), rows.dtype)
    # The kernel reads many rows of one factor against few of the other, which it copies: whichever
    # is smaller. Bits do not depend on it.
    many, few, turned = (w, rows, y) if n <= k else (rows, w, y.T)
    each: Array | None = None  # bias runs along the rows or across them: as a residual it may
    if bias is not None:
        each = np.broadcast_to(bias, (n, k))
        each = (each if n <= k else each.T)[None, :, None, :]
    problem = operator_problem(
        rows.dtype, (1, c, 1, many.shape[0]), (few.shape[0], 1, many.shape[0])
    )
    run_operator(
        "linear",
        problem,
        many.T[None, :, None, :],
        turned[None, :, None, :],
        weights=whole_elements(np.ascontiguousarray(few)),
        residual=each,
        activation=chosen,
        work=n * k * c,
    )
    answer: Kind = leave(y)
    return answer


def softmax(x: Kind, *, axis: SupportsIndex = -1, b: float = 1.0) -> Kind:
    """exp(b x) / sum of exp(b x) along an axis, without overflow.

    Parameters
    ----------
    x : float32 or float64 array
    axis : int
        The axis that sums to 1.
    b : float
        Factor on x: 0 gives equal shares, large ones single out the maximum.

    Returns
    -------
    array like x

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit, before any work.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.softmax(np.array([1, 2, 3], np.float32)).round(6)
    array([0.090031, 0.244728, 0.665241], dtype=float32)
    """
    factor = real_number("b", b)
    if not math.isfinite(factor):
        raise ValueError(f"b={b} must be finite")
    (data,), leave = enter(x=x)
    number = axis_number(axis, data.ndim)
    y = np.empty_like(data, subok=False)
    moved = [np.moveaxis(a, number, -1) for a in (data, y)]
    for rows_x, rows_y in joined_axes(moved, keep_last=True, axes=4) if data.size else ():
        # (n, h, w, c) -> (n, c, h, w)
        image, result = (np.moveaxis(a, -1, 1) for a in (rows_x, rows_y))
        problem = operator_problem(data.dtype, image.shape, image.shape[1:])
        run_operator(
            "softmax", problem, image, result, activation=Activation(IDENTITY.kind, factor)
        )
    answer: Kind = leave(y)
    return answer
