"""What docs/algorithms.md says of each algorithm is what the tests and the table hold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cases import PROMISES

import convkit
from convkit.algorithms import ALGORITHMS

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "algorithms.md").read_text("utf-8")
NAMES = [row.name for row in ALGORITHMS]


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def table(heading):
    """Name -> the cells of the rows that begin with it, of the first table under these columns."""
    lines = PAGE[PAGE.index(heading) :].splitlines()
    rows: dict[str, list[list[str]]] = {}
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        name, *rest = cells(line)
        rows.setdefault(re.match(r"`(\w+)`", name)[1], []).append(rest)
    return rows


def test_every_algorithm_has_its_rows_and_section():
    assert list(table("| Algorithm | Computes |")) == NAMES
    assert list(table("| Algorithm | float32 |")) == NAMES
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert [name for title in titles for name in re.split(", ", title) if name in NAMES] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_promised_errors(name):
    """The bounds of both tables are those of the tests, and what was measured lies within them."""
    promise = PROMISES[name]
    (summary,) = table("| Algorithm | Computes |")[name]
    where = "at every output" if promise.everywhere else "max conv"
    factors = [promise.factor] + ([promise.one_channel] if promise.one_channel else [])
    assert where in summary[2]
    assert [float(number) for number in re.findall(r"\d+", summary[2])] == factors
    rows = table("| Algorithm | float32 |")[name]
    assert [float(bound) for *_, bound in rows] == factors
    for single, double, bound in rows:
        assert 0 < float(single) <= float(bound)
        assert bool(double) == ("float64" in promise.dtypes)
        assert not double or 0 < float(double) <= float(bound)


def spread(algo, place, value, size=24):
    """Which outputs a pixel touches: (not finite, changed), for one channel and two filters."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((1, size, size)).astype(np.float32)
    w = rng.standard_normal((2, 1, 3, 3)).astype(np.float32)
    clean = convkit.conv2d(x, w, padding=1, algo=algo)
    x[0][place] = value
    y = convkit.conv2d(x, w, padding=1, algo=algo)
    return ~np.isfinite(y), y != clean


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
@pytest.mark.parametrize("algo", ["winograd_f2", "winograd_f4"])
def test_winograd_spreads_as_far_as_the_page_says(algo, value):
    """F(2,3): the windows that hold the pixel; F(4,3): up to 5 x 5 outputs, of every filter."""
    sides = set()
    for row in range(6, 14):
        for column in range(6, 14):
            wrong, changed = spread(algo, (row, column), value)
            np.testing.assert_array_equal(wrong, changed)
            rows, columns = wrong[0].any(axis=1), wrong[0].any(axis=0)
            np.testing.assert_array_equal(wrong[0], np.outer(rows, columns))
            np.testing.assert_array_equal(wrong[1], wrong[0])
            assert rows[row - 1 : row + 2].all()
            assert columns[column - 1 : column + 2].all()
            sides |= {int(rows.sum()), int(columns.sum())}
    assert sides == ({3} if algo == "winograd_f2" else {4, 5})


def test_fft_spreads_to_other_outputs_of_the_image_only():
    wrong, changed = spread("fft", (12, 12), np.nan)
    np.testing.assert_array_equal(wrong, changed)
    assert wrong[:, 11:14, 11:14].all()
    assert wrong[0].sum() > 9
