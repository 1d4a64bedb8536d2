"""The mean of rows and columns is a pool, which reads images as they lie."""

from __future__ import annotations

from convkit.graph.bind import Bound
from convkit.graph.ir import Node, Value
from convkit.graph.passes.rewrite import Rewriting


def pool_of_means(bound: Bound) -> Bound:
    """reduce_mean over (2, 3) becomes global_avg_pool2d -> squeeze."""
    made = Rewriting(bound)
    for old in bound.graph.nodes:
        node = made.now(old)
        x = node.inputs[0] if node.inputs else None
        if (
            node.op == "reduce_mean"
            and node.keywords["axes"] == (2, 3)
            and x is not None
            and len(x.sizes) == 4
            and x.dtype.startswith("float")
            and 0 not in x.sizes[1:]
        ):
            pooled = Value(f"{node.output.name}:pooled", (*x.sizes[:2], 1, 1), x.dtype)
            made.add(Node("global_avg_pool2d", node.name, (x,), (pooled,)))
            squeeze = (("axes", (2, 3)),)
            node = Node("squeeze", f"{node.name}:squeezed", (pooled,), node.outputs, squeeze)
        made.add(node)
    return made.done()
