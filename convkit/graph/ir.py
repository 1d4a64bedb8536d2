"""Graph: a network as a frozen list of nodes. Shapes are of one image; the batch stands before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

#: Settings that a listing leaves out because they are what nearly every node has.
USUAL: dict[str, tuple[object, ...]] = {
    "stride": (1, None), "padding": (0,), "padding_mode": ("zeros",), "dilation": (1,),
    "groups": (1,), "bias": (True,), "activation": (None,), "ceil_mode": (False,),
    "count_include_pad": (True,), "eps": (1e-5,),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """An array that a node makes, or the input: its name, its shape for one image, its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return "x".join(map(str, self.shape))


@dataclass(frozen=True, slots=True)
class Weight:
    """An array that a node owns. `role` is the part behind the node's name: weight, bias, ..."""

    name: str
    role: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def trained(self) -> bool:
        """Whether training sets it, and so whether it counts as parameters."""
        return not self.role.startswith("running_")


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: a row of OPS by its name, what it reads, its weights and its settings."""

    op: str
    name: str
    inputs: tuple[Value, ...]
    output: Value
    weights: tuple[Weight, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def keywords(self) -> dict[str, Any]:
        """The settings by name."""
        return dict(self.settings)

    @property
    def parameters(self) -> int:
        """Numbers that training sets."""
        return sum(math.prod(weight.shape) for weight in self.weights if weight.trained)


@dataclass(frozen=True, slots=True)
class Graph:
    """A network: inputs, nodes in an order in which they can run, outputs."""

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]

    def __post_init__(self) -> None:
        made = set(self.inputs)
        for node in self.nodes:
            missing = [value.name for value in node.inputs if value not in made]
            assert not missing, f"{node.name} reads {missing} before they are made"
            made.add(node.output)
        assert made.issuperset(self.outputs), "an output is never made"

    @property
    def weights(self) -> dict[str, Weight]:
        """All weights by name, in the order of the nodes."""
        return {weight.name: weight for node in self.nodes for weight in node.weights}

    @property
    def parameters(self) -> int:
        """Numbers that training sets, in all."""
        return sum(node.parameters for node in self.nodes)

    def __str__(self) -> str:
        """A listing: a line for each node with what it reads, makes and owns."""
        heading = ", ".join(f"{value.name} {value} {value.dtype}" for value in self.inputs)
        rows = [
            (
                node.name,
                node.op,
                ", ".join(value.name for value in node.inputs),
                f"-> {node.output}",
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
