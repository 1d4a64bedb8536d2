"""What a call costs beside the convolution, and what it gains: by threads, by wider vectors.

    python -m bench.calls overhead | one_shot | views | threads | isas [--threads 1] [--only NAME]

overhead: microseconds of plan(x) and conv2d on a 1x1x8x8 input, computing included. one_shot:
conv2d (choice and packing included) against torch.nn.functional.conv2d. views: a plan on an NHWC
view, a crop, and x that begins 4 and 1 bytes off, against contiguous x. threads: every layer of
bench/shapes of 0.2 GFLOP and more on one thread against two (or --threads). isas: the share of its
own FMA peak that AVX2 reaches, and AVX-512 of its own. In shuffled order, medians.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import convkit
from bench import layers
from bench.items import LARGE
from bench.kernels import arrays, isa, keywords, plan_of
from bench.layers import Layer
from convkit import _convkit, machine

#: The layers that docs/performance.md compares with other libraries.
REFERENCE = Path(__file__).parent / "reference.csv"
#: Those that `isas` compares.
ISAS = ("avx512", "avx2")
Call = Callable[[], object]


def medians(calls: dict[str, Call], seconds: float, rounds: int = 9) -> dict[str, float]:
    """Seconds of each call, the median over rounds in shuffled order; one call runs untimed."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    repeats = max(1, int(3e-3 / seconds))
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in random.sample(list(calls.items()), len(calls)):
            call()
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            spent[name].append((time.perf_counter() - start) / repeats)
    return {name: float(np.median(values)) for name, values in spent.items()}


def is_named(layer: Layer, only: str) -> bool:
    """Whether a layer is of this class or has this in its name; "" means all."""
    return only in (layer.kind, "") or only in layer.name


def named(only: str) -> list[Layer]:
    """The reference layers that are meant."""
    return [layer for layer in layers.read(REFERENCE) if is_named(layer, only)]


def shifted(x: np.ndarray, by: int) -> np.ndarray:
    """A copy that begins `by` bytes after a multiple of 64."""
    memory = np.empty(x.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + by
    found = memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    found[...] = x
    return found


def crop(x: np.ndarray) -> np.ndarray:
    n, c, h, w = x.shape
    larger = np.zeros((n, c, h + 6, w + 10), x.dtype)
    larger[:, :, 3:-3, 5:-5] = x
    return larger[:, :, 3:-3, 5:-5]


def nhwc(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def report(ratios: dict[str, dict[str, list[float]]], worst: str) -> None:
    """The geometric mean and the worst of each class and column."""
    for kind, columns in ratios.items():
        figures = [
            f"{name} {math.exp(np.mean(np.log(values))):.2f} ({worst} "
            f"{(min if worst == 'lowest' else max)(values):.2f})"
            for name, values in columns.items()
        ]
        print(f"{kind:6} geometric mean:", ", ".join(figures))


def overhead() -> None:
    x, w = np.ones((1, 1, 8, 8), "f"), np.ones((1, 1, 3, 3), "f")
    plan = convkit.plan(x.shape, w)
    found = medians({"plan(x)": partial(plan, x), "conv2d": partial(convkit.conv2d, x, w)}, 1e-5)
    for name, seconds in found.items():
        print(f"{name:8} {seconds * 1e6:6.1f} us on 1x1x8x8")


def one_shot(threads: int, only: str) -> None:
    import torch
    from torch.nn.functional import conv2d

    torch.set_num_threads(threads)
    ratios: dict[str, dict[str, list[float]]] = {}
    for layer in named(only):
        problem = layer.problem
        x, w, b = arrays(problem)
        xt, wt, bt = map(torch.from_numpy, (x, w, b))
        top, _, left, _ = problem.padding
        there = {"stride": problem.stride, "padding": (top, left), "groups": problem.groups}
        with torch.inference_mode():
            found = medians(
                {
                    "convkit": partial(convkit.conv2d, x, w, b, **keywords(problem)),
                    "torch": partial(conv2d, xt, wt, bt, **there),
                },
                2 * problem.macs / 1e11,
            )
        ratio = found["torch"] / found["convkit"]
        ratios.setdefault(layer.kind, {}).setdefault("one-shot", []).append(ratio)
        print(
            f"{layer.name:28} conv2d {found['convkit'] * 1e3:8.3f} ms, torch "
            f"{found['torch'] * 1e3:8.3f} ms, ratio {ratio:.2f}",
            flush=True,
        )
    report(ratios, "lowest")


def views(only: str) -> None:
    ratios: dict[str, dict[str, list[float]]] = {}
    for layer in named(only):
        problem = layer.problem
        x, w, b = arrays(problem)
        plan = plan_of(problem, w, b, "auto")
        kinds = {
            "contiguous": shifted(x, 0), "nhwc": nhwc(x), "crop": crop(x), "off_4": shifted(x, 4),
            "off_1": shifted(x, 1),
        }  # fmt: skip
        calls: dict[str, Call] = {kind: partial(plan, a) for kind, a in kinds.items()}
        found = medians(calls, 2 * problem.macs / 1e11)
        plain = found.pop("contiguous")
        for kind, seconds in found.items():
            ratios.setdefault(layer.kind, {}).setdefault(kind, []).append(seconds / plain)
        print(
            f"{layer.name:28} {plan.algorithm:12} {plain * 1e3:8.3f} ms,",
            ", ".join(f"{kind} {seconds / plain:.2f}" for kind, seconds in found.items()),
            flush=True,
        )
    report(ratios, "highest")


def large_layers() -> list[Layer]:
    """Those of bench/shapes and the reference ones that are worth many threads."""
    found = layers.select((*layers.networks(), str(REFERENCE)))
    return [layer for layer in found if 2 * layer.problem.macs >= LARGE]


def threads_of(threads: int, only: str) -> None:
    """Two threads move the same bytes through caches that they share: how long that takes alone,
    at the measured speed of the last level, stands beside each layer."""
    bandwidth = machine.measure(0.5).caches[-1][1]
    ratios: dict[str, dict[str, list[float]]] = {}
    for layer in large_layers():
        problem = layer.problem
        if not is_named(layer, only):
            continue
        x, w, b = arrays(problem)
        plan = plan_of(problem, w, b, "auto")

        def on(count: int, plan: convkit.Plan = plan, x: np.ndarray = x) -> None:
            with convkit.threads(count):
                plan(x)

        found = medians(
            {"one": partial(on, 1), "all": partial(on, threads)}, 2 * problem.macs / 2e11
        )
        ratio = found["one"] / found["all"]
        moved = (x.nbytes + plan(x).nbytes + w.nbytes) / bandwidth
        ratios.setdefault(layer.kind, {}).setdefault(f"{threads} threads", []).append(ratio)
        print(
            f"{layer.name:36} {plan.algorithm:16} {found['one'] * 1e3:8.3f} ms, {threads} threads "
            f"{found['all'] * 1e3:8.3f} ms, ratio {ratio:.2f}, bytes alone {moved * 1e3:.3f} ms",
            flush=True,
        )
    report(ratios, "lowest")


def isas(only: str) -> None:
    """Both in one process, by turns; each peak is measured with its own vectors."""
    print("share of the FMA peak of the instruction set")
    peaks = {}
    for name in ISAS:
        with isa(name):
            peaks[name] = machine.measure(0.5).peak
    shares: dict[str, dict[str, list[float]]] = {}
    for layer in named(only):
        problem = layer.problem
        x, w, b = arrays(problem)
        calls: dict[str, Call] = {}
        algorithms = []
        for name in peaks:
            with isa(name):
                plan = plan_of(problem, w, b, "auto")
                calls[name] = partial(plan, x)
                algorithms.append(plan.algorithm)
        found = medians(calls, 2 * problem.macs / 1e11)
        share = {name: 2 * problem.macs / found[name] / peaks[name] for name in peaks}
        for name in peaks:
            shares.setdefault(layer.kind, {}).setdefault(name, []).append(share[name])
        short = share["avx2"] < share["avx512"] - max(0.1, share["avx512"] / 10)
        print(
            f"{layer.name:28} {' / '.join(algorithms):35} avx512 {share['avx512']:.2f}, "
            f"avx2 {share['avx2']:.2f}{'  SHORT' if short else ''}",
            flush=True,
        )
    report(shares, "lowest")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.calls")
    parser.add_argument("what", choices=("overhead", "one_shot", "views", "threads", "isas"))
    parser.add_argument("--threads", type=int, help="default 1; of `threads` 2")
    parser.add_argument("--only", default="", help="a class or a part of a layer's name")
    options = parser.parse_args()
    if options.threads is None:
        options.threads = 2 if options.what == "threads" else 1
    if options.threads < 1:
        parser.error(f"--threads {options.threads} must be at least 1")
    known = large_layers() if options.what == "threads" else layers.read(REFERENCE)
    if not any(is_named(layer, options.only) for layer in known):
        parser.error(f"--only {options.only!r} must be a class or a part of a layer's name")
    if options.what == "isas" and (missing := set(ISAS) - set(_convkit.available_isas())):
        parser.error(f"isas compares {' and '.join(ISAS)}: not here is {', '.join(missing)}")
    convkit.set_num_threads(options.threads)
    if options.what == "overhead":
        overhead()
    elif options.what == "one_shot":
        one_shot(options.threads, options.only)
    elif options.what == "threads":
        threads_of(options.threads, options.only)
    elif options.what == "isas":
        isas(options.only)
    else:
        views(options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
