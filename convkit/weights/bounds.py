"""What keeps a broken or hostile file from taking more than its share.

A reader that knows its end, a budget of memory, and arrays checked against the bytes they are cut
from.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

#: A file, or a part of one, may unpack to this many times its size ...
MOST_RATIO = 100
#: ... and this much more: a small file may hold many zeros.
SLACK_OF_FILE = 64 << 20
SLACK_OF_PART = 1 << 20
#: NumPy 1 has no more dimensions.
MOST_DIMENSIONS = 32
#: Sizes from here on fit no address space; below it their products cannot run away.
MOST_BYTES = 1 << 47

#: Names of dtypes -> how NumPy reads them. bfloat16 is float32's upper half and is widened below.
DTYPES: dict[str, str] = {
    "float16": "f2", "float32": "f4", "float64": "f8", "bfloat16": "u2", "bool": "u1",
    "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8",
    "complex64": "c8", "complex128": "c16",
}  # fmt: skip
#: NumPy's codes of them: f4 -> float32. bool is b1 there, and bfloat16 has none.
CODES = {code: name for name, code in DTYPES.items() if name not in ("bool", "bfloat16")} | {
    "b1": "bool"
}


class Budget:
    """The bytes that reading one file may still take: 100 times its size and 64 MiB in all.

    `most`, where given, is what one part of it may unpack to. The whole may then take 8 times as
    much: a part, and an array of bytes out of it, which counts four for each.
    """

    __slots__ = ("left", "most", "size")

    def __init__(self, size: int, most: int | None = None) -> None:
        self.size = size
        self.most = most
        self.left = MOST_RATIO * size + SLACK_OF_FILE
        if most is not None:
            self.left = max(self.left, 8 * most)

    def unpack(self, packed: int, size: int, what: str) -> None:
        """Refuse a part that would unpack to too much."""
        if self.most is not None:
            if size > self.most:
                raise ValueError(f"{what} holds {size} bytes: more than max_bytes={self.most}")
        elif size > MOST_RATIO * packed + SLACK_OF_PART:
            raise ValueError(
                f"{what} would unpack from {packed} to {size} bytes: more than {MOST_RATIO} times "
                f"its size and {SLACK_OF_PART} are refused unless max_bytes= allows it"
            )

    def take(self, count: int, what: str) -> None:
        """Use some of it up, or refuse."""
        self.left -= count
        if self.left < 0:
            raise ValueError(
                f"{what} would bring the {self.size} bytes of the file to more than {MOST_RATIO} "
                f"times their size and {SLACK_OF_FILE >> 20} MiB in memory: "
                "refused unless max_bytes= allows it"
            )


class Reader:
    """Reads forward through bytes; every read names what it wants and ends before the end."""

    __slots__ = ("data", "place", "position")

    def __init__(self, data: memoryview, place: str = "", position: int = 0) -> None:
        self.data = data
        self.place = place
        self.position = position

    def take(self, count: int, what: str) -> memoryview:
        """The next `count` bytes."""
        begin = self.position
        if count < 0 or count > len(self.data) - begin:
            raise ValueError(
                f"{self.place}byte {begin}: {what} needs {shown(count)} bytes, "
                f"{max(len(self.data) - begin, 0)} are left"
            )
        self.position = begin + count
        return self.data[begin : self.position]

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        """The next integers, laid out as `struct` writes it."""
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))

    def fail(self, problem: str) -> ValueError:
        """An error that names where reading stands."""
        return ValueError(f"{self.place}byte {self.position}: {problem}")


def shown(value: object) -> str:
    """A value out of a file as a message may show it: plain characters, and not too many."""
    if isinstance(value, int) and abs(value) >= 1 << 128:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str) and len(value) > 80:
        return f"{value[:77]!a}..."
    return ascii(value) if isinstance(value, (str, int, float, bool)) else type(value).__name__


def sizes(what: str, values: object) -> tuple[int, ...]:
    """A shape, or strides, out of a file: a sequence of integers >= 0 that memory could hold."""
    if not isinstance(values, (tuple, list)) or len(values) > MOST_DIMENSIONS:
        raise ValueError(f"{what} must be at most {MOST_DIMENSIONS} sizes, got {shown(values)}")
    for value in values:
        if type(value) is not int or not 0 <= value < MOST_BYTES:
            raise ValueError(f"{what} must be of sizes from 0 to 2^47, got {shown(value)}")
    return tuple(values)


def cut_array(
    what: str,
    data: memoryview | bytearray,
    dtype: str,
    shape: Sequence[int],
    budget: Budget,
    *,
    offset: int = 0,
    strides: Sequence[int] | None = None,
    big_endian: bool = False,
) -> np.ndarray[Any, Any]:
    """The array of this dtype, shape, offset and strides (in elements) as a copy out of `data`.

    Shape, offset and strides have passed `sizes`. Strides None = row-contiguous.
    """
    if dtype not in DTYPES:
        raise ValueError(f"{what} has dtype {shown(dtype)}: expected one of {', '.join(DTYPES)}")
    code = np.dtype((">" if big_endian else "<") + DTYPES[dtype])
    held = len(data) // code.itemsize
    count = math.prod(shape)
    if strides is None:
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    if len(strides) != len(shape):
        raise ValueError(f"{what} has {len(shape)} sizes and {len(strides)} strides")
    if math.prod(max(size, 1) for size in shape) >= MOST_BYTES:
        raise ValueError(f"{what} has shape {tuple(shape)}: more than memory can hold")
    if count == 0:
        steps = [0] * len(shape)
        offset = 0
    else:
        # A size of 1 takes no step, so its stride, which may be anything, is left out.
        steps = [0 if n == 1 else step for n, step in zip(shape, strides, strict=True)]
        last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
        if last >= held:
            raise ValueError(
                f"{what} of shape {tuple(shape)}, strides {tuple(strides)} and offset {offset} "
                f"reaches element {last}, but its storage holds {held} of {dtype}"
            )
    budget.take(count * max(code.itemsize, 4), what)
    if count == 0:
        view = np.empty(tuple(shape), code)
    else:
        view = np.ndarray(
            tuple(shape), code, data, offset * code.itemsize, [s * code.itemsize for s in steps]
        )
    if dtype == "bfloat16":
        wide = view.astype(np.uint32, order="C")
        wide <<= 16
        return wide.view(np.float32)
    if dtype == "bool":
        return np.array(view != 0, order="C")
    return np.array(view, code.newbyteorder("="), order="C")
