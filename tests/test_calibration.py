"""What measurements add to the costs' formulas: bounded, of one image, the same within borders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convkit import calibration
from convkit.algorithms import ALGORITHMS
from convkit.machine import XEON_AMX, ZEN_4, this_machine
from convkit.problem import conv_problem

PROBLEMS = [
    conv_problem((1, 64, 56, 56), (64, 64, 3, 3), padding=1),
    conv_problem((1, 32, 7, 7), (96, 32, 1, 1)),
    conv_problem((1, 1, 300, 200), (1, 1, 15, 15), padding=7),
    conv_problem((1, 30000, 1, 1), (7, 30000, 1, 1)),
]


@pytest.mark.parametrize("machine", [XEON_AMX, ZEN_4], ids=lambda machine: machine.name)
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_a_correction_is_bounded_and_sees_one_image(problem, machine):
    for algorithm in ALGORITHMS:
        if not algorithm.supports(problem):
            continue
        formula = algorithm.cost(problem, machine)
        many = problem.with_batch(8)
        found = algorithm.seconds(problem, machine) / formula
        assert 1 / 6 <= found <= 6
        assert algorithm.seconds(many, machine) / algorithm.cost(many, machine) == pytest.approx(
            found
        )


def test_without_measurements_the_formula_stands(monkeypatch):
    monkeypatch.setattr(calibration, "FILE", Path("missing.json"))
    calibration.reload()
    try:
        for algorithm in ALGORITHMS[:2]:
            assert algorithm.seconds(PROBLEMS[0], this_machine()) == algorithm.cost(
                PROBLEMS[0], this_machine()
            )
    finally:
        monkeypatch.undo()
        calibration.reload()


def test_coefficients_fit_the_features():
    known = calibration._file()
    assert known, "the package ships coefficients"
    count = len(calibration.features(PROBLEMS[0], XEON_AMX, 1e-3))
    for rows in (rows for isas in known.values() for rows in isas.values()):
        for fit in rows.values():
            assert len(fit["low"]) == len(fit["high"]) == count
            assert len(fit["theta"]) == 1 + count + count * (count + 1) // 2


FIT = calibration.Fit(
    low=np.array([0.0, 1.0]),
    high=np.array([4.0, 3.0]),
    mean=np.array([2.0, 2.0]),
    deviation=np.array([2.0, 0.5]),
    theta=np.zeros(0),
)


def test_terms_are_one_and_first_and_second_powers():
    np.testing.assert_array_equal(FIT.terms(np.array([4.0, 1.5])), [1, 1, -1, 1, -1, 1])
    many = FIT.terms(np.array([[4.0, 1.5], [2.0, 3.0]]))
    np.testing.assert_array_equal(many, [[1, 1, -1, 1, -1, 1], [1, 0, 2, 0, 0, 4]])


def test_beyond_what_was_measured_the_border_counts():
    np.testing.assert_array_equal(FIT.terms(np.array([9.0, -7.0])), FIT.terms(np.array([4.0, 1.0])))


def test_another_processor_takes_what_the_instruction_set_taught():
    """A processor without coefficients of its own; none at all for an unknown row."""
    assert calibration._fit("Zen 5", "avx2", "direct") is not None
    assert calibration._fit("Zen 5", "avx1024", "direct") is None
    assert calibration._fit("Zen 5", "avx2", "toy") is None
