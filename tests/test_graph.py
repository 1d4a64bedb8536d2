"""Graphs: what Builder writes, checks and refuses; what Model runs, loads and keeps."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading

import numpy as np
import pytest
import weight_files

import convkit
from convkit.graph import Graph, Node, Value


def small(**keywords) -> convkit.graph.Model:
    """A network with every kind of weight and both ways through a residual connection."""
    b = convkit.Builder((2, 6, 5), name="small", **keywords)
    x = b.conv2d(b.input, 4, 3, padding=1, name="conv")
    y = b.batch_norm(x, activation="relu", name="norm")
    x = b.add(y, x, activation=("leaky_relu", 0.1), name="add")
    x = b.max_pool2d(x, 2, ceil_mode=True, name="pool")
    return b.model(b.softmax(b.linear(b.flatten(x), 3, name="fc"), name="softmax"))


def draw(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def weights_of(model, seed=1, dtype=np.float32):
    """Other weights for a model; variances positive."""
    rng = np.random.default_rng(seed)
    return {k: (rng.random(v.shape) + 0.5).astype(dtype) for k, v in model.state_dict().items()}


# Shapes


def test_example_of_the_design():
    b = convkit.Builder((3, 150, 150))
    x = b.max_pool2d(b.conv2d(b.input, 32, 3, activation="relu", name="conv1"), 2)
    model = b.model(b.softmax(b.linear(b.flatten(x), 10)))
    assert x.shape == (1, 32, 74, 74)
    assert model.graph.outputs[0].shape == (1, 10)
    assert list(model.graph.weights) == [
        "conv1.weight", "conv1.bias", "linear_1.weight", "linear_1.bias",
    ]  # fmt: skip


VALUES = {
    "conv2d": (lambda b: b.conv2d(b.input, 8, (3, 2)), (8, 4, 5)),
    "same": (lambda b: b.conv2d(b.input, 8, 3, stride=2, padding="same"), (8, 3, 3)),
    "sides": (lambda b: b.conv2d(b.input, 8, 3, padding=((1, 2), [0, 1])), (8, 7, 5)),
    "groups": (lambda b: b.conv2d(b.input, 8, 3, dilation=2, groups=4), (8, 2, 2)),
    "max_pool2d": (lambda b: b.max_pool2d(b.input, 2), (4, 3, 3)),
    "ceil_mode": (lambda b: b.max_pool2d(b.input, (3, 4), stride=2, ceil_mode=True), (4, 3, 2)),
    "avg_pool2d": (lambda b: b.avg_pool2d(b.input, 3, stride=1, padding=1), (4, 6, 6)),
    "global_avg_pool2d": (lambda b: b.global_avg_pool2d(b.input), (4, 1, 1)),
    "batch_norm": (lambda b: b.batch_norm(b.input), (4, 6, 6)),
    "relu": (lambda b: b.relu(b.input), (4, 6, 6)),
    "add": (lambda b: b.add(b.input, b.relu(b.input)), (4, 6, 6)),
    "softmax": (lambda b: b.softmax(b.input, axis=1), (4, 6, 6)),
    "flatten": (lambda b: b.flatten(b.input), (144,)),
    "linear": (lambda b: b.linear(b.flatten(b.input), 7), (7,)),
    "pad_channels": (lambda b: b.pad_channels(b.input, 1, 3, stride=4), (8, 2, 2)),
    "dropout": (lambda b: b.dropout(b.input, 0.3), (4, 6, 6)),
}


@pytest.mark.parametrize("name", VALUES)
def test_shapes_are_inferred_and_are_what_runs(name):
    write, shape = VALUES[name]
    b = convkit.Builder((4, 6, 6))
    value = write(b)
    assert value.shape == (1, *shape)
    assert b.model(value)(draw((3, 4, 6, 6))).shape == (3, *shape)


def test_dropout_is_no_node():
    b = convkit.Builder((4,))
    assert b.dropout(b.input) is b.input


def test_a_graph_is_frozen():
    graph = small().graph
    for thing in (graph, graph.nodes[0], graph.inputs[0], graph.nodes[0].weights[0]):
        name = dataclasses.fields(thing)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, "other")
    hash(graph)  # all that hangs on it is immutable


def test_settings_cannot_be_changed_from_outside():
    b = convkit.Builder((1, 9, 9))
    stride = [2, 2]
    b.conv2d(b.input, 1, 3, stride=stride, name="conv")
    stride[0] = 1
    model = b.model(b._nodes[0].output)
    assert model(draw((1, 1, 9, 9))).shape == (1, 1, 4, 4)


def test_nodes_that_no_output_needs_are_left_out():
    b = convkit.Builder((4,))
    b.linear(b.input, 100, name="unused")
    model = b.model(b.linear(b.input, 2, name="used"))
    assert [node.name for node in model.graph.nodes] == ["used"]


def test_several_outputs_come_as_a_tuple():
    b = convkit.Builder((4,))
    x = b.linear(b.input, 2)
    model = b.model((x, b.relu(x), b.input))
    data = draw((5, 4))
    y, z, same = model(data)
    np.testing.assert_array_equal(z, np.maximum(y, 0))
    np.testing.assert_array_equal(same, data)


def test_graph_must_be_in_order():
    value, other = Value("a", (1,), "float32"), Value("b", (1,), "float32")
    node = Node("activation", "b", (other,), other)
    with pytest.raises(AssertionError, match="before they are made"):
        Graph("g", (value,), (node,), (other,))


def test_listing():
    assert str(small().graph).splitlines() == [
        "small: input 1x2x6x5 float32, 195 parameters",
        "  conv       conv2d      input       -> 1x4x6x5   76  padding=1",
        "  norm       batch_norm  conv        -> 1x4x6x5    8  activation='relu'",
        "  add        add         norm, conv  -> 1x4x6x5       activation=('leaky_relu', 0.1)",
        "  pool       max_pool2d  add         -> 1x4x3x3       kernel=2 ceil_mode=True",
        "  flatten_1  flatten     pool        -> 1x36",
        "  fc         linear      flatten_1   -> 1x3      111",
        "  softmax    softmax     fc          -> 1x3           axis=-1",
        "  output: softmax",
    ]
    assert repr(small()) == "<convkit model small, 195 parameters>"


def test_parameters_of_the_examples():
    """Parameters and shapes of networks that course material counts by hand."""
    b = convkit.Builder((3, 39, 39))
    x = b.conv2d(b.input, 10, 3)
    x = b.conv2d(x, 20, 5, stride=2)
    x = b.conv2d(x, 40, 5, stride=2)
    assert [node.parameters for node in b._nodes] == [280, 5020, 20040]
    assert [node.output.shape for node in b._nodes] == [
        (1, 10, 37, 37), (1, 20, 17, 17), (1, 40, 7, 7),
    ]  # fmt: skip
    flat = b.flatten(x)
    assert flat.shape == (1, 1960)
    assert b.model(b.sigmoid(b.linear(flat, 1))).graph.parameters == 27_301
    assert b.model(b.softmax(b.linear(flat, 10))).graph.parameters == 44_950


# Running


def test_against_numpy():
    b = convkit.Builder((4, 6, 6), dtype="float64")
    x = b.pad_channels(b.input, 1, 2, stride=2)
    x = b.batch_norm(x, eps=0.1, name="norm")
    x = b.linear(b.flatten(x), 5, activation="tanh", name="fc")
    model = b.model(b.softmax(x, b=2.0))
    w = weights_of(model, dtype=np.float64)
    model.load(w)
    data = draw((3, 4, 6, 6), dtype=np.float64)
    padded = np.zeros((3, 7, 3, 3))
    padded[:, 1:5] = data[:, :, ::2, ::2]
    scale = w["norm.weight"] / np.sqrt(w["norm.running_var"] + 0.1)
    shift = w["norm.bias"] - w["norm.running_mean"] * scale
    normed = padded * scale[:, None, None] + shift[:, None, None]
    y = np.tanh(normed.reshape(3, -1) @ w["fc.weight"].T + w["fc.bias"])
    expected = np.exp(2 * y) / np.exp(2 * y).sum(1, keepdims=True)
    np.testing.assert_allclose(model(data), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "name, parameters",
    [
        ("relu", ()), ("relu6", ()), ("clip", (-0.5, 0.25)), ("leaky_relu", (0.2,)),
        ("elu", (0.7,)), ("hardsigmoid", (0.3, 0.4)), ("sigmoid", ()), ("tanh", ()),
        ("hardswish", ()), ("silu", ()), ("gelu", ()),
    ],
)  # fmt: skip
def test_activations(name, parameters):
    b = convkit.Builder((50,))
    model = b.model(getattr(b, name)(b.input, *parameters))
    data = draw((2, 50)) * 4
    expected = convkit.activate(data, (name, *parameters) if parameters else name)
    np.testing.assert_array_equal(model(data), expected)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_batches_do_not_matter(n):
    model = small()
    data = draw((5, 2, 6, 5))
    np.testing.assert_array_equal(model(data[:n]), model(data)[:n])


def test_input_is_left_alone_and_outputs_are_new():
    model = small()
    data = draw((2, 2, 6, 5))
    data.flags.writeable = False
    before = data.copy()
    first = model(data)
    kept = first.copy()
    second = model(data)
    np.testing.assert_array_equal(data, before)
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second)


def test_outputs_share_no_memory():
    b = convkit.Builder((2, 3, 4))
    flat = b.flatten(b.input)
    model = b.model((b.input, flat, b.relu(flat), flat, b.flatten(b.relu(b.input))))
    data = draw((5, 2, 3, 4))
    outputs = model(data)
    for i, y in enumerate(outputs):
        assert not np.shares_memory(y, data)
        assert not any(np.shares_memory(y, z) for z in outputs[:i])
        y[:] = 0
    assert data.any()


@pytest.mark.parametrize("package", ["torch", "array_api_strict"])
def test_answer_is_of_the_kind_of_the_input(package):
    other = pytest.importorskip(package, reason=f"needs {package}, another kind of array")
    model, data = small(), draw((2, 2, 6, 5))
    y = model(other.from_dlpack(data))
    assert type(y) is type(other.from_dlpack(data))
    np.testing.assert_array_equal(np.from_dlpack(y), model(data))


def test_strides_of_the_input_do_not_matter():
    model = small()
    data = draw((2, 2, 6, 5))
    nhwc = np.ascontiguousarray(data.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(model(nhwc), model(data))


def test_threads_share_a_model():
    model = small()
    data = [draw((2, 2, 6, 5), seed) for seed in range(8)]
    expected = [small()(x) for x in data]
    results: list = [None] * 8

    def work(i):
        for _ in range(20):
            results[i] = model(data[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["deepcopy", "copy", "pickle"],
)
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_copies(copied, used):
    model = small()
    model.load(weights_of(model))
    data = draw((2, 2, 6, 5))
    expected = model(data)
    if not used:
        model = small()
        model.load(weights_of(model))
    twin = copied(model)
    np.testing.assert_array_equal(twin(data), expected)
    twin.load(weights_of(twin, seed=9))
    np.testing.assert_array_equal(model(data), expected)
    assert twin.graph == model.graph


# Weights


def test_random_weights_are_seeded_and_drawn_on_first_use():
    def build(seed):
        b = convkit.Builder((4,))
        return b.model(b.linear(b.input, 1000, name="fc"), seed=seed)

    model = build(3)
    assert not model._weights
    weights = model.state_dict()
    np.testing.assert_array_equal(weights["fc.weight"], build(3).state_dict()["fc.weight"])
    assert (weights["fc.weight"] != build(4).state_dict()["fc.weight"]).all()
    assert 0.65 < weights["fc.weight"].std() < 0.77  # sqrt(2 / 4)
    assert not weights["fc.bias"].any()


def test_state_dict_is_read_only_and_ordered():
    weights = small().state_dict()
    assert list(weights) == [
        "conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.running_mean",
        "norm.running_var", "fc.weight", "fc.bias",
    ]  # fmt: skip
    for array in weights.values():
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_new_weights_are_noticed():
    model, data = small(), draw((2, 2, 6, 5))
    before = model(data)
    model.load(weights_of(model))
    after = model(data)
    assert (before != after).any()
    fresh = small()
    fresh.load(weights_of(fresh))
    np.testing.assert_array_equal(fresh(data), after)


def test_later_changes_of_the_loaded_arrays_do_not_reach_the_model():
    model, data = small(), draw((2, 2, 6, 5))
    weights = weights_of(model)
    model.load(weights)
    expected = model(data)
    for array in weights.values():
        array[:] = 0
    np.testing.assert_array_equal(model(data), expected)
    model.load(model.state_dict())
    np.testing.assert_array_equal(model(data), expected)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "model.module."])
def test_prefixes_and_counters_are_dropped(prefix):
    model, twin = small(), small()
    weights = weights_of(model)
    given = {prefix + name: array for name, array in weights.items()}
    given[f"{prefix}norm.num_batches_tracked"] = np.array(7)
    report = model.load(given)
    assert report.loaded == tuple(weights)
    assert report.missing == report.unexpected == ()
    twin.load(weights)
    data = draw((1, 2, 6, 5))
    np.testing.assert_array_equal(model(data), twin(data))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f4"])
def test_floats_of_other_widths_are_converted(kind):
    model = small()
    weights = {k: v.astype(np.float16) for k, v in weights_of(model).items()}
    model.load({k: v.astype(kind) for k, v in weights.items()})
    for name, array in model.state_dict().items():
        assert array.dtype == np.float32 and array.dtype.isnative
        np.testing.assert_array_equal(array, weights[name])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_load_from_a_file(tmp_path, suffix):
    from safetensors.numpy import save_file

    model = small()
    weights = weights_of(model)
    path = tmp_path / f"net{suffix}"
    if suffix == ".npz":
        np.savez(path, **weights)
    elif suffix == ".safetensors":
        save_file(weights, path)
    else:
        value = {f"module.{k}": weight_files.whole(k, v) for k, v in weights.items()}
        stored = {k: v.tobytes() for k, v in weights.items()}
        weight_files.write_zip(path, {"state_dict": value}, stored)
    assert len(model.load(path).loaded) == 8
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, weights[name])


def test_all_that_does_not_fit_is_listed_and_nothing_is_changed():
    model, data = small(), draw((1, 2, 6, 5))
    before = model(data)
    weights = weights_of(model)
    del weights["norm.bias"]
    weights["norm.weight"] = np.zeros(5, np.float32)
    weights["fc.bias"] = np.zeros(3, np.int64)
    weights["head.weight"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError) as caught:
        model.load(weights)
    assert str(caught.value) == (
        "weights does not fit small: wrong: norm.weight has shape (5,), expected (4,); fc.bias has "
        "dtype int64, expected float32. missing: norm.bias. unexpected: head.weight"
    )
    np.testing.assert_array_equal(model(data), before)


def test_not_strict_reports_but_never_takes_a_wrong_shape():
    model = small()
    weights = weights_of(model)
    del weights["norm.bias"]
    weights["head.weight"] = np.zeros(3, np.float32)
    report = model.load(weights, strict=False)
    assert report.missing == ("norm.bias",)
    assert report.unexpected == ("head.weight",)
    assert str(report) == "7 loaded, 1 missing, 1 unexpected"
    assert not model.state_dict()["norm.bias"].any()
    weights["norm.weight"] = np.zeros(5, np.float32)
    with pytest.raises(ValueError, match=r"wrong: norm.weight has shape \(5,\), expected \(4,\)$"):
        model.load(weights, strict=False)


def test_name_with_and_without_prefix():
    model = small()
    weights = weights_of(model)
    weights["module.fc.bias"] = weights["fc.bias"]
    with pytest.raises(ValueError, match=r"module\.fc\.bias stands twice"):
        model.load(weights)


def test_error_names_the_file(tmp_path):
    np.savez(tmp_path / "net.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"net\.npz does not fit small: missing: conv\.weight"):
        small().load(tmp_path / "net.npz")


# Wrong input


@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 3, 6, 5), (2,)], ids=lambda shape: f"{shape}")
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"input has shape .*: small needs \(n, 2, 6, 5\) for an"):
        small()(np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", ["float16", "int64", "uint8"])
def test_dtype_that_nothing_takes(dtype):
    with pytest.raises(TypeError, match=rf"input has dtype {dtype}: small needs float32, so pass"):
        small()(np.zeros((1, 2, 6, 5), dtype))


def test_dtype_of_another_network():
    with pytest.raises(TypeError, match="input has dtype float64: small needs float32, so pass"):
        small()(np.zeros((1, 2, 6, 5)))


def test_no_array():
    with pytest.raises(TypeError, match="input is a list: expected an array"):
        small()([[1.0]])


BAD = {
    "filters": (lambda b: b.conv2d(b.input, 0, 3), ValueError, "filters=0 must be at least 1"),
    "kernel": (lambda b: b.conv2d(b.input, 4, 0), ValueError, "kernel=0 must be at least 1"),
    "kernel of three": (lambda b: b.conv2d(b.input, 4, (1, 2, 3)), ValueError, "kernel="),
    "kernel of text": (lambda b: b.conv2d(b.input, 4, "3"), TypeError, "kernel='3' must be"),
    "kernel too large": (lambda b: b.conv2d(b.input, 4, 9), ValueError, "more than the 6 rows"),
    "groups": (lambda b: b.conv2d(b.input, 4, 3, groups=3), ValueError, "groups=3 must divide"),
    "stride": (lambda b: b.conv2d(b.input, 4, 3, stride=0), ValueError, "stride=0"),
    "padding": (lambda b: b.conv2d(b.input, 4, 3, padding="some"), ValueError, "padding='some'"),
    "activation": (lambda b: b.relu(b.conv2d(b.input, 4, 3, activation="a")), ValueError, "='a'"),
    "no activation": (lambda b: b.activation(b.input, None), ValueError, "activation=None must"),
    "clip": (lambda b: b.clip(b.input, 2, 1), ValueError, "lo must be at most hi"),
    "linear of an image": (lambda b: b.linear(b.input, 3), ValueError, "flatten it first"),
    "features": (lambda b: b.linear(b.flatten(b.input), -1), ValueError, "features=-1 must be"),
    "eps": (lambda b: b.batch_norm(b.input, eps=-1.0), ValueError, "eps=-1.0 must be"),
    "pool": (lambda b: b.max_pool2d(b.input, 9), ValueError, "kernel"),
    "pool of features": (lambda b: b.avg_pool2d(b.flatten(b.input), 2), ValueError, "needs images"),
    "conv of features": (lambda b: b.conv2d(b.flatten(b.input), 2, 1), ValueError, "needs images"),
    "add": (lambda b: b.add(b.input, b.flatten(b.input)), ValueError, "shapes that spread to one"),
    "softmax over images": (lambda b: b.softmax(b.input, axis=0), ValueError, "axis=0 must be"),
    "softmax axis": (lambda b: b.softmax(b.input, axis=4), ValueError, "axis=4 must be an axis"),
    "pad_channels": (lambda b: b.pad_channels(b.input, -1, 1), ValueError, "before=-1 must be"),
    "dropout": (lambda b: b.dropout(b.input, 1.5), ValueError, "p=1.5 must be a number from 0"),
    "no value": (lambda b: b.relu(np.zeros(3)), TypeError, "a ndarray was given: expected a value"),
    "other builder": (
        lambda b: b.relu(convkit.Builder((4, 6, 6)).input), ValueError, "not of this builder"
    ),
    "name twice": (
        lambda b: b.relu(b.relu(b.input, name="a"), name="a"), ValueError, "name='a' is taken"
    ),
    "name": (lambda b: b.relu(b.input, name=""), TypeError, "name='' must be a string"),
    "no output": (lambda b: b.model(()), ValueError, r"output=\(\) must be"),
    "seed": (lambda b: b.model(b.input, seed=-1), ValueError, "seed=-1 must be at least 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_builder_refuses(name):
    write, error, match = BAD[name]
    b = convkit.Builder((4, 6, 6))
    with pytest.raises(error, match=match):
        write(b)


@pytest.mark.parametrize(
    "shape, error, match",
    [
        ((3, 4), ValueError, r"input_shape=\(3, 4\) must be \(c, h, w\) or \(c,\)"),
        ((3, 0, 4), ValueError, "input_shape=0 must be at least 1"),
        ((3, 4, 5.5), TypeError, "input_shape=5.5 must be an integer"),
        (3, TypeError, "input_shape=3 must be a tuple"),
    ],
    ids=["two", "zero", "float", "number"],
)
def test_input_shape(shape, error, match):
    with pytest.raises(error, match=match):
        convkit.Builder(shape)


def test_builder_dtype():
    with pytest.raises(ValueError, match="dtype='float16' must be one of float32, float64"):
        convkit.Builder((3,), dtype="float16")
