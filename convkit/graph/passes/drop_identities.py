"""Nodes that give out what they read: identities, flatten of a row, pads of nothing."""

from __future__ import annotations

from convkit.graph.bind import Bound
from convkit.graph.ir import Node
from convkit.graph.passes.rewrite import Rewriting

#: Operators whose result is their input wherever the shape stays the same.
SAME_IF_SAME_SHAPE = (
    "flatten", "reshape", "squeeze", "unsqueeze", "expand", "tile", "pad", "slice", "pad_channels",
)  # fmt: skip


def drop_identities(bound: Bound) -> Bound:
    """x -> identity -> y becomes x -> y."""
    made = Rewriting(bound)
    for old in bound.graph.nodes:
        node = made.now(old)
        source = node.inputs[0]
        if source is not None and _is_identity(node):
            made.replace(old.outputs[0], source)
        else:
            made.add(node)
    return made.done()


def _is_identity(node: Node) -> bool:
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    if len(node.outputs) > 1 or source.shape != result.shape or source.dtype != result.dtype:
        return False
    if node.op == "concat":
        return len(node.inputs) == 1
    if node.op == "transpose":
        return list(node.keywords["perm"]) == sorted(node.keywords["perm"])
    if node.op == "slice":
        return all(step > 0 for step in node.keywords.get("steps", (1,)))
    return node.op in ("identity", "cast") or node.op in SAME_IF_SAME_SHAPE
