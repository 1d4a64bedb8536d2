"""What the passes share: walking a graph in order, replacing values on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from convkit.graph.bind import Bound
from convkit.graph.ir import Graph, Node, Value, Weight

Array = np.ndarray[Any, Any]


class Rewriting:
    """A new list of nodes in the making.

    A pass goes over the nodes in order, adds what it keeps or makes, and says which values others
    replace; readers that come later follow.
    """

    def __init__(self, bound: Bound) -> None:
        self.graph = bound.graph
        self.weights: dict[str, Array] = dict(bound.weights)
        self.nodes: list[Node] = []
        self._instead: dict[Value, Value] = {}
        reads = [value for node in self.graph.nodes for value in node.reads]
        self._uses = Counter([*reads, *self.graph.outputs])
        self._maker: dict[Value, Node] = {}

    def now(self, node: Node) -> Node:
        """The node, reading what replaces its inputs."""
        inputs = tuple(None if v is None else self._instead.get(v, v) for v in node.inputs)
        return node if inputs == node.inputs else node.but(inputs=inputs)

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        self._maker.update((value, node) for value in node.outputs)

    def drop(self, node: Node) -> None:
        """Take back a node that another one does the work of."""
        self.nodes.remove(node)

    def replace(self, old: Value, new: Value) -> None:
        """From here on `new` is read for `old`, which the graph may give out as well."""
        self._instead[old] = new
        self._uses[new] += self._uses[old]

    def maker(self, value: Value | None) -> Node | None:
        """The node so far that makes a value."""
        return None if value is None else self._maker.get(value)

    def read_once(self, value: Value) -> bool:
        """Whether one node alone reads it, and nobody outside."""
        return self._uses[value] == 1

    def array(self, value: Value | None) -> Array | None:
        """The array of a weight; None of anything else."""
        return self.weights.get(value.name) if isinstance(value, Weight) else None

    def weight(self, name: str, array: Array, like: Value, role: str) -> Weight:
        """A new weight of the dtype of another value."""
        array = np.ascontiguousarray(array, like.dtype)
        self.weights[name] = array
        return Weight(name, array.shape, like.dtype, role=role)

    def done(self) -> Bound:
        outputs = tuple(self._instead.get(v, v) for v in self.graph.outputs)
        whole = Graph(self.graph.name, self.graph.inputs, (), self.graph.inputs)
        graph = whole.but(tuple(self.nodes), outputs)
        used = graph.weights
        return Bound(graph, {name: a for name, a in self.weights.items() if name in used})


Pass = Callable[[Bound], Bound]
