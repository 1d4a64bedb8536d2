"""What Keras saves: .h5 (Keras 1 and 2, and the older way of Keras 3), .weights.h5 and .keras.

Keras 2 writes model_weights/LAYER/.../kernel:0 and lists the names in attributes; Keras 3 writes
layers/CLASS_NUMBER/vars/0 and so on, in the order in which a layer makes its weights. Arrays stay
in Keras' layouts: filters (r, s, c, k), dense kernels (in, out).
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.weights import Weights, contents, explained, regular
from convkit.weights.archive import Archive
from convkit.weights.bounds import Budget, shown
from convkit.weights.hdf5 import Hdf5, read_hdf5

#: Parsed, a text takes up to 24 times its size; the largest of Keras applications has 1.3 MB.
MOST_CONFIG = 3 << 20
#: Where Keras 3 and the first .keras files keep the layers of a model.
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
#: State of random numbers, which is no weight.
GENERATOR = "seed_generator"


@dataclass(frozen=True, slots=True)
class KerasFile:
    """What a file of Keras holds.

    Attributes
    ----------
    config : dict, or None
        The model: {"class_name": ..., "config": ...}; None where the file has weights only.
    layers : dict
        Layer -> {weight: array}, in the order of the file. Weights are called kernel, bias, gamma,
        beta, moving_mean, moving_variance, depthwise_kernel, pointwise_kernel ..., or, by Keras 3,
        "0", "1" ... Layers inside a nested model: "OUTER/INNER" where Keras 3 wrote them, and
        weights "INNER/kernel" of the layer OUTER where Keras 2 did.
    weights : dict
        The same arrays by the file's own names, "conv1/kernel:0"; of Keras 3 "conv1/0".
    """

    config: dict[str, Any] | None
    layers: dict[str, dict[str, np.ndarray[Any, Any]]]
    weights: Weights

    def settings(self) -> dict[str, dict[str, Any]]:
        """Layer -> its config, for the layers that the model lists."""
        return {name: config for _, name, config in _listed(self.config)}


def read_keras(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> KerasFile:
    """Read a .h5, .hdf5 or .keras file; needs the extra `keras`.

    Raises ValueError where it is broken, hostile or of another kind, naming the file, and OSError
    where it is absent.
    """
    file = regular(path)
    with explained(file):
        if file.suffix.lower() == ".keras":
            return _read_archive(contents(file), max_bytes)
        with open(file, "rb") as stream:
            tree = read_hdf5(stream.fileno(), Budget(file.stat().st_size, max_bytes))
        return _keras_file(tree, _config(tree.attributes.get("", {}).get("model_config")))


def _read_archive(packed: bytes, max_bytes: int | None) -> KerasFile:
    """A .keras file: config.json and model.weights.h5 in a zip archive."""
    budget = Budget(len(packed), max_bytes)
    archive = Archive(packed, budget)
    if "config.json" not in archive.members:
        raise ValueError("no .keras file: it has no member 'config.json'")
    if archive.members["config.json"].size > MOST_CONFIG:
        raise ValueError(f"member 'config.json' has more than {MOST_CONFIG} bytes")
    config = _config(bytes(archive.read("config.json")).decode("utf-8", "replace"))
    # HDF5 files are read by their descriptor: this one has no name and lies in memory.
    member = os.memfd_create("model.weights.h5")
    try:
        data = archive.read("model.weights.h5")
        while data:
            data = data[os.write(member, data) :]
        try:
            tree = read_hdf5(member, budget)
        except ValueError as error:
            raise ValueError(f"member 'model.weights.h5': {error}") from None
    finally:
        os.close(member)
    return _keras_file(tree, config)


def _config(text: object) -> dict[str, Any] | None:
    """The model that a text describes."""
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > MOST_CONFIG:
        raise ValueError(f"the model's config is no text of at most {MOST_CONFIG} characters")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the model's config is no JSON: {shown(str(error))}") from None
    if not isinstance(config, dict):
        raise ValueError("the model's config is no JSON object")
    return config


def _keras_file(tree: Hdf5, config: dict[str, Any] | None) -> KerasFile:
    """Layers and names of either layout."""
    if not tree.arrays:
        if config is None:
            raise ValueError("the file holds no array")
        return KerasFile(config, {}, {})  # a network without weights
    for root in ("model_weights", ""):
        if not {"layer_names", "layer_names0"}.isdisjoint(tree.attributes.get(root, {})):
            return KerasFile(config, *_keras2(tree, root))
    if any(path.split("/")[0] in CONTAINERS for path in tree.arrays):
        return KerasFile(config, *_keras3(tree, config))
    return KerasFile(config, *_plain(tree.arrays))


Parts = tuple[dict[str, dict[str, np.ndarray[Any, Any]]], Weights]


def _keras2(tree: Hdf5, root: str) -> Parts:
    """ROOT/LAYER/NAME, with the names listed in attributes layer_names and weight_names."""
    layers: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    weights: Weights = {}
    start = f"{root}/" if root else ""
    for layer in _names(tree, root, "layer_names"):
        names = _names(tree, start + layer, "weight_names")
        owners = {name.rpartition("/")[0] for name in names}
        found: dict[str, np.ndarray[Any, Any]] = {}
        for name in names:
            path = f"{start}{layer}/{name}"
            if path not in tree.arrays:
                raise ValueError(f"weight {shown(name)} of layer {shown(layer)} is missing")
            array = tree.arrays[path]
            # A nested model's weights keep the names of its layers apart.
            short = name if len(owners) > 1 else name.rpartition("/")[2]
            short = re.sub(r":\d+$", "", short)
            if short in found or layer in layers:
                raise ValueError(f"weight {shown(name)} of layer {shown(layer)} stands twice")
            found[short] = array
            weights[name if name not in weights else f"{layer}/{name}"] = array
        if found:
            layers[layer] = found
    if not weights:
        raise ValueError("attribute 'layer_names' lists no layer with weights")
    return layers, weights


def _names(tree: Hdf5, path: str, attribute: str) -> list[str]:
    """A list of names; long ones go on in attributes NAME0, NAME1, ..."""
    held = tree.attributes.get(path, {})
    parts = [held[attribute]] if attribute in held else []
    while f"{attribute}{len(parts)}" in held:
        parts.append(held[f"{attribute}{len(parts)}"])
    return [str(name) for part in parts for name in (part if isinstance(part, list) else [part])]


def _keras3(tree: Hdf5, config: dict[str, Any] | None) -> Parts:
    """CONTAINER/GROUP/vars/0: the groups are numbered by class, their layers' names beside."""
    named = _named_by_class(config)
    layers: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    for path in sorted(tree.arrays, key=_by_number):
        parts = path.split("/")
        if GENERATOR in parts or "vars" not in parts:
            continue
        groups, number = parts[: parts.index("vars")], parts[-1]
        name = "/".join(
            _own_name(tree, groups[: i + 1]) or named.get("/".join(groups[1 : i + 1]), group)
            for i, group in enumerate(groups)
            if group not in CONTAINERS
        )
        found = layers.setdefault(name, {})
        if number in found:
            raise ValueError(f"two layers are called {shown(name)}")
        found[number] = tree.arrays[path]
    if not layers:
        raise ValueError("the file holds no weights of a layer")
    order = list(dict.fromkeys(named.values()))
    place = {name: i for i, name in enumerate(order)}
    layers = {
        n: layers[n] for n in sorted(layers, key=lambda n: place.get(n.split("/")[0], 1 << 30))
    }
    weights = {
        f"{layer}/{w}": array for layer, found in layers.items() for w, array in found.items()
    }
    return layers, weights


def _own_name(tree: Hdf5, groups: list[str]) -> str | None:
    """The layer's name, which newer versions of Keras 3 write beside its weights."""
    name = tree.attributes.get("/".join([*groups, "vars"]), {}).get("name")
    return name if isinstance(name, str) else None


def _by_number(path: str) -> list[tuple[int, str]]:
    """Sorts conv2d_2 before conv2d_10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", path)]


def _named_by_class(config: dict[str, Any] | None) -> dict[str, str]:
    """Group of Keras 3 -> name of the layer: conv2d, conv2d_1, ... in the order of the config."""
    found: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for kind, name, _ in _listed(config):
        snake = _snake(kind)
        found[f"{snake}_{counts[snake]}" if counts[snake] else snake] = name
        counts[snake] += 1
    return found


def _listed(config: dict[str, Any] | None) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(class, name, config) of the layers of a model."""
    inside = config.get("config") if config else None
    # The first versions of Keras list the layers of a Sequential bare.
    listed = inside.get("layers") if isinstance(inside, dict) else inside
    for layer in listed if isinstance(listed, list) else []:
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            continue
        kind, name = layer.get("class_name"), layer["config"].get("name", layer.get("name"))
        if isinstance(kind, str) and isinstance(name, str):
            yield kind, name, layer["config"]


def _snake(name: str) -> str:
    """Keras' own spelling: Conv2DTranspose -> conv2d_transpose."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _plain(arrays: Weights) -> Parts:
    """An HDF5 file of another program: a group with arrays is a layer."""
    layers: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    for path, array in arrays.items():
        layer, _, name = path.rpartition("/")
        layers.setdefault(layer, {})[re.sub(r":\d+$", "", name)] = array
    return layers, arrays
