"""Self-contained files: weights, graph, labels and preset in one safetensors file.

The graph stands in the file's metadata as text; nothing in a file is ever run.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convkit.graph.ir import Graph
from convkit.graph.text import graph_text, read_graph
from convkit.problem import one_of
from convkit.weights import contents, explained, regular

#: The metadata's key that says that a file is one of ours.
KEY = "convkit_graph"


def write_model(
    path: str | os.PathLike[str],
    graph: Graph,
    weights: Mapping[str, np.ndarray[Any, Any]],
    labels: Sequence[str] | None,
    preset: str | None,
) -> None:
    """Write the file whole or not at all."""
    from safetensors.numpy import save

    from convkit.images import PRESETS

    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path={path!r} must be a string or a path")
    file = Path(path)
    if file.suffix.lower() != ".safetensors":
        raise ValueError(f"path={str(file)!r} must end in .safetensors")
    # Before the file beside it is tried, whose name means nothing to the user.
    if not file.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(file.parent))
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(file))
    # What `read_model` and `prepare` would refuse is better refused here.
    if preset is not None:
        one_of("preset", preset, tuple(PRESETS))
    if labels is not None and (
        not isinstance(labels, (list, tuple)) or not all(isinstance(name, str) for name in labels)
    ):
        raise TypeError(f"labels={labels!r} must be a list of texts")
    metadata = {KEY: graph_text(graph), "format": "pt"}
    if labels is not None:
        metadata["convkit_labels"] = json.dumps(list(labels))
    if preset is not None:
        metadata["convkit_preset"] = preset
    arrays = {name: np.asarray(array, order="C") for name, array in weights.items()}
    packed = save(arrays, metadata)
    beside = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(packed)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def read_model(
    path: str | os.PathLike[str],
) -> tuple[Graph, dict[str, np.ndarray[Any, Any]], tuple[str, ...] | None, str | None]:
    """Graph, weights, labels and preset of a file that `write_model` wrote.

    Raises
    ------
    ValueError
        The file is broken, is of a newer version or holds no graph.
    OSError
        The file is absent or cannot be read.
    """
    from convkit.weights.safetensors_file import read_safetensors

    file = Path(path)
    with explained(regular(file)):
        weights = read_safetensors(contents(file))
    metadata = _metadata(file)
    if KEY not in metadata:
        raise ValueError(
            f"{file} holds weights and no graph: build the network and call its load({file.name!r})"
        )
    try:
        graph = read_graph(metadata[KEY])
        _check(graph, weights)
        labels = _labels(metadata.get("convkit_labels"))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return graph, weights, labels, metadata.get("convkit_preset")


def _metadata(file: Path) -> dict[str, str]:
    """The texts beside the tensors; `read_safetensors` has checked the header."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(size))
    found = header.get("__metadata__") or {}
    return {str(key): value for key, value in found.items() if isinstance(value, str)}


def _check(graph: Graph, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
    wanted = graph.weights
    missing = [name for name in wanted if name not in weights]
    if missing:
        raise ValueError(f"weights are missing: {', '.join(missing)}")
    for name, weight in wanted.items():
        array = weights[name]
        if array.shape != weight.shape or str(array.dtype) != weight.dtype:
            raise ValueError(
                f"weight {name!r} is {array.dtype} {array.shape}: the graph needs {weight.dtype} "
                f"{weight.shape}"
            )


def _labels(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    found = json.loads(text)
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        raise ValueError("the labels are no list of texts")
    return tuple(found)
