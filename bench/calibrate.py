"""python -m bench calibrate: measure (algorithm, layer) pairs; fit convkit/calibration.py.

Half of the layers are those of bench/shapes, half are drawn from a seed (not the one that `choice`
judges by). Measured pairs may be kept in a file and fitted again (--pairs); choice's results serve
as pairs, too. The fit is ridge regression of log(measured / formula), pairs near the best of their
layer weighing most: there the choice turns on them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from dataclasses import dataclass
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

#: What the times of warm calls count beside those of cold ones: a little, so that where cold ones
#: are level, the better of the warm ones is taken.
WARM = 0.25
#: Of algorithms that are within CLOSE of the best, what one loses warm or cold beyond FAR_OFF
#: counts twice: `auto` shall be far off neither cold nor warm.
CLOSE, FAR_OFF = 1.2, 1.25
#: Ridge: as if so many pairs had said "no correction" of every feature.
PULL = 10.0
#: How often the weights of layers where the choice fails are doubled.
TURNS = 10
#: But to no more than this: a measurement that was disturbed must not bend the rest.
HEAVIEST = 8.0
#: An algorithm with fewer pairs keeps its formula.
FEWEST = 40


def measure(found: list[layers.Layer], rounds: int, most: float) -> list[dict[str, Any]]:
    """For each layer, milliseconds of every algorithm; those that do not compete by two calls."""
    rows = []
    for layer in found:
        calls, first, x = forced(layer, within=12.0)
        times = compare_calls(calls, rounds=rounds, pause=0, before=sweeper(x), most=most)
        warm = compare_calls(calls, rounds=rounds, seconds=1e-3, pause=1e-3, most=most / 2)
        rows.append({
            "shape": str(layer.problem), "state": "cold", "threads": 1,
            "ms": {name: each.median * 1e3 for name, each in times.items()},
            "warm": {name: each.median * 1e3 for name, each in warm.items()},
            "first": {name: each * 1e3 for name, each in first.items()},
        })  # fmt: skip
    return rows


@dataclass(frozen=True, slots=True)
class Pair:
    """An algorithm on a layer."""

    layer: int
    name: str
    phi: tuple[float, ...]
    formula: float  # seconds
    error: float  # log(measured / formula)
    ratio: float  # measured / the best of this layer

    @property
    def weight(self) -> float:
        """Only near the best does the choice turn on it."""
        return 1.0 if self.ratio < 1.5 else 0.5 if self.ratio < 3 else 0.1


def pairs(rows: list[dict[str, Any]], machine: Machine) -> list[Pair]:
    """What was measured cold, of one image, on one thread."""
    found = []
    for index, row in enumerate(rows):
        problem = layers.problem_of(row["shape"])
        if row["state"] != "cold" or row["threads"] != 1 or problem.n != 1:
            continue
        warm = row.get("warm", {})
        times = {name: ms for name, ms in row["first"].items() if name in BY_NAME}
        for name, ms in row["ms"].items():
            if name in BY_NAME:
                times[name] = ms ** (1 - WARM) * warm.get(name, ms) ** WARM
        close = CLOSE * min(times.values())
        for state in (row["ms"], warm):
            for name in times.keys() & state.keys():
                if times[name] <= close:
                    times[name] *= max(1.0, state[name] / min(state.values()) / FAR_OFF)
        for name, ms in times.items():
            formula = BY_NAME[name].cost(problem, machine)
            phi = calibration.features(problem, machine, formula)
            error, ratio = math.log(ms * 1e-3 / formula), ms / min(times.values())
            found.append(Pair(index, name, phi, formula, error, ratio))
    return found


def fit(phi: Any, target: Any, weight: Any) -> calibration.Fit:
    """The quadratic of least weighed squares, pulled towards the constant."""
    found = calibration.Fit(
        phi.min(axis=0), phi.max(axis=0), phi.mean(axis=0), np.maximum(phi.std(axis=0), 1e-2),
        np.zeros(0),
    )  # fmt: skip
    terms = found.terms(phi)
    pull = np.full(terms.shape[1], PULL)
    pull[0] = 1e-6  # the constant is free
    left = (terms * weight[:, None]).T @ terms + np.diag(pull)
    return found._replace(theta=np.linalg.solve(left, terms.T @ (weight * target)))


def fit_all(data: list[Pair]) -> dict[str, calibration.Fit]:
    """A fit for each algorithm. Where the choice by them would be wrong, the two that it is between
    weigh twice as much the next time (boosting): close races decide, not the mean error."""
    rows = [pair for pair in data if sum(p.name == pair.name for p in data) >= FEWEST]
    names = np.array([pair.name for pair in rows])
    phi = np.array([pair.phi for pair in rows])
    error, ratio, formula = (
        np.array([getattr(pair, key) for pair in rows]) for key in ("error", "ratio", "formula")
    )
    weight = np.array([pair.weight for pair in rows])
    of_layer: dict[int, list[int]] = {}
    for place, pair in enumerate(rows):
        of_layer.setdefault(pair.layer, []).append(place)
    target = error
    fits: dict[str, calibration.Fit] = {}
    for turn in range(TURNS + 1):
        predicted = np.empty(len(rows))
        for name in np.unique(names):
            own = names == name
            found = fits[str(name)] = fit(phi[own], target[own], weight[own])
            predicted[own] = formula[own] * np.exp(found.terms(phi[own]) @ found.theta)
        rest = error - np.log(predicted / formula)
        target = error.copy()
        for places in of_layer.values() if turn < TURNS else ():
            # What all algorithms of a layer share is the machine's mood of that moment.
            target[places] -= weight[places] @ rest[places] / (1 + weight[places].sum())
            taken = min(places, key=lambda place: predicted[place])
            best = min(places, key=lambda place: ratio[place])
            if ratio[taken] > 1.03:
                weight[[taken, best]] = np.minimum(2 * weight[[taken, best]], HEAVIEST)
    report(rows, names, error, np.log(predicted / formula), of_layer, predicted, ratio)
    return fits


def report(
    rows: list[Pair], names: Any, error: Any, found: Any, of_layer: dict[int, list[int]],
    predicted: Any, ratio: Any,
) -> None:  # fmt: skip
    """Errors before and after by algorithm, and how the choice does on the layers fitted."""
    plain = np.array([pair.weight for pair in rows])
    for name in np.unique(names):
        own = names == name
        before, after = (
            float(np.sqrt(np.average(values[own] ** 2, weights=plain[own])))
            for values in (error, error - found)
        )
        print(f"{name:12} {own.sum():4} pairs, error {before:.3f} -> {after:.3f}")
    losses = np.array([
        ratio[min(places, key=lambda place: predicted[place])] - 1 for places in of_layer.values()
    ])  # fmt: skip
    print(
        f"in the layers fitted: within 5% of the best on {(losses <= 0.05).mean():.1%} of "
        f"{len(losses)}, within 10% on {(losses <= 0.10).mean():.1%}, worst {losses.max():.0%}"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--isa", help="instruction set to force")
    parser.add_argument("--seed", type=int, default=7, help="of the drawn layers")
    parser.add_argument("--drawn", type=int, default=240, help="how many layers to draw")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice", default="0/1", help="i/n: only each n-th layer, from the i-th")
    parser.add_argument("--pairs", help="comma list of results to fit instead of measuring")
    parser.add_argument(
        "--out", help="file for the measured pairs; a bare name goes to bench/results/"
    )
    parser.add_argument("--dry", action="store_true", help="measure and fit, but leave the file")


def run(options: argparse.Namespace) -> int:
    with isa(options.isa), convkit.threads(1):
        machine = this_machine()
        if options.pairs:
            rows = [row for file in options.pairs.split(",") for row in results.read(file)[1]]
        else:
            drawn = layers.draw(3 * options.drawn, options.seed, evenly=True)
            drawn = [layer for layer in drawn if layer.problem.n == 1]
            found = layers.part(layers.select() + drawn[: options.drawn], options.slice)
            head = results.header(f"calibrate {options.words}", threads=[1])
            print(results.describe(head), flush=True)
            rows = measure(found, options.rounds, 0.5)
            if options.out:
                print(f"# written to {results.write(options.out, head, rows)}")
        data = pairs(rows, machine)
        fits = fit_all(data) if len(data) >= FEWEST else {}
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
