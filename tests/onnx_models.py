"""Small ONNX models made in tests."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def node_model(
    op: str,
    inputs: dict[str, np.ndarray | None],
    *,
    opset: int,
    outputs: int | list[str] = 1,
    weights: tuple[str, ...] = (),
    **attributes,
):
    """A model of one node; `weights` names the inputs that are initialisers."""
    names = [f"y{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
    node = helper.make_node(op, [n if a is not None else "" for n, a in inputs.items()], names,
                            name=f"the_{op}", **attributes)  # fmt: skip
    return model([node], inputs, [n for n in names if n], opset=opset, weights=weights)


def model(nodes, inputs, outputs, *, opset=17, weights=(), shapes=None, domains=()):
    """A model of these nodes; inputs by name, of which `weights` are initialisers."""
    given = {name: array for name, array in inputs.items() if array is not None}
    graph = helper.make_graph(
        nodes,
        "net",
        [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(array.dtype),
                (shapes or {}).get(name, array.shape),
            )
            for name, array in given.items()
            if name not in weights
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(given[name], name) for name in weights],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def saved(proto, folder: Path, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def expected(proto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What ONNX's own reference gives."""
    from onnx.reference import ReferenceEvaluator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ReferenceEvaluator(proto).run(None, inputs)
