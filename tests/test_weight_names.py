"""Model.load: whose array is which, by name, by alias and by structure; Keras' layouts."""

from __future__ import annotations

import numpy as np
import pytest
import weight_files as files

from convkit import load_weights, models
from convkit.graph import Builder, Model


def drawn(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(0.2, 1, shape).astype(np.float32)


def small(**names: str) -> Model:
    """Each layer that Keras writes its own way: a convolution, batch norms that scale and do not,
    a depthwise and a separable convolution, dense layers after a flatten."""

    def name(layer: str) -> str:
        return names.get("prefix", "") + layer

    b = Builder((3, 9, 8), name="small")
    x = b.conv2d(b.input, 4, 3, padding=1, name=name("conv"))
    x = b.batch_norm(x, eps=1e-3, activation="relu", name=name("norm"))
    x = b.conv2d(x, 8, 3, groups=4, name=name("dw"))
    x = b.conv2d(x, 8, 3, groups=8, bias=False, name=name("sep.depthwise"))
    x = b.conv2d(x, 6, 1, name=name("sep.pointwise"))
    x = b.batch_norm(x, eps=1e-3, name=name("unscaled"))
    x = b.dropout(b.flatten(x))
    x = b.linear(x, 7, activation="relu", name=name("dense"))
    return b.model(b.linear(x, 2, name=name("out")))


#: What Keras holds for it: layer -> weights in the order in which Keras makes them.
KERAS = {
    "conv": {"kernel": drawn((3, 3, 3, 4)), "bias": drawn((4,))},
    "norm": {"gamma": drawn((4,), 1), "beta": drawn((4,), 2), "moving_mean": drawn((4,), 3),
             "moving_variance": drawn((4,), 4)},
    "dw": {"depthwise_kernel": drawn((3, 3, 4, 2)), "bias": drawn((8,))},
    "sep": {"depthwise_kernel": drawn((3, 3, 8, 1)), "pointwise_kernel": drawn((1, 1, 8, 6)),
            "bias": drawn((6,))},
    "unscaled": {"beta": drawn((6,), 2), "moving_mean": drawn((6,), 3),
                 "moving_variance": drawn((6,), 4)},
    "dense": {"kernel": drawn((5 * 4 * 6, 7)), "bias": drawn((7,))},
    "out": {"kernel": drawn((7, 2)), "bias": drawn((2,))},
}  # fmt: skip
CONFIG = {
    "class_name": "Functional",
    "config": {
        "name": "small",
        "layers": [
            {"class_name": kind, "config": {"name": name, **more}}
            for kind, name, more in (
                ("InputLayer", "in", {}), ("Conv2D", "conv", {}),
                ("BatchNormalization", "norm", {"scale": True, "center": True}),
                ("DepthwiseConv2D", "dw", {}), ("SeparableConv2D", "sep", {}),
                ("BatchNormalization", "unscaled", {"scale": False, "center": True}),
                ("Flatten", "flatten", {}), ("Dense", "dense", {}), ("Dense", "out", {}),
            )
        ],
    },
}  # fmt: skip


def as_keras_computes(x: np.ndarray) -> np.ndarray:
    """The network on (n, h, w, c), in float64, from Keras' arrays as they are."""
    layers = {k: {n: a.astype(np.float64) for n, a in w.items()} for k, w in KERAS.items()}

    def windows(x: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))  # n p q c r s

    def norm(x: np.ndarray, w: dict) -> np.ndarray:
        scaled = (x - w["moving_mean"]) / np.sqrt(w["moving_variance"] + 1e-3)
        return scaled * w.get("gamma", 1) + w["beta"]

    def depthwise(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        y = np.einsum("npqcrs,rscm->npqcm", windows(x), kernel)
        return y.reshape(*y.shape[:3], -1)

    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = np.einsum("npqcrs,rsck->npqk", windows(x), layers["conv"]["kernel"])
    x = np.maximum(norm(x + layers["conv"]["bias"], layers["norm"]), 0)
    x = depthwise(x, layers["dw"]["depthwise_kernel"]) + layers["dw"]["bias"]
    x = depthwise(x, layers["sep"]["depthwise_kernel"]) @ layers["sep"]["pointwise_kernel"][0, 0]
    x = norm(x + layers["sep"]["bias"], layers["unscaled"])
    x = np.maximum(x.reshape(len(x), -1) @ layers["dense"]["kernel"] + layers["dense"]["bias"], 0)
    return x @ layers["out"]["kernel"] + layers["out"]["bias"]


def check_outputs(model: Model) -> None:
    x = drawn((2, 9, 8, 3), 9) - 0.5
    expected = as_keras_computes(x.astype(np.float64))
    got = model(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(got, expected, atol=1e-5 * abs(expected).max(), rtol=0)


WRITERS = {
    "keras2": files.write_keras2, "keras2 weights": files.write_keras2_weights,
    "keras3": files.write_keras3, "keras3 of old": files.write_keras3_unnamed,
}  # fmt: skip


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_of_keras_gives_what_keras_computes(tmp_path, form):
    model = small()
    report = model.load(WRITERS[form](tmp_path / "net", KERAS, CONFIG))
    assert len(report.loaded) == len(model.state_dict()) == 19
    assert report.missing == report.unexpected == report.by_structure == ()
    check_outputs(model)


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_of_keras_with_other_names_is_loaded_in_order(tmp_path, form):
    model = small(prefix="other_")
    report = model.load(WRITERS[form](tmp_path / "net", KERAS, CONFIG))
    assert report.missing == report.unexpected == ()
    assert len(report.by_structure) == 18
    assert "(18 by structure)" in str(report)
    check_outputs(model)


def test_weights_of_keras_3_without_a_config(tmp_path):
    """The batch norm of three arrays could lack either; all else is found."""
    path = tmp_path / "net.weights.h5"
    path.write_bytes(files.keras3_weights(KERAS, CONFIG))
    with pytest.raises(ValueError, match="unscaled has three arrays: nothing says whether") as got:
        small().load(path)
    assert "missing: unscaled.weight, unscaled.bias, unscaled.running_mean" in str(got.value)


def test_arrays_read_by_load_weights_are_converted_too(tmp_path):
    model = small()
    model.load(load_weights(files.write_keras2(tmp_path / "net", KERAS, CONFIG)))
    check_outputs(model)


def test_models_around_the_layers_are_dropped():
    model = small()
    given = {f"outer/inner/{layer}/{name}:0": array for layer, weights in KERAS.items()
             for name, array in weights.items()}  # fmt: skip
    assert len(model.load(given).loaded) == 19
    check_outputs(model)


def test_batch_norm_between_flatten_and_dense():
    """Its vectors count as the flattened image does."""
    b = Builder((3, 2, 4), name="flat")
    x = b.batch_norm(b.flatten(b.input), name="norm")
    model = b.model(b.linear(x, 24, name="fc"))
    mean = np.arange(24, dtype=np.float32)
    model.load({
        "norm/moving_mean:0": mean, "norm/moving_variance:0": np.ones(24, np.float32),
        "norm/gamma:0": mean + 1, "norm/beta:0": mean * 0,
        "fc/kernel:0": np.eye(24, dtype=np.float32), "fc/bias:0": mean * 0,
    })  # fmt: skip
    x = drawn((1, 2, 4, 3))
    expected = (x.reshape(1, -1) - mean) * (mean + 1) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(model(x.transpose(0, 3, 1, 2).copy()), expected, rtol=1e-5)


def test_grouped_and_transposed_convolutions_of_keras():
    b = Builder((4, 5, 5), name="net")
    x = b.conv2d(b.input, 6, 3, groups=2, bias=False, name="grouped")
    x = b.conv2d(x, 6, 1, groups=6, bias=False, name="each")
    model = b.model(b.conv_transpose2d(x, 5, 2, stride=2, bias=False, name="up"))
    grouped, each, up = drawn((3, 3, 2, 6)), drawn((1, 1, 1, 6)), drawn((2, 2, 5, 6))
    model.load({"grouped/kernel": grouped, "each/kernel": each, "up/kernel": up})
    held = model.state_dict()
    np.testing.assert_array_equal(held["grouped.weight"], grouped.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(held["each.weight"][:, 0, 0, 0], each[0, 0, 0])
    np.testing.assert_array_equal(held["up.weight"], up.transpose(3, 2, 0, 1))


def test_aliases_of_the_family(monkeypatch):
    from convkit.models import lenet

    table = {"lenet5_digits": {"first_conv": "conv1"}}
    monkeypatch.setattr(lenet, "ALIASES", table, raising=False)
    model = lenet.lenet5_digits()
    given = dict(model.state_dict())
    given["first_conv/kernel:0"] = given.pop("conv1.weight").transpose(2, 3, 1, 0)
    given["module.first_conv.bias"] = given.pop("conv1.bias") + 1
    before = model.state_dict()
    report = model.load(given)
    assert report.by_alias == ("conv1.weight", "conv1.bias")
    assert str(report) == "10 loaded (2 by alias), 0 missing, 0 unexpected"
    np.testing.assert_array_equal(model.state_dict()["conv1.weight"], before["conv1.weight"])
    np.testing.assert_array_equal(model.state_dict()["conv1.bias"], before["conv1.bias"] + 1)


def chain(*, filters: tuple[int, ...] = (4, 4), side: bool = False) -> Model:
    b = Builder((4, 6, 6), name="chain")
    x = b.input
    for i, k in enumerate(filters):
        y = b.conv2d(x, k, 3, padding=1, name=f"body.{i}")
        if side and i == 0:
            y = b.add(y, b.conv2d(x, k, 3, padding=1, name="body.side"))
        x = y
    return b.model(x)


def renamed(model: Model) -> dict:
    weights = {k.replace("body", "z"): v + 1 for k, v in model.state_dict().items()}
    return {k.replace("z.0", "zz"): v for k, v in weights.items()}


def test_layers_in_their_order():
    """Not in the order of their names, which would be z.1, zz."""
    model = chain()
    report = model.load(given := renamed(model))
    assert report.by_structure == report.loaded == tuple(chain().state_dict())
    np.testing.assert_array_equal(model.state_dict()["body.0.weight"], given["zz.weight"])
    np.testing.assert_array_equal(model.state_dict()["body.1.weight"], given["z.1.weight"])


@pytest.mark.parametrize("change", ["parallel", "sorted", "shape", "layer"])
def test_no_order_where_it_could_be_another(change):
    model = chain(filters=(4, 4, 4), side=change == "parallel")
    given = renamed(model)
    if change == "sorted":  # the order says nothing, and all three have the same shapes
        given = dict(sorted(given.items()))
    elif change == "shape":
        given["z.1.weight"] = given["z.1.weight"][..., :2]
    elif change == "layer":
        given["more.weight"] = given["zz.weight"]
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"missing: body\.0\.weight.* by the order of the layers"):
        model.load(given)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_formats_that_keep_an_order(tmp_path):
    """What PyTorch and NumPy write stands as it was saved; safetensors files are sorted."""
    from safetensors.numpy import save_file

    model = chain(filters=(4, 4, 4))
    given = {k.replace("body", "layer"): v for k, v in model.state_dict().items()}
    np.savez(tmp_path / "net.npz", **given)
    assert len(model.load(tmp_path / "net.npz").by_structure) == 6
    save_file(given, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"by the order of the layers: layer\.\d fits none of"):
        model.load(tmp_path / "net.safetensors")


def test_sorted_files_are_taken_by_their_shapes():
    model = chain(filters=(2, 3, 5))
    given = dict(sorted({f"{'cab'[i]}.{role}": model.state_dict()[f"body.{i}.{role}"] + 1
                         for i in range(3) for role in ("weight", "bias")}.items()))  # fmt: skip
    model.load(given)
    np.testing.assert_array_equal(model.state_dict()["body.0.weight"], given["c.weight"])
    np.testing.assert_array_equal(model.state_dict()["body.2.weight"], given["b.weight"])


@pytest.mark.parametrize("side", ["aux1.conv.weight", "AuxLogits.fc.weight", "loss1/conv.weight",
                                  "module.aux2.fc1.bias"])  # fmt: skip
def test_side_classifiers_are_no_error(side):
    model = chain()
    report = model.load({**model.state_dict(), side: np.zeros(3)})
    assert report.unexpected == (side,)
    with pytest.raises(ValueError, match=r"unexpected: auxiliary"):
        model.load({**model.state_dict(), "auxiliary": np.zeros(3)})


def test_wrong_shapes_of_keras_are_listed_in_both_layouts():
    given = {f"{layer}/{name}": array for layer, weights in KERAS.items()
             for name, array in weights.items()}  # fmt: skip
    given["conv/kernel"] = drawn((3, 3, 3, 5))
    given["dense/kernel"] = drawn((119, 7))
    del given["out/bias"]
    with pytest.raises(ValueError) as caught:
        small().load(given)
    assert str(caught.value) == (
        "weights does not fit small: wrong: conv/kernel has shape (3, 3, 3, 5), in Keras' layout, "
        "which is (5, 3, 3, 3) here, expected (4, 3, 3, 3); dense/kernel has shape (119, 7), in "
        "Keras' layout, which is (7, 119) here, expected (7, 120). missing: out.bias"
    )


def test_stored_mobilenet_of_keras(data):
    """What Keras saved runs here, and its outputs are those of the network it was converted to."""
    from PIL import Image

    images = []
    for file in sorted((data / "imagenet40").glob("*.JPEG")):
        image = Image.open(file).convert("RGB")
        w, h = image.size
        cw, ch = int(0.875 * w), int(0.875 * h)
        left, top = (w - cw) // 2, (h - ch) // 2
        image = image.crop((left, top, left + cw, top + ch)).resize((128, 128), Image.BILINEAR)
        images.append(np.asarray(image, np.float32) / 127.5 - 1)
    x = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
    stored = np.load(data / "mobilenet_v1" / "expected.npz")
    model = models.build("mobilenet_v1", alpha=0.25, input_size=128)
    report = model.load(data / "mobilenet_v1" / "mobilenet_v1_0.25_128.h5")
    assert report.missing == report.unexpected == ()
    assert len(report.loaded) == 137
    logits = model(x)
    got = np.exp(logits - logits.max(1, keepdims=True))
    got /= got.sum(1, keepdims=True)
    np.testing.assert_allclose(got, stored["output"], atol=2e-3)
    assert (got.argmax(1) == stored["index"]).sum() == 24
