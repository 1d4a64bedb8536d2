"""Runs operators and sweeps at the very end, or start, of memory, as page_end.py does kernels.

python page_end_operators.py end|start ISA
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from page_end import Fenced

import convkit
from convkit import _convkit, sweeps
from convkit.operators.normalization import instance_norm
from convkit.operators.pooling import pool
from convkit.operators.resize import Interpolation, resize2d

SHAPES = [(2, 3, 5, 7), (1, 17, 1, 16), (1, 1, 9, 33), (2, 33, 4, 65), (1, 64, 16, 17)]
ORDERS = [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)]


class Memory:
    """Arrays that lie between pages nobody may touch."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.blocks: list[Fenced] = []

    def __call__(self, values: np.ndarray, order: tuple[int, ...] | None = None) -> np.ndarray:
        block = Fenced(values.nbytes, self.at)
        self.blocks.append(block)
        return block.array(values, tuple(range(values.ndim)) if order is None else order)

    def free(self) -> None:
        for block in self.blocks:
            block.free()
        self.blocks = []


def calls(x: np.ndarray, order: tuple[int, ...], place: Memory) -> Iterator[str]:
    """Runs one operator after the other, naming it first."""
    n, c, h, w = x.shape
    given = place(x, order)

    def out(*shape: int) -> np.ndarray:
        return place(np.empty(shape, x.dtype), order)

    yield "binary"
    sweeps.binary("add", given, place(x[:1, :, :1], order), out=out(*x.shape))
    sweeps.binary("power", given, place(x[0, :, :1, :1]), out=out(*x.shape))
    yield "unary"
    sweeps.unary(given, sweeps.function("mish"), out=out(*x.shape))
    for axes in ((0,), (1,), (2, 3), (3,), (0, 2)):
        yield f"reduce {axes}"
        sweeps.reduce("sum", given, axes)
    for axes in ((0, 2, 3, 1), (3, 2, 1, 0), (0, 1, 3, 2)):
        yield f"transpose {axes}"
        sweeps.transpose(given, axes, out=out(*(x.shape[axis] for axis in axes)))
    yield "pad"
    sweeps.pad(given, ((0, 0), (1, 0), (2, 1), (0, 3)), value=1, out=out(n, c + 1, h + 3, w + 3))
    yield "blocks"
    whole = place(np.empty((n, -(-c // 16), h, w, 16), x.dtype))
    sweeps.to_blocks(given, 16, out=whole)
    sweeps.from_blocks(whole, c, out=out(*x.shape))
    for stride, dilation in ((1, 1), (2, 1), (3, 1), (1, 2)):
        settings: dict[str, Any] = {"stride": stride, "padding": 1, "dilation": dilation}
        if h + 2 < 2 * dilation + 1:
            continue
        yield f"max_pool {settings}"
        y, places = convkit.max_pool2d(given, 3, **settings, return_indices=True)
        convkit.max_pool2d(given, 3, **settings, out=out(*y.shape))
        yield f"max_unpool {settings}"
        large = out(n, c, h, w)
        convkit.max_unpool2d(place(y, order), place(places), 3, output_size=(h, w), out=large)
        yield f"avg_pool {settings}"
        pool("avg_pool", given, 3, **settings, ceil_mode=False, count=1, out=out(*y.shape))
    yield "norms"
    convkit.local_response_norm(given, 5)
    instance_norm(given)
    for mode in ("nearest", "linear", "cubic"):
        yield f"resize {mode}"
        for size in ((2 * h, 2 * w), (h + 1, (w + 1) // 2)):
            resize2d(given, size=size, how=Interpolation(mode), out=out(n, c, *size))
    yield "conv_transpose"
    for taps, stride in ((3, 2), (2, 2), (3, 1), (2, 3)):
        filters = place(np.ones((c, 5, taps, taps), x.dtype))
        y = convkit.conv_transpose2d(given, filters, stride=stride)
        convkit.conv_transpose2d(given, filters, stride=stride, out=out(*y.shape))


def main(at: str, isa: str) -> None:
    _convkit.select_isa(isa)
    rng = np.random.default_rng(3)
    for dtype in ("float32", "float64"):
        for shape in SHAPES:
            for order in ORDERS:
                place = Memory(at)
                for name in calls(rng.random(shape).astype(dtype), order, place):
                    print(isa, dtype, shape, order, name, flush=True)
                place.free()


if __name__ == "__main__":
    main(*sys.argv[1:])
    print("done")
