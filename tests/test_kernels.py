"""Every algorithm x variant x instruction set x case, run natively: right, nothing else touched.

Scratch and packed weights are filled with NaN and fenced (`set_checking`), outputs lie in guarded
memory full of NaN.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from cases import CASES, PROMISES, REAL_LAYERS
from guarded import LAYOUTS, guarded
from native import (
    ISAS,
    WAYS,
    fields_for,
    heavy,
    in_blocks,
    in_planes,
    lanes,
    many,
    native_plan,
    run,
    some,
)
from oracle import assert_within

from convkit import _convkit
from convkit.algorithms import ALGORITHMS

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("checked_kernels")]


@pytest.mark.parametrize(("variant", "case"), many(CASES))
def test_matches_oracle(variant, case):
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    y = run(plan, problem, arrays.x)
    assert_within(y, *arrays.expected(PROMISES[variant.algorithm], problem))
    shared_out = run(plan, problem, arrays.x, threads=3)
    np.testing.assert_array_equal(shared_out, y, "3 threads do not give the bits of one")


@pytest.mark.parametrize(("variant", "case"), many(REAL_LAYERS))
def test_layers_of_networks(variant, case):
    """Each kind of layer in bench/shapes, with fewer channels and pixels."""
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    y = run(plan, problem, arrays.x, threads=2)
    assert_within(y, *arrays.expected(PROMISES[variant.algorithm], problem))


@pytest.mark.parametrize("block", [4, 8, 16, 32])
@pytest.mark.parametrize(
    ("variant", "case"),
    in_blocks(
        "depthwise_channels_19 depthwise_channels_19_5x5 depthwise_narrow_19 filters_17 odd_sizes"
    ),
)
def test_blocks_of_channels(variant, case, block):
    """Of any whole number of vectors."""
    if block % lanes(variant):
        return
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias, "sigmoid", block=block)
    expected = arrays.expected(PROMISES[variant.algorithm], problem, activation="sigmoid")
    assert_within(run(plan, problem, arrays.x, threads=2), *expected)


@pytest.mark.parametrize(("variant", "case"), in_blocks(WAYS))
def test_blocks_within_larger_ones(variant, case):
    """A slice of the blocks, rows, pixels and lanes of a larger value, mirrored."""
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    for activation in ("relu", "sigmoid"):
        plan = native_plan(variant, problem, arrays.w, arrays.bias, activation)
        expected = run(plan, problem, arrays.x, arrays.residual)
        plan.loose = True
        y = run(plan, problem, arrays.x, arrays.residual, threads=2)
        np.testing.assert_array_equal(y, expected)
        y = run(plan, problem, arrays.x, arrays.residual, in_place=True)
        np.testing.assert_array_equal(y, expected, "y over the residual")


@pytest.mark.parametrize(("variant", "case"), heavy(in_planes(WAYS)))
def test_layouts_give_the_same_bits(variant, case):
    """Of x, of y and of the residual in planes, each in turn and all at once."""
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    expected = run(plan, problem, arrays.x, arrays.residual)
    for layout in LAYOUTS:
        x = guarded(problem.x_shape, problem.dtype, layout, arrays.x).array
        residual = guarded(problem.y_shape, problem.dtype, layout, arrays.residual).array
        for what, y in {
            "x": run(plan, problem, x, arrays.residual),
            "x by 3 threads": run(plan, problem, x, arrays.residual, threads=3),
            "y": run(plan, problem, arrays.x, arrays.residual, layout=layout),
            "residual": run(plan, problem, arrays.x, residual),
            "x, y and residual": run(plan, problem, x, residual, layout=layout),
            "y over the residual": run(plan, problem, x, residual, layout=layout, in_place=True),
        }.items():
            np.testing.assert_array_equal(y, expected, f"{what} {layout}")


@pytest.mark.parametrize(
    ("variant", "case"),
    some("odd_sizes depthwise_3x3 pointwise one_channel rank_one_twice rank_one_3x3_wide"),
)
def test_zero_strides(variant, case):
    """One image, channel, row or column that stands for all of them (np.broadcast_to)."""
    problem = case.of(variant.dtype)
    arrays = case.arrays(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    for axes in ([0], [1], [2], [3], [2, 3], [0, 1, 2, 3]):
        one = arrays.x[tuple(slice(1) if axis in axes else slice(None) for axis in range(4))]
        x = np.broadcast_to(one, (3, *problem.x_shape[1:]))
        y = run(plan, problem, x)
        np.testing.assert_array_equal(y, run(plan, problem, np.array(x)), f"axes {axes}")


ACTIVATIONS = [
    None, "relu", "relu6", ("clip", -0.75, 1.5), ("clip", 0.25, 1.5), "leaky_relu",
    ("leaky_relu", -1.5), ("elu", 0.7), "hardsigmoid", ("hardsigmoid", -0.3, 0.25), "sigmoid",
    "tanh", "hardswish", "silu", "gelu",
]  # fmt: skip
if _convkit.SANITIZED:  # a bound, none, and two that leave through memory: the ways to y
    ACTIVATIONS = [None, "relu", ("clip", 0.25, 1.5), "silu", "gelu"]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize(
    ("variant", "case"),
    some(
        "filters_9 depthwise_twice pointwise_stride_1x2 filter_even filter_5x7 rank_one_twice"
        " phases_circular"
    ),
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
    ("variant", "case"),
    heavy(
        some(
            WAYS + "resnet20_block_3 mobilenet_pw tile_64_same lenet_c3"
            " tiles_in_blocks tiles_in_shares deep_strips"
        )
    ),
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


@pytest.mark.parametrize(
    ("variant", "case"), some("batch_2 depthwise_stride_2 pointwise_batch rank_one_batch")
)
def test_empty_batch(variant, case):
    problem = dataclasses.replace(case.of(variant.dtype), n=0)
    arrays = case.arrays(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    assert run(plan, problem, arrays.x[:0]).shape == problem.y_shape


@pytest.mark.parametrize(("variant", "case"), some(WAYS))
def test_sizes_and_items_follow_from_one_image(variant, case):
    """What a plan reserves and how it splits its work is the same for every batch."""
    _convkit.select_isa(variant.isa)
    problem = case.of(variant.dtype)
    one, many = (fields_for(variant, problem.with_batch(n)) for n in (1, 7))
    sizes = _convkit.sizes(variant.algorithm, one, variant.index)
    assert sizes == _convkit.sizes(variant.algorithm, many, variant.index)
    assert all(size >= 0 for size in sizes)
    items = _convkit.items(variant.algorithm, one, variant.index)
    assert items == _convkit.items(variant.algorithm, many, variant.index)
    assert min(items) >= 0
    assert max(items) >= 1


@pytest.mark.parametrize("isa", ISAS)
def test_every_algorithm_is_built_for_every_isa(isa):
    _convkit.select_isa(isa)
    for row in ALGORITHMS:
        assert _convkit.variants(row.name), row.name
        names = [name for name, *_ in _convkit.variants(row.name)]
        assert len(set(names)) == len(names), names
