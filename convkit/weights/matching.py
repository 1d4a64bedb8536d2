"""Which array of a file is which weight of a network: by name, by alias, or by structure."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from convkit.graph.ir import Graph, Node, Value, Weight
from convkit.weights import KERAS, load_weights
from convkit.weights.layouts import (
    KERAS_NAME,
    ROLES,
    Array,
    Part,
    converted,
    flattened,
    numbered,
)

#: What frameworks' wrappers put before the names of the network they wrap.
PREFIXES = ("module.", "model.", "_orig_mod.")
#: Counters that training keeps beside the weights.
IGNORED = "num_batches_tracked"
#: Classifiers at the side, which networks are trained with and seldom run with.
SIDE = re.compile(r"(aux\d*|aux_logits|auxlogits|aux_classifier|loss[123])[./_]", re.IGNORECASE)


@dataclass(slots=True)
class Matched:
    """What a file gives a network, and what does not fit.

    `taken` has the network's names. `left` are the file's names that the network lacks, those of
    side classifiers apart in `side`. `reason` says why the structure was not gone by.
    """

    taken: dict[str, Array] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    side: list[str] = field(default_factory=list)
    by_alias: list[str] = field(default_factory=list)
    by_structure: list[str] = field(default_factory=list)
    reason: str = ""


def match_source(graph: Graph, source: str | os.PathLike[str] | Mapping[str, Any]) -> Matched:
    """Find each weight of the graph in a file, or among named arrays."""
    if isinstance(source, Mapping):
        return match(graph, parts_of(source))
    suffix = Path(source).suffix.lower()
    if suffix not in KERAS:
        return match(graph, parts_of(load_weights(source)), ordered=suffix != ".safetensors")
    from convkit.weights.keras_file import read_keras

    file = read_keras(source)
    named = {
        weight if "/" in weight else f"{layer}/{weight}": array
        for layer, inside in file.layers.items()
        for weight, array in inside.items()
    }
    # Without a config Keras 3 lists layers by class and number.
    numbers = any(weight.isdigit() for inside in file.layers.values() for weight in inside)
    return match(
        graph,
        parts_of(named),
        settings=file.settings(),
        ordered=file.config is not None or not numbers,
    )


def parts_of(given: Mapping[Any, Any]) -> list[Part]:
    """The arrays by layer; counters left out."""
    parts = []
    for name, array in given.items():
        full = str(name)
        if full.endswith(IGNORED):
            continue
        found = KERAS_NAME.fullmatch(full)
        if found:
            parts.append(Part(full, found["layer"], found["weight"], array, True))
        else:
            layer, _, weight = full.rpartition(".")
            parts.append(Part(full, layer, weight, array, False))
    return parts


def match(
    graph: Graph,
    parts: list[Part],
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    ordered: bool | None = None,
) -> Matched:
    """Find each weight of the graph among the parts of a file.

    `settings` are the configs of Keras' layers by name. `ordered` = the parts stand in the order
    in which the network computes; None = nobody knows, and sorted names then say nothing.
    """
    network = _Network(graph)
    wrong: list[str] = []
    parts = _named(parts, settings or {}, wrong)
    aliases = _aliases(graph.name)
    matched = Matched(wrong=wrong)
    for part in parts:
        name, aliased = network.name_of(part, aliases)
        if name is None:
            (matched.side if SIDE.match(_bare(part.full)) else matched.left).append(part.full)
        elif name in matched.taken:
            matched.wrong.append(f"{part.full} stands twice, with and without a prefix")
        else:
            array, problem = network.fit(part, name)
            if problem:
                matched.wrong.append(f"{part.full} {problem}")
            matched.taken[name] = array if problem else frozen(array, network.weights[name])
            if aliased:
                matched.by_alias.append(name)
    _complete(matched, parts, network)
    missing = len(matched.taken) < len(network.weights)
    if missing and matched.left and len(matched.left) > len(matched.taken):
        _by_structure(matched, parts, network, ordered)
    return matched


class _Network:
    """A graph's weights, and where each belongs."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.weights = graph.weights
        self.owners = {weight.name: node for node in graph.nodes for weight in node.weights}
        self.orders = flattened(graph)

    def name_of(self, part: Part, aliases: Mapping[str, str]) -> tuple[str | None, bool]:
        """(the network's name of a part, whether by an alias)."""
        for layer in _shortened(part.layer):
            for name in self._names(layer, part):
                if name in self.weights:
                    return name, False
            known = aliases.get(layer) or aliases.get(f"{layer}.{part.weight}")
            if known is not None:
                for name in (known, *self._names(known, part)):
                    if name in self.weights:
                        return name, True
        return None, False

    def _names(self, layer: str, part: Part) -> Iterable[str]:
        """What a weight of this layer may be called here."""
        role = ROLES.get(part.weight, part.weight) if part.keras else part.weight
        yield f"{layer}.{role}" if layer else role
        if part.keras:
            # Keras' separable convolution is two layers here.
            half = "depthwise" if part.weight == "depthwise_kernel" else "pointwise"
            yield f"{layer}.{half}.{role}"
            if "/" in layer:
                yield f"{layer.replace('/', '.')}.{role}"

    def fit(self, part: Part, name: str) -> tuple[Array, str]:
        """(a view in the network's layout, why it does not fit; empty if it does)."""
        weight = self.weights[name]
        array = np.asarray(part.array)
        if part.keras:
            node = self.owners[name]
            array = converted(array, weight.role, node, weight.sizes, self.orders.get(node.name))
        if array.dtype.kind != "f":
            return array, f"has dtype {array.dtype}, expected {weight.dtype}"
        if array.shape != weight.shape:
            shape = np.shape(part.array)
            there = f"in Keras' layout, which is {array.shape} here, " if part.keras else ""
            return array, f"has shape {shape}, {there}expected {weight.shape}"
        return array, ""


def frozen(array: Array, weight: Weight) -> Array:
    """A weight's array as a model keeps it: of its dtype, row-contiguous and read-only.

    A copy: later changes of the caller's array do not reach the model.
    """
    array = np.array(array, weight.dtype, order="C")
    array.flags.writeable = False
    return array


def _bare(name: str) -> str:
    """The name without prefixes."""
    while prefix := next((p for p in PREFIXES if name.startswith(p)), ""):
        name = name[len(prefix) :]
    return name


def _shortened(layer: str) -> Iterable[str]:
    """The layer's name, without one prefix after the other, then without the models around it."""
    yield layer
    dotted = layer + "."
    while prefix := next((p for p in PREFIXES if dotted.startswith(p)), ""):
        dotted = dotted[len(prefix) :]
        yield dotted[:-1]
    while "/" in layer:
        layer = layer.partition("/")[2]
        yield layer


def _named(
    parts: list[Part], settings: Mapping[str, Mapping[str, Any]], wrong: list[str]
) -> list[Part]:
    """The parts with names in place of Keras 3's numbers."""
    named: list[Part] = []
    for layer, inside in _layers(parts).items():
        try:
            named += numbered(inside, settings.get(layer))
        except ValueError as error:
            wrong.append(f"{layer} {error}")
    return named


def _layers(parts: Iterable[Part]) -> dict[str, list[Part]]:
    """The parts of each layer, in order."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.layer, []).append(part)
    return found


def _aliases(network: str) -> Mapping[str, str]:
    """Other frameworks' names of layers -> ours, where the network's file has a table of them."""
    from convkit.models import MODELS

    if network not in MODELS:
        return {}
    table = getattr(sys.modules[MODELS[network].__module__], "ALIASES", {})
    own = table.get(network, {})
    if isinstance(own, Mapping):
        return {**{k: v for k, v in table.items() if isinstance(v, str)}, **own}
    return table


def _complete(matched: Matched, parts: list[Part], network: _Network) -> None:
    """What a batch norm of Keras leaves out where it does not scale or shift."""
    keras = {part.layer for part in parts if part.keras}
    if not keras:
        return
    for name, weight in network.weights.items():
        node = network.owners.get(name)
        if name in matched.taken or node is None or node.op != "batch_norm":
            continue
        others = {w.role: w.name for w in node.weights}
        if weight.role in ("weight", "bias") and others["running_mean"] in matched.taken:
            fill = np.full(weight.sizes, float(weight.role == "weight"), weight.dtype)
            matched.taken[name] = frozen(fill, weight)


# By structure


def _by_structure(
    matched: Matched, parts: list[Part], network: _Network, ordered: bool | None
) -> None:
    """Take the file's layers for the network's in order, if all fit and there is one way only."""
    parts = [part for part in parts if not SIDE.match(_bare(part.full))]
    layers = list(_units(parts))
    nodes = [node for node in network.graph.nodes if node.weights]
    if len(layers) != len(nodes):
        matched.reason = f"{len(layers)} layers there, {len(nodes)} here"
        return
    names = [layer[0].layer for layer in layers]
    if ordered is None:
        ordered = names != sorted(names) or len(names) < 2
    if not ordered:
        fits = [_only_fit(layer, nodes, network) for layer in layers]
    else:
        fits = [_fit(layer, node, network) for layer, node in zip(layers, nodes, strict=True)]
        if twins := _parallel_twins(network.graph):
            matched.reason = f"{' and '.join(twins)} could be taken for each other"
            return
    found: dict[str, Part] = {}
    for layer, fit in zip(layers, fits, strict=True):
        if fit is None or not found.keys().isdisjoint(fit):
            matched.reason = f"{layer[0].layer} fits none of the layers, or several"
            return
        found.update(fit)
    matched.taken = {
        name: frozen(network.fit(found[name], name)[0], weight)
        for name, weight in network.weights.items()
        if name in found
    }
    matched.wrong, matched.left, matched.by_alias = [], [], []
    matched.by_structure = list(matched.taken)
    _complete(matched, parts, network)


def _units(parts: list[Part]) -> Iterable[list[Part]]:
    """Layers; a separable convolution of Keras is two."""
    for inside in _layers(parts).values():
        first = [part for part in inside if part.weight == "depthwise_kernel"]
        rest = [part for part in inside if part.weight != "depthwise_kernel"]
        if first and any(part.weight == "pointwise_kernel" for part in rest):
            yield first
            yield rest
        else:
            yield inside


def _fit(layer: list[Part], node: Node, network: _Network) -> dict[str, Part] | None:
    """The node's weights -> the layer's parts; None where they are not the same."""
    wanted = {weight.role: weight.name for weight in node.weights}
    found: dict[str, Part] = {}
    for part in layer:
        role = ROLES.get(part.weight, part.weight) if part.keras else part.weight
        if role not in wanted or wanted[role] in found:
            return None
        if network.fit(part, wanted[role])[1]:
            return None
        found[wanted[role]] = part
    lacking = set(wanted) - {network.weights[name].role for name in found}
    spared = {"weight", "bias"} if node.op == "batch_norm" and layer[0].keras else set()
    return found if lacking <= spared else None


def _only_fit(layer: list[Part], nodes: list[Node], network: _Network) -> dict[str, Part] | None:
    """The weights of the only node that the layer can be."""
    fits = [fit for node in nodes if (fit := _fit(layer, node, network)) is not None]
    return fits[0] if len(fits) == 1 else None


def _parallel_twins(graph: Graph) -> tuple[str, ...]:
    """Two layers of the same shapes of which neither comes after the other; empty if none are."""
    before: dict[Value, int] = {}
    last: dict[tuple[object, ...], tuple[Node, int]] = {}
    for number, node in enumerate(graph.nodes):
        above = 0
        for value in node.reads:
            above |= before.get(value, 0)
        for value in node.outputs:
            before[value] = above | 1 << number
        if not node.weights:
            continue
        shapes = (node.op, *(weight.shape for weight in node.weights))
        if shapes in last and not above >> last[shapes][1] & 1:
            return last[shapes][0].name, node.name
        last[shapes] = node, number
    return ()
