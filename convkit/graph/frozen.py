"""Which weights a choice of layers means: those that training leaves as they are."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from convkit.graph.count import origins_of
from convkit.graph.ir import Graph, Node


def weights_before(graph: Graph, name: str) -> frozenset[str]:
    """Names of the parameters of all layers before the first that `name` means.

    A weight that a later layer shares is trained there, and so is not among them.

    Raises ValueError if there is no such layer, TypeError if it is no string.
    """
    first = graph.nodes.index(_meant(graph, "up_to", name)[0])
    return _trained(graph, graph.nodes[:first]) - _trained(graph, graph.nodes[first:])


def weights_of(graph: Graph, names: Sequence[str] | None) -> frozenset[str]:
    """Names of the parameters of these layers, or of all.

    Raises ValueError if there is no such layer, TypeError if it is no list of strings.
    """
    if names is None:
        return _trained(graph, graph.nodes)
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"names={names!r} must be a list of names")
    return _trained(graph, [node for name in names for node in _meant(graph, "names", name)])


def _trained(graph: Graph, nodes: Iterable[Node]) -> frozenset[str]:
    """Names of the parameters that these nodes read, perhaps turned by nodes that are no layers."""
    origins = origins_of(graph)
    read = [
        value.name for node in nodes if node.outputs[0].name not in origins for value in node.reads
    ]
    return frozenset(w.name for name in read for w in origins.get(name, ()) if w.trained)


def _meant(graph: Graph, argument: str, name: str) -> list[Node]:
    """The layer of this name, or all layers of a part: `layer1` means `layer1.0.conv1` too."""
    if not isinstance(name, str):
        raise TypeError(f"{argument}={name!r} must be the name of a layer")
    asked, others = name, other_names(graph.name)
    name = others.get(name, name)
    found = [node for node in graph.nodes if node.name == name or node.name.startswith(f"{name}.")]
    if not found:
        near = get_close_matches(asked, [*(node.name for node in graph.nodes), *others], n=3)
        hint = f": did you mean {', '.join(near)}?" if near else ""
        raise ValueError(f"{argument}={asked!r}: {graph.name} has no such layer{hint}")
    return found


def other_names(network: str) -> dict[str, str]:
    """Names that another framework gives the layers of a network of convkit -> ours.

    A file of convkit/models may hold them as `ALIASES`: network -> name -> name, or name -> name.
    """
    from convkit.models import MODELS

    if network not in MODELS:
        return {}
    table = getattr(sys.modules[MODELS[network].__module__], "ALIASES", {})
    own = table.get(network, table)
    return {name: ours for name, ours in own.items() if isinstance(ours, str)}
