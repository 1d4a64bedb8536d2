"""The oracle against the definition, written as plain loops over Python numbers."""

import math

import numpy as np
import pytest
from cases import CASES
from oracle import activated, assert_within, magnitude, oracle

SMALL = [case for case in CASES if case.problem.n * case.problem.macs < 6000]


def source(i, size, mode):
    """Where the padded image's row or column i comes from; None reads zero."""
    if 0 <= i < size:
        return i
    match mode:
        case "zeros":
            return None
        case "reflect":
            return -i if i < 0 else 2 * (size - 1) - i
        case "symmetric":
            return -i - 1 if i < 0 else 2 * size - 1 - i
        case "replicate":
            return min(max(i, 0), size - 1)
        case "circular":
            return i % size


def six_loops(x, w, problem):
    """y[n,k,p,q] = sum over c, r, s of w[k,c,r,s] x[n,c of k's group, p u + r d, q u + s d]."""
    channels, filters = problem.c // problem.groups, problem.k // problem.groups
    top, _, left, _ = problem.padding
    mode = problem.padding_mode
    y = np.zeros((problem.n, problem.k, problem.p, problem.q))
    for n, k, p, q in np.ndindex(*y.shape):
        terms = []
        for c in range(channels):
            for r in range(problem.r):
                row = source(p * problem.stride[0] + r * problem.dilation[0] - top, problem.h, mode)
                for s in range(problem.s):
                    at = q * problem.stride[1] + s * problem.dilation[1] - left
                    column = source(at, problem.w, mode)
                    if row is not None and column is not None:
                        channel = k // filters * channels + c
                        terms.append(float(x[n, channel, row, column]) * float(w[k, c, r, s]))
        y[n, k, p, q] = math.fsum(terms)
    return y


def test_small_cases_cover_every_argument():
    problems = [case.problem for case in SMALL]
    assert {p.padding_mode for p in problems} == {
        "zeros", "reflect", "symmetric", "replicate", "circular",
    }  # fmt: skip
    for differs in ("stride", "dilation", "padding", "groups", "n", "k", "c", "r", "s"):
        assert len({getattr(p, differs) for p in problems}) > 2, differs
    assert len(SMALL) >= 40


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_correlation_is_the_definition(case):
    arrays = case.arrays("float64")
    y = six_loops(arrays.x, arrays.w, case.problem)
    size = six_loops(np.abs(arrays.x), np.abs(arrays.w), case.problem)
    assert_within(arrays.sums, y, 1e-15 * case.problem.c * case.problem.r * case.problem.s * size)
    np.testing.assert_allclose(arrays.magnitudes, size, rtol=1e-12)


def test_epilogue_is_added():
    case = next(case for case in CASES if case.name == "batch_2")
    a, problem = case.arrays(), case.problem
    bias, residual = -np.arange(4.0), np.full(problem.y_shape, -0.5)
    y = oracle(a.x, a.w, problem, bias, residual)
    np.testing.assert_array_equal(y, a.sums - np.arange(4.0).reshape(1, 4, 1, 1) - 0.5)
    size = magnitude(a.x, a.w, problem, bias, residual)
    np.testing.assert_array_equal(size, a.magnitudes + np.arange(4.0).reshape(1, 4, 1, 1) + 0.5)


@pytest.mark.parametrize(
    ("activation", "formula"),
    [
        (None, lambda v: v),
        ("relu", lambda v: max(v, 0)),
        ("relu6", lambda v: min(max(v, 0), 6)),
        (("clip", -1, 2), lambda v: min(max(v, -1), 2)),
        ("leaky_relu", lambda v: v if v >= 0 else 0.01 * v),
        (("leaky_relu", 0.3), lambda v: v if v >= 0 else 0.3 * v),
        ("elu", lambda v: v if v >= 0 else math.exp(v) - 1),
        (("elu", 2.5), lambda v: v if v >= 0 else 2.5 * (math.exp(v) - 1)),
        ("hardsigmoid", lambda v: min(max(v / 6 + 0.5, 0), 1)),
        (("hardsigmoid", 0.2, 0.4), lambda v: min(max(0.2 * v + 0.4, 0), 1)),
        ("sigmoid", lambda v: 1 / (1 + math.exp(-v))),
        ("tanh", lambda v: (math.exp(2 * v) - 1) / (math.exp(2 * v) + 1)),
        ("hardswish", lambda v: v * min(max(v + 3, 0), 6) / 6),
        ("silu", lambda v: v / (1 + math.exp(-v))),
        ("gelu", lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2),
    ],
    ids=str,
)
def test_activation_is_its_formula(activation, formula):
    points = np.linspace(-8, 8, 161)
    values, stretch = activated(points, activation)
    np.testing.assert_allclose(values, [formula(v) for v in points], rtol=1e-9, atol=1e-13)
    steepest = np.abs(np.diff(values) / np.diff(points)).max()
    assert steepest <= stretch * (1 + 1e-9)


@pytest.mark.parametrize(
    ("got", "expected", "holds"),
    [
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.1], [1.0, 2.0], False),
        ([1.0, math.nan], [1.0, 2.0], False),
        ([1.0, math.nan], [1.0, math.nan], False),
        ([1.0, math.inf], [1.0, math.inf], False),
        ([1.0], [1.0, 2.0], False),
    ],
)
def test_assert_within_can_fail(got, expected, holds):
    if holds:
        return assert_within(np.array(got), np.array(expected), 0.01)
    with pytest.raises(AssertionError):
        assert_within(np.array(got), np.array(expected), 0.01)
