"""Local response and instance normalization against their definitions in long double."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import LAYOUTS, guarded
from test_operators_pooling import LANES, in_blocks

import convkit
from convkit import _convkit
from convkit.operators.native import operator_problem
from convkit.operators.normalization import instance_norm, neighbour_norm

NAN, INFINITY = float("nan"), float("inf")
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(params=_convkit.available_isas())
def isa(request, checked_kernels):
    _convkit.select_isa(request.param)
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(37)


def neighbours(x, before, after, alpha, beta, k):
    """From the definition, channel by channel."""
    x, y = x.astype(np.longdouble), np.empty(x.shape, np.longdouble)
    for c in range(x.shape[1]):
        some = x[:, max(c - before, 0) : c + after + 1]
        scale = k + np.longdouble(alpha) / (before + 1 + after) * (some**2).sum(1)
        y[:, c] = x[:, c] * scale ** np.longdouble(-beta)
    return y


SETTINGS = {
    "plain": {"alpha": 1e-4, "beta": 0.75, "k": 1.0},
    "alexnet": {"alpha": 1e-4, "beta": 0.75, "k": 2.0},
    "strong": {"alpha": 3.0, "beta": 1.5, "k": 0.25},
    "gain": {"alpha": 0.5, "beta": -0.5, "k": 1.0},
}


@DTYPES
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9, 40])
def test_local_response_norm(size, settings, dtype, isa, rng):
    numbers = SETTINGS[settings]
    for shape in ((2, 19, 4, 5), (1, 3, 1, 70), (1, 1, 2, 2), (1, 33, 1, 1)):
        x = (3 * rng.standard_normal(shape)).astype(dtype)
        want = neighbours(x, size // 2, (size - 1) // 2, **numbers)
        got = convkit.local_response_norm(x, size, **numbers)
        assert got.dtype == dtype
        # a and k are rounded to the dtype first.
        assert (np.abs(got - want) <= 6 * np.finfo(dtype).eps * np.abs(want)).all()
        one = convkit.local_response_norm(x[0], size, **numbers)
        np.testing.assert_array_equal(one, got[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_local_response_norm_in_any_memory(layout, isa, rng):
    x = rng.standard_normal((2, 9, 5, 40)).astype(np.float32)
    want = convkit.local_response_norm(x, 5, alpha=1.0)
    view = guarded(x.shape, "float32", layout, x).array
    with convkit.threads(3):
        np.testing.assert_array_equal(convkit.local_response_norm(view, 5, alpha=1.0), want)


@DTYPES
@pytest.mark.parametrize("c", [1, 16, 21])
def test_local_response_norm_in_blocks(c, dtype, isa, rng):
    block = LANES.get(isa, 16) // np.dtype(dtype).itemsize
    x = rng.standard_normal((2, c, 5, 19)).astype(dtype)
    weights = np.array([2.0 / 6, 0.75, 0.0], dtype)  # k = 0: lanes past c would be 0 / 0
    fields = operator_problem(x.dtype, x.shape, (c, 5, 19), padding=(2, 3, 0, 0))
    got = in_blocks("local_response_norm", x, x.shape, fields, block, weights=weights)
    want = neighbour_norm(x, 2, 3, alpha=2.0, beta=0.75, k=0.0)
    np.testing.assert_array_equal(got, want)


def test_local_response_norm_keeps_a_nan_to_its_neighbours(isa):
    x = np.ones((1, 9, 2, 20), np.float32)
    x[0, 4, 1, 17] = NAN
    got = convkit.local_response_norm(x, 3)
    want = np.zeros(x.shape, bool)
    want[0, 3:6, 1, 17] = True
    np.testing.assert_array_equal(np.isnan(got), want)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"size": 0}, ValueError, "size=0 must be at least 1"),
        ({"size": 1.5}, TypeError, "size=1.5 must be an integer"),
        ({"alpha": -1}, ValueError, "alpha=-1.0 must be at least 0 and finite"),
        ({"beta": INFINITY}, ValueError, "beta=inf must be finite"),
        ({"k": NAN}, ValueError, "k=nan must be at least 0 and finite"),
        ({"k": "1"}, TypeError, "k='1' must be a number"),
        ({"x": np.zeros((3, 4))}, ValueError, r"x has shape \(3, 4\): expected \(c, h, w\)"),
        ({"x": np.zeros((3, 4, 5), int)}, TypeError, "x has dtype int64"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_local_response_norm(arguments, error, message):
    with pytest.raises(error, match=message):
        convkit.local_response_norm(**{"x": np.zeros((3, 4, 5)), "size": 3, **arguments})


@DTYPES
@pytest.mark.parametrize("shift", [0, 1000])
def test_instance_norm(shift, dtype, isa, rng):
    eps = np.finfo(dtype).eps
    for shape in ((2, 3, 5, 7), (1, 4, 1, 1), (2, 2, 3, 300), (1, 1, 40, 41)):
        x = (rng.standard_normal(shape) + shift).astype(dtype)
        weight, bias = (rng.standard_normal(shape[1]).astype(dtype) for _ in range(2))
        wide = x.astype(np.longdouble)
        mean = wide.mean((2, 3), keepdims=True)
        var = ((wide - mean) ** 2).mean((2, 3), keepdims=True)
        unit = (wide - mean) / np.sqrt(var + np.longdouble(1e-5))
        want = unit * weight[:, None, None] + bias[:, None, None]
        # eps is rounded to the dtype; a mean of float64 numbers is off by their own rounding.
        size = np.abs(unit * weight[:, None, None]) + np.abs(bias)[:, None, None]
        bound = 4 * eps * size + (0 if dtype == "float32" else 400 * (shift + 1) * eps)
        got = instance_norm(x, weight, bias)
        assert got.dtype == dtype
        assert (np.abs(got - want) <= bound).all()
        for layout in LAYOUTS:
            view = guarded(shape, dtype, layout, x).array
            np.testing.assert_array_equal(instance_norm(view, weight, bias), got, err_msg=layout)
        relu = instance_norm(x, weight, bias, activation="relu")
        np.testing.assert_array_equal(relu, np.maximum(got, 0))
        with convkit.threads(3):
            np.testing.assert_array_equal(instance_norm(x[:1], weight, bias), got[:1])
    plain = instance_norm(x)
    np.testing.assert_array_equal(plain, instance_norm(x, np.ones(1, dtype), np.zeros(1, dtype)))
