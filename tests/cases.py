"""The named problems, from the edges in, and what each algorithm promises about its error.

To add an algorithm, add its row to PROMISES.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from oracle import activated, correlate, with_epilogue

from convkit.algorithms import Algorithm
from convkit.problem import DTYPES, ConvProblem, conv_problem, parse_shape


@dataclass(frozen=True, slots=True)
class Promise:
    """Error in eps of conv(|x|, |w|): at every element, or largest error over largest magnitude."""

    factor: float
    everywhere: bool = True
    one_channel: float | None = None  # the factor where c / groups is 1, if it is another
    dtypes: tuple[str, ...] = DTYPES

    def bound(self, magnitude: np.ndarray, problem: ConvProblem, eps: float) -> np.ndarray | float:
        """The error allowed, given conv(|x|, |w|) + |bias| + |residual|."""
        factor = self.factor
        if self.one_channel is not None and problem.c == problem.groups:
            factor = self.one_channel
        if self.everywhere:
            return factor * eps * magnitude
        return factor * eps * float(magnitude.max(initial=0))


PROMISES = {
    "direct": Promise(4),
    "im2col": Promise(4),
    "pointwise": Promise(4),
    "depthwise": Promise(4),
    "winograd_f2": Promise(4, everywhere=False, dtypes=("float32",)),
    "winograd_f4": Promise(8, everywhere=False, one_channel=12, dtypes=("float32",)),
    "winograd_strided": Promise(8, everywhere=False, dtypes=("float32",)),
    "fft": Promise(4, everywhere=False),
    "separable": Promise(4),
}


def must_apply(problem: ConvProblem) -> set[str]:
    """What has to support this problem, whatever the table says: the promise to users."""
    names = {"direct", "im2col"}
    undilated = problem.kernel_problem()[12:14] == (1, 1)
    unit_stride = problem.stride == (1, 1)
    if (problem.r, problem.s) == (1, 1) and problem.groups == 1:
        names.add("pointwise")
    if problem.groups == problem.c and undilated and problem.stride in ((1, 1), (2, 2)):
        names.add("depthwise")
        if unit_stride and min(problem.r, problem.s) > 1:
            names.add("separable")  # for filters of rank 1
    stride, sizes = problem.stride[0], (problem.r, problem.s)
    if problem.stride in ((2, 2), (3, 3), (4, 4)) and undilated and problem.groups == 1:
        fits = 2 * stride < min(sizes) and max(sizes) <= 4 * stride
        if fits and problem.dtype == "float32" and problem.c * stride**2 >= 12:
            names.add("winograd_strided")
    if unit_stride and undilated and problem.r * problem.s > 1:
        names.add("fft")
        if (problem.r, problem.s) == (3, 3) and problem.groups == 1 and problem.dtype == "float32":
            names |= {"winograd_f2", "winograd_f4"}
    return names


def groups_size_stride(algorithm: str, channels: int) -> tuple[int, int, int]:
    """Of a layer with as many filters as channels, one that the algorithm computes."""
    each = {
        "depthwise": (channels, 3, 1),
        "separable": (channels, 3, 1),
        "pointwise": (1, 1, 1),
        "winograd_strided": (1, 9, 4),
    }
    return each.get(algorithm, (1, 3, 1))


def suited(row: Algorithm, w: np.ndarray) -> np.ndarray:
    """The weights, or for a row that takes filters of rank 1 only, their columns times rows."""
    return rank_one(w) if row.weights else w


def rank_one(w: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(w[:, :, :, :1] * w[:, :, -1:, :])


@dataclass(frozen=True)
class Arrays:
    """Inputs of one case and what must come out before the activation; all read-only."""

    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray
    residual: np.ndarray
    sums: np.ndarray
    magnitudes: np.ndarray

    def expected(
        self,
        promise: Promise,
        problem: ConvProblem,
        *,
        bias: bool = True,
        residual: bool = False,
        activation: Any = None,
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """The answer in float64, and the error allowed."""
        parts = (self.bias if bias else None, self.residual if residual else None)
        eps = float(np.finfo(self.x.dtype).eps)
        answer, stretch = activated(with_epilogue(self.sums, *parts), activation)
        size = with_epilogue(self.magnitudes, *(None if a is None else np.abs(a) for a in parts))
        bound = stretch * promise.bound(size, problem, eps)
        if activation is not None:
            bound = bound + 4 * eps * np.abs(answer)
        return answer, bound


@dataclass(frozen=True)
class Case:
    """A problem with a name; its arrays are drawn from the name."""

    name: str
    problem: ConvProblem
    rank_one: bool = False  # every filter is a column times a row

    def of(self, dtype: str) -> ConvProblem:
        return dataclasses.replace(self.problem, dtype=dtype)

    def arrays(self, dtype: str = "float32") -> Arrays:
        return _arrays(self, dtype)


@functools.cache
def _arrays(case: Case, dtype: str) -> Arrays:
    rng = np.random.default_rng(zlib.crc32(f"{case.name} {dtype}".encode()))
    problem = case.problem
    shapes = (problem.x_shape, problem.w_shape, (problem.k,), problem.y_shape)
    x, w, bias, residual = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    if case.rank_one:
        w = rank_one(w)
    sums, magnitudes = correlate(x, w, problem), correlate(np.abs(x), np.abs(w), problem)
    for array in (x, w, bias, residual, sums, magnitudes):
        array.flags.writeable = False
    return Arrays(x, w, bias, residual, sums, magnitudes)


def _case(name: str, x: tuple[int, ...], w: tuple[int, ...], **options: Any) -> Case:
    return Case(name, conv_problem(x, w, **options))


_EDGES = [
    _case("one_pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
    _case("one_pixel_3x3", (1, 3, 1, 1), (5, 3, 3, 3), padding=1),
    _case("one_pixel_many_channels", (1, 37, 1, 1), (19, 37, 1, 1)),
    _case("one_pixel_replicate", (1, 2, 1, 1), (3, 2, 5, 5), padding=4, padding_mode="replicate"),
    _case("one_pixel_symmetric", (2, 2, 1, 1), (3, 2, 3, 3), padding=1, padding_mode="symmetric"),
    _case("one_pixel_circular", (1, 2, 1, 1), (3, 2, 3, 3), padding=1, padding_mode="circular"),
    _case("one_pixel_depthwise", (1, 5, 1, 1), (5, 1, 3, 3), padding=1, groups=5),
    _case("filter_is_image", (1, 3, 5, 4), (2, 3, 5, 4)),
    _case("filter_is_padded_image", (1, 2, 3, 4), (3, 2, 5, 7), padding=((1, 1), (1, 2))),
    _case("filter_3x3_is_image", (1, 4, 3, 3), (6, 4, 3, 3)),
    _case("mostly_padding", (1, 2, 2, 3), (3, 2, 3, 3), padding=((7, 9), (8, 6))),
    _case("one_row", (1, 4, 1, 37), (3, 4, 1, 5), padding=(0, 2)),
    _case("one_column", (1, 4, 37, 1), (3, 4, 5, 1), padding=(2, 0)),
    _case("one_row_3x3", (1, 3, 1, 29), (5, 3, 3, 3), padding=1),
    _case("one_column_3x3", (1, 3, 29, 1), (5, 3, 3, 3), padding=1),
    _case("odd_sizes", (1, 3, 13, 11), (5, 3, 3, 3)),
    _case("filter_2x1", (1, 3, 9, 10), (4, 3, 2, 1)),
    _case("filter_1x2", (1, 3, 9, 10), (4, 3, 1, 2)),
    _case("filter_even", (2, 3, 12, 9), (4, 3, 4, 2), padding=((2, 1), (0, 1))),
    _case("filter_1x7", (1, 5, 8, 19), (7, 5, 1, 7), padding="same"),
    _case("filter_7x1", (1, 5, 19, 8), (7, 5, 7, 1), padding="same"),
    _case("full", (1, 2, 6, 7), (3, 2, 4, 3), padding="full"),
    _case("batch_2", (2, 3, 9, 10), (4, 3, 3, 3), padding=1),
    _case("batch_5_small", (5, 2, 3, 4), (3, 2, 2, 2)),
    _case("one_filter", (1, 7, 12, 17), (1, 7, 3, 3), padding=1),
    _case("one_channel", (1, 1, 17, 18), (9, 1, 3, 3), padding=1),
    _case("one_channel_one_filter", (1, 1, 23, 35), (1, 1, 3, 3), padding="same"),
    _case("image_filter_5x5", (1, 1, 40, 51), (1, 1, 5, 5), padding=2, padding_mode="reflect"),
    _case(
        "image_of_tiles",
        (1, 1, 150, 170),
        (1, 1, 21, 13),
        padding=((3, 10), (0, 6)),
        padding_mode="symmetric",
    ),
    _case("image_wrapped", (1, 1, 60, 70), (1, 1, 33, 65), padding=((16, 16), (32, 32))),
    _case("filter_31x31_over_7x7", (1, 1, 7, 7), (1, 1, 31, 31), padding=15),
    _case("filter_63x9_over_5x40", (2, 2, 5, 40), (2, 1, 63, 9), groups=2, padding=(31, 4)),
    _case("filter_9x51_over_40x15", (1, 1, 40, 15), (1, 1, 9, 51), padding=((4, 4), (20, 30))),
    _case("images_of_three_channels", (2, 3, 37, 140), (3, 1, 9, 7), groups=3, padding=(4, 2)),
]
_STRIDES = [
    _case("stride_2", (1, 3, 12, 15), (5, 3, 3, 3), stride=2, padding=1),
    _case("stride_2_same", (2, 3, 11, 14), (5, 3, 3, 3), stride=2, padding="same"),
    _case("stride_over_filter", (1, 3, 13, 16), (4, 3, 2, 2), stride=3),
    _case("stride_over_image", (1, 3, 4, 5), (4, 3, 2, 2), stride=9),
    _case("stride_2_columns_31", (1, 1, 5, 31), (3, 1, 3, 3), stride=2),
    _case("stride_2_columns_15", (2, 2, 7, 15), (9, 2, 1, 3), stride=2),
    _case(
        "stride_2_symmetric_wide",
        (1, 3, 9, 70),
        (5, 3, 3, 3),
        stride=2,
        padding=1,
        padding_mode="symmetric",
    ),
    _case("stride_2x1", (1, 4, 11, 13), (6, 4, 3, 3), stride=(2, 1), padding=1),
    _case("stride_1x3", (1, 4, 11, 43), (6, 4, 3, 3), stride=(1, 3), padding=1),
    _case("stride_4_11x11", (1, 3, 39, 43), (8, 3, 11, 11), stride=4, padding=2),
    _case("stride_2_7x7", (1, 3, 30, 33), (16, 3, 7, 7), stride=2, padding=3),
    # Enough filters for vectors of them on every ISA: direct reads x in place, see direct_filters.h.
    _case("in_place", (1, 15, 13, 34), (40, 15, 3, 3), stride=2, padding=1),
    _case("in_place_both_edges", (2, 3, 9, 33), (37, 3, 3, 3), stride=2, padding=1),
    _case("in_place_edge_of_two", (1, 5, 9, 31), (33, 5, 3, 3), stride=2, padding=2),
    _case(
        "in_place_5x5_stride_4",
        (1, 6, 19, 61),
        (68, 3, 5, 5),
        stride=4,
        groups=2,
        padding=((1, 3), (4, 2)),
    ),
    _case("in_place_11x11_stride_4", (1, 2, 39, 67), (33, 2, 11, 11), stride=4),
    _case("in_place_one_column", (1, 5, 9, 1), (24, 5, 3, 3), stride=2, padding=1),
    _case("in_place_weights_stay", (1, 70, 15, 14), (40, 70, 3, 3), stride=2, padding=1),
    _case("in_place_dilated", (1, 9, 17, 29), (20, 9, 3, 3), stride=2, dilation=2, padding=2),
    _case("in_place_pages_apart", (1, 4, 32, 32), (33, 4, 3, 3), stride=2, padding=1),
    _case(
        "wide_padding_stride_2", (1, 3, 9, 14), (37, 3, 5, 5), stride=2, padding=((1, 1), (3, 0))
    ),
    _case("stride_unused_columns", (1, 2, 10, 12), (3, 2, 3, 3), stride=4),
    # Phases of three and of four taps, see winograd_phases.h.
    _case("phases_7x7", (1, 5, 31, 61), (37, 5, 7, 7), stride=2, padding=3),
    _case("phases_few_products", (1, 5, 13, 15), (6, 5, 5, 6), stride=2, padding=2),
    _case("phases_few_filters", (1, 5, 11, 15), (3, 5, 7, 7), stride=2, padding=3),
    _case("phases_one_pixel", (1, 3, 1, 1), (3, 3, 7, 7), stride=2, padding=3),
    _case("phases_one_channel", (1, 1, 28, 29), (8, 1, 11, 11), stride=4, padding=3),
    _case("phases_many", (1, 70, 15, 14), (20, 70, 5, 5), stride=2, padding=2),
    _case("phases_5x8", (1, 4, 21, 30), (9, 4, 5, 8), stride=2, padding=((0, 1), (3, 0))),
    _case("phases_9x7_stride_3", (1, 7, 29, 44), (18, 7, 9, 7), stride=3, padding=3),
    _case("phases_10x12_stride_3", (1, 3, 33, 41), (40, 3, 10, 12), stride=3),
    _case(
        "phases_9x12_stride_4", (1, 3, 41, 75), (19, 3, 9, 12), stride=4, padding=((1, 3), (4, 2))
    ),
    _case("phases_13x16_stride_4", (1, 2, 47, 50), (5, 2, 13, 16), stride=4, padding=6),
    _case(
        "phases_reflect",
        (1, 3, 19, 26),
        (20, 3, 6, 5),
        stride=2,
        padding=((2, 3), (1, 4)),
        padding_mode="reflect",
    ),
    _case(
        "phases_circular",
        (1, 3, 18, 23),
        (6, 3, 7, 8),
        stride=2,
        padding=(5, 3),
        padding_mode="circular",
    ),
]
_PADDINGS = [
    _case("uneven_padding", (1, 2, 7, 8), (3, 2, 3, 3), padding=((0, 3), (2, 1))),
    _case("padding_over_filter", (1, 2, 5, 6), (3, 2, 2, 2), padding=((4, 0), (0, 5))),
    _case("reflect", (1, 2, 7, 9), (3, 2, 3, 3), padding=((1, 2), (2, 0)), padding_mode="reflect"),
    _case("reflect_most", (1, 2, 5, 4), (3, 2, 3, 3), padding=(4, 3), padding_mode="reflect"),
    _case(
        "symmetric", (1, 2, 7, 9), (3, 2, 3, 5), padding=((1, 3), (2, 0)), padding_mode="symmetric"
    ),
    _case("symmetric_most", (1, 2, 4, 5), (3, 2, 3, 3), padding=(4, 5), padding_mode="symmetric"),
    _case(
        "replicate", (2, 2, 7, 9), (3, 2, 3, 3), padding=((1, 2), (0, 3)), padding_mode="replicate"
    ),
    _case("replicate_far", (1, 2, 3, 4), (3, 2, 3, 3), padding=(11, 9), padding_mode="replicate"),
    _case(
        "circular", (1, 2, 7, 9), (3, 2, 3, 3), padding=((1, 2), (0, 3)), padding_mode="circular"
    ),
    _case("circular_most", (1, 2, 4, 5), (3, 2, 3, 3), padding=(4, 5), padding_mode="circular"),
    _case(
        "reflect_stride_2",
        (1, 3, 11, 12),
        (4, 3, 5, 5),
        stride=2,
        padding=2,
        padding_mode="reflect",
    ),
    _case(
        "circular_dilated",
        (1, 3, 11, 12),
        (4, 3, 3, 3),
        dilation=2,
        padding=(3, 2),
        padding_mode="circular",
    ),
    _case(
        "reflect_right",
        (1, 3, 6, 17),
        (4, 3, 3, 3),
        padding=((0, 0), (0, 2)),
        padding_mode="reflect",
    ),
    _case(
        "circular_left",
        (1, 3, 6, 17),
        (4, 3, 3, 3),
        padding=((0, 0), (2, 0)),
        padding_mode="circular",
    ),
    _case(
        "symmetric_above",
        (1, 3, 6, 17),
        (4, 3, 3, 3),
        padding=((2, 0), (0, 0)),
        padding_mode="symmetric",
    ),
    _case(
        "replicate_below",
        (1, 3, 6, 17),
        (4, 3, 3, 3),
        padding=((0, 2), (0, 0)),
        padding_mode="replicate",
    ),
    _case("padded_1x1", (1, 5, 6, 7), (4, 5, 1, 1), padding=((1, 2), (0, 3))),
    _case(
        "padded_1x1_replicate",
        (1, 5, 6, 7),
        (4, 5, 1, 1),
        padding=((1, 2), (0, 3)),
        padding_mode="replicate",
    ),
]
_DILATIONS = [
    _case("dilation_2", (1, 3, 12, 14), (4, 3, 3, 3), dilation=2),
    _case("dilation_3_same", (1, 3, 12, 14), (4, 3, 3, 3), dilation=3, padding="same"),
    _case("dilation_1x2", (1, 3, 9, 14), (4, 3, 3, 3), dilation=(1, 2), padding=1),
    _case("dilation_3x1_stride_2", (2, 3, 15, 11), (4, 3, 3, 2), dilation=(3, 1), stride=2),
    _case("dilation_of_one_row", (1, 3, 6, 21), (4, 3, 1, 3), dilation=(5, 1)),
    _case("dilation_groups", (1, 6, 12, 11), (4, 3, 3, 3), dilation=2, groups=2, padding=2),
    _case("dilation_depthwise", (1, 6, 12, 11), (6, 1, 3, 3), dilation=2, groups=6, padding=2),
]
_GROUPS = [
    _case("groups_2", (1, 6, 9, 10), (8, 3, 3, 3), groups=2, padding=1),
    _case("groups_3_pointwise", (1, 9, 7, 8), (6, 3, 1, 1), groups=3),
    _case("groups_8", (2, 16, 10, 9), (24, 2, 3, 3), groups=8, padding=1, stride=2),
    _case("groups_4_one_filter_each", (1, 12, 9, 9), (4, 3, 3, 3), groups=4),
    _case("groups_2_wide", (1, 34, 7, 9), (38, 17, 3, 3), groups=2, padding=1),
    _case("groups_of_4_wide", (1, 12, 31, 50), (12, 4, 3, 3), groups=3, padding=1),
    _case("groups_of_4_lines", (1, 24, 33, 20), (72, 4, 3, 3), groups=6, padding=1),
    _case("groups_of_4_stride_2", (1, 24, 17, 45), (24, 4, 3, 3), groups=6, padding=1, stride=2),
    _case(
        "groups_of_4_reflect",
        (2, 20, 9, 23),
        (20, 4, 3, 3),
        groups=5,
        padding=((2, 1), (0, 3)),
        padding_mode="reflect",
    ),
    _case(
        "groups_of_2_dilated", (1, 10, 13, 22), (10, 2, 3, 3), groups=5, padding=3, dilation=(3, 2)
    ),
    _case("groups_of_8_7x7", (1, 24, 9, 31), (24, 8, 7, 7), groups=3, padding=3),
    _case("groups_of_16", (1, 48, 9, 17), (48, 16, 3, 3), groups=3, padding=1),
    _case("padding_5_wide", (1, 18, 7, 37), (17, 18, 3, 11), padding=(1, 5)),
    _case("groups_of_8_narrow", (1, 16, 15, 7), (16, 8, 3, 3), groups=2, padding=1),
    _case(
        "groups_of_11_stride_4",
        (1, 4, 21, 75),
        (22, 2, 5, 5),
        groups=2,
        stride=4,
        padding=2,
        padding_mode="reflect",
    ),
    _case("groups_5x5", (1, 4, 16, 17), (6, 2, 5, 5), groups=2, padding=2),
    _case("groups_of_2_5x5_many", (1, 40, 12, 13), (40, 2, 5, 5), groups=20, padding=2),
]
_DEPTHWISE = [
    _case("depthwise_3x3", (1, 7, 16, 17), (7, 1, 3, 3), groups=7, padding=1),
    _case("depthwise_stride_2", (2, 5, 17, 18), (5, 1, 3, 3), groups=5, padding=1, stride=2),
    _case(
        "depthwise_stride_2_same", (1, 4, 15, 34), (4, 1, 3, 3), groups=4, padding="same", stride=2
    ),
    _case("depthwise_stride_1x2", (1, 4, 15, 34), (4, 1, 3, 3), groups=4, padding=1, stride=(1, 2)),
    _case("depthwise_stride_3", (1, 4, 15, 34), (4, 1, 3, 3), groups=4, padding=1, stride=3),
    _case("depthwise_twice", (1, 5, 9, 21), (10, 1, 3, 3), groups=5, padding=1),
    _case("depthwise_thrice_stride_2", (1, 3, 11, 33), (9, 1, 5, 5), groups=3, padding=2, stride=2),
    _case("depthwise_5x5", (1, 3, 33, 47), (3, 1, 5, 5), groups=3, padding=2),
    _case(
        "depthwise_7x7_reflect",
        (1, 3, 14, 31),
        (3, 1, 7, 7),
        groups=3,
        padding=3,
        padding_mode="reflect",
    ),
    _case("depthwise_2x4", (1, 3, 9, 65), (3, 1, 2, 4), groups=3, padding=((1, 0), (0, 3))),
    _case("depthwise_1x1", (1, 6, 5, 7), (6, 1, 1, 1), groups=6),
    _case("depthwise_1x1_stride_2", (1, 6, 5, 7), (12, 1, 1, 1), groups=6, stride=2),
    _case("depthwise_13x1", (1, 2, 20, 16), (2, 1, 13, 1), groups=2, padding=(6, 0)),
    _case("depthwise_31x31", (1, 2, 20, 22), (2, 1, 31, 31), groups=2, padding=15),
    # Wrapped tiles, of whose rows and columns half is zeros; more channels than lanes.
    _case("depthwise_27x27_over_14x14", (2, 19, 14, 14), (19, 1, 27, 27), groups=19, padding=13),
    _case("depthwise_25x13_over_13x7", (1, 17, 13, 7), (17, 1, 25, 13), groups=17, padding=(12, 6)),
    _case("depthwise_31x5_over_16x40", (1, 16, 16, 40), (16, 1, 31, 5), groups=16, padding=(15, 2)),
    _case(
        "depthwise_9x9_tiles", (1, 17, 30, 45), (17, 1, 9, 9), groups=17, padding=((4, 1), (0, 4))
    ),
    _case("depthwise_31x31_over_14x14", (1, 2, 14, 14), (2, 1, 31, 31), groups=2, padding=15),
    _case("depthwise_wide", (1, 2, 4, 129), (2, 1, 3, 3), groups=2, padding=1),
    _case("depthwise_bands", (1, 2, 41, 50), (2, 1, 3, 3), groups=2, padding=1),
    _case(
        "depthwise_bands_5x5_stride_2", (1, 2, 66, 65), (2, 1, 5, 5), groups=2, padding=2, stride=2
    ),
    _case("depthwise_bands_7x7", (1, 2, 34, 65), (2, 1, 7, 7), groups=2, padding=3),
    _case("depthwise_7x7_wider", (2, 3, 15, 18), (3, 1, 7, 7), groups=3, padding=((3, 1), (4, 2))),
    _case("depthwise_channels_19", (1, 19, 9, 21), (19, 1, 3, 3), groups=19, padding=1),
    _case("depthwise_channels_19_5x5", (1, 19, 9, 21), (19, 1, 5, 5), groups=19, padding=2),
    _case("depthwise_channels_19_7x7", (1, 19, 9, 21), (19, 1, 7, 7), groups=19, padding=3),
    _case("depthwise_channels_19_twice", (1, 19, 9, 21), (38, 1, 5, 5), groups=19, padding=2),
    _case("depthwise_large_19", (1, 19, 121, 122), (19, 1, 3, 3), groups=19, padding=1),
    _case(
        "depthwise_large_19_stride_2",
        (1, 35, 117, 123),
        (35, 1, 3, 3),
        groups=35,
        padding=((1, 0), (0, 1)),
        stride=2,
    ),
    _case("depthwise_narrow_19", (1, 19, 7, 7), (19, 1, 3, 3), groups=19, padding=1),
    _case("depthwise_narrow", (2, 5, 7, 7), (5, 1, 3, 3), groups=5, padding=1),
    _case("depthwise_narrow_bands", (1, 3, 33, 8), (3, 1, 3, 3), groups=3, padding=1),
    _case("depthwise_narrow_stride_2", (1, 3, 14, 14), (3, 1, 3, 3), groups=3, padding=1, stride=2),
    _case(
        "depthwise_narrow_stride_2_same",
        (1, 3, 15, 15),
        (6, 1, 5, 5),
        groups=3,
        padding="same",
        stride=2,
    ),
    _case("depthwise_stride_2_to_8", (1, 3, 9, 16), (3, 1, 3, 3), groups=3, padding=1, stride=2),
    _case("depthwise_stride_2_to_4", (1, 3, 9, 8), (3, 1, 3, 3), groups=3, padding=1, stride=2),
    _case("depthwise_narrow_5x5", (1, 4, 6, 7), (12, 1, 5, 5), groups=4, padding=((2, 3), (3, 0))),
    _case("depthwise_narrow_7x7", (1, 3, 9, 7), (3, 1, 7, 7), groups=3, padding=3),
    _case("depthwise_narrow_unpadded", (1, 3, 5, 5), (3, 1, 3, 3), groups=3),
    _case("depthwise_narrow_wide_padding", (1, 2, 3, 4), (2, 1, 3, 3), groups=2, padding=2),
    _case("depthwise_halves_of_4", (1, 3, 5, 4), (3, 1, 3, 3), groups=3, padding=1),
    _case(
        "depthwise_reflect_right",
        (1, 4, 6, 17),
        (4, 1, 3, 3),
        groups=4,
        padding=((0, 0), (0, 2)),
        padding_mode="reflect",
    ),
    _case(
        "depthwise_circular_left",
        (1, 4, 6, 17),
        (4, 1, 3, 3),
        groups=4,
        padding=((0, 0), (2, 0)),
        padding_mode="circular",
    ),
    _case(
        "depthwise_replicate_below",
        (1, 4, 6, 17),
        (4, 1, 3, 3),
        groups=4,
        padding=((0, 2), (0, 0)),
        padding_mode="replicate",
    ),
    _case(
        "depthwise_circular",
        (2, 4, 6, 9),
        (4, 1, 3, 3),
        groups=4,
        padding=((2, 1), (3, 0)),
        padding_mode="circular",
    ),
]
_POINTWISE = [
    _case("pointwise", (1, 16, 7, 9), (24, 16, 1, 1)),
    _case("pointwise_batch", (3, 10, 5, 7), (13, 10, 1, 1)),
    _case("pointwise_stride_2", (1, 33, 9, 8), (17, 33, 1, 1), stride=2),
    _case("pointwise_stride_2_wide", (1, 20, 9, 75), (37, 20, 1, 1), stride=2),
    _case("pointwise_blocks", (1, 2100, 14, 21), (5, 2100, 1, 1), stride=2),
    _case("pointwise_stride_1x2", (1, 9, 6, 35), (18, 9, 1, 1), stride=(1, 2)),
    _case("pointwise_deep", (1, 700, 3, 5), (11, 700, 1, 1)),
    _case("pointwise_deep_257", (1, 257, 4, 4), (49, 257, 1, 1)),
    _case("pointwise_one_filter", (1, 65, 6, 8), (1, 65, 1, 1)),
    _case("pointwise_one_channel", (1, 1, 11, 13), (50, 1, 1, 1)),
    _case("pointwise_many_pixels", (1, 5, 31, 67), (9, 5, 1, 1)),
    _case("pointwise_padded_rows", (1, 5, 6, 7), (4, 5, 1, 1), padding=((1, 2), (0, 0))),
    _case("pointwise_padded_columns", (1, 5, 6, 7), (4, 5, 1, 1), padding=((0, 0), (1, 2))),
    _case("pointwise_strided_rows", (1, 5, 6, 7), (4, 5, 1, 1), stride=(2, 1)),
    _case("pointwise_chunks", (1, 300, 17, 17), (19, 300, 1, 1)),
    _case("pointwise_chunks_stride_2", (1, 200, 33, 34), (20, 200, 1, 1), stride=2),
    _case("pointwise_parts", (1, 17, 5, 13), (70, 17, 1, 1)),
    _case("pointwise_dilated", (1, 12, 6, 7), (10, 12, 1, 1), dilation=3),
]
_LANES = [
    *(
        _case(f"filters_{k}", (1, 5, 6, 7), (k, 5, 3, 3), padding=1)
        for k in (7, 8, 9, 15, 16, 17, 31, 33, 47, 49)
    ),
    *(
        _case(f"channels_{c}", (1, c, 6, 7), (6, c, 3, 3), padding=1)
        for c in (8, 15, 16, 17, 32, 33)
    ),
    *(
        _case(f"columns_{q}", (1, 3, 3, q), (9, 3, 3, 3), padding=1)
        for q in (4, 5, 15, 16, 17, 31, 33, 47, 48, 49, 50, 65)
    ),
    *(_case(f"rows_{p}", (1, 3, p, 5), (9, 3, 3, 3), padding=1) for p in (2, 3, 4, 5, 7, 9)),
    _case("channels_16_columns_21", (1, 16, 5, 21), (6, 16, 3, 3), padding=1),
    _case("channels_32_columns_37", (1, 32, 4, 37), (5, 32, 3, 3)),
    _case("deep_360", (1, 40, 6, 7), (10, 40, 3, 3), padding=1),
    # Several blocks of tiles and an odd vector of filters; cells and shares of filters in a block.
    _case("tiles_in_blocks", (1, 320, 13, 31), (35, 320, 3, 3), padding=1),
    _case("tiles_in_shares", (1, 6, 9, 66), (150, 6, 3, 3), padding=1),
    _case("deep_strips", (1, 37, 17, 9), (19, 37, 3, 3), padding=((1, 0), (0, 2))),
    _case("deep_257_groups", (1, 516, 3, 3), (4, 258, 1, 1), groups=2),
    _case("deep_5400", (1, 600, 4, 5), (7, 600, 3, 3), padding=1),
    _case("more_channels_than_a_band", (1, 2100, 6, 18), (3, 2100, 3, 3)),
    _case("deep_15000", (1, 600, 5, 6), (3, 600, 5, 5)),
]
_LARGE_FILTERS = [
    _case("filter_5x7", (1, 2, 21, 30), (3, 2, 5, 7), padding=(2, 3)),
    _case("filter_11x11", (1, 3, 24, 27), (4, 3, 11, 11), padding=5),
    _case("filter_11x11_batch", (2, 2, 33, 31), (3, 2, 11, 11), padding=5),
    _case("filter_31x31", (1, 1, 45, 50), (2, 1, 31, 31)),
    _case("filter_41x3", (1, 1, 60, 40), (1, 1, 41, 3), padding=(20, 1)),
    _case("filter_3x41", (1, 1, 40, 60), (1, 1, 3, 41), padding=(1, 20)),
    _case("filter_41x41_tiles", (1, 1, 150, 75), (1, 1, 41, 41)),
    _case("filter_41x2_many", (1, 2, 50, 12), (17, 2, 41, 2)),
    _case("filter_2x41_many", (1, 2, 12, 50), (17, 2, 2, 41), padding=(1, 0)),
    _case("depthwise_35x35_many", (1, 18, 36, 37), (18, 1, 35, 35), groups=18, padding=2),
    _case("filter_17x17_over_8x8", (1, 2, 8, 8), (3, 2, 17, 17), padding=8),
    _case("filter_65x2_tall", (1, 1, 1102, 10), (3, 1, 65, 2)),
    _case("filter_33x3_tall", (1, 1, 340, 8), (3, 1, 33, 3)),
    _case("filter_13x9_over_5x6", (1, 1, 5, 6), (2, 1, 13, 9), padding=((8, 5), (3, 6))),
    _case(
        "filter_64_reflect", (1, 1, 70, 66), (1, 1, 16, 64), padding=(8, 20), padding_mode="reflect"
    ),
    _case("filter_9x9_full", (1, 2, 20, 25), (3, 2, 9, 9), padding="full"),
    _case("filter_5x5_wide", (1, 1, 9, 200), (2, 1, 5, 5), padding=2),
    _case("filter_5x5_tall", (1, 1, 200, 9), (2, 1, 5, 5), padding=2, padding_mode="symmetric"),
    _case("filter_65x65", (1, 1, 66, 70), (1, 1, 65, 65), padding=((4, 0), (0, 6))),
    _case("tile_28", (1, 1, 28, 28), (2, 1, 5, 5)),
    _case("tile_32_same", (1, 1, 32, 32), (2, 1, 5, 5), padding=2),
    _case("tile_57", (1, 1, 57, 33), (1, 1, 7, 7), padding=3, padding_mode="circular"),
    _case("tile_64_same", (1, 1, 64, 65), (1, 1, 9, 9), padding=4),
]
# The in-place way needs some 64 columns; narrower ones are copied first. Two strips from 1537 on.
_RANK_ONE = [
    dataclasses.replace(case, rank_one=True)
    for case in (
        _case("rank_one_pixel", (1, 1, 1, 1), (1, 1, 3, 3), padding=1),
        _case("rank_one_3x3", (1, 1, 23, 35), (1, 1, 3, 3), padding=1),
        _case("rank_one_3x3_wide", (1, 1, 9, 130), (1, 1, 3, 3), padding="same"),
        _case("rank_one_valid", (1, 1, 12, 100), (1, 1, 4, 2)),
        _case("rank_one_full", (1, 1, 7, 67), (1, 1, 5, 6), padding="full"),
        _case("rank_one_batch", (2, 3, 33, 81), (3, 1, 5, 7), groups=3, padding=(2, 3)),
        _case("rank_one_twice", (1, 2, 40, 70), (4, 1, 5, 5), groups=2, padding=2),
        _case("rank_one_many_filters", (1, 1, 6, 80), (5, 1, 3, 9), padding=(1, 4)),
        _case("rank_one_blocks", (1, 1, 70, 66), (1, 1, 7, 5), padding=((3, 2), (0, 4))),
        _case("rank_one_strips", (1, 1, 5, 1700), (1, 1, 3, 9), padding=(1, 4)),
        _case("rank_one_on_a_row", (1, 1, 1, 90), (1, 1, 3, 7), padding=(1, 3)),
        _case("rank_one_on_a_column", (1, 2, 90, 1), (2, 1, 7, 2), groups=2, padding=(3, 1)),
        _case("rank_one_31x31", (1, 1, 45, 80), (1, 1, 31, 31), padding=15),
        _case("rank_one_over_image", (1, 2, 8, 68), (2, 1, 21, 9), groups=2, padding=(12, 4)),
        _case("rank_one_127x127", (1, 1, 130, 135), (1, 1, 127, 127)),
        _case("rank_one_far_padding", (1, 1, 3, 70), (1, 1, 3, 3), padding=(9, 80)),
        *(
            _case(
                f"rank_one_{mode}", (1, 2, 6, 70), (2, 1, 7, 9), groups=2, padding=((3, 2), (5, 3)),
                padding_mode=mode,
            )
            for mode in ("reflect", "symmetric", "replicate", "circular")
        ),
        _case(
            "rank_one_strips_reflect", (1, 1, 4, 1700), (1, 1, 3, 7), padding=3,
            padding_mode="reflect",
        ),
        _case(
            "rank_one_strips_circular", (1, 1, 4, 1700), (1, 1, 3, 7), padding=3,
            padding_mode="circular",
        ),
        _case(
            "rank_one_replicate_far", (1, 1, 3, 66), (1, 1, 3, 3), padding=(11, 70),
            padding_mode="replicate",
        ),
    )
]  # fmt: skip
# Layers of real networks; the larger ones with fewer pixels or filters: the oracle stays quick.
_LAYERS = [
    _case("lenet_c1", (1, 1, 32, 32), (6, 1, 5, 5)),
    _case("lenet_c3", (1, 6, 14, 14), (16, 6, 5, 5)),
    _case("resnet20_stem", (1, 3, 32, 32), (16, 3, 3, 3), padding=1),
    _case("resnet20_block_3", (1, 64, 8, 8), (64, 64, 3, 3), padding=1),
    _case("resnet50_stem", (1, 3, 60, 64), (32, 3, 7, 7), stride=2, padding=3),
    _case("resnet50_conv2", (1, 64, 14, 56), (16, 64, 3, 3), padding=1),
    _case("resnet50_conv5", (1, 512, 7, 7), (24, 512, 3, 3), padding=1),
    _case("resnet50_down", (1, 128, 15, 15), (32, 128, 1, 1), stride=2),
    _case("resnet50_expand", (1, 64, 28, 28), (100, 64, 1, 1)),
    _case("resnet50_reduce", (1, 512, 7, 7), (128, 512, 1, 1)),
    _case("resnext50_conv3", (1, 64, 14, 14), (64, 4, 3, 3), groups=16, padding=1),
    _case("alexnet_conv1", (1, 3, 51, 51), (24, 3, 11, 11), stride=4),
    _case("alexnet_conv2", (1, 48, 13, 13), (32, 24, 5, 5), groups=2, padding=2),
    _case("googlenet_5x5", (1, 16, 14, 14), (32, 16, 5, 5), padding=2),
    _case("inception_1x7", (1, 64, 17, 17), (32, 64, 1, 7), padding=(0, 3)),
    _case("vgg_conv1_2", (1, 64, 8, 40), (20, 64, 3, 3), padding=1),
    _case("mobilenet_dw_112", (1, 4, 112, 112), (4, 1, 3, 3), groups=4, padding=1),
    _case("mobilenet_dw_down", (1, 16, 57, 56), (16, 1, 3, 3), groups=16, padding="same", stride=2),
    _case("mobilenet_dw_14", (1, 64, 14, 14), (64, 1, 3, 3), groups=64, padding=1),
    _case("mobilenet_dw_7", (1, 128, 7, 7), (128, 1, 3, 3), groups=128, padding=1),
    _case("mobilenet_pw", (1, 96, 28, 28), (24, 96, 1, 1)),
    _case("efficientnet_dw_5x5", (1, 24, 28, 28), (24, 1, 5, 5), groups=24, padding=2, stride=2),
    _case("convnext_dw_7x7", (1, 12, 28, 28), (12, 1, 7, 7), groups=12, padding=3),
    _case("replknet_dw_31x31", (1, 4, 28, 28), (4, 1, 31, 31), groups=4, padding=15),
    _case("dilated_head", (1, 32, 20, 20), (16, 32, 3, 3), dilation=6, padding=6),
    _case("ultraface_head", (1, 64, 15, 20), (6, 64, 3, 3), padding=1),
]

CASES = [
    *_EDGES, *_STRIDES, *_PADDINGS, *_DILATIONS, *_GROUPS, *_DEPTHWISE, *_POINTWISE, *_LANES,
    *_LARGE_FILTERS, *_RANK_ONE, *_LAYERS,
]  # fmt: skip
BY_NAME = {case.name: case for case in CASES}
assert len(BY_NAME) == len(CASES), "two cases have one name"


def _scaled(shape: str) -> ConvProblem:
    """A layer with fewer channels and pixels; filter, stride, padding and kind of groups kept."""
    x_shape, w_shape, options = parse_shape(shape)
    problem = conv_problem(x_shape, w_shape, **options)
    depthwise = problem.groups == problem.c > 1
    groups = 11 if depthwise else min(problem.groups, 3)
    each = min(problem.c // problem.groups, 5)
    filters = min(problem.k // problem.groups, 9 if problem.k > problem.c else 4)
    h, w = (
        min(size, max(7 if size < 20 else 15 if size < 80 else 19, filter_size))
        for size, filter_size in ((problem.h, problem.r), (problem.w, problem.s))
    )
    return dataclasses.replace(
        problem, n=1, c=each * groups, k=filters * groups, h=h, w=w, groups=groups
    )


def _real_layers() -> list[Case]:
    """One small case for each kind of layer in bench/shapes."""
    found: dict[ConvProblem, Case] = {}
    for path in sorted((Path(__file__).parents[1] / "bench" / "shapes").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                problem = _scaled(row["shape"])
                if max(problem.r, problem.s) > 64:
                    continue  # its sums by definition alone take as long as all others
                found.setdefault(problem, Case(f"{path.stem}_{row['name']}", problem))
    return list(found.values())


REAL_LAYERS = _real_layers()
