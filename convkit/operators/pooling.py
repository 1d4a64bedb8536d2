"""Pooling: the largest value or the mean of each window, and the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from convkit.backends import Array, enter
from convkit.operators.native import flag, images, operator_problem, result_array, run_operator
from convkit.plan import as_kernels_read
from convkit.problem import MOST_BYTES, PaddingLike, PairLike, pair, shape_of
from convkit.windows import windows

#: The caller's kind of array.
Kind = TypeVar("Kind")

#: What avg_pool divides by; numbers as in csrc/blocks/pooling_windows.h.
COUNT_IMAGE, COUNT_PADDING = 0, 1


def max_pool2d(
    x: Kind,
    kernel: PairLike,
    *,
    stride: PairLike | None = None,
    padding: PaddingLike = 0,
    dilation: PairLike = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    out: Kind | None = None,
) -> Any:
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
    dilation : int or (vertical, horizontal)
        Distance of two pixels of a window. One without any pixel of the image gives -inf.
    ceil_mode : bool
        Also take a last window that hangs over the end, if it starts inside the image or the
        padding before it.
    return_indices : bool
        Also give the places of the largest values, for `max_unpool2d`.
    out : array like the result, optional
        Written in place and returned.

    Returns
    -------
    (n, c, p, q) array, or with as few axes as x
        p = floor((h + top + bottom - (rows - 1) dilation - 1) / stride) + 1, with ceil_mode
        rounded up.
    int64 array of that shape, where return_indices is True
        row w + column of the largest value in its channel of x; of the first one where several
        are, of the last NaN where one is there; -1 where the window holds no pixel.

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
    places = flag("return_indices", return_indices)
    return pool(
        "max_pool", x, kernel, stride, padding, dilation, ceil_mode, COUNT_IMAGE, out, places
    )


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
    count = COUNT_PADDING if flag("count_include_pad", count_include_pad) else COUNT_IMAGE
    answer: Kind = pool("avg_pool", x, kernel, stride, padding, 1, ceil_mode, count, out)
    return answer


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
    image = images("x", data, least_axes=3)
    n, c, h, w = image.shape
    y = np.empty((*data.shape[:-2], 1, 1), data.dtype)
    problem = operator_problem(data.dtype, (n, c, h, w), (c, 1, 1))
    run_operator("global_avg_pool", problem, image, images("y", y))
    answer: Kind = leave(y)
    return answer


def max_unpool2d(
    x: Kind,
    indices: Any,
    kernel: PairLike,
    *,
    stride: PairLike | None = None,
    padding: PairLike = 0,
    output_size: Sequence[int] | None = None,
    out: Kind | None = None,
) -> Kind:
    """Put the values of a max pooling back to their places; zero everywhere else.

    Parameters
    ----------
    x : (n, c, h, w), (c, h, w) or (h, w) float32 or float64
    indices : int64 array of the shape of x
        What `max_pool2d` gives with return_indices: row width + column in a channel of the
        result. Of two values with the same place the later one stays.
    kernel, stride, padding : as for the pooling
    output_size : (rows, columns), or the whole shape, optional
        Of the result; by default (h - 1) stride - 2 padding + kernel, the smallest image that
        pools to x.
    out : array like the result, optional
        Written in place and returned.

    Returns
    -------
    (n, c, rows, columns) array, or with as few axes as x

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit, before any work.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> x = np.array([[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]], np.float32)
    >>> y, places = convkit.max_pool2d(x, 2, return_indices=True)
    >>> convkit.max_unpool2d(y, places, 2)
    array([[0., 0., 2., 0.],
           [0., 9., 0., 0.],
           [0., 0., 0., 3.],
           [0., 6., 0., 0.]], dtype=float32)
    """
    window = pair("kernel", kernel, least=1)
    strides = window if stride is None else pair("stride", stride, least=1)
    margin = pair("padding", padding, least=0)
    (data, target), leave = enter(x=x, out=out)
    image = images("x", data)
    n, c, h, w = image.shape
    places = _places(indices)
    if places.shape != data.shape:
        raise ValueError(f"indices has shape {places.shape}: expected {data.shape}, as x has")
    p = (h - 1) * strides[0] - 2 * margin[0] + window[0]
    q = (w - 1) * strides[1] - 2 * margin[1] + window[1]
    if output_size is not None:
        sizes = shape_of("output_size", output_size)
        if len(sizes) != 2 and sizes[:-2] != data.shape[:-2]:
            raise ValueError(
                f"output_size={sizes} must be (rows, columns) or {(*data.shape[:-2], p, q)}"
            )
        p, q = sizes[-2:]
    if p < 1 or q < 1:
        raise ValueError(f"result of {p} rows and {q} columns: every size must be at least 1")
    if data.size and not 0 <= places.min() <= places.max() < p * q:
        wrong = places.min() if places.min() < 0 else places.max()
        raise ValueError(f"indices holds {wrong}: expected 0 to {p * q - 1} for {p} x {q} pixels")
    shape = (*data.shape[:-2], p, q)
    y = result_array(shape, data, target, x=data, indices=places)
    problem = operator_problem(data.dtype, (n, c, h, w), (c, p, q))
    run_operator("max_unpool", problem, image, images("out", y), indices=places)
    answer: Kind = leave(y) if out is None else out
    return answer


def _places(indices: Any) -> Array:
    """The indices of a pooling as the kernels read them."""
    places = indices if isinstance(indices, np.ndarray) else None
    if places is None and hasattr(indices, "__dlpack__"):
        places = np.from_dlpack(indices)
    if places is None:
        raise TypeError(f"indices is a {type(indices).__name__}: expected an int64 array")
    if places.dtype != np.int64:
        raise TypeError(f"indices has dtype {places.dtype}: expected int64")
    return as_kernels_read(places)


def pool(
    name: str,
    x: Any,
    kernel: PairLike,
    stride: PairLike | None,
    padding: PaddingLike,
    dilation: PairLike,
    ceil_mode: bool,
    count: int,
    out: Any = None,
    return_indices: bool = False,
) -> Any:
    """What max_pool2d and avg_pool2d have in common: all but the kernel."""
    round_up = flag("ceil_mode", ceil_mode)
    (data, target), leave = enter(x=x, out=out)
    image = images("x", data)
    n, c, h, w = image.shape
    made = windows((h, w), kernel, stride, padding, dilation, round_up)
    shape = (*data.shape[:-2], *made.size)
    if math.prod(shape) * data.itemsize > MOST_BYTES:
        raise ValueError(f"result of shape {shape}: more than can be addressed")
    y = result_array(shape, data, target, x=data)
    problem = operator_problem(
        data.dtype,
        (n, c, h, w),
        (c, *made.size),
        made.window,
        made.stride,
        made.padding,
        count,
        made.dilation,
    )
    places = np.empty(shape, np.int64) if return_indices else None
    work = n * c * h * w
    run_operator(name, problem, image, images("out", y), work=work, indices=places)
    answer = leave(y) if out is None else out
    return answer if places is None else (answer, leave(places))
