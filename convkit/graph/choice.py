"""Which algorithm computes a convolution inside a network, in which layouts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from convkit import _convkit
from convkit.algorithms import ALGORITHMS, APPLIES, Algorithm
from convkit.backends import Array
from convkit.graph.ir import Value
from convkit.machine import Machine, this_machine
from convkit.problem import DTYPES, ConvProblem, KernelProblem
from convkit.select import LEAST_SAVED, WEIGHING, Request, why_not

#: Numbers as in csrc/problem.h.
NCHW, NCHWC = 0, 1


@dataclass(frozen=True, slots=True)
class Choice:
    """An algorithm and the seconds that it is predicted to take an image."""

    algorithm: str
    seconds: float


def block_of(dtype: str) -> int:
    """Channels of a block in the instruction set in use: a vector of them."""
    lanes = this_machine().lanes
    return lanes // 2 if dtype == "float64" else lanes


def kernel_fields(problem: ConvProblem, x_block: int, y_block: int) -> tuple[int, ...]:
    """The problem's numbers for arrays in these layouts, one image."""
    fields = problem.with_batch(1).kernel_problem()
    return tuple(
        fields._replace(
            x_layout=NCHWC if x_block else NCHW,
            y_layout=NCHWC if y_block else NCHW,
            block=x_block or y_block,
        )
    )


@lru_cache(maxsize=4096)
def sizes(algorithm: str, fields: tuple[int, ...], isa: str) -> tuple[int, int, int] | None:
    """Bytes of packed weights and scratch; None where no variant takes these layouts."""
    try:
        return _convkit.sizes(algorithm, fields)
    except ValueError:
        return None


def choose(
    problem: ConvProblem,
    x_block: int,
    y_block: int,
    asked: Request,
    w: Array | None = None,
) -> Choice | None:
    """The cheapest algorithm with a kernel for these layouts; None where there is none.

    `w`: the weights, for rows that apply to certain weights only; they count as cold.
    """
    granted: frozenset[str] = frozenset() if w is None else WEIGHING
    fields = kernel_fields(problem, x_block, y_block)
    while True:
        found = _cheapest(
            problem.with_batch(1), fields, asked, this_machine(), granted, _convkit.current_isa()
        )
        if found is None:
            return None
        row = next(each for each in ALGORITHMS if each.name == found.algorithm)
        if row.weights is None or (w is not None and row.weights(w) == APPLIES):
            return found
        granted -= {row.name}


def candidates(
    problem: ConvProblem, x_block: int, y_block: int, asked: Request, w: Array
) -> list[Choice]:
    """Every algorithm that could compute this in these layouts, with its predicted seconds."""
    one = problem.with_batch(1)
    fields, isa = kernel_fields(problem, x_block, y_block), _convkit.current_isa()
    return [
        Choice(row.name, row.seconds(one, this_machine()))
        for row in ALGORITHMS
        if _applies(row, one, fields, asked, WEIGHING, isa)
        and (row.weights is None or row.weights(w) == APPLIES)
    ]


@lru_cache(maxsize=4096)
def _cheapest(
    problem: ConvProblem,
    fields: tuple[int, ...],
    asked: Request,
    machine: Machine,
    granted: frozenset[str],
    isa: str,
) -> Choice | None:
    best: Choice | None = None
    exact: Choice | None = None
    for row in ALGORITHMS:
        if not _applies(row, problem, fields, asked, granted, isa):
            continue
        choice = Choice(row.name, row.seconds(problem, machine))
        if best is None or choice.seconds < best.seconds:
            best = choice
        if row.exact and (exact is None or choice.seconds < exact.seconds):
            exact = choice
    if best is None or exact is None:
        return best
    # What has more error than a direct sum must save something.
    return exact if exact.seconds - best.seconds <= LEAST_SAVED else best


def _applies(
    row: Algorithm,
    problem: ConvProblem,
    fields: tuple[int, ...],
    asked: Request,
    granted: frozenset[str],
    isa: str,
) -> bool:
    if why_not(row, problem, asked, granted) != APPLIES:
        return False
    needed = sizes(row.name, fields, isa)
    return needed is not None and sum(needed) <= asked.max_workspace


def operator_fields(
    x: Value,
    y: Value,
    window: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    mode: int = 0,
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, ...]:
    """What an operator's kernel is told of one image. groups is 0: w is no filter."""
    number = DTYPES.index(x.dtype)
    _, c, h, w = x.sizes
    _, k, p, q = y.sizes
    return tuple(
        KernelProblem(
            1, c, h, w, k, *window, p, q, 0, *stride, *dilation, *padding, mode,
            number, number, number, NCHWC if x.block else NCHW, NCHWC if y.block else NCHW,
            x.block or y.block,
        )
    )  # fmt: skip


def has_kernel(name: str, fields: tuple[int, ...]) -> bool:
    """Whether a variant takes the dtype and layouts of these numbers."""
    return sizes(name, fields, _convkit.current_isa()) is not None


def reorder_seconds(size: int) -> float:
    """To read and write an array of so many bytes once more."""
    return 2e-6 + 2 * this_machine().read_seconds(size)
