"""python -m bench kernels: single layers, forced or chosen algorithms and peers, side by side.

One process, every call of a layer in shuffled order, checked against float64 sums before the clock
starts. Warm: a pause and an untimed call before each timing. Cold: caches swept before every timed
call, x read again, as inside a network.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import convkit
from bench import layers, peers, results
from bench.options import numbers
from convkit import _convkit
from convkit.algorithms import ALGORITHMS, BY_NAME, Algorithm
from convkit.bench.measure import compare_calls, error_in_eps, sweeper
from convkit.machine import this_machine
from convkit.problem import ConvProblem

#: The error that is still right, in eps of the largest sum of |x| |w|: F(4,3)'s for one channel.
MOST_EPS = 12.0


def arrays(problem: ConvProblem, seed: int = 0) -> tuple[Any, Any, Any]:
    """x, w and bias, standard normal; w scaled so that y is too."""
    dice = np.random.default_rng(seed)
    x = dice.standard_normal(problem.x_shape, np.float32)
    w = dice.standard_normal(problem.w_shape, np.float32)
    w /= np.float32(np.sqrt(w[0].size))
    return x, w, dice.standard_normal(problem.k, np.float32)


def keywords(problem: ConvProblem) -> dict[str, Any]:
    """The arguments of conv2d and plan that make this problem."""
    top, bottom, left, right = problem.padding
    return {
        "stride": problem.stride,
        "padding": ((top, bottom), (left, right)),
        "padding_mode": problem.padding_mode,
        "dilation": problem.dilation,
        "groups": problem.groups,
    }


def plan_of(problem: ConvProblem, w: Any, bias: Any, algo: str) -> convkit.Plan:
    return convkit.plan(problem.x_shape, w, bias, algo=algo, **keywords(problem))


def rows_for(problem: ConvProblem) -> list[Algorithm]:
    """The rows that compute this problem whatever its weights."""
    return [row for row in ALGORITHMS if row.supports(problem) and row.weights is None]


def worth_forcing(problem: ConvProblem, within: float = 20.0) -> list[str]:
    """Algorithms that apply, without those predicted `within` times the best and over 20 ms."""
    machine = this_machine()
    costs = {row.name: row.seconds(problem, machine) for row in rows_for(problem)}
    best = min(costs.values())
    return [name for name, cost in costs.items() if cost <= max(within * best, 0.02)]


def convkit_calls(
    problem: ConvProblem, algos: list[str], x: Any, w: Any, bias: Any
) -> dict[str, Any]:
    """name -> call: "auto", forced algorithms by their names, "conv2d" for one-shot calls."""
    found: dict[str, Any] = {}
    for algo in algos:
        if algo == "all":
            found |= convkit_calls(problem, worth_forcing(problem), x, w, bias)
        elif algo == "conv2d":
            given = keywords(problem)
            found[algo] = lambda given=given: convkit.conv2d(x, w, bias, **given)
        elif algo == "auto" or BY_NAME[algo] in rows_for(problem):
            plan = plan_of(problem, w, bias, algo)
            found[algo] = lambda plan=plan: plan(x)
    return found


def measure_layer(
    layer: layers.Layer, options: argparse.Namespace, threads: int
) -> list[dict[str, Any]]:
    """A row for each call of this layer, in the order of their medians."""
    problem = layer.problem
    x, w, bias = arrays(problem)
    calls = convkit_calls(problem, options.algo, x, w, bias)
    for name in options.peers:
        calls |= peers.calls(name, problem, x, w, bias, threads)
    errors = {
        name: error_in_eps(np.asarray(call()), x, w, problem, bias) for name, call in calls.items()
    }
    auto = next(
        row.algorithm
        for row in convkit.explain(problem.x_shape, problem.w_shape, **keywords(problem))
        if row.chosen
    )
    rows = []
    for state in options.states:
        before = sweeper(x) if state == "cold" else None
        times = compare_calls(
            {name: call for name, call in calls.items() if errors[name] <= MOST_EPS},
            rounds=options.rounds, before=before,
            pause=0.0 if before else peers.pause(options.peers, threads),
        )  # fmt: skip
        for name in sorted(calls, key=lambda name: times[name].median if name in times else 1e9):
            row: dict[str, Any] = {
                "layer": layer.name, "shape": str(problem), "class": layer.kind,
                "threads": threads, "state": state, "call": name,
                "algorithm": auto if name == "auto" else name, "eps": round(errors[name], 2),
            }  # fmt: skip
            if name in times:
                took = times[name]
                row |= {"ms": took.median * 1e3, "low": took.low * 1e3, "high": took.high * 1e3,
                        "gflops": 2e-9 * problem.n * problem.macs / took.median}  # fmt: skip
            rows.append(row)
    return rows


def describe(rows: list[dict[str, Any]], head: dict[str, Any]) -> str:
    """The rows of one layer, threads and state as a table."""
    first = rows[0]
    peak = head.get("peak", head["peak_profile"]) * first["threads"] / 1e9
    lines = [f"{first['layer']}  {first['shape']}  {first['state']}, {first['threads']} thread(s)"]
    for row in rows:
        name = row["call"] + (f" ({row['algorithm']})" if row["call"] == "auto" else "")
        if "ms" in row:
            lines.append(
                f"  {name:22} {row['ms']:9.4f} ms [{row['low']:.4f}, {row['high']:.4f}] "
                f"{row['gflops']:7.1f} GFLOP/s {row['gflops'] / peak:6.2f} of peak "
                f"{row['eps']:5.1f} eps"
            )
        else:
            lines.append(f"  {name:22} WRONG: {row['eps']} eps")
    return "\n".join(lines)


#: Calls that are convkit's; all others are peers'.
OURS = ("auto", "conv2d", *BY_NAME)


def summary(rows: list[dict[str, Any]]) -> str:
    """Auto against the best peer and two threads against one, by class, threads and state."""
    groups: dict[tuple[Any, ...], dict[str, dict[str, float]]] = {}
    for row in rows:
        if "ms" in row:
            key = (row["class"], row["threads"], row["state"])
            groups.setdefault(key, {}).setdefault(row["shape"], {})[row["call"]] = row["ms"]
    lines = []
    for (kind, threads, state), shapes in sorted(groups.items()):
        text = f"{kind:6} {threads} thread(s) {state:5} {len(shapes):4} layers"
        others = {
            shape: min((ms for name, ms in times.items() if name not in OURS), default=0.0)
            for shape, times in shapes.items()
        }
        single = groups.get((kind, 1, state), {}) if threads > 1 else {}
        for ours in ("auto", "conv2d"):
            mine = {shape: times[ours] for shape, times in shapes.items() if ours in times}
            text += _ratios(
                f"best peer / {ours}", [others[s] / ms for s, ms in mine.items() if others[s]]
            )
        text += _ratios(
            "speed-up",
            [
                single[shape]["auto"] / times["auto"]
                for shape, times in shapes.items()
                if "auto" in times and "auto" in single.get(shape, {})
            ],
        )
        lines.append(text)
    return "\n".join(lines)


def _ratios(title: str, ratios: list[float]) -> str:
    if not ratios:
        return ""
    return f"  {title}: mean {np.exp(np.mean(np.log(ratios))):.2f} lowest {min(ratios):.2f}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shapes",
        default="",
        help="comma list of networks, files, shapes or classes (3x3, dense, 1x1, dw, large, image)",
    )
    parser.add_argument(
        "--algo", default="auto", help="comma list: auto, all, conv2d (one-shot) or names"
    )
    parser.add_argument("--peers", default="", help=f"comma list of {', '.join(peers.PACKAGES)}")
    parser.add_argument("--threads", default="1", help="comma list")
    parser.add_argument("--isa", help="instruction set to force")
    parser.add_argument("--cold", action="store_true", help="caches swept before each call")
    parser.add_argument("--warm", action="store_true", help="called again and again (default)")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--slice", default="0/1", help="i/n: only each n-th layer, from the i-th")
    parser.add_argument("--out", help="file for the results; a bare name goes to bench/results/")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


@contextlib.contextmanager
def isa(name: str | None) -> Iterator[None]:
    before = _convkit.current_isa()
    _convkit.select_isa(name or before)
    try:
        yield
    finally:
        _convkit.select_isa(before)


def run(options: argparse.Namespace, say: Callable[[str], None] = print) -> int:
    options.algo, options.peers = (
        [v for v in text.split(",") if v] for text in (options.algo, options.peers)
    )
    options.states = [s for s in ("cold", "warm") if getattr(options, s)] or ["warm"]
    for name in options.algo:
        if name not in ("auto", "all", "conv2d", *BY_NAME):
            raise ValueError(
                f"--algo {name!r} must be auto, all, conv2d or one of {', '.join(BY_NAME)}"
            )
    threads = numbers("--threads", options.threads, 1)
    peers.limit_threads(max(threads))
    found = layers.select([v for v in options.shapes.split(",") if v])
    found = layers.part(found, options.slice)
    rows: list[dict[str, Any]] = []
    with isa(options.isa):
        head = results.header(f"kernels {options.words}", threads=threads)
        head["peers"] = peers.versions(options.peers)
        options.peers = [p for p in options.peers if not head["peers"][p].startswith("missing")]
        if not options.json:
            say(results.describe(head))
        for layer in found:
            for count in threads:
                with convkit.threads(count):
                    measured = measure_layer(layer, options, count)
                rows += measured
                for state in options.states if not options.json else ():
                    say(describe([row for row in measured if row["state"] == state], head))
    if options.out:
        say(f"# written to {results.write(options.out, head, rows)}")
    if options.json:
        import json

        say(json.dumps({"header": head, "rows": rows}))
    else:
        say(summary(rows))
    return int(any("ms" not in row for row in rows))
