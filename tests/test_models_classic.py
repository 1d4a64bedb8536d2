"""The classic networks: LeNet to GoogLeNet and SqueezeNet. Counts, names, sizes, numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

import convkit
from convkit.models import lenet, vgg
from convkit.models.alexnet import response_norm

#: Parameters and multiply-adds of convolutions and linear layers.
COUNTS = {
    "lenet5": (60_000, 325_680),
    "lenet5_digits": (61_706, 416_520),
    "lenet_caffe": (431_080, 2_293_000),
    "keras_digits": (93_322, 2_794_240),
    "keras_cats_dogs": (3_453_121, 236_095_488),
    "alexnet": (61_100_840, 714_188_480),
    "alexnet_paper": (60_965_224, 724_406_816),
    "zfnet": (62_357_608, 1_168_032_896),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg11_lrn": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg16_c": (133_638_952, 11_770_888_192),
    "vgg19": (143_667_240, 19_632_062_464),
    "googlenet": (6_624_904, 1_498_376_192),
    "googlenet_paper": (6_998_552, 1_582_671_872),
    "squeezenet1_0": (1_248_424, 818_924_576),
    "squeezenet1_1": (1_235_496, 349_151_936),
}

#: The least side of an image, and the maps that are left of one of the network's own size.
SIZES = {
    "lenet5": (32, (16, 5, 5)),
    "lenet5_digits": (16, (16, 5, 5)),
    "lenet_caffe": (15, (50, 4, 4)),
    "keras_digits": (18, (64, 3, 3)),
    "keras_cats_dogs": (46, (128, 7, 7)),
    "alexnet": (63, (256, 6, 6)),
    "alexnet_paper": (67, (256, 6, 6)),
    "zfnet": (63, (256, 6, 6)),
    "vgg11": (32, (512, 7, 7)),
    "vgg11_lrn": (32, (512, 7, 7)),
    "vgg13": (32, (512, 7, 7)),
    "vgg16": (32, (512, 7, 7)),
    "vgg16_c": (32, (512, 7, 7)),
    "vgg19": (32, (512, 7, 7)),
    "googlenet": (31, (1024, 7, 7)),
    "googlenet_paper": (47, (1024, 7, 7)),
    "squeezenet1_0": (29, (512, 13, 13)),
    "squeezenet1_1": (25, (512, 13, 13)),
}


def macs(model):
    """Multiply-adds of one image: each filter once for each pixel it makes."""
    total = 0
    for node in model.graph.nodes:
        if node.op in ("conv2d", "linear"):
            weight = next(w for w in node.weights if w.role == "weight")
            total += math.prod(weight.sizes) * math.prod(node.output.sizes[2:])
    return total


def layers(model):
    """Name -> node."""
    return {node.name: node for node in model.graph.nodes}


def read_by(model, name):
    """What a node reads, weights apart."""
    node = layers(model)[name]
    return [value.name for value in node.reads if value not in node.weights]


def parameters(model):
    """Of each layer that has any, in order."""
    return [node.parameters for node in model.graph.nodes if node.parameters]


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    model = convkit.models.build(name)
    assert model.graph.name == name
    assert (model.graph.parameters, macs(model)) == COUNTS[name]


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    least, features = SIZES[name]
    model = convkit.models.build(name, include_top=False)
    assert model.graph.outputs[0].shape == (1, *features)
    outputs = 12
    model = convkit.models.build(name, input_size=(least, least + 41), num_classes=outputs)
    assert model.graph.inputs[0].sizes[2:] == (least, least + 41)
    assert model.graph.outputs[0].shape == (1, outputs)
    for wrong in (least - 1, (least + 9, least - 1)):
        with pytest.raises(ValueError, match=f"input_size={least - 1} must be at least {least}"):
            convkit.models.build(name, input_size=wrong)


@pytest.mark.parametrize("name", COUNTS)
def test_one_size_below_the_least_does_not_fit(name, monkeypatch):
    """The bound is no higher than the layers need."""
    module = __import__(convkit.models.MODELS[name].__module__, fromlist=["pair"])
    monkeypatch.setattr(module, "pair", lambda name, value, least: (value, value))
    with pytest.raises(ValueError, match="more than the"):
        convkit.models.build(name, input_size=SIZES[name][0] - 1)


@pytest.mark.parametrize(
    "name", ["lenet5", "keras_digits", "keras_cats_dogs", "alexnet_paper", "zfnet", "vgg11_lrn",
             "googlenet", "squeezenet1_0", "squeezenet1_1"],
)  # fmt: skip
def test_runs_on_random_weights(name):
    model = convkit.models.build(name, num_classes=7, input_size=SIZES[name][0] + 5, seed=3)
    _, *shape = model.graph.inputs[0].shape
    x = np.random.default_rng(0).standard_normal((2, *shape), dtype=np.float32)
    y = model(x)
    assert y.shape == (2, 7)
    assert np.isfinite(y).all() and y.std() > 1e-4
    np.testing.assert_allclose(model(x[1:]), y[1:], rtol=0, atol=1e-5 * abs(y).max())


@pytest.mark.parametrize(
    "name", ["alexnet", "alexnet_paper", "zfnet", "vgg11_lrn", "vgg16_c", "googlenet_paper",
             "squeezenet1_0", "squeezenet1_1"],
)  # fmt: skip
def test_every_layer_but_the_last_has_its_relu(name):
    """SqueezeNet's last layer is a convolution, which has one too."""
    nodes = [n for n in convkit.models.build(name).graph.nodes if n.parameters]
    *inner, last = [n.keywords["activation"] for n in nodes]
    assert set(inner) == {"relu"}
    assert last == ("relu" if name.startswith("squeezenet") else None)


# LeNet-5


def test_layers_of_lenet5():
    nodes = layers(convkit.models.build("lenet5"))
    counts = {}
    for name, node in nodes.items():
        layer = name.split(".")[0]
        counts[layer] = counts.get(layer, 0) + node.parameters
    assert {k: n for k, n in counts.items() if n} == {
        "c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164,
    }  # fmt: skip
    assert nodes["c3"].output.shape == (1, 16, 10, 10)
    assert nodes["c5"].output.shape == (1, 120, 1, 1)


def test_table_of_c3():
    rows = [row for rows in lenet.TABLE_C3.values() for row in rows]
    assert [set(row) for row in rows] == [
        {0, 1, 2}, {1, 2, 3}, {2, 3, 4}, {3, 4, 5}, {4, 5, 0}, {5, 0, 1},
        {0, 1, 2, 3}, {1, 2, 3, 4}, {2, 3, 4, 5}, {3, 4, 5, 0}, {4, 5, 0, 1}, {5, 0, 1, 2},
        {0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}, {0, 1, 2, 3, 4, 5},
    ]  # fmt: skip


def squashed(x):
    return 1.7159 * np.tanh(2 / 3 * x)


def convolved(x, w, b):
    """(c, h, w) with filters (k, c, r, s), valid."""
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (1, 2))
    return np.einsum("cpqrs,kcrs->kpq", windows, w) + b[:, None, None]


def test_lenet5_is_the_papers_formula():
    """In float64, from the paper's text: what stands in the table is summed map by map."""
    model = convkit.models.build("lenet5")
    rng = np.random.default_rng(4)
    drawn = {
        name: w if name == "rbf.codes" else w + 0.1 * rng.standard_normal(w.shape, np.float32)
        for name, w in model.state_dict().items()
    }
    model.load(drawn)
    w = {name: array.astype(np.float64) for name, array in drawn.items()}
    image = rng.standard_normal((1, 32, 32), np.float32)

    def subsampled(x, name):
        sums = x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
        return squashed(sums * w[f"{name}.gain"] + w[f"{name}.bias"])

    s2 = subsampled(
        squashed(convolved(image.astype(np.float64), w["c1.weight"], w["c1.bias"])), "s2"
    )
    c3 = []
    for count, rows in lenet.TABLE_C3.items():
        for i, row in enumerate(rows):
            weight, bias = w[f"c3.{count}.weight"][i : i + 1], w[f"c3.{count}.bias"][i : i + 1]
            c3.append(convolved(s2[list(row)], weight, bias)[0])
    s4 = subsampled(squashed(np.array(c3)), "s4")
    c5 = squashed(convolved(s4, w["c5.weight"], w["c5.bias"])).reshape(120)
    f6 = squashed(w["f6.weight"] @ c5 + w["f6.bias"])
    distances = ((f6 - w["rbf.codes"]) ** 2).sum(1)
    np.testing.assert_allclose(model(image[None])[0], distances, rtol=1e-5)


def test_codes_of_lenet5():
    codes = convkit.models.build("lenet5").state_dict()["rbf.codes"]
    assert codes.shape == (10, 84)
    assert set(np.unique(codes)) == {-1, 1}
    assert len(np.unique(codes, axis=0)) == 10
    # An 8 looks more like a 3 than like a 1.
    apart = (codes[:, None] != codes[None]).sum(2)
    assert apart[8, 3] < apart[8, 1]
    more = convkit.models.build("lenet5", num_classes=13).state_dict()["rbf.codes"]
    np.testing.assert_array_equal(more[:10], codes)
    assert len(np.unique(more, axis=0)) == 13
    with pytest.raises(ValueError, match="num_classes=0 must be at least 1"):
        convkit.models.build("lenet5", num_classes=0)


# The networks of Keras' introductions


def test_layers_of_keras_digits():
    model = convkit.models.build("keras_digits")
    nodes = layers(model)
    shapes = {name: node.output.sizes[1:] for name, node in nodes.items()}
    assert shapes == {
        "conv2d": (32, 26, 26), "max_pooling2d": (32, 13, 13), "conv2d_1": (64, 11, 11),
        "max_pooling2d_1": (64, 5, 5), "conv2d_2": (64, 3, 3), "flatten": (576,),
        "dense": (64,), "dense_1": (10,), "softmax": (10,),
    }  # fmt: skip
    assert parameters(model) == [320, 18_496, 36_928, 36_928, 650]
    assert model(np.ones((1, 1, 28, 28), np.float32)).sum() == pytest.approx(1)


def test_layers_of_keras_cats_dogs():
    model = convkit.models.build("keras_cats_dogs")
    assert parameters(model) == [896, 18_496, 73_856, 147_584, 3_211_776, 513]
    sides = [n.output.sizes[2] for n in model.graph.nodes if len(n.output.sizes) == 4]
    assert sides == [148, 74, 72, 36, 34, 17, 15, 7]
    assert layers(model)["dense_1"].keywords["activation"] == "sigmoid"


# AlexNet and ZFNet


def test_layers_of_alexnet_paper():
    model = convkit.models.build("alexnet_paper")
    nodes = layers(model)
    assert nodes["conv1"].parameters == 34_944
    neurons = [math.prod(n.output.sizes) for n in model.graph.nodes if n.op == "conv2d"]
    assert (neurons[0], sum(neurons)) == (290_400, 650_080)
    assert nodes["flatten"].output.shape == (1, 9_216)
    # Normalised, then pooled.
    assert read_by(model, "norm1") == ["conv1"] and read_by(model, "pool1") == ["norm1"]
    assert read_by(model, "norm2") == ["conv2"] and read_by(model, "pool2") == ["norm2"]


def test_alexnets_second_layer_on_one_gpu():
    b = convkit.Builder((96, 27, 27))
    model = b.model(b.conv2d(b.input, 256, 5, padding=2))
    assert model.graph.parameters == 614_656


def test_layers_of_zfnet():
    model = convkit.models.build("zfnet")
    names = ("conv1", "pool1", "conv2", "pool2", "pool5")
    sides = [layers(model)[name].output.sizes[2:] for name in names]
    assert sides == [(110, 110), (55, 55), (26, 26), (13, 13), (6, 6)]
    # Pooled, then normalised.
    assert read_by(model, "norm1") == ["pool1"] and read_by(model, "conv2") == ["norm1"]
    assert read_by(model, "norm2") == ["pool2"] and read_by(model, "conv3") == ["norm2"]


def test_response_norm_is_the_papers_formula():
    b = convkit.Builder((9, 2, 3))
    model = b.model(response_norm(b, b.input, "norm"))
    x = 40 * np.random.default_rng(1).standard_normal((1, 9, 2, 3), np.float32)
    expected = np.empty(x.shape)
    for i in range(9):
        around = x[:, max(i - 2, 0) : i + 3].astype(np.float64)
        expected[:, i] = x[:, i] / (2 + 1e-4 * (around**2).sum(1)) ** 0.75
    np.testing.assert_allclose(model(x), expected, rtol=1e-5)


# VGG


def test_layers_of_vgg16():
    model = convkit.models.build("vgg16")
    assert parameters(model) == [
        1_792, 36_928, 73_856, 147_584, 295_168, 590_080, 590_080, 1_180_160, *[2_359_808] * 5,
        102_764_544, 16_781_312, 4_097_000,
    ]  # fmt: skip
    pools = [n for n in model.graph.nodes if n.op == "max_pool2d"]
    assert pools[0].output.shape == (1, 64, 112, 112)
    assert not any(pool.parameters for pool in pools)


def test_vgg16_without_its_top():
    graph = convkit.models.build("vgg16", input_size=150, include_top=False).graph
    assert graph.outputs[0].shape == (1, 512, 4, 4)
    assert graph.parameters == 14_714_688
    # With a dense layer of 256 and one of 1 on top.
    assert graph.parameters + (8_192 * 256 + 256) + (256 + 1) == 16_812_353
    assert len(graph.weights) + 4 == 30


def test_vgg16_c_has_1x1_filters_third():
    graph = convkit.models.build("vgg16_c").graph
    small = [w.name for w in graph.weights.values() if w.sizes[2:] == (1, 1)]
    assert small == ["features.14.weight", "features.21.weight", "features.28.weight"]


def test_vgg11_lrn_normalises_once():
    model = convkit.models.build("vgg11_lrn")
    assert sum(node.op == "local_response_norm" for node in model.graph.nodes) == 1
    assert read_by(model, "features.lrn") == ["features.0"]
    assert read_by(model, "features.2") == ["features.lrn"]
    assert set(model.graph.weights) == set(convkit.models.build("vgg11").graph.weights)


@pytest.mark.parametrize("name", vgg.ALIASES)
def test_names_that_keras_gives_to_vgg(name):
    model = convkit.models.build(name)
    nodes = [n.name for n in model.graph.nodes if n.name not in ("flatten", "features.lrn")]
    assert list(vgg.ALIASES[name].values()) == nodes
    for alias, layer in vgg.ALIASES[name].items():
        assert alias.endswith("_pool") == (layers(model)[layer].op == "max_pool2d")


def test_a_layer_of_keras_vgg16_and_vgg19():
    assert vgg.ALIASES["vgg16"]["block5_conv1"] == "features.24"
    assert vgg.ALIASES["vgg19"]["block5_conv1"] == "features.28"
    assert vgg.ALIASES["vgg16"]["predictions"] == "classifier.6"


# GoogLeNet and SqueezeNet


@pytest.mark.parametrize("name", ["googlenet", "googlenet_paper"])
def test_layers_of_googlenet(name):
    model = convkit.models.build(name)
    nodes = layers(model)
    sides = {1: (64, 56), 2: (192, 28), 3: (480, 14), 4: (832, 7)}
    for number, (channels, side) in sides.items():
        assert nodes[f"maxpool{number}"].output.shape == (1, channels, side, side)
    filters = [n.output.sizes[1] for n in model.graph.nodes if n.op == "concat"]
    assert filters == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    ends = ["branch1", "branch2.1", "branch3.1", "branch4.1"]
    suffix = ".bn" if name == "googlenet" else ""
    assert read_by(model, "inception4b") == [f"inception4b.{end}{suffix}" for end in ends]
    assert read_by(model, "inception4b.branch4.0") == ["inception4a"]


def test_names_of_googlenet_are_torchvisions():
    weights = convkit.models.build("googlenet").graph.weights
    assert len(weights) == 57 * 5 + 2
    assert weights["conv1.conv.weight"].shape == (64, 3, 7, 7)
    assert weights["inception3a.branch1.conv.weight"].shape == (64, 192, 1, 1)
    assert weights["inception3a.branch3.1.conv.weight"].shape == (32, 16, 3, 3)
    assert weights["inception5b.branch4.1.bn.running_var"].shape == (128,)
    norms = [n for n in convkit.models.build("googlenet").graph.nodes if n.op == "batch_norm"]
    assert {n.keywords["eps"] for n in norms} == {1e-3}


def test_googlenet_paper_normalises_twice():
    model = convkit.models.build("googlenet_paper")
    assert read_by(model, "norm1") == ["maxpool1"] and read_by(model, "conv2") == ["norm1"]
    assert read_by(model, "norm2") == ["conv3"] and read_by(model, "maxpool2") == ["norm2"]
    assert model.graph.weights["inception3a.branch3.1.weight"].shape == (32, 16, 5, 5)


def test_side_classifiers_of_googlenet_paper():
    model = convkit.models.build("googlenet_paper", aux=True)
    assert (model.graph.parameters, macs(model)) == (13_378_280, 1_591_044_096)
    assert read_by(model, "aux1.pool") == ["inception4a"]
    assert read_by(model, "aux2.pool") == ["inception4d"]
    small = convkit.models.build("googlenet_paper", aux=True, input_size=79, num_classes=5)
    outputs = small(np.ones((2, 3, 79, 79), np.float32))
    assert [y.shape for y in outputs] == [(2, 5)] * 3
    with pytest.raises(ValueError, match="input_size=78 must be at least 79"):
        convkit.models.build("googlenet_paper", aux=True, input_size=78)
    with pytest.raises(ValueError, match="aux=True needs include_top=True"):
        convkit.models.build("googlenet_paper", aux=True, include_top=False)


def test_costs_of_an_inception_branch():
    """A 1x1 convolution to 16 channels before 5x5 filters saves nine tenths of the work."""
    b = convkit.Builder((192, 28, 28))
    assert macs(b.model(b.conv2d(b.input, 32, 5, padding=2))) == 120_422_400
    narrow = b.conv2d(b.input, 16, 1)
    assert macs(b.model(narrow)) == 2_408_448
    assert macs(b.model(b.conv2d(narrow, 32, 5, padding=2))) == 2_408_448 + 10_035_200
    pooled = b.model(b.conv2d(b.input, 32, 1))
    assert (macs(pooled), pooled.graph.parameters) == (4_816_896, 6_176)


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_a_fire_module_puts_its_1x1_filters_first(name):
    model = convkit.models.build(name)
    ends = ["features.4.expand1x1", "features.4.expand3x3"]
    assert read_by(model, "features.4") == ends
    assert [read_by(model, end) for end in ends] == [["features.4.squeeze"]] * 2


def test_names_of_squeezenet_are_torchvisions():
    weights = convkit.models.build("squeezenet1_0").graph.weights
    assert len(weights) == 52
    assert weights["features.0.weight"].shape == (96, 3, 7, 7)
    assert weights["features.5.squeeze.weight"].shape == (32, 128, 1, 1)
    assert weights["features.12.expand3x3.weight"].shape == (256, 64, 3, 3)
    assert weights["classifier.1.weight"].shape == (1000, 512, 1, 1)
    weights = convkit.models.build("squeezenet1_1").graph.weights
    assert len(weights) == 52
    assert weights["features.0.weight"].shape == (64, 3, 3, 3)
    assert weights["features.6.squeeze.weight"].shape == (32, 128, 1, 1)
    assert weights["features.11.expand1x1.weight"].shape == (256, 64, 1, 1)


def test_names_of_alexnet_are_torchvisions():
    shapes = {name: w.shape for name, w in convkit.models.build("alexnet").graph.weights.items()}
    assert {name: shape for name, shape in shapes.items() if name.endswith("weight")} == {
        "features.0.weight": (64, 3, 11, 11), "features.3.weight": (192, 64, 5, 5),
        "features.6.weight": (384, 192, 3, 3), "features.8.weight": (256, 384, 3, 3),
        "features.10.weight": (256, 256, 3, 3), "classifier.1.weight": (4096, 9216),
        "classifier.4.weight": (4096, 4096), "classifier.6.weight": (1000, 4096),
    }  # fmt: skip


# Networks that a course writes itself


def test_three_convolutions_on_39x39():
    """39x39x3 -> 37x37x10 -> 17x17x20 -> 7x7x40 -> 1960, and what stands on top."""
    b = convkit.Builder((3, 39, 39))
    x = b.conv2d(b.input, 10, 3)
    x = b.conv2d(x, 20, 5, stride=2)
    x = b.conv2d(x, 40, 5, stride=2)
    flat = b.flatten(x)
    logistic = b.model(b.linear(flat, 1, activation="sigmoid"))
    softmax = b.model(b.softmax(b.linear(flat, 10)))
    convolutions = [n for n in logistic.graph.nodes if n.op == "conv2d"]
    assert [n.output.sizes[1:] for n in convolutions] == [(10, 37, 37), (20, 17, 17), (40, 7, 7)]
    assert [n.parameters for n in convolutions] == [280, 5_020, 20_040]
    assert flat.sizes == (1, 1_960)
    assert (logistic.graph.parameters, softmax.graph.parameters) == (27_301, 44_950)


def test_lenet_like_on_32x32_in_colour():
    b = convkit.Builder((3, 32, 32))
    x = b.max_pool2d(b.conv2d(b.input, 6, 5), 2)
    x = b.max_pool2d(b.conv2d(x, 16, 5), 2)
    x = b.linear(b.linear(b.flatten(x, name="flatten"), 120), 84)
    model = b.model(b.softmax(b.linear(x, 10), name="softmax"))
    assert parameters(model) == [456, 2_416, 48_120, 10_164, 850]
    assert model.graph.parameters == 62_006
    sizes = [math.prod(value.sizes) for value in model.graph.values() if value.name != "flatten"]
    assert sizes == [3_072, 4_704, 1_176, 1_600, 400, 120, 84, 10, 10]
    assert macs(model) == 651_720
    b = convkit.Builder((3_072,))
    assert b.model(b.linear(b.input, 4_704)).graph.parameters == 14_455_392
