"""conv2d: plan and call in one."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import numpy as np

from convkit import _convkit
from convkit.backends import enter
from convkit.epilogue import ActivationLike
from convkit.epilogue import activation as parse_activation
from convkit.plan import (
    as_kernels_read,
    check_bias,
    check_flip,
    check_out,
    compute,
)
from convkit.problem import PaddingLike, PairLike
from convkit.select import decide, four_weights, request

Floating = TypeVar("Floating", np.float32, np.float64)


@overload
def conv2d(
    x: np.ndarray[Any, np.dtype[Floating]],
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
    residual: Any = None,
    precision: str = "high",
    invariant: bool | None = None,
    max_workspace: int | None = None,
    out: Any = None,
) -> np.ndarray[Any, np.dtype[Floating]]: ...
@overload
def conv2d(
    x: Any,
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
    residual: Any = None,
    precision: str = "high",
    invariant: bool | None = None,
    max_workspace: int | None = None,
    out: Any = None,
) -> Any: ...
def conv2d(
    x: Any,
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
    residual: Any = None,
    precision: str = "high",
    invariant: bool | None = None,
    max_workspace: int | None = None,
    out: Any = None,
) -> Any:
    """Convolve images with filters, as deep learning does: cross-correlation, filters not flipped.

    y[n, k, p, q] = activation(bias[k] + residual[n, k, p, q] + sum over c, r, s of
    w[k, c, r, s] x[n, c, p u + r d, q u + s d]), x padded, u the stride, d the dilation.

    Parameters
    ----------
    x : (n, c, h, w), (c, h, w) or (h, w) float32 or float64
        NumPy's or any other CPU array with DLPack; any strides.
    w : (k, c / groups, r, s), or (r, s) where x is (h, w)
    bias : (k,), optional
    stride, dilation : int or (vertical, horizontal)
    padding : int, (vertical, horizontal), ((top, bottom), (left, right)), "valid", "same" or "full"
        "same": ceil(size / stride) outputs, the extra row or column at the bottom right;
        "full": every overlap.
    padding_mode : "zeros", "reflect", "symmetric", "replicate" or "circular"
    groups : int
        Filters k / groups apart see c / groups channels apart.
    flip : bool
        Rotate the filters by 180 degrees: the convolution of mathematics and of SciPy.
    algo : "auto" or a name out of `convkit.algorithms()`
    activation : None, a name or (name, parameters...)
        "relu", "relu6", ("leaky_relu", 0.01), ("clip", lo, hi), ("elu", 1.0),
        ("hardsigmoid", 1/6, 0.5), "sigmoid", "tanh", "hardswish", "silu", "gelu".
    residual : array like y, optional
        Added before the activation.
    precision : "highest", "high" or "medium"
        "highest": only algorithms with the error of a direct sum.
    invariant : None, True or False
        Unless False, an image's result has the same bits in any batch.
    max_workspace : int, optional
        Bytes that packed weights and one thread's scratch may take.
    out : array like y, optional
        Written in place and returned; may be `residual`, overlaps no other input.

    Returns
    -------
    (n, k, p, q) array, or with as few axes as x; of the kind of x

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit, before any work; out is untouched.
    MemoryError
        Where the answer and the workspace are more than the machine's memory.

    Examples
    --------
    >>> import numpy as np, convkit
    >>> image = np.zeros((6, 6), np.float32)
    >>> image[:, :3] = 10
    >>> edges = np.array([[1, 0, -1]] * 3, np.float32)
    >>> convkit.conv2d(image, edges)
    array([[ 0., 30., 30.,  0.],
           [ 0., 30., 30.,  0.],
           [ 0., 30., 30.,  0.],
           [ 0., 30., 30.,  0.]], dtype=float32)
    """
    chosen_activation = parse_activation(activation)
    asked = request(algo, precision, invariant, max_workspace)
    check_flip(flip)
    (x, w, bias, residual, target), leave = enter(x=x, w=w, bias=bias, residual=residual, out=out)
    problem, algorithm, numbers = decide(
        x.shape, w, asked, True, stride=stride, padding=padding,
        padding_mode=padding_mode, dilation=dilation, groups=groups,
    )  # fmt: skip
    check_bias(bias, problem)
    y_shape = (problem.n, problem.k, problem.p, problem.q)[4 - x.ndim :]
    if residual is not None and residual.shape != y_shape:
        raise ValueError(f"residual has shape {residual.shape}: expected {y_shape} as y has")
    if target is not None:
        check_out(target, y_shape, x=x, w=w, bias=bias, residual=residual)
    # Packed here and now, so the caller's own weights serve where a kernel can read them.
    once = _convkit.Plan(
        algorithm, numbers, as_kernels_read(four_weights(w, flip)),
        None if bias is None else as_kernels_read(bias), *chosen_activation, -1,
        asked.max_workspace,
    )  # fmt: skip
    y = compute(once, x, residual, target, y_shape)
    return out if out is not None else leave(y)
