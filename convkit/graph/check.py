"""check: what a network's program gives against its definition, or against ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from convkit.backends import Array
from convkit.graph.bind import Bound, bind
from convkit.graph.ir import Shape, Value
from convkit.graph.loading import load
from convkit.graph.model import Model
from convkit.graph.ops import OPS

#: The largest difference that rounding explains, as a share of the largest number of the array.
ROUNDING = 1e-4
#: The size that a free axis of an input is given.
FREE = 1


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome: what was compared with what, the largest difference, and the first node off.

    `error` is the largest difference over the largest number of an output; `node` is empty where
    the program is right.
    """

    network: str
    against: str
    inputs: tuple[str, ...]
    error: float
    node: str

    @property
    def right(self) -> bool:
        return self.error <= ROUNDING

    def __str__(self) -> str:
        head = f"{self.network} on {', '.join(self.inputs)}: "
        if self.right:
            return head + f"agrees with {self.against}, largest difference {self.error:.1e}"
        where = f"; the first node that differs is {self.node}" if self.node else ""
        return head + f"differs from {self.against} by {self.error:.1e}{where}"


def evaluate(bound: Bound, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every value of a bound graph, computed node by node by the operators' definitions."""
    values = {**bound.weights, **inputs}
    for node in bound.graph.nodes:
        arrays = [None if v is None else values[v.name] for v in node.inputs]
        made = OPS[node.op].reference(arrays, node.keywords)
        for value, array in zip(node.outputs, made, strict=False):
            assert array.shape == value.sizes, f"{node.name}: {array.shape}, not {value.sizes}"
            assert str(array.dtype) == value.dtype, f"{node.name}: {array.dtype}"
            values[value.name] = array
    return values


def check(path: str | os.PathLike[str]) -> Checked:
    """Run a network of a file on random numbers, and compare.

    An ONNX file is compared with ONNX Runtime where that is installed, anything else with the
    definitions of the operators in NumPy.

    Raises
    ------
    ValueError, OSError
        The file cannot be read, or its inputs cannot be made up.
    """
    model = load(path)
    inputs = {v.name: _drawn(v, model) for v in model.graph.inputs}
    named = tuple(f"{name} {array.shape}" for name, array in inputs.items())
    answers = model(*inputs.values())
    answers = answers if isinstance(answers, tuple) else (answers,)
    wanted, against = _by_onnxruntime(Path(path), inputs), "ONNX Runtime"
    shapes = {name: array.shape for name, array in inputs.items()}
    bound = bind(model.graph, model.state_dict(), shapes)
    if wanted is None:
        values, against = evaluate(bound, inputs), "the definitions"
        wanted = [values[v.name] for v in bound.graph.outputs]
    error = max(map(_difference, answers, wanted))
    node = "" if error <= ROUNDING else _first_off(model, bound, inputs)
    return Checked(model.graph.name, against, named, error, node)


def _drawn(value: Value, model: Model) -> Array:
    """Random numbers for an input; free sizes are 1, and images 224 x 224."""
    if value.dtype not in ("float32", "float64"):
        raise ValueError(
            f"input {value.name} of {model.graph.name} is {value.dtype}: only floats can be drawn"
        )
    shape = value.shape if value.shape is not None else _guessed(model, value)
    return np.random.default_rng(0).standard_normal(shape).astype(value.dtype)


def _guessed(model: Model, value: Value) -> Shape:
    sizes = model.sizes.get(value.name)
    if sizes is None:
        raise ValueError(f"input {value.name} of {model.graph.name} has no shape in the file")
    free = [i for i, size in enumerate(sizes) if not isinstance(size, int)]
    image = len(sizes) == 4
    return (
        tuple(
            size if isinstance(size, int) else 224 if image and i >= 2 else FREE
            for i, size in enumerate(sizes)
        )
        if free
        else tuple(int(size) for size in sizes if isinstance(size, int))
    )


def _by_onnxruntime(file: Path, inputs: Mapping[str, Array]) -> list[Array] | None:
    """The outputs by ONNX Runtime; None where it is not there or the file is none of its kind."""
    if file.suffix.lower() != ".onnx":
        return None
    try:
        onnxruntime = import_module("onnxruntime")
    except ImportError:
        return None
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(file), quiet, ["CPUExecutionProvider"])
    made: list[Array] = session.run(None, dict(inputs))
    return made


def _difference(got: Any, wanted: Any) -> float:
    """The largest difference, as a share of the largest number."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.shape != wanted.shape:
        return np.inf
    if got.size == 0 or np.array_equal(got, wanted, equal_nan=got.dtype.kind == "f"):
        return 0.0
    largest = float(np.abs(wanted).max()) or 1.0
    off = float(np.abs(got.astype(np.float64) - wanted).max()) / largest
    return off if np.isfinite(off) else np.inf


def _first_off(model: Model, bound: Bound, inputs: Mapping[str, Array]) -> str:
    """The first node whose own output is wrong for the inputs that the program gave it."""
    names = [v.name for node in bound.graph.nodes for v in node.outputs]
    made = model(*inputs.values(), outputs=names)
    arrays = made if isinstance(made, tuple) else (made,)
    values = {**bound.weights, **inputs, **dict(zip(names, arrays, strict=True))}
    for node in bound.graph.nodes:
        read = [None if v is None else values[v.name] for v in node.inputs]
        wanted = OPS[node.op].reference(read, node.keywords)
        for value, array in zip(node.outputs, wanted, strict=False):
            if _difference(values[value.name], array) > ROUNDING:
                return f"{node.name} ({node.op})"
    return ""
