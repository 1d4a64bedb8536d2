"""The native layer under the package: memory it lends, threads it takes, what it refuses."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from cases import BY_NAME
from native import VARIANTS, native_plan, run

from convkit import _convkit

CASE = BY_NAME["resnet20_block_3"]
IM2COL = next(v for v in VARIANTS if v.algorithm == "im2col" and v.dtype == "float32")
PAGES = 3 * 4096  # what a block may be rounded up by


@pytest.fixture(autouse=True)
def chosen_isa():
    chosen = _convkit.current_isa()
    yield
    _convkit.select_isa(chosen)


def plan_with(limit=_convkit.NO_LIMIT, bias=None):
    _convkit.select_isa(IM2COL.isa)
    problem = tuple(CASE.problem.kernel_problem())
    w = CASE.arrays().w
    return _convkit.Plan("im2col", problem, w, bias, 0, 0.0, 0.0, IM2COL.index, limit)


def kept_after(plan, threads):
    """Bytes of scratch that a run borrowed."""
    _convkit.release_memory()
    x, y = CASE.arrays().x, np.empty(CASE.problem.y_shape, "f")
    plan.run(np.repeat(x, 4, axis=0), None, np.repeat(y, 4, axis=0), threads)
    return _convkit.idle_memory()


def test_a_limit_takes_threads_not_memory():
    """What is left of the limit after weights and shared scratch goes to threads, one at least."""
    packed, shared, scratch = plan_with().sizes
    assert scratch > 2 * PAGES, "a case whose scratch shows"
    one, three = packed + shared + scratch, packed + shared + 3 * scratch
    assert kept_after(plan_with(), 1) <= shared + scratch + PAGES
    assert kept_after(plan_with(), 4) >= shared + 4 * scratch
    assert kept_after(plan_with(one), 4) <= shared + scratch + PAGES
    assert kept_after(plan_with(three), 4) <= shared + 3 * (scratch + PAGES)
    assert kept_after(plan_with(three), 4) >= shared + 3 * scratch


def test_scratch_is_used_again():
    plan = plan_with()
    first = kept_after(plan, 2)
    x, y = CASE.arrays().x, np.empty(CASE.problem.y_shape, "f")
    for _ in range(5):
        plan.run(x, None, y, 2)
    assert _convkit.idle_memory() == first


def test_plans_share_no_memory():
    """Two that take the place of a third, which is gone."""
    arrays, problem = CASE.arrays(), CASE.problem
    _convkit.release_memory()
    del_me = native_plan(IM2COL, problem, arrays.w)
    expected = run(del_me, problem, arrays.x)
    del del_me
    gc.collect()
    first = native_plan(IM2COL, problem, arrays.w)
    second = native_plan(IM2COL, problem, 2 * arrays.w)
    np.testing.assert_array_equal(run(first, problem, arrays.x), expected)
    np.testing.assert_array_equal(run(second, problem, arrays.x), 2 * expected)


def test_a_plan_keeps_its_bias():
    arrays, problem = CASE.arrays(), CASE.problem
    plan = plan_with(bias=arrays.bias.copy())
    expected = run(plan, problem, arrays.x)
    gc.collect()
    others = [np.full_like(arrays.bias, np.nan) for _ in range(50)]
    np.testing.assert_array_equal(run(plan, problem, arrays.x), expected)
    del others


X, Y = CASE.problem.x_shape, CASE.problem.y_shape


@pytest.mark.parametrize(
    ("x", "residual", "y", "message"),
    [
        (np.zeros((1, *X[1:3], X[3] + 1), "f"), None, np.zeros(Y, "f"), "x does not fit"),
        (np.zeros((1, X[1], X[2] - 1, X[3]), "f"), None, np.zeros(Y, "f"), "x does not fit"),
        (np.zeros((1, X[1] - 1, *X[2:]), "f"), None, np.zeros(Y, "f"), "x does not fit"),
        (np.zeros(X[1:], "f"), None, np.zeros(Y, "f"), "x does not fit"),
        (np.zeros(X), None, np.zeros(Y, "f"), "x does not fit"),
        (np.zeros(X, "f"), None, np.zeros(Y), "y does not fit"),
        (np.zeros(X, "f"), None, np.zeros((2, *Y[1:]), "f"), "y does not fit"),
        (np.zeros(X, "f"), np.zeros((2, *Y[1:]), "f"), np.zeros(Y, "f"), "residual does not fit"),
        (np.zeros(X, ">f4"), None, np.zeros(Y, "f"), "x does not fit"),
    ],
    ids=["columns", "rows", "channels", "rank", "float64 x", "float64 y", "n", "residual", ">f4"],
)
def test_arrays_that_do_not_fit(x, residual, y, message):
    with pytest.raises(ValueError, match=message):
        plan_with().run(x, residual, y, 1)


def test_read_only_y():
    y = np.zeros(Y, "f")
    y.flags.writeable = False
    with pytest.raises(ValueError, match="writ"):
        plan_with().run(np.zeros(X, "f"), None, y, 1)


def test_weights_that_do_not_fit():
    problem = tuple(CASE.problem.kernel_problem())
    for w in (np.zeros(7, "f"), np.zeros(CASE.problem.w_shape)):
        with pytest.raises(ValueError, match="w "):
            _convkit.Plan("direct", problem, w, None, 0, 0.0, 0.0, -1, _convkit.NO_LIMIT)


def test_unknown_names():
    problem = tuple(CASE.problem.kernel_problem())
    with pytest.raises(ValueError, match="no kernel 'fast'"):
        _convkit.sizes("fast", problem)
    with pytest.raises(ValueError, match="variant 99 of 'direct'"):
        _convkit.sizes("direct", problem, 99)
    with pytest.raises(ValueError, match="numbers, got 3"):
        _convkit.sizes("direct", (1, 2, 3))
    with pytest.raises(ValueError, match="'sse9'.*expected one of"):
        _convkit.select_isa("sse9")


@pytest.mark.skipif(len(_convkit.available_isas()) < 2, reason="needs two instruction sets")
def test_the_isa_asked_for_runs():
    """The baseline has no fused multiply-add: other bits, the same numbers."""
    case = BY_NAME["deep_360"]
    answers = []
    for isa in (_convkit.available_isas()[0], _convkit.available_isas()[-1]):
        _convkit.select_isa(isa)
        plan = _convkit.Plan(
            "direct", tuple(case.problem.kernel_problem()), case.arrays().w, None, 0, 0.0, 0.0, -1,
            _convkit.NO_LIMIT,
        )  # fmt: skip
        answers.append(run(plan, case.problem, case.arrays().x))
    assert not np.array_equal(*answers)
    np.testing.assert_allclose(*answers, atol=1e-3)
