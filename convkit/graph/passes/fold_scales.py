"""Known numbers that channels of a convolution are multiplied by, or added, become part of it:
s (w x + b) = (s w) x + s b, computed in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit.graph.bind import Bound
from convkit.graph.ir import Node
from convkit.graph.ops.row import optional
from convkit.graph.passes.rewrite import Rewriting


def fold_scales(bound: Bound) -> Bound:
    """conv -> mul, div, add or sub of known numbers becomes conv with other weights."""
    made = Rewriting(bound)
    for old in bound.graph.nodes:
        node = made.now(old)
        found = _scaled(made, node) if node.op in ("mul", "div", "add", "sub") else None
        if found is None:
            made.add(node)
            continue
        conv, vector = found
        made.drop(conv)
        made.add(_folded(made, conv, node, vector))
    return made.done()


def _scaled(made: Rewriting, node: Node) -> tuple[Node, Any] | None:
    """The convolution and the numbers by channel (or one) that are to be folded into it."""
    x, y = node.inputs[:2]
    if made.array(x) is not None and node.op in ("mul", "add"):
        x, y = y, x
    conv, array = made.maker(x), made.array(y)
    if conv is None or array is None or x is None or conv.op != "conv2d":
        return None
    bias = optional(conv.inputs, 2)
    plain = conv.keywords.get("activation") is None and optional(conv.inputs, 3) is None
    owned = made.array(conv.inputs[1]) is not None
    owned = owned and (bias is None or made.array(bias) is not None)
    by_channel = (1,) * (4 - array.ndim) + array.shape
    fits = array.ndim <= 4 and by_channel in ((1, x.sizes[1], 1, 1), (1, 1, 1, 1))
    if not (plain and owned and fits and made.read_once(x)):
        return None
    return conv, np.broadcast_to(array.astype(np.float64).reshape(-1), (x.sizes[1],))


def _folded(made: Rewriting, conv: Node, node: Node, vector: Any) -> Node:
    weight, bias = made.array(conv.inputs[1]), made.array(optional(conv.inputs, 2))
    assert weight is not None
    scale, shift = np.ones_like(vector), np.zeros_like(vector)
    if node.op in ("mul", "div"):
        with np.errstate(all="ignore"):
            scale = vector if node.op == "mul" else 1 / vector
    else:
        shift = vector if node.op == "add" else -vector
    like = conv.output
    added = shift if bias is None else scale * bias.astype(np.float64) + shift
    inputs = (
        conv.inputs[0],
        made.weight(
            f"{node.name}({conv.name}.weight)", weight * scale[:, None, None, None], like, "weight"
        ),
        made.weight(f"{node.name}({conv.name}.bias)", added, like, "bias"),
    )
    return conv.but(inputs=inputs, outputs=node.outputs, activation=node.keywords.get("activation"))
