"""bind: a graph for the shapes of one call. Every shape becomes known, and what follows from
shapes and constants alone (the arithmetic that exporters write around Reshape and Resize) is
computed here, so that a program holds nothing but work on the network's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.graph.ir import Graph, Node, Shape, Value, Weight
from convkit.graph.ops import OPS

Array = np.ndarray[Any, Any]
#: Known arrays of floats beyond so many elements wait for the pass that folds constants.
SMALL = 1024


@dataclass(frozen=True, slots=True)
class Bound:
    """A graph of which every shape is known, and the arrays of its weights by name."""

    graph: Graph
    weights: dict[str, Array]


def bind(
    graph: Graph,
    weights: Mapping[str, Array],
    shapes: Mapping[str, Shape],
    known: Mapping[str, Array] | None = None,
) -> Bound:
    """The graph for inputs of these shapes.

    Parameters
    ----------
    graph : Graph
    weights : name -> array
        Of all the graph's weights.
    shapes : name -> shape
        Of all inputs, the batch included.
    known : name -> array, optional
        Inputs that are part of what the program is made for: shapes, axes, sizes, indices.

    Raises
    ------
    ValueError
        A node does not take what it would get; the message names it.
    """
    arrays: dict[str, Array] = dict(weights)
    arrays.update(known or {})
    now: dict[str, Value] = {}
    for value in graph.inputs:
        made = Value(value.name, tuple(shapes[value.name]), value.dtype)
        now[value.name] = _constant(made) if value.name in arrays else made
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(
            v if v is None or isinstance(v, Weight) else now[v.name] for v in node.inputs
        )
        values = [None if v is None else arrays.get(v.name) for v in inputs]
        try:
            made_all = OPS[node.op].infer(inputs, values, node.keywords)
        except (ValueError, TypeError) as error:
            raise type(error)(f"node {node.name}: {error}") from None
        outputs = tuple(
            Value(value.name, shape, dtype)
            for value, (shape, dtype) in zip(node.outputs, made_all, strict=False)
        )
        if _folds(node, inputs, outputs, arrays):
            results = OPS[node.op].reference(values, node.keywords)
            for value, array in zip(outputs, results, strict=False):
                arrays[value.name] = np.ascontiguousarray(array)
                now[value.name] = _constant(value)
            continue
        now.update((value.name, value) for value in outputs)
        nodes.append(Node(node.op, node.name, inputs, outputs, node.settings))
    inputs_now = tuple(now[value.name] for value in graph.inputs)
    outputs_now = tuple(v if isinstance(v, Weight) else now[v.name] for v in graph.outputs)
    bound = Graph(graph.name, inputs_now, (), inputs_now).but(tuple(nodes), outputs_now)
    return Bound(bound, arrays)


def _constant(value: Value) -> Weight:
    return Weight(value.name, value.shape, value.dtype)


def _folds(
    node: Node,
    inputs: tuple[Value | None, ...],
    outputs: tuple[Value, ...],
    arrays: Mapping[str, Array],
) -> bool:
    """Whether the node is computed now: a shape may hang on it, or nothing else could run it."""
    if node.op == "shape":
        return True
    if any(v is not None and v.name not in arrays for v in inputs):
        return False
    return all(
        not value.dtype.startswith("float") or int(np.prod(value.sizes)) <= SMALL
        for value in outputs
    )
