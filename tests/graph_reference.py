"""evaluate: a bound graph through the NumPy references of its operators, node by node."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from convkit.graph.bind import Bound, bind
from convkit.graph.known import names_read
from convkit.graph.ops import OPS


def evaluate(bound: Bound, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs for these inputs. Each node must make the shapes and dtypes it promised."""
    arrays = {**bound.weights, **inputs}
    for node in bound.graph.nodes:
        results = OPS[node.op].reference(
            [None if v is None else arrays[v.name] for v in node.inputs], node.keywords
        )
        for value, array in zip(node.outputs, results, strict=False):
            assert (value.shape, value.dtype) == (array.shape, str(array.dtype)), node
            arrays[value.name] = array
    return [arrays[value.name] for value in bound.graph.outputs]


def run(imported, *inputs: np.ndarray) -> list[np.ndarray]:
    """Bind what was imported for these inputs, then evaluate it."""
    graph, weights = imported.graph, imported.weights
    given = {value.name: a for value, a in zip(graph.inputs, inputs, strict=True)}
    known = {name: given[name] for name in names_read(graph)}
    bound = bind(graph, weights, {name: a.shape for name, a in given.items()}, known)
    return evaluate(bound, given)
