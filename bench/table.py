"""python -m bench table FILE: results of `bench kernels` and `bench models` as tables for pages.

`--into PAGE NAME` puts them between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from bench import models, results
from bench.kernels import OURS

Rows = list[dict[str, Any]]
#: What the classes of `bench.layers` are called in a table.
TITLES = {
    "3x3": "3x3, stride 1",
    "dense": "other dense",
    "1x1": "1x1",
    "dw": "depthwise",
    "large": "11x11 and larger",
    "image": "image filters",
}


def by_layer(rows: Rows) -> dict[tuple[Any, ...], dict[str, dict[str, Any]]]:
    """(class, threads, state, shape) -> call -> row."""
    found: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if "ms" in row:
            key = (row["class"], row["threads"], row["state"], row["shape"])
            found.setdefault(key, {})[row["call"]] = row
    return found


def best_peer(calls: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    others = [row for name, row in calls.items() if name not in OURS]
    return min(others, key=lambda row: row["ms"]) if others else None


def classes(rows: Rows) -> str:
    """For each class: how many layers, auto's GFLOP/s, and its ratio to the best peer."""
    lines = [
        "| Layers | Threads | State | Count | GFLOP/s, mean | Best peer's time over ours: mean "
        "| lowest |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[Any, ...], list[dict[str, dict[str, Any]]]] = {}
    for key, calls in by_layer(rows).items():
        groups.setdefault(key[:3], []).append(calls)
    for kind, title in TITLES.items():
        for (_, threads, state), layers in sorted(
            (item for item in groups.items() if item[0][0] == kind), key=lambda item: item[0][1:]
        ):
            ours = [calls for calls in layers if "auto" in calls]
            met = [(calls["auto"], peer) for calls in ours if (peer := best_peer(calls))]
            speed = _mean([calls["auto"]["gflops"] for calls in ours])
            ratios = [peer["ms"] / auto["ms"] for auto, peer in met]
            mean, least = (f"{_mean(ratios):.2f}", f"{min(ratios):.2f}") if ratios else ("", "")
            lines.append(
                f"| {title} | {threads} | {state} | {len(layers)} | {speed:.0f} | {mean} "
                f"| {least} |"
            )
    return "\n".join(lines)


def single(rows: Rows) -> str:
    """Every layer: algorithm, milliseconds with the interval, share of the peak, best peer."""
    lines = [
        "| Layer | Threads | State | Algorithm | ms | GFLOP/s | Best peer | ms | Ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (_, threads, state, shape), calls in by_layer(rows).items():
        auto, peer = calls.get("auto"), best_peer(calls)
        if auto is None:
            continue
        line = (
            f"| `{shape}` | {threads} | {state} | {auto['algorithm']} | {auto['ms']:.3f} "
            f"({auto['low']:.3f} to {auto['high']:.3f}) | {auto['gflops']:.0f} "
        )
        if peer:
            line += f"| {peer['call']} | {peer['ms']:.3f} | {peer['ms'] / auto['ms']:.2f} |"
        lines.append(line if peer else line + "| | | |")
    return "\n".join(lines)


def _mean(values: list[float]) -> float:
    """Geometric mean; 0 of nothing."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else 0.0


#: What `--form` takes.
FORMS = {"classes": classes, "layers": single, "networks": models.table}


def text(file: str, form: str) -> str:
    """Where the figures come from, and the table."""
    head, rows = results.read(file)
    peers = ", ".join(f"{name} {version}" for name, version in head.get("peers", {}).items())
    source = (
        f"`python -m bench {head['command']}` on {head['processor']} ({head['profile']}), "
        f"{head['isa']}, commit {head['commit']}, {head['date']} UTC; FMA peak measured in the run "
        f"{head.get('peak', 0) / 1e9:.0f} GFLOP/s a core" + (f"; {peers}." if peers else ".")
    )
    return f"{source}\n\n{FORMS[form](rows)}"


def put(page: Path, name: str, table: str) -> None:
    """Replace what stands between the page's marks."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, also, after = rest.partition(end)
    if not (found and also):
        raise ValueError(f"{page} has no lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="results of `bench kernels` or `bench models`")
    parser.add_argument("--form", choices=FORMS, default="classes")
    parser.add_argument("--into", nargs=2, metavar=("PAGE", "NAME"), help="write it into a page")


def run(options: argparse.Namespace) -> int:
    table = text(options.file, options.form)
    if options.into:
        put(Path(options.into[0]), options.into[1], table)
    else:
        print(table)
    return 0
