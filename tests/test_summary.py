"""Model.summary and Model.freeze: what is counted, and what a caller is told who asks amiss."""

from __future__ import annotations

import copy
import json
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import convkit
from convkit import cli
from convkit.models.papers import paper


def shown(summary, *fields):
    return [tuple(getattr(row, field) for field in fields) for row in summary.rows]


def small():
    """A layer of each kind that a Builder writes, with counts that are easily checked by hand."""
    b = convkit.Builder((4, 12, 10), name="small")
    x = b.conv2d(b.input, 8, 3, padding=1, groups=2, bias=False, name="conv")
    x = b.batch_norm(x, activation="relu", name="norm")
    x = b.max_pool2d(x, 2, name="pool")
    x = b.conv_transpose2d(x, 6, 4, stride=2, padding=1, groups=2, name="up")
    x = b.affine(x, name="gain")
    return b.model(b.linear(b.flatten(x, name="flat"), 5, name="fc"))


def test_rows_of_a_small_network():
    s = small().summary()
    assert shown(s, "name", "kind", "output_shape", "activations", "params", "macs") == [
        ("input", "input", (1, 4, 12, 10), 480, 0, 0),
        ("conv", "conv2d", (1, 8, 12, 10), 960, 8 * 2 * 9, 960 * 2 * 9),
        ("norm", "batch_norm", (1, 8, 12, 10), 960, 16, 0),
        ("pool", "max_pool2d", (1, 8, 6, 5), 240, 0, 0),
        # Each of 240 pixels is multiplied by the 16 numbers of each of its group's 3 filters.
        ("up", "conv_transpose2d", (1, 6, 12, 10), 720, 8 * 3 * 16 + 6, 240 * 3 * 16),
        ("gain", "affine", (1, 6, 12, 10), 720, 12, 0),
        ("flat", "flatten", (1, 720), 720, 0, 0),
        ("fc", "linear", (1, 5), 5, 720 * 5 + 5, 720 * 5),
    ]
    assert s.params == 144 + 16 + 390 + 12 + 3605 == sum(row.params for row in s.rows)
    assert s.macs == 17_280 + 11_520 + 3_600 == sum(row.macs for row in s.rows)
    assert s.flops == 2 * s.macs == sum(row.flops for row in s.rows)
    assert (s.keras_params, s.trainable, s.non_trainable) == (s.params + 16, s.params, 16)
    assert (s.tensors, s.trainable_tensors) == (9, 9)
    assert sum(row.share for row in s.rows) == pytest.approx(1)
    assert s.rows[1].share == pytest.approx(17_280 / s.macs)


def test_params_are_the_sizes_of_the_arrays():
    model = small()
    arrays = model.state_dict()
    assert model.summary().params == sum(a.size for k, a in arrays.items() if "running" not in k)
    assert model.summary().keras_params == sum(a.size for a in arrays.values())


def test_a_batch_is_divided_out():
    one, many = small().summary(), small().summary((7, 4, 12, 10))
    assert (many.params, many.macs) == (one.params, one.macs)
    assert shown(many, "activations", "macs") == shown(one, "activations", "macs")
    assert many.rows[1].output_shape == (7, 8, 12, 10)


def test_another_size_of_image():
    model = convkit.models.build("resnet18")
    s = model.summary((1, 3, 448, 448))
    assert s.params == 11_689_512
    # Four times the pixels, but for the layer behind the pooling.
    assert s.macs - 512_000 == 4 * (1_814_073_344 - 512_000)


@pytest.mark.parametrize("name", convkit.models.names())
def test_totals_of_every_network(name):
    model = convkit.models.build(name)
    s = model.summary()
    assert s.params == sum(row.params for row in s.rows) == model.graph.parameters
    assert s.macs == sum(row.macs for row in s.rows) > 0
    assert not model._weights or name == "lenet5", "weights were drawn to be counted"


# Reference totals with the moving statistics.
KERAS = {"mobilenet_v1": 4_253_864, "mobilenet_v2": 3_538_984, "vgg16": 138_357_544}


@pytest.mark.parametrize("name", KERAS)
def test_keras_totals(name):
    s = convkit.models.build(name).summary()
    assert (s.keras_params, s.non_trainable) == (KERAS[name], KERAS[name] - s.params)


# ---- receptive fields ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "layer", "field"),
    [
        # Araujo et al. 2019, table 1; a fully connected layer sees the whole image.
        ("vgg16", "features.28", 196),
        ("vgg16", "features.30", 212),
        ("vgg16", "classifier.0", 224),
        ("resnet18", "layer4.1.add", 435),
        ("resnet34", "layer4.2.add", 899),
        # That paper's 483 is of strides at the end of a stage, torchvision's stand at its start.
        ("resnet50", "layer4.2.add", 427),
        ("mobilenet_v1", "conv_pw_13_bn", 315),
    ],
)
def test_receptive_fields_of_papers(network, layer, field):
    rows = {row.name: row for row in convkit.models.build(network).summary().rows}
    assert rows[layer].receptive_field == (field, field)


def seen(model, layer, place):
    """Rows and columns of the image that change a pixel of a value, by lighting each in turn."""
    _, c, h, w = model.graph.inputs[0].shape
    x = np.zeros((h * w, c, h, w), np.float32)
    x[range(h * w), :, np.repeat(range(h), w), np.tile(range(w), h)] = 1
    # Positive weights: nothing cancels.
    model.load({name: np.full_like(a, 0.1) for name, a in model.state_dict().items()})
    i, j = place
    y = model.compile(x.shape, precision="highest", outputs=[layer])(x)[:, :, i, j]
    rows, columns = np.nonzero((y > y.min(0) + 1e-6).any(1).reshape(h, w))
    return np.ptp(rows) + 1, np.ptp(columns) + 1


def fields():
    b = convkit.Builder((2, 26, 22), name="fields")
    x = b.conv2d(b.input, 3, (3, 2), dilation=(2, 1), name="dilated")
    yield "dilated", (8, 8)
    x = b.avg_pool2d(x, (2, 3), stride=2, name="pool")
    yield "pool", (5, 5)
    y = b.conv2d(x, 3, 3, padding=1, name="branch")
    x = b.concat([x, y], name="both")
    yield "both", (5, 5)
    y = b.upsample2d(x, 2, mode="bilinear", name="between")
    yield "between", (9, 9)
    x = b.conv_transpose2d(x, 2, (4, 3), stride=2, padding=1, name="up")
    yield "up", (10, 10)
    x = b.conv2d(x, 2, 3, padding=1, name="after")
    yield "after", (10, 10)
    yield b.model([b.linear(b.flatten(x), 2, name="fc"), y])


FIELDS = list(fields())


@pytest.mark.parametrize(("name", "place"), FIELDS[:-1])
def test_receptive_field_is_what_reaches_an_output(name, place):
    model = FIELDS[-1]
    rows = {row.name: row.receptive_field for row in model.summary().rows}
    found = seen(model, name, place)
    # Between two pixels that are spread, one may see less than the one beside it.
    nearby = [found, seen(model, name, tuple(i + 1 for i in place))]
    assert rows[name] == tuple(max(sizes) for sizes in zip(*nearby, strict=True))


def test_a_fully_connected_layer_behind_one_pixel_sees_what_that_saw():
    b = convkit.Builder((1, 7, 7))
    x = b.conv2d(b.max_pool2d(b.input, 2), 3, 3)  # the last row and column are dropped
    y = b.crop2d(b.conv2d(b.input, 1, 3), 2, 2, 1, 1)
    outputs = [b.linear(b.flatten(value), 2, name=name) for name, value in (("x", x), ("y", y))]
    rows = {row.name: row.receptive_field for row in b.model(outputs).summary().rows}
    assert (rows["x"], rows["y"]) == ((6, 6), (3, 3))


def test_no_image_no_field():
    b = convkit.Builder((7,))
    s = b.model(b.linear(b.input, 3)).summary()
    assert {row.receptive_field for row in s.rows} == {None}
    assert s.macs == 21


# ---- what printing shows -------------------------------------------------------------------------


def test_printed_table_has_rows_totals_and_the_rule():
    text = str(small().summary())
    lines = text.splitlines()
    assert lines[0] == "small: input 1x4x12x10"
    assert repr(small().summary()) == text
    assert any(line.split() == ["Layer", "Kind", "Output", "Numbers", "Params", "MACs", "FLOPs",
                                "Share", "Field"] for line in lines)  # fmt: skip
    conv = next(line for line in lines if line.startswith("conv "))
    assert conv.split()[1:] == ["conv2d", "1x8x12x10", "960", "144", "17,280", "34,560", "53.3",
                                "%", "3"]  # fmt: skip
    assert "4,167 params in 9 tensors; 4,183 with the moving statistics" in text
    assert "32,400 MACs, 64,800 FLOPs for one image" in text
    assert "FLOPs = 2 MACs" in text and "padding counted" in text
    assert max(map(len, lines)) <= 100
    assert not any(line != line.rstrip() for line in lines)


def test_html_escapes_names():
    b = convkit.Builder((1, 4, 4), name="<b>net</b>")
    s = b.model(b.conv2d(b.input, 1, 3, name="<script>")).summary()
    html = s._repr_html_()
    assert "&lt;script&gt;" in html and "<script>" not in html and "<b>" not in html
    assert html.count("<tr>") == 1 + len(s.rows)


def test_to_dict_is_json():
    s = small().summary((2, 4, 12, 10))
    made = s.to_dict()
    assert json.loads(json.dumps(made)) == made
    assert made["input_shapes"] == {"input": [2, 4, 12, 10]}
    assert (made["params"], made["macs"], made["keras_params"]) == (
        s.params, s.macs, s.keras_params,
    )  # fmt: skip
    assert made["rows"][1]["output_shape"] == [2, 8, 12, 10]
    assert "FLOPs = 2 MACs" in made["rule"]


# ---- networks of files ---------------------------------------------------------------------------


def onnx_model(tmp_path, nodes, weights, shapes, outputs=("y",)):
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, **kw) for op, ins, outs, kw in nodes],
        "net",
        [helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, v) for k, v in shapes.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return convkit.load(path)


def test_shared_turned_and_reshaped_weights_of_an_onnx_file(tmp_path):
    """A matrix that two layers share counts once; one that is transposed in the graph counts in
    the layer that multiplies by it; a product of two values belongs to no layer."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((40, 40)).astype("f"),
        "t": rng.standard_normal((3, 40)).astype("f"),
        "f": rng.standard_normal((2, 5, 1, 1)).astype("f"),
        "bias": np.zeros(3, np.float32),
        "mask": np.zeros((1, 1), np.float32),
        "row": rng.standard_normal((1, 3)).astype("f"),
        "large": np.array([1, 100, 100, 1], np.int64),
        "shape": np.array([2, 5, 1, 1], np.int64),
    }
    nodes = [
        ("MatMul", ["x", "w"], ["a"], {"name": "first"}),
        ("Relu", ["a"], ["r"], {"name": "relu"}),
        ("MatMul", ["r", "w"], ["b"], {"name": "second"}),
        ("Transpose", ["t"], ["turned"], {"perm": [1, 0], "name": "turn"}),
        ("MatMul", ["b", "turned"], ["product"], {"name": "third"}),
        ("Add", ["bias", "product"], ["c"], {"name": "added"}),
        ("Transpose", ["c"], ["d"], {"perm": [1, 0], "name": "flip"}),
        ("MatMul", ["c", "d"], ["e"], {"name": "attention"}),
        ("Add", ["e", "mask"], ["y"], {"name": "masked"}),
        ("Reshape", ["f", "shape"], ["g"], {"name": "shaped"}),
        ("Conv", ["image", "g"], ["z"], {"name": "conv"}),
        ("Gemm", ["x", "row"], ["u"], {"transA": 1, "name": "gemm"}),
        ("Shape", ["image"], ["sizes"], {"name": "shape"}),
        ("Mul", ["sizes", "large"], ["product_of_sizes"], {"name": "larger"}),
        ("Expand", ["mask", "product_of_sizes"], ["wide"], {"name": "expand"}),
        ("ReduceSum", ["wide"], ["zeros"], {"name": "sum"}),
        ("Add", ["x", "zeros"], ["v"], {"name": "spread"}),
    ]
    shapes = {"x": ["n", 40], "image": [1, 5, 3, 3]}
    model = onnx_model(tmp_path, nodes, weights, shapes, ("y", "z", "u", "v"))
    s = model.summary()
    rows = {row.name: row for row in s.rows}
    counts = {name: (row.params, row.macs) for name, row in rows.items()}
    assert {name: count for name, count in counts.items() if any(count)} == {
        "first": (1600, 1600), "second": (0, 1600), "third": (120, 120), "added": (3, 0),
        "conv": (10, 90), "gemm": (3, 120),
    }  # fmt: skip
    assert "turn" not in rows and "shaped" not in rows and counts["attention"] == (0, 0)
    assert s.params == 1736 and s.tensors == 5
    assert not {"expand", "sum"} & set(rows) and "spread" in rows
    assert s.input_shapes == {"x": (1, 40), "image": (1, 5, 3, 3)}
    assert model.summary({"x": (1, 40)}).macs == s.macs
    model.freeze(up_to="second")  # which shares its weight with the first
    assert model.summary().trainable == s.params
    model.freeze(up_to="third")
    assert model.summary().trainable == s.params - 1600
    assert not {row.name for row in model.summary().rows if row.trainable} & {"first", "second"}


def test_a_batch_of_several_inputs(tmp_path):
    nodes = [("MatMul", ["x", "w"], ["a"], {}), ("Conv", ["image", "f"], ["y"], {})]
    weights = {"w": np.zeros((4, 7), np.float32), "f": np.zeros((2, 5, 3, 3), np.float32)}
    shapes = {"x": ["n", 4], "image": ["n", 5, 8, 8]}
    model = onnx_model(tmp_path, nodes, weights, shapes, ("a", "y"))
    assert model.summary().macs == 28 + 36 * 90
    assert model.summary([(6, 4), (6, 5, 8, 8)]).macs == 28 + 36 * 90


def test_free_sizes_must_be_given(tmp_path):
    w = np.zeros((4, 3, 3, 3), np.float32)
    nodes = [("Conv", ["x", "w"], ["y"], {})]
    model = onnx_model(tmp_path, nodes, {"w": w}, {"x": ["n", 3, "height", 8]})
    with pytest.raises(ValueError, match=r"input_shape=None must be a shape: x of net has "):
        model.summary()
    assert model.summary((1, 3, 10, 8)).macs == 8 * 6 * 4 * 27


def test_saved_network_counts_the_same(tmp_path):
    model = small()
    model.save(tmp_path / "net.safetensors")
    assert convkit.load(tmp_path / "net.safetensors").summary().rows == model.summary().rows


def test_stored_networks(data):
    """The dequantised MobileNet v2 has 1,001 outputs and its batch norms folded."""
    s = convkit.load(data / "mobilenet_v2" / "mobilenet_v2_1.0_224.onnx").summary()
    assert (s.params, s.macs) == (3_489_097, 300_774_272 + 1280)
    face = convkit.load(data / "ultraface" / "version-RFB-320.onnx").summary()
    assert (face.params, face.keras_params) == (276_292, 281_100)


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "error", "said"),
    [
        ((1, 3, 12, 10), ValueError, "input has shape (1, 3, 12, 10): small needs (n, 4, 12, 10)"),
        ((4, 12, 10), ValueError, "input has shape (4, 12, 10): small needs (n, 4, 12, 10)"),
        ((1, 4, 12, 14), ValueError, "node fc: fc.weight has shape (5, 720)"),
        ((0, 4, 12, 10), ValueError, "input_shape=(0, 4, 12, 10) must hold sizes of at least 1"),
        (
            (1, 4, 12.5, 10),
            TypeError,
            "input_shape=(1, 4, 12.5, 10) must be a sequence of integers",
        ),
        (224, TypeError, "input_shape=224 must be a shape (n, c, h, w)"),
        ("1,4,12,10", TypeError, "input_shape='1,4,12,10' must be a shape (n, c, h, w)"),
        ([(1, 4, 12, 10)] * 2, ValueError, "must be 1 shapes: small takes input"),
        ({"x": (1, 4, 12, 10)}, ValueError, "input_shape names 'x': small takes input"),
    ],
    ids=str,
)
def test_wrong_shapes(shape, error, said):
    with pytest.raises(error) as caught:
        small().summary(shape)
    assert said in str(caught.value)


# ---- freezing ------------------------------------------------------------------------------------


def test_frozen_layers_are_not_trainable():
    model = small()
    model.freeze(names=["conv", "norm"])
    s = model.summary()
    assert (s.trainable, s.trainable_tensors, s.tensors) == (s.params - 160, 6, 9)
    assert s.non_trainable == 160 + 16
    assert [row.name for row in s.rows if row.trainable] == ["up", "gain", "fc"]
    assert [line.split()[0] for line in str(s).splitlines() if line.endswith("frozen")] == [
        "conv", "norm",
    ]  # fmt: skip
    model.freeze(names=["fc"])
    assert model.summary().trainable_tensors == 4
    model.unfreeze(["fc", "norm"])
    assert [row.name for row in model.summary().rows if row.trainable] == [
        "norm",
        "up",
        "gain",
        "fc",
    ]
    model.unfreeze()
    assert model.summary().trainable == s.params


def test_freezing_up_to_a_layer():
    model = small()
    model.freeze()
    assert model.summary().trainable == 0
    model.freeze(up_to="pool")  # the layers before it, and only them
    assert [row.name for row in model.summary().rows if row.trainable] == ["up", "gain", "fc"]
    model.freeze(up_to="conv")
    assert model.summary().trainable == model.summary().params


def test_a_part_means_all_its_layers():
    model = convkit.models.build("resnet18")
    model.freeze(names=["layer1", "conv1", "bn1"])
    kept = {row.name for row in model.summary().rows if row.params and not row.trainable}
    assert {name.split(".")[0] for name in kept} == {"layer1", "conv1", "bn1"}
    model.freeze(up_to="layer2")
    assert kept == {row.name for row in model.summary().rows if row.params and not row.trainable}


@pytest.mark.parametrize(
    "table", [{"block3_conv1": "features.6"}, {"vgg11": {"block3_conv1": "features.6"}}]
)
def test_names_of_another_framework(table, monkeypatch):
    monkeypatch.setattr(sys.modules["convkit.models.vgg"], "ALIASES", table, raising=False)
    model = convkit.models.build("vgg11")
    model.freeze(up_to="block3_conv1")
    assert model.summary().non_trainable == 1_792 + 73_856
    with pytest.raises(ValueError, match="did you mean block3_conv1"):
        model.freeze(up_to="block3_conv9")


def test_freezing_changes_no_answer_and_survives_copies():
    model = small()
    x = np.random.default_rng(0).standard_normal((2, 4, 12, 10), np.float32)
    before = model(x)
    model.freeze(up_to="fc")
    np.testing.assert_array_equal(model(x), before)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.summary().trainable == 3605


@pytest.mark.parametrize(
    ("keywords", "error", "said"),
    [
        ({"up_to": "con"}, ValueError, "up_to='con': small has no such layer: did you mean conv?"),
        ({"names": ["xyz"]}, ValueError, "names='xyz': small has no such layer"),
        ({"names": "conv"}, TypeError, "names='conv' must be a list of names"),
        ({"names": [3]}, TypeError, "names=3 must be the name of a layer"),
        ({"up_to": 3}, TypeError, "up_to=3 must be the name of a layer"),
        ({"up_to": "fc", "names": ["conv"]}, ValueError, "give one of them"),
    ],
    ids=str,
)
def test_wrong_layers_to_freeze(keywords, error, said):
    model = small()
    with pytest.raises(error) as caught:
        model.freeze(**keywords)
    assert said in str(caught.value)
    assert model.summary().trainable == model.summary().params


# ---- the command ---------------------------------------------------------------------------------


def test_command_of_a_name(capsys):
    assert cli.main(["summary", "lenet5_digits"]) == 0
    assert capsys.readouterr().out == f"{convkit.models.build('lenet5_digits').summary()}\n"


def test_command_of_a_file_in_json(tmp_path, capsys):
    model = small()
    path = tmp_path / "net.safetensors"
    model.save(path)
    assert cli.main(["summary", str(path), "--input", "2,4,12,10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == model.summary((2, 4, 12, 10)).to_dict()


def test_command_at_another_size(capsys):
    assert cli.main(["summary", "mobilenet_v2", "--input", "1,3,96,160", "--json"]) == 0
    expected = convkit.models.build("mobilenet_v2").summary((1, 3, 96, 160))
    assert json.loads(capsys.readouterr().out)["macs"] == expected.macs


MISTAKES = {
    "no such network": (["resnet9"], "'resnet9' is no network of convkit, and no file: did you"),
    "no such file": (["absent.onnx"], "absent.onnx"),
    "another kind of file": (["notes.txt"], "notes.txt"),
    "letters": (["resnet18", "--input", "1,3,x,y"], "--input 1,3,x,y must be sizes with commas"),
    "nothing": (["resnet18", "--input", ""], "--input  must be sizes with commas"),
    "channels": (["resnet18", "--input", "1,4,224,224"], "has shape (1, 4, 224, 224)"),
    "too many": (["resnet18", "--input", "1,3,9,9", "--input", "1,3,9,9"], "must be 1 shapes"),
    "no network": ([], "NAME|FILE"),
}


@pytest.mark.parametrize("arguments, said", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_of_a_user_are_one_line(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no network")
    assert cli.main(["summary", *arguments]) == 2
    found = capsys.readouterr()
    assert found.out == "" and found.err.count("\n") == 1
    assert said in found.err


def test_models_lists_counts_and_papers(capsys, monkeypatch):
    def draw(weight, seed):
        raise AssertionError(f"{weight.name} is drawn, to be counted only")

    monkeypatch.setattr("convkit.graph.model._random", draw)
    assert cli.main(["models"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["Network", "Input", "Params", "MACs", "Paper"]
    assert tuple(line.split()[0] for line in lines) == convkit.models.names()
    vgg = next(line for line in lines if line.startswith("vgg16 "))
    assert vgg.split()[1:] == [
        "3x224x224", "138,357,544", "15,470,264,320", "Simonyan", "and", "Zisserman", "2015",
    ]  # fmt: skip


@pytest.mark.parametrize("name", convkit.models.names())
def test_every_network_has_a_paper(name):
    assert re.search(r", .*[a-z].*", paper(name)), name
    assert re.search(r" (19|20)\d\d\b", paper(name)), name


# ---- docs/models.md ------------------------------------------------------------------------------

PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"
#: Name -> (source, input, parameters, with moving statistics, MACs, names of weights).
TABLE = {
    cells[0].strip("`"): cells[1:]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 7
    and re.fullmatch(r"`\w+`", cells[0])
}


@pytest.mark.parametrize("name", convkit.models.names())
def test_the_page_has_the_counts_of_every_network(name):
    assert name in TABLE, f"docs/models.md has no row of {name}"
    s = convkit.models.build(name).summary()
    ((_, *image),) = s.input_shapes.values()
    assert TABLE[name][:5] == [
        paper(name).split(",")[0],
        "x".join(map(str, image)),
        f"{s.params:,}",
        f"{s.keras_params:,}" if s.keras_params > s.params else "",
        f"{s.macs:,}",
    ]
