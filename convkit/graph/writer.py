"""Writer: the nodes of a network as they are written, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from convkit.graph.ir import Graph, Node, Shape, Value, Weight
from convkit.graph.model import Model
from convkit.graph.ops import OPS
from convkit.problem import DTYPES, integer, one_of


class Writer:
    """What `Builder`'s methods share."""

    def __init__(
        self, input_shape: Sequence[int], *, dtype: str = "float32", name: str = "network"
    ) -> None:
        if not isinstance(input_shape, (tuple, list)):
            raise TypeError(f"input_shape={input_shape!r} must be a tuple (c, h, w) or (c,)")
        if len(input_shape) not in (1, 3):
            raise ValueError(f"input_shape={tuple(input_shape)} must be (c, h, w) or (c,)")
        shape = tuple(integer("input_shape", size, least=1) for size in input_shape)
        self._name = name
        self._input = Value("input", (1, *shape), one_of("dtype", dtype, DTYPES))
        self._nodes: list[Node] = []
        self._values = {"input": self._input}
        self._known: dict[str, np.ndarray[Any, Any]] = {}
        self._fixed: dict[str, np.ndarray[Any, Any]] = {}  # weights that are not drawn

    @property
    def input(self) -> Value:
        """The network's input."""
        return self._input

    # The end

    def model(self, output: Value | Sequence[Value], *, seed: int = 0) -> Model:
        """The network that makes this value, or these; nodes they do not need are left out.

        `seed` is that of the random weights a model has until it loads others.
        """
        outputs = (output,) if isinstance(output, Value) else tuple(output)
        if not outputs:
            raise ValueError("output=() must be a value or several")
        for value in outputs:
            self._check(value)
        whole = Graph(self._name, (self._input,), tuple(self._nodes), outputs)
        graph = whole.but(whole.nodes)
        return Model(graph, self._fixed, seed=integer("seed", seed, least=0))

    def _add(
        self,
        op: str,
        name: str | None,
        inputs: Sequence[Value],
        weights: Mapping[str, Shape],
        **keywords: Any,
    ) -> Value:
        """Append a node of one output, with weights of its own named after their roles."""
        for value in inputs:
            self._check(value)
        name = self._free_name(op, name)
        dtype = inputs[0].dtype
        owned = tuple(
            Weight(f"{name}.{role}", shape, dtype, role=role) for role, shape in weights.items()
        )
        return self._append(op, name, (*inputs, *owned), keywords)[0]

    def _append(
        self,
        op: str,
        name: str,
        inputs: tuple[Value, ...],
        keywords: Mapping[str, Any],
        outputs: Sequence[str] = (),
    ) -> tuple[Value, ...]:
        """Check and append a node; lists in its settings become tuples.

        The first output has the node's name, those after it these names.
        """
        settings = tuple((key, _frozen(value)) for key, value in keywords.items())
        names = (name, *outputs)
        dtype = inputs[0].dtype if inputs else self._input.dtype
        node = Node(op, name, inputs, tuple(Value(n, None, dtype) for n in names), settings)
        known = [self._known.get(value.name) for value in inputs]
        settle = OPS[op].settle
        settled = node if settle is None else settle(node, known)
        known = [self._known.get(value.name) for value in settled.reads]
        made = OPS[settled.op].infer(settled.inputs, known, settled.keywords)
        values = tuple(Value(n, *shaped) for n, shaped in zip(names, made, strict=True))
        self._nodes.append(Node(op, name, inputs, values, settings))
        self._values.update(zip(names, values, strict=True))
        return values

    def _constant(self, name: str, array: np.ndarray[Any, Any]) -> Value:
        """Numbers that belong to the network's definition, and so are no weights."""
        values = tuple(array.reshape(-1).tolist())
        settings = (("values", values), ("shape", array.shape), ("dtype", str(array.dtype)))
        value = Value(name, array.shape, str(array.dtype))
        self._nodes.append(Node("constant", name, (), (value,), settings))
        self._known[name] = array
        self._values[name] = value
        return value

    def _free_name(self, op: str, name: str | None) -> str:
        if name is None:
            number = 1
            while f"{op}_{number}" in self._values:
                number += 1
            return f"{op}_{number}"
        if not isinstance(name, str) or not name:
            raise TypeError(f"name={name!r} must be a string that is not empty")
        if name in self._values:
            raise ValueError(f"name={name!r} is taken: expected one for each node")
        return name

    def _check(self, value: Value) -> None:
        if not isinstance(value, Value):
            raise TypeError(
                f"a {type(value).__name__} was given: expected a value, such as b.input or what "
                f"b.conv2d returns"
            )
        if self._values.get(value.name) is not value:
            raise ValueError(f"value {value.name!r} is not of this builder")


def _frozen(value: Any) -> Any:
    """Lists inside settings as tuples, so that a node cannot be changed from outside."""
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value
