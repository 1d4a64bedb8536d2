"""Sweeps: arithmetic with broadcasting, reductions and movements of data, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import LAYOUTS, guarded
from scipy import special

import convkit
from convkit import _convkit, sweeps
from convkit.epilogue import activation as parse_activation

NAN, INFINITY = float("nan"), float("inf")
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
PLACES = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture(params=_convkit.available_isas())
def isa(request, checked_kernels):
    _convkit.select_isa(request.param)
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(23)


def laid_out(x, layout):
    """x, four axes, in another order of memory."""
    return guarded(x.shape, str(x.dtype), layout, x).array


# ---- element by element

ORACLES = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
    "minimum": np.minimum, "maximum": np.maximum, "power": np.power,
    "slope": lambda a, b: np.where(a < 0, a * b, a),
}  # fmt: skip
SHAPES = [
    ((2, 3, 4, 5), (2, 3, 4, 5)),
    ((2, 3, 7, 9), (3, 1, 1)),
    ((1, 3, 1, 9), (2, 1, 7, 1)),
    ((5, 1000), (1000,)),
    ((3, 700), (3, 1)),
    ((1,), (4, 33)),
    ((), (6,)),
    ((2, 1, 2, 1, 2, 1, 2, 3), (1, 2, 1, 2, 1, 2, 1, 3)),
    ((2, 3, 11, 13, 16), (3, 1, 1, 16)),  # a number of each channel, channels in blocks
    ((2, 9, 140, 8), (2, 1, 1, 8)),
    ((3, 70, 12), (3, 1, 12)),
]


@DTYPES
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("name", ORACLES)
def test_binary(name, shapes, dtype, isa, rng):
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    if name == "power":
        a = np.abs(a)
    got = sweeps.binary(name, a, b)
    want = ORACLES[name](a, b)
    assert got.dtype == dtype and got.shape == want.shape
    eps = np.finfo(dtype).eps if name == "power" else 0
    np.testing.assert_allclose(got, want, rtol=eps, atol=0)
    relu = sweeps.binary(name, a, b, activation=parse_activation("relu"))
    np.testing.assert_array_equal(relu, np.maximum(got, 0))
    tanh = sweeps.binary(name, a, b, activation=parse_activation("tanh"))
    np.testing.assert_array_equal(tanh, convkit.tanh(got))


@DTYPES
def test_what_repeats_in_any_memory(dtype, isa, rng):
    a, b = rng.standard_normal((3, 50, 40)).astype(dtype), rng.standard_normal((3, 1, 64))
    b = b.astype(dtype)[:, :, ::8]
    for view in (np.tile(a, 2)[..., ::10], np.tile(a, 2)[..., 79:71:-1], a[..., 3:11]):
        np.testing.assert_array_equal(sweeps.binary("subtract", view, b), view - b)
        out = np.full((3, 50, 16), NAN, dtype)[..., ::2]
        sweeps.binary("subtract", view, b[..., ::-1], out=out)
        np.testing.assert_array_equal(out, view - b[..., ::-1])


@DTYPES
@PLACES
def test_binary_in_any_memory(layout, dtype, isa, rng):
    shape = (2, 3, 6, 70)
    a, b = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    for one, other, result in ((layout, "contiguous", "contiguous"), ("nhwc", layout, layout)):
        y = guarded(shape, dtype, result)
        sweeps.binary("subtract", laid_out(a, one), laid_out(b, other), out=y.array)
        y.check("y")
        np.testing.assert_array_equal(y.array, a - b)
        y = guarded(shape, dtype, result)
        sweeps.binary("add", laid_out(a, one), b[:, :, :1], out=y.array)
        y.check("y")
        np.testing.assert_array_equal(y.array, a + b[:, :, :1])


@PLACES
def test_binary_over_an_input(layout, isa, rng):
    for applied in (None, "tanh"):
        for which in range(2):
            arrays = [rng.standard_normal((2, 3, 9, 120)) for _ in range(2)]
            want = convkit.activate(arrays[0] - arrays[1], applied)
            arrays[which] = laid_out(arrays[which], layout)
            activation = parse_activation(applied)
            sweeps.binary("subtract", *arrays, activation=activation, out=arrays[which])
            np.testing.assert_array_equal(arrays[which], want)


@DTYPES
def test_what_is_not_finite(dtype, isa):
    special_ones = np.array([NAN, INFINITY, -INFINITY, 0.0, -0.0, 1, -1, 2, 0.5], dtype)
    a, b = (part.ravel() for part in np.meshgrid(special_ones, special_ones))
    a, b = np.tile(a, 3), np.tile(b, 3)  # more than one vector
    with np.errstate(all="ignore"):
        for name, oracle in ORACLES.items():
            np.testing.assert_array_equal(sweeps.binary(name, a, b), oracle(a, b), err_msg=name)


def test_a_square_is_a_product(isa, rng):
    x = (1e3 * rng.standard_normal(1000)).astype(np.float32)
    np.testing.assert_array_equal(sweeps.binary("power", x, np.full((), 2, np.float32)), x * x)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_threads_and_strides_change_no_bits(threads, isa, rng):
    a, b = rng.standard_normal((4, 5, 60, 70)), rng.standard_normal((5, 1, 1))
    with convkit.threads(1):
        want = [sweeps.binary("power", np.abs(a), b), sweeps.transpose(a, (0, 2, 3, 1))]
        want += [sweeps.reduce(name, a, (2, 3)) for name in sweeps.REDUCTIONS]
    with convkit.threads(threads):
        got = [sweeps.binary("power", np.abs(a), b), sweeps.transpose(a, (0, 2, 3, 1))]
        got += [sweeps.reduce(name, a, (2, 3)) for name in sweeps.REDUCTIONS]
        part = sweeps.reduce("sum", a[1:2], (2, 3))
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(part, want[2][1:2])


def softplus(v):
    return np.maximum(v, 0) + np.log1p(np.exp(-np.abs(v)))


def mish(v):
    """v tanh(softplus(v)), written so that long double does not cancel."""
    e = np.exp(-np.abs(v))
    below, above = e * (e + 2) / (e * (e + 2) + 2), (1 + 2 * e) / (1 + 2 * e + 2 * e * e)
    return v * np.where(v < 0, below, above)


UNARY = {
    "identity": lambda v: v,
    "selu": lambda v: (
        np.longdouble(1.0507009873554805)
        * np.where(v < 0, np.longdouble(1.6732632423543772) * np.expm1(np.minimum(v, 0)), v)
    ),
    "celu": lambda v: np.where(v < 0, np.expm1(np.minimum(v, 0)), v),
    "thresholded_relu": lambda v: np.where(v > 1, v, 0),
    "softplus": softplus,
    "softsign": lambda v: v / (1 + np.abs(v)),
    "mish": mish,
    "gelu_by_tanh": lambda v: (
        v / (1 + np.exp(-2 * np.sqrt(2 / np.longdouble(np.pi)) * (v + 0.044715 * v**3)))
    ),
    "negative": np.negative,
    "absolute": np.abs,
    "sqrt": np.sqrt,
    "reciprocal": lambda v: 1 / v,
    "exp": np.exp,
    "log": np.log,
    "erf": lambda v: special.erf(v.astype(np.float64)),
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sign": np.sign,
    **{
        name: getattr(np, name)
        for name in (
            "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "arcsinh",
            "arccosh", "arctanh",
        )
    },
}  # fmt: skip


def test_every_function_has_an_oracle():
    assert set(UNARY) == set(sweeps.UNARY) - set(sweeps.ACTIVATIONS)


@DTYPES
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype, isa, rng):
    info = np.finfo(dtype)
    sizes = (1e-30, 1e-3, 0.1, 1, 10, 100, 700)
    x = np.concatenate([size * rng.standard_normal(500) for size in sizes])
    x = np.concatenate([x, 1 + 1e-5 * rng.standard_normal(500), [info.max, info.tiny, 1, -1]])
    x = x.astype(dtype)
    with np.errstate(all="ignore"):
        want = UNARY[name](x.astype(np.longdouble))
        got = sweeps.unary(x, sweeps.function(name))
        rounded = want.astype(dtype)
        error = np.abs(got - want)
        factor = 4
        if name == "gelu_by_tanh" and dtype == "float64":
            # An error of the cubic is one of its exponential; float32 is computed in double.
            factor = 4 + 4 * np.abs(1.6 * (x + 0.044715 * x**3))
        bound = factor * info.eps * np.abs(want) + 4 * info.smallest_subnormal
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    assert (same | (error <= bound)).all(), x[~(same | (error <= bound))][:5]


@DTYPES
@pytest.mark.parametrize(
    "name, want",
    # at nan, inf, -inf, 0, -0
    [
        ("selu", [NAN, INFINITY, -1.7580993408473766, 0, -0.0]),
        ("celu", [NAN, INFINITY, -1, 0, -0.0]),
        ("thresholded_relu", [NAN, INFINITY, 0, 0, 0]),
        ("softplus", [NAN, INFINITY, 0, 0.6931471805599453, 0.6931471805599453]),
        ("softsign", [NAN, 1, -1, 0, -0.0]),
        ("mish", [NAN, INFINITY, -0.0, 0, -0.0]),
        ("negative", [NAN, -INFINITY, INFINITY, -0.0, 0]),
        ("reciprocal", [NAN, 0, -0.0, INFINITY, -INFINITY]),
        ("exp", [NAN, INFINITY, 0, 1, 1]),
        ("log", [NAN, INFINITY, NAN, -INFINITY, -INFINITY]),
        ("erf", [NAN, 1, -1, 0, -0.0]),
        ("round", [NAN, INFINITY, -INFINITY, 0, -0.0]),
        ("sign", [NAN, 1, -1, 0, -0.0]),
        ("sqrt", [NAN, INFINITY, NAN, 0, -0.0]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unary_at_the_ends(name, want, dtype, isa):
    x = np.array([NAN, INFINITY, -INFINITY, 0.0, -0.0], dtype)
    got = sweeps.unary(x, sweeps.function(name))
    np.testing.assert_array_equal(got, np.array(want, dtype))
    number = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(want)[number])


def test_logarithm_of_subnormals(isa):
    x = np.array([5e-324, 1e-310, 2.2250738585072014e-308])
    np.testing.assert_allclose(sweeps.unary(x, sweeps.function("log")), np.log(x), rtol=4e-16)


def test_halves_round_to_even(isa):
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999998], np.float32)
    got = sweeps.unary(x, sweeps.function("round"))
    np.testing.assert_array_equal(got, [0, 2, 2, -0.0, -2, 2])


def test_parameters_reach_the_function(isa):
    x = np.array([-2.0, 0.5, 3.0])
    np.testing.assert_array_equal(
        sweeps.unary(x, sweeps.function("thresholded_relu", 2.5)), [0, 0, 3]
    )
    np.testing.assert_allclose(
        sweeps.unary(x, sweeps.function("celu", 2.0)), [2 * np.expm1(-1), 0.5, 3], rtol=1e-15
    )
    got = sweeps.unary(x, sweeps.function("selu", 2.0, 3.0))
    np.testing.assert_allclose(got, [6 * np.expm1(-2), 1.5, 9], rtol=1e-15)


# ---- reductions

REDUCTIONS = {
    "sum": lambda x, axis: x.sum(axis),
    "mean": lambda x, axis: x.mean(axis),
    "max": lambda x, axis: x.max(axis),
    "min": lambda x, axis: x.min(axis),
    "product": lambda x, axis: x.prod(axis),
    "magnitudes": lambda x, axis: np.abs(x).sum(axis),
    "squares": lambda x, axis: (x * x).sum(axis),
    "length": lambda x, axis: np.sqrt((x * x).sum(axis)),
}
AXES = [None, (0,), (1,), (2,), (3,), (2, 3), (0, 2), (1, 3), (0, 2, 3), ()]


@DTYPES
@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduce(name, axes, dtype, isa, rng):
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
    for shape in ((2, 3, 5, 7), (1, 19, 4, 33), (3, 2, 1, 530)):
        x = rng.standard_normal(shape).astype(dtype)
        axis = tuple(range(4)) if axes is None else axes
        want = REDUCTIONS[name](x.astype(np.longdouble), axis)
        scale = np.abs(x.astype(np.longdouble))
        count = max(x.size // max(want.size, 1), 1)
        bound = {
            "sum": scale.sum(axis), "magnitudes": scale.sum(axis), "mean": scale.mean(axis),
            "product": count * np.abs(want), "squares": want, "length": want,
        }.get(name, 0 * want)  # fmt: skip
        got = sweeps.reduce(name, x, axes)
        assert got.dtype == dtype and got.shape == want.shape
        assert (np.abs(got - want) <= 4 * eps * bound + tiny).all()
        kept = sweeps.reduce(name, x, axes, keepdims=True)
        assert kept.ndim == 4
        np.testing.assert_array_equal(kept.ravel(), got.ravel())
        for layout in LAYOUTS:
            again = sweeps.reduce(name, laid_out(x, layout), axes)
            np.testing.assert_array_equal(again, got, err_msg=layout)


@DTYPES
def test_reduce_what_is_not_finite(dtype, isa, rng):
    for row in range(3):
        x = rng.standard_normal((3, 70)).astype(dtype)
        x[row, 60], x[(row + 1) % 3, 3] = NAN, INFINITY
        for view in (x, np.asfortranarray(x)):
            for name in ("max", "min", "sum"):
                want = REDUCTIONS[name](x, 1)
                got = sweeps.reduce(name, view, (1,))
                np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
                if name != "sum":
                    np.testing.assert_array_equal(got, want)
    least = np.full((2, 40), -INFINITY, dtype)
    np.testing.assert_array_equal(sweeps.reduce("max", least, (1,)), -INFINITY)


def test_reduce_nothing():
    x = np.zeros((0, 3), np.float32)
    np.testing.assert_array_equal(sweeps.reduce("sum", x, (0,)), [0, 0, 0])
    np.testing.assert_array_equal(sweeps.reduce("max", x, (0,)), -INFINITY)
    assert sweeps.reduce("mean", x, (1,)).shape == (0,)


# ---- movements of data

KINDS = ["float32", "float64", "int64", "int16", "uint8", "bool"]


def some(rng, shape, kind):
    return (100 * rng.standard_normal(shape)).astype(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_transpose(kind, isa, rng):
    for shape in ((2, 3, 4, 5), (1, 70, 1, 90), (3, 64, 130, 1), (5, 16, 3, 100)):
        x = some(rng, shape, kind)
        for axes in ((0, 2, 3, 1), (0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 3, 2), (0, 1, 2, 3)):
            np.testing.assert_array_equal(sweeps.transpose(x, axes), x.transpose(axes))
            view = x[:, ::-1]
            np.testing.assert_array_equal(sweeps.transpose(view, axes), view.transpose(axes))


@DTYPES
@PLACES
def test_copies_in_any_memory(layout, dtype, isa, rng):
    x = some(rng, (2, 21, 9, 70), dtype)
    for other in ("contiguous", "nhwc", "transposed"):
        y = guarded(x.shape, dtype, layout)
        sweeps.copy(laid_out(x, other), out=y.array)
        y.check("y")
        np.testing.assert_array_equal(y.array, x)


def test_bits_of_nans_are_kept(isa):
    for kind, bits in ((np.float32, np.uint32), (np.float64, np.uint64)):
        x = np.arange(40 * 40, dtype=bits).reshape(40, 40)
        x += np.array(NAN, kind).view(bits) + bits(1)
        for got in (sweeps.transpose(x.view(kind)), sweeps.copy(x.view(kind)).T):
            np.testing.assert_array_equal(got.view(bits), x.T)


@pytest.mark.parametrize("kind", KINDS)
def test_concatenate(kind, isa, rng):
    for axis in range(-1, 4):
        parts = [some(rng, (2, 3, 4, 5), kind) for _ in range(3)]
        parts[1] = np.concatenate([parts[1]] * 2, axis)
        np.testing.assert_array_equal(sweeps.concatenate(parts, axis), np.concatenate(parts, axis))


def test_slices(isa, rng):
    x = rng.standard_normal((6, 7, 8))
    for parts in (
        (slice(1, 5, 2), slice(None), slice(None, None, -1)),
        (slice(5, 0, -3), slice(2, 3), slice(-2, None)),
        (slice(0, 0), slice(None), slice(None)),
    ):
        np.testing.assert_array_equal(sweeps.slices(x, parts), x[parts])


@pytest.mark.parametrize("kind", KINDS)
def test_take(kind, isa, rng):
    x = some(rng, (4, 5, 6), kind)
    for axis in range(-1, 3):
        for indices in (np.array([0]), np.array([[3, -1], [0, 2]]), np.array(1), np.array([], int)):
            got = sweeps.take(x, indices, axis)
            np.testing.assert_array_equal(got, np.take(x, indices, axis))
    with pytest.raises(ValueError, match="indices lead outside axis 1 of size 5"):
        sweeps.take(x, np.array([5]), 1)
    with pytest.raises(ValueError, match="indices lead outside axis 1 of size 5"):
        sweeps.take(x, np.array([-6]), 1)


@pytest.mark.parametrize("mode", sweeps.PAD_MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_pad(mode, kind, isa, rng):
    x = some(rng, (2, 3, 5, 40), kind)
    for widths in (
        ((0, 0), (0, 0), (1, 2), (3, 1)), ((1, 0), (0, 2), (0, 0), (0, 1)), ((0, 0),) * 4,
        ((0, 0), (2, 2), (9, 7), (0, 0)),
    ):  # fmt: skip
        value = {"constant_values": 1} if mode == "constant" else {}
        want = np.pad(x, widths, mode=sweeps.PAD_MODES[mode], **value)
        np.testing.assert_array_equal(sweeps.pad(x, widths, mode=mode, value=1), want)


def test_negative_padding_cuts(isa, rng):
    x = rng.standard_normal((4, 9))
    got = sweeps.pad(x, ((-1, 2), (3, -4)), value=7)
    np.testing.assert_array_equal(got, np.pad(x[1:, :5], ((0, 2), (3, 0)), constant_values=7))
    with pytest.raises(ValueError, match="mode='edge' needs an element"):
        sweeps.pad(x, ((-4, 2), (0, 0)), mode="edge")
    with pytest.raises(ValueError, match="mode='mirror' must be one of constant"):
        sweeps.pad(x, ((1, 2), (0, 0)), mode="mirror")


def test_pad_nothing(isa):
    got = sweeps.pad(np.zeros((0, 3), np.float32), ((2, 0), (0, 1)), value=4)
    np.testing.assert_array_equal(got, np.full((2, 4), 4))


def test_fill_keeps_its_bits(isa):
    x = np.zeros((2, 3), np.float64)
    for value in (NAN, -0.0, 1e300):
        got = sweeps.pad(x, ((1, 0), (0, 0)), value=value)[0]
        np.testing.assert_array_equal(got.view(np.int64), np.full(3, value).view(np.int64))


@pytest.mark.parametrize("kind", KINDS)
def test_tile_and_expand(kind, isa, rng):
    x = some(rng, (2, 1, 5), kind)
    for repeats in ((1, 1, 1), (2, 3, 1), (1, 4, 7)):
        np.testing.assert_array_equal(sweeps.tile(x, repeats), np.tile(x, repeats))
    np.testing.assert_array_equal(sweeps.expand(x, (3, 2, 4, 5)), np.broadcast_to(x, (3, 2, 4, 5)))
    np.testing.assert_array_equal(sweeps.expand(x, (6, 1)), np.broadcast_to(x, (2, 6, 5)))


def test_depth_and_space(isa):
    # Written down from ONNX's DepthToSpace.
    x = np.arange(0, 48, dtype=np.float32).reshape(1, 8, 2, 3)
    by_depth = sweeps.depth_to_space(x, 2)
    want = [[0, 12, 1, 13, 2, 14], [24, 36, 25, 37, 26, 38]]
    np.testing.assert_array_equal(by_depth[0, 0, :2], want)
    by_channel = sweeps.depth_to_space(x, 2, channels_first=True)
    want = [[0, 6, 1, 7, 2, 8], [12, 18, 13, 19, 14, 20]]
    np.testing.assert_array_equal(by_channel[0, 0, :2], want)
    np.testing.assert_array_equal(sweeps.space_to_depth(by_depth, 2), x)
    np.testing.assert_array_equal(sweeps.space_to_depth(by_channel, 2, channels_first=True), x)


@DTYPES
@pytest.mark.parametrize("block", [4, 8, 16])
@pytest.mark.parametrize("c", [1, 3, 16, 21, 64])
def test_blocks_of_channels(c, block, dtype, isa, rng):
    x = rng.standard_normal((2, c, 5, 19)).astype(dtype)
    blocks = -(-c // block)
    lanes = np.zeros((2, blocks * block, 5, 19), dtype)
    lanes[:, :c] = x
    want = lanes.reshape(2, blocks, block, 5, 19).transpose(0, 1, 3, 4, 2)
    got = np.full(want.shape, NAN, dtype)
    sweeps.to_blocks(x, block, out=got)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(sweeps.from_blocks(got, c), x)
    # exp(0) is 1: lanes past the last channel are cleared behind it.
    sweeps.unary(got, sweeps.function("exp"), out=got)
    sweeps.clear_lanes(got, c)
    lanes[:, :c] = sweeps.unary(x, sweeps.function("exp"))
    want = lanes.reshape(2, blocks, block, 5, 19).transpose(0, 1, 3, 4, 2)
    np.testing.assert_array_equal(got, want)


def test_too_many_axes():
    with pytest.raises(ValueError, match="9 axes: at most 8 are taken"):
        sweeps.copy(np.zeros((1,) * 9))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"b": np.zeros(3)}, "b does not fit"),
        ({"b": np.zeros((2, 3), "f4")}, "b and y have one dtype"),
        ({"b": None}, "this function has two arguments"),
        ({"a": np.zeros((2, 4))}, "a does not fit"),
        ({"a": np.zeros((2, 3), "f4")}, "a and y have one dtype"),
        ({"name": "copy", "tables": [None]}, "copies have a table or None for each axis"),
        ({"name": "copy", "tables": [None, np.array([0, 1, 3])]}, "a table leads outside its axis"),
        ({"name": "copy", "tables": [None, np.array([0, 1, -2])]}, "a table leads outside its axi"),
        ({"name": "copy", "tables": [None, np.array([0, 1])]}, "a table is a contiguous vector"),
        ({"name": "copy", "tables": [None, np.zeros(3, "i4")]}, "a table is a contiguous vector"),
        ({"reduced": 1}, "only reductions have reduced axes|at least one element"),
        ({"name": "sort"}, "no sweep 'sort'"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)  # fmt: skip
def test_the_native_call_guards_memory(arguments, message):
    call = {
        "name": "elementwise", "function": 1, "a": np.zeros((2, 3)), "b": np.zeros((2, 3)),
        "y": np.zeros((2, 3)), "tables": [], "reduced": 0, "fill": 0, "activation": 0,
        "alpha": 0.0, "beta": 0.0, "threads": 1, **arguments,
    }  # fmt: skip
    if call["name"] == "copy":
        call["b"] = None
    with pytest.raises(ValueError, match=message):
        _convkit.sweep(**call)
