"""Run a graph node by node. A compiler replaces this later; graphs and models stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convkit.graph.ir import Graph
from convkit.graph.ops import OPS, Step


class Runner:
    """A graph with its weights packed: made once for its weights, safe from several threads."""

    __slots__ = ("_copied", "_graph", "_last_use", "_steps")

    def __init__(self, graph: Graph, weights: Mapping[str, Any]) -> None:
        self._graph = graph
        self._steps: list[Step] = [
            OPS[node.op].prepare(node, {w.role: weights[w.name] for w in node.weights})
            for node in graph.nodes
        ]
        # Where a value is read for the last time, its memory can go.
        self._last_use: dict[str, int] = {
            value.name: index for index, node in enumerate(graph.nodes) for value in node.inputs
        }
        for value in graph.outputs:
            self._last_use[value.name] = len(graph.nodes)
        # Outputs are new arrays: what may be a view of the input or of another output is copied.
        seen = {value.name for value in graph.inputs}
        seen.update(node.output.name for node in graph.nodes if OPS[node.op].may_be_view)
        self._copied: list[bool] = []
        for value in graph.outputs:
            self._copied.append(value.name in seen)
            seen.add(value.name)

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """The graph's outputs for its inputs."""
        values = {value.name: x for value, x in zip(self._graph.inputs, arrays, strict=True)}
        for index, (node, step) in enumerate(zip(self._graph.nodes, self._steps, strict=True)):
            values[node.output.name] = step(*(values[value.name] for value in node.inputs))
            for value in node.inputs:
                if self._last_use[value.name] == index:
                    values.pop(value.name, None)
        outputs = [values[value.name] for value in self._graph.outputs]
        return tuple(y.copy() if c else y for y, c in zip(outputs, self._copied, strict=True))
