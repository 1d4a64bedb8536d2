"""Normalization: by stored statistics, by the neighbouring channels, by the image itself."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from convkit.backends import enter
from convkit.epilogue import ActivationLike
from convkit.epilogue import activation as activation_of
from convkit.operators.native import (
    check_vector,
    images,
    operator_problem,
    real_number,
    require,
    run_operator,
)
from convkit.problem import integer

#: The caller's kind of array.
Kind = TypeVar("Kind")


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
    eps = real_number("eps", eps)
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps={eps} must be at least 0 and finite")
    require(mean=mean, var=var)
    (data, mean, var, weight, bias), leave = enter(
        x=x, mean=mean, var=var, weight=weight, bias=bias
    )
    if data.ndim not in (2, 4):
        raise ValueError(f"x has shape {data.shape}: expected (n, c, h, w) or (n, c)")
    c = data.shape[1]
    for name, vector in (("mean", mean), ("var", var), ("weight", weight), ("bias", bias)):
        check_vector(name, vector, c)
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
        problem = operator_problem(data.dtype, images[0].shape, images[0].shape[1:])
        run_operator(
            "batch_norm", problem, images[0], images[1], weights=weights, activation=chosen
        )
    answer: Kind = leave(y)
    return answer


def local_response_norm(
    x: Kind, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Kind:
    """x / (k + alpha / size sum of squares of `size` neighbouring channels)^beta.

    Channel c looks at the channels from c - floor(size / 2) on, as PyTorch's does; those that are
    not there count as zero.

    Parameters
    ----------
    x : (n, c, h, w) or (c, h, w) float32 or float64
    size : int
    alpha, beta, k : float
        Finite; alpha and k not negative.

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
    >>> x = np.full((3, 1, 1), 2, np.float32)
    >>> convkit.local_response_norm(x, 3, alpha=3, beta=1, k=0).ravel()
    array([0.25      , 0.16666667, 0.25      ], dtype=float32)
    """
    size = integer("size", size, least=1)
    return neighbour_norm(x, size // 2, (size - 1) // 2, alpha=alpha, beta=beta, k=k)


def neighbour_norm(
    x: Kind, before: int, after: int, *, alpha: float, beta: float, k: float
) -> Kind:
    """local_response_norm over so many channels before and after."""
    numbers = [real_number(name, v) for name, v in (("alpha", alpha), ("beta", beta), ("k", k))]
    for name, value in zip(("alpha", "beta", "k"), numbers, strict=True):
        if not math.isfinite(value) or (value < 0 and name != "beta"):
            least = "" if name == "beta" else "at least 0 and "
            raise ValueError(f"{name}={value} must be {least}finite")
    (data,), leave = enter(x=x)
    image = images("x", data, least_axes=3)
    n, c, h, w = image.shape
    y = np.empty_like(data, subok=False)
    # One row as csrc/operators/local_response_norm.cpp reads it.
    weights = np.array([numbers[0] / (before + 1 + after), *numbers[1:]], data.dtype)
    sides = (before, after, 0, 0)
    problem = operator_problem(data.dtype, (n, c, h, w), (c, h, w), padding=sides)
    run_operator("local_response_norm", problem, image, images("y", y), weights=weights)
    answer: Kind = leave(y)
    return answer


def instance_norm(
    x: Kind,
    weight: Any = None,
    bias: Any = None,
    *,
    eps: float = 1e-5,
    activation: ActivationLike = None,
) -> Kind:
    """(x - mean) / sqrt(var + eps) weight + bias by each image's own channels. Internal."""
    chosen = activation_of(activation)
    eps = real_number("eps", eps)
    (data, weight, bias), leave = enter(x=x, weight=weight, bias=bias)
    image = images("x", data, least_axes=3)
    n, c, h, w = image.shape
    for name, vector in (("weight", weight), ("bias", bias)):
        check_vector(name, vector, c)
    y = np.empty_like(data, subok=False)
    weights = np.concatenate(
        [
            np.ones(c, data.dtype) if weight is None else weight,
            np.zeros(c, data.dtype) if bias is None else bias,
            np.array([eps], data.dtype),
        ]
    )
    problem = operator_problem(data.dtype, (n, c, h, w), (c, h, w))
    y4 = images("y", y)
    run_operator("instance_norm", problem, image, y4, weights=weights, activation=chosen)
    answer: Kind = leave(y)
    return answer
