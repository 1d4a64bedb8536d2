"""Passes for what exporters write: what each rewrites, leaves alone, and that numbers stay."""

from __future__ import annotations

import numpy as np
import pytest
from graph_reference import evaluate

from convkit.graph.bind import Bound, bind
from convkit.graph.compiled import CompiledModel, Options
from convkit.graph.ir import Graph, Node, Value, Weight
from convkit.graph.passes import PASSES

INPUT = (2, 4, 8, 7)
CONV = {"padding": 1}


class Writer:
    """Writes nodes in a row; the input is `x`."""

    def __init__(self, shape=INPUT) -> None:
        self.x = Value("x", shape, "float32")
        self.nodes: list[Node] = []
        self.weights: dict[str, np.ndarray] = {}
        self.rng = np.random.default_rng(3)

    def weight(self, *shape):
        name = f"w{len(self.weights)}"
        self.weights[name] = self.rng.uniform(0.5, 1.5, shape).astype(np.float32)
        return Weight(name, shape, "float32")

    def __call__(self, op, *inputs, **settings):
        made = Value(f"{op}{len(self.nodes)}", None, "float32")
        self.nodes.append(Node(op, made.name, inputs, (made,), tuple(settings.items())))
        return made

    def conv(self, x, **settings):
        return self("conv2d", x, self.weight(4, 4, 3, 3), self.weight(4), **{**CONV, **settings})

    def graph(self, *outputs) -> Graph:
        return Graph("net", (self.x,), tuple(self.nodes), outputs)

    def bound(self, *outputs) -> Bound:
        return bind(self.graph(*outputs), self.weights, {"x": self.x.sizes})


def ops(bound):
    return [node.op for node in bound.graph.nodes]


def pad(b, **settings):
    return b("pad", b.x, pads=(0, 0, 1, 2, 0, 0, 0, 1), **settings)


def gate(b, kind, x=None):
    x = b.conv(b.x) if x is None else x
    return b("mul", b("activation", x, activation=kind), x)


# name -> (pass, what is written, operators after)
REWRITES = {
    "pad": ("merge_pads", lambda b: b.conv(pad(b)), ["conv2d"]),
    "pad with stride": (
        "merge_pads", lambda b: b.conv(pad(b), padding="same_lower", stride=2), ["conv2d"],
    ),
    "pad reflect": ("merge_pads", lambda b: b.conv(pad(b, mode="reflect"), padding=0), ["conv2d"]),
    "pad edge": ("merge_pads", lambda b: b.conv(pad(b, mode="edge"), padding=0), ["conv2d"]),
    "pad wrap": ("merge_pads", lambda b: b.conv(pad(b, mode="wrap"), padding=0), ["conv2d"]),
    "silu": ("fuse_gates", lambda b: gate(b, "sigmoid"), ["conv2d", "activation"]),
    "silu on the right": (
        "fuse_gates", lambda b: b("mul", b.x, b("activation", b.x, activation="sigmoid")),
        ["activation"],
    ),
    "hardswish": (
        "fuse_gates", lambda b: gate(b, ("hardsigmoid", 0.16666667, 0.5)), ["conv2d", "activation"],
    ),
    "means": (
        "pool_of_means", lambda b: b("reduce_mean", b.x, axes=(3, -2), keepdims=False),
        ["global_avg_pool2d", "squeeze"],
    ),
    "matmul": (
        "linear_of_matmul", lambda b: b("matmul", b("flatten", b.x), b.weight(224, 5)),
        ["flatten", "linear"],
    ),
    "matmul, add": (
        "linear_of_matmul",
        lambda b: b("add", b("matmul", b("flatten", b.x), b.weight(224, 5)), b.weight(5),
                    activation="relu"),
        ["flatten", "linear"],
    ),
    "add, matmul": (
        "linear_of_matmul",
        lambda b: b("add", b.weight(1, 5), b("matmul", b("flatten", b.x), b.weight(224, 5))),
        ["flatten", "linear"],
    ),
    "mul": ("fold_scales", lambda b: b("mul", b.conv(b.x), b.weight(4, 1, 1)), ["conv2d"]),
    "mul, add": (
        "fold_scales",
        lambda b: b("add", b.weight(1, 4, 1, 1), b("mul", b.conv(b.x), b.weight())),
        ["conv2d"],
    ),
    "sub, div, relu": (
        "fold_scales",
        lambda b: b("div", b("sub", b.conv(b.x), b.weight(4, 1, 1)), b.weight(1),
                    activation="relu"),
        ["conv2d"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REWRITES)
def test_rewrites_and_keeps_the_numbers(name):
    which, write, after = REWRITES[name]
    b = Writer()
    y = write(b)
    before = b.bound(y)
    made = PASSES[which](before)
    assert ops(made) == after
    x = b.rng.standard_normal(INPUT).astype(np.float32)
    (wanted,) = evaluate(before, {"x": x})
    (got,) = evaluate(made, {"x": x})
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    for without in ((), (which,), tuple(p for p in PASSES if p != which)):
        run = CompiledModel(b.graph(y), b.weights, {"x": INPUT}, {}, Options(without=without))
        np.testing.assert_allclose(run(x), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def read_twice(b, op):
    y = b("pad", b.x, pads=(0, 0, 1, 1, 0, 0, 1, 1)) if op == "pad" else b.conv(b.x)
    if op == "pad":
        return b.conv(y), b("abs", y)
    return b("mul", y, b.weight(4, 1, 1)), b("abs", y)


LEFT_ALONE = {
    "pad of ones": ("merge_pads", lambda b: b.conv(pad(b, value=1.0))),
    "pad of channels": (
        "merge_pads", lambda b: b("conv2d", b("pad", b.x, pads=(0, 1, 0, 0, 0, 0, 0, 0)),
                                  b.weight(4, 5, 3, 3)),
    ),
    "cut": ("merge_pads", lambda b: b.conv(b("pad", b.x, pads=(0, 0, -1, 0, 0, 0, 0, 0)))),
    "pad reflect before zeros": ("merge_pads", lambda b: b.conv(pad(b, mode="reflect"))),
    "pad before reflect": ("merge_pads", lambda b: b.conv(pad(b), padding_mode="reflect")),
    "pad read twice": ("merge_pads", lambda b: read_twice(b, "pad")),
    "another gate": ("fuse_gates", lambda b: gate(b, "tanh")),
    "another hardsigmoid": ("fuse_gates", lambda b: gate(b, ("hardsigmoid", 0.2, 0.5))),
    "gate of another value": (
        "fuse_gates", lambda b: b("mul", b("activation", b.conv(b.x), activation="sigmoid"), b.x),
    ),
    "gate of images by means": (
        "fuse_gates",
        lambda b: b("mul", b("activation", b("global_avg_pool2d", b.x), activation="sigmoid"), b.x),
    ),
    "means of channels": ("pool_of_means", lambda b: b("reduce_mean", b.x, axes=(1, 2))),
    "sums": ("pool_of_means", lambda b: b("reduce_sum", b.x, axes=(2, 3), keepdims=False)),
    "a stack of rows": ("linear_of_matmul", lambda b: b("matmul", b.x, b.weight(7, 5))),
    "two values": (
        "linear_of_matmul",
        lambda b: b("matmul", b("flatten", b.x), b("transpose", b("flatten", b.x), perm=(1, 0))),
    ),
    "rows added": (
        "linear_of_matmul",
        lambda b: b("add", b("linear", b("flatten", b.x), b.weight(5, 224)), b.weight(2, 5)),
    ),
    "scale of rows": ("fold_scales", lambda b: b("mul", b.conv(b.x), b.weight(8, 1))),
    "scale after relu": (
        "fold_scales", lambda b: b("mul", b.conv(b.x, activation="relu"), b.weight(4, 1, 1)),
    ),
    "number minus conv": ("fold_scales", lambda b: b("sub", b.weight(4, 1, 1), b.conv(b.x))),
    "scale read twice": ("fold_scales", lambda b: read_twice(b, "conv")),
    "no residual of another shape": (
        "fuse_residual", lambda b: b("add", b.conv(b.x), b("global_avg_pool2d", b.x)),
    ),
    "no residual of known numbers": (
        "fuse_residual", lambda b: b("add", b.conv(b.x), b.weight(2, 4, 8, 7)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_leaves_alone(name):
    which, write = LEFT_ALONE[name]
    b = Writer()
    made = write(b)
    before = b.bound(*(made if isinstance(made, tuple) else (made,)))
    assert ops(PASSES[which](before)) == ops(before)
