"""ALGORITHMS: the ways to compute a convolution, one row each: when it applies, what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from convkit import _convkit, calibration
from convkit.backends import Array, check_device
from convkit.machine import Machine
from convkit.problem import ConvProblem

APPLIES = ""
Rule = Callable[[ConvProblem], str]
WeightRule = Callable[[Array], str]
Cost = Callable[[ConvProblem, Machine], float]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A row of the table. The name is the stem of its kernel's file.

    `why_not` answers APPLIES (an empty text) or the reason; `cost` is the formula for the seconds
    that one call takes on one core, weights packed but cold, and `seconds` that formula with what
    measurements added to it. `exact`: its error is that of a direct sum.
    `packing`: bytes of packed weights that are written a second, where packing is counted.
    `weights` answers the same of (k, c / groups, r, s) weights, where not all will do; `explain`,
    which sees none, lists such a row as not applying.
    """

    name: str
    why_not: Rule
    cost: Cost
    exact: bool = True
    weights: WeightRule | None = None
    packing: float = 5e9

    def supports(self, problem: ConvProblem) -> bool:
        return self.why_not(problem) == APPLIES

    def seconds(self, problem: ConvProblem, machine: Machine) -> float:
        """Predicted for one call on one core."""
        formula = self.cost(problem, machine)
        one = formula if problem.n == 1 else self.cost(problem.with_batch(1), machine)
        return formula * calibration.factor(self.name, problem, machine, one)

    def sizes(self, problem: ConvProblem) -> tuple[int, int, int]:
        """Bytes of packed weights, of shared scratch and of one thread's scratch."""
        return _convkit.sizes(self.name, tuple(problem.kernel_problem()))

    def workspace(self, problem: ConvProblem) -> int:
        return sum(self.sizes(problem))


# Rules


def anything(problem: ConvProblem) -> str:
    return APPLIES


def all_of(*rules: Rule) -> Rule:
    """The first reason that any rule gives."""

    def rule(problem: ConvProblem) -> str:
        return next((reason for each in rules if (reason := each(problem))), APPLIES)

    return rule


def filter_is(rows: int, columns: int) -> Rule:
    def rule(problem: ConvProblem) -> str:
        if (problem.r, problem.s) == (rows, columns):
            return APPLIES
        return f"needs a filter of ({rows}, {columns}), got ({problem.r}, {problem.s})"

    return rule


def filter_above_one(problem: ConvProblem) -> str:
    if problem.r * problem.s > 1:
        return APPLIES
    return "needs a filter larger than (1, 1)"


def rows_and_columns(problem: ConvProblem) -> str:
    if min(problem.r, problem.s) > 1:
        return APPLIES
    return f"needs a filter of several rows and columns, got ({problem.r}, {problem.s})"


def unit_stride(problem: ConvProblem) -> str:
    return APPLIES if problem.stride == (1, 1) else f"needs stride (1, 1), got {problem.stride}"


def stride_up_to_two(problem: ConvProblem) -> str:
    if max(problem.stride) <= 2:
        return APPLIES
    return f"needs a stride of 1 or 2, got {problem.stride}"


def phase_taps(problem: ConvProblem) -> int:
    """Taps that each phase of a strided image meets along the filter's longer axis."""
    return -(-max(problem.r, problem.s) // problem.stride[0])


#: Over fewer phases the errors of the transforms average too little, see docs/algorithms.md.
LEAST_PHASES = 12


def phases_of_three_or_four_taps(problem: ConvProblem) -> str:
    stride = problem.stride[0]
    if problem.stride != (stride, stride) or not 2 <= stride <= 4:
        return f"needs a stride of (2, 2), (3, 3) or (4, 4), got {problem.stride}"
    if not all(2 * stride < size <= 4 * stride for size in (problem.r, problem.s)):
        return (
            f"needs filters of {2 * stride + 1} to {4 * stride} rows and columns for a stride of "
            f"{stride}, got ({problem.r}, {problem.s})"
        )
    if problem.c * stride**2 >= LEAST_PHASES:
        return APPLIES
    least = -(-LEAST_PHASES // stride**2)
    return f"needs at least {least} channels for a stride of {stride}, got {problem.c}"


def unit_dilation(problem: ConvProblem) -> str:
    """A filter of one row or column has nothing to dilate."""
    used = problem.kernel_problem()
    if (used.dilation_h, used.dilation_w) == (1, 1):
        return APPLIES
    return f"needs dilation (1, 1), got {problem.dilation}"


def single_group(problem: ConvProblem) -> str:
    return APPLIES if problem.groups == 1 else f"needs one group, got groups={problem.groups}"


def group_per_channel(problem: ConvProblem) -> str:
    if problem.groups == problem.c:
        return APPLIES
    return f"needs one group per channel, got groups={problem.groups} for {problem.c} channels"


def is_float32(problem: ConvProblem) -> str:
    return APPLIES if problem.dtype == "float32" else f"needs float32, got {problem.dtype}"


def rank_one(w: Array) -> str:
    """Every filter is an outer product of a column and a row, to the rounding of its entries.

    With the largest entry as the pivot, w[i][j] w[pivot] = w[i][pivot's column] w[pivot's row][j];
    rounded products of factors miss that by 2 eps at most.
    """
    k, _, r, s = w.shape
    needs = "needs filters of rank 1 (a column times a row): filter"
    # Most others show it in a corner, for a fraction of the time.
    (a, b), (c, d) = w[0, 0, :2, :2].tolist()
    if min(abs(a), abs(b), abs(c), abs(d)) > 1e-30 and abs(a * d - b * c) > 1e-5 * abs(a * d):
        return f"{needs} 0 is none"
    info = np.finfo(w.dtype)
    taps = w.reshape(k, r * s).astype(np.float64 if info.bits == 32 else np.longdouble)
    sizes, each = np.abs(taps), np.arange(k)
    pivot = sizes.argmax(axis=1)
    if not np.isfinite(sizes[each, pivot]).all():
        return "needs finite weights"
    largest = np.where(taps[each, pivot] == 0, 1, taps[each, pivot])[:, None]
    scaled = (taps / largest).reshape(k, r, s)
    product = scaled[each, :, pivot % s][:, :, None] * scaled[each, pivot // s][:, None, :]
    allowed = 2 * float(info.eps) * np.abs(scaled) + float(info.tiny) / np.abs(largest)[:, :, None]
    wrong = (np.abs(scaled - product) > allowed).any(axis=(1, 2))
    if not wrong.any():
        return APPLIES
    return f"{needs} {int(wrong.argmax())} is none"


# Costs. Operations over the share of the FMA peak that a kernel reaches, or bytes over bandwidth
# where those take longer, with the weights counted as cold: inside a network they are. The shares
# and constants were fitted to some dozen layers on the Xeon with AVX-512 and AVX2.


def lanes_of(problem: ConvProblem, machine: Machine) -> int:
    """Numbers of the problem's dtype in a vector."""
    return machine.lanes // (2 if problem.dtype == "float64" else 1)


def filled(count: int, width: int) -> float:
    """The share of places that hold something when `count` things fill rows of `width`."""
    return count / (-(-count // width) * width)


def stream(problem: ConvProblem, machine: Machine, x: float = 1.0, y: float = 1.0) -> float:
    """Seconds to read x that many times and to write y."""
    item = problem.itemsize
    x_bytes = problem.n * problem.c * problem.h * problem.w * item
    y_bytes = problem.n * problem.k * problem.p * problem.q * item
    return x * machine.read_seconds(x_bytes) + y * machine.read_seconds(y_bytes)


def weight_bytes(problem: ConvProblem) -> int:
    return problem.k * (problem.c // problem.groups) * problem.r * problem.s * problem.itemsize


def direct_cost(problem: ConvProblem, machine: Machine) -> float:
    """Filters or pixels in the lanes, as the kernel's variants choose; a band copied beside."""
    peak, lanes = machine.fma_peak(problem.dtype), lanes_of(problem, machine)
    filters = problem.k // problem.groups
    if filters == 1 and problem.r > 1:
        share = 0.6 * filled(problem.q, lanes)
    else:
        by_filters = (0.8 if filters <= lanes else 1.0) * filled(filters, lanes)
        share = max(by_filters, (0.5 if filters == 1 else 0.95) * filled(problem.q, lanes))
    work = 2.0 * problem.n * problem.macs / (share * peak)
    if problem.r * problem.s == 1:
        work *= 1.25  # tiles of one tap each
    if filters == 1:
        work += problem.n * problem.c * problem.h * problem.w * 1.2e-10  # the copy, for one filter
    if problem.groups > 1:
        work += problem.n * problem.c * problem.h * 9e-9  # a group's rows are little work each
    weights = weight_bytes(problem) / machine.cold_bandwidth
    return 2e-6 + max(work, weights) + stream(problem, machine, x=1.25)


def im2col_cost(problem: ConvProblem, machine: Machine) -> float:
    """As direct, and every patch is written and read once."""
    peak, lanes = machine.fma_peak(problem.dtype), lanes_of(problem, machine)
    filters, pixels = problem.k // problem.groups, problem.p * problem.q
    rows = 8 if machine.lanes == 16 else 4
    work = 2.0 * problem.n * problem.macs / (peak * filled(pixels, lanes) * filled(filters, rows))
    patches = problem.n * problem.c * problem.r * problem.s * pixels * problem.itemsize / 26e9
    weights = weight_bytes(problem) / machine.cold_bandwidth
    return 2e-6 + work + weights + patches + stream(problem, machine)


def pointwise_cost(problem: ConvProblem, machine: Machine) -> float:
    """Pixels in the lanes, or filters where there are few pixels."""
    peak, lanes = machine.fma_peak(problem.dtype), lanes_of(problem, machine)
    pixels = problem.p * problem.q
    fill = filled(pixels, lanes)
    if pixels < 256:
        fill = max(fill, filled(problem.k, 2 * lanes))
    work = 2.0 * problem.n * problem.macs / (0.93 * peak * fill)
    moved = stream(problem, machine, y=2.0) + weight_bytes(problem) / machine.cold_bandwidth
    return 1e-6 + max(work, moved)


def depthwise_cost(problem: ConvProblem, machine: Machine) -> float:
    """Strips of a vector by output rows, with a row's loads beside its products; or any filter."""
    peak, lanes = machine.fma_peak(problem.dtype), lanes_of(problem, machine)
    taps, size, stride = problem.r * problem.s, problem.r, problem.stride[0]
    square = size == problem.s and problem.stride == (stride, stride)
    if square and (size, stride) in ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1)):
        zeros = problem.padding_mode == "zeros"
        pairs = zeros and machine.lanes == 16 and 2 * problem.q <= lanes
        strips = (problem.k / 2 if pairs else problem.k) * -(-problem.q // lanes)
        operations = taps + 3 + (size if stride == 1 else 2 * (2 * size + 1))
        work = strips * (2 * lanes * problem.p * operations / peak + 1e-8)
        copied = 0 if zeros and machine.lanes >= 8 else problem.k * problem.h
    else:
        rows = 7 if machine.lanes == 16 else 4  # of a band
        work = 2.0 * problem.macs / (0.6 * peak * filled(problem.q, lanes))
        copied = problem.k * -(-problem.p // rows) * (problem.r + (rows - 1) * stride)
    work += copied * 18e-9  # rows of x
    moved = problem.c * problem.h * problem.w + problem.k * problem.p * problem.q
    return 1e-6 + problem.n * max(work, machine.read_seconds(moved * problem.itemsize))


def winograd_cost(tile: int) -> Cost:
    """Products at the points of every tile, last tiles of tile - 1; transforms on both sides.

    F(4, 3) follows the variants of csrc/kernels/winograd_f4.cpp: few channels in double, plain
    weights for few rows, half-transformed ones where full ones would be streamed for few outputs.
    """

    def points(size: int) -> int:
        tiles = -(-size // tile)
        full = max(0, tiles - (tiles * tile - size))
        return full * (tile + 2) + (tiles - full) * (tile + 1)

    def cost(problem: ConvProblem, machine: Machine) -> float:
        n, c, p, q = problem.n, problem.c, problem.p, problem.q
        peak, lanes = machine.fma_peak(problem.dtype), machine.lanes
        k = -(-problem.k // lanes) * lanes
        tiles, full_bytes = n * -(-p // tile) * -(-q // tile), 144 * c * k
        if tile == 4 and c <= 4:
            return 2e-6 + tiles * k * (1600 + 245 * c) / peak + stream(problem, machine)
        if tile == 4 and p <= 8 and q <= 16 and lanes >= 8:
            if full_bytes > (1.6e6 if lanes == 16 else 10e6):
                spans = -(-q // (8 if lanes == 16 else 4))
                # A row's sums, and the making of three vectors at four points.
                work = 2.0 * n * c * k * (points(q) * (3 * p - 2) + 24 * spans) / (0.95 * peak)
                weights = weight_bytes(problem) / machine.cold_bandwidth
                return 2e-6 + max(work, weights) + stream(problem, machine)
        half = tile == 4 and full_bytes > 2.4e6 and p * q <= (400 if lanes == 16 else 160)
        packed = 4.0 * c * k * (tile + 2) * (3 if half else tile + 2)
        products = 2.0 * n * points(p) * points(q) * c * k / (0.886 * peak)
        products += 7.7 * packed / 4 * (2 if half else 1) / peak
        transforms = tiles * (tile + 2) ** 2 * (4.9 * c + 29.2 * k) / peak
        image = stream(problem, machine)
        return 2e-6 + max(products, packed / machine.cold_bandwidth) + transforms + image

    return cost


def winograd_strided_cost(problem: ConvProblem, machine: Machine) -> float:
    """As F(4, 3), of the phases: for four taps with tiles of 3. Filters by two vectors."""
    peak, lanes, stride = machine.fma_peak(problem.dtype), machine.lanes, problem.stride[0]
    tile, c = 7 - phase_taps(problem), problem.c * stride**2
    k = -(-problem.k // lanes) * lanes
    panels = -(-problem.k // (2 * lanes)) * 2 * lanes
    tiles = problem.n * -(-problem.p // tile) * -(-problem.q // tile)
    packed = 144.0 * c * panels
    products = 72.0 * tiles * c * panels / (0.8 * peak) + 7.7 * packed / 4 / peak
    transforms = tiles * 36 * (8 * c + 35 * k) / peak
    spread = tiles * 6 * tile * (c / stride) * 150 / peak  # of x's rows over the lanes of phases
    weights = packed / machine.cold_bandwidth
    return 6e-6 + max(products, weights) + transforms + spread + stream(problem, machine)


#: As in csrc/blocks/fft_tiling.h, which this follows coarsely.
FFT_SIZES = (8, 12, 16, 18, 20, 24, 28, 32, 36, 40, 48, 64, 72, 96, 128, 192, 256)


#: Of pairs of tiles of one-channel images: csrc/blocks/fft_image.h.
IMAGE_SIZES = (16, 32, 48, 64, 96, 128, 144, 192, 256, 288, 320, 384, 448, 512, 576, 640, 768)


def wrapped_size(size_in: int, out: int, taps: int, before: int) -> int:
    """The least tile that holds all: wrapped around, the zeros of one border serve the other."""
    return max(
        size_in + max(min(before, out - 1), 0), out + max(min(taps - 1 - before, size_in - 1), 0)
    )


def image_axis(size_in: int, out: int, taps: int, before: int, zeros: bool) -> tuple[int, int]:
    """(tile size, tiles) of least work along rows or columns of an image."""
    wrapped = wrapped_size(size_in, out, taps, before)
    best, least = (IMAGE_SIZES[-1], 1), math.inf
    for size in IMAGE_SIZES:
        if zeros and size >= wrapped:
            tiles = 1
        elif size >= taps:
            tiles = -(-out // (size - taps + 1))
        else:
            continue
        work = tiles * size * max(5.0, 2.6 * math.log2(size) - 9.6)
        if work < least:
            best, least = (size, tiles), work
    return best


def image_fft_cost(problem: ConvProblem, machine: Machine) -> float:
    """Cycles a point of a pair of tiles, and three passes over the image."""
    zeros = problem.padding_mode == "zeros"
    rows, down = image_axis(problem.h, problem.p, problem.r, problem.padding[0], zeros)
    columns, across = image_axis(problem.w, problem.q, problem.s, problem.padding[2], zeros)
    points = problem.n * problem.groups * -(-down * across // 2) * rows * columns
    cycles = max(5.0, 1.3 * (math.log2(rows) + math.log2(columns)) - 9.6)
    return 5e-6 + 64 * points * cycles / machine.fma_peak(problem.dtype)


def is_fft_image(problem: ConvProblem, machine: Machine) -> bool:
    """Whether the kernel takes it for an image: one filter a channel, and few channels."""
    return (
        problem.c == problem.groups == problem.k < lanes_of(problem, machine)
        and min(problem.r, problem.s) > 1
        and max(problem.r, problem.s) <= IMAGE_SIZES[-1]
    )


def fft_axis(size_in: int, out: int, taps: int, before: int, zeros: bool) -> tuple[int, int, int]:
    """(tile size, tiles, pieces of the filter) of least work along rows or columns."""
    if taps == 1:
        return 1, out, 1  # not transformed this way
    wrapped = wrapped_size(size_in, out, taps, before)
    best, least = (1, 1, 1), math.inf
    for size in FFT_SIZES:
        if zeros and size >= wrapped:
            tiles, pieces = 1, 1
        elif size >= taps:
            tiles, pieces = -(-out // (size - taps + 1)), 1
        else:
            tiles, pieces = -(-out // (size // 2)), -(-taps // (size // 2))
        work = tiles * size * (math.log2(size) + 6 * pieces)
        if work < least:
            best, least = (size, tiles, pieces), work
    return best


def fft_cost(problem: ConvProblem, machine: Machine) -> float:
    """Transforms of a tile's points, and complex products at half as many frequencies."""
    if is_fft_image(problem, machine):
        return image_fft_cost(problem, machine)
    n, peak, zeros = problem.n, machine.fma_peak(problem.dtype), problem.padding_mode == "zeros"
    rows, down, row_pieces = fft_axis(problem.h, problem.p, problem.r, problem.padding[0], zeros)
    columns, across, column_pieces = fft_axis(
        problem.w, problem.q, problem.s, problem.padding[2], zeros
    )
    groups, tiles, area = problem.groups, down * across, rows * columns
    channels, filters = problem.c // groups, problem.k // groups
    frequencies, pieces = area / 2 + 2, row_pieces * column_pieces
    lanes = lanes_of(problem, machine)

    def up(size: int) -> int:
        return -(-size // lanes) * lanes

    best = math.inf
    # In the lanes: channels and filters, or tiles, or groups. What does not fill them is padded.
    for c, k, g, t in (
        (up(channels), up(filters), groups, tiles),
        (channels, filters, groups, up(tiles)),
        (channels, filters, up(groups), tiles),
    ):
        transforms = 6.7 * g * t * area * math.log2(area) * (c + k)
        products = 1.66 * g * t * frequencies * pieces * channels * k * 8
        packed = groups * frequencies * pieces * channels * k * 2 * problem.itemsize
        best = min(best, n * (transforms + products) / peak + packed / machine.cold_bandwidth)
    return 5e-6 + best


def separable_cost(problem: ConvProblem, machine: Machine) -> float:
    """Sums over the filter's rows near the peak, over its columns at half: misaligned loads."""
    peak, lanes = machine.fma_peak(problem.dtype), lanes_of(problem, machine)
    taps = problem.r / 0.75 + problem.s / 0.4
    outputs = problem.n * problem.k * problem.p * problem.q
    work = 2.0 * outputs * taps / (peak * filled(problem.q, lanes))
    rows = problem.n * problem.k * problem.p * 3e-8
    return 2e-6 + work + rows + stream(problem, machine)


#: In the order that `explain` lists them. `direct` computes everything: nothing is ever refused.
ALGORITHMS: tuple[Algorithm, ...] = (
    Algorithm("direct", anything, direct_cost, packing=3.5e9),
    Algorithm("im2col", anything, im2col_cost),
    Algorithm("pointwise", all_of(filter_is(1, 1), single_group), pointwise_cost),
    Algorithm(
        "depthwise", all_of(group_per_channel, unit_dilation, stride_up_to_two), depthwise_cost
    ),
    Algorithm(
        "winograd_f2",
        all_of(filter_is(3, 3), unit_stride, unit_dilation, single_group, is_float32),
        winograd_cost(2),
        exact=False,
    ),
    Algorithm(
        "winograd_f4",
        all_of(filter_is(3, 3), unit_stride, unit_dilation, single_group, is_float32),
        winograd_cost(4),
        exact=False,
        packing=8e9,
    ),
    Algorithm(
        "winograd_strided",
        all_of(phases_of_three_or_four_taps, unit_dilation, single_group, is_float32),
        winograd_strided_cost,
        exact=False,
        packing=8e9,
    ),
    Algorithm(
        "fft",
        all_of(filter_above_one, unit_stride, unit_dilation),
        fft_cost,
        exact=False,
        packing=9e9,
    ),
    Algorithm(
        "separable",
        all_of(group_per_channel, unit_stride, unit_dilation, rows_and_columns),
        separable_cost,
        exact=False,
        weights=rank_one,
    ),
)
BY_NAME = {row.name: row for row in ALGORITHMS}


def algorithms(device: str = "cpu") -> tuple[str, ...]:
    """Names that `algo` takes, besides "auto".

    Examples
    --------
    >>> import convkit
    >>> "winograd_f4" in convkit.algorithms()
    True
    """
    check_device(device)
    return tuple(BY_NAME)
