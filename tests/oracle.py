"""The oracle: convolutions by SciPy in float64, and the error that an answer may have against it.

Always `method="direct"`: "auto" may pick an FFT and share our mistakes. `test_oracle.py` holds this
file to six plain loops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import signal, special

from convkit.problem import ConvProblem

NUMPY_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
}


def padded(x: np.ndarray, problem: ConvProblem) -> np.ndarray:
    """x with its padding, in float64."""
    top, bottom, left, right = problem.padding
    sides = ((0, 0), (0, 0), (top, bottom), (left, right))
    return np.pad(np.asarray(x, np.float64), sides, mode=NUMPY_MODES[problem.padding_mode])


def spread(w: np.ndarray, problem: ConvProblem) -> np.ndarray:
    """w in float64, zero-stuffed for the dilation."""
    k, channels, r, s = w.shape
    down, across = problem.dilation
    stuffed = np.zeros((k, channels, (r - 1) * down + 1, (s - 1) * across + 1))
    stuffed[:, :, ::down, ::across] = w
    return stuffed


def correlate(x: np.ndarray, w: np.ndarray, problem: ConvProblem) -> np.ndarray:
    """Sums over the windows of x (n, c, h, w) by filters w (k, c / groups, r, s), in float64."""
    images, filters = padded(x, problem), spread(w, problem)
    channels, per_group = problem.c // problem.groups, problem.k // problem.groups
    sums = np.empty((x.shape[0], problem.k, problem.p, problem.q))
    for image in range(x.shape[0]):
        for k in range(problem.k):
            first = k // per_group * channels
            windows = signal.correlate(
                images[image, first : first + channels], filters[k], mode="valid", method="direct"
            )
            sums[image, k] = windows[0, :: problem.stride[0], :: problem.stride[1]]
    return sums


def oracle(
    x: np.ndarray,
    w: np.ndarray,
    problem: ConvProblem,
    bias: np.ndarray | None = None,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """What a convolution must give before its activation, in float64."""
    return with_epilogue(correlate(x, w, problem), bias, residual)


def magnitude(
    x: np.ndarray,
    w: np.ndarray,
    problem: ConvProblem,
    bias: np.ndarray | None = None,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """conv(|x|, |w|) + |bias| + |residual|: what rounding errors are measured against."""
    sums = correlate(np.abs(x), np.abs(w), problem)
    return with_epilogue(sums, *(None if a is None else np.abs(a) for a in (bias, residual)))


def with_epilogue(
    sums: np.ndarray, bias: np.ndarray | None, residual: np.ndarray | None
) -> np.ndarray:
    """sums + bias + residual in float64."""
    if bias is not None:
        sums = sums + np.asarray(bias, np.float64)[:, None, None]
    if residual is not None:
        sums = sums + np.asarray(residual, np.float64)
    return sums


def activated(
    sums: np.ndarray, activation: str | Sequence[str | float] | None
) -> tuple[np.ndarray, float]:
    """activation(sums) in float64, and the most by which it stretches an error of its argument."""
    name, *given = (
        (activation,) if activation is None or isinstance(activation, str) else activation
    )
    v = np.asarray(sums, np.float64)
    match name:
        case None:
            return v, 1.0
        case "relu":
            return np.maximum(v, 0), 1.0
        case "relu6":
            return np.minimum(np.maximum(v, 0), 6), 1.0
        case "clip":
            return np.minimum(np.maximum(v, given[0]), given[1]), 1.0
        case "leaky_relu":
            (slope,) = given or (0.01,)
            return np.where(v < 0, slope * v, v), max(1.0, abs(slope))
        case "elu":
            (alpha,) = given or (1.0,)
            return np.where(v < 0, alpha * np.expm1(np.minimum(v, 0)), v), max(1.0, abs(alpha))
        case "hardsigmoid":
            slope, shift = given or (1 / 6, 0.5)
            return np.minimum(np.maximum(slope * v + shift, 0), 1), abs(slope)
        case "sigmoid":
            return special.expit(v), 0.25
        case "tanh":
            return np.tanh(v), 1.0
        case "hardswish":
            return v * np.minimum(np.maximum(v + 3, 0), 6) / 6, 1.5
        case "silu":
            return v * special.expit(v), 1.1
        case "gelu":
            return v * special.erfc(-v / math.sqrt(2)) / 2, 1.13
        case _:
            raise ValueError(f"activation={activation!r}: the oracle does not know it")


def assert_within(got: np.ndarray, expected: np.ndarray, bound: np.ndarray | float) -> None:
    """|got - expected| <= bound everywhere; a NaN on either side fails, and so does an Inf."""
    assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - expected)
        good = error <= bound
    if good.all():
        return
    at = tuple(int(i) for i in np.argwhere(~good)[0])
    allowed = np.broadcast_to(bound, error.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nanmax(np.where(good, 0, error / allowed), initial=0)
    raise AssertionError(
        f"{int((~good).sum())} of {good.size} wrong, up to {ratio:.3g} times the bound; first at "
        f"{at}: got {got[at]!r}, expected {expected[at]!r} within {allowed[at]:.3g}"
    )
