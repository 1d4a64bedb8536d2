"""Weight files -> {name: array}. Files are data: whatever one holds, no code of it is run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Weights = dict[str, np.ndarray[Any, Any]]

#: What can be read, in the words of the messages.
FORMATS = ".safetensors, .npz, .pth, .pt or .th"


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """Read a file of weights.

    Reads safetensors, NumPy's `.npz`, and what `torch.save` writes of a `state_dict`, in all three
    of its formats and saved from any device. No code of a file is run: of a pickle only tensors
    and containers are built. bfloat16 becomes float32; other dtypes are kept.

    Parameters
    ----------
    path : str or path
        A file that ends in .safetensors, .npz, .pth, .pt or .th.

    Returns
    -------
    dict
        Name -> array, row-contiguous, in the order of the file. Of a PyTorch checkpoint the entry
        `state_dict` (or `model_state_dict`, or `model`) is taken where there is one; names inside
        nested dictionaries are joined by dots.

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
    file = Path(path)
    reader = _reader(file)
    try:
        return reader(_contents(file))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _reader(file: Path) -> Callable[[bytes], Weights]:
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


def _contents(file: Path) -> bytes:
    """The bytes of a regular file: a device or a pipe could go on for ever."""
    if not file.is_file():
        file.stat()  # absent: the system's own OSError, which names the file
        raise OSError(f"{file} is no regular file")
    try:
        return file.read_bytes()
    except MemoryError:
        raise OSError(f"{file} of {file.stat().st_size} bytes does not fit into memory") from None
