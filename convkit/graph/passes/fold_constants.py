"""Nodes that read constants alone are computed once, when the network is compiled."""

from __future__ import annotations

from convkit.graph.bind import Bound
from convkit.graph.ir import Weight
from convkit.graph.ops import OPS
from convkit.graph.passes.rewrite import Rewriting


def fold_constants(bound: Bound) -> Bound:
    """constant -> op -> y becomes a constant y."""
    made = Rewriting(bound)
    for old in bound.graph.nodes:
        node = made.now(old)
        if not all(isinstance(value, Weight) for value in node.reads):
            made.add(node)
            continue
        arrays = [None if v is None else made.weights[v.name] for v in node.inputs]
        results = OPS[node.op].reference(arrays, node.keywords)
        for value, array in zip(old.outputs, results, strict=False):
            made.replace(value, made.weight(value.name, array, value, "constant"))
    return made.done()
