"""Whole Keras models: layers against NumPy, both layouts of files, refusals, broken configs."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import numpy as np
import pytest
from keras_files import (
    Array,
    Weights,
    call,
    call3,
    conv,
    conv_transpose,
    depthwise,
    entry,
    functional,
    layer,
    sequential,
    windows,
    write_h5,
    write_keras,
)
from PIL import Image

import convkit
from convkit.graph import Model
from convkit.keras.importer import from_config


def nchw(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32) if x.ndim == 4 else x


def run(config: dict[str, Any], weights: Weights, *arrays: Array) -> Any:
    """The model of a config, run on arrays in Keras' layout; its outputs in convkit's."""
    found = from_config(config, weights)
    return Model(found.graph, found.weights)(*(nchw(np.float32(x)) for x in arrays))


def close(y: Array, expected: Array) -> None:
    """Equal but for rounding, in convkit's layout."""
    expected = nchw(np.asarray(expected, np.float32))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def one(kind: str, x: Array, weights: dict[str, Array] | None = None, **settings: Any) -> Array:
    """What a model of one layer makes of x."""
    config = sequential(entry(x.shape[1:]), layer(kind, "it", **settings))
    return np.asarray(run(config, {"it": weights or {}}, x))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# Layers against their definitions


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "window, stride, dilation, groups",
    [((3, 3), (2, 2), (1, 1), 1), ((2, 5), (1, 3), (1, 1), 2), ((4, 3), (1, 1), (2, 3), 1)],
)
def test_conv2d(rng, window, stride, dilation, groups, padding):
    x, bias = rng.normal(size=(2, 11, 14, 4)), rng.normal(size=6)
    kernel = rng.normal(size=(*window, 4 // groups, 6))
    y = one(
        "Conv2D", x, {"kernel": kernel, "bias": bias}, filters=6, kernel_size=list(window),
        strides=list(stride), dilation_rate=list(dilation), groups=groups, padding=padding,
        data_format="channels_last", activation="relu",
    )  # fmt: skip
    close(y, np.maximum(conv(x, kernel, stride, padding, dilation, groups) + bias, 0))


@pytest.mark.parametrize("name", ["depthwise_kernel", "kernel"])  # of Keras 2 and of Keras 3
def test_depthwise_conv2d(rng, name):
    x, kernel, bias = (rng.normal(size=s) for s in ((2, 9, 8, 3), (4, 3, 3, 2), 6))
    y = one(
        "DepthwiseConv2D", x, {name: kernel, "bias": bias}, kernel_size=[4, 3], strides=[2, 2],
        padding="same", depth_multiplier=2,
    )  # fmt: skip
    close(y, depthwise(x, kernel, (2, 2), "same") + bias)


def test_separable_conv2d(rng):
    shapes = {"depthwise_kernel": (3, 3, 3, 2), "pointwise_kernel": (1, 1, 6, 5), "bias": 5}
    x, held = rng.normal(size=(2, 9, 8, 3)), {k: rng.normal(size=s) for k, s in shapes.items()}
    y = one("SeparableConv2D", x, held, filters=5, kernel_size=3, strides=2, padding="same",
            depth_multiplier=2)  # fmt: skip
    middle = depthwise(x, held["depthwise_kernel"], (2, 2), "same")
    close(y, conv(middle, held["pointwise_kernel"]) + held["bias"])


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("window, stride", [(3, 2), (2, 2), (4, 2), (3, 1), (2, 3), (5, 3)])
def test_conv2d_transpose(rng, window, stride, padding):
    x, kernel, bias = (rng.normal(size=s) for s in ((2, 5, 4, 3), (window, window, 2, 3), 2))
    y = one("Conv2DTranspose", x, {"kernel": kernel, "bias": bias}, filters=2, kernel_size=window,
            strides=stride, padding=padding)  # fmt: skip
    close(y, conv_transpose(x, kernel, stride, padding) + bias)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("window, stride", [(2, None), (3, 2), (3, 1), (3, 3)])
def test_pools(rng, window, stride, padding):
    """Means of "same" padding do not count what lies outside."""
    x = rng.normal(size=(2, 7, 8, 3)) - 3
    steps, sizes = (stride or window,) * 2, (window, window)
    settings = {"pool_size": window, "strides": stride, "padding": padding}
    seen = windows(x, sizes, steps, padding, np.nan)
    close(one("MaxPooling2D", x, **settings), np.nanmax(seen, (-2, -1)))
    close(one("AveragePooling2D", x, **settings), np.nanmean(seen, (-2, -1)))


@pytest.mark.parametrize("scale, center", [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (2, 3)])
def test_batch_normalization(rng, shape, scale, center):
    held = {"gamma": rng.normal(size=3), "beta": rng.normal(size=3)}
    held = {k: v for k, v in held.items() if {"gamma": scale, "beta": center}[k]}
    held |= {"moving_mean": rng.normal(size=3), "moving_variance": rng.uniform(0.5, 2, 3)}
    x = rng.normal(size=shape)
    y = one("BatchNormalization", x, held, axis=[len(shape) - 1], epsilon=0.01, scale=scale,
            center=center, momentum=0.9)  # fmt: skip
    deviation = np.sqrt(held["moving_variance"] + 0.01)
    expected = (x - held["moving_mean"]) / deviation * held.get("gamma", 1) + held.get("beta", 0)
    close(y, expected)


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    "kind, settings, expected",
    [
        ("Activation", {"activation": "swish"}, lambda x: x / (1 + np.exp(-x))),
        ("Activation", {"activation": "softmax"}, _softmax),
        ("Activation", {"activation": "selu"},
         lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
        ("Activation", {"activation": "hard_sigmoid"}, lambda x: np.clip(x / 5 + 0.5, 0, 1)),
        ("Activation", {"activation": {"class_name": "function", "config": "tanh"}}, np.tanh),
        ("ReLU", {"max_value": 6.0}, lambda x: np.clip(x, 0, 6)),
        ("ReLU", {"max_value": 1.0, "negative_slope": 0.1},
         lambda x: np.minimum(np.where(x < 0, 0.1 * x, x), 1)),
        ("ReLU", {"threshold": 0.5}, lambda x: np.where(x > 0.5, x, 0)),
        ("LeakyReLU", {"alpha": 0.2}, lambda x: np.where(x < 0, 0.2 * x, x)),
        ("LeakyReLU", {}, lambda x: np.where(x < 0, np.float32(0.3) * x, x)),
        ("ELU", {"alpha": 0.5}, lambda x: np.where(x < 0, 0.5 * np.expm1(x), x)),
        ("Softmax", {"axis": [3]}, _softmax),
        ("Rescaling", {"scale": 1 / 127.5, "offset": -1}, lambda x: x / 127.5 - 1),
        ("Rescaling", {"scale": [1, 2, 3], "offset": 0}, lambda x: x * [1, 2, 3]),
        ("Normalization", {"axis": [3], "mean": [1, 2, 3], "variance": [[[4, 9, 0]]]},
         lambda x: (x - [1, 2, 3]) / [2, 3, 1e-7]),
        ("ZeroPadding2D", {"padding": [[1, 0], [2, 3]]},
         lambda x: np.pad(x, ((0, 0), (1, 0), (2, 3), (0, 0)))),
        ("Cropping2D", {"cropping": [[1, 0], [0, 2]]}, lambda x: x[:, 1:, :-2]),
        ("UpSampling2D", {"size": [2, 3]}, lambda x: x.repeat(2, 1).repeat(3, 2)),
        ("GlobalAveragePooling2D", {}, lambda x: x.mean((1, 2))),
        ("GlobalAveragePooling2D", {"keepdims": True}, lambda x: x.mean((1, 2), keepdims=True)),
        ("GlobalMaxPooling2D", {}, lambda x: x.max((1, 2))),
        ("Flatten", {}, lambda x: x.reshape(2, -1)),
        ("Reshape", {"target_shape": [-1]}, lambda x: x.reshape(2, -1)),
        ("Reshape", {"target_shape": [10, 6]}, lambda x: x.reshape(2, 10, 6)),
        ("Reshape", {"target_shape": [2, -1, 6]}, lambda x: x.reshape(2, 2, 5, 6)),
        ("Reshape", {"target_shape": [1, 1, 60]}, lambda x: x.reshape(2, 1, 1, 60)),
        ("Permute", {"dims": [3, 1, 2]}, lambda x: x.transpose(0, 3, 1, 2)),
        ("Dropout", {"rate": 0.5}, lambda x: x),
        ("RandomFlip", {"mode": "horizontal"}, lambda x: x),
    ],
)  # fmt: skip
def test_layers_without_weights(rng, kind, settings, expected):
    x = 2 * rng.normal(size=(2, 4, 5, 3))
    close(one(kind, x, **settings), expected(np.float64(np.float32(x))))


def test_upsampling_is_bilinear(rng):
    """Pixels lie at their centres: (i + 1/2) / 2 - 1/2, and the border is held."""
    x = rng.normal(size=(1, 3, 4, 2))
    y = one("UpSampling2D", x, size=2, interpolation="bilinear")
    for axis in (1, 2):
        at = np.clip((np.arange(2 * x.shape[axis]) + 0.5) / 2 - 0.5, 0, x.shape[axis] - 1)
        low = np.minimum(at.astype(int), x.shape[axis] - 2)
        part = (at - low).reshape([-1 if i == axis else 1 for i in range(4)])
        x = np.take(x, low, axis) * (1 - part) + np.take(x, low + 1, axis) * part
    close(y, x)


def test_prelu_and_adapted_normalization(rng):
    x, alpha = rng.normal(size=(2, 4, 5, 3)), rng.normal(size=(1, 5, 3))
    close(one("PReLU", x, {"alpha": alpha}, shared_axes=[1]), np.where(x < 0, alpha * x, x))
    held = {"mean": np.arange(3.0), "variance": np.array([1.0, 4.0, 9.0]), "count": np.array(5.0)}
    y = one("Normalization", x, held, axis=[-1])
    close(y, (x - held["mean"]) / [1, 2, 3])


def test_hard_sigmoid_of_keras_3(rng):
    """Its slope is 1/6, that of Keras 2 1/5."""
    x = 3 * rng.normal(size=(2, 6))
    first = layer("InputLayer", "input_1", batch_shape=[None, 6])
    y = run(sequential(first, layer("Activation", "it", activation="hard_sigmoid")), {}, x)
    close(y, np.clip(x / 6 + 0.5, 0, 1))


@pytest.mark.parametrize("between", [[], ["ReLU", "Dropout"]])
def test_dense_after_flatten_reads_channels_last(rng, between):
    x, kernel = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(60, 7))
    middle = [layer(kind, kind.lower()) for kind in between]
    for flat in (layer("Flatten", "flat"), layer("Reshape", "flat", target_shape=[60])):
        dense = layer("Dense", "dense", units=7, use_bias=False, activation="softmax")
        config = sequential(entry(x.shape[1:]), flat, *middle, dense)
        y = run(config, {"dense": {"kernel": kernel}}, x)
        rows = np.maximum(x, 0) if between else x
        close(y, _softmax(rows.reshape(2, -1) @ kernel))


def test_dense_of_an_image_is_a_convolution(rng):
    x, kernel, bias = (rng.normal(size=s) for s in ((2, 3, 4, 5), (5, 7), 7))
    close(one("Dense", x, {"kernel": kernel, "bias": bias}, units=7), x @ kernel + bias)


@pytest.mark.parametrize(
    "kind, settings, expected",
    [
        ("Add", {}, lambda a, b, c: a + b + c),
        ("Multiply", {}, lambda a, b, c: a * b * c),
        ("Average", {}, lambda a, b, c: (a + b + c) / 3),
        ("Maximum", {}, lambda a, b, c: np.maximum(np.maximum(a, b), c)),
        ("Concatenate", {"axis": -1}, lambda a, b, c: np.concatenate([a, b, c], -1)),
        ("Concatenate", {"axis": 2}, lambda a, b, c: np.concatenate([a, b, c], 2)),
    ],
)
def test_merging_layers(rng, kind, settings, expected):
    arrays = [rng.normal(size=(2, 4, 5, 3)) for _ in range(3)]
    names = ["a", "b", "c"]
    layers = [
        entry(
            (4, 5, 3),
            name,
        )
        | {"inbound_nodes": []}
        for name in names
    ]
    layers.append(layer(kind, "it", [call(*names)], **settings))
    close(run(functional(layers, names, ["it"]), {}, *arrays), expected(*arrays))


# The ways in which models are written


def test_keras_3_calls_shared_layers_and_operators(rng):
    """`s(s(x)) + x`, times the means, plus a number; s is one layer with one set of weights."""
    x, kernel = rng.normal(size=(1, 6, 7, 3)), 0.3 * rng.normal(size=(3, 3, 3, 3))
    add = layer("Add", "add", [call3(("s", 1), "x")]) | {"module": "keras.src.ops.numpy"}
    layers = [
        layer("InputLayer", "x", [], batch_shape=[None, None, None, 3]),
        layer("Conv2D", "s", [call3("x"), call3("s", training=False)], filters=3, kernel_size=3,
              padding="same", use_bias=False),
        add,
        layer("GlobalAveragePooling2D", "mean", [call3("add")], keepdims=True),
        layer("Multiply", "product", [call3("add", "mean", merged=True)]),
        layer("Add", "more", [call3("product", 3.0)]),
    ]  # fmt: skip
    config = functional(layers, ["x"], ["more"])
    config["config"].update(input_layers=["x", 0, 0], output_layers=["more", 0, 0])
    found = from_config(config, {"s": {"0": kernel}})
    assert found.graph.parameters == kernel.size
    assert found.sizes == {"x": (None, 3, None, None)}
    assert found.graph.inputs[0].shape is None
    model = Model(found.graph, found.weights, sizes=found.sizes)
    for size in ((6, 7), (9, 5)):  # height and width are free
        x = rng.normal(size=(2, *size, 3))
        summed = conv(conv(x, kernel, padding="same"), kernel, padding="same") + x
        close(model(nchw(x)), summed * summed.mean((1, 2), keepdims=True) + 3)


def test_dense_layer_of_an_image_and_of_rows(rng):
    """One layer, two calls: the rows of the matrix are turned for the flattened image alone."""
    image, rows, kernel = (rng.normal(size=size) for size in ((2, 2, 3, 4), (2, 24), (24, 5)))
    layers = [
        entry((2, 3, 4), "image") | {"inbound_nodes": []},
        entry((24,), "rows") | {"inbound_nodes": []},
        layer("Flatten", "flat", [call("image")]),
        layer("Dense", "dense", [call("flat"), call("rows")], units=5, use_bias=False),
        layer("Subtract", "it", [call("dense", ("dense", 1))]),
    ]
    config = functional(layers, ["image", "rows"], ["it"])
    y = run(config, {"dense": {"kernel": kernel}}, image, rows)
    close(y, image.reshape(2, -1) @ kernel - rows @ kernel)


def test_layers_stand_in_any_order(rng):
    """Each is written once what it reads is there."""
    layers = [
        layer("Add", "it", [call("up", "down")]),
        layer("ReLU", "up", [call("x")]),
        layer("Rescaling", "down", [call("up")], scale=-2.0),
        entry((4,), "x") | {"inbound_nodes": []},
    ]
    x = rng.normal(size=(2, 4))
    close(run(functional(layers, ["x"], ["it"]), {}, x), -np.maximum(x, 0))


def small(rng, **more: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """A convolution, a norm and a dense layer; and their weights, in Keras 3's order."""
    held = {"kernel": rng.normal(size=(3, 3, 3, 4)), "gamma": rng.uniform(1, 2, 4)}
    held |= {"beta": rng.normal(size=4), "moving_mean": rng.normal(size=4)}
    held |= {"moving_variance": rng.uniform(1, 2, 4), "matrix": rng.normal(size=(16, 5))}
    layers = [
        layer("Conv2D", "first", filters=4, kernel_size=3, strides=2, padding="same",
              use_bias=False, **more),
        layer("BatchNormalization", "norm", epsilon=0.001),
        layer("Flatten", "flat"),
        layer("Dense", "last", units=5, use_bias=False),
    ]  # fmt: skip
    return sequential(*layers), held


def expected_small(x: Array, held: dict[str, Array]) -> Array:
    y = conv(x, held["kernel"], (2, 2), "same") - held["moving_mean"]
    y = y / np.sqrt(held["moving_variance"] + 0.001) * held["gamma"] + held["beta"]
    return y.reshape(len(x), -1) @ held["matrix"]


NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def test_h5_file(rng, tmp_path):
    pytest.importorskip("h5py")
    config, held = small(rng, batch_input_shape=[None, 4, 3, 3])
    weights = {
        "first": {"kernel": held["kernel"]},
        "norm": {name: held[name] for name in NORM},
        "last": {"kernel": held["matrix"]},
    }
    model = convkit.load(write_h5(tmp_path / "net.h5", config, weights))
    x = rng.normal(size=(3, 4, 3, 3))
    close(model(nchw(x)), expected_small(x, held))
    assert (model.labels, model.preset) == (None, None)
    assert model.graph.parameters == 9 * 3 * 4 + 8 + 16 * 5
    model.save(tmp_path / "net.safetensors")
    again = convkit.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again(nchw(x)), model(nchw(x)))


def test_keras_file_numbers_layers_by_class(rng, tmp_path):
    """Names such as conv2d are those of classes there, whatever the layers are called."""
    pytest.importorskip("h5py")
    config, held = small(rng)
    config["config"]["layers"].insert(0, layer("InputLayer", "x", batch_shape=[None, 4, 3, 3]))
    groups = {
        "conv2d": [held["kernel"]],
        "batch_normalization": [held[name] for name in NORM],
        "dense": [held["matrix"]],
    }
    model = convkit.load(write_keras(tmp_path / "net.keras", config, groups))
    x = rng.normal(size=(3, 4, 3, 3))
    close(model(nchw(x)), expected_small(x, held))


def test_nested_model(rng, tmp_path):
    """A model inside a model is written out in its place: as course notes use a trained base."""
    pytest.importorskip("h5py")
    base, held = small(rng)
    base["config"]["layers"] = [entry((4, 3, 3)), *base["config"]["layers"][:2]]
    base["config"]["name"] = "base"
    top = sequential(base, layer("Flatten", "f"), layer("Dense", "last", units=5, use_bias=False))
    inside = {f"norm/{name}": held[name] for name in NORM} | {"first/kernel": held["kernel"]}
    weights = {"base": inside, "last": {"kernel": held["matrix"]}}
    model = convkit.load(write_h5(tmp_path / "net.h5", top, weights))
    x = rng.normal(size=(3, 4, 3, 3))
    close(model(nchw(x)), expected_small(x, held))
    assert "first.weight" in model.graph.weights
    twice = {
        "base/first": {"0": held["kernel"]},
        "base/norm": {str(i): held[name] for i, name in enumerate(NORM)},
        "last": {"0": held["matrix"]},
    }
    close(run(top, twice, x), expected_small(x, held))


def test_nested_model_of_one_layer(rng):
    """A .h5 file gives the only layer's weights bare names."""
    x, kernel = rng.normal(size=(2, 3, 4)), rng.normal(size=(12, 5))
    dense = layer("Dense", "dense", units=5, use_bias=False)
    base = sequential(entry((3, 4)), layer("Flatten", "flat"), dense, name="base")
    close(run(sequential(entry((3, 4), "x"), base), {"base": {"kernel": kernel}}, x),
          x.reshape(2, -1) @ kernel)  # fmt: skip


def test_mobilenet_file(data):
    """MobileNet v1 0.25 128 as Keras 2.8 saved it, against its outputs on the 40 photos."""
    pytest.importorskip("h5py")
    expected = np.load(data / "mobilenet_v1/expected.npz")["output"]
    model = convkit.load(data / "mobilenet_v1/mobilenet_v1_0.25_128.h5")
    assert model.graph.parameters == 470_072
    images = sorted((data / "imagenet40").glob("*.JPEG"))
    for file, row in zip(images[::8], expected[::8], strict=True):
        picture = Image.open(file).convert("RGB")
        w, h = (int(size * 0.875) for size in picture.size)
        left, top = (picture.width - w) // 2, (picture.height - h) // 2
        cut = picture.crop((left, top, left + w, top + h)).resize((128, 128), Image.BILINEAR)
        y = model(nchw(np.float32(cut)[None] / 127.5 - 1))
        np.testing.assert_allclose(y[0], row, rtol=0, atol=2e-3)


# What is refused


def test_all_that_is_not_supported_stands_in_one_message(rng):
    layers = [
        entry((8, 8, 3)),
        layer("Lambda", "odd", function={"class_name": "__lambda__", "config": {"code": "4wEA"}}),
        layer("Conv2D", "first", filters=4, kernel_size=3, data_format="channels_first"),
        layer("LSTM", "one", units=3),
        layer("LSTM", "two", units=3),
        layer("Conv2D", "other", filters=4, kernel_size=3, sparkle=3),
        layer("Activation", "act", activation="squareplus"),
        layer("Add", "mine") | {"module": "my_package.layers"},
    ]
    with pytest.raises(ValueError, match="not supported") as error:
        from_config(sequential(*layers), {})
    for said in (
        "Lambda ('odd')",
        "Conv2D with data_format='channels_first' ('first')",
        "LSTM ('one', 'two')",
        "Conv2D with sparkle=3 ('other')",
        "Activation with activation='squareplus' ('act')",
        "'Add' of 'my_package.layers' ('mine')",
    ):
        assert said in str(error.value)


def test_all_weights_that_do_not_fit_stand_in_one_message(rng):
    config, held = small(rng, batch_input_shape=[None, 4, 3, 3])
    weights = {
        "first": {"kernel": held["kernel"][:2]},
        "norm": {name: held[name] for name in NORM[1:]},
        "last": {"kernel": held["matrix"].astype(int)},
    }
    with pytest.raises(ValueError) as error:
        from_config(config, weights)
    for said in (
        "first: kernel has shape (2, 3, 3, 4), expected (3, 3, 3, 4)",
        "norm has no gamma",
        "last: kernel is int64, expected floats",
    ):
        assert said in str(error.value)


def test_file_of_weights_alone(tmp_path):
    pytest.importorskip("h5py")
    path = write_h5(tmp_path / "w.h5", None, {"dense": {"kernel": np.zeros((2, 3))}})
    with pytest.raises(ValueError, match=r"w\.h5 holds weights and no network: build the network"):
        convkit.load(path)


def test_load_names_the_kinds_of_files(tmp_path):
    with pytest.raises(ValueError, match=r"\.safetensors, \.onnx, \.h5 or \.keras"):
        convkit.load(tmp_path / "net.pb")


A, B = entry((4, 4, 3), "a") | {"inbound_nodes": []}, entry((4, 4, 2), "b") | {"inbound_nodes": []}
RELU = layer("ReLU", "r", [call("a")])


@pytest.mark.parametrize(
    "config, message",
    [
        ([], "class_name"),
        ({"class_name": "Tokenizer", "config": {}}, "expected a Sequential or functional model"),
        (sequential(), "has 0 layers"),
        (sequential(layer("ReLU", "r")), "does not say the shape of its input"),
        (sequential(entry((4, 4, 3)), layer("ReLU", "r"), layer("ReLU", "r")), "two layers"),
        (sequential(entry((4, 4, None)), layer("ReLU", "r")), "only height and width"),
        (sequential(entry((4, 4, -3)), layer("ReLU", "r")), "a size of -3"),
        (sequential(entry((4, 4, 3)), layer("Conv2D", "c", kernel_size=3)), "filters=None"),
        (sequential(entry((4, 4, 3)), layer("Conv2D", "c", filters=2, kernel_size=[3])),
         r"kernel_size=\[3\] must be one number or two"),
        (sequential(entry((4,)), layer("ReLU", "r", max_value=[])), "max_value=list must be a num"),
        (sequential(entry((4,)), layer("Rescaling", "r", scale=1e99)), "float32 can hold"),
        (sequential(entry((4,)), layer("MaxPooling2D", "p")), "needs images, got shape"),
        (sequential(entry((4, 4, 3)), layer("MaxPooling2D", "p", pool_size=9)), "layer 'p'"),
        (sequential(entry((4, 4, 3)), layer("Reshape", "r", target_shape=[7])), "does not fit"),
        (sequential(entry((4, 4, 3)), layer("Cropping2D", "c", cropping=2)), "leaves nothing"),
        (functional([A, B, layer("Add", "s", [call("a", "b")])], ["a", "b"], ["s"]), "layer 's'"),
        (functional([A, layer("ReLU", "r", [call("s")]), layer("ReLU", "s", [call("r")])],
                    ["a"], ["s"]), "no layer makes before them: 'r'; 's'"),
        (functional([A, layer("ReLU", "r", [call("gone")])], ["a"], ["r"]), "'r'"),
        (functional([A, RELU], ["a"], ["gone"]), "has no layer 'gone'"),
        (functional([A, layer("ReLU", "r", [call("a", "a")])], ["a"], ["r"]), "it takes one"),
        (functional([A, layer("ReLU", "r", [[["a", 0, 0, {"alpha": 2}]]])], ["a"], ["r"]),
         "ReLU called with 'alpha'"),
        (functional([A, RELU], ["r"], ["r"]), "expected an InputLayer"),
    ],
)  # fmt: skip
def test_broken_configs(config, message):
    with pytest.raises(ValueError, match=message):
        from_config(config, {})


def test_models_nested_without_end():
    config = sequential(entry((4,)))
    for number in range(40):
        config = sequential(entry((4,)), config, name=f"m{number}")
    with pytest.raises(ValueError, match="nested more than 16 deep"):
        from_config(config, {})


@pytest.mark.parametrize("seed", range(4))
def test_mutated_configs_end_in_value_error(rng, seed):
    """100 configs each with a few values replaced; what still loads still runs."""
    x, kernel = rng.normal(size=(1, 6, 7, 3)), rng.normal(size=(3, 3, 3, 3))
    layers = [
        A | {"config": {"name": "a", "batch_input_shape": [None, 6, 7, 3]}},
        layer("Conv2D", "c", [call("a"), call("c")], filters=3, kernel_size=[3, 3],
              strides=[1, 1], padding="same", dilation_rate=[1, 1], groups=1, use_bias=False),
        layer("MaxPooling2D", "m", [call(("c", 1))], pool_size=[2, 2], padding="same"),
        layer("ZeroPadding2D", "z", [call("m")], padding=[[1, 0], [0, 2]]),
        layer("Reshape", "s", [call("z")], target_shape=[-1, 3]),
        layer("Flatten", "f", [call("s")]),
        layer("Concatenate", "both", [call("f", "f")], axis=-1),
    ]  # fmt: skip
    whole = functional(layers, ["a"], ["both"])
    run(whole, {"c": {"kernel": kernel}}, x)
    draw = random.Random(seed)
    odd = [None, -1, 0, 1, 2, 7, 1 << 40, 1e300, float("nan"), "", "same", "c", [], [1], {}, True]
    refused = 0
    for _ in range(100):
        config = copy.deepcopy(whole)
        for _ in range(draw.randint(1, 3)):
            _mutate(config, draw, odd)
        try:
            found = from_config(json.loads(json.dumps(config)), {"c": {"kernel": kernel}})
        except ValueError:
            refused += 1
            continue
        if found.graph.inputs[0].shape == (1, 3, 6, 7) and len(found.graph.inputs) == 1:
            Model(found.graph, found.weights)(nchw(np.float32(x)))
    assert 20 < refused < 100


def _mutate(data: Any, draw: random.Random, odd: list[Any]) -> None:
    """Replace or drop a value somewhere in a tree of lists and objects."""
    places: list[tuple[Any, Any]] = []
    waiting = [data]
    while waiting:
        each = waiting.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each))
        places += [(each, key) for key in keys]
        waiting += [each[key] for key in keys if isinstance(each[key], (dict, list))]
    where, key = draw.choice(places)
    if draw.random() < 0.2:
        del where[key]
    else:
        where[key] = copy.deepcopy(draw.choice(odd))


def test_loading_needs_no_constants(rng):
    """What a Rescaling multiplies by belongs to the network: a file of weights has none of it."""
    config = sequential(
        entry((4, 4, 3)), layer("Rescaling", "down", scale=0.5), layer("Flatten", "flat"),
        layer("Dense", "dense", units=2, use_bias=False),
    )  # fmt: skip
    found = from_config(config, {"dense": {"kernel": rng.standard_normal((48, 2))}})
    model = Model(found.graph, found.weights)
    constants = {w.name for w in model.graph.weights.values() if w.role == "constant"}
    assert constants
    rest = {name: 2 * a for name, a in model.state_dict().items() if name not in constants}
    x = rng.standard_normal((1, 3, 4, 4)).astype("f")
    before = model(x)
    assert model.load(rest).missing == ()
    np.testing.assert_allclose(model(x), 2 * before, rtol=1e-6)
