"""Broken, hostile and lying ONNX files: each ends in a ValueError that names node or tensor, soon
and in little memory; no file outside the model's folder is read."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convkit.onnx import from_onnx

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_models import model, node_model, saved  # noqa: E402

X = np.ones((1, 2, 4, 4), np.float32)
W = np.ones((3, 2, 3, 3), np.float32)


def refused(path: Path, match: str, *, seconds: float = 5.0, megabytes: float = 40) -> str:
    began = time.thread_time()
    with pytest.raises(ValueError, match=match) as caught:
        from_onnx(path)
    assert time.thread_time() - began < seconds
    message = str(caught.value)
    assert str(path) in message and len(message) < 2000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match):
            from_onnx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * 1e6 + 3 * path.stat().st_size
    return message


def network(**attributes):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", **attributes),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    return model(nodes, {"x": X, "w": W}, ["y"], weights=("w",))


def changed(edit, **attributes):
    proto = network(**attributes)
    edit(proto)
    return proto


def set_dims(*dims):
    def edit(proto):
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)

    return edit


def set_input(*dims):
    def edit(proto):
        for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, dims, strict=True):
            dim.dim_value = size

    return edit


def constant_chain(op, count):
    """Each node doubles what it reads: 2^count numbers."""
    nodes = [helper.make_node("Shape", ["x"], ["v0"], "shape")]
    nodes += [
        helper.make_node(op, [f"v{i}", f"v{i}"], [f"v{i + 1}"], f"double{i}", axis=0)
        for i in range(count)
    ]
    return model(nodes, {"x": X}, [f"v{count}"])


def shape_of_constant(*sizes):
    given = {"shape": np.int64(sizes)}
    zero = helper.make_tensor("value", TensorProto.INT64, [1], [0])
    return node_model("ConstantOfShape", given, opset=13, weights=("shape",), value=zero)


def cycle():
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "second"),
    ]
    return model(nodes, {"x": X}, ["b"])


def many(op, inputs, **attributes):
    return lambda: node_model(op, inputs, opset=13, weights=tuple(inputs)[1:], **attributes)


HUGE = 2**62
LIES = {
    "weight too short": (lambda: changed(set_dims(3, 2, 3, 4)), "'w' of shape .* needs 288 bytes"),
    "weight too long": (lambda: changed(set_dims(3, 2, 3, 2)), "'w' .* but 216 are there"),
    "negative size": (lambda: changed(set_dims(-3, 2, 3, 3)), "initialiser 'w' has shape"),
    "size beyond memory": (lambda: changed(set_dims(HUGE, HUGE, 0)), "'w' has shape .* memory"),
    "too many axes": (lambda: changed(set_dims(*[1] * 40)), "initialiser 'w' has shape"),
    "other weights": (lambda: changed(set_dims(3, 18, 1, 1)), "node conv: w has 18 channels"),
    "input lies": (lambda: changed(set_input(1, 5, 4, 4)), "node conv: w has 2 channels per group"),
    "negative input": (lambda: changed(set_input(1, -5, 4, 4)), "input 'x' has a size of -5"),
    "input beyond memory": (
        lambda: changed(set_input(1, 2, 2**40, 2**40)), "node conv: .* can be addressed",
    ),
    "string weight": (
        lambda: changed(lambda p: setattr(p.graph.initializer[0], "data_type", 8)),
        "initialiser 'w' is string",
    ),
    "half weight": (
        lambda: changed(lambda p: setattr(p.graph.initializer[0], "data_type", 10)),
        "initialiser 'w' is float16",
    ),
    "no dtype": (
        lambda: changed(lambda p: setattr(p.graph.initializer[0], "data_type", 99)),
        "initialiser 'w' is of kind 99",
    ),
    "no weight": (
        lambda: changed(lambda p: p.graph.ClearField("initializer")),
        r"node 'conv' \('Conv'\) reads 'w', which nothing makes",
    ),
    "weight twice": (
        lambda: changed(lambda p: p.graph.initializer.append(p.graph.initializer[0])),
        "value 'w' is made twice",
    ),
    "made twice": (
        lambda: changed(lambda p: p.graph.node.append(p.graph.node[1])), "value 'y' is made twice",
    ),
    "no output": (lambda: changed(lambda p: p.graph.ClearField("output")), "has no output"),
    "lost output": (
        lambda: changed(lambda p: setattr(p.graph.output[0], "name", "z")), "output 'z' is made by",
    ),
    "wrong kind": (lambda: network(group="two"), "node 'conv' .*: attribute group must be an int"),
    "float pads": (lambda: network(pads=[0.5] * 4), "'conv'.*: attribute pads must be integers"),
    "few pads": (lambda: network(pads=[1, 1, 1]), "'conv'.*: attribute pads=.* must be 4 numbers"),
    "negative pads": (lambda: network(pads=[-1, 0, 0, 0]), "node conv: padding=-1"),
    "stride 0": (lambda: network(strides=[0, 1]), "node conv: stride=0"),
    "dilation beyond": (lambda: network(dilations=[2**40, 1]), "node conv: w has 3 rows"),
    "pads beyond": (lambda: network(pads=[2**62] * 4), "node conv: "),
    "group 0": (lambda: network(group=0), "node conv: groups=0"),
    "lying kernel": (lambda: network(kernel_shape=[5, 5]), "kernel_shape=.* differs from w"),
    "bad auto_pad": (lambda: network(auto_pad="SAME"), "auto_pad='SAME' must be one of"),
    "pads twice": (lambda: network(auto_pad="SAME_UPPER", pads=[1] * 4), "exclude each other"),
    "old opset": (lambda: changed(lambda p: setattr(p.opset_import[0], "version", 6)), "opset 6"),
    "new opset": (lambda: changed(lambda p: setattr(p.opset_import[0], "version", 99)), "set 99"),
    "no opset": (lambda: changed(lambda p: p.ClearField("opset_import")), "which opset"),
    "cycle": (cycle, r"node 'first' \('Add'\) reads 'b', which is made by a node after it"),
    "itself": (
        lambda: model([helper.make_node("Relu", ["y"], ["y"], "self")], {"x": X}, ["y"]),
        "node 'self' .* reads 'y', which is made by a node after it, or by itself",
    ),
    "doubling": (lambda: constant_chain("Concat", 40), "node double.*: arithmetic on shapes"),
    "constant beyond memory": (lambda: shape_of_constant(2**20, 2**20, 2**20), "node the_Const"),
    "negative constant": (lambda: shape_of_constant(-1), "sizes from 0"),
    "range without end": (
        lambda: node_model(
            "Range", {"a": np.int64(0), "b": np.int64(2**60), "c": np.int64(1)}, opset=13,
            weights=("a", "b", "c"),
        ), "node the_Range: range from 0 to .* has .* numbers",
    ),
    "reshape": (many("Reshape", {"x": X, "s": np.int64([5, 7])}), "does not fit the 32 elements"),
    "reshape to nothing": (many("Reshape", {"x": X, "s": np.int64([-1, -1])}), "one may be -1"),
    "expand beyond": (many("Expand", {"x": X, "s": np.int64([2**61, 1, 2, 4, 4])}), "more than"),
    "tile beyond": (many("Tile", {"x": X, "s": np.int64([2**61, 1, 1, 1])}), "more than"),
    "pad beyond": (many("Pad", {"x": X, "p": np.int64([0] * 7 + [2**61])}), "more than"),
    "gather beyond": (many("Gather", {"x": X, "i": np.int64([7])}, axis=1), "indices from 7 to 7"),
    "axis beyond": (many("Softmax", {"x": X}, axis=9), "axis=9 must be an axis of x"),
    "axes twice": (many("Squeeze", {"x": X, "a": np.int64([0, 0])}), "names an axis of x twice"),
    "split": (lambda: node_model("Split", {"x": X, "s": np.int64([1, 2])}, opset=13, outputs=2,
                                 weights=("s",)), "sizes .* but axis 0 of x is 1"),
    "resize to 0": (
        many("Resize", {"x": X, "roi": np.float32([]), "s": np.float32([1, 1, 0, 1])}), "scales=",
    ),
    "resize beyond": (
        many("Resize", {"x": X, "r": np.float32([]), "s": np.float32([]),
                        "z": np.int64([1, 2, 2**50, 2**40])}), "sizes=|more than",
    ),
    "nan": (lambda: node_model("Elu", {"x": X}, opset=13, alpha=float("nan")), "alpha=nan"),
    "pool": (lambda: node_model("MaxPool", {"x": X}, opset=13, kernel_shape=[9, 9]), "the_MaxPool"),
    "pool beyond": (
        lambda: node_model(
            "MaxPool", {"x": X}, opset=13, kernel_shape=[2**40] * 2, pads=[2**39] * 4
        ), "the_MaxPool",
    ),
    "no kernel": (lambda: node_model("MaxPool", {"x": X}, opset=13), "kernel_shape is missing"),
    "unpool": (
        lambda: node_model("MaxUnpool", {"x": X, "i": np.zeros((1, 2, 4, 3), np.int64)}, opset=13,
                           kernel_shape=[2, 2]), "needs int64 indices of shape",
    ),
    "matrices": (many("MatMul", {"x": X, "w": W}), "matmul cannot multiply x"),
    "dtypes": (many("Add", {"x": X, "w": np.ones(1)}), "one dtype"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_lie(name, tmp_path):
    make, match = LIES[name]
    refused(saved(make(), tmp_path), match, megabytes=150 if name == "doubling" else 40)


def test_no_model_at_all(tmp_path):
    for content in (
        b"",
        b"\x00" * 100,
        b"PK\x03\x04" + b"a" * 50,
        b"hello, network",
        b"\xff" * 999,
    ):
        path = tmp_path / "net.onnx"
        path.write_bytes(content)
        refused(path, "no ONNX file, or a broken one")
    with pytest.raises(OSError, match="absent"):
        from_onnx(tmp_path / "absent.onnx")
    with pytest.raises(OSError, match="no regular file"):
        from_onnx(tmp_path)
    with pytest.raises(TypeError, match="path=7 must be"):
        from_onnx(7)


def test_too_many_nodes(tmp_path):
    proto = network()
    node = helper.make_node("Relu", [], [])
    for _ in range(100_001):
        proto.graph.node.append(node)
    refused(saved(proto, tmp_path), "100003 nodes: at most", seconds=20, megabytes=400)


def external(folder, **entries):
    proto = network()
    tensor = proto.graph.initializer[0]
    (folder / "w.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return proto


def test_data_outside_the_file(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    whole = from_onnx(saved(external(folder), folder))
    np.testing.assert_array_equal(whole.weights["w"], W)
    secret = tmp_path / "secret"
    secret.write_bytes(W.tobytes())
    (folder / "link").symlink_to(secret)
    (folder / "inside").symlink_to(tmp_path)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    for location, match in {
        "../secret": "expected a file beside the model",
        str(secret): "expected a file beside the model",
        "folder/../../secret": "expected a file beside the model",
        "..\\secret": "expected a file beside the model",
        "": "expected a file beside the model",
        "link": "is a link: refused",
        "inside/secret": "is a link: refused",
        "folder": "no regular file",
        "pipe": "no regular file",
        "absent": "'w' is stored in 'absent'",
        "w.bin\0": "expected a file beside the model",
    }.items():
        refused(saved(external(folder, location=location), folder), match)
    for entries, match in (
        ({"offset": 1}, "needs bytes 1 to 217 of 'w.bin', which has 216"),
        ({"offset": "-1"}, "offset='-1'"),
        ({"offset": "9" * 30}, "offset="),
        ({"length": 7}, "needs 216 bytes, but says that 7 are stored"),
    ):
        refused(saved(external(folder, **entries), folder), match)


def test_tensors_that_share_bytes_take_no_more_than_the_file(tmp_path):
    proto = external(tmp_path)
    for i in range(50):
        tensor = proto.graph.initializer.add()
        tensor.CopyFrom(proto.graph.initializer[0])
        tensor.name = f"w{i}"
    refused(saved(proto, tmp_path), "'w0': the tensors stored outside overlap")


SMALL = network(pads=[1, 1, 1, 1]).SerializeToString()


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=6),
    st.integers(0, len(SMALL)),
    st.booleans(),
)
def test_any_byte_may_be_wrong(tmp_path, flips, cut, truncate):
    data = bytearray(SMALL)
    for place, value in flips:
        data[place] = value
    path = tmp_path / "net.onnx"
    path.write_bytes(data[:cut] if truncate else data)
    try:
        from_onnx(path)
    except ValueError as error:
        assert str(path) in str(error)


NUMBERS = st.sampled_from(
    [-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 64, 10**6, 2**31, 2**40, 2**62, 2**63 - 1]
)
SHAPES = {
    "Reshape": ("shape",), "Expand": ("shape",), "Tile": ("repeats",), "Pad": ("pads",),
    "Slice": ("starts", "ends", "axes", "steps"), "Squeeze": ("axes",), "Unsqueeze": ("axes",),
    "ReduceSum": ("axes",), "Split": ("split",), "Gather": ("indices",),
}  # fmt: skip


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(sorted(SHAPES)), st.data())
def test_any_number_may_be_wrong(tmp_path, op, data):
    given_arrays = {"x": X}
    for name in SHAPES[op]:
        numbers = data.draw(st.lists(NUMBERS, max_size=8))
        given_arrays[name] = np.array(numbers, np.int64)
    proto = node_model(op, given_arrays, opset=13, weights=tuple(given_arrays)[1:])
    if data.draw(st.booleans()):  # what is known is computed while the file is read
        proto.graph.initializer.append(numpy_helper.from_array(X, "x"))
        proto.graph.ClearField("input")
    path = saved(proto, tmp_path)
    tracemalloc.start()
    try:
        from_onnx(path)
    except ValueError as error:
        assert str(path) in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 300e6
