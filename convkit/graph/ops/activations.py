"""The activations in NumPy, by the definitions of csrc/kernel.h."""

from __future__ import annotations

import math

import numpy as np

from convkit.epilogue import ActivationLike, activation
from convkit.graph.ops.row import Array

_erf = np.vectorize(math.erf, otypes=[np.float64])


def activated(x: Array, value: ActivationLike) -> Array:
    """activation(x)."""
    kind, a, b = activation(value)
    with np.errstate(over="ignore", invalid="ignore"):
        if kind == 1:
            return np.maximum(x, 0)
        if kind == 2:
            return np.clip(x, a, b)
        if kind == 3:
            return np.where(x < 0, a * x, x)
        if kind == 4:
            return np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x)
        if kind == 5:
            return np.clip(a * x + b, 0, 1)
        if kind == 6:
            return np.asarray(1 / (1 + np.exp(-x)))
        if kind == 7:
            return np.tanh(x)
        if kind == 8:
            return np.asarray(x * np.clip(x + 3, 0, 6) / 6)
        if kind == 9:
            return np.asarray(x / (1 + np.exp(-x)))
        if kind == 10:
            return np.asarray(x * (1 + _erf(x / math.sqrt(2))) / 2)
    return x
