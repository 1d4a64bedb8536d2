"""What measurements add to the formulas of `ALGORITHMS`: seconds = formula * e^f(phi).

A formula reckons with work, bytes and the `Machine`. What it leaves out (tails of vectors, calls,
what the caches hold beside) differs between algorithms and would decide close races. So
`python -m bench calibrate` measures layers and fits, for each algorithm and instruction set, a
quadratic f by ridge regression of log(measured / formula). phi are logarithms of sizes of one
image, brought to mean 0 and deviation 1; where a problem lies outside of what was measured, it is
moved to the border first. The file holds coefficients and borders: no shapes.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convkit import _convkit
from convkit.machine import Machine
from convkit.problem import ConvProblem

FILE = Path(__file__).with_name("coefficients.json")
#: No correction is larger, up or down: what would be is a formula to mend.
MOST = math.log(6.0)


class Fit(NamedTuple):
    """f of one algorithm: where phi was measured, and the coefficients of `terms`."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    theta: NDArray[np.float64]

    def terms(self, phi: NDArray[np.float64]) -> NDArray[np.float64]:
        """1, phi and the products of any two, for one or many phi (last axis)."""
        z = (np.clip(phi, self.low, self.high) - self.mean) / self.deviation
        first, second = np.triu_indices(z.shape[-1])
        ones = np.ones((*z.shape[:-1], 1))
        return np.concatenate([ones, z, z[..., first] * z[..., second]], axis=-1)


def _filled(count: int, width: int) -> float:
    return count / (-(-count // width) * width)


def features(problem: ConvProblem, machine: Machine, formula: float) -> tuple[float, ...]:
    """phi: what the error of a formula may depend on, for one image."""
    log = math.log2
    lanes = machine.lanes // (2 if problem.dtype == "float64" else 1)
    channels, filters = problem.c // problem.groups, problem.k // problem.groups
    taps, pixels = problem.r * problem.s, problem.p * problem.q
    nearest = machine.caches[1][0] if len(machine.caches) > 1 else 1 << 20
    weights = problem.k * channels * taps * problem.itemsize / nearest
    image = problem.c * problem.h * problem.w * problem.itemsize / nearest
    answer = problem.k * pixels * problem.itemsize / nearest
    short = max(0.0, log(1e-4 / formula))  # calls of less than 0.1 ms
    return (
        short,
        log(channels),
        log(filters),
        max(0.0, 5 - log(filters)),
        max(0.0, 4 - log(channels)),
        log(pixels),
        max(0.0, 8 - log(pixels)),
        log(taps),
        float(taps == 1),
        float(problem.r == problem.s and 1 < problem.r <= 7),  # unrolled in most kernels
        log(_filled(problem.q, lanes)),
        log(_filled(pixels, lanes)),
        log(_filled(filters, lanes)),
        max(0.0, log(weights) + 3),
        max(0.0, log(image) + 3),
        max(0.0, log(answer) + 3),
        float(max(problem.stride) > 1),
        float(problem.groups > 1),
        float(any(problem.padding)),
        log(problem.q / problem.p),
    )


def factor(name: str, problem: ConvProblem, machine: Machine, formula: float) -> float:
    """By what the formula's seconds are multiplied; 1 where nothing was measured."""
    fit = _fit(machine.name, _convkit.current_isa(), name)
    if fit is None:
        return 1.0
    total = float(fit.terms(np.array(features(problem, machine, formula))) @ fit.theta)
    return math.exp(min(max(total, -MOST), MOST))


@lru_cache(maxsize=256)
def _fit(machine: str, isa: str, name: str) -> Fit | None:
    """Of this processor, or else of the first in the file that was measured with this ISA."""
    known = _file()
    for each in (machine, *known):
        rows = known.get(each, {}).get(isa)
        if rows is not None:
            return Fit(**{k: np.array(v) for k, v in rows[name].items()}) if name in rows else None
    return None


@lru_cache(maxsize=1)
def _file() -> dict[str, dict[str, dict[str, dict[str, list[float]]]]]:
    if not FILE.exists():
        return {}
    found: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = json.loads(
        FILE.read_text(encoding="utf-8")
    )
    return found


def reload() -> None:
    """Read the file again; choices made before stay in `select.choose`'s cache until cleared."""
    _file.cache_clear()
    _fit.cache_clear()
