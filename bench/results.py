"""What a run was made with, and its file in bench/results/."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

import convkit
from convkit import _convkit
from convkit.machine import Machine, measure, this_machine

RESULTS = Path(__file__).parent / "results"


def header(command: str, *, threads: list[int], speeds: bool = True) -> dict[str, Any]:
    """Processor, instruction set, threads, commit, versions; peak and bandwidths, measured now."""
    profile = this_machine()
    head: dict[str, Any] = {
        "command": command,
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "commit": commit(),
        "processor": processor(),
        "profile": profile.name,
        "isa": _convkit.current_isa(),
        "threads": threads,
        "cores": len(os.sched_getaffinity(0)),
        "convkit": convkit.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "peak_profile": profile.peak,
    }
    if speeds:
        head |= speeds_of(measure())
    return head


def speeds_of(machine: Machine) -> dict[str, Any]:
    return {
        "peak": machine.peak,
        "read_bytes_a_second": [speed for _, speed in machine.caches] + [machine.bandwidth],
    }


def describe(head: dict[str, Any]) -> str:
    """The header in two lines."""
    threads = ", ".join(map(str, head["threads"]))
    lines = [
        f"# python -m bench {head['command']}",
        f"# {head['processor']} ({head['profile']}), {head['isa']}, {threads} thread(s) of "
        f"{head['cores']}, commit {head['commit']}, {head['date']} UTC, Python {head['python']}",
    ]
    if "peak" in head:
        speeds = " / ".join(f"{speed / 1e9:.0f}" for speed in head["read_bytes_a_second"])
        lines.append(
            f"# measured in this run: FMA peak {head['peak'] / 1e9:.0f} GFLOP/s a core (profile "
            f"{head['peak_profile'] / 1e9:.0f}); reads {speeds} GB/s from caches / memory"
        )
    if "peers" in head:
        lines.append("# " + ", ".join(f"{name} {text}" for name, text in head["peers"].items()))
    return "\n".join(lines)


def commit() -> str:
    """The commit that is checked out, with + where files differ from it."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + (
        "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    )


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def write(file: str | Path, head: dict[str, Any], rows: list[dict[str, Any]]) -> Path:
    """A JSON file of the header and one row a line; a bare name goes to bench/results/."""
    path = Path(file)
    if path.parent == Path():
        path = RESULTS / path
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row) for row in rows)
    path.write_text(
        f'{{"header": {json.dumps(head, indent=1)},\n"rows": [\n{lines}\n]}}\n', encoding="utf-8"
    )
    return path


def read(file: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    path = Path(file)
    if not path.exists():
        path = RESULTS / file
    values = json.loads(path.read_text(encoding="utf-8"))
    return values["header"], values["rows"]
