"""Batch normalization after filters becomes part of the filters.

weight (w x + b - mean) / sqrt(var + eps) + bias = (s w) x + (s b + bias - s mean), with
s = weight / sqrt(var + eps), computed in float64.
"""

from __future__ import annotations

import numpy as np

from convkit.graph.bind import Bound
from convkit.graph.ir import Node, Value
from convkit.graph.ops.row import optional
from convkit.graph.passes.rewrite import Rewriting

#: Where the filters of an operator that has them count along this axis of its weights.
FILTER_AXIS = {"conv2d": 0, "linear": 0}


def fold_batch_norm(bound: Bound) -> Bound:
    """conv -> batch_norm becomes conv with other weights."""
    made = Rewriting(bound)
    for old in bound.graph.nodes:
        node = made.now(old)
        source = made.maker(node.inputs[0])
        if node.op == "batch_norm" and source is not None and _can_take(made, source, node):
            made.drop(source)
            made.add(_folded(made, source, node))
        else:
            made.add(node)
    return made.done()


def _can_take(made: Rewriting, source: Node, norm: Node) -> bool:
    """Whether all that stands between the sum and the norm is known, and nobody else reads it."""
    return (
        source.op in FILTER_AXIS
        and source.keywords.get("activation") is None
        and optional(source.inputs, 3) is None
        and made.read_once(source.output)
        and all(made.array(v) is not None for v in norm.inputs[1:5])
        and made.array(source.inputs[1]) is not None
        and (optional(source.inputs, 2) is None or made.array(source.inputs[2]) is not None)
    )


def _folded(made: Rewriting, source: Node, norm: Node) -> Node:
    weight, bias, mean, var = (
        np.asarray(made.array(value), np.float64) for value in norm.inputs[1:5]
    )
    scale = weight / np.sqrt(var + norm.keywords.get("eps", 1e-5))
    w = made.array(source.inputs[1])
    assert w is not None
    w_scale = scale.reshape((-1,) + (1,) * (w.ndim - 1))
    before = optional(source.inputs, 2)
    shift = bias - scale * mean
    if before is not None:
        shift = shift + scale * np.asarray(made.array(before), np.float64)
    like: Value = source.output
    inputs = (
        source.inputs[0],
        made.weight(f"{norm.name}({source.name}.weight)", w * w_scale, like, "weight"),
        made.weight(f"{norm.name}({source.name}.bias)", shift, like, "bias"),
    )
    return source.but(
        inputs=inputs, outputs=norm.outputs, activation=norm.keywords.get("activation")
    )
