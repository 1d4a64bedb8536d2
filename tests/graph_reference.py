"""A graph computed node by node by the definitions of its operators: what a program must give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from convkit.graph.bind import Bound
from convkit.graph.ops import OPS


def evaluate(bound: Bound, inputs: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
    """The outputs of a bound graph."""
    values = {**bound.weights, **inputs}
    for node in bound.graph.nodes:
        arrays = [None if v is None else values[v.name] for v in node.inputs]
        made = OPS[node.op].reference(arrays, node.keywords)
        for value, array in zip(node.outputs, made, strict=False):
            assert array.shape == value.sizes, f"{node.name}: {array.shape}, not {value.sizes}"
            assert str(array.dtype) == value.dtype, f"{node.name}: {array.dtype}"
            values[value.name] = array
    return tuple(values[v.name] for v in bound.graph.outputs)
