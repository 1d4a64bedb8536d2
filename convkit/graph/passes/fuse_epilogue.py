"""Additions and activations are done in the store of the operator before them."""

from __future__ import annotations

from convkit.graph.bind import Bound
from convkit.graph.ir import Node, Value, Weight
from convkit.graph.ops.row import optional
from convkit.graph.passes.rewrite import Rewriting

#: Operators that apply an activation to what they store.
ACTIVATING = (
    "conv2d", "conv_transpose2d", "linear", "batch_norm", "add", "sub", "mul", "div", "maximum",
    "minimum", "prelu",
)  # fmt: skip


def fuse_residual(bound: Bound) -> Bound:
    """conv, x -> add becomes a conv that adds x."""
    made = Rewriting(bound)
    for old in bound.graph.nodes:
        node = made.now(old)
        taken = _adder(made, node) if node.op == "add" else None
        if taken is None:
            made.add(node)
            continue
        conv, other = taken
        made.drop(conv)
        bias = optional(conv.inputs, 2)
        made.add(
            conv.but(
                inputs=(*conv.inputs[:2], bias, other),
                outputs=node.outputs,
                activation=node.keywords.get("activation"),
            )
        )
    return made.done()


def _adder(made: Rewriting, add: Node) -> tuple[Node, Value] | None:
    """The convolution that can add the other operand: the later one where both can."""
    found = []
    x, y = add.inputs
    assert x is not None and y is not None
    for value, other in ((x, y), (y, x)):
        conv = made.maker(value)
        if (
            conv is not None
            and conv.op == "conv2d"
            and conv.keywords.get("activation") is None
            and optional(conv.inputs, 3) is None
            and made.read_once(value)
            and value is not other
            and value.shape == other.shape
            and not isinstance(other, Weight)
        ):
            found.append((made.nodes.index(conv), conv, other))
    return max(found, key=lambda each: each[0])[1:] if found else None


def fuse_activation(bound: Bound) -> Bound:
    """op -> activation becomes an op that activates what it stores."""
    made = Rewriting(bound)
    for old in bound.graph.nodes:
        node = made.now(old)
        source = made.maker(node.inputs[0])
        if (
            node.op == "activation"
            and source is not None
            and source.op in ACTIVATING
            and source.keywords.get("activation") is None
            and made.read_once(source.output)
        ):
            made.drop(source)
            made.add(source.but(outputs=node.outputs, activation=node.keywords["activation"]))
        else:
            made.add(node)
    return made.done()
