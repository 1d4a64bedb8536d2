"""batch_norm and activation (add) over blocks of channels (nchwc) against the same over planes.

Blocks are guarded memory, with NaN where nothing must be read; lanes past the last channel are
zero on the way in and must be zero on the way out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from guarded import Guarded, guarded

from convkit import _convkit
from convkit.epilogue import activation as parse_activation
from convkit.problem import DTYPES, KernelProblem

NAMES = ["batch_norm", "activation"]
#: (channels, rows, columns)
SIZES = [(19, 9, 21), (32, 4, 5), (5, 1, 1), (1, 7, 40), (35, 3, 70)]


@pytest.fixture(params=_convkit.available_isas())
def isa(request, checked_kernels):
    _convkit.select_isa(request.param)
    return request.param


def lanes(isa: str, dtype: str) -> int:
    return {"avx512": 64, "avx2": 32}.get(isa, 16) // np.dtype(dtype).itemsize


def spaced(array: np.ndarray, block: int, extra: int, values: bool) -> tuple[Guarded, np.ndarray]:
    """Guarded (n, blocks, h, w, block) memory, its pixels `extra` elements further apart, and the
    view that a plan is given: see native.blocked."""
    n, c, h, w = array.shape
    shape = (n, -(-c // block), h, w, block + extra)
    whole = guarded((math.prod(shape),), str(array.dtype))
    inside = whole.array.reshape(shape)
    if values:
        padded = np.zeros((n, shape[1] * block, h, w), array.dtype)
        padded[:, :c] = array
        every = padded.reshape((n, shape[1], block, h, w)).transpose(0, 1, 3, 4, 2)
        inside[..., :block] = every
    return whole, np.lib.stride_tricks.as_strided(inside, array.shape, inside.strides[:4])


class Operator:
    """An operator over planes (block 0) or blocks, called with arrays in planes."""

    def __init__(
        self, name: str, size: tuple[int, ...], dtype: str, block: int, activation: Any = None
    ) -> None:
        (c, h, w), code, self.block = size, DTYPES.index(dtype), block
        problem = KernelProblem(
            n=2, c=c, h=h, w=w, k=c, r=1, s=1, p=h, q=w, groups=0, stride_h=1, stride_w=1,
            dilation_h=1, dilation_w=1, pad_top=0, pad_bottom=0, pad_left=0, pad_right=0,
            padding_mode=0, x_dtype=code, w_dtype=code, sum_dtype=code, x_layout=int(block > 0),
            y_layout=int(block > 0), block=block,
        )  # fmt: skip
        rng = np.random.default_rng(5)
        weights = rng.standard_normal((4, c))
        weights[3] = rng.uniform(0.5, 2, c)
        given = np.append(weights.ravel(), 1e-5).astype(dtype) if name == "batch_norm" else None
        kind, a, b = parse_activation(activation)
        self.plan = _convkit.Plan(
            name, tuple(problem), given, None, kind, a, b, -1, _convkit.NO_LIMIT
        )

    def __call__(
        self,
        x: np.ndarray,
        residual: np.ndarray | None = None,
        *,
        threads: int = 1,
        in_place: bool = False,
        extra: int = 0,
    ) -> np.ndarray:
        block = self.block
        if not block:
            y = np.full(x.shape, np.nan, x.dtype)
            self.plan.run(x, residual, y, threads)
            return y
        given = spaced(x, block, extra, True)[1]
        whole, to = spaced(x if residual is None else residual, block, extra, in_place)
        more = to if in_place else residual
        if residual is not None and not in_place:
            more = spaced(residual, block, extra, True)[1]
        self.plan.run(given, more, to, threads)
        whole.check("y in blocks")
        n, c, h, w = x.shape
        inside = whole.array.reshape((n, -(-c // block), h, w, block + extra))
        assert np.isnan(inside[..., block:]).all(), "written between two pixels"
        every = inside[..., :block].transpose(0, 1, 4, 2, 3).reshape(n, -1, h, w)
        assert not every[:, c:].any(), "lanes past the last channel are not zero"
        return np.ascontiguousarray(every[:, :c])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_planes(name, size, dtype, isa):
    """In blocks of one, two and four vectors, by any number of threads, at any distance."""
    x = np.random.default_rng(6).standard_normal((2, *size)).astype(dtype)
    expected = Operator(name, size, dtype, 0, "relu")(x)
    for times in (1, 2, 4):
        block = times * lanes(isa, dtype)
        run = Operator(name, size, dtype, block, "relu")
        np.testing.assert_array_equal(run(x), expected)
        np.testing.assert_array_equal(run(x, threads=3), expected, "threads")
        np.testing.assert_array_equal(run(x[1:]), expected[1:], "batch")
        np.testing.assert_array_equal(run(x, extra=block), expected, "a slice of more blocks")
        np.testing.assert_array_equal(run(x, extra=3), expected, "odd distances")


@pytest.mark.parametrize(
    "activation", [None, "relu", ("clip", 0.25, 1.5), "sigmoid", "hardsigmoid", "gelu"]
)
@pytest.mark.parametrize("name", NAMES)
def test_residual_and_activation(name, activation, isa):
    """Lanes past the last channel stay zero where the activation of zero is not."""
    rng, size = np.random.default_rng(7), (19, 5, 37)
    x, residual = rng.standard_normal((2, 2, *size)).astype("f")
    plain = Operator(name, size, "float32", 0, activation)
    run = Operator(name, size, "float32", 16, activation)
    for more in (None, residual):
        np.testing.assert_array_equal(run(x, more), plain(x, more))
    np.testing.assert_array_equal(
        run(x, residual, in_place=True), plain(x, residual), "over the residual"
    )


@pytest.mark.parametrize("name", NAMES)
def test_signs_and_nan_pass(name, isa):
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf], "f").reshape((1, 1, 1, 5))
    size = (1, 1, 5)
    y = Operator(name, size, "float32", 16)(x)
    expected = Operator(name, size, "float32", 0)(x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(np.signbit(y), np.signbit(expected))


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_no_whole_vectors_are_refused(name):
    _convkit.select_isa(_convkit.available_isas()[0])
    with pytest.raises(ValueError, match="has no variant for this dtype and layout"):
        Operator(name, (19, 2, 2), "float32", 3)
