"""Net: the graph in the making, in convkit's layout; and the weights of the file that it takes.

Keras counts channels last, (n, h, w, c), and convkit second, (n, c, h, w): every tensor of four
axes is turned, all others stand as Keras has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.graph.ir import Graph, Node, Value, Weight
from convkit.graph.ops import OPS
from convkit.keras.layer import Layer
from convkit.weights.bounds import MOST_BYTES

Array = np.ndarray[Any, Any]
#: Keras' axis of an image -> convkit's.
IMAGE_AXES = (0, 2, 3, 1)
#: More nodes than this no network has.
MOST_NODES = 100_000
#: Zeros that stand in for a weight that the file lacks, while the other layers are read.
MOST_STAND_IN = 1 << 22


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a layer of Keras made.

    `image` is there where `value` is an image made flat in convkit's order: a dense layer then
    turns its matrix, all others ask `Net.plain` for Keras' order.
    """

    value: Value
    image: Value | None = None


class Net:
    """Nodes, weights and problems, gathered layer by layer."""

    def __init__(self, layers: Mapping[str, Mapping[str, Array]]) -> None:
        self.nodes: list[Node] = []
        self.weights: dict[str, Array] = {}
        self.problems: list[str] = []
        self._layers = layers
        self._names: set[str] = set()
        self._owned: dict[tuple[tuple[str, ...], str], Weight] = {}
        self._prefixes: dict[tuple[str, ...], str] = {}

    # Nodes

    def name(self, wanted: str) -> str:
        """A name that no other value has."""
        name, number = wanted, 2
        while name in self._names:
            name, number = f"{wanted}_{number}", number + 1
        self._names.add(name)
        return name

    def emit(self, op: str, name: str, inputs: Sequence[Value | None], **settings: Any) -> Value:
        """Add a node; its shape is found from what the inputs' sizes are."""
        if len(self.nodes) >= MOST_NODES:
            raise ValueError(f"more than {MOST_NODES} nodes: refused")
        name = self.name(name)
        read = list(inputs)
        while read and read[-1] is None:
            read.pop()
        frozen = tuple((key, value) for key, value in settings.items() if value is not None)
        node = Node(op, name, tuple(read), (Value(name, None, "float32"),), frozen)
        row = OPS[op]
        unknown = [None] * len(read)
        settled = node if row.settle is None else row.settle(node, unknown)
        made = OPS[settled.op].infer(settled.inputs, unknown, settled.keywords)
        shape, dtype = made[0]
        if math.prod(max(size, 1) for size in shape) * 8 > MOST_BYTES:
            raise ValueError(f"its output of shape {shape} is larger than any memory")
        value = Value(name, shape, dtype)
        self.nodes.append(node.but(outputs=(value,)))
        return value

    def plain(self, tensor: Tensor) -> Value:
        """The value with Keras' order of elements."""
        if tensor.image is None:
            return tensor.value
        name = tensor.value.name
        turned = self.emit("transpose", f"{name}.nhwc", (tensor.image,), perm=(0, 2, 3, 1))
        return self.emit("flatten", f"{name}.rows", (turned,), axis=1)

    def constant(self, name: str, array: Any) -> Weight:
        """An array that stands in the file's settings, not among its weights."""
        data = np.asarray(array, np.float32)
        weight = Weight(self.name(name), data.shape, "float32")
        self.weights[weight.name] = data
        return weight

    # Weights

    def weight(
        self,
        layer: Layer,
        role: str,
        shape: tuple[int, ...],
        order: Sequence[str],
        turn: Callable[[Array], Array] | None = None,
        kind: str = "weight",
        name: str | None = None,
        form: str = "",
    ) -> Weight:
        """A weight of the layer, which has this shape in the file.

        `order` names the layer's weights as Keras counts them; `turn` makes convkit's layout, of
        which `form` tells two apart where a layer is called in two ways. What is missing or has
        another shape is noted, so that one message lists all.
        """
        key = (layer.path, role + form)
        if key in self._owned:
            return self._owned[key]
        array = self.taken(layer, role, shape, order)
        turned = np.array(array if turn is None else turn(array), np.float32, order="C")
        wanted = f"{self.prefix(layer)}.{name or kind}"
        weight = Weight(self.name(wanted), turned.shape, "float32", role=kind)
        self._owned[key] = weight
        if not self.problems:
            self.weights[weight.name] = turned
        return weight

    def taken(self, layer: Layer, role: str, shape: tuple[int, ...], order: Sequence[str]) -> Array:
        """The array as it stands in the file; zeros where it is not what it must be."""
        array = self._find(layer, role, order)
        said = "/".join(layer.path)
        if array is None:
            self.problems.append(f"{said} has no {role}")
        elif array.shape != shape:
            self.problems.append(f"{said}: {role} has shape {array.shape}, expected {shape}")
            array = None
        elif array.dtype.kind != "f":
            self.problems.append(f"{said}: {role} is {array.dtype}, expected floats")
            array = None
        if array is not None:
            return array
        # Zeros stand in for it, so that what follows is looked at too.
        if math.prod(shape) > MOST_STAND_IN:
            raise ValueError("; ".join(self.problems))
        return np.zeros(shape, np.float32)

    def prefix(self, layer: Layer) -> str:
        """What the names of a layer's weights begin with: its name, unless another has it too."""
        if layer.path not in self._prefixes:
            taken = set(self._prefixes.values())
            free = layer.name not in taken
            self._prefixes[layer.path] = layer.name if free else "/".join(layer.path)
        return self._prefixes[layer.path]

    def _find(self, layer: Layer, role: str, order: Sequence[str]) -> Array | None:
        """By name, or by number where Keras 3 wrote it; inside a model of Keras 2 by both names."""
        names = [role, *(["kernel"] if role == "depthwise_kernel" else [])]
        found = self._layers.get("/".join(layer.path))
        if found:
            if role in order and all(key.isdigit() for key in found):
                return found.get(str(list(order).index(role)))
            return next((found[name] for name in names if name in found), None)
        outer = self._layers.get(layer.path[0], {}) if len(layer.path) > 1 else {}
        for start in range(1, len(layer.path)):
            inside = "/".join(layer.path[start:])
            for name in names:
                if f"{inside}/{name}" in outer:
                    return outer[f"{inside}/{name}"]
        # Bare names: the model has one layer with weights, and it is this one that asks for them.
        return next((outer[name] for name in names if name in outer), None)

    # The end

    def graph(
        self, name: str, inputs: Sequence[Value], outputs: Sequence[Value], free: bool
    ) -> Graph:
        """The graph; without shapes where the file leaves sizes free."""
        whole = Graph(name, tuple(inputs), tuple(self.nodes), tuple(outputs))
        graph = whole.but(whole.nodes)
        if not free:
            return graph

        def open_(value: Value) -> Value:
            return value if isinstance(value, Weight) else Value(value.name, None, value.dtype)

        nodes = tuple(
            node.but(
                inputs=tuple(None if v is None else open_(v) for v in node.inputs),
                outputs=tuple(map(open_, node.outputs)),
            )
            for node in graph.nodes
        )
        return Graph(name, tuple(map(open_, inputs)), nodes, tuple(map(open_, outputs)))
