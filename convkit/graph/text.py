"""Graphs as text: JSON that `read_graph` turns back into the same graph, and Graphviz's DOT."""

from __future__ import annotations

import json
from typing import Any

from convkit.graph.ir import Graph, Node, Shape, Value, Weight

#: Raised when a newer convkit writes what this one could not read.
FORMAT = 1


def graph_text(graph: Graph) -> str:
    """The graph in JSON, without the arrays of its weights."""
    return json.dumps(
        {
            "format": FORMAT,
            "name": graph.name,
            "weights": [{**_value(w), "role": w.role} for w in graph.weights.values()],
            "inputs": [_value(v) for v in graph.inputs],
            "nodes": [
                {
                    "op": node.op,
                    "name": node.name,
                    "inputs": [None if v is None else v.name for v in node.inputs],
                    "outputs": [_value(v) for v in node.outputs],
                    "settings": dict(node.settings),
                }
                for node in graph.nodes
            ],
            "outputs": [v.name for v in graph.outputs],
        },
        separators=(",", ":"),
    )


def read_graph(text: str) -> Graph:
    """The graph that `graph_text` wrote.

    Raises
    ------
    ValueError
        The text is of a newer format, or is no graph; the message says what is wrong with which
        part.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ValueError(f"the graph is no JSON: {error}") from None
    except RecursionError:
        raise ValueError("the graph is nested too deeply") from None
    found = _field(data, "the graph", "format", int)
    if found != FORMAT:
        raise ValueError(
            f"the graph is of format {found}, this convkit reads {FORMAT}: a newer convkit wrote it"
        )
    named: dict[str, Value] = {}

    def take(value: Value) -> Value:
        if value.name in named:
            raise ValueError(f"value {value.name!r} is made twice")
        named[value.name] = value
        return value

    def find(what: str, name: object) -> Value:
        if not isinstance(name, str) or name not in named:
            raise ValueError(f"{what} reads {name!r}, which nothing before it makes")
        return named[name]

    for each in _list(data, "the graph", "weights"):
        role = _field(each, "a weight", "role", str)
        value = _read_value(each, "a weight")
        take(Weight(value.name, value.shape, value.dtype, role=role))
    inputs = tuple(
        take(_read_value(each, "an input")) for each in _list(data, "the graph", "inputs")
    )
    nodes = []
    for each in _list(data, "the graph", "nodes"):
        name = _field(each, "a node", "name", str)
        what = f"node {name!r}"
        read = tuple(None if v is None else find(what, v) for v in _list(each, what, "inputs"))
        made = tuple(take(_read_value(v, what)) for v in _list(each, what, "outputs"))
        settings = _field(each, what, "settings", dict)
        nodes.append(
            Node(
                _operator(_field(each, what, "op", str), what), name, read, made,
                tuple((key, _frozen(value)) for key, value in settings.items()),
            )
        )  # fmt: skip
    outputs = tuple(find("the graph's outputs", v) for v in _list(data, "the graph", "outputs"))
    return Graph(_field(data, "the graph", "name", str), inputs, tuple(nodes), outputs)


def dot(graph: Graph) -> str:
    """The graph for Graphviz: a box a node, an arrow a value, weights left out."""
    lines = [f'digraph "{_quoted(graph.name)}" {{', "  node [shape=box, fontname=sans-serif];"]
    numbers: dict[Value, str] = {}
    for i, value in enumerate(graph.inputs):
        numbers[value] = f"input{i}"
        lines.append(f'  input{i} [label="{_quoted(value.name)}\\n{value}", shape=ellipse];')
    for i, node in enumerate(graph.nodes):
        label = f"{_quoted(node.name)}\\n{node.op}"
        lines.append(f'  node{i} [label="{label}"];')
        for value in node.reads:
            if not isinstance(value, Weight):
                lines.append(f'  {numbers[value]} -> node{i} [label="{value}"];')
        numbers.update((value, f"node{i}") for value in node.outputs)
    for i, value in enumerate(graph.outputs):
        lines.append(f'  output{i} [label="{_quoted(value.name)}", shape=ellipse];')
        if value in numbers:
            lines.append(f'  {numbers[value]} -> output{i} [label="{value}"];')
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _value(value: Value) -> dict[str, Any]:
    assert not value.block, "layouts belong to a compiled network"
    shape = None if value.shape is None else list(value.shape)
    return {"name": value.name, "shape": shape, "dtype": value.dtype}


def _read_value(data: Any, what: str) -> Value:
    name = _field(data, what, "name", str)
    what = f"{what} {name!r}"
    dtype = _field(data, what, "dtype", str)
    shape: Shape | None = None
    if data.get("shape") is not None:
        sizes = _list(data, what, "shape")
        if not all(type(size) is int and 0 <= size < 1 << 47 for size in sizes):
            raise ValueError(f"{what} has shape {sizes}: expected sizes")
        shape = tuple(sizes)
    return Value(name, shape, dtype)


def _operator(name: str, what: str) -> str:
    from convkit.graph.ops import OPS

    if name not in OPS:
        raise ValueError(f"{what} is a {name!r}, which this convkit does not know")
    return name


def _field(data: Any, what: str, key: str, kind: type) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{what} is a {type(data).__name__}, expected an object")
    value = data.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{what} has {key}={value!r}, expected a {kind.__name__}")
    return value


def _list(data: Any, what: str, key: str) -> list[Any]:
    found: list[Any] = _field(data, what, key, list)
    return found


def _frozen(value: Any) -> Any:
    """Lists as tuples, as settings hold them."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
