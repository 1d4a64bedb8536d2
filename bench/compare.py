"""python -m bench compare A B: what is faster or slower in B than in A, beyond the noise."""

from __future__ import annotations

import argparse
import math
from typing import Any

from bench import results


def verdict(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Two medians differ where their intervals do not meet."""
    if new["high"] < old["low"]:
        return "faster"
    if new["low"] > old["high"]:
        return "slower"
    return "no difference"


def pairs(
    old: list[dict[str, Any]], new: list[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows of the same layer, call, threads and state."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["shape"], row["call"], row["threads"], row["state"]

    found = {key(row): row for row in old if "ms" in row}
    return [(found[key(row)], row) for row in new if "ms" in row and key(row) in found]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", help="results before")
    parser.add_argument("b", help="results after")


def run(options: argparse.Namespace) -> int:
    """Prints every difference and a summary; 1 where something is slower, 2 where nothing meets."""
    a, b = options.a, options.b
    (head_a, old), (head_b, new) = results.read(a), results.read(b)
    for name, head in ((a, head_a), (b, head_b)):
        print(f"# {name}: {head['processor']}, {head['isa']}, commit {head['commit']}, "
              f"peak measured {head.get('peak', 0) / 1e9:.0f} GFLOP/s")  # fmt: skip
    if (head_a["processor"], head_a["isa"]) != (head_b["processor"], head_b["isa"]):
        print("# not the same processor and instruction set")
    counts = {"faster": 0, "slower": 0, "no difference": 0}
    logs = []
    matched = pairs(old, new)
    for before, after in sorted(matched, key=lambda pair: pair[1]["ms"] / pair[0]["ms"]):
        said = verdict(before, after)
        counts[said] += 1
        logs.append(math.log(before["ms"] / after["ms"]))
        if said != "no difference":
            print(
                f"{said:7} {before['ms'] / after['ms']:5.2f}x  {before['ms']:9.4f} -> "
                f"{after['ms']:9.4f} ms  {after['call']:12} {after['state']} "
                f"{after['threads']} thread(s)  {after['shape']}"
            )
    if not matched:
        print("no layer is in both")
        return 2
    mean = math.exp(sum(logs) / len(logs))
    print(", ".join(f"{count} {said}" for said, count in counts.items()), f"of {len(matched)}")
    print(f"B is {mean:.3f} times as fast as A in the geometric mean")
    return int(counts["slower"] > 0)
