"""Sums and activations, element by element."""

from __future__ import annotations

from typing import Any, TypeVar

from convkit.backends import Array, enter
from convkit.epilogue import Activation, ActivationLike
from convkit.epilogue import activation as activation_of
from convkit.operators.native import (
    joined_axes,
    operator_problem,
    require,
    result_array,
    run_operator,
    same_memory,
)

#: The caller's kind of array.
Kind = TypeVar("Kind")


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
    require(y=y)
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


def _elementwise(x: Array, y: Array | None, activation: Activation, out: Array | None) -> Array:
    """activation(x + y) in as few calls of the kernel as the strides allow."""
    inputs = [x] if y is None else [x, y]
    # Each element is read before it is written: out may be an input itself.
    apart = {
        name: a
        for name, a in (("x", x), ("y", y))
        if a is not None and out is not None and not same_memory(out, a)
    }
    result = result_array(x.shape, x, out, **apart)
    if x.size == 0:
        return result
    # Elements in the order of the result's memory, wherever the axes stand.
    order = sorted(range(x.ndim), key=lambda axis: -abs(result.strides[axis]))
    views = [array.transpose(order) for array in (*inputs, result)]
    for part in joined_axes(views, keep_last=False, axes=4):
        problem = operator_problem(x.dtype, part[0].shape, part[0].shape[1:])
        residual = None if y is None else part[1]
        run_operator(
            "activation", problem, part[0], part[-1], residual=residual, activation=activation
        )
    return result
