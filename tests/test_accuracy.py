"""The errors that docs/algorithms.md promises, on data that strains them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import PROMISES, rank_one
from native import ISAS, VARIANTS, WEIGHING, Variant, native_plan, run
from oracle import magnitude, oracle

from convkit.algorithms import ALGORITHMS
from convkit.problem import conv_problem

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("checked_kernels")]

PROBLEMS = {
    "shallow": conv_problem((1, 3, 24, 26), (8, 3, 3, 3), padding=1),
    "one channel": conv_problem((1, 1, 30, 33), (6, 1, 3, 3), padding=1),
    "deep": conv_problem((1, 256, 7, 7), (8, 256, 3, 3), padding=1),
    "deep 5x5": conv_problem((1, 200, 7, 8), (4, 200, 5, 5)),
    "pointwise": conv_problem((1, 64, 12, 12), (24, 64, 1, 1)),
    "pointwise deep": conv_problem((1, 2048, 4, 5), (8, 2048, 1, 1)),
    "depthwise": conv_problem((1, 16, 20, 21), (16, 1, 3, 3), groups=16, padding=1),
    "depthwise 13x13": conv_problem((1, 4, 20, 21), (4, 1, 13, 13), groups=4, padding=6),
    "large filter": conv_problem((1, 4, 34, 35), (4, 4, 11, 11), padding=5),
    "one channel 31x31": conv_problem((1, 1, 50, 50), (1, 1, 31, 31)),
}
SUPPORTS = {row.name: row.supports for row in ALGORITHMS}
DRAWS = 4


def of(problem, dtype):
    return conv_problem(
        problem.x_shape, problem.w_shape, padding=(problem.padding[:2], problem.padding[2:]),
        groups=problem.groups, dtype=dtype,
    )  # fmt: skip


PAIRS = [
    pytest.param(variant, of(problem, variant.dtype), id=f"{variant}-{name}")
    for variant in VARIANTS
    for name, problem in PROBLEMS.items()
    if SUPPORTS[variant.algorithm](of(problem, variant.dtype))
]


def draws(problem, positive, products):
    """Inputs with answers, standard normal or absolute values; filters of any rank or of 1."""
    key = (problem, positive, products)
    if key not in _drawn:
        rng, sets = np.random.default_rng(17), []
        for _ in range(DRAWS):
            x, w = (
                rng.standard_normal(s).astype(problem.dtype)
                for s in (problem.x_shape, problem.w_shape)
            )
            if positive:
                x, w = np.abs(x), np.abs(w)
            if products:
                w = rank_one(w)
            sets.append((x, w, oracle(x, w, problem), magnitude(x, w, problem)))
        _drawn[key] = sets
    return _drawn[key]


_drawn: dict[object, list[tuple[np.ndarray, ...]]] = {}


def worst_error(variant, problem, positive):
    """In eps of conv(|x|, |w|): at the worst element, or largest error over largest magnitude."""
    worst = []
    for x, w, expected, size in draws(problem, positive, variant.algorithm in WEIGHING):
        y = run(native_plan(variant, problem, w), problem, x)
        error = np.abs(y.astype(np.float64) - expected)
        assert np.isfinite(error).all()
        if PROMISES[variant.algorithm].everywhere:
            worst.append((error / size).max())
        else:
            worst.append(error.max() / size.max())
    return max(worst) / float(np.finfo(problem.dtype).eps)


@pytest.mark.parametrize(("variant", "problem"), PAIRS)
def test_standard_normal(variant, problem):
    promise = PROMISES[variant.algorithm]
    one_channel = problem.c == problem.groups and promise.one_channel is not None
    factor = promise.one_channel if one_channel else promise.factor
    assert worst_error(variant, problem, positive=False) <= factor


@pytest.mark.parametrize(("variant", "problem"), PAIRS)
def test_all_positive(variant, problem):
    """Nothing cancels, so errors add up: the factor is max(4, sqrt(depth))."""
    depth = problem.c // problem.groups * problem.r * problem.s
    promise = PROMISES[variant.algorithm]
    factor = max(4.0, math.sqrt(depth), promise.factor, promise.one_channel or 0)
    assert worst_error(variant, problem, positive=True) <= factor


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_winograd_of_few_channels_is_exact_on_tiny_images(channels, isa):
    """Where nothing averages out: in float, one image in a thousand would exceed the bound."""
    rng, eps = np.random.default_rng(channels), float(np.finfo(np.float32).eps)
    for size in range(2, 9):
        problem = conv_problem((1, channels, size, size + 1), (32, channels, 3, 3), padding=1)
        w = rng.standard_normal(problem.w_shape).astype(np.float32)
        chosen = Variant(isa, "winograd_f4", -1, "chosen", "float32")
        plan = native_plan(chosen, problem, w)
        for _ in range(40):
            x = rng.standard_normal(problem.x_shape).astype(np.float32)
            error = np.abs(run(plan, problem, x) - oracle(x, w, problem)).max()
            assert error <= eps * magnitude(x, w, problem).max()
