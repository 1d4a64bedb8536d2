"""The networks that come with convkit: counts, names, and stored weights run on real images."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest

import convkit

PARAMETERS = {
    "lenet5_digits": 61_706,
    "lenet_caffe": 431_080,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20_cifar10": 269_722,
    "resnet32_cifar10": 464_154,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
}


def test_names():
    assert set(PARAMETERS) <= set(convkit.models.names())


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    model = convkit.models.build(name)
    assert model.graph.name == name
    assert model.graph.parameters == PARAMETERS[name]
    if PARAMETERS[name] > 5_000_000:  # drawing them takes long
        return
    weights = model.state_dict()
    assert sum(w.size for k, w in weights.items() if "running" not in k) == PARAMETERS[name]
    assert {w.dtype for w in weights.values()} == {np.dtype(np.float32)}


# The large ones take seconds and hundreds of megabytes; of each family the smallest runs.
RUN = [n for n in PARAMETERS if n not in ("vgg13", "vgg16", "vgg19", "resnet101", "resnet152")]


@pytest.mark.parametrize("name", RUN)
def test_runs_on_random_weights(name):
    model = convkit.models.build(name, num_classes=7, seed=3)
    _, *shape = model.graph.inputs[0].shape
    x = np.random.default_rng(0).standard_normal((2, *shape), dtype=np.float32)
    y = model(x)
    assert y.shape == (2, 7)
    assert np.isfinite(y).all() and y.std() > 1e-3
    np.testing.assert_array_equal(model(x[1:]), y[1:])


def test_layers_of_lenet5_digits():
    nodes = {node.name: node for node in convkit.models.build("lenet5_digits").graph.nodes}
    assert {k: n.parameters for k, n in nodes.items() if n.parameters} == {
        "conv1": 156, "conv2": 2_416, "fc1": 48_120, "fc2": 10_164, "fc3": 850,
    }  # fmt: skip
    assert nodes["conv1"].output.shape == (1, 6, 28, 28)
    assert nodes["pool2"].output.shape == (1, 16, 5, 5)


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="name='resnet9' must be one of lenet5_digits, lenet_caff"):
        convkit.models.build("resnet9")


def test_name_must_be_a_string():
    with pytest.raises(TypeError, match="name=3 must be one of"):
        convkit.models.build(3)


def test_num_classes():
    for name in ("lenet_caffe", "squeezenet1_0", "segnet"):
        with pytest.raises(ValueError, match="num_classes=0 must be at least 1"):
            convkit.models.build(name, num_classes=0)
    with pytest.raises(TypeError, match="num_classes=2.5 must be an integer of at least 1"):
        convkit.models.build("resnet18", num_classes=2.5)


def test_a_size_that_the_network_was_not_built_for_is_named():
    model = convkit.models.build("lenet5_digits")
    message = r"node fc1: .*; input has shape \(2, 1, 64, 64\), and lenet5_digits was built for "
    message += r"\(n, 1, 32, 32\)$"
    with pytest.raises(ValueError, match=message):
        model(np.zeros((2, 1, 64, 64), np.float32))
    with pytest.raises(ValueError, match=message):
        model.summary((2, 1, 64, 64))


def test_unknown_keywords_are_listed_with_those_there_are():
    message = "resnet18 takes no classes, weights: expected num_classes, input_size, include_top"
    with pytest.raises(TypeError, match=message):
        convkit.models.build("resnet18", classes=3, weights="imagenet")


def test_flags_must_be_true_or_false():
    with pytest.raises(TypeError, match="include_top='no' must be True or False"):
        convkit.models.build("resnet18", include_top="no")
    with pytest.raises(TypeError, match="aux=None must be True or False"):
        convkit.models.build("googlenet_paper", aux=None)


def test_lenet_reads_mnist(data):
    """9,914 of 10,000 digits, exactly."""
    folder = data / "mnist"
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    x = np.frombuffer(images, np.uint8)[16:].reshape(-1, 1, 28, 28)
    truth = np.frombuffer(labels, np.uint8)[8:]
    model = convkit.models.build("lenet_caffe")
    model.load(folder / "lenet_caffe.safetensors")
    right = 0
    for i in range(0, 10_000, 500):
        y = model((x[i : i + 500] / 256).astype(np.float32))
        right += int((y.argmax(1) == truth[i : i + 500]).sum())
    assert right == 9914


@pytest.mark.parametrize("depth, accuracy", [(20, 0.795), (32, 0.808)])
def test_resnet_gives_the_expected_logits(data, depth, accuracy):
    from PIL import Image

    folder = data / "resnet_cifar10"
    expected = np.load(folder / "expected.npz")
    with zipfile.ZipFile(folder / "cifar10_jpeg1000.zip") as archive:
        pictures = [
            np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
            for name in archive.namelist()
        ]
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    x = (np.stack(pictures).astype(np.float32) / 255 - mean) / std
    model = convkit.models.build(f"resnet{depth}_cifar10")
    report = model.load(folder / f"resnet{depth}.th")
    assert not report.missing and not report.unexpected
    y = model(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(y, expected[f"resnet{depth}"], rtol=0, atol=2e-3)
    assert (y.argmax(1) == expected["label"]).mean() == pytest.approx(accuracy)
