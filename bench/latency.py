"""python -m bench latency: how long the slowest calls take, also under a quota of processor time.

One layer, called again and again, with a pause between calls as a server has and without. A quota
is granted by the period, of 100 ms as a rule: whoever has used it up stands still until the next,
and threads that wait by spinning use it up. Times of all calls, not medians of rounds: the one call
in a hundred is what counts.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import convkit
from bench import results
from bench.kernels import arrays, plan_of
from bench.layers import problem_of
from bench.options import numbers
from convkit import _convkit

GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


@contextlib.contextmanager
def quota(processors: float) -> Iterator[None]:
    """This process in a control group that grants so many processors; 0: as it is."""
    if not processors:
        yield
        return
    version_1 = (GROUPS / "cpu").is_dir()
    parent = GROUPS / "cpu" if version_1 else GROUPS
    group = parent / f"convkit-bench-{os.getpid()}"
    limit = round(processors * PERIOD_US)
    try:
        group.mkdir()
        if version_1:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(limit))
        else:
            (group / "cpu.max").write_text(f"{limit} {PERIOD_US}")
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        raise ValueError(
            f"--quota {processors} needs the right to make a control group in {parent}: {error}"
        ) from None
    try:
        yield
    finally:
        (parent / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def latencies(call: convkit.Plan, x: np.ndarray, calls: int, pause: float) -> np.ndarray:
    """Seconds of each call."""
    y = call(x)
    spent = np.empty(calls)
    for index in range(calls):
        if pause:
            time.sleep(pause)
        start = time.perf_counter()
        call(x, out=y)
        spent[index] = time.perf_counter() - start
    return spent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", default="n1c64h56w56k64r3s3p1")
    parser.add_argument("--quota", type=float, default=0, help="processors granted; 0: no quota")
    parser.add_argument("--threads", default="1,2", help="comma list")
    parser.add_argument("--spin", default="0,1000", help="comma list of CONVKIT_SPIN_US")
    parser.add_argument("--pause", default="0,2", help="comma list: milliseconds between calls")
    parser.add_argument("--calls", type=int, default=2000)


def run(options: argparse.Namespace) -> int:
    if options.calls < 1:
        raise ValueError(f"--calls {options.calls} must be at least 1")
    if not options.quota >= 0:
        raise ValueError(f"--quota {options.quota} must be 0 or more processors")
    threads = numbers("--threads", options.threads, 1)
    spins = numbers("--spin", options.spin, 0)
    pauses = numbers("--pause", options.pause, 0, float)
    problem = problem_of(options.shape)
    x, w, bias = arrays(problem)
    plan = plan_of(problem, w, bias, "auto")
    with quota(options.quota):
        head = results.header(f"latency {options.words}", threads=threads)
        print(results.describe(head))
        print("threads  spin us  pause ms   p50 ms   p99 ms   max ms  processors used")
        for count, spin, pause in itertools.product(threads, spins, pauses):
            if count == 1 and spin != spins[0]:
                continue  # one thread waits for nobody
            _convkit.set_spin_microseconds(spin)
            with convkit.threads(count):
                start, used = time.perf_counter(), time.process_time()
                spent = 1e3 * latencies(plan, x, options.calls, pause / 1e3)
                used = (time.process_time() - used) / (time.perf_counter() - start)
            p50, p99 = np.percentile(spent, (50, 99))
            print(
                f"{count:7} {spin:8} {pause:9.1f} {p50:8.3f} {p99:8.3f} {spent.max():8.3f} "
                f"{used:16.2f}"
            )
    return 0
