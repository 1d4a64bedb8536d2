"""ONNX files as networks: ONNX's own node tests, every opset's way of saying things, real files."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from graph_reference import evaluate

import convkit
from convkit.graph.bind import bind
from convkit.graph.known import names_read
from convkit.onnx import from_onnx

onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402
from onnx_models import expected, model, node_model, saved  # noqa: E402

FAMILIES = re.compile(
    r"^test_(basic_conv|conv_|conv1d|convtranspose|maxpool|averagepool|globalaveragepool|"
    r"globalmaxpool|maxunpool|batchnorm_|lrn|relu|leakyrelu|elu|selu|celu|sigmoid|tanh|"
    r"hardsigmoid|hardswish|prelu|clip|softmax_|logsoftmax_|add|mul|sub|div|pow|max_|min_|mean_|"
    r"sum_|abs|neg|sqrt|exp_|log_|erf|floor|ceil|round|sign|reciprocal|concat|flatten|gemm|"
    r"matmul_|constant_pad|edge_pad|reflect_pad|wrap_pad|reshape|transpose|identity|dropout_default|"
    r"reduce_|resize_|upsample|squeeze|unsqueeze|slice|split_|depthtospace|spacetodepth|"
    r"instancenorm|mish|gelu|softplus|softsign|thresholdedrelu|swish|gather_[0-9n]|expand|tile|"
    r"shape|size|range|constantofshape|cast_like|where|mod_|not_)"
)
#: What the list of supported operators leaves out.
LEFT_OUT = re.compile(
    "_3d|training|int8|int16|int32|uint|bfloat16|float16|FLOAT8|INT4|string|sequence|optional|_opt_|"
    "expanded|_int64|pow_types|bool_inputs|empty_set_bool|where|not_|mod_|crop_and_resize"
)


@cache
def node_tests() -> dict[str, object]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {t.name: t for t in collect_testcases(None)}
    return {
        name: t
        for name, t in found.items()
        if FAMILIES.match(name)
        and not LEFT_OUT.search(name)
        and t.data_sets
        and t.model.graph.output[0].type.tensor_type.elem_type in (1, 7, 11)
    }


#: ONNX's expected numbers count a size of 2.4 as the length; those who export it count 2.
DISPUTED = (
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
)


@pytest.mark.parametrize("name", [n for n in node_tests() if n not in DISPUTED])
def test_node_of_onnx(name, tmp_path):
    """Through the definitions, and through the compiled program."""
    case = node_tests()[name]
    path = saved(case.model, tmp_path)
    imported, network = from_onnx(path), convkit.load(path)
    for inputs, outputs in case.data_sets:
        arrays = [np.asarray(array) for array in inputs]
        by_name = {v.name: a for v, a in zip(imported.graph.inputs, arrays, strict=True)}
        for found in (by_definition(imported, by_name), network(*arrays)):
            found = found if isinstance(found, tuple) else (found,)
            assert len(found) == len(outputs)
            for got, wanted in zip(found, outputs, strict=True):
                assert got.dtype == np.asarray(wanted).dtype
                np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-5)


def by_definition(imported, inputs):
    known = {name: inputs[name] for name in names_read(imported.graph)}
    shapes = {name: array.shape for name, array in inputs.items()}
    return evaluate(bind(imported.graph, imported.weights, shapes, known), inputs)


def agrees(proto, inputs, tmp_path, *, rtol=1e-4):
    """The model's answers are those of ONNX's reference; gives the model."""
    network = convkit.load(saved(proto, tmp_path))
    found = network(**inputs)
    found = found if isinstance(found, tuple) else (found,)
    for got, wanted in zip(found, expected(proto, inputs), strict=True):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=1e-5)
    return network


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X = floats(2, 3, 6, 8)
OLD = {
    "softmax_12_last": ("Softmax", 12, {"axis": -1}, {}),
    "softmax_13": ("Softmax", 13, {"axis": 1}, {}),
    "clip_6": ("Clip", 7, {"min": -0.5, "max": 0.25}, {}),
    "clip_6_min": ("Clip", 10, {"min": 0.0}, {}),
    "pad_2": ("Pad", 7, {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 1.5}, {}),
    "pad_2_reflect": ("Pad", 10, {"pads": [0, 0, 1, 2, 0, 0, 2, 0], "mode": "reflect"}, {}),
    "slice_1": ("Slice", 7, {"axes": [2, 1], "starts": [1, -2], "ends": [5, 1000]}, {}),
    "squeeze_1": ("Squeeze", 11, {"axes": [0, -2]}, {"x": floats(1, 3, 1, 4)}),
    "squeeze_1_all": ("Squeeze", 7, {}, {"x": floats(1, 3, 1, 4)}),
    "unsqueeze_1": ("Unsqueeze", 11, {"axes": [0, 5]}, {}),
    "reduce_mean_1": ("ReduceMean", 11, {"axes": [2, 3], "keepdims": 0}, {}),
    "reduce_sum_11": ("ReduceSum", 11, {"axes": [1]}, {}),
    "reduce_max_all": ("ReduceMax", 7, {}, {}),
    "flatten_9": ("Flatten", 9, {"axis": 2}, {}),
    "elu": ("Elu", 7, {"alpha": 0.5}, {}),
    "transpose": ("Transpose", 7, {}, {}),
    "global_max": ("GlobalMaxPool", 7, {}, {}),
    "global_avg_1d": ("GlobalAveragePool", 7, {}, {"x": floats(2, 3, 5)}),
    "lrn": ("LRN", 7, {"size": 4, "alpha": 0.1, "beta": 0.6, "bias": 1.5},
            {"x": floats(3, 3, 4, 2)}),
    "hardsigmoid": ("HardSigmoid", 7, {}, {}),
    "cast_same": ("Cast", 9, {"to": 1}, {}),
    "average_pool_7": (
        "AveragePool", 7, {"kernel_shape": [3, 2], "pads": [1, 0, 2, 1], "strides": [2, 1]}, {},
    ),
    "average_pool_count": (
        "AveragePool", 11,
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, {},
    ),
    "max_pool_lower": (
        "MaxPool", 10, {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}, {},
    ),
    "max_pool_1d": (
        "MaxPool", 10, {"kernel_shape": [3], "strides": [2], "ceil_mode": 1},
        {"x": floats(2, 3, 10)},
    ),
    "depth_to_space": ("DepthToSpace", 7, {"blocksize": 2}, {"x": floats(2, 8, 3, 2)}),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_old_opset(name, tmp_path):
    op, opset, attributes, inputs = OLD[name]
    inputs = inputs or {"x": X}
    agrees(node_model(op, inputs, opset=opset, **attributes), inputs, tmp_path)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [0, 1, 3, -1, None])
def test_softmax_was_over_all_axes_from_one_on(op, axis, tmp_path):
    attributes = {} if axis is None else {"axis": axis}
    for opset in (7, 11, 12):
        y = convkit.load(saved(node_model(op, {"x": X}, opset=opset, **attributes), tmp_path))(X)
        first = 1 if axis is None else axis % 4
        rows = X.reshape(int(np.prod(X.shape[:first])), -1).astype(np.float64)
        wanted = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
        wanted = np.log(wanted) if op == "LogSoftmax" else wanted
        np.testing.assert_allclose(y, wanted.reshape(X.shape), rtol=1e-5, atol=1e-6)


def test_old_split_and_upsample(tmp_path):
    proto = node_model("Split", {"x": X}, opset=11, outputs=2, axis=3, split=[3, 5])
    agrees(proto, {"x": X}, tmp_path)
    scales = [1.0, 1.0, 2.0, 1.5]
    for mode in ("nearest", "linear"):
        y = convkit.load(
            saved(node_model("Upsample", {"x": X}, opset=7, mode=mode, scales=scales), tmp_path)
        )(X)
        given = {"x": X, "scales": np.float32(scales)}
        newer = node_model("Upsample", given, opset=9, mode=mode, weights=("scales",))
        np.testing.assert_array_equal(convkit.load(saved(newer, tmp_path))(X), y)
        resized = node_model("Resize", given, opset=10, mode=mode, weights=("scales",))
        np.testing.assert_array_equal(convkit.load(saved(resized, tmp_path))(X), y)
        given = {"x": X, "roi": None, "scales": np.float32(scales)}
        latest = node_model(
            "Resize", given, opset=13, mode=mode, weights=("scales",), nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip
        agrees(latest, {"x": X}, tmp_path)
        np.testing.assert_array_equal(convkit.load(saved(latest, tmp_path))(X), y)


def test_dropout_masks(tmp_path):
    for opset, dtype in ((7, np.float32), (10, bool), (13, bool)):
        y, mask = convkit.load(
            saved(node_model("Dropout", {"x": X}, opset=opset, outputs=2), tmp_path)
        )(X)
        np.testing.assert_array_equal(y, X)
        assert mask.dtype == dtype and mask.shape == X.shape and mask.all()


CONVOLUTIONS = {
    "same_upper": ("Conv", (4, 3, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}, X),
    "same_lower": ("Conv", (4, 3, 4, 2), {"auto_pad": "SAME_LOWER", "strides": [3, 1]}, X),
    "valid": ("Conv", (4, 3, 3, 2), {"auto_pad": "VALID"}, X),
    "pads": ("Conv", (6, 1, 3, 3), {"pads": [1, 0, 2, 3], "group": 3, "dilations": [2, 1]}, X),
    "1d": ("Conv", (4, 3, 3), {"pads": [2, 0], "strides": [2]}, floats(2, 3, 9)),
    "1d_same": ("Conv", (4, 1, 4), {"auto_pad": "SAME_UPPER", "group": 3}, floats(2, 3, 9)),
    "transposed": (
        "ConvTranspose", (3, 2, 3, 3), {"strides": [2, 3], "pads": [1, 0, 0, 1]}, X,
    ),
    "transposed_group": (
        "ConvTranspose", (3, 2, 3, 2),
        {"strides": [2, 1], "group": 3, "output_padding": [1, 0], "dilations": [2, 3]}, X,
    ),
    "transposed_1d": (
        "ConvTranspose", (3, 2, 3), {"strides": [3], "output_padding": [2]}, floats(2, 3, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fixed", [("w", "b"), (), ("w",)], ids=["weights", "inputs", "bias input"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name, fixed, tmp_path):
    """Weights that the file holds, and weights that are inputs of the network."""
    op, shape, attributes, x = CONVOLUTIONS[name]
    if name == "1d_same":
        shape = (3, 1, 4)
    filters = shape[0] if op == "Conv" else shape[1] * attributes.get("group", 1)
    given = {"x": x, "w": floats(*shape, seed=1), "b": floats(filters, seed=2)}
    proto = node_model(op, given, opset=11, weights=fixed, **attributes)
    run = {n: a for n, a in given.items() if n not in fixed}
    if name != "transposed_group":  # which ONNX's own reference cannot do
        agrees(proto, run, tmp_path)
        return
    path = saved(proto, tmp_path)
    (wanted,) = by_definition(from_onnx(path), run)
    np.testing.assert_allclose(convkit.load(path)(**run), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fixed", [True, False])
def test_layers_of_weights_or_inputs(fixed, tmp_path):
    vectors = {k: floats(3, seed=i) for i, k in enumerate(("scale", "bias", "mean"))}
    given = {"x": X, **vectors, "var": np.abs(floats(3, seed=9)) + 0.5}
    weights = tuple(list(given)[1:]) if fixed else ()
    run = {n: a for n, a in given.items() if n not in weights}
    norm = [node_model("BatchNormalization", given, opset=o, weights=weights) for o in (7, 9, 15)]
    y = agrees(norm[2], run, tmp_path)(**run)
    for old in norm[:2]:
        np.testing.assert_array_equal(convkit.load(saved(old, tmp_path))(**run), y)
    given = {"x": X, "scale": vectors["scale"], "bias": vectors["bias"]}
    weights = ("scale", "bias") if fixed else ()
    run = {n: a for n, a in given.items() if n not in weights}
    agrees(node_model("InstanceNormalization", given, opset=7, weights=weights), run, tmp_path)
    given = {"x": floats(4, 5), "w": floats(5, 3, seed=1), "b": floats(1, 3, seed=2)}
    weights = ("w", "b") if fixed else ()
    run = {n: a for n, a in given.items() if n not in weights}
    agrees(node_model("Gemm", given, opset=11, weights=weights, alpha=0.5, beta=2.0), run, tmp_path)
    given = {"x": floats(5, 4), "w": floats(3, 5, seed=1), "b": floats(3, seed=2)}
    run = {n: a for n, a in given.items() if n not in weights}
    agrees(node_model("Gemm", given, opset=11, weights=weights, transA=1, transB=1), run, tmp_path)
    given = {"a": floats(2, 1, 4, 5), "b": floats(3, 5, 2, seed=1)}
    weights = ("b",) if fixed else ()
    run = {n: a for n, a in given.items() if n not in weights}
    agrees(node_model("MatMul", given, opset=9, weights=weights), run, tmp_path)


def small_network(**keywords):
    """Convolution, shape arithmetic as exporters write it, a layer; two outputs."""
    weights = {
        "w": floats(4, 3, 3, 3, seed=1), "b": floats(4, seed=2), "one": np.int64([1]),
        "zero": np.int64(0), "minus": np.int64([-1]), "fc": floats(10, 4 * 36, seed=3),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Shape", ["r"], ["s"], "shape"),
        helper.make_node("Gather", ["s", "zero"], ["n"], "gather"),
        helper.make_node("Unsqueeze", ["n"], ["n1"], "unsqueeze", axes=[0]),
        helper.make_node("Concat", ["n1", "minus"], ["size"], "concat", axis=0),
        helper.make_node("Reshape", ["r", "size"], ["f"], "reshape"),
        helper.make_node("Gemm", ["f", "fc"], ["y"], "fc", transB=1),
    ]
    given = {"x": floats(1, 3, 6, 6), **weights}
    return model(nodes, given, ["y", "r"], opset=11, weights=tuple(weights), **keywords)


def test_shape_arithmetic_leaves_no_steps(tmp_path):
    network = agrees(small_network(), {"x": floats(1, 3, 6, 6)}, tmp_path)
    assert {node.op for node in network.compile((5, 3, 6, 6)).graph.nodes} <= {
        "conv2d", "linear", "reshape", "flatten", "reorder",
    }  # fmt: skip
    assert [w.role for w in network.graph.weights.values() if w.trained] == [
        "weight", "bias", "weight",
    ]  # fmt: skip


def test_free_batch(tmp_path):
    proto = small_network(shapes={"x": ("batch", 3, 6, 6)})
    imported = from_onnx(saved(proto, tmp_path))
    assert imported.graph.inputs[0].shape is None
    assert imported.sizes == {"x": ("batch", 3, 6, 6)}
    for n in (1, 3):
        agrees(proto, {"x": floats(n, 3, 6, 6, seed=n)}, tmp_path)


def test_free_size(tmp_path):
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    proto = model([node], {"x": X}, ["y"], shapes={"x": (None, 3, "h", "w")})
    for shape in ((1, 3, 4, 5), (2, 3, 7, 1)):
        agrees(proto, {"x": floats(*shape)}, tmp_path)


def test_no_sizes_at_all(tmp_path):
    proto = small_network()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    imported = from_onnx(saved(proto, tmp_path))
    assert imported.sizes == {"x": None}
    agrees(proto, {"x": floats(2, 3, 6, 6)}, tmp_path)


def test_initialisers_listed_as_inputs(tmp_path):
    proto = small_network()
    for tensor in proto.graph.initializer:
        proto.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    network = agrees(proto, {"x": floats(1, 3, 6, 6)}, tmp_path)
    assert [value.name for value in network.graph.inputs] == ["x"]


def test_saved_copied_and_pickled(tmp_path):
    network = convkit.load(saved(small_network(), tmp_path))
    x = floats(2, 3, 6, 6)
    y = network(x)
    network.save(tmp_path / "net.safetensors")
    for other in (convkit.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(network))):
        for got, wanted in zip(other(x), y, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_shape_as_an_input_is_part_of_the_program(tmp_path):
    proto = node_model("Reshape", {"x": X, "shape": np.int64([2, -1])}, opset=13)
    network = convkit.load(saved(proto, tmp_path))
    for shape in ([2, -1], [-1, 6], [0, 0, -1]):
        np.testing.assert_array_equal(
            network(X, np.int64(shape)),
            X.reshape([X.shape[i] if s == 0 else s for i, s in enumerate(shape)]),
        )
    with pytest.raises(ValueError, match="the_Reshape.*does not fit the 288 elements"):
        network(X, np.int64([5, 7]))
    with pytest.raises(TypeError, match=r"shape has dtype int32: net needs int64, so pass"):
        network(X, np.int32([2, -1]))


def test_max_unpool_undoes_max_pool(tmp_path):
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p", "i"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("MaxUnpool", ["p", "i"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    proto = model(nodes, {"x": X}, ["y", "p", "i"])
    network = convkit.load(saved(proto, tmp_path))
    y, p, i = network(X)
    np.testing.assert_array_equal(y.reshape(-1)[i.reshape(-1)], p.reshape(-1))
    assert np.count_nonzero(y) == p.size
    columns = node_model(
        "MaxPool", {"x": X}, opset=12, outputs=2, kernel_shape=[3, 2], storage_order=1
    )
    _, i = convkit.load(saved(columns, tmp_path))(X)
    n, c, h, w = X.shape
    plane, at = np.divmod(i, h * w)
    np.testing.assert_array_equal(
        X[plane // c, plane % c, at % h, at // h],
        convkit.max_pool2d(X, (3, 2), stride=1),
    )


def test_all_that_is_missing_is_listed(tmp_path):
    nodes = [
        helper.make_node("NonMaxSuppression", ["x", "x"], ["a"], "nms1"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("NonMaxSuppression", ["b", "b"], ["c"], "nms2"),
        helper.make_node("Fused", ["c"], ["d"], "fused", domain="com.example"),
        helper.make_node("Relu", ["d"], ["e"], "relu", slope=1.0),
        helper.make_node("Conv", ["e", "w"], ["y"], "deep", kernel_shape=[1, 1, 1]),
    ]
    proto = model(nodes, {"x": X, "w": floats(1, 1, 1, 1, 1)}, ["y"], weights=("w",))
    with pytest.raises(ValueError) as caught:
        convkit.load(saved(proto, tmp_path))
    message = str(caught.value)
    assert str(tmp_path / "net.onnx") in message
    for part in (
        "NonMaxSuppression (nms1, nms2)", "com.example.Fused (fused)",
        "Relu with attribute 'slope' (relu)", "Conv over 3 axes (deep)",
    ):  # fmt: skip
        assert part in message


def test_arithmetic_of_integers_that_only_a_run_knows(tmp_path):
    given = {"x": np.int64([[1, 2]]), "y": np.int64([[3, 4]])}
    network = convkit.load(saved(node_model("Add", given, opset=13), tmp_path))
    with pytest.raises(ValueError, match="the_Add: add of int64 .* not supported unless"):
        network(**given)


def test_movement_of_integers(tmp_path):
    given = {"x": np.int64([[1, 2], [3, 4]])}
    agrees(node_model("Transpose", given, opset=13), given, tmp_path)
    agrees(node_model("Concat", given, opset=13, axis=0), given, tmp_path)
    agrees(node_model("Identity", given, opset=13), given, tmp_path)


def test_external_data(tmp_path):
    proto = small_network()
    raw = b""
    for tensor in proto.graph.initializer:
        data = numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "w.bin"), ("offset", len(raw)), ("length", len(data))):
            tensor.external_data.add(key=key, value=str(value))
        raw += data
    (tmp_path / "w.bin").write_bytes(raw)
    x = floats(1, 3, 6, 6)
    y = convkit.load(saved(proto, tmp_path))(x)
    for got, wanted in zip(y, expected(small_network(), {"x": x}), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_numbers_in_lists(tmp_path):
    """Tensors whose numbers do not stand as raw bytes."""
    proto = small_network()
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        listed = helper.make_tensor(tensor.name, tensor.data_type, array.shape, array.reshape(-1))
        tensor.CopyFrom(listed)
    agrees(proto, {"x": floats(1, 3, 6, 6)}, tmp_path)


def test_without_the_package(tmp_path, monkeypatch):
    path = saved(small_network(), tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ValueError, match=r"needs the onnx package: pip install 'convkit\[onnx\]'"):
        convkit.load(path)


# Real files

DATA = Path(os.environ.get("CONVKIT_DATA", "/nonexistent"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="CONVKIT_DATA names no folder of data")


@needs_data
def test_ultraface():
    from PIL import Image

    wanted = np.load(DATA / "ultraface/expected.npz")
    picture = Image.open(DATA / "photos/astronaut.png").convert("RGB")
    pixels = np.asarray(picture.resize((320, 240), Image.Resampling.BILINEAR), np.float32)
    x = np.ascontiguousarray(((pixels - 127) / 128).transpose(2, 0, 1)[None])
    path = DATA / "ultraface/version-RFB-320.onnx"
    imported = from_onnx(path)
    for scores, boxes in (convkit.load(path)(x), by_definition(imported, {"input": x})):
        np.testing.assert_allclose(scores, wanted["scores"], atol=1e-3)
        np.testing.assert_allclose(boxes, wanted["boxes"], atol=1e-3)


@needs_data
def test_mobilenet_v2():
    from PIL import Image

    wanted = np.load(DATA / "mobilenet_v2/expected.npz")["output"]
    file = sorted((DATA / "imagenet40").glob("*.JPEG"))[0]
    picture = Image.open(file).convert("RGB")
    w, h = picture.size
    cw, ch = int(w * 0.875), int(h * 0.875)
    left, top = (w - cw) // 2, (h - ch) // 2
    picture = picture.crop((left, top, left + cw, top + ch))
    pixels = np.asarray(picture.resize((224, 224), Image.Resampling.BILINEAR), np.float32)
    x = np.ascontiguousarray((pixels / 127.5 - 1).transpose(2, 0, 1)[None])
    y = convkit.load(DATA / "mobilenet_v2/mobilenet_v2_1.0_224.onnx")(x)
    np.testing.assert_allclose(y, wanted[:1], atol=1e-3)
