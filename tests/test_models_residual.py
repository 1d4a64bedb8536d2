"""Residual, dense, scaled and dense-prediction networks: counts, names, sizes, and what they
compute where two networks, or a network and its parts, must agree."""

from __future__ import annotations

import math

import numpy as np
import pytest

import convkit
from convkit.models.sizes import in_eights

#: (name, keywords) -> parameters, multiply-adds of convolutions and linear layers.
COUNTS = {
    ("plain18",): (11_515_688, 1_794_805_760),
    ("plain34",): (21_623_848, 3_644_493_824),
    ("resnet18",): (11_689_512, 1_814_073_344),
    ("resnet34",): (21_797_672, 3_663_761_408),
    ("resnet50",): (25_557_032, 4_089_184_256),
    ("resnet101",): (44_549_160, 7_801_405_440),
    ("resnet152",): (60_192_808, 11_513_626_624),
    ("resnet50_v2",): (25_568_360, 3_482_255_360),
    ("resnet101_v2",): (44_577_896, 7_194_476_544),
    ("resnet152_v2",): (60_236_904, 10_906_697_728),
    ("resnext50_32x4d",): (25_028_904, 4_230_479_872),
    ("resnext101_32x8d",): (88_791_336, 16_414_015_488),
    ("densenet121",): (7_978_856, 2_834_161_664),
    ("densenet161",): (28_681_000, 7_727_907_072),
    ("densenet169",): (14_149_480, 3_359_843_328),
    ("densenet201",): (20_013_928, 4_291_365_888),
    ("mobilenet_v1",): (4_231_976, 568_740_352),
    ("mobilenet_v1", ("alpha", 0.75)): (2_585_560, 325_400_448),
    ("mobilenet_v1", ("alpha", 0.5)): (1_331_592, 149_497_088),
    ("mobilenet_v1", ("alpha", 0.25)): (470_072, 41_030_272),
    ("mobilenet_v2",): (3_504_872, 300_774_272),
    ("mobilenet_v2", ("alpha", 1.4)): (6_108_776, 582_195_824),
    ("mobilenet_v2", ("alpha", 0.5)): (1_968_680, 97_131_840),
    ("mobilenet_v2", ("alpha", 0.35)): (1_677_128, 59_285_808),
    ("efficientnet_b0",): (5_288_548, 385_814_752),
    ("efficientnet_b1",): (7_794_184, 686_802_832),
    ("efficientnet_b2",): (9_109_994, 993_561_872),
    ("efficientnet_b3",): (12_233_232, 1_827_141_392),
    ("efficientnet_b4",): (19_341_616, 4_393_771_024),
    ("efficientnet_b5",): (30_389_784, 10_266_384_752),
    ("efficientnet_b6",): (43_040_704, 19_067_593_536),
    ("efficientnet_b7",): (66_347_960, 37_745_884_192),
    ("resnet20_cifar10",): (269_722, 40_551_040),
    ("resnet32_cifar10",): (464_154, 68_862_592),
    ("resnet44_cifar10",): (658_586, 97_174_144),
    ("resnet56_cifar10",): (853_018, 125_485_696),
    ("resnet110_cifar10",): (1_727_962, 252_887_680),
    ("resnet20_cifar10", ("shortcut", "projection")): (272_474, 40_813_184),
    ("resnet32_cifar10", ("shortcut", "projection")): (466_906, 69_124_736),
    ("resnet44_cifar10", ("shortcut", "projection")): (661_338, 97_436_288),
    ("resnet56_cifar10", ("shortcut", "projection")): (855_770, 125_747_840),
    ("resnet110_cifar10", ("shortcut", "projection")): (1_730_714, 253_149_824),
    # 14,714,688 of VGG-16, its mirror, and a gain and a shift for each channel but the classes'
    ("segnet",): (29_455_125, 107_283_087_360),
    ("fcn8s",): (134_489_759, 181_529_034_048),
    ("vgg16_dilated",): (134_346_581, 750_206_331_648),
    ("resnet50_fcn_dilated",): (32_957_013, 142_725_772_800),
}


def multiply_adds(graph):
    """Every output of a convolution reads a filter; every input of a transposed one spreads one."""
    total = 0
    for node in graph.nodes:
        if node.op in ("conv2d", "linear", "conv_transpose2d"):
            x, weight = node.reads[:2]
            pixels = x if node.op == "conv_transpose2d" else node.output
            total += math.prod(weight.sizes[1:]) * math.prod(pixels.sizes)
    return total


@pytest.mark.parametrize("key", COUNTS, ids=str)
def test_counts(key):
    name, *keywords = key
    model = convkit.models.build(name, **dict(keywords))
    assert model.graph.name == name
    assert (model.graph.parameters, multiply_adds(model.graph)) == COUNTS[key]


#: Weights in a network's file (torchvision, Keras applications or the authors' Caffe files).
NAMES = {
    "plain18": ("layer4.1.conv2.weight", "fc.bias"),
    "resnet50": ("bn1.running_var", "layer2.0.downsample.1.bias", "layer4.2.conv3.weight"),
    "resnext50_32x4d": ("layer1.0.conv2.weight", "layer3.5.bn2.running_mean", "fc.weight"),
    "resnet50_v2": (
        "conv1_conv.bias", "conv2_block1_preact_bn.weight", "conv2_block1_0_conv.bias",
        "conv3_block4_2_conv.weight", "conv5_block3_3_conv.bias", "post_bn.running_var",
        "predictions.weight",
    ),
    "densenet121": (
        "features.conv0.weight", "features.denseblock4.denselayer16.norm2.running_mean",
        "features.transition3.conv.weight", "features.norm5.bias", "classifier.weight",
    ),
    "efficientnet_b0": (
        "features.0.0.weight", "features.1.0.block.1.fc1.bias", "features.2.1.block.0.1.weight",
        "features.6.3.block.2.fc2.weight", "features.7.0.block.3.1.bias", "features.8.0.weight",
        "classifier.1.weight",
    ),
    "mobilenet_v2": ("features.1.conv.1.weight", "features.18.1.bias", "classifier.1.bias"),
    "mobilenet_v1": ("conv1.weight", "conv_dw_13_bn.running_var", "conv_preds.bias"),
    "segnet": ("conv5_3_bn.weight", "conv5_3_D.bias", "conv2_1_D_bn.bias", "conv1_1_D.weight"),
    "fcn8s": ("conv1_1.bias", "fc6.weight", "score_pool3.bias", "upscore8.weight"),
    "vgg16_dilated": ("conv5_3.weight", "fc7.bias", "final.weight"),
    "resnet50_fcn_dilated": (
        "backbone.layer4.0.downsample.0.weight", "classifier.0.weight", "classifier.1.running_var",
        "classifier.4.bias",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_weight_names(name):
    assert set(NAMES[name]) <= set(convkit.models.build(name).graph.weights)


def test_other_names_of_densenets():
    """Each name here has one of torchvision's older files, and one of Keras, of every layer."""
    from convkit.models.densenet import ALIASES

    for name, aliases in ALIASES.items():
        graph = convkit.models.build(name).graph
        layers = {node.name for node in graph.nodes if node.weights}
        old = {alias: layer for alias, layer in aliases.items() if alias.startswith("features.")}
        dense = {layer for layer in layers if "denselayer" in layer}
        assert set(old.values()) == dense and len(old) == len(dense)
        for between, other in ("_/", "/_"):
            keras = {
                layer
                for alias, layer in aliases.items()
                if alias not in old and not alias.startswith(f"conv1{other}")
            }
            assert keras == layers, between
    assert ALIASES["densenet121"]["features.denseblock1.denselayer2.conv.1"] == (
        "features.denseblock1.denselayer2.conv1"
    )
    assert ALIASES["densenet201"]["conv4_block48_1_bn"] == (
        "features.denseblock3.denselayer48.norm2"
    )


def test_shapes_of_weights_that_torchvision_has():
    weights = convkit.models.build("resnext50_32x4d").graph.weights
    assert weights["layer1.0.conv2.weight"].sizes == (128, 4, 3, 3)
    weights = convkit.models.build("efficientnet_b7").graph.weights
    assert weights["features.8.0.weight"].sizes == (2560, 640, 1, 1)
    assert weights["features.2.0.block.2.fc1.weight"].sizes == (8, 192, 1, 1)
    weights = convkit.models.build("densenet161").graph.weights
    assert weights["features.denseblock4.denselayer24.conv1.weight"].sizes == (192, 2160, 1, 1)


# Sizes

#: name -> a size that is not the network's own, and the features of it.
FEATURES = {
    "resnet18": ((97, 40), (512, 4, 2)),
    "resnet50": (1, (2048, 1, 1)),
    "plain34": (33, (512, 2, 2)),
    "resnet101_v2": ((65, 64), (2048, 3, 2)),
    "resnet56_cifar10": ((33, 5), (64, 9, 2)),
    "resnext101_32x8d": (64, (2048, 2, 2)),
    "densenet169": ((29, 64), (1664, 1, 2)),
    "mobilenet_v1": ((31, 65), (1024, 1, 2)),
    "mobilenet_v2": ((1, 65), (1280, 1, 3)),
    "efficientnet_b3": ((65, 1), (1536, 3, 1)),
    "segnet": ((32, 45), (64, 32, 45)),
    "fcn8s": (1, (4096, 1, 1)),
    "vgg16_dilated": ((192, 200), (4096, 24, 25)),
    "resnet50_fcn_dilated": ((8, 24), (2048, 1, 3)),
}


@pytest.mark.parametrize("name", FEATURES)
def test_features_of_another_size(name):
    size, features = FEATURES[name]
    model = convkit.models.build(name, input_size=size, include_top=False)
    assert model.graph.inputs[0].sizes[2:] == (size if isinstance(size, tuple) else (size, size))
    assert model.graph.outputs[0].sizes == (1, *features)
    whole = convkit.models.build(name, num_classes=7)
    assert set(model.graph.weights) < set(whole.graph.weights)
    assert whole.graph.outputs[0].sizes[1] == 7


@pytest.mark.parametrize(
    "name, size", [("segnet", (33, 50)), ("fcn8s", (9, 70)), ("resnet50_fcn_dilated", (16, 40))]
)
def test_a_class_for_each_pixel(name, size):
    model = convkit.models.build(name, input_size=size)
    assert model.graph.outputs[0].sizes == (1, 21, *size)


def test_dilated_vgg_has_an_output_for_eight_pixels():
    """64x64 for images of 512x512, as the paper says."""
    assert convkit.models.build("vgg16_dilated").graph.outputs[0].sizes == (1, 21, 64, 64)


@pytest.mark.parametrize(
    "name, size, needed",
    [
        ("resnet18", 0, "input_size=0 must be at least 1"),
        ("resnet50_v2", (224,), r"input_size=\(224,\) must be an integer or a pair"),
        ("densenet121", 28, r"input_size=\(28, 28\) must .* sizes of at least 29"),
        ("mobilenet_v1", (64, 30), r"input_size=\(64, 30\) must .* at least 31"),
        ("efficientnet_b4", (0, 3), "input_size=0 must be at least 1"),
        ("segnet", (31, 64), r"input_size=\(31, 64\) must .* at least 32"),
        ("vgg16_dilated", 184, r"input_size=\(184, 184\) must .* multiples of 8 of at least 192"),
        ("vgg16_dilated", (200, 201), r"input_size=\(200, 201\) must .* multiples of 8"),
        ("resnet50_fcn_dilated", 12, r"input_size=\(12, 12\) must .* multiples of 8 of at least 8"),
    ],
)
def test_sizes_that_a_network_cannot_take(name, size, needed):
    with pytest.raises(ValueError, match=needed):
        convkit.models.build(name, input_size=size)


@pytest.mark.parametrize("size", ["224", 224.0, True])
def test_a_size_is_an_integer_or_a_pair(size):
    with pytest.raises(TypeError, match="input_size="):
        convkit.models.build("resnet18", input_size=size)


@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v1", "segnet"])
def test_the_least_size_is_the_least(name):
    """What lies below it cannot even be written."""
    from convkit.models import densenet, mobilenet, segmentation

    module = {"densenet121": densenet, "mobilenet_v1": mobilenet, "segnet": segmentation}[name]
    least = {"densenet121": 29, "mobilenet_v1": 31, "segnet": 32}[name]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "image_shape", lambda size, own, **limits: (3, size, size))
        convkit.models.build(name, input_size=least)
        with pytest.raises(ValueError):
            convkit.models.build(name, input_size=least - 1)


# Multipliers


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_alpha(name):
    with pytest.raises(ValueError, match="alpha=0 must be above 0"):
        convkit.models.build(name, alpha=0)
    with pytest.raises(TypeError, match="alpha='1' must be a number"):
        convkit.models.build(name, alpha="1")
    assert convkit.models.build(name, alpha=0.01).graph.parameters > 0


def test_in_eights_never_takes_more_than_a_tenth():
    assert [in_eights(c) for c in (1, 8, 11, 12, 18, 19.9, 20, 32 * 1.1, 1280 * 1.4)] == [
        8, 8, 16, 16, 24, 24, 24, 32, 1792,
    ]  # fmt: skip
    assert all(0.9 * c <= in_eights(c) <= c + 8 for c in range(1, 3000))


def test_efficientnet_for_any_budget():
    model = convkit.models.efficientnet(1.2, 1.4, 300, num_classes=5)
    b3 = convkit.models.build("efficientnet_b3", num_classes=5)
    assert model.graph.weights == b3.graph.weights
    assert model.graph.inputs[0].sizes == (1, 3, 300, 300)
    halves = convkit.models.efficientnet(0.5, 0.5, (64, 33), include_top=False)
    assert halves.graph.outputs[0].sizes == (1, 640, 2, 2)
    with pytest.raises(ValueError, match="width=-1 must be above 0"):
        convkit.models.efficientnet(-1)
    with pytest.raises(TypeError, match="depth=None must be a number"):
        convkit.models.efficientnet(1.0, None)
    with pytest.raises(ValueError, match="resolution=0 must be at least 1"):
        convkit.models.efficientnet(1.0, 1.0, 0)


def test_shortcut_must_be_known():
    with pytest.raises(ValueError, match="shortcut='none' must be one of identity, projection"):
        convkit.models.build("resnet20_cifar10", shortcut="none")


# What they compute


def values(model, x, *names):
    """Values inside a network."""
    y = model.compile(x.shape, precision="highest", outputs=names)(x)
    return y if len(names) > 1 else (y,)


def pictures(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def drawn(model, scale=0.1):
    """Small random numbers for all weights with one axis, large enough to be seen; variances
    near 1."""
    rng = np.random.default_rng(1)
    weights = {}
    for name, array in model.state_dict().items():
        if array.ndim == 1:
            array = array + scale * rng.random(array.shape, dtype=np.float32)
        weights[name] = array
    model.load(weights)
    return model


def close(y, expected):
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


SMALL = [
    ("plain18", 32, {}),
    ("resnet50_v2", 32, {}),
    ("resnext50_32x4d", 32, {}),
    ("densenet121", 32, {}),
    ("mobilenet_v1", 33, {"alpha": 0.25}),
    ("mobilenet_v2", 33, {"alpha": 0.35}),
    ("efficientnet_b0", 33, {}),
    ("resnet44_cifar10", (32, 33), {"shortcut": "projection"}),
    ("resnet110_cifar10", 32, {}),
]


@pytest.mark.parametrize("name, size, keywords", SMALL)
def test_runs_on_random_weights(name, size, keywords):
    model = convkit.models.build(name, num_classes=7, input_size=size, seed=3, **keywords)
    x = pictures(2, *model.graph.inputs[0].sizes[1:])
    y = model(x)
    assert y.shape == (2, 7) and np.isfinite(y).all()
    assert np.ptp(y[0] - y[1]) > 0.01 * np.abs(y).max()
    np.testing.assert_array_equal(model(x[1:]), y[1:])


def test_a_dilated_resnet_is_the_resnet_at_every_fourth_pixel():
    """Filters spread instead of halved images compute the same, and more between."""
    size = (72, 48)
    plain = drawn(convkit.models.build("resnet50", input_size=size, include_top=False))
    dilated = convkit.models.build("resnet50_fcn_dilated", input_size=size, include_top=False)
    dilated.load({f"backbone.{name}": array for name, array in plain.state_dict().items()})
    x = pictures(1, 3, *size)
    y = values(dilated, x, "backbone.layer3.5.add", "backbone.layer4.2.add")
    expected = values(plain, x, "layer3.5.add", "layer4.2.add")
    close(y[0][:, :, ::2, ::2], expected[0])
    close(y[1][:, :, ::4, ::4], expected[1])


def test_a_resnet_of_wide_groups_is_a_resnet():
    """ResNeXt's blocks with all channels in one group: 64 channels wide."""
    from convkit.models import resnet

    b = convkit.Builder((3, 8, 8))
    x = b.conv2d(b.input, 256, 1, bias=False, name="fit")
    one = resnet.bottleneck(b, x, 64, 1, 1, "one")
    assert [n.reads[1].sizes for n in b.model(one).graph.nodes if n.op == "conv2d"][1:] == [
        (64, 256, 1, 1), (64, 64, 3, 3), (256, 64, 1, 1),
    ]  # fmt: skip


def test_preactivated_stem_is_padded_with_zeros():
    """Where all of it is negative, the maximum of a window at the edge is the padding's zero."""
    model = convkit.models.build("resnet50_v2", input_size=32)
    weights = dict(model.state_dict())
    weights["conv1_conv.bias"] = np.full_like(weights["conv1_conv.bias"], -3)
    model.load(weights)
    (y,) = values(model, np.zeros((1, 3, 32, 32), np.float32), "pool1_pool")
    assert (y[:, :, 0] == 0).all() and (y[:, :, :, 0] == 0).all()
    assert (y[:, :, 1:, 1:] == -3).all()


def test_preactivated_blocks_add_to_what_is_not_activated():
    """A block whose last convolution gives zeros hands its input on, at every second pixel."""
    model = drawn(convkit.models.build("resnet50_v2", input_size=64))
    weights = dict(model.state_dict())
    for name in ("conv3_block3_3_conv", "conv3_block4_3_conv"):
        weights[f"{name}.weight"] = np.zeros_like(weights[f"{name}.weight"])
        weights[f"{name}.bias"] = np.zeros_like(weights[f"{name}.bias"])
    model.load(weights)
    x = pictures(1, 3, 64, 64)
    before, same, half = values(
        model, x, "conv3_block2_out", "conv3_block3_out", "conv3_block4_out"
    )
    assert before.min() < 0
    np.testing.assert_array_equal(same, before)
    np.testing.assert_array_equal(half, before[:, :, ::2, ::2])


def test_dense_layers_keep_what_came_before():
    model = drawn(convkit.models.build("densenet121", input_size=32))
    names = [f"features.denseblock2.denselayer{i}.concat" for i in (1, 2, 12)]
    start, first, second, last = values(
        model, pictures(1, 3, 32, 32), "features.transition1.pool", *names
    )
    assert (start.shape[1], first.shape[1], last.shape[1]) == (128, 160, 512)
    np.testing.assert_array_equal(first[:, :128], start)
    np.testing.assert_array_equal(second[:, :160], first)
    np.testing.assert_array_equal(last[:, :192], second)


def test_squeeze_excite_weighs_channels():
    model = drawn(convkit.models.build("efficientnet_b0", input_size=33))
    name = "features.2.0.block.2"
    before, inner, gate, after = values(
        model, pictures(1, 3, 33, 33), "features.2.0.block.1.1", f"{name}.fc1", f"{name}.fc2",
        f"{name}.multiply",
    )  # fmt: skip
    weights = {k: v.astype(np.float64) for k, v in model.state_dict().items() if name in k}
    mean = before.astype(np.float64).mean((2, 3))[0]
    squeezed = weights[f"{name}.fc1.weight"][:, :, 0, 0] @ mean + weights[f"{name}.fc1.bias"]
    squeezed = squeezed / (1 + np.exp(-squeezed))
    close(inner[0, :, 0, 0], squeezed)
    excited = weights[f"{name}.fc2.weight"][:, :, 0, 0] @ squeezed + weights[f"{name}.fc2.bias"]
    excited = 1 / (1 + np.exp(-excited))
    close(gate[0, :, 0, 0], excited)
    close(after[0], before[0] * excited[:, None, None])


@pytest.mark.parametrize(
    "name, eps",
    [
        ("efficientnet_b4", 1e-5),
        ("efficientnet_b5", 1e-3),
        ("mobilenet_v1", 1e-3),
        ("resnet50_v2", 1.001e-5),
    ],
)
def test_epsilon_is_the_one_that_weights_were_trained_with(name, eps):
    nodes = convkit.models.build(name).graph.nodes
    assert {n.keywords["eps"] for n in nodes if n.op == "batch_norm"} == {eps}


def test_segnet_puts_values_back_where_the_maxima_were():
    model = drawn(convkit.models.build("segnet", input_size=(33, 39)))
    deep, pooled, x, y = values(
        model, pictures(1, 3, 33, 39), "conv2_2_bn", "pool2", "conv3_1_D_bn", "upsample2"
    )
    assert y.shape == deep.shape and pooled.shape == x.shape
    expected = np.zeros_like(y)
    for c, i, j in np.ndindex(*x.shape[1:]):
        window = deep[0, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        row, column = np.unravel_index(window.argmax(), window.shape)
        expected[0, c, 2 * i + row, 2 * j + column] = x[0, c, i, j]
    np.testing.assert_array_equal(y, expected)


def test_a_dilated_vgg_pads_with_the_mirrored_image():
    """An image of one colour has no edges, while zeros around it would be seen; and what mirroring
    adds is just what the other layers take away. The large matrices stay zero, which is quicker."""
    model = convkit.models.build("vgg16_dilated", input_size=(192, 200))
    convolutions = [node.keywords for node in model.graph.nodes if node.op == "conv2d"]
    assert [keywords["padding"] for keywords in convolutions] == [186] + 15 * [0]
    assert [keywords["dilation"] for keywords in convolutions] == 10 * [1] + 3 * [2] + [4, 1, 1]
    zeros = {
        name: np.zeros(weight.sizes, np.float32)
        for name, weight in model.graph.weights.items()
        if name.startswith(("fc", "final"))
    }
    model.load(zeros, strict=False)
    x = np.full((1, 3, 192, 200), 0.7, np.float32)
    (y,) = values(model, x, "conv1_2")
    assert y.shape == (1, 64, 192 + 2 * 184, 200 + 2 * 184) and y.max() > 0
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :, :1, :1], y.shape), rtol=1e-5, atol=1e-6)


def spread(x, filters, stride):
    """Each value of x (c, h, w) adds its filter (c, k, r, s)."""
    c, h, w = x.shape
    _, k, r, s = filters.shape
    y = np.zeros((k, (h - 1) * stride + r, (w - 1) * stride + s))
    for i, j in np.ndindex(h, w):
        window = y[:, i * stride : i * stride + r, j * stride : j * stride + s]
        window += np.einsum("c,ckrs->krs", x[:, i, j], filters)
    return y


def test_fcn_adds_scores_of_three_strides():
    """Upsampled, cropped and added up in NumPy. The large layers stay zero, so the scores of
    stride 32 are their bias."""
    model = convkit.models.build("fcn8s", input_size=(9, 40), num_classes=3)
    rng = np.random.default_rng(2)
    weights = {}
    for name, weight in model.graph.weights.items():
        if name.startswith(("fc", "score_fr")):
            weights[name] = np.zeros(weight.sizes, np.float32)
        if name.startswith(("up", "score_fr.bias")):
            weights[name] = rng.standard_normal(weight.sizes).astype(np.float32)
    model.load(weights, strict=False)
    x = pictures(1, 3, 9, 40)
    y, whole, middle, fine = (
        value[0].astype(np.float64)
        for value in values(model, x, "score", "score_fr", "score_pool4", "score_pool3")
    )
    assert np.abs(middle).max() > 0 and np.abs(fine).max() > 0
    z = spread(whole, weights["upscore2.weight"], 2)
    z += middle[:, 5 : 5 + z.shape[1], 5 : 5 + z.shape[2]]
    z = spread(z, weights["upscore_pool4.weight"], 2)
    z += fine[:, 9 : 9 + z.shape[1], 9 : 9 + z.shape[2]]
    z = spread(z, weights["upscore8.weight"], 8)
    close(y, z[:, 31 : 31 + 9, 31 : 31 + 40])


def test_scores_of_the_dilated_resnet_are_interpolated():
    model = drawn(convkit.models.build("resnet50_fcn_dilated", input_size=(16, 24)))
    score, y = values(model, pictures(1, 3, 16, 24), "classifier.4", "upsample")
    at = [np.clip((np.arange(8 * n) + 0.5) / 8 - 0.5, 0, n - 1) for n in score.shape[2:]]
    maps = [
        np.maximum(0, 1 - np.abs(a[:, None] - np.arange(n)))
        for a, n in zip(at, (2, 3), strict=True)
    ]
    close(y, np.einsum("ih,nchw,jw->ncij", maps[0], score.astype(np.float64), maps[1]))


def test_mobilenet_v1_reads_photos_as_keras_does(data):
    """24 of 40 at the first guess with the weights of Keras: padding and epsilon are Keras'."""
    h5py = pytest.importorskip("h5py")
    from PIL import Image

    model = convkit.models.build("mobilenet_v1", alpha=0.25, input_size=128)
    roles = {
        "kernel": "weight", "depthwise_kernel": "weight", "bias": "bias", "gamma": "weight",
        "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var",
    }  # fmt: skip
    weights = {}

    def take(path, item):
        if isinstance(item, h5py.Dataset):
            _, layer, *_, kind = path.removesuffix(":0").split("/")
            array = item[()]
            if array.ndim == 4:
                array = array.transpose((2, 3, 0, 1) if "depth" in kind else (3, 2, 0, 1))
            if layer == "conv_preds":  # a 1x1 convolution there
                array = array.reshape(array.shape[:2]) if array.ndim == 4 else array
            weights[f"{layer}.{roles[kind]}"] = array

    with h5py.File(data / "mobilenet_v1" / "mobilenet_v1_0.25_128.h5") as file:
        file.visititems(take)
    report = model.load(weights)
    assert not report.missing and not report.unexpected
    expected = np.load(data / "mobilenet_v1" / "expected.npz")
    images = []
    for path in sorted((data / "imagenet40").glob("*.JPEG")):
        image = Image.open(path).convert("RGB")
        w, h = (int(0.875 * size) for size in image.size)
        left, top = (image.width - w) // 2, (image.height - h) // 2
        image = image.crop((left, top, left + w, top + h)).resize((128, 128), Image.BILINEAR)
        images.append(np.asarray(image, np.float32).transpose(2, 0, 1) / 127.5 - 1)
    logits = model(np.stack(images)).astype(np.float64)
    y = np.exp(logits - logits.max(1, keepdims=True))
    y /= y.sum(1, keepdims=True)
    np.testing.assert_allclose(y, expected["output"], rtol=0, atol=2e-3)
    assert (y.argmax(1) == expected["index"]).sum() == 24
