"""Measuring a call: is it right, how long does it take, and how sure is that.

Check the result, then time it: `error_in_eps` holds an answer to sums in float64 at a sample of
places. `time_call` times one call by repetition; `compare_calls` times several in shuffled order,
so that what the machine does meanwhile falls on all alike. A median comes with the interval in
which resampling (bootstrap: Efron, 1979) finds it 95 times of 100.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convkit.machine import this_machine
from convkit.plan import plan
from convkit.problem import ConvProblem

Call = Callable[[], object]
#: How numpy.pad calls the padding modes.
PAD_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds a call: the median over the rounds, and the fastest and slowest round."""

    median: float
    fastest: float
    slowest: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds a call: the median over the rounds and its interval of 95 % confidence."""

    median: float
    low: float
    high: float
    rounds: int

    def overlaps(self, other: Spread) -> bool:
        """Whether the two cannot be told apart."""
        return self.low <= other.high and other.low <= self.high


def time_call(call: Call, *, seconds: float = 0.2, rounds: int = 9) -> Timing:
    """Call for about `seconds` in all, in `rounds` rounds of equal length, after two warm calls.

    Examples
    --------
    >>> from convkit.bench.measure import time_call
    >>> time_call(lambda: None, seconds=0.01).median < 0.01
    True
    """
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    repeats = max(1, round(seconds / rounds / once))
    each = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        each.append((time.perf_counter() - start) / repeats)
    return Timing(statistics.median(each), min(each), max(each))


def spread(samples: list[float], *, resamples: int = 400) -> Spread:
    """The median of the samples and its bootstrap interval; the same for the same samples.

    Examples
    --------
    >>> from convkit.bench.measure import spread
    >>> spread([2.0, 2.0, 2.0, 2.0, 9.0])
    Spread(median=2.0, low=2.0, high=9.0, rounds=5)
    """
    values = np.asarray(samples)
    drawn = np.random.default_rng(0).integers(0, len(values), (resamples, len(values)))
    medians = np.median(values[drawn], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975], method="nearest")
    return Spread(float(np.median(values)), float(low), float(high), len(values))


def compare_calls(
    calls: Mapping[str, Call],
    *,
    rounds: int = 9,
    seconds: float = 4e-3,
    pause: float = 3e-3,
    before: Call | None = None,
    most: float = float("inf"),
    seed: int = 0,
) -> dict[str, Spread]:
    """Time several calls in `rounds` rounds, in each of them all once, in shuffled order.

    Warm (no `before`): after a `pause`, in which whoever ran before stops spinning, and an untimed
    call, the call is repeated for about `seconds`. Cold: `before` sweeps the caches, then the call
    is timed once. Rounds end early, but not before three, once all of this took `most` seconds.
    """
    repeats = dict.fromkeys(calls, 1)
    start = time.perf_counter()
    for name, call in calls.items():
        call()
        if before is None:
            first = time.perf_counter()
            call()
            once = max(time.perf_counter() - first, 1e-7)
            repeats[name] = max(1, round(seconds / once))
    dice = random.Random(seed)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        if turn >= 3 and time.perf_counter() - start > most:
            break
        for name, call in dice.sample(list(calls.items()), len(calls)):
            if pause:
                time.sleep(pause)
            if before is None:
                call()
            else:
                before()
            first = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            samples[name].append((time.perf_counter() - first) / repeats[name])
    return {name: spread(each) for name, each in samples.items()}


def sweeper(*keep: NDArray[np.generic]) -> Call:
    """A call that pushes everything out of the caches but the arrays in `keep`.

    Inside a network, the weights were last used an image ago, while the layer before has just
    written x: so x is read once after the sweep. So is what every call runs through, the
    interpreter above all, by a call of its own: cold are the layer's weights, code and output.
    """
    last_level = this_machine().caches[-1][0] if this_machine().caches else 1 << 25
    other = np.ones(max(2 * last_level, 1 << 25) // 8, np.int64)
    tiny = plan((1, 1, 8, 8), np.ones((1, 1, 1, 1), np.float32))
    image, out = np.ones((1, 1, 8, 8), np.float32), np.empty((1, 1, 8, 8), np.float32)

    def sweep() -> None:
        other.max()
        for array in keep:
            array.max()
        for _ in range(3):
            tiny(image, out=out)

    return sweep


def error_in_eps(
    y: NDArray[np.generic],
    x: NDArray[np.generic],
    w: NDArray[np.generic],
    problem: ConvProblem,
    bias: NDArray[np.generic] | None = None,
    *,
    places: int = 64,
    seed: int = 0,
) -> float:
    """The largest error in eps of the largest sum of |x| |w|, at `places` pixels of all filters.

    Sums are NumPy's in float64, from the definition. The corners are always among the places;
    an answer that holds a NaN there is infinitely wrong.
    """
    n, p, q, groups = len(y), problem.p, problem.q, problem.groups
    dice = np.random.default_rng(seed)
    corners = [(i, a, b) for i in (0, n - 1) for a in (0, p - 1) for b in (0, q - 1)]
    others = zip(*(dice.integers(0, size, places).tolist() for size in (n, p, q)), strict=True)
    at = np.array([*corners, *others])
    i, a, b = at[:, 0], at[:, 1], at[:, 2]
    rows = a[:, None] * problem.stride[0] + np.arange(problem.r) * problem.dilation[0]
    columns = b[:, None] * problem.stride[1] + np.arange(problem.s) * problem.dilation[1]
    row_of, row_in = _inside(problem.h, problem.padding[:2], problem.padding_mode)
    column_of, column_in = _inside(problem.w, problem.padding[2:], problem.padding_mode)
    taken = x[
        i[:, None, None, None],
        np.arange(problem.c)[None, :, None, None],
        row_of[rows][:, None, :, None],
        column_of[columns][:, None, None, :],
    ].astype(np.float64)
    taken *= (row_in[rows][:, :, None] & column_in[columns][:, None, :])[:, None]
    taken = taken.reshape(len(at), groups, -1)
    filters = w.astype(np.float64).reshape(groups, problem.k // groups, -1)
    sums = np.einsum("agd,gkd->agk", taken, filters, optimize=True).reshape(len(at), -1)
    sizes = np.einsum("agd,gkd->agk", abs(taken), abs(filters), optimize=True)
    sizes = sizes.reshape(len(at), -1)
    if bias is not None:
        sums, sizes = sums + bias, sizes + abs(bias)
    wrong = abs(y[i, :, a, b] - sums).max()
    eps = float(np.finfo(problem.dtype).eps)
    return float(wrong / sizes.max() / eps) if np.isfinite(wrong) else float("inf")


def _inside(
    size: int, pads: tuple[int, ...], mode: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each place of a padded axis, the place of x that is read, and whether it counts."""
    places = np.pad(np.arange(size), pads, mode=PAD_MODES[mode])  # type: ignore[call-overload]
    counts = np.pad(np.ones(size, bool), pads, constant_values=mode != "zeros")
    return places, counts
