"""Arrays inside guarded memory, in any layout: around them are known bits, a stray write shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MARGIN = 80  # elements before and after, more than the widest vector
# NaNs of a pattern no arithmetic makes: read by mistake they poison a sum, overwritten they are
# missed.
GUARD = {
    np.dtype("float32"): np.uint32(0x7FC5A5A5),
    np.dtype("float64"): np.uint64(0x7FF8A5A5A5A5A5A5),
}


def _contiguous(pool: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return pool[MARGIN : MARGIN + math.prod(shape)].reshape(shape)


def _misaligned(pool: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return pool[MARGIN + 1 : MARGIN + 1 + math.prod(shape)].reshape(shape)


def _reversed(pool: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return _contiguous(pool, shape)[::-1, ::-1, ::-1, ::-1]


def _nhwc(pool: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    n, c, h, w = shape
    return _contiguous(pool, (n, h, w, c)).transpose(0, 3, 1, 2)


def _transposed(pool: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    n, c, h, w = shape
    return _contiguous(pool, (n, c, w, h)).swapaxes(2, 3)


def _crop(pool: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    n, c, h, w = shape
    return _contiguous(pool, (n, c + 2, h + 3, w + 5))[:, 1:-1, 1:-2, 2:-3]


def _every_other(pool: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    n, c, h, w = shape
    return _contiguous(pool, (n, c, 3 * h, 2 * w))[:, :, 1::3, ::2]


def _mirrored_rows(pool: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return _contiguous(pool, shape)[..., ::-1]


LAYOUTS: dict[str, Callable[[np.ndarray, tuple[int, ...]], np.ndarray]] = {
    "contiguous": _contiguous,
    "misaligned": _misaligned,
    "reversed": _reversed,
    "nhwc": _nhwc,
    "transposed": _transposed,
    "crop": _crop,
    "every_other": _every_other,
    "mirrored_rows": _mirrored_rows,
}


@dataclass(frozen=True)
class Guarded:
    """An array of NaN and the memory that it lies in."""

    array: np.ndarray
    pool: np.ndarray
    outside: np.ndarray  # of the pool, what is no element of the array

    def check(self, what: str) -> None:
        """Fail if anything outside the array was written."""
        guard = GUARD[self.pool.dtype]
        touched = np.flatnonzero((self.pool.view(guard.dtype) != guard) & self.outside)
        assert touched.size == 0, (
            f"{touched.size} elements outside {what} were written, the first at {touched[0]}"
        )


def guarded(
    shape: tuple[int, ...], dtype: str, layout: str = "contiguous", values: np.ndarray | None = None
) -> Guarded:
    """An array of this shape and layout, full of NaN or of the values.

    It begins at a multiple of 64 bytes where it is contiguous, one element later where misaligned.
    """
    view = LAYOUTS[layout]
    spare = 64
    size = math.prod((6, *(n + 5 for n in shape[1:]), max(shape[0], 1))) + 2 * MARGIN + spare
    guard = GUARD[np.dtype(dtype)]
    whole = np.full(size, guard, guard.dtype)
    start = (-(whole.ctypes.data + MARGIN * whole.itemsize) % 64) // whole.itemsize
    pool = whole[start : size - spare + start].view(dtype)
    outside = np.ones(pool.size, bool)
    view(outside, shape)[...] = False
    array = view(pool, shape)
    if values is not None:
        array[...] = values
    return Guarded(array, pool, outside)
