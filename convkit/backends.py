"""Arrays of any kind as NumPy sees them, and answers as the caller's kind of array."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.problem import DTYPES

Array = NDArray[Any]
DEVICES = ("cpu",)
#: By the dtype's character: its name takes a microsecond to build.
DTYPE_OF = {"f": "float32", "d": "float64"}
#: Arguments that may be None.
OPTIONAL = frozenset(("bias", "residual", "out", "weight"))
#: DLPack's numbers of what the CPU reads: its own memory, and memory pinned for a GPU.
HOST_DEVICES = (1, 3)


def enter(**arrays: Any) -> tuple[list[Any], Callable[[Array], Any]]:
    """Views of the arrays (None stays None), and what makes an answer the kind of the first.

    All must share the first one's dtype: float32 or float64 in native order.

    Raises TypeError that names the array and, where there is one, the line to write instead.
    """
    views: list[Any] = []
    first_name = first_dtype = None
    for name, array in arrays.items():
        if array is None and name in OPTIONAL:
            views.append(None)
            continue
        view = array if type(array) is np.ndarray else _view(name, array)
        dtype = view.dtype
        if first_name is None:
            _check_dtype(name, view)
            first_name, first_dtype = name, dtype
        elif dtype != first_dtype or not dtype.isnative:
            _check_dtype(name, view)
            raise TypeError(
                f"{name} has dtype {dtype} but {first_name} has {first_dtype}: expected one "
                f"dtype, write {name}.astype({first_name}.dtype)"
            )
        views.append(view)
    first = next(iter(arrays.values()))
    return views, _same if isinstance(first, np.ndarray) else _leave_to(first)


def check_device(device: str) -> None:
    """The device must be one that there is."""
    if not isinstance(device, str):
        raise TypeError(f"device={device!r} must be {' or '.join(DEVICES)}")
    if device not in DEVICES:
        raise ValueError(f"device={device!r} must be {' or '.join(DEVICES)}")


def dtype_name(dtype: Any) -> str:
    """'float32' or 'float64' for any form of a dtype."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype={dtype!r} must be float32 or float64") from None
    if found.name not in DTYPES or not found.isnative or dtype is None:
        raise TypeError(f"dtype={dtype!r} must be float32 or float64")
    return str(found.name)


def _check_dtype(name: str, view: Array) -> None:
    if view.dtype.char not in DTYPE_OF:
        line = "" if view.dtype.kind in "OSUVMmc" else f", write {name}.astype(np.float32)"
        raise TypeError(f"{name} has dtype {view.dtype}: expected float32 or float64{line}")
    if not view.dtype.isnative:
        raise TypeError(
            f"{name} is big-endian ({view.dtype.str}): expected this machine's byte order, "
            f"write {name}.astype(np.{view.dtype.name})"
        )


def _view(name: str, array: Any) -> Array:
    """The memory of any array with NumPy's or DLPack's interface, not copied."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a MaskedArray, whose mask would be lost: expected an array, "
            f"write {name}.filled(0)"
        )
    if isinstance(array, np.ndarray):
        return array.view(np.ndarray)
    if not hasattr(array, "__dlpack__") or isinstance(array, np.generic):
        numbers = isinstance(array, (list, tuple, float, int))
        line = f", write np.asarray({name}, np.float32)" if numbers else ""
        raise TypeError(f"{name} is {_kind(array)}: expected an array{line}")
    dtype = str(getattr(array, "dtype", "")).rpartition(".")[2]
    if getattr(array, "requires_grad", False):
        raise TypeError(
            f"{name} requires gradients, which convkit does not compute: write {name}.detach()"
        )
    device = array.__dlpack_device__()[0]
    if device not in HOST_DEVICES:
        raise TypeError(
            f"{name} is {_kind(array)} that cannot be read as an array on the CPU: its memory is "
            f"of DLPack's device type {int(device)}"
        )
    if dtype and dtype not in DTYPES:
        raise TypeError(f"{name} has dtype {dtype}: expected float32 or float64")
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"{name} is {_kind(array)} that cannot be read as an array on the CPU: {error}"
        ) from None


def _kind(array: Any) -> str:
    return "None" if array is None else f"a {type(array).__name__}"


def _same(answer: Array) -> Array:
    return answer


def _leave_to(array: Any) -> Callable[[Array], Any]:
    """What turns a NumPy array into the kind that `array` is, without a copy."""
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__().from_dlpack  # type: ignore[no-any-return]
    package = sys.modules.get(type(array).__module__.partition(".")[0])
    return getattr(package, "from_dlpack", _same)
