"""Epilogue: what is done to a sum before it is stored: bias, residual, activation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from convkit.problem import one_of

ActivationLike = str | Sequence[str | float] | None


class ActivationRow(NamedTuple):
    """A kernel's activation number, the names of its parameters and what a bare name takes."""

    kind: int
    parameters: tuple[str, ...] = ()
    defaults: tuple[float, ...] = ()
    fixed: tuple[float, ...] = ()


#: Numbers as in csrc/kernel.h.
ACTIVATIONS: dict[str, ActivationRow] = {
    "relu": ActivationRow(1),
    "relu6": ActivationRow(2, fixed=(0.0, 6.0)),
    "clip": ActivationRow(2, ("lo", "hi")),
    "leaky_relu": ActivationRow(3, ("slope",), (0.01,)),
    "elu": ActivationRow(4, ("alpha",), (1.0,)),
    "hardsigmoid": ActivationRow(5, ("slope", "shift"), (1 / 6, 0.5)),
    "sigmoid": ActivationRow(6),
    "tanh": ActivationRow(7),
    "hardswish": ActivationRow(8),
    "silu": ActivationRow(9),
    "gelu": ActivationRow(10),
}


class Activation(NamedTuple):
    """An activation as the kernels read it: its number and two parameters."""

    kind: int
    a: float = 0.0
    b: float = 0.0


IDENTITY = Activation(0)


def activation(value: ActivationLike) -> Activation:
    """Validate None, a name or (name, parameters...)."""
    if value is None:
        return IDENTITY
    name: object
    given: tuple[object, ...]
    if isinstance(value, str):
        name, given = value, ()
    elif isinstance(value, (tuple, list)) and value:
        name, given = value[0], tuple(value[1:])
    else:
        raise TypeError(f"activation={value!r} must be None, a name or (name, parameters...)")
    row = ACTIVATIONS[one_of("activation", name, tuple(ACTIVATIONS))]  # type: ignore[arg-type]
    wanted = len(row.parameters)
    if (given or not row.defaults) and len(given) != wanted:
        need = f"({name!r}, {', '.join(row.parameters)})" if wanted else f"{name!r} alone"
        raise ValueError(f"activation={value!r} must be {need}")
    numbers = []
    for parameter, number in zip(row.parameters, given or row.defaults, strict=True):
        if isinstance(number, bool) or not hasattr(number, "__float__"):
            raise TypeError(f"activation={value!r}: {parameter}={number!r} must be a number")
        numbers.append(float(number))
        if math.isnan(numbers[-1]):
            raise ValueError(f"activation={value!r}: {parameter} must not be NaN")
    if name == "clip" and numbers[0] > numbers[1]:
        raise ValueError(f"activation={value!r}: lo must be at most hi")
    return Activation(row.kind, *(numbers or row.fixed))
