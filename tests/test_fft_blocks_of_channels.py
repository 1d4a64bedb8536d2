"""The FFT on values in blocks of channels: blocks of any whole number of vectors, groups across."""

import numpy as np
import pytest
from cases import PROMISES
from native import native_plan, run, some
from oracle import assert_within

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("checked_kernels")]

CASES = """
    odd_sizes groups_2_wide groups_of_2_5x5_many filter_5x7 tile_28 depthwise_twice
    depthwise_channels_19_7x7
"""
PAIRS = [
    pair
    for pair in some(CASES)
    if pair.values[0].algorithm == "fft" and any(pair.values[0].layouts)
]


def lanes(variant):
    width = {"avx512": 64, "avx2": 32}.get(variant.isa, 16)
    return width // np.dtype(variant.dtype).itemsize


@pytest.mark.parametrize("activation", ["sigmoid", ("clip", 0.25, 1.5)], ids=str)
@pytest.mark.parametrize("block", [4, 8, 16, 32])
@pytest.mark.parametrize(("variant", "case"), PAIRS)
def test_any_block(variant, case, block, activation):
    if block % lanes(variant):
        return
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    plan = native_plan(variant, problem, arrays.w, arrays.bias, activation, block=block)
    promise = PROMISES[variant.algorithm]
    expected = arrays.expected(promise, problem, activation=activation, residual=True)
    y = run(plan, problem, arrays.x, arrays.residual, threads=2, in_place=True)
    assert_within(y, *expected)
    again = run(plan, problem, arrays.x, arrays.residual)
    np.testing.assert_array_equal(again, y, "other bits on one thread")
