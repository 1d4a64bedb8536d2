"""What a caller gives a network: arrays of each input's own dtype, of any kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from convkit.backends import Array, enter
from convkit.problem import DTYPES


def by_name(
    network: str, names: Sequence[str], arrays: Sequence[Any], named: Mapping[str, Any]
) -> dict[str, Any]:
    """The inputs in the network's order, given by position or by name.

    Raises TypeError where one is missing, unknown or given twice.
    """
    if len(arrays) > len(names):
        raise TypeError(f"{len(arrays)} inputs were given: {network} takes {', '.join(names)}")
    given = dict(zip(names, arrays, strict=False))
    for name, array in named.items():
        if name not in names:
            raise TypeError(f"input {name!r}: {network} takes {', '.join(names)}")
        if name in given:
            raise TypeError(f"input {name!r} was given twice")
        given[name] = array
    missing = [name for name in names if name not in given]
    if missing:
        raise TypeError(f"{network} also needs the input {', '.join(missing)}")
    return {name: given[name] for name in names}


def enter_inputs(
    network: str, given: Mapping[str, Any], dtypes: Mapping[str, str]
) -> tuple[dict[str, Array], Callable[[Array], Any]]:
    """Views of the arrays by name, and what makes an answer the kind of the first.

    Floats are what `convkit.conv2d` takes; other inputs are NumPy arrays, or have DLPack.

    Raises TypeError that names the input, its dtype and the one needed.
    """
    views: dict[str, Array] = {}
    leave: Callable[[Array], Any] | None = None
    for name, array in given.items():
        wanted = dtypes[name]
        view: Array
        if isinstance(array, np.ndarray) and array.dtype != wanted:
            raise _wrong(network, name, array, wanted)
        if wanted in DTYPES:
            (view,), leave_this = enter(**{name: array})
            leave = leave or leave_this
        else:
            view = array if isinstance(array, np.ndarray) else _integers(name, array, wanted)
        if view.dtype != wanted:
            raise _wrong(network, name, view, wanted)
        views[name] = view
    return views, leave or (lambda answer: answer)


def _wrong(network: str, name: str, view: Array, wanted: str) -> TypeError:
    return TypeError(
        f"{name} has dtype {view.dtype}: {network} needs {wanted}, so pass "
        f"{name}.astype({wanted!r})"
    )


def _integers(name: str, array: Any, wanted: str) -> Array:
    if isinstance(array, np.generic):
        return np.asarray(array)
    if not hasattr(array, "__dlpack__"):
        raise TypeError(
            f"{name} is a {type(array).__name__}: expected an array, write np.asarray({name}, "
            f"np.{wanted})"
        )
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{name} cannot be read as an array on the CPU: {error}") from None
