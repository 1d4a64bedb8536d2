"""OnnxNode: a node of the file as the translators see it, and what they add to the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convkit.graph.ir import Node, Value, Weight
from convkit.onnx.file import Array, Tensors, text
from convkit.weights.bounds import shown

#: AttributeProto's numbers of kinds -> the field of such a value, and its name in messages.
FLOAT, INT, STRING, TENSOR, FLOATS, INTS = 1, 2, 3, 4, 6, 7
KINDS = {FLOAT: "f", INT: "i", STRING: "s", TENSOR: "t", FLOATS: "floats", INTS: "ints"}
NAMES = {
    FLOAT: "a float", INT: "an integer", STRING: "a string", TENSOR: "a tensor",
    FLOATS: "floats", INTS: "integers",
}  # fmt: skip
#: More numbers than this are no kernel, pads or axes.
MOST_NUMBERS = 1 << 16
#: dtype of values whose dtype binding finds.
UNKNOWN = "?"


class Unsupported(ValueError):  # noqa: N818
    """What the file means is clear, but it is not in this library."""


class Content:
    """The graph in the making: values by name, arrays of weights, nodes."""

    def __init__(self, opset: int, tensors: Tensors) -> None:
        self.opset = opset
        self.tensors = tensors
        self.values: dict[str, Value] = {}
        self.weights: dict[str, Array] = {}
        self.nodes: list[Node] = []
        self._names: set[str] = set()

    def add_weight(self, name: str, array: Array, role: str = "constant") -> Weight:
        """A value that the model owns."""
        self.claim(name)
        weight = Weight(name, array.shape, str(array.dtype), role=role)
        self.values[name] = weight
        self.weights[name] = array
        return weight

    def add_value(self, name: str) -> Value:
        """A value that a node makes."""
        self.claim(name)
        value = Value(name, None, UNKNOWN)
        self.values[name] = value
        return value

    def claim(self, name: str) -> None:
        """Each value is made once."""
        if name in self.values:
            raise ValueError(f"value {shown(name)} is made twice")

    def free_value(self, name: str) -> str:
        """A name that no value has, for one that the file does not name."""
        return self._free(name, self.values)

    def node_name(self, name: str) -> str:
        """A name that no other node has."""
        name = self._free(name, self._names)
        self._names.add(name)
        return name

    @staticmethod
    def _free(name: str, taken: Any) -> str:
        if name not in taken:
            return name
        number = 2
        while f"{name}_{number}" in taken:
            number += 1
        return f"{name}_{number}"


class OnnxNode:
    """A node of the file.

    Every attribute must be read by its translator: one that it does not know would be ignored.
    """

    def __init__(self, content: Content, proto: Any, name: str) -> None:
        self.content = content
        self.opset = content.opset
        self.name = name
        self.op = text(proto.op_type, "operator")
        self.inputs = tuple(self._input(text(name, "input")) for name in proto.input)
        self.outputs = tuple(text(name, "output") for name in proto.output)
        self._attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            key = text(attribute.name, "attribute")
            if key in self._attributes:
                raise ValueError(f"attribute {shown(key)} stands twice")
            self._attributes[key] = attribute
        self._read: set[str] = set()

    def _input(self, name: str) -> Value | None:
        return self.content.values[name] if name else None

    # Attributes

    def has(self, key: str) -> bool:
        return key in self._attributes

    def unread(self) -> list[str]:
        """Attributes that no translator asked for."""
        return [key for key in self._attributes if key not in self._read]

    def ignore(self, *keys: str) -> None:
        """These attributes do not matter when a network is run."""
        self._read.update(keys)

    def _attribute(self, key: str, kind: int) -> Any:
        self._read.add(key)
        attribute = self._attributes.get(key)
        if attribute is None:
            return None
        if attribute.ref_attr_name:
            raise Unsupported(f"attribute {key} of a function")
        if attribute.type not in (kind, 0):
            raise ValueError(f"attribute {key} must be {NAMES[kind]}")
        return getattr(attribute, KINDS[kind])

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._attribute(key, INT)
        return int(self._default(key, default) if value is None else value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.integer(key, int(default))
        if value not in (0, 1):
            raise ValueError(f"attribute {key}={value} must be 0 or 1")
        return bool(value)

    def number(self, key: str, default: float | None = None) -> float:
        value = self._attribute(key, FLOAT)
        if value is None:
            return float(self._default(key, default))
        if not math.isfinite(value):
            raise ValueError(f"attribute {key}={value} must be finite")
        # The shortest decimal that is this float32: 0.1 and not 0.10000000149.
        return float(str(np.float32(value)))

    def word(self, key: str, default: str) -> str:
        value = self._attribute(key, STRING)
        return default if value is None else text(value, f"attribute {key}")

    def integers(self, key: str) -> tuple[int, ...] | None:
        value = self._attribute(key, INTS)
        if value is None:
            return None
        if len(value) > MOST_NUMBERS:
            raise ValueError(f"attribute {key} has {len(value)} numbers")
        return tuple(value)

    def numbers(self, key: str) -> tuple[float, ...] | None:
        value = self._attribute(key, FLOATS)
        if value is None:
            return None
        if len(value) > MOST_NUMBERS:
            raise ValueError(f"attribute {key} has {len(value)} numbers")
        return tuple(value)

    def tensor(self, key: str) -> Array | None:
        value = self._attribute(key, TENSOR)
        if value is None:
            return None
        return self.content.tensors.array(value, f"the tensor of attribute {key}")

    def _default(self, key: str, default: Any) -> Any:
        if default is None:
            raise ValueError(f"attribute {key} is missing")
        return default

    # Inputs

    def input(self, index: int) -> Value:
        """An input that must be there."""
        value = self.optional(index)
        if value is None:
            raise ValueError(f"input {index} is missing")
        return value

    def optional(self, index: int) -> Value | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def array(self, index: int) -> Array | None:
        """The array of an input that the file holds."""
        value = self.optional(index)
        return self.content.weights.get(value.name) if isinstance(value, Weight) else None

    def at_most(self, inputs: int, outputs: int = 1) -> None:
        """Refuse what the operator's definition does not name."""
        if len(self.inputs) > inputs:
            raise ValueError(f"{self.op} takes at most {inputs} inputs, got {len(self.inputs)}")
        if not 1 <= len(self.outputs) <= outputs:
            raise ValueError(f"{self.op} makes 1 to {outputs} outputs, got {len(self.outputs)}")

    # What is added to the graph

    def value(self, hint: str) -> Value:
        """A value between two nodes that stand for this one."""
        return self.content.add_value(self.content.free_value(f"{self.name}.{hint}"))

    def constant(self, array: Array, hint: str) -> Weight:
        """An array that the node holds as attributes."""
        array = np.asarray(array)
        array.flags.writeable = False
        return self.content.add_weight(self.content.free_value(f"{self.name}.{hint}"), array)

    def made(self, index: int = 0) -> Value:
        """The value of one of the node's outputs; a name is found for one that has none."""
        name = self.outputs[index] if index < len(self.outputs) else ""
        return self.content.add_value(name) if name else self.value(f"output_{index}")

    def wants(self, index: int) -> bool:
        """Whether anybody may read that output."""
        return index < len(self.outputs) and bool(self.outputs[index])

    def emit(
        self,
        op: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[Value] | None = None,
        **settings: Any,
    ) -> Value:
        """Add a node; its (first) output is the ONNX node's first unless given."""
        made = (self.made(),) if outputs is None else tuple(outputs)
        inputs = list(inputs)
        while inputs and inputs[-1] is None:
            inputs.pop()
        node = Node(
            op, self.content.node_name(self.name), tuple(inputs), made, tuple(settings.items())
        )
        self.content.nodes.append(node)
        return made[0]

    def step(self, op: str, inputs: Sequence[Value | None], **settings: Any) -> Value:
        """Add a node whose output another node of this translation reads."""
        return self.emit(op, inputs, (self.value(op),), **settings)
