"""Values inside a network stand in blocks of channels (nchwc), as the kernels' vectors hold them.

Each node takes the layouts in which it, and the reorders that it needs before and after, cost
least; reorders stay at the edges, since what follows a value in blocks is cheapest in blocks too.
"""

from __future__ import annotations

import math

from convkit.graph.bind import Bound
from convkit.graph.choice import block_of, choose, reorder_seconds
from convkit.graph.ir import Graph, Node, Value, Weight
from convkit.graph.ops import OPS
from convkit.graph.ops.convolution import conv2d_problem
from convkit.graph.ops.row import optional
from convkit.select import Request


def choose_layout(bound: Bound, asked: Request) -> Bound:
    """The graph with every value in a layout, and reorders where that changes."""
    laid = _Layouts(bound, asked)
    for node in bound.graph.nodes:
        laid.add(node)
    outputs = tuple(laid.as_block(v, 0) for v in bound.graph.outputs)
    whole = Graph(bound.graph.name, bound.graph.inputs, (), bound.graph.inputs)
    return Bound(whole.but(tuple(laid.nodes), outputs), bound.weights)


class _Layouts:
    def __init__(self, bound: Bound, asked: Request) -> None:
        self.nodes: list[Node] = []
        self._bound, self._asked = bound, asked
        self._readers = bound.graph.readers()
        self._outputs = set(bound.graph.outputs)
        #: Of each value of the graph, its forms by block.
        self._forms: dict[Value, dict[int, Value]] = {v: {0: v} for v in bound.graph.inputs}

    def as_block(self, value: Value, block: int) -> Value:
        """The value in blocks, or in rows for 0; reordered where it is not there yet."""
        if isinstance(value, Weight):
            return value
        forms = self._forms[value]
        if block not in forms:
            source = next(iter(forms.values()))
            suffix = f"in_blocks_of_{block}" if block else "in_rows"
            made = Value(f"{value.name}:{suffix}", value.shape, value.dtype, block)
            self.nodes.append(Node("reorder", made.name, (source,), (made,)))
            forms[block] = made
        return forms[block]

    def add(self, node: Node) -> None:
        x_block, y_block = self._blocks(node)
        residual = 3 if node.op == "conv2d" else len(node.inputs)
        inputs = tuple(
            value if value is None else self.as_block(value, y_block if i == residual else x_block)
            for i, value in enumerate(node.inputs)
        )
        outputs = tuple(
            Value(v.name, v.shape, v.dtype, y_block if len(v.sizes) == 4 else 0)
            for v in node.outputs
        )
        for old, new in zip(node.outputs, outputs, strict=True):
            self._forms[old] = {new.block: new}
        self.nodes.append(node.but(inputs=inputs, outputs=outputs))

    def _blocks(self, node: Node) -> tuple[int, int]:
        """The blocks in which a node reads and writes; 0 for rows."""
        output = node.outputs[0]
        if output.dtype not in ("float32", "float64"):
            return 0, 0
        block = block_of(output.dtype)
        if node.op == "conv2d" and isinstance(node.inputs[1], Weight):
            options = [(0, 0), (0, block), (block, block), (block, 0)]
            return min(options, key=lambda each: self._seconds(node, *each))
        takes = OPS[node.op].blocks
        there = any(block in self._forms[v] for v in node.reads if not isinstance(v, Weight))
        if takes is None or not there or not takes(node, block):
            return 0, 0
        return block, block

    def _seconds(self, node: Node, x_block: int, y_block: int) -> float:
        problem = conv2d_problem(node.inputs, node.keywords).with_batch(1)
        w = node.inputs[1]
        assert w is not None
        chosen = choose(problem, x_block, y_block, self._asked, self._bound.weights[w.name])
        if chosen is None:
            return math.inf
        seconds = chosen.seconds
        x, residual = node.inputs[0], optional(node.inputs, 3)
        for value, block in ((x, x_block), (residual, y_block)):
            if value is not None and block not in self._forms[value]:
                seconds += reorder_seconds(_image_bytes(value))
        wanted = self._wanted(node.output)
        if y_block not in wanted:
            seconds += reorder_seconds(_image_bytes(node.output))
        return seconds

    def _wanted(self, value: Value) -> set[int]:
        """Blocks in which a value's readers can take it without a reorder."""
        block = block_of(value.dtype)
        wanted: set[int] = {0} if value in self._outputs else set()
        for reader in self._readers.get(value, ()):
            takes = OPS[reader.op].blocks
            if reader.op == "conv2d" or (takes is not None and takes(reader, block)):
                wanted |= {block}
            else:
                wanted |= {0}
        return wanted or {0}


def _image_bytes(value: Value) -> int:
    each = 8 if value.dtype == "float64" else 4
    return math.prod(value.sizes[1:]) * each
