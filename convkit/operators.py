"""What a classic network needs beside convolution: pooling, linear, batch_norm, softmax, ...

Each is a kernel of csrc/operators run through the same native plan as a convolution; nothing is
computed with NumPy. Arrays may have any strides; results are new arrays unless `out` is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, SupportsFloat, SupportsIndex, TypeVar

import numpy as np

from convkit import _convkit
from convkit.backends import Array, enter
from convkit.epilogue import IDENTITY, Activation, ActivationLike
from convkit.epilogue import activation as activation_of
from convkit.plan import check_out, whole_elements
from convkit.problem import (
    DTYPES,
    MOST_BYTES,
    KernelProblem,
    PaddingLike,
    PairLike,
)
from convkit.threads import get_num_threads
from convkit.windows import windows

#: The caller's kind of array.
Kind = TypeVar("Kind")

#: Below this many elements a thread more costs more than it saves.
ELEMENTS_PER_THREAD = 1 << 15
#: What avg_pool divides by; numbers as in csrc/operators/avg_pool.cpp.
COUNT_IMAGE, COUNT_PADDING = 0, 1


def max_pool2d(
    x: Kind,
    kernel: PairLike,
    *,
    stride: PairLike | None = None,
    padding: PaddingLike = 0,
    ceil_mode: bool = False,
    out: Kind | None = None,
) -> Kind:
    """The largest value of each window; NaN where the window holds one.

    Parameters
    ----------
    x : (n, c, h, w), (c, h, w) or (h, w) float32 or float64
    kernel : int or (rows, columns)
        Size of the window.
    stride : int or (vertical, horizontal), optional
        Distance of two windows; by default the window's size.
    padding : int, (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid"
        Each side less than the window. Padding never is the largest value.
    ceil_mode : bool
        Also take a last window that hangs over the end, if it starts inside the image or the
        padding before it.
    out : array like the result, optional
        Written in place and returned.

    Returns
    -------
    (n, c, p, q) array, or with as few axes as x
        p = floor((h + top + bottom - rows) / stride) + 1, with ceil_mode rounded up.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit, before any work.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> x = np.array([[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]], np.float32)
    >>> convkit.max_pool2d(x, 2)
    array([[9., 2.],
           [6., 3.]], dtype=float32)
    """
    return _pool("max_pool", x, kernel, stride, padding, ceil_mode, COUNT_IMAGE, out)


def avg_pool2d(
    x: Kind,
    kernel: PairLike,
    *,
    stride: PairLike | None = None,
    padding: PaddingLike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    out: Kind | None = None,
) -> Kind:
    """The mean of each window.

    Parameters
    ----------
    x : (n, c, h, w), (c, h, w) or (h, w) float32 or float64
    kernel, stride, padding, ceil_mode, out
        As for `max_pool2d`.
    count_include_pad : bool
        Whether padding counts as zeros. What a window of ceil_mode holds beyond the padding
        never counts.

    Returns
    -------
    (n, c, p, q) array, or with as few axes as x

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit, before any work.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> x = np.array([[1, 3, 2, 1], [2, 9, 1, 1], [1, 4, 2, 3], [5, 6, 1, 2]], np.float32)
    >>> convkit.avg_pool2d(x, 2)
    array([[3.75, 1.25],
           [4.  , 2.  ]], dtype=float32)
    """
    count = COUNT_PADDING if _flag("count_include_pad", count_include_pad) else COUNT_IMAGE
    return _pool("avg_pool", x, kernel, stride, padding, ceil_mode, count, out)


def global_avg_pool2d(x: Kind) -> Kind:
    """The mean of each channel.

    Parameters
    ----------
    x : (n, c, h, w) or (c, h, w) float32 or float64

    Returns
    -------
    (n, c, 1, 1) or (c, 1, 1) array

    Raises
    ------
    ValueError, TypeError
        Where x does not fit, before any work.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.global_avg_pool2d(np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)).ravel()
    array([1.5, 5.5], dtype=float32)
    """
    (data,), leave = enter(x=x)
    image = _images("x", data, least_axes=3)
    n, c, h, w = image.shape
    y = np.empty((*data.shape[:-2], 1, 1), data.dtype)
    problem = _problem(data.dtype, (n, c, h, w), (c, 1, 1))
    _run("global_avg_pool", problem, image, _images("y", y))
    answer: Kind = leave(y)
    return answer


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
    _require(w=w)
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
    _check_vector("bias", bias, k)
    y = np.empty((n, k), rows.dtype)
    # The kernel reads many rows of one factor against few of the other, which it copies: whichever
    # is smaller. Bits do not depend on it.
    many, few, turned = (w, rows, y) if n <= k else (rows, w, y.T)
    each: Array | None = None  # bias runs along the rows or across them: as a residual it may
    if bias is not None:
        each = np.broadcast_to(bias, (n, k))
        each = (each if n <= k else each.T)[None, :, None, :]
    problem = _problem(rows.dtype, (1, c, 1, many.shape[0]), (few.shape[0], 1, many.shape[0]))
    _run(
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


def batch_norm(
    x: Kind,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    eps: float = 1e-5,
    activation: ActivationLike = None,
) -> Kind:
    """Batch normalization with stored statistics: (x - mean) / sqrt(var + eps) * weight + bias.

    Parameters
    ----------
    x : (n, c, h, w) or (n, c) float32 or float64
    mean, var : (c,) arrays of the same dtype
    weight, bias : (c,) arrays of the same dtype, optional
        1 and 0 by default.
    eps : float
        At least 0.
    activation : as in `conv2d`, optional

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
    >>> x = np.array([[1, 10], [3, 30]], np.float32)
    >>> convkit.batch_norm(x, np.array([2, 20], np.float32), np.array([1, 4], np.float32), eps=0)
    array([[-1., -5.],
           [ 1.,  5.]], dtype=float32)
    """
    chosen = activation_of(activation)
    eps = _number("eps", eps)
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps={eps} must be at least 0 and finite")
    _require(mean=mean, var=var)
    (data, mean, var, weight, bias), leave = enter(
        x=x, mean=mean, var=var, weight=weight, bias=bias
    )
    if data.ndim not in (2, 4):
        raise ValueError(f"x has shape {data.shape}: expected (n, c, h, w) or (n, c)")
    c = data.shape[1]
    for name, vector in (("mean", mean), ("var", var), ("weight", weight), ("bias", bias)):
        _check_vector(name, vector, c)
    y = np.empty_like(data, subok=False)
    # One row as csrc/operators/batch_norm.cpp reads it.
    weights = np.concatenate(
        [
            np.ones(c, data.dtype) if weight is None else weight,
            np.zeros(c, data.dtype) if bias is None else bias,
            mean,
            var,
            np.array([eps], data.dtype),
        ]
    )
    # Rows of features are the pixels of one image, so that channels can be taken in vectors.
    images = [a if a.ndim == 4 else a.T[None, :, :, None] for a in (data, y)]
    if data.size:
        problem = _problem(data.dtype, images[0].shape, images[0].shape[1:])
        _run("batch_norm", problem, images[0], images[1], weights=weights, activation=chosen)
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
    factor = _number("b", b)
    if not math.isfinite(factor):
        raise ValueError(f"b={b} must be finite")
    (data,), leave = enter(x=x)
    number = _axis(axis, data.ndim)
    y = np.empty_like(data, subok=False)
    moved = [np.moveaxis(a, number, -1) for a in (data, y)]
    for rows_x, rows_y in _joined(moved, keep_last=True, axes=4) if data.size else ():
        # (n, h, w, c) -> (n, c, h, w)
        image, result = (np.moveaxis(a, -1, 1) for a in (rows_x, rows_y))
        problem = _problem(data.dtype, image.shape, image.shape[1:])
        _run("softmax", problem, image, result, activation=Activation(IDENTITY.kind, factor))
    answer: Kind = leave(y)
    return answer


def add(x: Kind, y: Any, *, activation: ActivationLike = None, out: Kind | None = None) -> Kind:
    """activation(x + y), element by element.

    Parameters
    ----------
    x, y : float32 or float64 arrays of one shape
    activation : as in `conv2d`, optional
    out : array like x, optional
        Written in place and returned; may be x or y itself.

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
    >>> x = np.array([-3, 1, 2], np.float32)
    >>> convkit.add(x, x, activation="relu")
    array([0., 2., 4.], dtype=float32)
    """
    chosen = activation_of(activation)
    _require(y=y)
    (data, y, target), leave = enter(x=x, y=y, out=out)
    if data.shape != y.shape:
        raise ValueError(f"y has shape {y.shape}: expected {data.shape}, the shape of x")
    result = _elementwise(data, y, chosen, target)
    answer: Kind = leave(result) if out is None else out
    return answer


def activate(x: Kind, activation: ActivationLike, *, out: Kind | None = None) -> Kind:
    """An activation, element by element.

    Parameters
    ----------
    x : float32 or float64 array
    activation : name, (name, parameters...) or None
        As in `conv2d`: "relu", "relu6", ("clip", lo, hi), ("leaky_relu", 0.01), ("elu", 1.0),
        ("hardsigmoid", 1/6, 0.5), "sigmoid", "tanh", "hardswish", "silu", "gelu".
    out : array like x, optional
        Written in place and returned; may be x itself.

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
    >>> convkit.activate(np.array([-4, -1, 0, 2], np.float32), ("leaky_relu", 0.5))
    array([-2. , -0.5,  0. ,  2. ], dtype=float32)
    """
    chosen = activation_of(activation)
    (data, target), leave = enter(x=x, out=out)
    result = _elementwise(data, None, chosen, target)
    answer: Kind = leave(result) if out is None else out
    return answer


def relu(x: Kind, *, out: Kind | None = None) -> Kind:
    """max(x, 0). See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.relu(np.array([-1, 2], np.float32))
    array([0., 2.], dtype=float32)
    """
    return activate(x, "relu", out=out)


def relu6(x: Kind, *, out: Kind | None = None) -> Kind:
    """min(max(x, 0), 6). See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.relu6(np.array([-1, 2, 8], np.float32))
    array([0., 2., 6.], dtype=float32)
    """
    return activate(x, "relu6", out=out)


def clip(x: Kind, lo: float, hi: float, *, out: Kind | None = None) -> Kind:
    """min(max(x, lo), hi). See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.clip(np.array([-1, 0.5, 8], np.float32), 0, 1)
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return activate(x, ("clip", lo, hi), out=out)


def leaky_relu(x: Kind, slope: float = 0.01, *, out: Kind | None = None) -> Kind:
    """x where x >= 0, slope x elsewhere. See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.leaky_relu(np.array([-2, 2], np.float32), 0.25)
    array([-0.5,  2. ], dtype=float32)
    """
    return activate(x, ("leaky_relu", slope), out=out)


def elu(x: Kind, alpha: float = 1.0, *, out: Kind | None = None) -> Kind:
    """x where x >= 0, alpha (exp(x) - 1) elsewhere. See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.elu(np.array([-1, 2], np.float64))
    array([-0.63212056,  2.        ])
    """
    return activate(x, ("elu", alpha), out=out)


def hardsigmoid(
    x: Kind, slope: float = 1 / 6, shift: float = 0.5, *, out: Kind | None = None
) -> Kind:
    """min(max(slope x + shift, 0), 1). See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.hardsigmoid(np.array([-3, 0, 1.5, 9], np.float32))
    array([0.  , 0.5 , 0.75, 1.  ], dtype=float32)
    """
    return activate(x, ("hardsigmoid", slope, shift), out=out)


def sigmoid(x: Kind, *, out: Kind | None = None) -> Kind:
    """1 / (1 + exp(-x)). See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.sigmoid(np.array([0, 2], np.float64))
    array([0.5       , 0.88079708])
    """
    return activate(x, "sigmoid", out=out)


def tanh(x: Kind, *, out: Kind | None = None) -> Kind:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)). See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.tanh(np.array([0, 1], np.float64))
    array([0.        , 0.76159416])
    """
    return activate(x, "tanh", out=out)


def hardswish(x: Kind, *, out: Kind | None = None) -> Kind:
    """x min(max(x + 3, 0), 6) / 6. See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.hardswish(np.array([-4, -1.5, 3], np.float32))
    array([-0.   , -0.375,  3.   ], dtype=float32)
    """
    return activate(x, "hardswish", out=out)


def silu(x: Kind, *, out: Kind | None = None) -> Kind:
    """x / (1 + exp(-x)), also called swish. See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.silu(np.array([0, 1], np.float64))
    array([0.        , 0.73105858])
    """
    return activate(x, "silu", out=out)


def gelu(x: Kind, *, out: Kind | None = None) -> Kind:
    """x (1 + erf(x / sqrt 2)) / 2, the exact form. See `activate`.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> convkit.gelu(np.array([0, 1], np.float64))
    array([0.        , 0.84134475])
    """
    return activate(x, "gelu", out=out)


def _pool(
    name: str,
    x: Kind,
    kernel: PairLike,
    stride: PairLike | None,
    padding: PaddingLike,
    ceil_mode: bool,
    count: int,
    out: Kind | None,
) -> Kind:
    """What max_pool2d and avg_pool2d have in common: all but the kernel."""
    round_up = _flag("ceil_mode", ceil_mode)
    (data, target), leave = enter(x=x, out=out)
    image = _images("x", data)
    n, c, h, w = image.shape
    made = windows((h, w), kernel, stride, padding, round_up)
    shape = (*data.shape[:-2], *made.size)
    if math.prod(shape) * data.itemsize > MOST_BYTES:
        raise ValueError(f"result of shape {shape}: more than can be addressed")
    y = _result(shape, data, target, x=data)
    problem = _problem(
        data.dtype,
        (n, c, h, w),
        (c, *made.size),
        made.window,
        made.stride,
        made.padding,
        mode=count,
    )
    _run(name, problem, image, _images("out", y), work=n * c * h * w)
    answer: Kind = leave(y) if out is None else out
    return answer


def _elementwise(x: Array, y: Array | None, activation: Activation, out: Array | None) -> Array:
    """activation(x + y) in as few calls of the kernel as the strides allow."""
    inputs = [x] if y is None else [x, y]
    # Each element is read before it is written: out may be an input itself.
    apart = {
        name: a
        for name, a in (("x", x), ("y", y))
        if a is not None and out is not None and not _same_memory(out, a)
    }
    result = _result(x.shape, x, out, **apart)
    if x.size == 0:
        return result
    # Elements in the order of the result's memory, wherever the axes stand.
    order = sorted(range(x.ndim), key=lambda axis: -abs(result.strides[axis]))
    views = [array.transpose(order) for array in (*inputs, result)]
    for part in _joined(views, keep_last=False, axes=4):
        problem = _problem(x.dtype, part[0].shape, part[0].shape[1:])
        residual = None if y is None else part[1]
        _run("activation", problem, part[0], part[-1], residual=residual, activation=activation)
    return result


def _joined(views: Sequence[Array], *, keep_last: bool, axes: int) -> list[list[Array]]:
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


def _result(
    shape: tuple[int, ...], like: Array, out: Array | None, /, **inputs: Array | None
) -> Array:
    """`out` after its checks, or a new array."""
    if out is not None:
        check_out(out, shape, **inputs)
        return out
    return np.empty_like(like, subok=False) if shape == like.shape else np.empty(shape, like.dtype)


def _same_memory(a: Array, b: Array) -> bool:
    place, other = (array.__array_interface__["data"][0] for array in (a, b))
    return bool(place == other and a.strides == b.strides and a.shape == b.shape)


def _images(name: str, x: Array, *, least_axes: int = 2) -> Array:
    """x as (n, c, h, w)."""
    if not least_axes <= x.ndim <= 4:
        forms = ("(h, w)", "(c, h, w)", "(n, c, h, w)")[least_axes - 2 :]
        raise ValueError(f"{name} has shape {x.shape}: expected {' or '.join(forms)}")
    if 0 in x.shape[x.ndim - 3 if x.ndim > 2 else 0 :]:
        raise ValueError(f"{name} has shape {x.shape}: every size must be at least 1 (n: 0)")
    return x[(None,) * (4 - x.ndim)]


def _problem(
    dtype: np.dtype[Any],
    x_shape: Sequence[int],
    y_shape: Sequence[int],
    window: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    mode: int = 0,
) -> KernelProblem:
    """What an operator's kernel is told; y_shape is (k, p, q). groups is 0: w is no filter."""
    number = DTYPES.index(dtype.name)
    n, c, h, w = x_shape
    k, p, q = y_shape
    return KernelProblem(
        n, c, h, w, k, *window, p, q, 0, *stride, 1, 1, *padding, mode, number, number, number
    )


def _run(
    name: str,
    problem: KernelProblem,
    x: Array,
    y: Array,
    *,
    weights: Array | None = None,
    residual: Array | None = None,
    activation: Activation = IDENTITY,
    work: int | None = None,
) -> None:
    """One call of an operator's kernel; all four-dimensional arrays."""
    plan = _convkit.Plan(name, tuple(problem), weights, None, *activation, -1, _convkit.NO_LIMIT)
    most = max((y.size if work is None else work) // ELEMENTS_PER_THREAD, 1)
    x, residual = whole_elements(x), None if residual is None else whole_elements(residual)
    plan.run(x, residual, y, min(get_num_threads(), most))


def _require(**arrays: object) -> None:
    for name, array in arrays.items():
        if array is None:
            raise TypeError(f"{name} is None: expected an array")


def _check_vector(name: str, vector: Array | None, size: int) -> None:
    if vector is not None and vector.shape != (size,):
        raise ValueError(f"{name} has shape {vector.shape}: expected ({size},)")


def _number(name: str, value: SupportsFloat) -> float:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}={value!r} must be a number")
    return float(value)


def _flag(name: str, value: bool) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r} must be True or False")
    return bool(value)


def _axis(axis: SupportsIndex, axes: int) -> int:
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"axis={axis!r} must be an integer")
    number = axis.__index__()
    if not -axes <= number < axes:
        raise ValueError(f"axis={number} must be from {-axes} to {axes - 1}, x has {axes} axes")
    return number % axes
