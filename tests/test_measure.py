"""How calls are timed, on a clock that only the call moves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cases import CASES
from oracle import correlate, magnitude

from convkit.bench import measure


class Clock:
    """Seconds that pass in calls alone, as long as the given ones, the last again and again."""

    def __init__(self, *seconds: float) -> None:
        self.now = 0.0
        self.calls = 0
        self.seconds = itertools.chain(seconds, itertools.repeat(seconds[-1]))

    def call(self) -> None:
        self.calls += 1
        self.now += next(self.seconds)


@pytest.fixture
def clock(request, monkeypatch):
    clock = Clock(*request.param)
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock.now)
    return clock


@pytest.mark.parametrize("clock", [(5.0, 0.25)], indirect=True)
def test_the_first_call_is_no_part_of_the_time(clock):
    timing = measure.time_call(clock.call, seconds=9.0, rounds=9)
    assert timing == measure.Timing(median=0.25, fastest=0.25, slowest=0.25)
    assert clock.calls == 2 + 9 * 4


@pytest.mark.parametrize("clock", [(1.0, 1.0, 2.0, 8.0, 4.0)], indirect=True)
def test_median_fastest_and_slowest_round(clock):
    timing = measure.time_call(clock.call, seconds=0.001, rounds=3)
    assert timing == measure.Timing(median=4.0, fastest=2.0, slowest=8.0)
    assert clock.calls == 2 + 3


@pytest.mark.parametrize("clock", [(0.0,)], indirect=True)
def test_call_too_short_to_see_ends(clock):
    assert measure.time_call(clock.call, seconds=1e-5, rounds=2).median == 0
    assert clock.calls == 2 + 2 * 50


def test_spread_holds_the_median_and_repeats():
    samples = list(np.random.default_rng(0).normal(5, 1, 25))
    found = measure.spread(samples)
    assert found == measure.spread(samples)
    assert found.rounds == 25
    assert min(samples) < found.low < found.median < found.high < max(samples)
    wide = measure.spread(list(np.random.default_rng(0).normal(5, 3, 25)))
    assert wide.high - wide.low > found.high - found.low


def test_spread_holds_the_true_median_mostly():
    """Of 25 draws of a skewed distribution, again and again."""
    dice = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        found = measure.spread(list(dice.exponential(1.0, 25)))
        held += found.low <= np.log(2) <= found.high
    assert 0.85 < held / 200 <= 1.0


def test_spreads_overlap_or_not():
    first, second = measure.Spread(2, 1, 3, 9), measure.Spread(4, 3, 5, 9)
    third = measure.Spread(4, 3.5, 5, 9)
    assert first.overlaps(second)
    assert second.overlaps(first)
    assert not first.overlaps(third)
    assert not third.overlaps(first)


@pytest.mark.parametrize("clock", [(1.0,)], indirect=True)
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
def test_calls_are_compared_in_shuffled_order(clock, cold):
    order = []

    def call(name, seconds):
        order.append(name)
        clock.now += seconds

    calls = {name: lambda name=name, s=s: call(name, s) for name, s in (("a", 1.0), ("b", 2.0))}
    before = (lambda: order.append("sweep")) if cold else None
    found = measure.compare_calls(calls, rounds=40, seconds=1e-3, pause=0, before=before)
    assert [(each.median, each.low, each.high) for each in found.values()] == [
        (1.0, 1.0, 1.0),
        (2.0, 2.0, 2.0),
    ]
    if cold:
        assert order[:2] == ["a", "b"]
        assert order[2::2] == ["sweep"] * 80
        turns = order[3::2]
    else:
        assert order[:4] == ["a", "a", "b", "b"]
        turns = order[4::2]
        assert turns == order[5::2]  # each timed call after an untimed one
    rounds = list(zip(turns[::2], turns[1::2], strict=True))
    assert len(rounds) == 40
    assert set(rounds) == {("a", "b"), ("b", "a")}


@pytest.mark.parametrize("clock", [(1.0,)], indirect=True)
def test_rounds_end_when_the_time_is_over(clock):
    found = measure.compare_calls({"a": clock.call}, rounds=50, pause=0, most=9.0)
    assert found["a"].rounds == 4


def test_sweeper_runs_and_keeps_what_it_reads():
    kept = np.arange(12.0)
    measure.sweeper(kept)()
    np.testing.assert_array_equal(kept, np.arange(12.0))


@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: case.name)
def test_error_agrees_with_the_oracle(case):
    """The right answer has no error; a wrong corner and a NaN have."""
    arrays, problem = case.arrays("float64"), case.problem
    x, w, bias = (array.astype("f") for array in (arrays.x, arrays.w, arrays.bias))
    right = correlate(x, w, problem) + bias[:, None, None].astype(float)
    assert measure.error_in_eps(right, x, w, problem, bias) < 1e-6
    off = right.copy()
    off[-1, -1, -1, -1] += 1000 * np.finfo("f").eps * magnitude(x, w, problem, bias).max()
    assert measure.error_in_eps(off, x, w, problem, bias) > 500
    off[0, 0, 0, 0] = np.nan
    assert measure.error_in_eps(off, x, w, problem, bias) == np.inf
