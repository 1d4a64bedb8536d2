"""Tuning: the algorithm of a convolution by measurement instead of by predicted cost.

Every algorithm with a kernel for the node's layouts computes one image on one thread, its weights
and arrays pushed out of the caches before each call, as the rest of a network does. Neither batch
nor threads play a part, so a tuned network gives an image the same bits in any batch.
"""

from __future__ import annotations

import statistics
from collections.abc import MutableMapping
from typing import Any

import numpy as np

from convkit import _convkit
from convkit.backends import Array
from convkit.epilogue import Activation
from convkit.graph.choice import candidates, kernel_fields
from convkit.graph.ir import Value
from convkit.machine import this_machine
from convkit.problem import ConvProblem
from convkit.select import Request

#: Algorithms by what they were measured for: the numbers of a problem, its epilogue, what was
#: asked, and the instruction set.
Tuned = MutableMapping[Any, str]
#: Calls of each algorithm; the median counts.
ROUNDS = 5
#: What is predicted to take this many times the least is not tried.
HOPELESS = 4.0
#: Bytes that push everything else out of a core's own caches.
SWEEP = 8 << 20


def fastest(
    tuned: Tuned,
    problem: ConvProblem,
    x: Value,
    y: Value,
    asked: Request,
    w: Array,
    bias: Array | None,
    activation: Activation,
    residual: bool,
) -> str | None:
    """The algorithm that takes least time; measured once and remembered in `tuned`."""
    fields = kernel_fields(problem, x.block, y.block)
    key = (fields, activation, residual, asked, _convkit.current_isa(), this_machine().name)
    if key not in tuned:
        found = candidates(problem, x.block, y.block, asked, w)
        if not found:
            return None
        least = min(each.seconds for each in found)
        names = [each.algorithm for each in found if each.seconds <= HOPELESS * least]
        if len(names) > 1:
            plans = {
                name: _convkit.Plan(name, fields, w, bias, *activation, -1, asked.max_workspace)
                for name in names
            }
            seconds = _measured(plans, x, y, residual)
            names.sort(key=seconds.__getitem__)
        tuned[key] = names[0]
    return tuned[key]


def _measured(
    plans: dict[str, _convkit.Plan], x: Value, y: Value, residual: bool
) -> dict[str, float]:
    """Median seconds of each plan on one image of random numbers."""
    from convkit.graph.lower import default_strides, elements

    one_x = Value(x.name, (1, *x.sizes[1:]), x.dtype, x.block)
    one_y = Value(y.name, (1, *y.sizes[1:]), y.dtype, y.block)
    rng = np.random.default_rng(0)
    image, added = (
        rng.standard_normal(elements(v), dtype=np.float32).astype(v.dtype) for v in (one_x, one_y)
    )
    result, sweep = np.empty(elements(one_y), y.dtype), np.zeros(SWEEP // 8)
    y_strides = default_strides(one_y)
    strides = (*default_strides(one_x), *(y_strides if residual else (0, 0, 0, 0)), *y_strides)
    programs = {
        name: _convkit.Program(
            [
                (
                    plan, 1, strides, (2, 0, 0), (2, 1, 0) if residual else None, (3, 0, 0),
                    None, None, None, (),
                )
            ],
            [],
            0,
        )
        for name, plan in plans.items()
    }  # fmt: skip
    taken: dict[str, list[float]] = {name: [] for name in plans}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            sweep += 1
            (seconds,) = program.profile([image, added], [result], 1)
            taken[name].append(seconds)
    return {name: statistics.median(each) for name, each in taken.items()}
