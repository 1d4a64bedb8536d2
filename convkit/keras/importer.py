"""from_keras: a Keras file -> Graph. Each layer becomes a node of the graph, or a few."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, NamedTuple

from convkit.graph.ir import Graph, Value
from convkit.keras.layer import Apply, Layer, Unsupported
from convkit.keras.layers import MERGING, TRANSLATORS
from convkit.keras.net import Array, Net, Tensor
from convkit.keras.network import LayerConfig, Network, Ref, is_keras_3, read_network
from convkit.weights.bounds import shown
from convkit.weights.keras_file import read_keras

#: Size that a free height or width has while shapes are checked; a multiple of all usual strides.
TRIAL = 256
#: Inputs larger than this are no images.
MOST_SIDE = 1 << 20
#: Layers and problems that a message names.
MOST_NAMED = 200
#: Packages whose layers are Keras' own; others may do anything under the same name.
PACKAGES = ("", "keras", "tf_keras", "keras_core", "tensorflow", "builtins")
#: `x + y` of two tensors, which Keras 3 writes as the layer of that name.
OPERATIONS = ("Add", "Multiply", "Maximum", "Minimum", "Subtract")

#: What a file says of an input's sizes; None for free ones.
Sizes = tuple[int | None, ...]


class Imported(NamedTuple):
    """What a file holds; `sizes` of the inputs with sizes left free, for which the graph has no
    shapes."""

    graph: Graph
    weights: dict[str, Array]
    sizes: dict[str, Sizes]


def from_keras(path: str | os.PathLike[str]) -> Imported:
    """Read a Sequential or functional model from a .h5 or .keras file.

    Images are (n, c, h, w) here, (n, h, w, c) in Keras: the same numbers, turned. No code of the
    file is run.

    Raises
    ------
    ValueError
        The file is broken, holds weights alone, or uses layers or settings that are not supported:
        all of them are listed with the layers' names. Or h5py is not installed.
    OSError
        The file is absent or cannot be read.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path={path!r} must be a string or a path")
    file = Path(path)
    stored = read_keras(file)
    if stored.config is None:
        raise ValueError(
            f"{file} holds weights and no network: build the network and call its "
            f"load({file.name!r})"
        )
    try:
        return from_config(stored.config, stored.layers, file.stem)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def from_config(
    config: Any, layers: Mapping[str, Mapping[str, Array]], name: str = "network"
) -> Imported:
    """The model that a config describes, with the weights that its layers have.

    Parameters
    ----------
    config : dict
        {"class_name": "Functional", "config": {"layers": [...], ...}}, as Keras writes it.
    layers : name of a layer -> name of a weight -> array
        In Keras' layouts; see `convkit.weights.keras_file.KerasFile`.
    name : str

    Raises
    ------
    ValueError
        As `from_keras`.
    """
    try:
        return _import(config, layers, name)
    except (MemoryError, OverflowError, RecursionError) as error:
        raise ValueError(f"the model's config: {type(error).__name__} while it was read") from None


def _import(config: Any, layers: Mapping[str, Mapping[str, Array]], name: str) -> Imported:
    network = read_network(config)
    translated = _translate(network, is_keras_3(config))
    net = Net(layers)
    inputs: list[Value] = []
    sizes: dict[str, Sizes] = {}
    tensors = []
    for ref in network.inputs:
        said = _input_sizes(network.layers[ref.layer])
        label = net.name(ref.layer)
        if None in said[1:]:
            sizes[label] = _turned(said)
        shape = (1, *(TRIAL if size is None else size for size in said[1:]))
        value = Value(label, tuple(int(size or 1) for size in _turned(shape)), "float32")
        inputs.append(value)
        tensors.append(Tensor(value))
    made = _run(network, tensors, net, translated, ())
    if net.problems:
        raise ValueError(_listed("weights do not fit the layers", net.problems))
    outputs = [net.plain(tensor) for tensor in made]
    graph = net.graph(name, inputs, outputs, free=bool(sizes))
    weights = {key: net.weights[key] for key in graph.weights}
    return Imported(graph, weights, sizes)


def _listed(heading: str, lines: Sequence[str]) -> str:
    more = len(lines) - MOST_NAMED
    return f"{heading}: {'; '.join(lines[:MOST_NAMED])}" + (f"; {more} more" if more > 0 else "")


# What is supported


Translated = dict[tuple[str, ...], tuple[Layer, Apply]]


def _translate(network: Network, keras_3: bool) -> Translated:
    """Every layer's settings read; ValueError that lists all that is not supported."""
    missing: dict[str, list[str]] = {}
    done: Translated = {}
    _translate_all(network, (), keras_3, done, missing)
    if missing:
        lines = []
        for what, names in missing.items():
            shown_names = ", ".join(map(shown, names[:MOST_NAMED]))
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            lines.append(f"{what} ({shown_names}{more})")
        raise ValueError(_listed("not supported", lines))
    return done


def _translate_all(
    network: Network,
    outer: tuple[str, ...],
    keras_3: bool,
    done: Translated,
    missing: dict[str, list[str]],
) -> None:
    for config in network.layers.values():
        path = (*outer, config.name)
        if config.inner is not None:
            _translate_all(config.inner, path, keras_3, done, missing)
            if config.problem:
                missing.setdefault(f"a model {config.problem}", []).append(config.name)
            continue
        if config.kind == "InputLayer":
            continue
        try:
            done[path] = _translated(config, path, keras_3)
        except Unsupported as error:
            missing.setdefault(str(error), []).append("/".join(path))
        except ValueError as error:
            raise ValueError(f"layer {shown('/'.join(path))}: {error}") from None


def _translated(config: LayerConfig, path: tuple[str, ...], keras_3: bool) -> tuple[Layer, Apply]:
    kind = config.kind
    translate = TRANSLATORS.get(kind)
    package, *inside = config.module.split(".")
    if package not in PACKAGES:
        raise Unsupported(f"{shown(kind)} of {shown(config.module)}")
    if translate is None or ("ops" in inside and kind not in OPERATIONS):
        raise Unsupported(kind if kind.isidentifier() and len(kind) < 80 else shown(kind))
    if config.problem:
        raise Unsupported(f"{kind} {config.problem}")
    layer = Layer(config, path, keras_3)
    apply = translate(layer)
    unread = layer.unread()
    if unread:
        raise Unsupported(f"{kind} with {', '.join(unread)}")
    return layer, apply


# Shapes of inputs


def _input_sizes(config: LayerConfig) -> Sizes:
    """The shape that an input layer says, the batch included."""
    what = f"input {shown(config.name)}"
    if config.kind != "InputLayer":
        raise ValueError(f"{what} is a {shown(config.kind)}: expected an InputLayer")
    shape = config.settings.get("batch_shape") or config.settings.get("batch_input_shape")
    if not isinstance(shape, list) or not 2 <= len(shape) <= 4:
        raise ValueError(f"{what} has shape {shown(shape)}: expected a batch and 1 to 3 sizes")
    for size in shape[1:]:
        if size is not None and (type(size) is not int or not 0 < size <= MOST_SIDE):
            raise ValueError(f"{what} has a size of {shown(size)}: expected 1 to {MOST_SIDE}")
    if shape[-1] is None or (len(shape) != 4 and None in shape[1:]):
        raise ValueError(f"{what} has shape {shape}: only height and width may be free")
    return (None, *shape[1:])


def _turned(shape: Sequence[int | None]) -> Sizes:
    """Channels second."""
    if len(shape) != 4:
        return tuple(shape)
    n, h, w, c = shape
    return (n, c, h, w)


# The layers in an order in which they can run


def _run(
    network: Network,
    tensors: Sequence[Tensor],
    net: Net,
    translated: Translated,
    outer: tuple[str, ...],
) -> list[Tensor]:
    """Write the nodes of every call; the tensors that are the network's outputs."""
    known: dict[Ref, Tensor] = {}
    if len(tensors) != len(network.inputs):
        raise ValueError(
            f"model {shown(network.name)} is called with {len(tensors)} tensors: it has "
            f"{len(network.inputs)} inputs"
        )
    known.update(zip(network.inputs, tensors, strict=True))
    for config, number in _order(network):
        if config.kind == "InputLayer":
            if Ref(config.name, 0, 0) not in known:
                raise ValueError(f"input {shown(config.name)} is none of the model's inputs")
            continue
        path = (*outer, config.name)
        call = config.calls[number] if config.calls else ()
        given = [_found(known, each) if isinstance(each, Ref) else each for each in call]
        for index, tensor in enumerate(_call(config, given, net, translated, path)):
            known[Ref(config.name, number, index)] = tensor
    return [_found(known, ref) for ref in network.outputs]


def _call(
    config: LayerConfig,
    given: list[Any],
    net: Net,
    translated: Translated,
    path: tuple[str, ...],
) -> list[Tensor]:
    if config.inner is not None:
        if not all(isinstance(each, Tensor) for each in given):
            raise ValueError(f"model {shown(config.name)} is called with a number")
        return _run(config.inner, given, net, translated, path)
    layer, apply = translated[path]
    try:
        alone = len(given) == 1 and isinstance(given[0], Tensor)
        if not alone and config.kind not in MERGING:
            raise ValueError(f"{config.kind} is called with {len(given)} tensors: it takes one")
        return [apply(net, layer, *given)]
    except (ValueError, TypeError) as error:
        raise ValueError(f"layer {shown('/'.join(path))}: {error}") from None


def _found(known: dict[Ref, Tensor], ref: Ref) -> Tensor:
    if ref not in known:
        name, call, output = ref
        raise ValueError(
            f"output {output} of call {call} of {shown(name)} is read: no layer makes it"
        )
    return known[ref]


def _order(network: Network) -> list[tuple[LayerConfig, int]]:
    """The calls of all layers in the order of the file, but each after those that it reads."""
    calls = {
        (config.name, number): (config, call)
        for config in network.layers.values()
        for number, call in enumerate(config.calls or ((),))
    }
    places = {here: place for place, here in enumerate(calls)}
    heres = list(calls)
    readers: dict[tuple[str, int], list[tuple[str, int]]] = {}
    waiting: dict[tuple[str, int], int] = {}
    for here, (config, call) in calls.items():
        read = {(each.layer, each.call) for each in call if isinstance(each, Ref)}
        waiting[here] = 0 if config.kind == "InputLayer" else len(read)
        for each in read:
            readers.setdefault(each, []).append(here)
    ready = [places[here] for here, count in waiting.items() if not count]
    order: list[tuple[LayerConfig, int]] = []
    while ready:
        here = heres[heappop(ready)]
        order.append((calls[here][0], here[1]))
        for reader in readers.get(here, []):
            waiting[reader] -= 1
            if not waiting[reader]:
                heappush(ready, places[reader])
    stuck = [name for (name, _), count in waiting.items() if count > 0]
    if stuck:
        raise ValueError(
            _listed("layers read what no layer makes before them", list(map(shown, stuck)))
        )
    return order
