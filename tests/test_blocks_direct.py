"""Direct convolution in blocks of channels (nchwc): the strides that slices of a buffer have."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import GUARD
from native import VARIANTS, fields_for, named

from convkit import _convkit

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("checked_kernels")]

CASES = named(
    "odd_sizes stride_2 reflect dilation_2 columns_33 in_place padding_5_wide groups_2"
    " groups_of_4_wide groups_of_4_stride_2 groups_of_4_reflect groups_of_8_7x7 pointwise"
)
IN_BLOCKS = [each for each in VARIANTS if each.algorithm == "direct" and any(each.layouts)]
BLOCK = 16
#: Blocks, rows and pixels of the buffer for each one of a value, and whether rows are upside down.
SLICES = {
    "a slice of blocks": (3, 1, 1, False),
    "pixels apart": (1, 1, 2, False),
    "rows apart": (1, 2, 1, False),
    "upside down": (2, 1, 1, True),
}


def placed(array, blocks, rows, pixels, upside_down):
    """The array in blocks within a larger buffer, its view for a plan, all of the buffer."""
    n, c, h, w = array.shape
    count = -(-c // BLOCK)
    guard = GUARD[array.dtype]
    shape = (n, (count + 1) * blocks, h * rows, w * pixels, BLOCK)
    buffer = np.full(shape, guard, guard.dtype).view(array.dtype)
    value = buffer[:, 1 : 1 + count, : h * rows : rows, : w * pixels : pixels]
    if upside_down:
        value = value[:, :, ::-1]
    lanes = np.zeros((n, count * BLOCK, h, w), array.dtype)
    lanes[:, :c] = array
    value[...] = lanes.reshape((n, count, BLOCK, h, w)).transpose(0, 1, 3, 4, 2)
    view = np.lib.stride_tricks.as_strided(value, array.shape, value.strides[:4])
    return view, value, buffer


def in_planes(value, channels):
    n, count, h, w, _ = value.shape
    lanes = value.transpose(0, 1, 4, 2, 3).reshape((n, count * BLOCK, h, w))
    assert not lanes[:, channels:].any(), "lanes past the last channel are not zero"
    return lanes[:, :channels]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("variant", IN_BLOCKS, ids=str)
def test_slices_give_the_same_bits(variant, case):
    """x, y over the residual, and both in a larger buffer, whose others stay."""
    arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
    _convkit.select_isa(variant.isa)
    plan = _convkit.Plan(
        "direct", fields_for(variant, problem, BLOCK), arrays.w, arrays.bias, 1, 0.0, 0.0,
        variant.index, _convkit.NO_LIMIT,
    )  # fmt: skip
    x_layout, y_layout = variant.layouts

    def run(x_slice, y_slice):
        x = placed(arrays.x, *x_slice)[0] if x_layout else arrays.x
        if not y_layout:
            y = np.array(arrays.residual)
            plan.run(x, y, y, 2)
            return y
        view, value, buffer = placed(arrays.residual, *y_slice)
        plan.run(x, view, view, 2)
        y = in_planes(value, problem.k).copy()
        guard = GUARD[y.dtype]
        value[...] = guard.reshape(1).view(y.dtype)
        assert (buffer.view(guard.dtype) == guard).all(), "an element beside the slice was written"
        return y

    plain = (1, 1, 1, False)
    expected = run(plain, plain)
    for name, each in SLICES.items():
        np.testing.assert_array_equal(run(each, plain), expected, f"x: {name}")
        np.testing.assert_array_equal(run(plain, each), expected, f"y: {name}")
        np.testing.assert_array_equal(run(each, each), expected, f"x and y: {name}")
