"""Every kernel variant, and how to run one through the native plan."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any, NamedTuple

import numpy as np
import pytest
from cases import BY_NAME, Case
from guarded import Guarded, guarded

from convkit import _convkit
from convkit.algorithms import ALGORITHMS
from convkit.epilogue import activation as parse_activation
from convkit.problem import DTYPES, ConvProblem

FORCED = os.environ.get("CONVKIT_FORCE_ISA")
ISAS = [FORCED] if FORCED else _convkit.available_isas()
SUPPORTS = {row.name: row.supports for row in ALGORITHMS}
WEIGHING = {row.name for row in ALGORITHMS if row.weights}

# One case for each way through a kernel: main tiles and their tails, padding, strides, groups.
WAYS = """
    odd_sizes one_row_3x3 stride_2 stride_1x3 uneven_padding reflect circular dilation_2 groups_2
    batch_2 depthwise_3x3 depthwise_stride_2 depthwise_thrice_stride_2 depthwise_2x4
    depthwise_circular depthwise_bands depthwise_narrow depthwise_narrow_stride_2 pointwise_batch
    pointwise_stride_2 pointwise_many_pixels padded_1x1 depthwise_channels_19 depthwise_narrow_19
    depthwise_channels_19_5x5 depthwise_channels_19_7x7
    depthwise_large_19 depthwise_large_19_stride_2 depthwise_channels_19_twice
    groups_of_2_5x5_many groups_of_4_lines groups_of_4_stride_2 columns_33 filters_17
    filter_11x11_batch one_channel filter_5x5_wide rank_one_batch rank_one_twice rank_one_reflect
    rank_one_strips_circular rank_one_blocks rank_one_31x31 in_place in_place_both_edges
    in_place_5x5_stride_4 in_place_weights_stay phases_7x7 phases_9x7_stride_3
    phases_circular
"""


class Variant(NamedTuple):
    """One kernel: an algorithm's variant on one instruction set."""

    isa: str
    algorithm: str
    index: int
    name: str
    dtype: str
    layouts: tuple[int, int] = (0, 0)  # of x and y: 1 is nchwc

    def __str__(self) -> str:
        return f"{self.isa}-{self.algorithm}-{self.name}".replace(" ", "_")


def _every_variant() -> list[Variant]:
    chosen, found = _convkit.current_isa(), []
    for isa in ISAS:
        _convkit.select_isa(isa)
        for row in ALGORITHMS:
            for index, (name, dtype, *layouts) in enumerate(_convkit.variants(row.name)):
                found.append(Variant(isa, row.name, index, name, DTYPES[dtype], tuple(layouts)))
    _convkit.select_isa(chosen)
    return found


VARIANTS = _every_variant()


def heavy(parameters: list[Any]) -> list[Any]:
    """Of a test that runs each case many times, what the sanitizers have time for: the variants
    between planes. What they see of blocks, they see in the other tests."""
    if not _convkit.SANITIZED:
        return parameters
    return [each for each in parameters if not any(each.values[0].layouts)]


def supported(cases: list[Case], variants: list[Variant] = VARIANTS) -> list[tuple[Variant, Case]]:
    """Each variant with each case that its algorithm supports."""
    return [
        (variant, case)
        for variant in variants
        for case in cases
        if SUPPORTS[variant.algorithm](case.of(variant.dtype))
        and (case.rank_one or variant.algorithm not in WEIGHING)
    ]


def _parameters(found: list[tuple[Variant, Case]]) -> list[Any]:
    return [pytest.param(*pair, id=f"{pair[0]}-{pair[1].name}") for pair in found]


def many(cases: list[Case]) -> list[Any]:
    """Each variant with all of many cases; with every fourth where that will do: what turns planes
    into blocks or back shares its tiles with variants that do not, and the sanitizers, which make a
    test ten times as long, see every way through a kernel by the cases of WAYS."""
    turning = [v for v in VARIANTS if v.layouts[0] != v.layouts[1]]
    rest = [v for v in VARIANTS if v.layouts[0] == v.layouts[1]]
    most = cases[::4] if _convkit.SANITIZED else cases
    return _parameters(supported(most, rest) + supported(cases[::4], turning))


def some(names: str) -> list[Any]:
    """Each variant with each of these cases."""
    return _parameters(supported(named(names)))


def in_blocks(names: str) -> list[Any]:
    """The variants that read or write blocks of channels, with each of these cases."""
    return _parameters(supported(named(names), [v for v in VARIANTS if any(v.layouts)]))


def in_planes(names: str) -> list[Any]:
    """The variants that read or write planes, with each of these cases."""
    return _parameters(supported(named(names), [v for v in VARIANTS if sum(v.layouts) <= 1]))


def named(names: str) -> list[Case]:
    return [BY_NAME[name] for name in names.split()]


def lanes(variant: Variant) -> int:
    """Numbers in a vector; also the block of channels that its instruction set works with."""
    width = {"avx512": 64, "avx2": 32}.get(variant.isa, 16)
    return width // np.dtype(variant.dtype).itemsize


def fields_for(variant: Variant, problem: ConvProblem, block: int = 0) -> tuple[int, ...]:
    """The problem's numbers in the variant's layouts, in blocks of `block` or of a vector."""
    fields, block = problem.kernel_problem(), block or lanes(variant)
    if any(variant.layouts):
        x_layout, y_layout = variant.layouts
        fields = fields._replace(x_layout=x_layout, y_layout=y_layout, block=block)
    return tuple(fields)


def native_plan(
    variant: Variant,
    problem: ConvProblem,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    activation: Any = None,
    *,
    block: int = 0,
) -> Any:
    """In blocks of `block` channels, else of a vector, where the variant reads or writes nchwc."""
    _convkit.select_isa(variant.isa)
    kind, a, b = parse_activation(activation)
    block = block or lanes(variant)
    fields = fields_for(variant, problem, block)
    plan = _convkit.Plan(
        variant.algorithm, fields, w, bias, kind, a, b, variant.index, _convkit.NO_LIMIT
    )
    return InBlocks(plan, variant.layouts, block) if any(variant.layouts) else plan


def blocked(
    array: np.ndarray, block: int, values: bool, loose: bool = False
) -> tuple[Guarded, np.ndarray, np.ndarray]:
    """Guarded (n, blocks, h, w, block) memory for an array, and the view that a plan is given.

    The view has the array's shape, and for channels the distance of blocks. Lanes past the last
    channel are zero; where `values` is false all is NaN. loose: the blocks are a part of those of a
    larger image, mirrored, and pixels are further apart.
    """
    n, c, h, w = array.shape
    shape = (n, -(-c // block), h, w, block)
    large = (n, shape[1] + 1, h + 2, w + 1, 2 * block) if loose else shape
    whole = guarded((math.prod(large),), str(array.dtype))
    inside = whole.array.reshape(large)
    if loose:
        inside = inside[:, :-1, -2:0:-1, -1:0:-1, :block]
    whole = dataclasses.replace(whole, outside=_outside(whole, inside))
    if values:
        channels = np.zeros((n, shape[1] * block, h, w), array.dtype)
        channels[:, :c] = array
        inside[...] = channels.reshape((n, shape[1], block, h, w)).transpose(0, 1, 3, 4, 2)
    view = np.lib.stride_tricks.as_strided(inside, array.shape, inside.strides[:4])
    return whole, inside, view


def _outside(whole: Guarded, inside: np.ndarray) -> np.ndarray:
    """What of the memory is no element of `inside`."""
    first = whole.pool.__array_interface__["data"][0]
    at = (inside.__array_interface__["data"][0] - first) // inside.itemsize
    outside = np.ones(whole.pool.shape, bool)
    steps = [step // inside.itemsize for step in inside.strides]
    places = np.asarray(at)
    for size, step in zip(inside.shape, steps, strict=True):
        places = np.add.outer(places, np.arange(size) * step)
    outside[places.ravel()] = False
    return outside


class InBlocks:
    """A native plan of nchwc memory that is called with arrays in planes."""

    loose = False  # as `blocked` takes it

    def __init__(self, plan: _convkit.Plan, layouts: tuple[int, int], block: int) -> None:
        self.plan, self.layouts, self.block = plan, layouts, block

    def run(self, x: Any, residual: Any, y: np.ndarray, threads: int) -> None:
        x_layout, y_layout = self.layouts
        given = blocked(x, self.block, True, self.loose)[2] if x_layout else x
        if not y_layout:
            self.plan.run(given, residual, y, threads)
            return
        whole, inside, to = blocked(y, self.block, residual is y, self.loose)
        more = to if residual is y else residual
        if more is not None and more is not to:
            more = blocked(more, self.block, True, self.loose)[2]
        self.plan.run(given, more, to, threads)
        whole.check("y in blocks")
        n, c, h, w = y.shape
        channels = inside.transpose(0, 1, 4, 2, 3).reshape((n, inside.shape[1] * self.block, h, w))
        assert not channels[:, c:].any(), "lanes past the last channel are not zero"
        y[...] = channels[:, :c]


def run(
    plan: Any,
    problem: ConvProblem,
    x: np.ndarray,
    residual: np.ndarray | None = None,
    *,
    threads: int = 1,
    layout: str = "contiguous",
    in_place: bool = False,
) -> np.ndarray:
    """The plan's answer, written into guarded memory; in_place: over the residual."""
    shape = (x.shape[0], *problem.y_shape[1:])
    y = guarded(shape, problem.dtype, layout, residual if in_place else None)
    plan.run(x, y.array if in_place else residual, y.array, threads)
    y.check("y")
    return np.array(y.array)
