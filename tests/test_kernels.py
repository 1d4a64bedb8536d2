"""Every algorithm x variant x instruction set x case, through the native plan: right, and only what it may touch touched.

Scratch and packed weights are filled with NaN and fenced (`set_checking`), outputs lie in guarded memory full of NaN.
"""

from __future__ import annotations

import dataclasses
import os
from typing import NamedTuple

import numpy as np
import pytest
from cases import BY_NAME, CASES, PROMISES, Case
from guarded import LAYOUTS, guarded
from oracle import assert_within

from convkit import _convkit
from convkit.algorithms import ALGORITHMS
from convkit.epilogue import activation as parse_activation
from convkit.problem import DTYPES, ConvProblem

pytestmark = pytest.mark.kernels

FORCED = os.environ.get("CONVKIT_FORCE_ISA")
ISAS = [FORCED] if FORCED else _convkit.available_isas()


class Variant(NamedTuple):
    """One kernel: an algorithm's variant on one instruction set."""

    isa: str
    algorithm: str
    index: int
    name: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.isa}-{self.algorithm}-{self.name}".replace(" ", "_")


def every_variant() -> list[Variant]:
    chosen, found = _convkit.current_isa(), []
    for isa in ISAS:
        _convkit.select_isa(isa)
        for row in ALGORITHMS:
            for index, (name, dtype, *layouts) in enumerate(_convkit.variants(row.name)):
                if layouts == [0, 0]:
                    found.append(Variant(isa, row.name, index, name, DTYPES[dtype]))
    _convkit.select_isa(chosen)
    return found


VARIANTS = every_variant()
SUPPORTS = {row.name: row.supports for row in ALGORITHMS}


def pairs(cases: list[Case]) -> list[object]:
    return [
        pytest.param(variant, case, id=f"{variant}-{case.name}")
        for variant in VARIANTS
        for case in cases
        if SUPPORTS[variant.algorithm](case.of(variant.dtype))
    ]


def some(names: str) -> list[object]:
    return pairs([BY_NAME[name] for name in names.split()])


@pytest.fixture(autouse=True)
def checking():
    chosen = _convkit.current_isa()
    _convkit.set_checking(True)
    yield
    _convkit.set_checking(False)
    _convkit.select_isa(chosen)


def native_plan(variant: Variant, problem: ConvProblem, w, bias=None, activation=None):
    _convkit.select_isa(variant.isa)
    kind, a, b = parse_activation(activation)
    return _convkit.Plan(
        variant.algorithm, tuple(problem.kernel_problem()), w, bias, kind, a, b, variant.index,
        _convkit.NO_LIMIT,
    )  # fmt: skip


def run(
    plan, problem: ConvProblem, x, residual=None, *, threads=1, layout="contiguous", in_place=False
):
    """The plan's answer, written into guarded memory; in_place: over the residual."""
    shape = (x.shape[0], *problem.y_shape[1:])
    y = guarded(shape, problem.dtype, layout, residual if in_place else None)
    plan.run(x, y.array if in_place else residual, y.array, threads)
    y.check("y")
    return np.array(y.array)


@pytest.mark.parametrize(("variant", "case"), pairs(CASES))
def test_matches_oracle(variant, case):
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    y = run(plan, problem, arrays.x)
    assert_within(y, *arrays.expected(PROMISES[variant.algorithm], problem))
    shared_out = run(plan, problem, arrays.x, threads=3)
    np.testing.assert_array_equal(shared_out, y, "3 threads do not give the bits of one")


# One case for each way through a kernel: main tiles and their tails, padding, strides, groups.
WAYS = """
    odd_sizes one_row_3x3 stride_2 stride_1x3 uneven_padding reflect circular dilation_2 groups_2 batch_2
    depthwise_3x3 depthwise_stride_2 depthwise_thrice_stride_2 depthwise_2x4 depthwise_circular
    pointwise_batch pointwise_stride_2 pointwise_many_pixels padded_1x1 columns_33 filters_17 filter_11x11_batch
    one_channel filter_5x5_wide
"""


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "contiguous"])
@pytest.mark.parametrize(("variant", "case"), some(WAYS))
def test_layouts_give_the_same_bits(variant, case, layout):
    """Of x, of y and of the residual, each in turn and all at once."""
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    expected = run(plan, problem, arrays.x, arrays.residual)
    x = guarded(problem.x_shape, problem.dtype, layout, arrays.x).array
    residual = guarded(problem.y_shape, problem.dtype, layout, arrays.residual).array
    for what, y in {
        "x": run(plan, problem, x, arrays.residual),
        "y": run(plan, problem, arrays.x, arrays.residual, layout=layout),
        "residual": run(plan, problem, arrays.x, residual),
        "x, y and residual": run(plan, problem, x, residual, layout=layout),
        "y over the residual": run(plan, problem, x, residual, layout=layout, in_place=True),
    }.items():
        np.testing.assert_array_equal(y, expected, f"{what} {layout}")


@pytest.mark.parametrize(("variant", "case"), some("odd_sizes depthwise_3x3 pointwise one_channel"))
def test_zero_strides(variant, case):
    """One image, channel, row or column that stands for all of them, as np.broadcast_to makes it."""
    problem = case.of(variant.dtype)
    arrays = case.arrays(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    for axes in ([0], [1], [2], [3], [2, 3], [0, 1, 2, 3]):
        one = arrays.x[tuple(slice(1) if axis in axes else slice(None) for axis in range(4))]
        x = np.broadcast_to(one, (3, *problem.x_shape[1:]))
        y = run(plan, problem, x)
        np.testing.assert_array_equal(y, run(plan, problem, np.array(x)), f"axes {axes}")


ACTIVATIONS = [
    None, "relu", "relu6", ("clip", -0.75, 1.5), "leaky_relu", ("leaky_relu", -1.5), ("elu", 0.7), "hardsigmoid",
    ("hardsigmoid", -0.3, 0.25), "sigmoid", "tanh", "hardswish", "silu", "gelu",
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize(
    ("variant", "case"),
    some("filters_9 depthwise_twice pointwise_stride_1x2 filter_even filter_5x7"),
)
def test_epilogue(variant, case, activation):
    """Bias, residual and activation, each with and without the others."""
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    promise = PROMISES[variant.algorithm]
    for bias in (None, arrays.bias):
        plan = native_plan(variant, problem, arrays.w, bias, activation)
        for residual in (None, arrays.residual):
            given = {"bias": bias is not None, "residual": residual is not None}
            expected = arrays.expected(promise, problem, activation=activation, **given)
            assert_within(run(plan, problem, arrays.x, residual), *expected)
    in_place = run(plan, problem, arrays.x, arrays.residual, in_place=True, threads=2)
    assert_within(in_place, *expected)


@pytest.mark.parametrize(
    ("variant", "case"), some(WAYS + "resnet20_block_3 mobilenet_pw tile_64_same lenet_c3")
)
def test_batch_and_threads_give_the_same_bits(variant, case):
    """Whatever the number of threads, an image's batch and its place in it."""
    problem = case.of(variant.dtype)
    arrays = case.arrays(variant.dtype)
    images = np.concatenate(
        [arrays.x[:1], arrays.x[:1] * 2, -arrays.x[:1], arrays.x[:1, ..., ::-1]]
    )
    plan = native_plan(variant, problem, arrays.w, arrays.bias, "relu")
    alone = np.concatenate([run(plan, problem, image[None]) for image in images])
    for threads in range(1, 6):
        np.testing.assert_array_equal(
            run(plan, problem, images, threads=threads), alone, f"{threads} threads"
        )
    np.testing.assert_array_equal(run(plan, problem, images[::-1], threads=2)[::-1], alone)


@pytest.mark.parametrize(("variant", "case"), some("batch_2 depthwise_stride_2 pointwise_batch"))
def test_empty_batch(variant, case):
    problem = dataclasses.replace(case.of(variant.dtype), n=0)
    arrays = case.arrays(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    assert run(plan, problem, arrays.x[:0]).shape == problem.y_shape


@pytest.mark.parametrize(("variant", "case"), some(WAYS))
def test_sizes_and_items_follow_from_one_image(variant, case):
    """Not from the batch: what a plan reserves and how it splits its work is the same for every call."""
    _convkit.select_isa(variant.isa)
    problem = case.of(variant.dtype)
    one, many = (tuple(problem.with_batch(n).kernel_problem()) for n in (1, 7))
    sizes = _convkit.sizes(variant.algorithm, one, variant.index)
    assert sizes == _convkit.sizes(variant.algorithm, many, variant.index)
    assert all(size >= 0 for size in sizes)
    items = _convkit.items(variant.algorithm, one, variant.index)
    assert items == _convkit.items(variant.algorithm, many, variant.index)
    assert all(count >= 1 for count in items)


@pytest.mark.parametrize("isa", ISAS)
def test_every_algorithm_is_built_for_every_isa(isa):
    _convkit.select_isa(isa)
    for row in ALGORITHMS:
        assert _convkit.variants(row.name), row.name
        names = [name for name, *_ in _convkit.variants(row.name)]
        assert len(set(names)) == len(names), names
