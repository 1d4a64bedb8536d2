"""Which inputs of a graph are part of what a program is compiled for: shapes, axes, sizes, ..."""

from __future__ import annotations

from convkit.graph.ir import Graph
from convkit.graph.ops import OPS


def names_read(graph: Graph) -> tuple[str, ...]:
    """The inputs whose values an operator reads before running, itself or through others.

    The shape of an array is no value: what only `shape` and `size` read of it is not counted.
    """
    needed: set[str] = set()
    for node in reversed(graph.nodes):
        if node.op in ("shape", "size"):
            continue
        if any(value.name in needed for value in node.outputs):
            needed.update(value.name for value in node.reads)
        for index in OPS[node.op].reads:
            if index < len(node.inputs):
                value = node.inputs[index]
                if value is not None:
                    needed.add(value.name)
    return tuple(value.name for value in graph.inputs if value.name in needed)
