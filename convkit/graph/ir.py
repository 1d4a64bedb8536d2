"""Graph: a network as a frozen list of nodes that read values and make values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Settings that a listing leaves out because they are what nearly every node has.
USUAL: dict[str, tuple[object, ...]] = {
    "stride": (1, None), "padding": (0,), "padding_mode": ("zeros",), "dilation": (1,),
    "groups": (1,), "activation": (None,), "ceil_mode": (False,),
    "count_include_pad": (True,), "eps": (1e-5,), "b": (1.0,), "axis": (1,),
}  # fmt: skip

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """An array: the graph's input, or what a node makes.

    Attributes
    ----------
    name : str
        Unique in its graph.
    shape : tuple of int, or None
        The batch included: a Builder writes networks for a batch of 1, and `bind` finds the shapes
        of any other. None where only binding can tell.
    dtype : str
    block : int
        0 for row-contiguous memory, else the channels that stand together (nchwc).
    """

    name: str
    shape: Shape | None
    dtype: str
    block: int = 0

    @property
    def sizes(self) -> Shape:
        """The shape of a value that is bound."""
        assert self.shape is not None, f"{self.name} is not bound"
        return self.shape

    def __str__(self) -> str:
        size = "?" if self.shape is None else "x".join(map(str, self.shape))
        return f"{size} in blocks of {self.block}" if self.block else size


@dataclass(frozen=True, slots=True)
class Weight(Value):
    """An array that the model owns. `role`: weight, bias, running_mean, constant, ..."""

    role: str = "constant"

    @property
    def trained(self) -> bool:
        """Whether training sets it, and so whether it counts as parameters."""
        return self.role in ("weight", "bias", "gain")


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: a row of OPS by its name, what it reads and makes, and its settings.

    `inputs` holds arrays and weights in the order that the row names; None where one is left out.
    """

    op: str
    name: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def output(self) -> Value:
        """What a node of one output makes."""
        (value,) = self.outputs
        return value

    @property
    def reads(self) -> tuple[Value, ...]:
        """The inputs that are there."""
        return tuple(value for value in self.inputs if value is not None)

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The inputs that the model owns."""
        return tuple(value for value in self.inputs if isinstance(value, Weight))

    @property
    def keywords(self) -> dict[str, Any]:
        """The settings by name."""
        return dict(self.settings)

    @property
    def parameters(self) -> int:
        """Numbers that training sets."""
        return sum(math.prod(weight.sizes) for weight in self.weights if weight.trained)

    def but(self, **changes: Any) -> Node:
        """The node with other inputs, outputs, op or name, or with other settings."""
        fields = {
            key: changes.pop(key, getattr(self, key)) for key in ("op", "name", "inputs", "outputs")
        }
        settings = tuple({**self.keywords, **changes}.items())
        return Node(**fields, settings=settings)


@dataclass(frozen=True, slots=True)
class Graph:
    """A network: inputs, nodes in an order in which they can run, outputs."""

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]

    def __post_init__(self) -> None:
        made: set[Value] = set(self.inputs)
        for node in self.nodes:
            missing = [v.name for v in node.reads if v not in made and not isinstance(v, Weight)]
            assert not missing, f"{node.name} reads {missing} before they are made"
            made.update(node.outputs)
        lost = [v.name for v in self.outputs if v not in made and not isinstance(v, Weight)]
        assert not lost, f"outputs {lost} are never made"

    @property
    def weights(self) -> dict[str, Weight]:
        """All weights by name, in the order of the nodes."""
        read = [weight for node in self.nodes for weight in node.weights]
        read += [value for value in self.outputs if isinstance(value, Weight)]
        return {weight.name: weight for weight in read}

    @property
    def parameters(self) -> int:
        """Numbers that training sets, in all; a weight that two nodes share counts once."""
        return sum(math.prod(w.sizes) for w in self.weights.values() if w.trained)

    def values(self) -> Iterator[Value]:
        """The inputs and what the nodes make, in order."""
        yield from self.inputs
        for node in self.nodes:
            yield from node.outputs

    def readers(self) -> dict[Value, list[Node]]:
        """For each value, the nodes that read it, once for each time they do."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.reads:
                found.setdefault(value, []).append(node)
        return found

    def but(self, nodes: tuple[Node, ...], outputs: tuple[Value, ...] | None = None) -> Graph:
        """The same inputs with other nodes, those that no output needs left out."""
        outputs = self.outputs if outputs is None else outputs
        needed: set[Value] = set(outputs)
        kept: list[Node] = []
        for node in reversed(nodes):
            if not needed.isdisjoint(node.outputs):
                needed.update(node.reads)
                kept.append(node)
        return Graph(self.name, self.inputs, tuple(reversed(kept)), outputs)

    def to_dot(self) -> str:
        """The graph for Graphviz (`dot -Tsvg`)."""
        from convkit.graph.text import dot

        return dot(self)

    def __str__(self) -> str:
        """A listing: a line for each node with what it reads, makes and owns."""
        heading = ", ".join(f"{value.name} {value} {value.dtype}" for value in self.inputs)
        rows = [
            (
                node.name,
                node.op,
                ", ".join(v.name for v in node.reads if not isinstance(v, Weight)),
                f"-> {', '.join(map(str, node.outputs))}",
                f"{node.parameters:,}" if node.parameters else "",
                " ".join(
                    f"{name}={value!r}"
                    for name, value in node.settings
                    if value not in USUAL.get(name, ())
                ),
            )
            for node in self.nodes
        ]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(5)]
        lines = [f"{self.name}: {heading}, {self.parameters:,} parameters"]
        for *cells, settings in rows:
            cells = [
                cell.rjust(width) if i == 4 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            lines.append("  ".join(["", *cells, settings]).rstrip())
        lines.append(f"  output: {', '.join(value.name for value in self.outputs)}")
        return "\n".join(lines)
