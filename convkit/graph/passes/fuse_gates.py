"""A value times a function of itself is one activation: x sigmoid(x) is silu(x)."""

from __future__ import annotations

import math

from convkit.epilogue import activation
from convkit.graph.bind import Bound
from convkit.graph.ir import Node
from convkit.graph.passes.rewrite import Rewriting

#: Activations -> the activation that is x times them.
GATES = {"sigmoid": "silu", "hardsigmoid": "hardswish"}


def fuse_gates(bound: Bound) -> Bound:
    """x -> sigmoid, then x times that, becomes silu; hardsigmoid becomes hardswish."""
    made = Rewriting(bound)
    for old in bound.graph.nodes:
        node = made.now(old)
        gate = _gate(made, node) if node.op == "mul" else None
        if gate is None:
            made.add(node)
            continue
        settings = (("activation", GATES[_kind(gate)]),)
        made.drop(gate)
        made.add(Node("activation", node.name, gate.inputs, node.outputs, settings))
    return made.done()


def _kind(node: Node) -> str:
    """The name of an activation that gates know; empty for others."""
    chosen = activation(node.keywords["activation"])
    for name in GATES:
        wanted = activation(name)
        near = math.isclose(chosen.a, wanted.a, rel_tol=1e-6)
        if chosen.kind == wanted.kind and near and chosen.b == wanted.b:
            return name
    return ""


def _gate(made: Rewriting, node: Node) -> Node | None:
    if node.keywords.get("activation") is not None:
        return None
    x, y = node.inputs
    for value, other in ((x, y), (y, x)):
        gate = made.maker(value)
        if (
            gate is not None
            and gate.op == "activation"
            and gate.inputs[0] == other
            and _kind(gate)
            and made.read_once(gate.output)
        ):
            return gate
    return None
