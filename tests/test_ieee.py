"""A NaN or an infinity in x touches the outputs whose window holds it, and no other bit.

That is the promise of the algorithms that sum products as they stand; docs/algorithms.md says how
far a NaN spreads in Winograd and FFT.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases import PROMISES
from native import native_plan, run, some
from oracle import correlate

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("checked_kernels")]

CASES = """
    one_pixel_replicate odd_sizes stride_2 stride_over_filter uneven_padding reflect symmetric
    replicate circular dilation_2 groups_2 batch_2 filters_17 channels_17 columns_33 filter_1x7
    depthwise_3x3 depthwise_stride_2 depthwise_twice depthwise_7x7_reflect depthwise_2x4
    depthwise_circular pointwise pointwise_stride_2 pointwise_batch padded_1x1 padded_1x1_replicate
    pointwise_deep_257 rank_one_3x3 rank_one_batch rank_one_reflect rank_one_strips_circular
    rank_one_replicate_far rank_one_over_image rank_one_symmetric
"""
EXACT = [
    param for param in some(CASES) if PROMISES[param.values[0].algorithm].everywhere
]  # by promise: winograd and fft mix pixels


def places(shape):
    """The first and the last element, and one inside."""
    n, c, h, w = shape
    return {(0, 0, 0, 0), (n - 1, c - 1, h - 1, w - 1), (n // 2, c // 2, h // 2, w // 3)}


def windows_that_hold(place, problem, weights):
    """How many of these weights each output multiplies with x at this place."""
    one = np.zeros(problem.x_shape)
    one[place] = 1
    return correlate(one, weights, problem)


@pytest.mark.parametrize(("variant", "case"), EXACT)
def test_nan_in_x_stays_in_its_windows(variant, case):
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    clean = run(plan, problem, arrays.x)
    for place in places(problem.x_shape):
        x = arrays.x.copy()
        x[place] = np.nan
        held = windows_that_hold(place, problem, np.ones(problem.w_shape)) > 0
        y = run(plan, problem, x)
        np.testing.assert_array_equal(np.isnan(y), held, f"NaN at {place}")
        np.testing.assert_array_equal(y[~held], clean[~held], f"NaN at {place}")


@pytest.mark.parametrize(("variant", "case"), EXACT)
def test_infinity_in_x_stays_in_its_windows(variant, case):
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    clean = run(plan, problem, arrays.x)
    for place in places(problem.x_shape):
        x = arrays.x.copy()
        x[place] = np.inf
        up = windows_that_hold(place, problem, arrays.w > 0) > 0
        down = windows_that_hold(place, problem, arrays.w < 0) > 0
        expected = np.where(up & down, np.nan, np.where(up, np.inf, np.where(down, -np.inf, clean)))
        np.testing.assert_array_equal(run(plan, problem, x), expected, f"Inf at {place}")


@pytest.mark.parametrize(("variant", "case"), EXACT)
def test_nan_in_a_filter_stays_in_its_channel(variant, case):
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    clean = run(native_plan(variant, problem, arrays.w, arrays.bias), problem, arrays.x)
    for k in {0, problem.k // 2, problem.k - 1}:
        w = arrays.w.copy()
        w[k] = np.nan
        y = run(native_plan(variant, problem, w, arrays.bias), problem, arrays.x)
        others = np.arange(problem.k) != k
        np.testing.assert_array_equal(y[:, others], clean[:, others])


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "sigmoid", "hardswish"], ids=str)
@pytest.mark.parametrize(
    ("variant", "case"), some("odd_sizes depthwise_3x3 pointwise one_channel rank_one_twice")
)
def test_nan_in_the_residual_stays_in_its_place(variant, case, activation):
    """In every algorithm, Winograd and FFT too; and no activation hides it."""
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, None, activation)
    clean = run(plan, problem, arrays.x, arrays.residual)
    for place in places(problem.y_shape):
        residual = arrays.residual.copy()
        residual[place] = np.nan
        y = run(plan, problem, arrays.x, residual)
        assert np.isnan(y[place])
        y[place] = clean[place]
        np.testing.assert_array_equal(y, clean)


@pytest.mark.parametrize(
    ("variant", "case"),
    some("batch_2 depthwise_stride_2 pointwise_batch filter_11x11_batch rank_one_batch"),
)
def test_nan_stays_in_its_image(variant, case):
    """In every algorithm: images of a batch know nothing of each other."""
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias)
    x = arrays.x.copy()
    x[-1] = np.nan
    clean = run(plan, problem, arrays.x)
    np.testing.assert_array_equal(run(plan, problem, x)[:-1], clean[:-1])
