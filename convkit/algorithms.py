"""ALGORITHMS: how a convolution can be computed, one row each: when it applies and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convkit import _convkit
from convkit.backends import check_device
from convkit.machine import Machine
from convkit.problem import ConvProblem

APPLIES = ""
Rule = Callable[[ConvProblem], str]
Cost = Callable[[ConvProblem, Machine], float]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A row of the table. The name is the stem of its kernel's file.

    `why_not` answers APPLIES (an empty text) or the reason; `cost` predicts the seconds that one
    call takes on one core, weights packed but cold. `exact`: its error is that of a direct sum.
    """

    name: str
    why_not: Rule
    cost: Cost
    exact: bool = True

    def supports(self, problem: ConvProblem) -> bool:
        return self.why_not(problem) == APPLIES

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


def unit_stride(problem: ConvProblem) -> str:
    return APPLIES if problem.stride == (1, 1) else f"needs stride (1, 1), got {problem.stride}"


def stride_up_to_two(problem: ConvProblem) -> str:
    if max(problem.stride) <= 2:
        return APPLIES
    return f"needs a stride of 1 or 2, got {problem.stride}"


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


# Costs. Operations over the share of the FMA peak that the kernel reaches, or bytes over bandwidth
# where those take longer, with the weights counted as cold: inside a network they are.


def lanes_used(size: int, lanes: int) -> float:
    """The share of vector lanes that hold something, when `size` things fill them."""
    return size / (-(-size // lanes) * lanes)


def moved(problem: ConvProblem, machine: Machine, packed: int, passes: float = 1.0) -> float:
    """Seconds to read x `passes` times, the packed weights once, and to write y."""
    item = problem.itemsize
    x = problem.n * problem.c * problem.h * problem.w * item
    y = problem.n * problem.k * problem.p * problem.q * item
    return (
        passes * machine.read_seconds(x) + 2 * machine.read_seconds(y) + packed / machine.bandwidth
    )


def dense(share: float, overhead: float) -> Cost:
    """A product over pixels, filters and depth at `share` of the peak, and overhead per item."""

    def cost(problem: ConvProblem, machine: Machine) -> float:
        n, peak = max(problem.n, 1), machine.fma_peak(problem.dtype)
        filters = problem.k // problem.groups
        # Filters or pixels stand in the lanes, whichever fills them better.
        fill = max(lanes_used(filters, 16), lanes_used(problem.q, 16) * 0.9)
        work = 2.0 * n * problem.macs / (peak * share * fill)
        weights = problem.k * (problem.c // problem.groups) * problem.r * problem.s
        copied = overhead * n * problem.c * problem.h * problem.w * problem.itemsize / 30e9
        memory = moved(problem, machine, weights * problem.itemsize)
        return 2e-6 + max(work, memory) + copied * max(1.0, problem.groups / 64)

    return cost


def im2col_cost(problem: ConvProblem, machine: Machine) -> float:
    """As direct, and every patch is written and read once."""
    patches = problem.c * problem.r * problem.s * problem.p * problem.q * problem.itemsize
    return dense(0.8, 1.0)(problem, machine) + max(problem.n, 1) * patches / 12e9


def pointwise_cost(problem: ConvProblem, machine: Machine) -> float:
    n, peak = max(problem.n, 1), machine.fma_peak(problem.dtype)
    pixels = problem.p * problem.q
    fill = max(lanes_used(pixels, 16), lanes_used(problem.k, 16))
    work = 2.0 * n * problem.macs / (peak * 0.85 * fill)
    return 1e-6 + max(work, moved(problem, machine, problem.k * problem.c * problem.itemsize))


def depthwise_cost(problem: ConvProblem, machine: Machine) -> float:
    n, peak = max(problem.n, 1), machine.fma_peak(problem.dtype)
    work = 2.0 * n * problem.macs / (peak * 0.3 * lanes_used(problem.q, 16))
    return 1e-6 + max(work, moved(problem, machine, problem.k * problem.r * problem.s * 4))


def winograd_cost(tile: int) -> Cost:
    """Products of a tile's (tile + 2)^2 points, and the transforms on both sides."""

    def cost(problem: ConvProblem, machine: Machine) -> float:
        n, peak = max(problem.n, 1), machine.fma_peak(problem.dtype)
        points = (tile + 2) ** 2
        tiles = n * -(-problem.p // tile) * -(-problem.q // tile)
        filters, channels = -(-problem.k // 16) * 16, -(-problem.c // 16) * 16
        products = 2.0 * points * tiles * channels * filters / (0.85 * peak)
        transforms = tiles * (channels + filters) / 16 * (5.0 * points) * 16 / peak
        packed = points * problem.k * problem.c * 4.0
        if 144 * problem.c * problem.k > 2.4e6 and tile == 4:
            packed /= 2  # kept half transformed
        memory = packed / machine.bandwidth
        return 3e-6 + max(products, memory) + transforms + 0.2 * min(products, memory)

    return cost


def fft_cost(problem: ConvProblem, machine: Machine) -> float:
    """The best square tile's transforms and complex products."""
    n, peak = max(problem.n, 1), machine.fma_peak(problem.dtype)
    channels, filters = problem.c, problem.k
    depth = problem.c // problem.groups
    best = float("inf")
    for size in (8, 12, 16, 24, 32, 48, 64):
        rows = size - min(problem.r, size // 2 + 1) + 1
        columns = size - min(problem.s, size // 2 + 1) + 1
        pieces = -(-problem.r // (size // 2 + 1)) * -(-problem.s // (size // 2 + 1))
        tiles = n * -(-problem.p // rows) * -(-problem.q // columns)
        frequencies = size * size / 2 + 2
        products = 8.0 * frequencies * tiles * depth * filters * pieces / (0.8 * peak)
        stages = 2.5 * size * size * size.bit_length()
        transforms = 2.0 * stages * tiles * (channels * pieces + filters) / (0.35 * peak)
        packed = 8.0 * frequencies * depth * filters * pieces * problem.itemsize / 4
        best = min(best, max(products, packed / machine.bandwidth) + transforms)
    return 5e-6 + best


#: In the order that `explain` lists them. `direct` computes everything: nothing is ever refused.
ALGORITHMS: tuple[Algorithm, ...] = (
    Algorithm("direct", anything, dense(0.85, 1.0)),
    Algorithm("im2col", anything, im2col_cost),
    Algorithm("pointwise", all_of(filter_is(1, 1), single_group), pointwise_cost),
    Algorithm("depthwise", all_of(group_per_channel, unit_dilation, stride_up_to_two), depthwise_cost),
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
    ),
    Algorithm("fft", all_of(filter_above_one, unit_stride, unit_dilation), fft_cost, exact=False),
)
BY_NAME = {row.name: row for row in ALGORITHMS}


def algorithms(device: str = "cpu") -> tuple[str, ...]:
    """Names that `algo` takes, besides "auto".

    Examples
    --------
    >>> import convkit
    >>> convkit.algorithms()
    ('direct', 'im2col', 'pointwise', 'depthwise', 'winograd_f2', 'winograd_f4', 'fft')
    """
    check_device(device)
    return tuple(BY_NAME)
