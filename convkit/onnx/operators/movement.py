"""Shapes, constants, and what moves elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit.onnx.node import OnnxNode, Unsupported


def identity(node: OnnxNode) -> None:
    node.at_most(1)
    node.emit("identity", (node.input(0),))


def constant(node: OnnxNode) -> None:
    """An array that the file holds, like an initialiser."""
    node.at_most(0)
    for key in ("sparse_value", "value_string", "value_strings"):
        if node.has(key):
            raise Unsupported(f"Constant with {key}")
    held: list[Any] = [
        array
        for array in (
            node.tensor("value"),
            np.array(node.number("value_float"), np.float32) if node.has("value_float") else None,
            np.array(node.integer("value_int"), np.int64) if node.has("value_int") else None,
            _vector(node.numbers("value_floats"), np.float32),
            _vector(node.integers("value_ints"), np.int64),
        )
        if array is not None
    ]
    if len(held) != 1 or not node.wants(0):
        raise ValueError("a Constant must have one value and one output")
    node.content.add_weight(node.outputs[0], held[0])


def _vector(numbers: tuple[Any, ...] | None, dtype: Any) -> Any:
    return None if numbers is None else np.array(numbers, dtype)


def constant_of_shape(node: OnnxNode) -> None:
    node.at_most(1)
    value = node.tensor("value")
    if value is not None and value.size != 1:
        raise ValueError(f"attribute value has shape {value.shape}: expected one element")
    settings: dict[str, Any] = {"value": 0.0, "dtype": "float32"}
    if value is not None:
        settings = {"value": value.reshape(-1)[0].item(), "dtype": str(value.dtype)}
    node.emit("constant_of_shape", (node.input(0),), **settings)


def shape(node: OnnxNode) -> None:
    node.at_most(1)
    end: dict[str, Any] = {"end": node.integer("end")} if node.has("end") else {}
    node.emit("shape", (node.input(0),), start=node.integer("start", 0), **end)


def size(node: OnnxNode) -> None:
    node.at_most(1)
    node.emit("size", (node.input(0),))


def range_(node: OnnxNode) -> None:
    node.at_most(3)
    node.ignore("stash_type")
    node.emit("range", [node.input(index) for index in range(3)])


def reshape(node: OnnxNode) -> None:
    node.at_most(2)
    settings: dict[str, Any] = {"allowzero": True} if node.flag("allowzero") else {}
    node.emit("reshape", (node.input(0), node.input(1)), **settings)


def flatten(node: OnnxNode) -> None:
    node.at_most(1)
    node.emit("flatten", (node.input(0),), axis=node.integer("axis", 1))


def transpose(node: OnnxNode) -> None:
    node.at_most(1)
    perm = node.integers("perm")
    settings: dict[str, Any] = {} if perm is None else {"perm": perm}
    node.emit("transpose", (node.input(0),), **settings)


def squeeze(node: OnnxNode) -> None:
    _with_axes(node, "squeeze", needed=False)


def unsqueeze(node: OnnxNode) -> None:
    _with_axes(node, "unsqueeze", needed=True)


def _with_axes(node: OnnxNode, op: str, *, needed: bool) -> None:
    """Axes are an attribute before opset 13, then an input."""
    if node.opset >= 13:
        node.at_most(2)
        node.emit(op, (node.input(0), node.input(1) if needed else node.optional(1)))
        return
    node.at_most(1)
    axes = node.integers("axes")
    if axes is None and needed:
        raise ValueError("attribute axes is missing")
    settings: dict[str, Any] = {} if axes is None else {"axes": axes}
    node.emit(op, (node.input(0),), **settings)


def concat(node: OnnxNode) -> None:
    node.at_most(len(node.inputs))
    inputs = [node.input(index) for index in range(max(len(node.inputs), 1))]
    node.emit("concat", inputs, axis=node.integer("axis"))


def split(node: OnnxNode) -> None:
    outputs = len(node.outputs)
    node.at_most(2 if node.opset >= 13 else 1, max(outputs, 1))
    settings: dict[str, Any] = {"axis": node.integer("axis", 0)}
    sizes = node.integers("split") if node.opset < 13 else None
    if sizes is not None:
        settings["sizes"] = sizes
    if node.opset >= 18 and node.has("num_outputs") and node.integer("num_outputs") != outputs:
        raise ValueError(f"attribute num_outputs differs from the {outputs} outputs")
    made = [node.made(index) for index in range(outputs)]
    node.emit("split", (node.input(0), node.optional(1)), made, **settings)


def slice_(node: OnnxNode) -> None:
    if node.opset >= 10:
        node.at_most(5)
        inputs = [node.input(index) for index in range(3)]
        node.emit("slice", (*inputs, node.optional(3), node.optional(4)))
        return
    node.at_most(1)
    settings: dict[str, Any] = {}
    for key in ("starts", "ends", "axes"):
        numbers = node.integers(key)
        if numbers is not None:
            settings[key] = numbers
    node.emit("slice", (node.input(0),), **settings)


def gather(node: OnnxNode) -> None:
    node.at_most(2)
    node.emit("gather", (node.input(0), node.input(1)), axis=node.integer("axis", 0))


def pad(node: OnnxNode) -> None:
    mode = node.word("mode", "constant")
    if node.opset >= 11:
        node.at_most(4)
        inputs = (node.input(0), node.input(1), node.optional(2), node.optional(3))
        node.emit("pad", inputs, mode=mode)
        return
    node.at_most(1)
    pads = node.integers("pads")
    if pads is None:
        raise ValueError("attribute pads is missing")
    node.emit("pad", (node.input(0),), pads=pads, mode=mode, value=node.number("value", 0.0))


def expand(node: OnnxNode) -> None:
    node.at_most(2)
    node.emit("expand", (node.input(0), node.input(1)))


def tile(node: OnnxNode) -> None:
    node.at_most(2)
    node.emit("tile", (node.input(0), node.input(1)))


def depth_to_space(node: OnnxNode) -> None:
    node.at_most(1)
    mode = _depth_mode(node)
    node.emit("depth_to_space", (node.input(0),), block=node.integer("blocksize"), mode=mode)


def _depth_mode(node: OnnxNode) -> str:
    mode = node.word("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise ValueError(f"attribute mode={mode!r} must be DCR or CRD")
    return mode


def space_to_depth(node: OnnxNode) -> None:
    node.at_most(1)
    mode = _depth_mode(node)
    node.emit("space_to_depth", (node.input(0),), block=node.integer("blocksize"), mode=mode)


TRANSLATORS = {
    "Identity": identity,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Shape": shape,
    "Size": size,
    "Range": range_,
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Gather": gather,
    "Pad": pad,
    "Expand": expand,
    "Tile": tile,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
