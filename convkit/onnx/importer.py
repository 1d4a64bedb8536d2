"""from_onnx: an ONNX file -> Graph. Each node of the file becomes one of the graph, or a few."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from convkit.graph.bind import bind
from convkit.graph.ir import Graph, Node, Shape, Value, Weight
from convkit.graph.known import names_read
from convkit.onnx.file import Array, Tensors, dtype_of, read_model, text
from convkit.onnx.node import Content, OnnxNode, Unsupported
from convkit.onnx.operators import ROLES, TRANSLATORS, TURNING
from convkit.weights.bounds import MOST_BYTES, shown

OLDEST, NEWEST = 7, 28
#: A graph of more nodes is refused, so that no file takes minutes.
MOST_NODES = 100_000
#: Nodes that a message names for each operator that is missing.
MOST_NAMED = 200

#: What a file says of an input's sizes: numbers, names of free ones, None for those without.
Sizes = tuple[int | str | None, ...]


class Imported(NamedTuple):
    """What a file holds.

    `graph` is unbound where sizes are free: then the shapes of its values are None. `sizes` is what
    the file says of each input's shape; None where it does not even say how many axes there are.
    """

    graph: Graph
    weights: dict[str, Array]
    labels: tuple[str, ...] | None
    sizes: dict[str, Sizes | None]


def from_onnx(path: str | os.PathLike[str]) -> Imported:
    """Read an ONNX file.

    No code of it is run, and no file outside its folder is read.

    Raises
    ------
    ValueError
        The file is broken or lies; or it holds what is not supported, all of which is listed with
        the names of the nodes. Or the `onnx` package is not installed.
    OSError
        The file is absent or cannot be read.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path={path!r} must be a string or a path")
    file = Path(path)
    try:
        return _import(read_model(file), file)
    except (MemoryError, OverflowError, RecursionError) as error:
        raise ValueError(f"{file}: {type(error).__name__} while it was read") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: a name in it is not UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _import(model: Any, file: Path) -> Imported:
    proto = model.graph
    if len(proto.node) > MOST_NODES:
        raise ValueError(f"its graph has {len(proto.node)} nodes: at most {MOST_NODES}")
    content = Content(_opset(model), Tensors(file))
    missing: dict[str, list[str]] = {}
    if len(proto.sparse_initializer):
        missing["sparse initialisers"] = [
            text(sparse.values.name, "tensor") for sparse in proto.sparse_initializer
        ]
    _read_weights(content, proto)
    inputs, sizes = _read_inputs(content, proto)
    makers = {text(name, "output"): node for node in proto.node for name in node.output}
    for index, node in enumerate(proto.node):
        _read_node(content, node, index, makers, missing)
    if missing:
        parts = [
            f"{what} ({', '.join(names[:MOST_NAMED])}"
            + (f" and {len(names) - MOST_NAMED} more)" if len(names) > MOST_NAMED else ")")
            for what, names in missing.items()
        ]
        raise ValueError(f"not supported: {'; '.join(parts)}")
    outputs = []
    for output in proto.output:
        name = text(output.name, "output")
        if name not in content.values:
            raise ValueError(f"output {shown(name)} is made by no node, input or initialiser")
        outputs.append(content.values[name])
    if not outputs:
        raise ValueError("its graph has no output")
    name = text(proto.name, "graph") or file.stem
    whole = Graph(name, inputs, (), inputs).but(tuple(content.nodes), tuple(outputs))
    used = whole.weights
    weights = {name: array for name, array in content.weights.items() if name in used}
    return Imported(_with_shapes(whole, weights, sizes), weights, None, sizes)


def _opset(model: Any) -> int:
    """The version of ONNX's own operators."""
    versions = {
        text(row.domain, "domain"): row.version
        for row in model.opset_import
        if text(row.domain, "domain") in ("", "ai.onnx")
    }
    if not versions:
        raise ValueError("it does not say which opset its operators are of")
    version = int(next(iter(versions.values())))
    if len(set(versions.values())) > 1 or not OLDEST <= version <= NEWEST:
        raise ValueError(
            f"its operators are of opset {shown(version)}: expected {OLDEST} to {NEWEST}"
        )
    return version


def _roles(proto: Any) -> dict[str, str]:
    """What the values that layers read as weights are to them, by name."""
    roles: dict[str, str] = {}
    products: set[str] = set()
    initial = {text(tensor.name, "initialiser") for tensor in proto.initializer}
    known = set(initial)
    for node in proto.node:
        op = text(node.op_type, "operator")
        names = [text(name, "input") for name in node.input]
        for name, role in zip(names, ROLES.get(op, ()), strict=False):
            if role:
                roles.setdefault(name, role)
        if op in TURNING and names and names[0] in known:
            known.update(text(name, "output") for name in node.output)
        elif op == "MatMul" and not known.isdisjoint(names):
            products.update(text(name, "output") for name in node.output)
        elif op == "Add" and not products.isdisjoint(names):
            # A fully connected layer of rows of features; Gemm takes a single row.
            roles.update((name, "bias") for name in names if name in initial)
    for node in reversed(proto.node):
        # A filter that the graph turns before its layer reads it.
        if text(node.op_type, "operator") in TURNING and node.input and node.output:
            made, read = text(node.output[0], "output"), text(node.input[0], "input")
            if made in roles:
                roles.setdefault(read, roles[made])
    return roles


def _read_weights(content: Content, proto: Any) -> None:
    roles = _roles(proto)
    for tensor in proto.initializer:
        name = text(tensor.name, "initialiser")
        if not name:
            raise ValueError("an initialiser has no name")
        array = content.tensors.array(tensor, f"initialiser {shown(name)}")
        content.add_weight(name, array, roles.get(name, "constant"))


def _read_inputs(content: Content, proto: Any) -> tuple[tuple[Value, ...], dict[str, Sizes | None]]:
    """The inputs that no initialiser gives, and what the file says of their sizes."""
    found: list[Value] = []
    sizes: dict[str, Sizes | None] = {}
    for entry in proto.input:
        name = text(entry.name, "input")
        if isinstance(content.values.get(name), Weight):
            continue
        if not name:
            raise ValueError("an input has no name")
        if not entry.type.HasField("tensor_type"):
            raise ValueError(f"input {shown(name)} is no tensor")
        dtype = dtype_of(entry.type.tensor_type.elem_type, f"input {shown(name)}")
        sizes[name] = said = _sizes(entry.type.tensor_type, name)
        shape: Shape | None = None
        if said is not None and all(isinstance(size, int) for size in said):
            shape = tuple(size for size in said if isinstance(size, int))
        content.claim(name)
        value = Value(name, shape, dtype)
        content.values[name] = value
        found.append(value)
    return tuple(found), sizes


def _sizes(kind: Any, name: str) -> Sizes | None:
    if not kind.HasField("shape"):
        return None
    if len(kind.shape.dim) > 32:
        raise ValueError(f"input {shown(name)} has {len(kind.shape.dim)} axes: at most 32")
    sizes: list[int | str | None] = []
    for dim in kind.shape.dim:
        if dim.HasField("dim_value"):
            if not 0 <= dim.dim_value < MOST_BYTES:
                raise ValueError(f"input {shown(name)} has a size of {shown(dim.dim_value)}")
            sizes.append(int(dim.dim_value))
        else:
            sizes.append(text(dim.dim_param, f"input {shown(name)}: size") or None)
    return tuple(sizes)


def _read_node(
    content: Content, proto: Any, index: int, makers: dict[str, Any], missing: dict[str, list[str]]
) -> None:
    """Translate one node, or note what is missing for it."""
    op = text(proto.op_type, "operator")
    first = next((text(name, "output") for name in proto.output if name), "")
    name = text(proto.name, "node") or first or f"{op}_{index}"
    place = f"node {shown(name)} ({shown(op)})"
    for read in proto.input:
        if read and text(read, "input") not in content.values:
            later = (
                "is made by a node after it, or by itself" if read in makers else "nothing makes"
            )
            raise ValueError(f"{place} reads {shown(text(read, 'input'))}, which {later}")
    outputs = [text(output, "output") for output in proto.output if output]
    domain = text(proto.domain, "domain")
    translate = TRANSLATORS.get(op) if domain in ("", "ai.onnx") else None
    try:
        if translate is None:
            raise Unsupported(op if domain in ("", "ai.onnx") else f"{domain}.{op}")
        node = OnnxNode(content, proto, name)
        translate(node)
        unread = node.unread()
        if unread:
            raise Unsupported(f"{op} with attribute {', '.join(map(shown, unread))}")
    except Unsupported as error:
        missing.setdefault(str(error), []).append(name)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    for output in outputs:  # what follows is read too, so that one message lists all
        if output not in content.values:
            content.add_value(output)


def _with_shapes(graph: Graph, weights: dict[str, Array], sizes: dict[str, Sizes | None]) -> Graph:
    """The graph with the shapes that follow from its inputs', where the file says those.

    A lie about shapes ends here. Where the batch alone is free, it is taken as 1 for this; shapes
    then stand in no value, since they are not those of every call.
    """
    trial: dict[str, Shape] = {}
    for name, said in sizes.items():
        if said is None or any(not isinstance(size, int) for size in said[1:]):
            return graph
        trial[name] = tuple(size if isinstance(size, int) else 1 for size in said)
    if names_read(graph):
        return graph
    free = any(value.shape is None for value in graph.inputs)
    try:
        bound = bind(graph, weights, trial)
    except ValueError:
        if free:
            return graph
        raise
    if free:
        return graph
    known: dict[str, Value] = {
        name: Value(name, array.shape, str(array.dtype)) for name, array in bound.weights.items()
    }
    known.update((value.name, value) for value in bound.graph.values())

    def now(value: Value) -> Value:
        return value if isinstance(value, Weight) else known.get(value.name, value)

    nodes = tuple(
        Node(
            node.op,
            node.name,
            tuple(None if v is None else now(v) for v in node.inputs),
            tuple(now(v) for v in node.outputs),
            node.settings,
        )
        for node in graph.nodes
    )
    outputs = tuple(now(value) for value in graph.outputs)
    return Graph(graph.name, graph.inputs, (), graph.inputs).but(nodes, outputs)
