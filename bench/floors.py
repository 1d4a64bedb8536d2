"""python -m bench.floors: the least speed promised of each algorithm, one thread, by ISA and dtype.

Forced algorithms on one layer each, counted by definition, as a share of the FMA peak of this
machine's profile. Depthwise is held to the best peer's GFLOP/s, measured on the same processors.
Exit code 1 where a floor is not reached.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

import convkit
from convkit import _convkit
from convkit.machine import this_machine
from convkit.problem import conv_problem

#: algorithm: (x_shape, w_shape, other arguments, floor as a share of the peak)
FLOORS = {
    "direct": ((1, 128, 28, 28), (128, 128, 3, 3), {"padding": 1}, 0.60),
    "im2col": ((1, 128, 28, 28), (128, 128, 3, 3), {"padding": 1}, 0.60),
    "pointwise": ((1, 256, 56, 56), (64, 256, 1, 1), {}, 0.60),
    "winograd_f4": ((1, 128, 28, 28), (128, 128, 3, 3), {"padding": 1}, 1.20),
    "winograd_strided": ((1, 3, 227, 227), (96, 3, 11, 11), {"stride": 4}, 1.20),
    "winograd_f2": ((1, 128, 28, 28), (128, 128, 3, 3), {"padding": 1}, 0.90),
    "fft": ((1, 64, 56, 56), (64, 64, 11, 11), {"padding": 5}, 2.50),
    "depthwise": ((1, 128, 56, 56), (128, 1, 3, 3), {"padding": 1, "groups": 128}, 0.0),
}
#: The best peer's GFLOP/s on the depthwise layer, by processor; elsewhere the slower of the two.
DEPTHWISE_PEER = {"Xeon with AMX": 31e9, "Zen 4": 55e9}


def seconds_of(name: str, dtype: str, rounds: int) -> float:
    """Median processor time of a call, after a warm one: what other processes do counts less."""
    x_shape, w_shape, options, _ = FLOORS[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal(x_shape).astype(dtype)
    w = rng.standard_normal(w_shape).astype(dtype)
    plan = convkit.plan(x_shape, w, algo=name, **options)
    plan(x)
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        for _ in range(5):
            plan(x)
        times.append((time.thread_time() - start) / 5)
    return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", default="avx512,avx2", help="comma list (default avx512,avx2)")
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    short = 0
    for isa in options.isa.split(","):
        if isa not in _convkit.available_isas():
            print(f"{isa}: not available here")
            continue
        _convkit.select_isa(isa)
        machine = this_machine()
        print(f"{machine.name}, {isa}, 1 thread, peak {machine.peak / 1e9:.0f} GFLOP/s in float32")
        for name, (x_shape, w_shape, arguments, floor) in FLOORS.items():
            problem = conv_problem(x_shape, w_shape, **arguments)
            for dtype in ("float32", "float64"):
                if dtype == "float64" and name.startswith("winograd"):
                    continue
                with convkit.threads(1):
                    speed = 2 * problem.macs / seconds_of(name, dtype, options.rounds)
                half = 0.5 if dtype == "float64" else 1.0
                needed = half * floor * machine.peak
                if name == "depthwise":
                    needed = half * DEPTHWISE_PEER.get(machine.name, 31e9)
                reached = speed >= needed
                short += not reached
                print(
                    f"  {name:16} {dtype} {speed / 1e9:6.0f} GFLOP/s {speed / machine.peak:6.2f} "
                    f"of the peak, needs {needed / 1e9:4.0f}  {'' if reached else 'SHORT'}"
                )
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
