"""NumPy arrays inside a pickle: how PyTorch saved tensors of TPUs, and others save weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.weights.bounds import CODES, Budget, cut_array, shown, sizes
from convkit.weights.unpickle import Name


@dataclass(slots=True)
class NumpyDtype:
    """numpy.dtype(code), its byte order told later."""

    code: str
    big_endian: bool = False

    def set_state(self, state: object) -> None:
        """(version, order, ...)."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"the state of a NumPy dtype is {shown(state)}")
        self.big_endian = state[1] == ">"


@dataclass(slots=True)
class NumpyArray:
    """An array whose shape, dtype and bytes are told after it is made."""

    shape: tuple[int, ...] = ()
    dtype: str = ""
    big_endian: bool = False
    columns_first: bool = False
    data: bytes = b""

    def set_state(self, state: object) -> None:
        """(version, shape, dtype, Fortran order, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError(f"the state of a NumPy array is {shown(state)}")
        _, shape, dtype, columns_first, data = state
        if not isinstance(dtype, NumpyDtype) or dtype.code not in CODES:
            code = dtype.code if isinstance(dtype, NumpyDtype) else dtype
            raise ValueError(f"a NumPy array of dtype {shown(code)}: expected {', '.join(CODES)}")
        if isinstance(data, str):  # what Python 2 wrote, where the bytes happen to be text
            data = data.encode()
        if not isinstance(data, bytes):
            raise ValueError(f"the data of a NumPy array are {shown(data)}: expected bytes")
        self.shape, self.data = sizes("the shape of a NumPy array", shape), data
        self.dtype, self.big_endian = CODES[dtype.code], dtype.big_endian
        self.columns_first = bool(columns_first)

    def array(self, what: str, budget: Budget) -> np.ndarray[Any, Any]:
        """The array itself, a copy."""
        shape = self.shape[::-1] if self.columns_first else self.shape
        array = cut_array(
            what, memoryview(self.data), self.dtype, shape, budget, big_endian=self.big_endian
        )
        return array.T.copy(order="C") if self.columns_first else array


def _dtype(arguments: tuple[object, ...]) -> NumpyDtype:
    code = arguments[0] if arguments else None
    if not isinstance(code, str):
        raise ValueError(f"a code must be a string, got {shown(code)}")
    return NumpyDtype(code.lstrip("<>|="), code.startswith(">"))


def _reconstruct(arguments: tuple[object, ...]) -> NumpyArray:
    kind = arguments[0] if arguments else None
    if not isinstance(kind, Name) or kind.text != "numpy.ndarray":
        raise ValueError(f"builds a {shown(kind)}: expected a numpy.ndarray")
    return NumpyArray()


def _from_buffer(arguments: tuple[object, ...]) -> NumpyArray:
    """(bytes, dtype, shape, order): protocol 5."""
    if len(arguments) != 4 or arguments[3] not in ("C", "F"):
        raise ValueError("arguments are not bytes, dtype, shape and order")
    data, dtype, shape, order = arguments
    array = NumpyArray()
    array.set_state((1, shape, dtype, order == "F", data))
    return array


def _scalar(arguments: tuple[object, ...]) -> None:
    """A number, such as an accuracy: not part of the weights."""


#: NumPy 1 and 2 name the module differently.
NUMPY_NAMES = {
    name: Name(name, call)
    for name, call in {
        "numpy.dtype": _dtype,
        "numpy.ndarray": None,
        "numpy.core.multiarray._reconstruct": _reconstruct,
        "numpy._core.multiarray._reconstruct": _reconstruct,
        "numpy.core.numeric._frombuffer": _from_buffer,
        "numpy._core.numeric._frombuffer": _from_buffer,
        "numpy.core.multiarray.scalar": _scalar,
        "numpy._core.multiarray.scalar": _scalar,
    }.items()
}
