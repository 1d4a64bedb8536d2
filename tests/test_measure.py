"""How calls are timed, on a clock that only the call moves."""

from __future__ import annotations

import itertools

import pytest

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
