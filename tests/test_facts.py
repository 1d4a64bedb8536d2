"""Worked examples of a course on convolutional networks, each to the exact number."""

from __future__ import annotations

import numpy as np
import pytest

import convkit
from convkit.problem import conv_problem

VERTICAL = [[1, 0, -1]] * 3
HORIZONTAL = [[1, 1, 1], [0, 0, 0], [-1, -1, -1]]
SOBEL = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
SOBEL_DOWN = [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
SCHARR = [[3, 0, -3], [10, 0, -10], [3, 0, -3]]
SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]

BRIGHT_LEFT = np.repeat([[10, 10, 10, 0, 0, 0]], 6, axis=0)
BRIGHT_RIGHT = BRIGHT_LEFT[:, ::-1]
A = [
    [105, 102, 100, 97, 96],
    [103, 99, 103, 101, 102],
    [101, 98, 104, 102, 100],
    [99, 101, 106, 104, 99],
    [104, 104, 104, 100, 98],
]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def filtered(image, weights, dtype, **options):
    return convkit.conv2d(np.array(image, dtype), np.array(weights, dtype), **options)


@pytest.mark.parametrize(
    ("image", "weights", "flip", "row"),
    [
        (BRIGHT_LEFT, VERTICAL, False, [0, 30, 30, 0]),
        (BRIGHT_RIGHT, VERTICAL, False, [0, -30, -30, 0]),
        (BRIGHT_LEFT, VERTICAL, True, [0, -30, -30, 0]),
        (BRIGHT_LEFT, SOBEL, False, [0, 40, 40, 0]),
        (BRIGHT_LEFT, SCHARR, False, [0, 160, 160, 0]),
        (np.repeat([[10, 10, 10, 0, 0, 0, 0]], 7, axis=0), VERTICAL, False, [0, 30, 30, 0, 0]),
    ],
    ids=["dark to the right", "dark to the left", "flipped", "sobel", "scharr", "7x7"],
)
def test_vertical_edge(image, weights, flip, row, dtype):
    y = filtered(image, weights, dtype, flip=flip)
    np.testing.assert_array_equal(y, [row] * len(row))


def test_horizontal_edge_of_a_chequered_image(dtype):
    image = np.zeros((6, 6))
    image[:3, :3] = image[3:, 3:] = 10
    rows = [[0, 0, 0, 0], [30, 10, -10, -30], [30, 10, -10, -30], [0, 0, 0, 0]]
    np.testing.assert_array_equal(filtered(image, HORIZONTAL, dtype), rows)


def test_sharpen(dtype):
    y = filtered(A, SHARPEN, dtype, padding=1)
    assert y.shape == (5, 5)
    np.testing.assert_array_equal(
        y[:4, :4],
        [[320, 206, 198, 188], [210, 89, 111, 101], [205, 85, 111, 101], [189, 98, 117, 113]],
    )


@pytest.mark.parametrize(
    ("weights", "y"),
    [
        (SOBEL, [[2, -3, 10], [-13, -13, 16], [-17, -6, 24]]),
        (SOBEL_DOWN, [[8, -9, -18], [-3, -11, -6], [-15, -4, 6]]),
    ],
    ids=["across", "down"],
)
def test_sobel(weights, y, dtype):
    np.testing.assert_array_equal(filtered(A, weights, dtype), y)
    np.testing.assert_array_equal(filtered(A, weights, dtype, flip=True), np.negative(y))


CURVE = np.zeros((7, 7))
CURVE[range(6), [5, 4, 3, 3, 3, 3]] = 30
ON_THE_CURVE = [
    [0, 0, 0, 0, 0, 0, 30],
    [0, 0, 0, 0, 50, 50, 50],
    [0, 0, 0, 20, 50, 0, 0],
    *[[0, 0, 0, 50, 50, 0, 0]] * 4,
]
ELSEWHERE = [
    [0, 0, 0, 0, 0, 0, 0],
    [0, 40, 0, 0, 0, 0, 0],
    [40, 0, 40, 0, 0, 0, 0],
    [40, 20, 0, 0, 0, 0, 0],
    [0, 50, 0, 0, 0, 0, 0],
    [0, 0, 50, 0, 0, 0, 0],
    [25, 25, 0, 50, 0, 0, 0],
]


@pytest.mark.parametrize(
    ("image", "found", "flipped"),
    [(ON_THE_CURVE, 6600, 3600), (ELSEWHERE, 0, 2250)],
    ids=["on the curve", "elsewhere"],
)
def test_curve_detector(image, found, flipped, dtype):
    assert filtered(image, CURVE, dtype) == [[found]]
    assert filtered(image, CURVE, dtype, flip=True) == [[flipped]]


def test_filter_of_one_weight_scales(dtype):
    np.testing.assert_array_equal(filtered(A, [[2]], dtype), 2 * np.array(A))


def test_residual_through_a_zero_filter_is_the_identity(dtype):
    x = np.abs(np.random.default_rng(0).standard_normal((2, 4, 6, 6))).astype(dtype)
    y = convkit.conv2d(
        x, np.zeros((4, 4, 3, 3), dtype), padding=1, residual=x, activation="relu", algo="direct"
    )
    np.testing.assert_array_equal(y, x)


# ---- the convolution theorem, for circular convolution -------------------------------------------


def circularly(f, g, dtype, **options):
    """sum over a, b of f[a, b] g[i - a, j - b], indices modulo the size."""
    size = f.shape[0]
    y = filtered(f, g, dtype, flip=True, padding=((size - 1, 0), (size - 1, 0)),
                 padding_mode="circular", **options)  # fmt: skip
    assert y.shape == f.shape
    return y.astype(np.float64)


@pytest.fixture
def signals(dtype):
    rng = np.random.default_rng(7)
    f, g = rng.standard_normal((2, 12, 12)).astype(dtype).astype(np.float64)
    tolerance = 3000 * np.finfo(dtype).eps
    return f, g, tolerance


@pytest.mark.parametrize("algo", ["direct", "im2col", "fft"])
def test_convolution_becomes_a_product(signals, dtype, algo):
    f, g, tolerance = signals
    left = np.fft.fft2(circularly(f, g, dtype, algo=algo))
    np.testing.assert_allclose(left, np.fft.fft2(f) * np.fft.fft2(g), atol=tolerance)


@pytest.mark.parametrize("algo", ["direct", "im2col", "fft"])
def test_product_becomes_a_convolution(signals, dtype, algo):
    """DFT(f g) = (1 / N) DFT(f) circularly convolved with DFT(g); complex, so four convolutions."""
    f, g, tolerance = signals
    transforms = [(t.real, t.imag) for t in (np.fft.fft2(f), np.fft.fft2(g))]
    (f_re, f_im), (g_re, g_im) = transforms
    re = circularly(f_re, g_re, dtype, algo=algo) - circularly(f_im, g_im, dtype, algo=algo)
    im = circularly(f_re, g_im, dtype, algo=algo) + circularly(f_im, g_re, dtype, algo=algo)
    np.testing.assert_allclose((re + 1j * im) / f.size, np.fft.fft2(f * g), atol=tolerance)


def test_transform_of_the_autocorrelation_is_the_power_spectrum(signals, dtype):
    f, _, tolerance = signals
    size = f.shape[0]
    y = filtered(f, f, dtype, padding=((0, size - 1), (0, size - 1)), padding_mode="circular")
    np.testing.assert_allclose(np.fft.fft2(y), np.abs(np.fft.fft2(f)) ** 2, atol=tolerance)


# ---- pooling and what follows --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "kernel", "stride", "y"),
    [
        ([[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]], 2, 2, [[9, 2], [6, 3]]),
        ([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], 2, 2, [[6, 8], [3, 4]]),
        (
            [[1, 3, 2, 1, 3], [2, 9, 1, 1, 5], [1, 3, 2, 3, 2], [8, 3, 5, 1, 0], [5, 6, 1, 2, 9]],
            3,
            1,
            [[9, 9, 5], [9, 9, 5], [8, 6, 9]],
        ),
    ],
    ids=["first", "second", "overlapping"],
)
def test_max_pool(image, kernel, stride, y, dtype):
    x = np.array(image, dtype)[None, None]
    np.testing.assert_array_equal(convkit.max_pool2d(x, kernel, stride=stride)[0, 0], y)


def test_avg_pool(dtype):
    x = np.array([[1, 3, 2, 1], [2, 9, 1, 1], [1, 4, 2, 3], [5, 6, 1, 2]], dtype)[None, None]
    np.testing.assert_array_equal(convkit.avg_pool2d(x, 2, stride=2)[0, 0], [[3.75, 1.25], [4, 2]])


def test_relu(dtype):
    x = np.array([[9, 3, 5, -8], [-6, 2, -3, 1], [1, 3, 4, 1], [3, -4, 5, 1]], dtype)
    y = convkit.relu(x)
    np.testing.assert_array_equal(y, [[9, 3, 5, 0], [0, 2, 0, 1], [1, 3, 4, 1], [3, 0, 5, 1]])


@pytest.mark.parametrize(
    ("b", "y"),
    [
        (0, [1 / 3] * 3),
        (1, [0.09003057, 0.24472847, 0.66524096]),
        (2, [0.01587624, 0.11731043, 0.86681333]),
    ],
)
def test_softmax(b, y, dtype):
    x = np.array([[1, 2, 3]], dtype)
    np.testing.assert_allclose(convkit.softmax(x, b=float(b)), [y], rtol=0, atol=6e-8)


# ---- sizes and costs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "w", "options", "y"),
    [
        ((1, 1, 7, 7), (1, 1, 3, 3), {"stride": 2}, (1, 1, 3, 3)),
        ((1, 3, 227, 227), (96, 3, 11, 11), {"stride": 4}, (1, 96, 55, 55)),
        ((1, 1, 5, 5), (1, 1, 3, 3), {"padding": 1}, (1, 1, 5, 5)),
        ((1, 3, 39, 39), (10, 3, 3, 3), {}, (1, 10, 37, 37)),
        ((1, 10, 37, 37), (20, 10, 5, 5), {"stride": 2}, (1, 20, 17, 17)),
        ((1, 20, 17, 17), (40, 20, 5, 5), {"stride": 2}, (1, 40, 7, 7)),
    ],
    ids=["7x7", "alexnet", "25 patches", "first", "second", "third"],
)
def test_sizes(x, w, options, y):
    assert conv_problem(x, w, **options).y_shape == y
    assert convkit.conv2d(np.zeros(x, "f"), np.zeros(w, "f"), **options).shape == y


def test_pooled_size():
    assert convkit.max_pool2d(np.zeros((1, 64, 224, 224), "f"), 2).shape == (1, 64, 112, 112)


@pytest.mark.parametrize(
    ("x", "w", "options", "macs"),
    [
        ((1, 192, 28, 28), (32, 192, 5, 5), {"padding": "same"}, 120_422_400),
        ((1, 192, 28, 28), (16, 192, 1, 1), {}, 2_408_448),
        ((1, 16, 28, 28), (32, 16, 5, 5), {"padding": "same"}, 10_035_200),
        ((1, 192, 28, 28), (32, 192, 1, 1), {}, 4_816_896),
        ((1, 3, 6, 6), (5, 3, 3, 3), {}, 2_160),
        ((1, 3, 6, 6), (3, 1, 3, 3), {"groups": 3}, 432),
        ((1, 3, 4, 4), (5, 3, 1, 1), {}, 240),
    ],
    ids=["5x5", "bottleneck", "after it", "1x1", "dense", "depthwise", "pointwise"],
)
def test_costs(x, w, options, macs):
    assert conv_problem(x, w, **options).macs == macs


# ---- networks ------------------------------------------------------------------------------------


def counted(model, field="params"):
    """What the layers hold, those without anything left out."""
    return [value for row in model.summary().rows if (value := getattr(row, field))]


def shapes(model, kind):
    return [row.output_shape[1:] for row in model.summary().rows if row.kind == kind]


def three_convolutions(features):
    b = convkit.Builder((3, 39, 39))
    x = b.conv2d(b.input, 10, 3)
    x = b.conv2d(x, 20, 5, stride=2)
    x = b.flatten(b.conv2d(x, 40, 5, stride=2))
    x = b.linear(x, features)
    return b.model(b.sigmoid(x) if features == 1 else b.softmax(x))


def test_three_convolutions_and_a_logistic_unit():
    model = three_convolutions(1)
    assert counted(model) == [280, 5_020, 20_040, 1_961]
    assert model.summary().params == 27_301
    assert shapes(model, "conv2d") == [(10, 37, 37), (20, 17, 17), (40, 7, 7)]
    assert shapes(model, "flatten") == [(1960,)]


def test_three_convolutions_and_softmax():
    assert three_convolutions(10).summary().params == 44_950


def lenet_like():
    b = convkit.Builder((3, 32, 32))
    x = b.max_pool2d(b.conv2d(b.input, 6, 5, activation="relu"), 2)
    x = b.max_pool2d(b.conv2d(x, 16, 5, activation="relu"), 2)
    x = b.linear(b.flatten(x), 120, activation="relu")
    x = b.linear(x, 84, activation="relu")
    return b.model(b.softmax(b.linear(x, 10)))


def test_lenet_like():
    s = lenet_like().summary()
    assert counted(lenet_like()) == [456, 2_416, 48_120, 10_164, 850]
    assert (s.params, s.macs, s.flops) == (62_006, 651_720, 1_303_440)
    rows = [row for row in s.rows if row.kind not in ("flatten", "softmax")]
    assert [row.activations for row in rows] == [3072, 4704, 1176, 1600, 400, 120, 84, 10]


def test_fully_connected_instead_of_the_first_layer():
    """3,072 numbers to 4,704; the sharing of weights saves all but 456 of its parameters."""
    b = convkit.Builder((3, 32, 32))
    assert b.model(b.linear(b.flatten(b.input), 4704)).summary().params == 14_455_392


def test_keras_digits():
    b = convkit.Builder((1, 28, 28))
    x = b.max_pool2d(b.conv2d(b.input, 32, 3, activation="relu"), 2)
    x = b.max_pool2d(b.conv2d(x, 64, 3, activation="relu"), 2)
    x = b.flatten(b.conv2d(x, 64, 3, activation="relu"))
    x = b.linear(x, 64, activation="relu")
    model = b.model(b.softmax(b.linear(x, 10)))
    assert counted(model) == [320, 18_496, 36_928, 36_928, 650]
    assert model.summary().params == 93_322 and model.summary().macs == 2_794_240
    assert shapes(model, "conv2d") == [(32, 26, 26), (64, 11, 11), (64, 3, 3)]
    assert shapes(model, "max_pool2d") == [(32, 13, 13), (64, 5, 5)]
    assert shapes(model, "flatten") == [(576,)]


def test_keras_cats_and_dogs():
    b = convkit.Builder((3, 150, 150))
    x = b.input
    for filters in (32, 64, 128, 128):
        x = b.max_pool2d(b.conv2d(x, filters, 3, activation="relu"), 2)
    x = b.linear(b.flatten(x), 512, activation="relu")
    model = b.model(b.sigmoid(b.linear(x, 1)))
    assert counted(model) == [896, 18_496, 73_856, 147_584, 3_211_776, 513]
    assert model.summary().params == 3_453_121 and model.summary().macs == 236_095_488
    assert [shape[1] for shape in shapes(model, "conv2d")] == [148, 72, 34, 15]
    assert [shape[1] for shape in shapes(model, "max_pool2d")] == [74, 36, 17, 7]


def test_rows_of_vgg16():
    model = convkit.models.build("vgg16")
    assert counted(model) == [
        1792, 36_928, 73_856, 147_584, 295_168, 590_080, 590_080, 1_180_160, *[2_359_808] * 5,
        102_764_544, 16_781_312, 4_097_000,
    ]  # fmt: skip
    assert {row.params for row in model.summary().rows if row.kind == "max_pool2d"} == {0}
    # The multiply-adds that the course prints are without the fully connected layers.
    dense = sum(row.macs for row in model.summary().rows if row.kind == "linear")
    assert model.summary().macs == 15_470_264_320 and dense == 123_633_664


VGG16 = (2, 64), (2, 128), (3, 256), (3, 512), (3, 512)


def vgg16_on_150():
    """Keras' VGG-16 without its top, and two layers of one's own."""
    b = convkit.Builder((3, 150, 150))
    x = b.input
    for block, (count, filters) in enumerate(VGG16, 1):
        for i in range(1, count + 1):
            x = b.conv2d(x, filters, 3, padding=1, activation="relu", name=f"block{block}_conv{i}")
        x = b.max_pool2d(x, 2, name=f"block{block}_pool")
    base = b.model(x)
    x = b.linear(b.flatten(x, name="flatten"), 256, activation="relu", name="dense_1")
    return base, b.model(b.sigmoid(b.linear(x, 1, name="dense_2")))


def test_vgg16_without_its_top():
    base, model = vgg16_on_150()
    assert base.summary().params == 14_714_688
    assert base.summary().rows[-1].output_shape == (1, 512, 4, 4)
    s = model.summary()
    assert (s.params, s.tensors) == (16_812_353, 30)
    assert (s.trainable, s.trainable_tensors, s.non_trainable) == (16_812_353, 30, 0)


def frozen_base(model):
    model.freeze(up_to="flatten")


def frozen_base_by_name(model):
    model.freeze(names=[row.name for row in model.summary().rows if row.name.startswith("block")])


@pytest.mark.parametrize("freeze", [frozen_base, frozen_base_by_name])
def test_frozen_base(freeze):
    _, model = vgg16_on_150()
    freeze(model)
    s = model.summary()
    assert (s.trainable_tensors, s.trainable, s.non_trainable) == (4, 2_097_665, 14_714_688)


def test_fine_tuning_from_the_first_convolution_of_block_5():
    _, model = vgg16_on_150()
    frozen_base(model)
    model.freeze(up_to="block5_conv1")
    s = model.summary()
    assert (s.trainable_tensors, s.trainable, s.non_trainable) == (10, 9_177_089, 7_635_264)


def test_vgg16_by_name_without_its_top():
    model = convkit.models.build("vgg16", input_size=150, include_top=False)
    assert model.summary().params == 14_714_688
    assert model.summary().rows[-1].output_shape == (1, 512, 4, 4)
    model.freeze(up_to="block5_conv1")
    s = model.summary()
    assert (s.trainable, s.non_trainable) == (9_177_089 - 2_097_665, 7_635_264)


def test_lenet5_of_the_paper():
    """C3 stands in three rows, for maps that read three, four and six maps of S2."""
    model = convkit.models.build("lenet5")
    s = model.summary()
    params = {row.name: row.params for row in s.rows if row.params}
    third = {name: params.pop(name) for name in list(params) if name.startswith("c3")}
    assert params == {"c1": 156, "s2": 12, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert list(third.values()) == [6 * 76, 9 * 101, 151] and sum(third.values()) == 1_516
    assert s.params == 60_000
    assert [row.kind for row in s.rows if row.name in ("s2", "s4", "rbf")] == [
        "affine", "affine", "rbf",
    ]  # fmt: skip
    # The codes are there, fixed, and counted nowhere.
    assert s.keras_params == 60_000 and model.state_dict()["rbf.codes"].shape == (10, 84)


def test_alexnet_by_name():
    rows = {row.name: row for row in convkit.models.build("alexnet_paper").summary().rows}
    assert (rows["conv1"].activations, rows["conv1"].params) == (290_400, 34_944)
    convolutions = [row for row in rows.values() if row.kind == "conv2d"]
    assert sum(row.activations for row in convolutions) == 650_080
    assert convolutions[1].output_shape[1] == 256


def alexnet_convolutions():
    """The paper's five, of which the second, fourth and fifth are in two groups."""
    b = convkit.Builder((3, 227, 227))
    x = b.max_pool2d(b.conv2d(b.input, 96, 11, stride=4, name="conv1"), 3, stride=2)
    x = b.max_pool2d(b.conv2d(x, 256, 5, padding=2, groups=2, name="conv2"), 3, stride=2)
    x = b.conv2d(x, 384, 3, padding=1, name="conv3")
    x = b.conv2d(x, 384, 3, padding=1, groups=2, name="conv4")
    x = b.conv2d(x, 256, 3, padding=1, groups=2, name="conv5")
    return b.model(b.flatten(b.max_pool2d(x, 3, stride=2)))


def test_alexnet():
    model = alexnet_convolutions()
    rows = {row.name: row for row in model.summary().rows}
    assert (rows["conv1"].activations, rows["conv1"].params) == (290_400, 34_944)
    assert sum(row.activations for row in rows.values() if row.kind == "conv2d") == 650_080
    assert model.graph.outputs[0].shape == (1, 9_216)
    b = convkit.Builder((96, 27, 27))
    (second,) = counted(b.model(b.conv2d(b.input, 256, 5, padding=2)))
    assert second == 614_656  # without groups


@pytest.mark.parametrize(
    ("depth", "params", "macs"),
    [(18, 11_515_688, 1_794_805_760), (34, 21_623_848, 3_644_493_824)],
)
def test_plain_networks(depth, params, macs):
    """Without shortcuts, so without the three projections of the residual twin."""
    plain = convkit.models.build(f"plain{depth}").summary()
    twin = convkit.models.build(f"resnet{depth}").summary()
    assert (plain.params, plain.macs) == (params, macs)
    projections = [row for row in twin.rows if "downsample" in row.name]
    assert twin.params - plain.params == sum(row.params for row in projections)
    assert twin.macs - plain.macs == sum(row.macs for row in projections)


def conv_params(channels, filters, kernel, **options):
    b = convkit.Builder((channels, 28, 28))
    return b.model(b.conv2d(b.input, filters, kernel, **options)).summary().params


def test_parameters_of_separable_layers():
    assert conv_params(192, 32, 1) == 6_176
    assert conv_params(3, 256, 5, bias=False) == 19_200
    assert conv_params(3, 3, 5, groups=3, bias=False) == 75
    assert conv_params(3, 256, 1, bias=False) == 768
    assert [
        conv_params(3, 18, 1, bias=False),
        conv_params(18, 18, 3, groups=18, bias=False),
        conv_params(18, 3, 1, bias=False),
    ] == [54, 162, 54]


def test_blocks_of_mobilenet_v2():
    nodes = convkit.models.build("mobilenet_v2").graph.nodes
    assert sum(node.keywords.get("groups", 1) > 1 for node in nodes) == 17


@pytest.mark.parametrize(("outputs", "ratio"), [(5, 0.31), (512, 0.113), (1024, 0.112)])
def test_separable_convolutions_cost_a_share(outputs, ratio):
    """1 / filters + 1 / 9 of the multiply-adds of 3x3 filters."""
    dense = conv_problem((1, 3, 6, 6), (outputs, 3, 3, 3)).macs
    depthwise = conv_problem((1, 3, 6, 6), (3, 1, 3, 3), groups=3).macs
    pointwise = conv_problem((1, 3, 4, 4), (outputs, 3, 1, 1)).macs
    assert (depthwise + pointwise) / dense == pytest.approx(1 / outputs + 1 / 9)
    assert (depthwise + pointwise) / dense == pytest.approx(
        ratio, abs=0.005 if outputs == 5 else 5e-4
    )


def test_im2col_of_25_patches():
    """A 5x5 image has 25 patches of 3x3: a matrix of 9 x 25, zeros beyond the image."""
    image = np.arange(1.0, 26).reshape(5, 5)
    patches = np.stack(
        [
            filtered(image, np.eye(9)[i].reshape(3, 3), "float64", padding=1).ravel()
            for i in range(9)
        ]
    )
    assert patches.shape == (9, 25)
    np.testing.assert_array_equal(patches[4], image.ravel())
    np.testing.assert_array_equal(patches[:, 0], [0, 0, 0, 0, 1, 2, 0, 6, 7])
