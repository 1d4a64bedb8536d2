"""The table of algorithms: complete, promised, tested, and true to what users were told."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from cases import CASES, PROMISES, groups_size_stride, must_apply

import convkit
from convkit import _convkit
from convkit.algorithms import ALGORITHMS
from convkit.problem import DTYPES, conv_problem

SOURCES = Path(__file__).resolve().parent.parent / "csrc" / "kernels"


def test_names_are_the_kernel_files():
    names = [row.name for row in ALGORITHMS]
    assert len(set(names)) == len(names)
    assert set(names) == set(_convkit.algorithms())
    assert set(names) == {file.stem for file in SOURCES.glob("*.cpp")}
    assert set(names) == set(PROMISES)


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_at_least_three_cases(row):
    for dtype in PROMISES[row.name].dtypes:
        assert sum(row.supports(case.of(dtype)) for case in CASES) >= 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_must_apply_does(case, dtype):
    problem = case.of(dtype)
    applying = {row.name for row in ALGORITHMS if row.supports(problem)}
    assert must_apply(problem) <= applying
    assert all(dtype in PROMISES[name].dtypes for name in applying)


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_row_answers_every_case(case, row):
    """Reasons where it does not apply; a cost and a workspace where it does."""
    problem = case.problem
    reason = row.why_not(problem)
    assert isinstance(reason, str)
    if not row.supports(problem):
        assert reason
        return
    (found,) = [
        r
        for r in convkit.explain(
            problem.x_shape, problem.w_shape, stride=problem.stride, dilation=problem.dilation,
            padding=(problem.padding[:2], problem.padding[2:]), groups=problem.groups,
            padding_mode=problem.padding_mode,
        )
        if r.algorithm == row.name
    ]  # fmt: skip
    if row.weights:
        assert not found.applies
        assert "weights" in found.reason
    else:
        assert math.isfinite(found.cost)
        assert found.cost > 0
    assert found.workspace == sum(_convkit.sizes(row.name, tuple(problem.kernel_problem())))


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("pointwise", {"w": (4, 4, 3, 3)}, "3"),
        ("pointwise", {"w": (4, 2, 1, 1), "groups": 2}, "group"),
        ("depthwise", {"w": (4, 2, 3, 3), "groups": 2}, "group"),
        ("depthwise", {"w": (4, 1, 3, 3), "groups": 4, "dilation": 2}, "dilation"),
        ("depthwise", {"w": (4, 1, 3, 3), "groups": 4, "stride": 3}, "stride"),
        ("winograd_f2", {"w": (4, 4, 3, 3), "stride": 2}, "stride"),
        ("winograd_f2", {"w": (4, 4, 5, 5)}, "5"),
        ("winograd_f4", {"w": (4, 4, 3, 3), "dilation": 2}, "dilation"),
        ("winograd_f4", {"w": (4, 2, 3, 3), "groups": 2}, "group"),
        ("winograd_f4", {"w": (4, 4, 3, 3), "dtype": "float64"}, "float64"),
        ("winograd_strided", {"w": (4, 4, 7, 7)}, "stride"),
        ("winograd_strided", {"w": (4, 4, 7, 7), "stride": (2, 3)}, "(2, 3)"),
        ("winograd_strided", {"w": (4, 4, 12, 12), "stride": 5}, "stride"),
        ("winograd_strided", {"w": (4, 4, 4, 5), "stride": 2}, "5 to 8"),
        ("winograd_strided", {"w": (4, 4, 5, 9), "stride": 2}, "(5, 9)"),
        ("winograd_strided", {"w": (4, 4, 5, 5), "stride": 2, "dilation": 2}, "dilation"),
        ("winograd_strided", {"w": (4, 2, 5, 5), "stride": 2, "groups": 2}, "group"),
        ("winograd_strided", {"w": (4, 4, 5, 5), "stride": 2, "dtype": "float64"}, "float64"),
        ("fft", {"w": (4, 4, 3, 3), "stride": 2}, "stride"),
        ("fft", {"w": (4, 4, 3, 3), "dilation": 2}, "dilation"),
        ("fft", {"w": (4, 4, 1, 1)}, "1"),
        ("separable", {"w": (4, 1, 3, 3), "groups": 4, "stride": 2}, "stride"),
        ("separable", {"w": (4, 1, 3, 3), "groups": 4, "dilation": 2}, "dilation"),
        ("separable", {"w": (4, 4, 3, 3)}, "group"),
        ("separable", {"w": (4, 1, 1, 3), "groups": 4}, "several rows"),
    ],
)
def test_reasons(name, options, reason):
    options = dict(options)
    problem = conv_problem((1, 4, 12, 12), options.pop("w"), **options)
    (row,) = [row for row in ALGORITHMS if row.name == name]
    assert not row.supports(problem)
    assert reason in row.why_not(problem)


@pytest.mark.parametrize(("stride", "size", "least"), [(2, 7, 3), (3, 7, 2), (4, 11, 1)])
def test_strided_winograd_needs_phases_to_average_over(stride, size, least):
    (row,) = [row for row in ALGORITHMS if row.name == "winograd_strided"]
    for channels in range(1, 5):
        shapes = (1, channels, 28, 28), (8, channels, size, size)
        problem = conv_problem(*shapes, stride=stride)
        assert row.supports(problem) == (channels >= least)
        assert row.supports(problem) or f"at least {least} channels" in row.why_not(problem)


def test_direct_supports_everything():
    (direct,) = [row for row in ALGORITHMS if row.name == "direct"]
    assert all(direct.supports(case.problem) for case in CASES)


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_costs_grow_with_the_work(row):
    """Four times the pixels cost more, and at most some five times as much."""
    groups, size, stride = groups_size_stride(row.name, 64)
    options, costs = {"groups": groups, "stride": stride}, []
    for side in (28, 56, 112):
        rows = convkit.explain((1, 64, side, side), (64, 64 // groups, size, size), **options)
        problem = rows.problem
        costs += [row.cost(problem, rows.machine)]
    assert costs[0] < costs[1] < costs[2] < 8 * costs[1]


def test_rows_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ALGORITHMS[0].name = "mine"
