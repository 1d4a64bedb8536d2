"""Which algorithm computes a problem: drop the rows that do not apply, take the cheapest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from convkit import _convkit
from convkit.algorithms import ALGORITHMS, APPLIES, BY_NAME, Algorithm
from convkit.backends import DTYPE_OF, Array, check_device, dtype_name
from convkit.machine import Machine, physical_memory, this_machine
from convkit.problem import (
    PADDING_MODES,
    ConvProblem,
    PaddingLike,
    PairLike,
    conv_problem,
    integer,
    one_of,
    padding_sides,
    pair,
)

PRECISIONS = ("highest", "high", "medium")
#: Seconds to see whether the weights suit a row for certain weights only.
WEIGHING_COST = 2.5e-5


class Request(NamedTuple):
    """What the caller asks of the choice; hashable."""

    algo: str = "auto"
    precision: str = "high"
    invariant: bool = True
    max_workspace: int = _convkit.NO_LIMIT


def request(
    algo: str, precision: str, invariant: bool | None, max_workspace: int | None
) -> Request:
    """Validate the arguments that steer the choice."""
    if algo != "auto":
        one_of("algo", algo, ("auto", *BY_NAME))
    one_of("precision", precision, PRECISIONS)
    if invariant is not None and not isinstance(invariant, bool):
        raise TypeError(f"invariant={invariant!r} must be None, True or False")
    limit = _convkit.NO_LIMIT
    if max_workspace is not None:
        limit = min(limit, integer("max_workspace", max_workspace, least=0))
    return Request(algo, precision, invariant is not False, limit)


def why_not(
    row: Algorithm, problem: ConvProblem, asked: Request, granted: frozenset[str] = frozenset()
) -> str:
    """APPLIES, or why this row cannot serve this request.

    `granted`: rows whose rule about the weights holds, or is looked at later.
    """
    reason = row.why_not(problem)
    if reason == APPLIES and row.weights and row.name not in granted:
        reason = "needs to see the weights, which plan and conv2d do"
    if reason == APPLIES and asked.precision == "highest" and not row.exact:
        return "its error is above a direct sum's, which precision='highest' asks for"
    return reason


#: Rows for certain weights only.
WEIGHING = frozenset(row.name for row in ALGORITHMS if row.weights)


class Decision(NamedTuple):
    """A choice; the same for the same arguments and weights, whatever was called before."""

    problem: ConvProblem
    algorithm: str
    #: The problem as the kernels read it.
    numbers: tuple[int, ...]


def decide(
    x_shape: tuple[int, ...],
    w: Array,
    asked: Request,
    packing: bool,
    *,
    stride: PairLike,
    padding: PaddingLike,
    padding_mode: str,
    dilation: PairLike,
    groups: int,
) -> Decision:
    """Validate the arguments of a convolution and choose; asked again, remembered.

    The weights are looked at only where a row that depends on them would be the cheapest.

    Raises ValueError or TypeError that names the argument; MemoryError where the answer and the
    workspace cannot fit.
    """
    # Most calls have plain integers and texts. Others could equal what they are not, as True and
    # (1, 1.0) do, and are made plain first.
    if type(stride) is not int:
        stride = pair("stride", stride, least=1)
    if type(dilation) is not int:
        dilation = pair("dilation", dilation, least=1)
    if type(padding) not in (int, str):
        top, bottom, left, right = padding_sides(padding, (0, 0), (1, 1), (1, 1), (1, 1))
        padding = ((top, bottom), (left, right))
    if type(groups) is not int:
        groups = integer("groups", groups, least=1)
    one_of("padding_mode", padding_mode, PADDING_MODES)
    dtype, machine, granted = DTYPE_OF[w.dtype.char], this_machine(), WEIGHING
    while True:
        decision = _decided(
            x_shape, w.shape, dtype, asked, packing, machine, granted, stride, padding,
            padding_mode, dilation, groups,
        )  # fmt: skip
        rule = BY_NAME[decision.algorithm].weights
        reason = rule(four_weights(w)) if rule else APPLIES
        if reason == APPLIES:
            return decision
        if asked.algo != "auto":
            raise ValueError(
                f"algo={asked.algo!r} does not apply to these weights of {decision.problem}: "
                f"{reason}"
            )
        granted -= {decision.algorithm}


def four_weights(w: Array, flip: bool = False) -> Array:
    """A view of the weights as (k, c / groups, r, s)."""
    w4 = w[None, None] if w.ndim == 2 else w
    return w4[:, :, ::-1, ::-1] if flip else w4


@lru_cache(maxsize=1024)
def _decided(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    dtype: str,
    asked: Request,
    packing: bool,
    machine: Machine,
    granted: frozenset[str],
    stride: PairLike,
    padding: PaddingLike,
    padding_mode: str,
    dilation: PairLike,
    groups: int,
) -> Decision:
    problem = conv_problem(
        x_shape, w_shape, stride=stride, padding=padding, padding_mode=padding_mode,
        dilation=dilation, groups=groups, dtype=dtype,
    )  # fmt: skip
    algorithm = choose(problem, asked, machine, packing, granted)
    check_memory(problem, BY_NAME[algorithm].workspace(problem))
    return Decision(problem, algorithm, tuple(problem.kernel_problem()))


#: Seconds an image that an algorithm with more error than a direct sum must save to be taken: the
#: predictions for the smallest images are no finer.
LEAST_SAVED = 2e-6


@lru_cache(maxsize=1024)
def choose(
    problem: ConvProblem,
    asked: Request,
    machine: Machine,
    packing: bool = False,
    granted: frozenset[str] = frozenset(),
) -> str:
    """The name of the algorithm; the same for the same arguments, always.

    `packing`: the weights are packed for this one call, so that counts too. `granted`: as for
    `why_not`.
    """
    if asked.algo != "auto":
        row = BY_NAME[asked.algo]
        reason = why_not(row, problem, asked, granted)
        if reason != APPLIES:
            raise ValueError(f"algo={asked.algo!r} does not apply to {problem}: {reason}")
        if row.workspace(problem) > asked.max_workspace:
            raise ValueError(
                f"max_workspace={asked.max_workspace} is too little for algo={asked.algo!r}, "
                f"which needs {row.workspace(problem)} bytes for {problem}"
            )
        return row.name
    fits = [
        row
        for row in ALGORITHMS
        if why_not(row, problem, asked, granted) == APPLIES
        and row.workspace(problem) <= asked.max_workspace
    ]
    if not fits:
        raise ValueError(
            f"max_workspace={asked.max_workspace} is too little: direct needs "
            f"{BY_NAME['direct'].workspace(problem)} bytes for {problem}"
        )

    def seconds(row: Algorithm) -> float:
        return _seconds(row, problem, asked, machine, packing)

    best = min(fits, key=seconds)
    exact = min((row for row in fits if row.exact), key=seconds, default=best)
    one = problem.with_batch(1)
    saved = exact.seconds(one, machine) - best.seconds(one, machine)
    return best.name if best.exact or saved > LEAST_SAVED else exact.name


def check_memory(problem: ConvProblem, workspace: int) -> None:
    """Raise MemoryError, before any work, where the answer and the workspace cannot fit."""
    answer = max(problem.n, 1) * problem.k * problem.p * problem.q * problem.itemsize
    if answer + workspace > physical_memory():
        raise MemoryError(
            f"{problem} needs {answer} bytes for y and {workspace} bytes of workspace: this "
            f"machine has {physical_memory()}"
        )


def _seconds(
    row: Algorithm, problem: ConvProblem, asked: Request, machine: Machine, packing: bool
) -> float:
    """Predicted for the whole batch; batch-invariant requests see one image."""
    batch = max(problem.n, 1)
    if asked.invariant:
        seconds = row.seconds(problem.with_batch(1), machine) * batch
    else:
        seconds = min(
            row.seconds(problem.with_batch(batch), machine),
            row.seconds(problem.with_batch(1), machine) * batch,
        )
    if not packing:
        return seconds
    # An invariant choice must not see the batch: weigh packing against one image.
    if asked.invariant:
        seconds /= batch
    return seconds + row.sizes(problem)[0] / row.packing + (WEIGHING_COST if row.weights else 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One algorithm in an explanation.

    Attributes
    ----------
    algorithm : str
    applies : bool
    reason : str
        Why it does not apply; empty where it does.
    workspace : int
        Bytes: packed weights, shared scratch and the scratch of one thread; 0 where the
        algorithm cannot compute the problem at all.
    cost : float
        Predicted seconds on one core of `info().machine`; infinite where it does not apply.
    chosen : bool
    """

    algorithm: str
    applies: bool
    reason: str
    workspace: int
    cost: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every algorithm's part in the choice; iterates over `Row`s and prints as a table."""

    problem: ConvProblem
    machine: Machine
    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __str__(self) -> str:
        head = (
            f"{self.problem} {self.problem.dtype}, {2 * self.problem.macs / 1e9:.3f} GFLOP an "
            f"image, on {self.machine.name} ({_convkit.current_isa()})"
        )
        wide = max(len(row.algorithm) for row in self.rows)
        lines = [head, f"  {'algorithm':{wide}} {'predicted':>12} {'workspace':>13}"]
        for row in self.rows:
            if row.applies:
                figures = f"{1e3 * row.cost:9.3f} ms {row.workspace / 1024:9.1f} KiB"
                lines.append(f"{'*' if row.chosen else ' '} {row.algorithm:{wide}} {figures}")
            else:
                lines.append(f"  {row.algorithm:{wide}} {row.reason}")
        return "\n".join(lines)

    __repr__ = __str__


def explain(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    dtype: Any = "float32",
    device: str = "cpu",
    stride: PairLike = 1,
    padding: PaddingLike = 0,
    padding_mode: str = "zeros",
    dilation: PairLike = 1,
    groups: int = 1,
    flip: bool = False,
    algo: str = "auto",
    activation: Any = None,
    precision: str = "high",
    invariant: bool | None = None,
    max_workspace: int | None = None,
) -> Explanation:
    """What `plan` would choose for these shapes, and why.

    Parameters
    ----------
    x_shape : (n, c, h, w), (c, h, w) or (h, w)
    w_shape : (k, c / groups, r, s) or (r, s)
    dtype : "float32" or "float64"
    device, stride, padding, padding_mode, dilation, groups, flip, algo, activation, precision, \
invariant, max_workspace
        As for `conv2d`.

    Returns
    -------
    Explanation
        Iterates over rows with .algorithm .applies .reason .workspace .cost .chosen; prints as a
        table.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit, or a forced algorithm does not apply.

    Examples
    --------
    >>> import convkit
    >>> rows = convkit.explain((1, 64, 56, 56), (64, 64, 3, 3), stride=2)
    >>> [row.algorithm for row in rows if row.applies]
    ['direct', 'im2col']
    >>> print(rows[4].reason)
    needs stride (1, 1), got (2, 2)
    """
    from convkit.epilogue import activation as parse_activation

    check_device(device)
    parse_activation(activation)
    asked = request(algo, precision, invariant, max_workspace)
    if not isinstance(flip, bool):
        raise TypeError(f"flip={flip!r} must be True or False")
    problem = conv_problem(
        x_shape, w_shape, stride=stride, padding=padding, padding_mode=padding_mode,
        dilation=dilation, groups=groups, dtype=dtype_name(dtype),
    )  # fmt: skip
    machine = this_machine()
    chosen = choose(problem, asked, machine)
    return Explanation(
        problem, machine, tuple(_row(row, problem, asked, machine, chosen) for row in ALGORITHMS)
    )


def _row(
    row: Algorithm, problem: ConvProblem, asked: Request, machine: Machine, chosen: str
) -> Row:
    reason = why_not(row, problem, asked)
    workspace = row.workspace(problem) if row.supports(problem) else 0
    if reason == APPLIES and workspace > asked.max_workspace:
        reason = f"needs {workspace} bytes, max_workspace={asked.max_workspace}"
    applies = reason == APPLIES
    cost = _seconds(row, problem, asked, machine, False) if applies else math.inf
    return Row(row.name, applies, reason, workspace, cost, row.name == chosen)
