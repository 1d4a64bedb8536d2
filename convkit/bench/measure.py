"""Timing: how long a call takes, by repeated calls and their median."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds a call: the median over the rounds, and the fastest and slowest round."""

    median: float
    fastest: float
    slowest: float


def time_call(call: Callable[[], object], *, seconds: float = 0.2, rounds: int = 9) -> Timing:
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
