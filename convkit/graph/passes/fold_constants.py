"""Nodes that read constants alone are computed once, when the network is compiled.

Those that would take more memory than they read and make, or make more than all of what a network
may hold of folded arrays, are left to the program.
"""

from __future__ import annotations

import math

import numpy as np

from convkit.graph.bind import HEAVY, Bound
from convkit.graph.ir import Node, Weight
from convkit.graph.ops import OPS
from convkit.graph.passes.rewrite import Rewriting

#: Bytes of constants that folding may make for a network, beside those it has.
MOST_MADE = 1 << 28


def fold_constants(bound: Bound) -> Bound:
    """constant -> op -> y becomes a constant y."""
    made, left = Rewriting(bound), MOST_MADE
    for old in bound.graph.nodes:
        node = made.now(old)
        size = _bytes(node)
        constant = all(isinstance(value, Weight) for value in node.reads)
        if not constant or node.op in HEAVY or size > left:
            made.add(node)
            continue
        left -= size
        arrays = [None if v is None else made.weights[v.name] for v in node.inputs]
        results = OPS[node.op].reference(arrays, node.keywords)
        for value, array in zip(old.outputs, results, strict=False):
            made.replace(value, made.weight(value.name, array, value, "constant"))
    return made.done()


def _bytes(node: Node) -> int:
    return sum(math.prod(v.sizes) * np.dtype(v.dtype).itemsize for v in node.outputs)
