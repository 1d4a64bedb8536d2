"""Winograd's items share the work of real layers among many threads: reckoned, not timed.

Cycles of the phases as measured with AVX-512, repeated work included; ranges as the executor cuts
them, one for each thread.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from native import ISAS

from convkit import _convkit
from convkit.problem import conv_problem

# Cycles of a tile for a vector of channels in, for a vector of filters out.
IN, OUT, LANES = 362, 279, 16
LAYERS = [
    (64, 56, 64), (128, 28, 128), (256, 14, 256), (512, 7, 512), (64, 224, 64), (64, 112, 128),
    (128, 28, 192), (128, 112, 128), (128, 56, 256), (256, 56, 256), (256, 28, 512),
    (512, 28, 512), (512, 14, 512),
]  # fmt: skip
Phase = Callable[[int, int], float]


def makespan(cost: Phase, items: int, threads: int) -> float:
    """When the last of the ranges is done."""
    cuts = [i * items // threads for i in range(threads + 1)]
    return max(cost(*cut) for cut in pairwise(cuts) if cut[0] < cut[1])


def phases(c: int, size: int, k: int) -> list[tuple[Phase, int]]:
    """The cost of a range of items in each phase, and the number of items."""
    fields = tuple(conv_problem((1, c, size, size), (k, c, 3, 3), padding=1).kernel_problem())
    counts = _convkit.items("winograd_f4", fields)
    packed = round(_convkit.sizes("winograd_f4", fields)[0] / (4 * c * k))  # by filter and channel
    side = -(-size // 4)
    points = 6 * side - (4 * side - size)  # last tiles of three outputs have five
    cells, vectors = counts[0], k / LANES

    if packed == 9:  # rows
        sums = c * (points * (3 * size - 2) + 24 * -(-side // 2)) / 2 + size * side * 60
        inputs = 2 * size * 40.0
        return [
            (lambda begin, end: (end - begin) * inputs, counts[0]),
            (lambda begin, end: (end - begin) * sums, counts[1]),
        ]
    tile = c * points**2 / side**2 / 2 + OUT  # of a vector of filters
    if len(counts) == 1:  # full: a range transforms the inputs of every cell it touches
        shares = -(-k // 128)
        tiles = side * side * shares / cells

        def cell(begin: int, end: int) -> float:
            touched = len({item // shares for item in range(begin, end)})
            return tiles * (touched * c / LANES * IN + (end - begin) * vectors / shares * tile)

        return [(cell, cells)]
    half = packed == 18
    units = counts[1] // (k // LANES if half else k // (2 * LANES))
    work = side * side / units * tile * (1 if half else 2)

    def unit(begin: int, end: int) -> float:
        finished = len({item // units for item in range(begin, end)}) if half else 0
        return (end - begin) * work + finished * 36.0 * c

    inputs = side * side * c / LANES / cells * IN
    return [(lambda begin, end: (end - begin) * inputs, cells), (unit, counts[1])]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "{}@{}-{}".format(*layer))
@pytest.mark.parametrize(("threads", "least"), [(8, 0.8), (32, 0.8), (128, 0.2)])
def test_threads_are_busy(layer, threads, least):
    if "avx512" not in ISAS:
        pytest.skip("needs AVX-512: the cycles are its")
    chosen = _convkit.current_isa()
    _convkit.select_isa("avx512")
    parts = phases(*layer)
    _convkit.select_isa(chosen)
    alone = sum(cost(0, items) for cost, items in parts)
    together = sum(makespan(cost, items, threads) for cost, items in parts)
    assert alone / threads >= least * together
