"""Rows times a known matrix are a fully connected layer, and what is added to them its bias."""

from __future__ import annotations

from convkit.graph.bind import Bound
from convkit.graph.ir import Node
from convkit.graph.ops.row import optional
from convkit.graph.passes.rewrite import Rewriting


def linear_of_matmul(bound: Bound) -> Bound:
    """matmul (-> add) becomes linear."""
    made = Rewriting(bound)
    for old in bound.graph.nodes:
        node = made.now(old)
        if node.op == "matmul":
            x, w = node.inputs
            array = made.array(w)
            if array is not None and array.ndim == 2 and x is not None and len(x.sizes) == 2:
                weight = made.weight(f"{node.name}.weight", array.T, node.output, "weight")
                node = Node("linear", node.name, (x, weight), node.outputs)
        elif node.op == "add":
            node = _with_bias(made, node) or node
        made.add(node)
    return made.done()


def _with_bias(made: Rewriting, add: Node) -> Node | None:
    """The layer that adds this bias itself."""
    x, y = add.inputs
    for value, other in ((x, y), (y, x)):
        layer, bias = made.maker(value), made.array(other)
        if (
            value is not None
            and layer is not None
            and bias is not None
            and layer.op == "linear"
            and optional(layer.inputs, 2) is None
            and layer.keywords.get("activation") is None
            and made.read_once(value)
            and bias.shape in ((value.sizes[1],), (1, value.sizes[1]))
        ):
            made.drop(layer)
            added = made.weight(f"{add.name}.bias", bias.reshape(-1), add.output, "bias")
            return layer.but(
                inputs=(*layer.inputs[:2], added),
                outputs=add.outputs,
                activation=add.keywords.get("activation"),
            )
    return None
