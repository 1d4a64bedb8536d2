"""Padding before a convolution becomes the convolution's own."""

from __future__ import annotations

from convkit.graph.bind import Bound
from convkit.graph.ir import Node
from convkit.graph.ops.convolution import conv2d_problem
from convkit.graph.passes.rewrite import Rewriting

#: Modes of pads -> padding modes of convolutions, which have them where they do not pad themselves.
MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def merge_pads(bound: Bound) -> Bound:
    """pad -> conv becomes conv with more padding."""
    made = Rewriting(bound)
    for old in bound.graph.nodes:
        node = made.now(old)
        pad = made.maker(node.inputs[0])
        merged = _merged(node, pad) if pad is not None and node.op == "conv2d" else None
        if merged is None or pad is None or not made.read_once(pad.output):
            made.add(node)
        else:
            made.drop(pad)
            made.add(merged)
    return made.done()


def _merged(conv: Node, pad: Node) -> Node | None:
    """The convolution that pads by itself, where it can."""
    if pad.op != "pad" or conv.keywords.get("padding_mode", "zeros") != "zeros":
        return None
    n, c, rows, columns = pad.keywords["pads"]
    top, bottom, left, right = conv2d_problem(conv.inputs, conv.keywords).padding
    mode = MODES[pad.keywords["mode"]]
    if any((*n, *c)) or min((*rows, *columns)) < 0:
        return None
    if pad.keywords["value"] != 0 if mode == "zeros" else any((top, bottom, left, right)):
        return None
    padding = ((rows[0] + top, rows[1] + bottom), (columns[0] + left, columns[1] + right))
    return conv.but(inputs=(pad.inputs[0], *conv.inputs[1:]), padding=padding, padding_mode=mode)
