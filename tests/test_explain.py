"""convkit.explain and convkit.algorithms: what would be chosen, and why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import CASES
from test_conv import keywords

import convkit
from convkit.algorithms import ALGORITHMS, BY_NAME

SHAPES = (1, 16, 28, 28), (24, 16, 3, 3)


def rows_of(*args, **options):
    return {row.algorithm: row for row in convkit.explain(*args, **options)}


def chosen(rows):
    (name,) = [name for name, row in rows.items() if row.chosen]
    return name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_chooses_the_cheapest_that_applies(case, dtype):
    problem = case.of(dtype)
    rows = rows_of(problem.x_shape, problem.w_shape, dtype=dtype, **keywords(problem))
    assert list(rows) == list(convkit.algorithms())
    for row in rows.values():
        assert bool(row.reason) != row.applies or row.applies
        if row.applies:
            assert math.isfinite(row.cost)
            assert row.cost > 0
            assert row.workspace >= 0
        else:
            assert len(row.reason) > 5
            assert not row.chosen
    # The cheapest; but nothing is rounded that an exact sum takes two microseconds longer for.
    best = rows[chosen(rows)]
    least = min(row.cost for row in rows.values() if row.applies)
    if best.cost != least:
        assert BY_NAME[best.algorithm].exact
        assert (best.cost - least) / max(problem.n, 1) <= 2e-6 * (1 + 1e-9)


@pytest.mark.parametrize("case", CASES[::6], ids=lambda case: case.name)
def test_says_what_a_plan_will_be(case):
    problem, arrays = case.problem, case.arrays()
    options = keywords(problem)
    for name, row in rows_of(problem.x_shape, problem.w_shape, **options).items():
        if row.applies:
            plan = convkit.plan(problem.x_shape, arrays.w, algo=name, **options)
            assert plan.workspace == row.workspace, name
    if case.rank_one:
        return  # which explain cannot know
    auto = convkit.plan(problem.x_shape, arrays.w, **options)
    assert auto.algorithm == chosen(rows_of(problem.x_shape, problem.w_shape, **options))


def test_prints_a_table():
    text = str(convkit.explain(*SHAPES, padding=1))
    lines = text.splitlines()
    for name in convkit.algorithms():
        assert any(name in line for line in lines), name
    rows = rows_of(*SHAPES, padding=1)
    for row in rows.values():
        if not row.applies:
            assert row.reason in text
    assert "n1c16h28w28k24r3s3p1" in text


def test_reasons_name_what_was_needed():
    rows = rows_of((1, 6, 9, 9), (6, 3, 3, 3), groups=2, stride=2)
    for name in ("pointwise", "depthwise", "winograd_f2", "winograd_f4", "fft"):
        assert not rows[name].applies
    assert "(2, 2)" in rows["fft"].reason
    assert "(2, 2)" in rows["winograd_f4"].reason or "group" in rows["winograd_f4"].reason


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64"), "<f8"], ids=str)
def test_dtype_in_any_form(dtype):
    assert not rows_of(*SHAPES, dtype=dtype)["winograd_f4"].applies
    assert rows_of(*SHAPES)["winograd_f4"].applies


@pytest.mark.parametrize(
    "shapes",
    [((16, 28, 28), (24, 16, 3, 3)), ((28, 28), (3, 3))],
    ids=["c h w", "h w"],
)
def test_shapes_without_a_batch(shapes):
    assert chosen(rows_of(*shapes)) in convkit.algorithms()


def test_forced_algorithm_is_the_chosen():
    for name in ("direct", "im2col", "winograd_f2", "fft"):
        assert chosen(rows_of(*SHAPES, algo=name)) == name


def test_precision_excludes_with_a_reason():
    rows = rows_of(*SHAPES, precision="highest")
    for name in ("winograd_f2", "winograd_f4", "fft"):
        assert not rows[name].applies
        assert "highest" in rows[name].reason
    assert rows["direct"].applies


def test_workspace_limit_excludes_with_a_reason():
    free = rows_of(*SHAPES)
    least = free["direct"].workspace
    rows = rows_of(*SHAPES, max_workspace=least)
    for name, row in rows.items():
        assert row.workspace == free[name].workspace
        if free[name].applies:
            assert row.applies == (free[name].workspace <= least), name
            assert row.applies or str(free[name].workspace) in row.reason.replace(",", "")


@pytest.mark.parametrize(
    ("x", "w", "padding"),
    [
        ((16, 28, 28), (24, 16, 3, 3), 1),
        # Weights that many images would share: seen with their batch, these would choose otherwise.
        ((512, 3, 3), (2048, 512, 3, 3), 1),
        ((64, 2, 2), (2048, 64, 3, 3), 1),
        ((64, 4, 4), (2048, 64, 7, 7), 3),
        ((1, 56, 56), (256, 1, 7, 7), 3),
        ((3, 7, 7), (2048, 3, 1, 1), 0),
    ],
    ids=str,
)
def test_choice_does_not_depend_on_threads_or_batch(x, w, padding):
    names = set()
    for threads in (1, 2, 8):
        with convkit.threads(threads):
            for n in (1, 2, 64):
                names.add(chosen(rows_of((n, *x), w, padding=padding)))
    assert len(names) == 1


def test_choice_may_see_the_batch_when_asked():
    """Costs of a large batch may fall per image, never rise above one image's times the batch."""
    one = rows_of((1, 512, 7, 7), (512, 512, 3, 3), padding=1, invariant=False)
    many = rows_of((64, 512, 7, 7), (512, 512, 3, 3), padding=1, invariant=False)
    for name, row in many.items():
        if row.applies:
            assert one[name].cost < row.cost <= 64 * one[name].cost * (1 + 1e-9), name


def test_same_call_same_choice():
    first = [(row.algorithm, row.cost, row.chosen) for row in convkit.explain(*SHAPES)]
    for _ in range(3):
        again = [(row.algorithm, row.cost, row.chosen) for row in convkit.explain(*SHAPES)]
        assert again == first


def test_algorithms_names_the_table():
    names = convkit.algorithms()
    assert list(names) == [row.name for row in ALGORITHMS]
    assert list(convkit.algorithms(device="cpu")) == list(names)
    assert {
        "direct", "im2col", "pointwise", "depthwise", "winograd_f2", "winograd_f4", "fft",
    } <= set(names)  # fmt: skip


@pytest.mark.parametrize("explain", [convkit.explain, convkit.plan], ids=["explain", "plan"])
def test_a_device_that_is_not_there(explain):
    second = SHAPES[1] if explain is convkit.explain else np.zeros(SHAPES[1], "f")
    with pytest.raises(ValueError, match="device='tpu'"):
        explain(SHAPES[0], second, device="tpu")


def test_tiny_planes_are_summed_exactly():
    """A microsecond predicted is no reason to round: whole numbers give whole numbers."""
    for size in range(3, 13):
        for channels, filters in ((1, 1), (1, 2)):
            rows = rows_of((1, channels, size, size), (filters, channels, 3, 3))
            assert BY_NAME[chosen(rows)].exact, rows
