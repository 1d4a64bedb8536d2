"""load: a model from a file that describes itself."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from convkit.graph.file import read_model
from convkit.graph.model import Model


def load(path: str | os.PathLike[str]) -> Model:
    """Read a network with its weights.

    Parameters
    ----------
    path : str or path
        What `Model.save` wrote (.safetensors), an ONNX file (.onnx; needs the extra `onnx`), or a
        Sequential or functional model that Keras 2 or 3 saved (.h5, .hdf5, .keras; needs the extra
        `keras`). Images are (n, c, h, w) here, whatever they are in the file.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        The file is broken, of another kind, or uses what is not supported; all of it is listed.
    OSError
        The file is absent or cannot be read.

    Examples
    --------
    >>> import numpy as np, tempfile, os, convkit
    >>> path = os.path.join(tempfile.mkdtemp(), "digits.safetensors")
    >>> convkit.models.build("lenet5_digits").save(path)
    >>> convkit.load(path)
    <convkit model lenet5_digits, 61,706 parameters>
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path={path!r} must be a string or a path")
    from convkit.models import names

    file = Path(path)
    suffix = file.suffix.lower()
    if suffix == ".safetensors":
        graph, weights, labels, preset = read_model(file)
        return Model(graph, weights, labels=labels, preset=preset)
    if suffix == ".onnx":
        from convkit.onnx import from_onnx

        imported = from_onnx(file)
        # Exporters write the same name into every file.
        graph = replace(imported.graph, name=file.stem)
        return Model(graph, imported.weights, labels=imported.labels, sizes=imported.sizes)
    if suffix in (".h5", ".hdf5", ".keras"):
        from convkit.keras import from_keras

        found = from_keras(file)
        return Model(found.graph, found.weights, sizes=found.sizes)
    if file.is_dir():
        raise ValueError(f"path={os.fspath(path)!r} is a folder: expected a file of a network")
    hint = ""
    if suffix in (".npz", ".pth", ".pt", ".th"):
        hint = "; it holds weights and no network: build that and call its load"
    elif str(file) in names():
        hint = f"; convkit.models.build({str(file)!r}) makes the network of this name"
    raise ValueError(
        f"path={str(file)!r} ends in {suffix!r}: expected .safetensors, .onnx, .h5 or .keras{hint}"
    )
