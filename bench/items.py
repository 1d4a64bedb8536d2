"""python -m bench items: how evenly each algorithm's items fall on many threads.

The executor cuts a phase's items into one range a thread, as equal as can be. With items of equal
cost the longest range is the makespan; efficiency is the mean work of a thread over it. Phases are
weighed alike.

Ranges may repeat work: what a range of rows reads beyond its border, a transform that each range of
filters needs. --measure finds how much: the processor time of one call cut for many threads over
that of one thread's. That is too much rather than too little where many threads share a core and
its cache.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import convkit
from bench import layers
from bench.kernels import arrays, plan_of, rows_for
from convkit import _convkit
from convkit.machine import this_machine
from convkit.problem import ConvProblem

#: Operations from which a layer is worth many threads.
LARGE = 0.2e9


def makespan(items: int, threads: int) -> int:
    """Items that the busiest thread computes: as parallel_for in csrc/executor.cpp cuts them."""
    return -(-items // threads)


def efficiency(name: str, problem: ConvProblem, threads: int) -> float:
    """The share of the threads' time that is work: 1 where all end together."""
    phases = [items for items in _convkit.items(name, tuple(problem.kernel_problem())) if items]
    return len(phases) / sum(makespan(items, threads) * threads / items for items in phases)


def short(
    problem: ConvProblem, threads: int, least: float = 0.8
) -> list[tuple[str, float, list[int]]]:
    """(algorithm, efficiency, items of each phase) of the rows that fall below `least`."""
    found = []
    for row in rows_for(problem):
        reached = efficiency(row.name, problem, threads)
        if reached < least:
            items = _convkit.items(row.name, tuple(problem.kernel_problem()))
            found.append((row.name, reached, items))
    return found


def repeated(name: str, problem: ConvProblem, threads: int, rounds: int = 5) -> float:
    """Processor time of a call on `threads` threads over that on one: 1 where nothing is repeated.

    Switching between threads and their scratch, which is cold, counts too.
    """
    x, w, bias = arrays(problem)
    y = np.empty(problem.y_shape, np.float32)
    plan = plan_of(problem, w, bias, name)
    times: dict[int, list[float]] = {1: [], threads: []}
    _convkit.set_spin_microseconds(0)  # for the rest of this process: waiting is no work
    for turn in range(rounds + 1):
        for count, samples in times.items():
            with convkit.threads(count):
                start = time.process_time()
                plan(x, out=y)
                if turn:
                    samples.append(time.process_time() - start)
    return statistics.median(times[threads]) / statistics.median(times[1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--least", type=float, default=0.8, help="efficiency to reach")
    parser.add_argument("--measure", action="store_true", help="count repeated work, too")
    parser.add_argument("--shapes", default="", help="as for kernels")
    parser.add_argument("--all", action="store_true", help="not only what auto chooses")


def run(options: argparse.Namespace) -> int:
    """Prints the layers of `LARGE` operations whose items are too few or too coarse."""
    machine, count, bad = this_machine(), 0, 0
    for layer in layers.select([name for name in options.shapes.split(",") if name]):
        problem = layer.problem
        if 2 * problem.macs < LARGE:
            continue
        costs = {row.name: row.seconds(problem, machine) for row in rows_for(problem)}
        best = min(costs, key=costs.__getitem__)
        count += 1
        if options.measure:
            more = repeated(best, problem, options.threads)
            reached = efficiency(best, problem, options.threads)
            bad += reached / more < options.least
            print(f"{best:12} {reached / more:.2f} = {reached:.2f} by items / {more:.2f} the work  "
                  f"{problem}  {layer.name}", flush=True)  # fmt: skip
            continue
        for name, reached, items in short(problem, options.threads, options.least):
            if name == best or options.all and costs[name] < 3 * costs[best]:
                bad += name == best
                print(f"{'*' if name == best else ' '} {name:12} {reached:.2f} items {items} "
                      f"{problem}  {layer.name}")  # fmt: skip
    print(
        f"{bad} of {count} layers of 0.2 GFLOP and more: the chosen algorithm falls below "
        f"{options.least:.0%} at {options.threads} threads"
    )
    return int(bad > 0)
