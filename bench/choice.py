"""python -m bench choice: does `auto` take the fastest? Measured against every forced algorithm.

Real layers of bench/shapes, cold and warm, then layers drawn from a seed that are in no file, with
batches and several threads. In shuffled order, each call checked first. auto counts as equal to the
best where their intervals meet.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import convkit
from bench import layers, results
from bench.kernels import MOST_EPS, arrays, isa, keywords, plan_of, worth_forcing
from bench.options import numbers
from convkit.bench.measure import Spread, compare_calls, error_in_eps, sweeper

#: Slower than this many times the fastest at first sight: not timed in rounds.
HOPELESS = 3.0


@dataclass(frozen=True, slots=True)
class Goal:
    """`share` of the layers within `within` of the best, none beyond `most`."""

    within: float
    share: float
    most: float


GOALS = {
    "cold": Goal(0.05, 0.95, 0.30),
    "warm": Goal(0.10, 0.90, 0.30),
    "drawn": Goal(0.10, 0.90, 0.50),
}


#: Where auto's algorithm is the fastest and auto was slower, one program differs from itself: the
#: machine was disturbed, and the layer is measured again, at most so often.
MEASURED_AGAIN = 2


def chosen(layer: layers.Layer) -> str:
    problem = layer.problem
    rows = convkit.explain(problem.x_shape, problem.w_shape, **keywords(problem))
    return next(row.algorithm for row in rows if row.chosen)


def forced(
    layer: layers.Layer, *, auto: str = "", within: float = 8.0
) -> tuple[dict[str, Callable[[], Any]], dict[str, float], Any]:
    """(calls that compete, first timings of all that were tried, x) of a layer's algorithms.

    With `auto`, the name that it chose, a plan of its own is among the calls. All read the same x
    and write the same y, so that caches treat them alike.
    """
    problem = layer.problem
    x, w, bias = arrays(problem)
    y = np.empty(problem.y_shape, np.float32)
    calls: dict[str, Callable[[], Any]] = {}
    first: dict[str, float] = {}
    names = worth_forcing(problem, within)
    for name in names if auto in ("", *names) else [*names, auto]:
        plan = plan_of(problem, w, bias, name)
        y.fill(np.nan)
        plan(x, out=y)
        error = error_in_eps(y, x, w, problem, bias, places=24)
        if not error <= MOST_EPS:
            raise ArithmeticError(f"{name} is {error:.1f} eps off on {problem}")
        first[name] = min(_seconds(plan, x, y), _seconds(plan, x, y))
        calls[name] = lambda plan=plan: plan(x, out=y)  # type: ignore[misc]
    best = min(first.values())
    compete = {
        name: call
        for name, call in calls.items()
        if name == auto or first[name] <= HOPELESS * best + 5e-5
    }
    if auto:
        chosen_plan = plan_of(problem, w, bias, "auto")
        compete["auto"] = lambda: chosen_plan(x, out=y)
    return compete, first, x


def _seconds(plan: convkit.Plan, x: Any, y: Any) -> float:
    start = time.perf_counter()
    plan(x, out=y)
    return time.perf_counter() - start


def measure_layer(
    layer: layers.Layer, state: str, rounds: int, auto: str
) -> tuple[dict[str, Spread], dict[str, float]]:
    """Spread of every algorithm that competes and of auto, and first timings of all."""
    calls, first, x = forced(layer, auto=auto)
    before = sweeper(x) if state == "cold" else None
    times = compare_calls(
        calls, rounds=rounds, seconds=2e-3, pause=0 if before else 1e-3, before=before, most=1.0
    )
    return times, first


def loss(times: dict[str, Spread]) -> tuple[str, float]:
    """(the fastest, how much slower auto is than it; 0 where they cannot be told apart)."""
    best = min((name for name in times if name != "auto"), key=lambda name: times[name].median)
    auto = times["auto"]
    if auto.low <= times[best].high:
        return best, 0.0
    return best, auto.median / times[best].median - 1


def measure_all(
    found: list[layers.Layer], state: str, rounds: int, threads: int, *, drawn: bool = False
) -> list[dict[str, Any]]:
    rows = []
    for layer in found:
        auto = chosen(layer)
        with convkit.threads(threads):
            for _ in range(MEASURED_AGAIN + 1):
                times, first = measure_layer(layer, state, rounds, auto)
                best, slower = loss(times)
                if auto != best or slower == 0:
                    break
        rows.append({
            "layer": layer.name, "shape": str(layer.problem), "class": layer.kind,
            "state": state, "threads": threads, "drawn": drawn, "auto": auto, "best": best,
            "loss": slower, "ratio": times["auto"].median / times[best].median,
            "ms": {name: each.median * 1e3 for name, each in times.items()},
            "first": {name: each * 1e3 for name, each in first.items()},
        })  # fmt: skip
    return rows


def judge(title: str, rows: list[dict[str, Any]], goal: Goal, worst: int = 12) -> bool:
    """Prints how far the goal is reached and the worst; whether it is."""
    if not rows:
        return True
    losses = np.array([row["loss"] for row in rows])
    share = float((losses <= goal.within).mean())
    most = float(losses.max())
    reached = share >= goal.share and most <= goal.most
    print(
        f"{title}: within {goal.within:.0%} of the best on {share:.1%} of {len(rows)} (goal "
        f"{goal.share:.0%}), worst {most:.0%} off (goal {goal.most:.0%})"
        f"{'' if reached else '  SHORT'}"
    )
    for row in sorted(rows, key=lambda row: -row["loss"])[:worst]:
        if row["loss"] > goal.within:
            print(f"  {row['loss']:5.0%}  {row['auto']} {row['ms']['auto']:.4f} ms, {row['best']} "
                  f"{row['ms'][row['best']]:.4f} ms  {row['shape']}  {row['layer']}")  # fmt: skip
    return reached


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", default="1", help="comma list, for the drawn layers")
    parser.add_argument("--seed", type=int, default=2026, help="of the drawn layers")
    parser.add_argument("--drawn", type=int, default=100, help="how many layers to draw")
    parser.add_argument("--shapes", default="", help="as for kernels; 'none' for drawn ones only")
    parser.add_argument("--states", default="cold,warm")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--isa", help="instruction set to force")
    parser.add_argument("--slice", default="0/1", help="i/n: only each n-th layer, from the i-th")
    parser.add_argument("--results", help="comma list of results to judge instead of measuring")
    parser.add_argument("--out", help="file for the results; a bare name goes to bench/results/")


def judge_results(files: list[str]) -> bool:
    """Whether results measured before, perhaps in slices, reach their goals together."""
    rows = [row for file in files for row in results.read(file)[1]]
    groups: dict[tuple[str, int, bool], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["state"], row["threads"], row["drawn"]), []).append(row)
    reached = True
    for (state, count, drawn), some in groups.items():
        goal = GOALS["drawn" if drawn else state]
        title = f"{'drawn' if drawn else 'bench/shapes'}, {state}, {count} thread(s)"
        reached &= judge(title, some, goal)
    return reached


def run(options: argparse.Namespace) -> int:
    if options.results:
        return int(not judge_results(options.results.split(",")))
    threads = numbers("--threads", options.threads, 1)
    found = (
        []
        if options.shapes == "none"
        else layers.select(options.shapes.split(",") if options.shapes else ())
    )
    drawn = layers.draw(options.drawn, options.seed)
    rows: list[dict[str, Any]] = []
    reached = True
    with isa(options.isa):
        head = results.header(f"choice {options.words}", threads=threads)
        print(results.describe(head))
        for state in options.states.split(","):
            more = measure_all(layers.part(found, options.slice), state, options.rounds, 1)
            rows += more
            reached &= judge(f"bench/shapes, {state}, 1 thread", more, GOALS[state])
        for count in threads:
            some = layers.part(drawn, options.slice)
            more = measure_all(some, "warm", options.rounds, count, drawn=True)
            rows += more
            reached &= judge(
                f"drawn from seed {options.seed}, {count} thread(s)", more, GOALS["drawn"]
            )
    if options.out:
        print(f"# written to {results.write(options.out, head, rows)}")
    return int(not reached)
