"""bind: a graph for the shapes of one call. Every shape becomes known, and what follows from
shapes and constants alone (the arithmetic that exporters write around Reshape and Resize) is
computed here, so that a program holds nothing but work on the network's arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.graph.ir import Graph, Node, Shape, Value, Weight
from convkit.graph.ops import OPS
from convkit.problem import MOST_BYTES

Array = np.ndarray[Any, Any]
#: Known arrays of floats beyond so many elements wait for the pass that folds constants.
SMALL = 1024
#: Operators that only rename their input's memory: a known array stays known through them.
VIEWS = ("identity", "reshape", "flatten", "squeeze", "unsqueeze")
#: Operators that take more memory than what they read and make: never computed ahead.
HEAVY = (
    "conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "max_unpool2d", "matmul", "gemm",
    "linear", "resize",
)  # fmt: skip
#: Bytes that shape arithmetic may take in all: what exporters write takes a few hundred.
MOST_FOLDED = 1 << 26


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
    folded = 0
    for node in graph.nodes:
        inputs = tuple(
            v if v is None or isinstance(v, Weight) else now[v.name] for v in node.inputs
        )
        node = node.but(inputs=inputs)
        values = [None if v is None else arrays.get(v.name) for v in inputs]
        try:
            settle = OPS[node.op].settle
            if settle is not None:
                node = settle(node, values)
                inputs = node.inputs
                values = [None if v is None else arrays.get(v.name) for v in inputs]
            made_all = OPS[node.op].infer(inputs, values, node.keywords)
            for shape, dtype in made_all:
                _check_size(shape, dtype)
        except (ValueError, TypeError) as error:
            asked = _other_sizes(graph, shapes)
            raise type(error)(f"node {node.name}: {error}{asked}") from None
        outputs = tuple(
            Value(value.name, shape, dtype)
            for value, (shape, dtype) in zip(node.outputs, made_all, strict=False)
        )
        if _folds(node, inputs, outputs, arrays):
            if node.op not in VIEWS:
                folded += sum(math.prod(v.sizes) * np.dtype(v.dtype).itemsize for v in outputs)
            if folded > MOST_FOLDED:
                raise ValueError(
                    f"node {node.name}: arithmetic on shapes and indices takes {folded} bytes, "
                    f"more than {MOST_FOLDED}: refused"
                )
            with np.errstate(all="ignore"):
                results = OPS[node.op].reference(values, node.keywords)
            for value, array in zip(outputs, results, strict=False):
                arrays[value.name] = np.asarray(array, order="C")
                now[value.name] = _constant(value)
            continue
        now.update((value.name, value) for value in outputs)
        nodes.append(Node(node.op, node.name, inputs, outputs, node.settings))
    inputs_now = tuple(now[v.name] for v in graph.inputs if v.name not in (known or {}))
    outputs_now = tuple(v if isinstance(v, Weight) else now[v.name] for v in graph.outputs)
    bound = Graph(graph.name, inputs_now, (), inputs_now).but(tuple(nodes), outputs_now)
    return Bound(bound, arrays)


def _check_size(shape: Shape, dtype: str) -> None:
    """Refuse what no memory could hold, before anything overflows."""
    if math.prod(max(size, 1) for size in shape) * np.dtype(dtype).itemsize > MOST_BYTES:
        raise ValueError(f"its output of shape {shape} would take more than {MOST_BYTES} bytes")


def _constant(value: Value) -> Weight:
    return Weight(value.name, value.shape, value.dtype)


def _other_sizes(graph: Graph, shapes: Mapping[str, Shape]) -> str:
    """What to say of an input of other sizes than the network was written for: it is the cause of
    what a node deep inside complains of."""
    for value in graph.inputs:
        shape = tuple(shapes[value.name])
        if value.shape is not None and shape[1:] != tuple(value.shape[1:]):
            sizes = "".join(f", {size}" for size in value.shape[1:])
            return f"; {value.name} has shape {shape}, and {graph.name} was built for (n{sizes})"
    return ""


def _folds(
    node: Node,
    inputs: tuple[Value | None, ...],
    outputs: tuple[Value, ...],
    arrays: Mapping[str, Array],
) -> bool:
    """Whether the node is computed now: a shape may hang on it, or nothing else could run it."""
    if node.op in HEAVY or any(v is not None and v.name not in arrays for v in inputs):
        return False
    return node.op in VIEWS or all(
        not value.dtype.startswith("float") or int(np.prod(value.sizes)) <= SMALL
        for value in outputs
    )
