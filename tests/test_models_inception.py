"""Inception and its relatives: counts, names, sizes, and logits that other libraries computed."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest

import convkit
from convkit.graph.passes import PASSES
from convkit.models import MODELS

#: Parameters, multiply-adds at the network's own size, and that size. Those of inception_v2 are
#: what the published weights have.
COUNTS = {
    "inception_v2": (11_295_240, 2_032_600_064, 224),
    "inception_v3": (23_834_568, 5_713_216_096, 299),
    "inception_v4": (42_679_816, 12_253_974_624, 299),
    "inception_resnet_v2": (55_813_192, 13_155_794_016, 299),
    "xception": (22_855_952, 8_357_403_496, 299),
    "nasnet_mobile": (5_289_978, 563_638_816, 224),
    "nasnet_large": (88_753_150, 23_783_414_658, 331),
}
#: Moving statistics that Keras adds to its totals.
STATISTICS = {
    "inception_resnet_v2": 55_873_736 - 55_813_192,
    "xception": 22_910_480 - 22_855_952,
    "nasnet_mobile": 5_326_716 - 5_289_978,
    "nasnet_large": 88_949_818 - 88_753_150,
}
#: The least input size, and the channels of the features.
LEAST = {
    "inception_v2": (17, 1024),
    "inception_v3": (75, 2048),
    "inception_v4": (75, 1536),
    "inception_resnet_v2": (75, 1536),
    "xception": (7, 2048),
    "nasnet_mobile": (32, 1056),
    "nasnet_large": (32, 4032),
}


def drawn(model):
    """Weights that keep the signal's size, each from a generator of its own name."""
    made = {}
    for name, weight in model.graph.weights.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        shape = weight.sizes
        if name.endswith("running_var"):
            array = rng.uniform(0.6, 1.4, shape)
        elif name.endswith(("running_mean", "bias")):
            array = rng.normal(0, 0.1, shape)
        elif len(shape) == 1:
            array = rng.uniform(0.7, 1.3, shape)
        else:
            gain = 1.0 if "depthwise" in name or "pointwise" in name else 1.6
            array = rng.normal(0, math.sqrt(gain / math.prod(shape[1:])), shape)
        made[name] = array.astype(np.float32)
    return made


def image(height, width):
    return np.random.default_rng(2).normal(size=(1, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    graph = convkit.models.build(name).graph
    parameters, macs, side = COUNTS[name]
    assert graph.name == name
    assert graph.inputs[0].sizes == (1, 3, side, side)
    assert graph.outputs[0].sizes == (1, 1000)
    assert graph.parameters == parameters
    assert macs == sum(
        math.prod(node.weights[0].sizes) * math.prod(node.output.sizes[2:])
        for node in graph.nodes
        if node.op in ("conv2d", "linear")
    )
    running = [math.prod(w.sizes) for w in graph.weights.values() if "running" in w.role]
    assert sum(running) == STATISTICS.get(name, sum(running))
    assert sum(math.prod(w.sizes) for w in graph.weights.values()) == parameters + sum(running)


#: name, keywords, rows and columns, and logits that an independent definition computed in float64
#: of the weights of `drawn` and the image of `image`: torchvision 0.28's inception_v3, timm
#: 1.0.31's inception_v4, pytorchcv 0.0.74's bninception (its last pool made global), the others
#: Keras 3.15's. nasnet_large, slow to draw, was compared by hand.
ELSEWHERE = (
    ("inception_v2", {}, (128, 160),
     [[0.5581553885, -0.0488356918, 0.8888264837, 0.3708111644]]),
    ("inception_v3", {}, (107, 96),
     [[0.1389634230, -0.0790436679, 0.2025098441, -0.2587208513]]),
    ("inception_v3", {"aux": True}, (299, 299),
     [[-0.2614832270, -0.3448074914, 0.3955469717, -0.2266422003],
      [-0.7204568088, 1.1116719036, 1.0610003571, -1.3210118790]]),
    ("inception_v4", {}, (107, 96),
     [[-0.6854295420, -0.1292023121, 0.0586828890, -0.2409809196]]),
    ("inception_resnet_v2", {}, (96, 107),
     [[-7.1820671931, -4.7387653440, 2.5300686080, 2.7213816419]]),
    ("xception", {}, (72, 81),
     [[-0.1175852194, 2.2807313353, 0.5595037658, 1.5327765718]]),
    ("nasnet_mobile", {}, (64, 49),
     [[-1.8434044495, 3.7000056654, -3.9130234998, 12.9464521185]]),
)  # fmt: skip


@pytest.mark.parametrize(
    "name, keywords, size, logits", ELSEWHERE, ids=[f"{row[0]}-{row[2]}" for row in ELSEWHERE]
)
def test_logits_of_independent_definitions(name, keywords, size, logits):
    model = convkit.models.build(name, num_classes=4, input_size=size, **keywords)
    model.load(drawn(model))
    y = model(image(*size))
    for made, expected in zip(y if isinstance(y, tuple) else (y,), logits, strict=True):
        expected = np.array([expected])
        np.testing.assert_allclose(made, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_names():
    """Of torchvision, timm, Caffe's ports, Keras; one of each kind of layer."""
    expected = {
        "inception_v2": ("conv1_7x7_s2.bias", "inception_3c_double_3x3_2_bn.running_var"),
        "inception_v3": ("Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch3x3dbl_3b.bn.running_mean"),
        "inception_v4": ("features.21.branch2_3b.conv.weight", "last_linear.bias"),
        "inception_resnet_v2": (
            "conv2d.weight", "conv2d_202.weight", "batch_normalization_202.bias",
            "block8_10_conv.bias", "conv_7b_bn.running_mean", "predictions.weight",
        ),
        "xception": (
            "block1_conv1_bn.weight", "block14_sepconv2.pointwise.weight", "conv2d_3.weight",
        ),
        "nasnet_mobile": (
            "stem_conv1.weight", "adjust_conv_2_0.weight", "adjust_bn_reduce_8.bias",
            "separable_conv_2_normal_left5_12.depthwise.weight", "reduction_bn_1_reduce_4.weight",
        ),
        "nasnet_large": ("normal_conv_1_18.weight", "adjust_bn_stem_2.bias"),
    }  # fmt: skip
    for name, wanted in expected.items():
        assert set(wanted) <= set(convkit.models.build(name).graph.weights), name
    named = convkit.models.build("inception_resnet_v2").graph.weights
    assert "conv2d_203.weight" not in named
    assert not any(name.startswith("batch_norm") and name.endswith(".weight") for name in named)
    assert "adjust_bn_stem_1.bias" not in convkit.models.build("nasnet_large").graph.weights


@pytest.mark.parametrize("name", LEAST)
def test_sizes_and_features(name):
    least, channels = LEAST[name]
    with pytest.raises(ValueError, match=f"input_size={least - 1} must be at least {least}"):
        convkit.models.build(name, input_size=least - 1)
    # Odd and even at each halving.
    for size in (least, (least, least + 1), (least + 2, least + 4), (least + 9, 128), (135, 224)):
        graph = convkit.models.build(name, input_size=size, num_classes=3).graph
        assert graph.outputs[0].sizes == (1, 3)
        features = convkit.models.build(name, input_size=size, include_top=False).graph
        assert features.outputs[0].sizes[:2] == (1, channels)
        own = convkit.models.build(name, include_top=False).graph
        assert features.parameters == own.parameters == COUNTS[name][0] - 1000 * (channels + 1)


def test_the_least_sizes_run():
    for name in ("inception_v2", "xception"):
        model = convkit.models.build(name, input_size=LEAST[name][0], include_top=False)
        least = model.graph.inputs[0].sizes
        assert np.isfinite(model(np.ones(least, np.float32))).all()
    for name in ("inception_v3", "inception_v4", "inception_resnet_v2"):
        features = convkit.models.build(name, input_size=LEAST[name][0], include_top=False).graph
        assert features.outputs[0].sizes[2:] == (1, 1)


def test_side_classifier():
    model = convkit.models.build("inception_v3", aux=True)
    assert model.graph.parameters == 27_161_264  # torchvision's with AuxLogits
    assert [value.sizes for value in model.graph.outputs] == [(1, 1000), (1, 1000)]
    assert model.graph.outputs[0].name == "fc"
    with pytest.raises(ValueError, match="input_size=298 must be at least 299"):
        convkit.models.build("inception_v3", aux=True, input_size=298)
    with pytest.raises(ValueError, match="aux=True needs include_top=True"):
        convkit.models.build("inception_v3", aux=True, include_top=False)


def test_norms_without_a_weight(tmp_path):
    """A batch norm with scale=False is one of ones: alone, after a convolution, and from a file."""
    made = []
    for scale in (True, False):
        b = convkit.Builder((3, 9, 8))
        x = b.conv2d(b.input, 20, 3, bias=False, name="conv")
        x = b.batch_norm(b.max_pool2d(x, 2), scale=scale, activation="relu", name="alone")
        x = b.conv2d(x, 1030, 1, name="after")
        made.append(b.model(b.batch_norm(x, scale=scale, eps=1e-3, name="folded")))
    with_ones, without = made
    weights = drawn(without)
    assert "alone.weight" not in weights and "folded.bias" in weights
    without.load(weights)
    with_ones.load({**weights, "alone.weight": np.ones(20), "folded.weight": np.ones(1030)})
    x = image(9, 8)
    expected = with_ones(x)
    np.testing.assert_array_equal(without(x), expected)
    for passes in (["fold_batch_norm"], list(PASSES)):
        run = without.compile(x.shape, without=passes)
        np.testing.assert_allclose(run(x), expected, rtol=1e-4, atol=1e-5)
    without.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(convkit.load(tmp_path / "net.safetensors")(x), expected)


def test_all_are_listed():
    assert set(COUNTS) <= set(MODELS)


@pytest.mark.parametrize("name, cell, before", [("nasnet_mobile", 5, 3), ("nasnet_large", 7, 4)])
def test_what_a_stage_of_nasnet_reads_first(name, cell, before):
    """The large one passes over the reduction's own input; counts are the same either way."""
    nodes = {node.name: node for node in convkit.models.build(name).graph.nodes}
    (read,) = nodes[f"adjust_relu_1_{cell}"].inputs
    assert read.name == f"normal_concat_{before}"
