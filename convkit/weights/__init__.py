"""Weight files -> {name: array}. Files are data: whatever one holds, no code of it is run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from convkit.problem import integer

Weights = dict[str, np.ndarray[Any, Any]]

#: What can be read, in the words of the messages.
FORMATS = ".safetensors, .npz, .pth, .pt, .th, .h5, .hdf5, .keras or .onnx"

#: Those that Keras writes.
KERAS = (".h5", ".hdf5", ".keras")


def load_weights(path: str | os.PathLike[str], max_bytes: int | None = None) -> Weights:
    """Read a file of weights.

    Reads safetensors, NumPy's `.npz`, what `torch.save` writes of a `state_dict`, in all three of
    its formats and saved from any device, what Keras 2 and 3 save (needs the extra `keras`), and
    the initialisers of ONNX files (needs the extra `onnx`). No code of a file is run: of a pickle
    only tensors and containers are built, and HDF5 is read in a process of its own with limits on
    time and memory. bfloat16 becomes float32; other dtypes are kept.

    Parameters
    ----------
    path : str or path
        A file that ends in .safetensors, .npz, .pth, .pt, .th, .h5, .hdf5, .keras or .onnx.
    max_bytes : int, optional
        A part of the file may unpack to this many bytes; unless given, to 100 times its packed
        size and 1 MiB.

    Returns
    -------
    dict
        Name -> array, row-contiguous, in the order of the file and in its layouts. Of a PyTorch
        checkpoint the entry `state_dict` (or `model_state_dict`, or `model`) is taken where there
        is one; names inside nested dictionaries are joined by dots. Keras 2's names are like
        "conv1/kernel:0", those of Keras 3 "conv1/0".

    Raises
    ------
    ValueError
        The file is broken, hostile, of another kind, or would take far more memory than its size.
    OSError
        The file is absent or cannot be read.

    Examples
    --------
    >>> import numpy as np, tempfile, os, convkit
    >>> path = os.path.join(tempfile.mkdtemp(), "net.npz")
    >>> np.savez(path, **{"conv1.weight": np.zeros((6, 1, 5, 5), np.float32)})
    >>> {name: array.shape for name, array in convkit.load_weights(path).items()}
    {'conv1.weight': (6, 1, 5, 5)}
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path={path!r} must be a string or a path")
    if max_bytes is not None:
        max_bytes = integer("max_bytes", max_bytes, least=0)
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix in KERAS:
        from convkit.weights.keras_file import read_keras

        weights = read_keras(file, max_bytes=max_bytes).weights
    elif suffix == ".onnx":
        from convkit.weights.onnx_file import read_onnx

        weights = read_onnx(file, max_bytes=max_bytes)
    else:
        reader = _reader(file)
        with explained(regular(file)):
            weights = reader(contents(file), max_bytes)
    if not weights:  # as a file of a network without weights
        raise ValueError(f"{file}: the file holds no {'array' if suffix in KERAS else 'tensor'}")
    return weights


def _reader(file: Path) -> Callable[[bytes, int | None], Weights]:
    """The reader of this file's format, by its name; imported here because most runs need none."""
    suffix = file.suffix.lower()
    if suffix == ".safetensors":
        from convkit.weights.safetensors_file import read_safetensors

        return read_safetensors
    if suffix == ".npz":
        from convkit.weights.npz import read_npz

        return read_npz
    if suffix in (".pth", ".pt", ".th"):
        from convkit.weights.pytorch import read_pytorch

        return read_pytorch
    raise ValueError(f"path={str(file)!r} ends in {suffix!r}: expected {FORMATS}")


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Puts the file's name before what a reader says of its contents."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def regular(path: str | os.PathLike[str]) -> Path:
    """The path of a regular file: a device or a pipe could go on for ever."""
    file = Path(path)
    if not file.is_file():
        file.stat()  # absent: the system's own OSError, which names the file
        raise OSError(f"{file} is no regular file")
    return file


def contents(file: Path) -> bytes:
    """The bytes of a file."""
    try:
        return file.read_bytes()
    except MemoryError:
        raise OSError(f"{file} of {file.stat().st_size} bytes does not fit into memory") from None
