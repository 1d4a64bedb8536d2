"""Filters of rank 1: how they are told from others, and what the choice does with them."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rank_one
from oracle import assert_within, magnitude, oracle

import convkit
from convkit.algorithms import APPLIES, BY_NAME
from convkit.problem import DTYPES, conv_problem

RULE = BY_NAME["separable"].weights
EPS = float(np.finfo("f").eps)


def normal(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def gauss(size, sigma, dtype="float64"):
    line = np.exp(-0.5 * (np.arange(size) - size // 2) ** 2 / sigma**2)
    return np.outer(line, line).astype(dtype)[None, None]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "w",
    [
        np.ones((1, 1, 5, 3)),
        np.outer([1, 2, 1], [1, 0, -1])[None, None],
        np.outer([0, 0, 3], [0, -2, 0])[None, None],
        np.zeros((2, 1, 3, 4)),
        np.stack([gauss(9, 1.5)[0], np.zeros((1, 9, 9))]),
        1e30 * gauss(7, 2),
        1e-30 * gauss(7, 2),
    ],
    ids=["box", "sobel", "one tap", "zero", "gauss and zero", "large", "small"],
)
def test_products_are_seen(w, dtype):
    assert RULE(w.astype(dtype)) == APPLIES


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounded_products_are_seen(dtype):
    """Whatever the factors, rounding their products never hides them."""
    for seed in range(200):
        sizes = np.random.default_rng(seed).integers(2, 40, 2)
        assert RULE(rank_one(normal(3, 1, *sizes, seed=seed, dtype=dtype))) == APPLIES


def test_tails_that_underflow_do_not_matter():
    w = gauss(127, 5, "float32")
    assert (w == 0).any()
    assert ((w > 0) & (w < np.finfo("f").tiny)).any()
    assert RULE(w) == APPLIES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("at", [(0, 0), (2, 3), (4, 6)])
def test_one_entry_off_is_seen(dtype, at):
    """By 8 eps of itself, in the second of three filters."""
    w = rank_one(normal(3, 1, 5, 7, dtype=dtype))
    w[(1, 0, *at)] *= 1 + 8 * np.finfo(dtype).eps
    assert "filter 1 is none" in RULE(w)
    w[(1, 0, *at)] = 0
    assert "filter 1 is none" in RULE(w)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_none(value):
    w = rank_one(normal(1, 1, 4, 4))
    w[0, 0, 1, 2] = value
    assert "finite" in RULE(w)


def test_others_are_refused_by_name():
    x, w = normal(1, 2, 12, 12), normal(2, 1, 3, 3)
    for call in (
        lambda: convkit.conv2d(x, w, groups=2, algo="separable"),
        lambda: convkit.plan(x.shape, w, groups=2, algo="separable"),
    ):
        with pytest.raises(ValueError, match="algo='separable' does not apply .* rank 1"):
            call()
    with pytest.raises(ValueError, match="algo='separable' .* needs to see the weights"):
        convkit.explain(x.shape, w.shape, groups=2, algo="separable")
    with pytest.raises(ValueError, match="algo='separable' .* direct sum"):
        convkit.conv2d(x, rank_one(w), groups=2, algo="separable", precision="highest")


def test_explain_says_that_it_sees_no_weights():
    rows = {row.algorithm: row for row in convkit.explain((99, 99), (15, 15))}
    assert not rows["separable"].applies
    assert not rows["separable"].chosen
    assert "weights" in rows["separable"].reason
    assert rows["separable"].workspace > 0


def test_auto_takes_it_for_products_only():
    shape, full = (400, 500), normal(15, 15)
    product = rank_one(full[None, None])[0, 0]
    assert convkit.plan(shape, product).algorithm == "separable"
    other = convkit.plan(shape, full).algorithm
    assert other != "separable"
    assert convkit.plan(shape, product, precision="highest").algorithm != "separable"
    rows = convkit.explain(shape, full.shape)
    assert other == next(row.algorithm for row in rows if row.chosen)
    # In any order of calls.
    assert convkit.plan(shape, product).algorithm == "separable"


def test_weights_that_cease_to_be_a_product():
    x, w = normal(300, 310), rank_one(normal(1, 1, 15, 15))[0, 0]
    for change in (None, (3, 4)):
        if change:
            w[change] += 1
        problem = conv_problem(x.shape, w.shape, padding=7)
        y = convkit.conv2d(x, w, padding=7)[None, None]
        x4, w4 = x[None, None], w[None, None]
        bound = 4 * EPS * magnitude(x4, w4, problem).max()
        assert_within(y, oracle(x4, w4, problem), bound)


def test_a_workspace_too_small_for_it():
    w = gauss(31, 6, "float32")[0, 0]
    least = min(row.workspace for row in convkit.explain((200, 900), w.shape) if row.applies)
    for limit in (least, 1 << 24):
        plan = convkit.plan((200, 900), w, max_workspace=limit)
        assert plan.workspace <= limit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [3, 31, 127])
def test_gauss_in_every_padding_mode(size, dtype):
    x, w = normal(1, 1, 140, 131, dtype=dtype), gauss(size, size / 5, dtype)
    for mode in ("zeros", "reflect", "symmetric", "replicate", "circular"):
        problem = conv_problem(x.shape, w.shape, padding=size // 2, padding_mode=mode, dtype=dtype)
        y = convkit.conv2d(x, w, padding=size // 2, padding_mode=mode, algo="separable")
        forced = convkit.conv2d(x, w, padding=size // 2, padding_mode=mode, algo="direct")
        size_of = convkit.conv2d(np.abs(x), w, padding=size // 2, padding_mode=mode, algo="direct")
        assert_within(y, forced.astype(np.float64), 8 * np.finfo(dtype).eps * size_of)
        assert problem.y_shape == y.shape
