"""The operators of graphs: compiled programs against the definitions, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from graph_reference import evaluate

from convkit.graph.bind import bind
from convkit.graph.compiled import CompiledModel, Options
from convkit.graph.ir import Graph, Node, Value, Weight
from convkit.graph.ops import OPS

IMAGES = (2, 19, 6, 7)
#: op -> cases of (shapes of the inputs, settings)
CASES: dict[str, list[tuple[list[tuple[int, ...]], dict]]] = {
    **{
        op: [([IMAGES], {}), ([(3,)], {}), ([(2, 3, 4, 5, 2)], {}), ([()], {})]
        for op in (
            "abs", "neg", "sign", "floor", "ceil", "round", "exp", "reciprocal", "erf", "softplus",
            "softsign", "mish", "gelu_tanh",
        )
    },
    "selu": [([IMAGES], {"alpha": 1.5, "gamma": 0.7})],
    "celu": [([IMAGES], {"alpha": 0.6})],
    "swish": [([IMAGES], {"alpha": 0.7}), ([(2, 3)], {"alpha": 1.0})],
    "thresholded_relu": [([IMAGES], {"alpha": 0.3})],
    **{
        op: [
            ([IMAGES, IMAGES], {}),
            ([IMAGES, (1, 19, 1, 1)], {"activation": "sigmoid"}),
            ([(2, 19, 1, 1), IMAGES], {}),
            ([IMAGES, ()], {"activation": "relu"}),
            ([(4, 1, 3), (5, 1, 2, 1)], {}),
            ([(3, 4, 5), (3, 4, 5)], {}),
        ]
        for op in ("add", "sub", "mul", "div", "maximum", "minimum", "prelu")
    },
    "clip": [([IMAGES, (), (1,)], {}), ([(3, 4), ()], {})],
    **{
        op: [
            ([IMAGES], {"axes": (2, 3)}),
            ([IMAGES], {"axes": (-1,), "keepdims": False}),
            ([IMAGES], {"axes": (1,), "keepdims": False}),
            ([(3, 4, 5)], {"axes": (0, 2)}),
            ([(3, 4)], {}),
            ([(3, 4)], {"axes": (), "noop_with_empty_axes": True}),
            ([(3, 0, 2)], {"axes": (1,)}),
        ]
        for op in (
            "reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "reduce_l1",
            "reduce_l2", "reduce_sum_square", "reduce_log_sum_exp",
        )
    },
    "log_softmax": [([IMAGES], {"axis": 1}), ([(3, 5)], {}), ([(4,)], {"axis": 0})],
    "softmax": [([IMAGES], {"axis": 1}), ([(3, 5)], {}), ([(2, 3, 4)], {"axis": 0})],
    "gemm": [
        ([(3, 5), (5, 4)], {}),
        ([(5, 3), (4, 5), (4,)], {"trans_a": True, "trans_b": True, "alpha": 0.5}),
        ([(3, 5), (4, 5), (4,)], {"trans_b": True}),
        ([(3, 5), (5, 4), (3, 1)], {"beta": 2.0}),
        ([(40, 5), (5, 4), ()], {"beta": 0.0}),
    ],
    "matmul": [
        ([(3, 5), (5, 4)], {}),
        ([(5,), (5,)], {}),
        ([(5,), (2, 5, 3)], {}),
        ([(2, 3, 5), (5,)], {}),
        ([(2, 3, 5), (5, 4)], {}),
        ([(2, 1, 3, 5), (4, 5, 2)], {}),
    ],
    "instance_norm": [([IMAGES, (19,), (19,)], {"eps": 1e-3}), ([(2, 3, 5), (3,), (3,)], {})],
    "local_response_norm": [
        ([IMAGES], {"size": 5, "alpha": 0.1, "beta": 0.75, "k": 1.0}),
        ([(2, 3, 5)], {"size": 4, "alpha": 0.2, "beta": 1.0, "k": 2.0}),
    ],
    "batch_norm": [
        ([IMAGES, (19,), (19,), (19,), (19,)], {}),
        ([(2, 3, 5), (3,), (3,), (3,), (3,)], {"activation": "relu", "eps": 0.1}),
    ],
    "transpose": [([IMAGES], {"perm": (0, 2, 3, 1)}), ([(3, 4, 5)], {})],
    "reshape": [([IMAGES], {"shape": (0, -1, 7)}), ([IMAGES], {"shape": (3, 14, -1)})],
    "flatten": [([IMAGES], {}), ([IMAGES], {"axis": 0}), ([IMAGES], {"axis": -2})],
    "squeeze": [([(1, 3, 1, 2)], {}), ([(1, 3, 1, 2)], {"axes": (-2,)})],
    "unsqueeze": [([IMAGES], {"axes": (0, -1)})],
    "concat": [
        ([IMAGES, (2, 5, 6, 7), (2, 32, 6, 7)], {"axis": 1}),
        ([IMAGES, (2, 19, 3, 7)], {"axis": -2}),
        ([(3,), (0,), (2,)], {"axis": 0}),
    ],
    "slice": [
        ([IMAGES], {"starts": (1, -5), "ends": (1000, -1), "axes": (2, 1)}),
        ([IMAGES], {"starts": (-1, 6), "ends": (-1000, 0), "axes": (2, 3), "steps": (-2, -3)}),
        ([(5, 4)], {"starts": (3,), "ends": (3,)}),
    ],
    "pad": [
        ([IMAGES], {"pads": (0, 1, 2, 3, 1, 0, 0, 4), "value": 0.5}),
        ([IMAGES], {"pads": (0, 0, 2, 3, 0, 0, 4, 1), "mode": "reflect"}),
        ([IMAGES], {"pads": (0, 0, 2, 9, 0, 0, 4, 1), "mode": "edge"}),
        ([IMAGES], {"pads": (0, 0, 2, 3, 0, 0, 4, 1), "mode": "wrap"}),
        ([IMAGES], {"pads": (0, -2, 1, 0, 0, -3, 0, -1)}),
    ],
    "expand": [([(3, 1)], {"shape": (2, 1, 4)}), ([(2, 3)], {"shape": ()})],
    "tile": [([(2, 3)], {"repeats": (3, 1)}), ([(2, 3)], {"repeats": (0, 2)})],
    "depth_to_space": [
        ([(2, 12, 3, 2)], {"block": 2}), ([(2, 12, 3, 2)], {"block": 2, "mode": "CRD"}),
    ],
    "space_to_depth": [
        ([(2, 3, 4, 6)], {"block": 2}), ([(2, 3, 4, 6)], {"block": 2, "mode": "CRD"}),
    ],
    "resize": [
        ([IMAGES], {"scales": (1, 1, 2, 1.7)}),
        ([IMAGES], {"scales": (2, 1, 2, 0.4), "rounding": "ceil", "coordinates": "asymmetric"}),
        ([IMAGES], {"sizes": (2, 19, 3, 13), "mode": "linear"}),
        ([IMAGES], {"sizes": (5, 3), "axes": (2, 3), "mode": "linear", "antialias": True}),
        ([IMAGES], {"scales": (2.5,), "axes": (3,), "mode": "cubic"}),
        ([IMAGES], {"sizes": (9, 9), "axes": (-1, 2), "mode": "cubic", "exclude_outside": True}),
        ([IMAGES], {"sizes": (12, 14), "axes": (2, 3), "mode": "linear", "policy": "not_larger",
                    "coordinates": "align_corners"}),
        ([(2, 3, 5)], {"scales": (1, 1, 2.0)}),
    ],
    "conv_transpose2d": [
        ([(2, 4, 5, 6), (4, 3, 3, 3), (3,)], {"stride": 2, "padding": 1, "output_padding": 1}),
        ([(2, 4, 5, 6), (4, 3, 2, 2)], {"stride": 3, "groups": 2, "activation": "relu"}),
        ([(2, 4, 5, 6), (4, 3, 2, 3), (3,)], {"stride": (2, 3), "dilation": (2, 1),
                                              "activation": "sigmoid"}),
        ([(2, 4, 5, 6), (4, 3, 3, 4)], {"stride": 2, "padding": "same"}),
        ([(2, 4, 5, 6), (4, 3, 3, 4)], {"stride": 2, "padding": "same_lower"}),
        ([(2, 4, 5, 6), (4, 3, 3, 4)], {"stride": 2, "output_size": (13, 12)}),
    ],
    "conv2d": [
        ([IMAGES, (5, 19, 3, 2), (5,)], {"padding": "same_lower", "stride": (2, 1)}),
        ([IMAGES, (19, 1, 3, 3)], {"padding": ((1, 0), (2, 1)), "groups": 19}),
    ],
    "linear": [([(3, 5), (4, 5), (4,)], {"activation": "relu"})],
    "max_pool2d": [
        ([IMAGES], {"kernel": (3, 2), "stride": 2, "padding": ((1, 0), (0, 1))}),
        ([IMAGES], {"kernel": 2, "dilation": 2, "stride": 1, "padding": "same_lower"}),
        ([IMAGES], {"kernel": 3, "ceil_mode": True}),
    ],
    "avg_pool2d": [
        ([IMAGES], {"kernel": (3, 2), "stride": 2, "padding": ((1, 0), (0, 1))}),
        ([IMAGES], {"kernel": 2, "dilation": 2, "stride": 1, "count_include_pad": False}),
        ([IMAGES], {"kernel": 3, "ceil_mode": True, "padding": 1, "count_include_pad": False}),
    ],
    "global_avg_pool2d": [([IMAGES], {}), ([(2, 3, 5)], {}), ([(2, 3, 4, 5, 2)], {})],
    "global_max_pool2d": [([IMAGES], {}), ([(2, 3, 5)], {}), ([(2, 3, 4, 5, 2)], {})],
}  # fmt: skip
#: Of positive numbers alone.
CASES["sqrt"] = CASES["log"] = [([IMAGES], {})]
CASES["pow"] = [([IMAGES, IMAGES], {}), ([(3, 1), (4,)], {})]
CASES["reduce_log_sum"] = CASES["reduce_sum"][:-1]
POSITIVE = ("sqrt", "log", "pow", "reduce_log_sum", "batch_norm", "reciprocal")
ALL = [(op, i) for op, cases in sorted(CASES.items()) for i in range(len(cases))]


def graph_of(op, shapes, settings, dtype, fixed):
    """A graph of one node between two that keep its operands inside the program."""
    inputs = [Value(f"x{i}", shape, dtype) for i, shape in enumerate(shapes)]
    owned = [Weight(v.name, v.shape, dtype) if fixed and i else v for i, v in enumerate(inputs)]
    y, z = Value("y", None, dtype), Value("z", None, dtype)
    node = Node(op, "node", tuple(owned), (y,), tuple(settings.items()))
    after = Node("identity", "after", (y,), (z,))
    given = tuple(v for v in owned if not isinstance(v, Weight))
    return Graph("one", given, (node, after), (z,))


@pytest.mark.parametrize("fixed", [False, True], ids=["inputs", "weights"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op, case", ALL, ids=[f"{op}-{i}" for op, i in ALL])
def test_program_gives_the_definition(op, case, dtype, fixed):
    shapes, settings = CASES[op][case]
    if fixed and len(shapes) == 1:
        pytest.skip("one operand")
    rng = np.random.default_rng(case)
    arrays = {
        f"x{i}": np.asarray(rng.standard_normal(shape), dtype) for i, shape in enumerate(shapes)
    }
    if op in POSITIVE:
        arrays = {name: np.asarray(np.abs(array) + 0.25, dtype) for name, array in arrays.items()}
    if op == "clip":
        arrays["x1"] = np.full(shapes[1], -0.5, dtype)
    graph = graph_of(op, shapes, settings, dtype, fixed)
    weights = {name: array for name, array in arrays.items() if fixed and name != "x0"}
    inputs = {name: array for name, array in arrays.items() if name not in weights}
    sizes = {name: array.shape for name, array in inputs.items()}
    (wanted,) = evaluate(bind(graph, weights, sizes), inputs)
    close = {"rtol": 2e-5, "atol": 2e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-13}
    for without in ((), ("fold_constants", "choose_layout")):
        run = CompiledModel(graph, weights, sizes, {}, Options(without=without))
        got = run(**inputs)
        assert got.shape == wanted.shape and got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, **close)


def test_every_operator_of_arrays_has_cases():
    computed = {name for name, op in OPS.items() if op.lower is not None}
    elsewhere = {
        "activation", "identity", "reorder", "pad_channels",  # test_graph, test_compiled
        "max_unpool2d", "split", "gather", "cast", "constant_of_shape", "mod", "fmod", "equal",
        "less", "less_or_equal", "greater", "greater_or_equal", "and", "or", "xor",  # test_onnx
    }  # fmt: skip
    assert computed - set(CASES) - elsewhere == set()


def test_bits_do_not_depend_on_the_batch():
    for op in ("reduce_mean", "log_softmax", "matmul", "gemm", "instance_norm", "resize"):
        shapes, settings = CASES[op][0]
        rng = np.random.default_rng(1)
        arrays = {f"x{i}": rng.standard_normal(s).astype("f") for i, s in enumerate(shapes)}
        graph = graph_of(op, shapes, settings, "float32", True)
        weights = {name: a for name, a in arrays.items() if name != "x0"}
        whole = None
        for take in (slice(None), slice(0, 1)):
            x = arrays["x0"][take]
            if op == "resize" and take != slice(None):
                settings = {**settings}
            y = CompiledModel(graph, weights, {"x0": x.shape}, {}, Options())(x)
            whole = y if whole is None else whole
            np.testing.assert_array_equal(y, whole[: len(y)])


REFUSED = {
    "broadcast": ("add", [(3, 4), (5, 4)], {}, "shapes that spread to one"),
    "reshape": ("reshape", [(3, 4)], {"shape": (5, -1)}, "does not fit the 12 elements"),
    "squeeze": ("squeeze", [(3, 4)], {"axes": (0,)}, "must be of size 1"),
    "perm": ("transpose", [(3, 4)], {"perm": (0, 0)}, "must name each axis"),
    "concat": ("concat", [(3, 4), (3, 5)], {"axis": 0}, "needs equal sizes elsewhere"),
    "slice": ("slice", [(3, 4)], {"starts": (0,), "ends": (1, 2)}, "expected as many of each"),
    "step": ("slice", [(3,)], {"starts": (0,), "ends": (1,), "steps": (0,)}, "must not be 0"),
    "reflect": ("pad", [(3,)], {"pads": (3, 0), "mode": "reflect"}, "must be at most 2"),
    "mode": ("pad", [(3,)], {"pads": (3, 0), "mode": "mirror"}, "must be one of constant"),
    "matmul": ("matmul", [(3, 4), (5, 4)], {}, "cannot multiply"),
    "gemm": ("gemm", [(3, 4), (4, 5), (2, 5)], {}, "spread|does not fit"),
    "channels": ("depth_to_space", [(1, 3, 2, 2)], {"block": 2}, "must divide the 3 channels"),
    "resize": ("resize", [(1, 3, 2, 2)], {}, "needs scales or sizes"),
    "resize mode": ("resize", [(1, 3, 2, 2)], {"sizes": (1, 3, 2, 2), "mode": "best"}, "mode="),
    "axis": ("reduce_sum", [(3, 4)], {"axes": (2,)}, "must be an axis"),
    "transposed": ("conv_transpose2d", [(1, 2, 3, 3), (3, 1, 2, 2)], {}, "expected .2, k"),
    "lrn": ("local_response_norm", [(1, 2, 3)], {"size": 0, "alpha": 1, "beta": 1, "k": 1}, "size"),
    "axes": ("reduce_sum", [(3, 4)], {"axes": (0, -2)}, "names an axis of x0 twice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    op, shapes, settings, match = REFUSED[name]
    graph = graph_of(op, shapes, settings, "float32", False)
    with pytest.raises(ValueError, match=f"node node: .*{match}"):
        bind(graph, {}, {f"x{i}": shape for i, shape in enumerate(shapes)})


# In blocks of channels

BLOCKED = {
    "mul": lambda b, x, y: b("mul", x, y),
    "mul by means": lambda b, x, y: b("mul", x, b("global_avg_pool2d", y)),
    "mul by a number": lambda b, x, y: b("mul", x, b.weight(())),
    "mul by channel": lambda b, x, y: b("mul", x, b.weight((19, 1, 1))),
    "add to channel": lambda b, x, y: b("add", x, b.weight((1, 19, 1, 1))),
    "sub, relu": lambda b, x, y: b("sub", x, y, activation="relu"),
    "maximum": lambda b, x, y: b("maximum", x, y),
    "mish": lambda b, x, y: b("mish", x),
    "gelu_tanh": lambda b, x, y: b("gelu_tanh", x),
    "swish": lambda b, x, y: b("swish", x, alpha=1.5),
    "linear resize": lambda b, x, y: b("resize", x, scales=(1, 1, 2, 2), mode="linear"),
    "nearest resize": lambda b, x, y: b("resize", x, scales=(1, 1, 2, 2)),
    "concat": lambda b, x, y: b("concat", x, y, b("abs", y), axis=1),
    "concat of itself": lambda b, x, y: b("concat", x, x, axis=1),
    "nested concat": lambda b, x, y: b("concat", b("concat", x, y, axis=1), b("neg", x), axis=1),
    "growing concat": lambda b, x, y: b.growing(x),
}


class Blocks:
    """Writes a graph of convolutions, which like blocks of channels, around what is tested."""

    def __init__(self, channels: int) -> None:
        self.channels, self.nodes, self.weights = channels, [], {}
        self.x = Value("x", (2, 16, 9, 8), "float32")
        self.rng = np.random.default_rng(channels)

    def weight(self, shape):
        shape = tuple(self.channels if size == 19 else size for size in shape)
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(self.rng.standard_normal(shape), np.float32)
        return Weight(name, shape, "float32")

    def __call__(self, op, *inputs, **settings):
        name = f"{op}{len(self.nodes)}"
        made = Value(name, None, "float32")
        self.nodes.append(Node(op, name, inputs, (made,), tuple(settings.items())))
        return made

    def conv(self, x, c, k):
        return self("conv2d", x, self.weight((k, c, 3, 3)), padding=1)

    def growing(self, x):
        parts = [x]
        for i in range(3):
            joined = self("concat", *parts, axis=1) if i else x
            parts.append(self.conv(joined, self.channels * (i + 1), self.channels))
        return self("concat", *parts, axis=1)


@pytest.mark.parametrize("channels", [32, 19, 40])
@pytest.mark.parametrize("name", BLOCKED)
def test_in_blocks_of_channels(name, channels):
    """Between convolutions values stand in blocks; lanes past the last channel stay zero."""
    b = Blocks(channels)
    first, second = b.conv(b.x, 16, channels), b.conv(b.x, 16, channels)
    made = BLOCKED[name](b, first, second)
    shapes = {"x": b.x.shape}
    graph = Graph("blocks", (b.x,), tuple(b.nodes), (made,))
    c = bind(graph, b.weights, shapes).graph.outputs[0].sizes[1]
    y = b.conv(made, c, 16)
    graph = Graph("blocks", (b.x,), tuple(b.nodes), (y,))
    x = b.rng.standard_normal(b.x.shape).astype(np.float32)
    (wanted,) = evaluate(bind(graph, b.weights, shapes), {"x": x})
    for without in ((), ("choose_layout",)):
        run = CompiledModel(graph, b.weights, shapes, {}, Options(without=without))
        np.testing.assert_allclose(run(x), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    images = CompiledModel(graph, b.weights, {"x": (1, *b.x.shape[1:])}, {}, Options())
    whole = CompiledModel(graph, b.weights, shapes, {}, Options())
    np.testing.assert_array_equal(np.concatenate([images(x[:1]), images(x[1:])]), whole(x))
