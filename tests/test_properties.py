"""Properties that hold for every problem, looked for by hypothesis.

In CI the examples are the same at every run (derandomised); a failure prints the problem to repeat.
"""

from __future__ import annotations

import dataclasses
import os

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import PROMISES, must_apply, rank_one
from guarded import LAYOUTS, guarded
from hypothesis import HealthCheck, assume, given, settings
from oracle import assert_within, magnitude, oracle
from test_conv import LOOSEST, keywords

import convkit
from convkit.algorithms import ALGORITHMS, BY_NAME
from convkit.problem import PADDING_MODES, ConvProblem

EXAMPLES = int(os.environ.get("CONVKIT_EXAMPLES", "100"))
thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="CI" in os.environ or EXAMPLES == 100,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@st.composite
def problems(draw, dtypes=("float32", "float64")):
    """Any problem small enough for the oracle; most are of a kind that a fast algorithm takes."""
    kinds = ["any", "any", "winograd", "strided", "pointwise", "depthwise", "fft"]
    kind, every = draw(st.sampled_from(kinds)), draw(st.integers(2, 4))
    size = st.integers(1, 24 if kind not in ("fft", "strided") else 48)
    filter_size = {
        "winograd": st.just(3),
        "strided": st.integers(2 * every + 1, 4 * every),
        "pointwise": st.just(1),
        "fft": st.integers(1, 21),
    }.get(kind, st.integers(1, 6))
    step = st.integers(1, 3) if kind in ("any", "pointwise") else st.just(1)
    groups = draw(st.integers(1, 3)) if kind in ("any", "fft") else 1
    channels, filters = draw(st.integers(1, 9)), draw(st.integers(1, 19))
    if kind == "depthwise":
        groups, channels, filters = draw(st.integers(1, 20)), 1, draw(st.integers(1, 3))
    stride = draw(st.tuples(step, step))
    if kind == "depthwise":
        stride = draw(st.sampled_from([(1, 1), (2, 2)]))
    if kind == "strided":
        stride = (every, every)
    mode = draw(st.sampled_from(PADDING_MODES))
    h, w = draw(size), draw(size)
    most = {"reflect": (h - 1, w - 1), "symmetric": (h, w), "circular": (h, w)}.get(mode, (9, 9))
    padding = tuple(draw(st.integers(0, min(4, most[i // 2]))) for i in range(4))
    r, s = draw(filter_size), draw(filter_size)
    dilation = draw(st.tuples(step, step)) if kind == "any" else (1, 1)
    assume((r - 1) * dilation[0] < h + sum(padding[:2]))
    assume((s - 1) * dilation[1] < w + sum(padding[2:]))
    return ConvProblem(
        draw(st.integers(1, 3)), groups * channels, h, w, groups * filters, r, s, stride, dilation,
        padding, mode, groups, draw(st.sampled_from(dtypes)),
    )  # fmt: skip


def draw_arrays(problem, seed):
    rng = np.random.default_rng(seed)
    shapes = problem.x_shape, problem.w_shape, (problem.k,), problem.y_shape
    x, w, bias, residual = (rng.standard_normal(shape).astype(problem.dtype) for shape in shapes)
    return [x, rank_one(w) if seed % 2 else w, bias, residual]


def applying(problem, w):
    rows = [row for row in ALGORITHMS if row.supports(problem)]
    return [row.name for row in rows if not row.weights or not row.weights(w)]


seeds = st.integers(0, 2**32 - 1)


@thorough
@given(problems(), seeds, st.sampled_from(sorted(LAYOUTS)), st.integers(1, 4))
def test_every_algorithm_is_the_oracle(problem, seed, layout, threads):
    x, w, bias, residual = draw_arrays(problem, seed)
    expected = oracle(x, w, problem, bias, residual)
    size = magnitude(x, w, problem, bias, residual)
    eps = float(np.finfo(problem.dtype).eps)
    placed = guarded(problem.x_shape, problem.dtype, layout, x).array
    options = keywords(problem)
    with convkit.threads(threads):
        for name in applying(problem, w):
            out = guarded(problem.y_shape, problem.dtype, layout)
            convkit.conv2d(placed, w, bias, residual=residual, out=out.array, algo=name, **options)
            out.check("out")
            assert_within(np.array(out.array), expected, PROMISES[name].bound(size, problem, eps))


@thorough
@given(problems())
def test_what_must_apply_does(problem):
    assert must_apply(problem) <= set(applying(problem, rank_one(np.ones(problem.w_shape, "f"))))


@thorough
@given(problems(), seeds)
def test_linearity(problem, seed):
    """conv(a x1 + b x2) = a conv(x1) + b conv(x2), within what rounding allows all three."""
    x1, w, *_ = draw_arrays(problem, seed)
    x2 = draw_arrays(problem, seed + 1)[0]
    options, eps = keywords(problem), float(np.finfo(problem.dtype).eps)
    mixed = (3 * x1 - 2 * x2).astype(problem.dtype)
    size = magnitude(3 * np.abs(x1) + 2 * np.abs(x2), w, problem)
    for name in applying(problem, w):
        y, y1, y2 = (
            convkit.conv2d(v, w, algo=name, **options).astype(np.float64) for v in (mixed, x1, x2)
        )
        bound = 2 * PROMISES[name].bound(size, problem, eps) + 4 * eps * size
        assert_within(y, 3 * y1 - 2 * y2, bound)


@thorough
@given(problems(), seeds)
def test_powers_of_two_are_exact(problem, seed):
    """Scaling x by 4 and w by 1/2 doubles every bit of the answer, in every algorithm."""
    x, w, *_ = draw_arrays(problem, seed)
    for name in applying(problem, w):
        options = {**keywords(problem), "algo": name}
        y = convkit.conv2d(x, w, **options)
        np.testing.assert_array_equal(convkit.conv2d(4 * x, w / 2, **options), 2 * y, name)


@thorough
@given(problems(), seeds)
def test_shifting_the_image_shifts_the_answer(problem, seed):
    """A row above and a column to the left, cut off again, change nothing but rounding."""
    problem = dataclasses.replace(problem, stride=(1, 1), padding_mode="zeros")
    x, w, *_ = draw_arrays(problem, seed)
    moved = np.zeros((*x.shape[:2], x.shape[2] + 1, x.shape[3] + 1), x.dtype)
    moved[:, :, 1:, 1:] = x
    eps = float(np.finfo(problem.dtype).eps)
    bound = PROMISES["direct"].bound(magnitude(x, w, problem), problem, eps)
    loose = LOOSEST.bound(magnitude(x, w, problem), problem, eps)
    for name in applying(problem, w):
        options = {**keywords(problem), "algo": name}
        y, shifted = convkit.conv2d(x, w, **options), convkit.conv2d(moved, w, **options)
        allowed = 2 * bound if PROMISES[name].everywhere else 2 * loose
        assert_within(shifted[:, :, 1:, 1:], y.astype(np.float64), allowed)


@thorough
@given(problems(), seeds, st.integers(1, 5))
def test_batch_and_threads_do_not_change_a_bit(problem, seed, threads):
    x, w, bias, _ = draw_arrays(problem.with_batch(3), seed)
    options = keywords(problem)
    for name in ["auto", *applying(problem, w)]:
        with convkit.threads(1):
            alone = [convkit.conv2d(x[i : i + 1], w, bias, algo=name, **options) for i in range(3)]
        with convkit.threads(threads):
            whole = convkit.conv2d(x, w, bias, algo=name, **options)
            turned = convkit.conv2d(x[::-1], w, bias, algo=name, **options)
        np.testing.assert_array_equal(whole, np.concatenate(alone), name)
        np.testing.assert_array_equal(turned[::-1], whole, name)


@thorough
@given(problems())
def test_explain_chooses_one(problem):
    options = {"dtype": problem.dtype, **keywords(problem)}
    rows = list(convkit.explain(problem.x_shape, problem.w_shape, **options))
    (best,) = [row for row in rows if row.chosen]
    least = min(row.cost for row in rows if row.applies)
    if best.cost != least:  # what rounds more must save two microseconds an image
        assert BY_NAME[best.algorithm].exact
        assert (best.cost - least) / problem.n < 2.001e-6
    assert all(row.applies or row.reason for row in rows)


@pytest.mark.parametrize("padding", ["same", "full", "valid", 0, 3])
@thorough
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3))
def test_output_size_counts_the_windows(padding, size, filter_size, stride, dilation):
    """By trying each place a filter could start."""
    options = {"stride": stride, "dilation": dilation, "padding": padding}
    reach = (filter_size - 1) * dilation
    x, w = np.zeros((size, 1), "f"), np.zeros((filter_size, 1), "f")
    before = {"full": reach, "valid": 0, "same": None}.get(padding, padding)
    if before is None:
        expected = -(-size // stride)
    else:
        expected = len(range(0, size + 2 * before - reach, stride))
    sides = padding if isinstance(padding, str) else (padding, 0)
    if expected < 1:
        with pytest.raises(ValueError, match="w has"):
            convkit.conv2d(x, w, **{**options, "padding": sides})
    else:
        rows = convkit.conv2d(x, w, **{**options, "padding": sides}).shape[0]
        assert rows == expected
