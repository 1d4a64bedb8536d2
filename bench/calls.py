"""What a call costs beside the convolution: overhead, one-shot calls, views of x.

    python -m bench.calls overhead | one_shot | views [--threads 1] [--only NAME]

overhead: microseconds of plan(x) and conv2d on a 1x1x8x8 input, computing included. one_shot:
conv2d (choice and packing included) against torch.nn.functional.conv2d. views: a plan on an NHWC
view, a crop, and x that begins 4 and 1 bytes off, against contiguous x. In shuffled order, medians.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import convkit

#: name, class, c, side, k, filter, stride, padding, groups
LAYERS = (
    ("stem7x7s2", "dense", 3, 224, 64, 7, 2, 3, 1),
    ("3x3_64@56", "3x3", 64, 56, 64, 3, 1, 1, 1),
    ("3x3_128@28", "3x3", 128, 28, 128, 3, 1, 1, 1),
    ("3x3_256@14", "3x3", 256, 14, 256, 3, 1, 1, 1),
    ("3x3_512@7", "3x3", 512, 7, 512, 3, 1, 1, 1),
    ("vgg_64@224", "3x3", 64, 224, 64, 3, 1, 1, 1),
    ("vgg_512@28", "3x3", 512, 28, 512, 3, 1, 1, 1),
    ("3x3s2_128@56", "dense", 128, 56, 128, 3, 2, 1, 1),
    ("5x5_192-32@28", "dense", 192, 28, 32, 5, 1, 2, 1),
    ("alex_11x11s4", "dense", 3, 227, 96, 11, 4, 0, 1),
    ("alex_5x5g2", "dense", 96, 27, 256, 5, 1, 2, 2),
    ("resnext_g32", "dense", 128, 56, 128, 3, 1, 1, 32),
    ("1x1_64-256@56", "1x1", 64, 56, 256, 1, 1, 0, 1),
    ("1x1_256-64@56", "1x1", 256, 56, 64, 1, 1, 0, 1),
    ("1x1_512-128@28", "1x1", 512, 28, 128, 1, 1, 0, 1),
    ("1x1_1024-256@14", "1x1", 1024, 14, 256, 1, 1, 0, 1),
    ("1x1_2048-512@7", "1x1", 2048, 7, 512, 1, 1, 0, 1),
    ("1x1s2_256-512@56", "1x1", 256, 56, 512, 1, 2, 0, 1),
    ("1x1_24-144@56", "1x1", 24, 56, 144, 1, 1, 0, 1),
    ("dw3_32@112", "dw", 32, 112, 32, 3, 1, 1, 32),
    ("dw3s2_64@112", "dw", 64, 112, 64, 3, 2, 1, 64),
    ("dw3_128@56", "dw", 128, 56, 128, 3, 1, 1, 128),
    ("dw3_512@14", "dw", 512, 14, 512, 3, 1, 1, 512),
    ("dw3_1024@7", "dw", 1024, 7, 1024, 3, 1, 1, 1024),
    ("dw5_240@28", "dw", 240, 28, 240, 5, 1, 2, 240),
    ("dw31_384@14", "large", 384, 14, 384, 31, 1, 15, 384),
    ("dw31_96@56", "large", 96, 56, 96, 31, 1, 15, 96),
    ("11x11_64@56", "large", 64, 56, 64, 11, 1, 5, 1),
    ("15x15_16@128", "large", 16, 128, 16, 15, 1, 7, 1),
)
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


def arrays(layer: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, int]]:
    _, _, c, side, k, r, stride, padding, groups = layer
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, c, side, side), dtype="f")
    w = rng.standard_normal((k, c // groups, r, r), dtype="f")
    b = rng.standard_normal(k, dtype="f")
    return x, w, b, {"stride": stride, "padding": padding, "groups": groups}


def flops(layer: tuple[Any, ...]) -> float:
    _, _, c, side, k, r, stride, padding, groups = layer
    return 2.0 * k * c // groups * r * r * ((side + 2 * padding - r) // stride + 1) ** 2


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
    for layer in LAYERS:
        if only not in (layer[1], "") and only not in layer[0]:
            continue
        x, w, b, options = arrays(layer)
        xt, wt, bt = map(torch.from_numpy, (x, w, b))
        with torch.inference_mode():
            found = medians(
                {
                    "convkit": partial(convkit.conv2d, x, w, b, **options),
                    "torch": partial(conv2d, xt, wt, bt, **options),
                },
                flops(layer) / 1e11,
            )
        ratio = found["torch"] / found["convkit"]
        ratios.setdefault(layer[1], {}).setdefault("one-shot", []).append(ratio)
        print(
            f"{layer[0]:17} conv2d {found['convkit'] * 1e3:8.3f} ms, torch "
            f"{found['torch'] * 1e3:8.3f} ms, ratio {ratio:.2f}",
            flush=True,
        )
    report(ratios, "lowest")


def views(only: str) -> None:
    ratios: dict[str, dict[str, list[float]]] = {}
    for layer in LAYERS:
        if only not in (layer[1], "") and only not in layer[0]:
            continue
        x, w, b, options = arrays(layer)
        plan = convkit.plan(x.shape, w, b, **options)
        kinds = {
            "contiguous": shifted(x, 0), "nhwc": nhwc(x), "crop": crop(x), "off_4": shifted(x, 4),
            "off_1": shifted(x, 1),
        }  # fmt: skip
        calls: dict[str, Call] = {kind: partial(plan, a) for kind, a in kinds.items()}
        found = medians(calls, flops(layer) / 1e11)
        plain = found.pop("contiguous")
        for kind, seconds in found.items():
            ratios.setdefault(layer[1], {}).setdefault(kind, []).append(seconds / plain)
        print(
            f"{layer[0]:17} {plan.algorithm:12} {plain * 1e3:8.3f} ms,",
            ", ".join(f"{kind} {seconds / plain:.2f}" for kind, seconds in found.items()),
            flush=True,
        )
    report(ratios, "highest")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.calls")
    parser.add_argument("what", choices=("overhead", "one_shot", "views"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="a class or a part of a layer's name")
    options = parser.parse_args()
    convkit.set_num_threads(options.threads)
    if options.what == "overhead":
        overhead()
    elif options.what == "one_shot":
        one_shot(options.threads, options.only)
    else:
        views(options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
