"""python -m bench items: how evenly each algorithm's items fall on many threads.

The executor cuts a phase's items into at most four ranges a thread and hands them out as threads
ask. With items of equal cost the last range ends at the makespan simulated here; efficiency is the
mean work of a thread over the makespan. Phases are weighed alike.
"""

from __future__ import annotations

from convkit import _convkit
from convkit.algorithms import ALGORITHMS
from convkit.problem import ConvProblem


def makespan(items: int, threads: int) -> int:
    """Items that the busiest thread computes, ranges taken in order by whoever is free."""
    threads = min(threads, items)
    if threads <= 1:
        return items
    chunk = -(-items // (4 * threads))  # as parallel_for in csrc/executor.cpp
    whole, rest = divmod(items, chunk)
    rounds, over = divmod(whole, threads)
    if over:
        return (rounds + 1) * chunk  # who takes the rest was free before
    return rounds * chunk + rest


def efficiency(name: str, problem: ConvProblem, threads: int) -> float:
    """The share of the threads' time that is work: 1 where all end together."""
    phases = [items for items in _convkit.items(name, tuple(problem.kernel_problem())) if items]
    return len(phases) / sum(makespan(items, threads) * threads / items for items in phases)


def short(
    problem: ConvProblem, threads: int, least: float = 0.8
) -> list[tuple[str, float, list[int]]]:
    """(algorithm, efficiency, items of each phase) of the rows that fall below `least`."""
    found = []
    for row in ALGORITHMS:
        if row.supports(problem):
            reached = efficiency(row.name, problem, threads)
            if reached < least:
                items = _convkit.items(row.name, tuple(problem.kernel_problem()))
                found.append((row.name, reached, items))
    return found
