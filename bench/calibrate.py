"""python -m bench calibrate: measure (algorithm, layer) pairs, cold; fit convkit/calibration.py.

Half of the layers are those of bench/shapes, half are drawn from a seed (not the one that `choice`
judges by). Measured pairs may be kept in a file and fitted again (--pairs); choice's results serve
as pairs, too. The fit is ridge regression of log(measured / formula), pairs near the best of their
layer weighing most: only there does the choice turn on them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from typing import Any

import numpy as np

import convkit
from bench import layers, results
from bench.choice import forced
from bench.kernels import isa
from convkit import _convkit, calibration
from convkit.algorithms import BY_NAME
from convkit.bench.measure import compare_calls, sweeper
from convkit.machine import Machine, this_machine

#: Ridge: as if so many pairs had said "no correction" of every feature.
PULL = 10.0


def measure(found: list[layers.Layer], rounds: int, most: float) -> list[dict[str, Any]]:
    """For each layer, milliseconds of every algorithm; those that do not compete by one call."""
    rows = []
    for layer in found:
        calls, first, x = forced(layer, within=12.0)
        times = compare_calls(calls, rounds=rounds, pause=0, before=sweeper(x), most=most)
        rows.append({
            "shape": str(layer.problem), "state": "cold", "threads": 1,
            "ms": {name: each.median * 1e3 for name, each in times.items()},
            "first": {name: each * 1e3 for name, each in first.items()},
        })  # fmt: skip
    return rows


def pairs(
    rows: list[dict[str, Any]], machine: Machine
) -> dict[str, list[tuple[Any, float, float]]]:
    """algorithm -> (phi, log(measured / formula), weight) of cold calls of one image."""
    found: dict[str, list[tuple[Any, float, float]]] = {name: [] for name in BY_NAME}
    for row in rows:
        problem = layers.problem_of(row["shape"])
        if row["state"] != "cold" or row["threads"] != 1 or problem.n != 1:
            continue
        times = {**row["first"], **row["ms"]}
        times.pop("auto", None)
        best = min(times.values())
        for name, ms in times.items():
            if name in BY_NAME:
                formula = BY_NAME[name].cost(problem, machine)
                phi = calibration.features(problem, machine, formula)
                weight = 1.0 if ms < 1.5 * best else 0.5 if ms < 3 * best else 0.1
                found[name].append((phi, math.log(ms * 1e-3 / formula), weight))
    return found


def fit(data: list[tuple[Any, float, float]]) -> tuple[calibration.Fit, float, float]:
    """(fit, error before, error after), the errors as the weighed root mean square of
    log(measured / predicted), in the pairs that were fitted."""
    phi = np.array([row[0] for row in data])
    target = np.array([row[1] for row in data])
    weight = np.array([row[2] for row in data])
    found = calibration.Fit(
        phi.min(axis=0), phi.max(axis=0), phi.mean(axis=0), np.maximum(phi.std(axis=0), 1e-2),
        np.zeros(0),
    )  # fmt: skip
    terms = found.terms(phi)
    pull = np.full(terms.shape[1], PULL)
    pull[0] = 1e-6  # the constant is free
    left = (terms * weight[:, None]).T @ terms + np.diag(pull)
    found = found._replace(theta=np.linalg.solve(left, terms.T @ (weight * target)))

    def error(values: Any) -> float:
        return float(np.sqrt((weight * values**2).sum() / weight.sum()))

    return found, error(target), error(target - terms @ found.theta)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--isa", help="instruction set to force")
    parser.add_argument("--seed", type=int, default=7, help="of the drawn layers")
    parser.add_argument("--drawn", type=int, default=200, help="how many layers to draw")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice", default="0/1", help="i/n: only each n-th layer, from the i-th")
    parser.add_argument("--pairs", help="comma list of results to fit instead of measuring")
    parser.add_argument(
        "--out", help="file for the measured pairs; a bare name goes to bench/results/"
    )
    parser.add_argument("--dry", action="store_true", help="measure and fit, but leave the file")


def run(options: argparse.Namespace) -> int:
    index, of = map(int, options.slice.split("/"))
    with isa(options.isa), convkit.threads(1):
        machine = this_machine()
        if options.pairs:
            rows = [row for file in options.pairs.split(",") for row in results.read(file)[1]]
        else:
            drawn = [
                layer
                for layer in layers.draw(2 * options.drawn, options.seed)
                if layer.problem.n == 1
            ]
            found = (layers.select() + drawn[: options.drawn])[index::of]
            head = results.header(f"calibrate {options.words}", threads=[1])
            print(results.describe(head), flush=True)
            rows = measure(found, options.rounds, 0.5)
            if options.out:
                print(f"# written to {results.write(options.out, head, rows)}")
        fits: dict[str, calibration.Fit] = {}
        for name, data in pairs(rows, machine).items():
            if len(data) >= 2 * len(data[0][0]) if data else False:
                fits[name], before, after = fit(data)
                print(f"{name:12} {len(data):4} pairs, error {before:.3f} -> {after:.3f}")
            else:
                print(f"{name:12} {len(data):4} pairs: too few, formula as it is")
        if not options.dry:
            store(machine.name, _convkit.current_isa(), fits)
    return 0


def store(machine: str, name: str, fits: dict[str, calibration.Fit]) -> None:
    """Put the fits of one machine and ISA into the file that the package ships."""
    known = json.loads(calibration.FILE.read_text()) if calibration.FILE.exists() else {}
    known.setdefault(machine, {})[name] = {
        row: {key: [float(f"{v:.5g}") for v in values] for key, values in fit._asdict().items()}
        for row, fit in fits.items()
    }
    text = json.dumps(known, indent=1)
    text = re.sub(r"\[[^\]]*\]", lambda found: " ".join(found[0].split()), text)  # a list a line
    calibration.FILE.write_text(text + "\n", encoding="utf-8")
    calibration.reload()
    print(f"# written to {calibration.FILE.name}: {machine}, {name}")
