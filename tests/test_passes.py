"""Passes: what each rewrites, what it leaves alone, and that the numbers stay the same."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest

import convkit
from convkit.graph.bind import Bound, bind
from convkit.graph.check import evaluate
from convkit.graph.ir import Graph, Node, Value, Weight
from convkit.graph.passes import PASSES, simplify

INPUT = (2, 4, 8, 7)


def model_of(write) -> convkit.Model:
    """A Builder's network with weights that are neither 0 nor 1."""
    b = convkit.Builder(INPUT[1:], name="net")
    model = b.model(write(b))
    rng = np.random.default_rng(5)
    model.load(
        {k: rng.uniform(0.5, 1.5, a.shape).astype("f") for k, a in model.state_dict().items()}
    )
    return model


def bound_of(write) -> Bound:
    model = model_of(write)
    return bind(model.graph, model.state_dict(), {"input": INPUT})


def ops(bound: Bound) -> list[str]:
    return [node.op for node in bound.graph.nodes]


def outputs_of(bound: Bound, x: np.ndarray) -> list[np.ndarray]:
    values = evaluate(bound, {"input": x})
    return [values[v.name] for v in bound.graph.outputs]


def same_numbers(before: Bound, after: Bound) -> None:
    x = np.random.default_rng(1).standard_normal(INPUT, dtype="f")
    for y, z in zip(outputs_of(before, x), outputs_of(after, x), strict=True):
        np.testing.assert_allclose(z, y, rtol=1e-5, atol=1e-5 * np.abs(y).max())


def conv(b, x, name="conv", **keywords):
    return b.conv2d(x, 4, 3, padding=1, name=name, **keywords)


# name -> (pass, network, operators before, operators after)
REWRITES = {
    "batch norm": (
        "fold_batch_norm", lambda b: b.batch_norm(conv(b, b.input)),
        ["conv2d", "batch_norm"], ["conv2d"],
    ),
    "batch norm without bias": (
        "fold_batch_norm",
        lambda b: b.batch_norm(conv(b, b.input, bias=False), activation="relu"),
        ["conv2d", "batch_norm"], ["conv2d"],
    ),
    "batch norm after linear": (
        "fold_batch_norm", lambda b: b.batch_norm(b.linear(b.flatten(b.input), 5), eps=0.1),
        ["flatten", "linear", "batch_norm"], ["flatten", "linear"],
    ),
    "residual": (
        "fuse_residual", lambda b: b.add(conv(b, b.input), b.input, activation="relu"),
        ["conv2d", "add"], ["conv2d"],
    ),
    "residual on the left": (
        "fuse_residual", lambda b: b.add(b.input, conv(b, b.input)),
        ["conv2d", "add"], ["conv2d"],
    ),
    "residual of two convolutions": (
        "fuse_residual", lambda b: b.add(conv(b, b.input), conv(b, b.input, "other")),
        ["conv2d", "conv2d", "add"], ["conv2d", "conv2d"],
    ),
    "activation": (
        "fuse_activation", lambda b: b.tanh(conv(b, b.input)),
        ["conv2d", "activation"], ["conv2d"],
    ),
    "activation after add": (
        "fuse_activation", lambda b: b.relu(b.add(b.input, b.tanh(b.input))),
        ["activation", "add", "activation"], ["activation", "add"],
    ),
    "flatten of a row": (
        "drop_identities", lambda b: b.flatten(b.flatten(b.input)),
        ["flatten", "flatten"], ["flatten"],
    ),
    "nothing padded": (
        "drop_identities", lambda b: b.relu(b.pad_channels(b.input, 0, 0)),
        ["pad_channels", "activation"], ["activation"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REWRITES)
def test_rewrites_and_keeps_the_numbers(name):
    which, write, before, after = REWRITES[name]
    bound = bound_of(write)
    assert ops(bound) == before
    made = PASSES[which](bound)
    assert ops(made) == after
    same_numbers(bound, made)


def twice(b):
    """A convolution that two nodes read."""
    x = conv(b, b.input)
    return b.add(b.batch_norm(x), b.tanh(x))


LEFT_ALONE = {
    "batch norm of an activation": (
        "fold_batch_norm", lambda b: b.batch_norm(conv(b, b.input, activation="relu"))
    ),
    "batch norm of a value that others read": ("fold_batch_norm", twice),
    "batch norm of the input": ("fold_batch_norm", lambda b: b.batch_norm(b.input)),
    "batch norm of an output": (
        "fold_batch_norm", lambda b: (x := conv(b, b.input), b.batch_norm(x))
    ),
    "residual of an activation": (
        "fuse_residual", lambda b: b.add(conv(b, b.input, activation="relu"), b.input)
    ),
    "residual of a value that others read": (
        "fuse_residual", lambda b: b.add(x := conv(b, b.input), b.tanh(x))
    ),
    "a value added to itself": ("fuse_residual", lambda b: b.add(x := conv(b, b.input), x)),
    "activation of an activation": (
        "fuse_activation", lambda b: b.tanh(conv(b, b.input, activation="relu"))
    ),
    "activation of a value that others read": (
        "fuse_activation", lambda b: b.add(b.batch_norm(x := conv(b, b.input)), b.tanh(x))
    ),
    "activation of a pooling": ("fuse_activation", lambda b: b.relu(b.max_pool2d(b.input, 2))),
    "flatten of an image": ("drop_identities", lambda b: b.flatten(b.input)),
    "strided channels": ("drop_identities", lambda b: b.pad_channels(b.input, 0, 0, stride=2)),
    "no constants": ("fold_constants", lambda b: b.relu(b.input)),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_leaves_alone(name):
    which, write = LEFT_ALONE[name]
    bound = bound_of(write)
    made = PASSES[which](bound)
    assert made.graph == bound.graph


def with_constant() -> Bound:
    """relu(c) + x, c a constant of the graph."""
    x, y = Value("input", INPUT, "float32"), Value("y", INPUT, "float32")
    c = Weight("c", INPUT, "float32")
    made = Value("made", INPUT, "float32")
    nodes = (
        Node("activation", "made", (c,), (made,), (("activation", "relu"),)),
        Node("add", "y", (x, made), (y,)),
    )
    array = np.random.default_rng(0).standard_normal(INPUT, dtype="f")
    return Bound(Graph("net", (x,), nodes, (y,)), {"c": array})


def test_constants_are_folded():
    bound = with_constant()
    made = PASSES["fold_constants"](bound)
    assert ops(made) == ["add"]
    assert list(made.weights) == ["made"]
    same_numbers(bound, made)


def test_constants_beyond_what_may_be_made_are_left(monkeypatch):
    bound = with_constant()
    module = importlib.import_module("convkit.graph.passes.fold_constants")
    monkeypatch.setattr(module, "MOST_MADE", 4 * math.prod(INPUT) - 1)
    assert ops(PASSES["fold_constants"](bound)) == ["activation", "add"]


def test_output_that_is_a_constant():
    bound = with_constant()
    graph = bound.graph.but(bound.graph.nodes, (bound.graph.nodes[0].output,))
    made = PASSES["fold_constants"](Bound(graph, bound.weights))
    assert made.graph.nodes == ()
    same_numbers(Bound(graph, bound.weights), made)


def test_no_pass_adds_up_in_another_order_for_another_batch():
    model = model_of(lambda b: b.batch_norm(conv(b, b.input)))
    graphs = []
    for n in (1, 7):
        bound = simplify(bind(model.graph, model.state_dict(), {"input": (n, *INPUT[1:])}))
        graphs.append([(node.op, node.name, node.settings) for node in bound.graph.nodes])
    assert graphs[0] == graphs[1]


# Families: one small network each, run as a program with every pass off by itself, and alone


def lenet(b):
    x = b.max_pool2d(conv(b, b.input, activation="relu"), 2)
    return b.softmax(b.linear(b.flatten(x), 3))


def resnet(b):
    x = b.batch_norm(b.conv2d(b.input, 8, 3, stride=2, padding=1, bias=False), activation="relu")
    y = b.batch_norm(b.conv2d(x, 8, 3, padding=1, bias=False))
    x = b.add(y, x, activation="relu")
    y = b.batch_norm(b.conv2d(x, 24, 1, bias=False))
    x = b.batch_norm(b.conv2d(b.conv2d(x, 8, 3, padding=1), 24, 1))
    return b.linear(b.flatten(b.global_avg_pool2d(b.relu(b.add(x, y)))), 5)


def mobilenet(b):
    x = b.batch_norm(b.conv2d(b.input, 18, 1, bias=False), activation="relu6")
    x = b.batch_norm(b.conv2d(x, 18, 3, padding=1, groups=18, bias=False), activation="relu6")
    x = b.batch_norm(b.conv2d(x, 4, 1, bias=False))
    return b.add(x, b.input)


def several_outputs(b):
    x = conv(b, b.input)
    y = b.batch_norm(x, activation="tanh")
    return x, y, b.flatten(y), b.input


FAMILIES = {f.__name__: f for f in (lenet, resnet, mobilenet, several_outputs)}
EVERY = (*PASSES, "choose_layout")


@pytest.mark.parametrize("without", [(), *[(p,) for p in EVERY], "alone", EVERY], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_programs_with_passes_off(family, without):
    model = model_of(FAMILIES[family])
    x = np.random.default_rng(2).standard_normal(INPUT, dtype="f")
    bound = bind(model.graph, model.state_dict(), {"input": INPUT})
    expected = outputs_of(bound, x)
    choices = [tuple(p for p in EVERY if p != one) for one in EVERY]
    for off in choices if without == "alone" else [without]:
        y = model.compile(INPUT, without=off)(x)
        for got, wanted in zip(y if isinstance(y, tuple) else (y,), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5 * np.abs(wanted).max())
