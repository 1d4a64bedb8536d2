"""HDF5 files, read by h5py in a process of its own with limits on time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from convkit.weights import Weights
from convkit.weights.bounds import (
    DTYPES,
    MOST_RATIO,
    SLACK_OF_PART,
    Budget,
    cut_array,
    shown,
    sizes,
)

CHILD = Path(__file__).with_name("hdf5_child.py")
#: What the child sends before the arrays; it refuses sooner.
MOST_TABLE = 40 << 20
PROBLEM = (1 << 64) - 1
#: A broken file may lead the library round in circles; a whole one takes a second for 100 MB.
SECONDS, BYTES_PER_SECOND = 15, 20 << 20
MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Hdf5:
    """Path -> array, and path -> its attributes that are texts or lists of texts."""

    arrays: Weights
    attributes: dict[str, dict[str, Any]]


def read_hdf5(file: int, budget: Budget) -> Hdf5:
    """What the HDF5 file open at this descriptor holds.

    Raises ValueError where it is broken, or holds more than groups of plain arrays.
    """
    size = os.fstat(file).st_size
    if os.pread(file, len(MAGIC), 0) != MAGIC:
        raise ValueError("byte 0: no HDF5 file: its signature is missing")
    seconds = SECONDS + size // BYTES_PER_SECOND
    reading, writing = os.pipe()
    request = {"file": file, "pipe": writing, "path": _folders(), **limits(seconds, budget)}
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        try:
            child = subprocess.Popen(
                [sys.executable, "-I", str(CHILD), json.dumps(request)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=(file, writing), env=_environment(),
            )  # fmt: skip
        finally:
            os.close(writing)
        clock = threading.Timer(seconds, child.kill)
        clock.daemon = True
        clock.start()
        try:
            return received(pipe, budget)
        except _CutOffError:
            child.wait()
            how = f"ended with {child.returncode}" if clock.is_alive() else f"took {seconds} s"
            raise ValueError(f"broken: the process that read it {how}") from None
        finally:
            clock.cancel()
            child.kill()
            child.wait()


def limits(seconds: int, budget: Budget) -> dict[str, Any]:
    """What the child is told to keep to."""
    return {
        "seconds": seconds, "ratio": MOST_RATIO, "slack": SLACK_OF_PART, "most": budget.most,
        "total": budget.left,
    }  # fmt: skip


class _CutOffError(Exception):
    """The child ended before it had said everything."""


def _folders() -> list[str]:
    """Where h5py and NumPy are, which an isolated process may not find by itself."""
    h5py = find_spec("h5py")
    if h5py is None or h5py.origin is None:
        raise ValueError("reading HDF5 files needs h5py: pip install 'convkit[keras]'")
    return [str(Path(origin).parent.parent) for origin in (h5py.origin, np.__file__)]


def _environment() -> dict[str, str]:
    """This process's, without what makes HDF5 load code or drivers; one thread takes less room."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HDF5_")}
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # "::" is how HDF5 is told to load no plugin at all.
    return {**kept, **threads, "HDF5_PLUGIN_PRELOAD": "::", "HDF5_USE_FILE_LOCKING": "FALSE"}


def received(pipe: BinaryIO, budget: Budget) -> Hdf5:
    """The child's parts, trusted no more than the file."""
    text = _part(pipe, MOST_TABLE)
    try:
        table = json.loads(bytes(text))
        entries = [(str(name), str(dtype), shape) for name, dtype, shape in table["arrays"]]
        attributes = dict(table["attributes"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("broken: its contents cannot be told") from None
    arrays: Weights = {}
    for name, dtype, shape in entries:
        what = f"array {shown(name)}"
        if dtype not in DTYPES or name in arrays:
            raise ValueError(f"{what} of dtype {shown(dtype)} stands twice or is no array")
        extents = sizes(f"the shape of {what}", shape)
        if dtype == "bfloat16":
            data = memoryview(_part(pipe, budget.left))
            arrays[name] = cut_array(what, data, dtype, extents, budget)
            continue
        count = int(np.prod(extents, dtype=object)) * np.dtype(dtype).itemsize
        budget.take(count, what)
        array = np.empty(extents, dtype)
        if len(_part(pipe, count, array)) != count:
            raise ValueError(f"{what} comes short")
        arrays[name] = array
    return Hdf5(arrays, attributes)


def _part(pipe: BinaryIO, most: int, array: Any = None) -> Any:
    """The next part, into the array where one is given; the child's problem is raised."""
    length = int.from_bytes(_bytes(pipe, bytearray(8)), "little")
    if length == PROBLEM:
        length = int.from_bytes(_bytes(pipe, bytearray(8)), "little")
        reason = _bytes(pipe, bytearray(min(length, 4000)))
        raise ValueError(bytes(reason).decode("utf-8", "replace"))
    if length > most:
        raise ValueError(f"a part of {length} bytes where {most} were expected")
    if array is None:
        return _bytes(pipe, bytearray(length))
    return _bytes(pipe, memoryview(array.reshape(-1).view("u1"))[:length])


def _bytes(pipe: BinaryIO, into: Any) -> Any:
    """The array of bytes filled."""
    view, got = memoryview(into), 0
    while got < len(view):
        count = pipe.readinto(view[got:])  # type: ignore[attr-defined]
        if not count:
            raise _CutOffError
        got += count
    return into
