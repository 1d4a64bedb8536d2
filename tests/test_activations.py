"""Activations: an error of at most 4 eps of the result, in the tails and at the infinities too."""

from __future__ import annotations

import numpy as np
import pytest

import convkit
from convkit import _convkit
from convkit.epilogue import activation as parse

INFINITY = float("inf")
NAMES = [
    "relu", "relu6", ("clip", -0.5, 2.0), "leaky_relu", ("leaky_relu", -0.3), "elu", ("elu", 1.7),
    "hardsigmoid", ("hardsigmoid", 0.2, 0.3), "sigmoid", "tanh", "hardswish", "silu", "gelu",
]  # fmt: skip


def name_of(value):
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.fixture(params=_convkit.available_isas())
def isa(request, checked_kernels):
    _convkit.select_isa(request.param)
    return request.param


def exact(activation, values):
    """The formulas of csrc/kernel.h in long double, whose rounding errors do not show."""
    name = activation if isinstance(activation, str) else activation[0]
    _, a, b = (np.longdouble(v) for v in parse(activation))
    v = values.astype(np.longdouble)
    with np.errstate(all="ignore"):
        if name == "relu":
            return np.maximum(v, 0)
        if name in ("relu6", "clip"):
            return np.minimum(np.maximum(v, a), b)
        if name == "leaky_relu":
            return np.where(v < 0, a * v, v)
        if name == "elu":
            return np.where(v < 0, a * np.expm1(np.minimum(v, 0)), v)
        if name == "hardsigmoid":
            # The default slope stands for an exact sixth.
            line = (v + 3) / 6 if activation == "hardsigmoid" else a * v + b
            return np.clip(line, 0, 1)
        if name == "sigmoid":
            return 1 / (1 + np.exp(-v))
        if name == "tanh":
            return np.tanh(v)
        if name == "hardswish":
            return np.maximum(v, -3) * np.clip(v + 3, 0, 6) / 6
        if name == "silu":
            return np.where(v < -11000, 0, np.maximum(v, -11000) / (1 + np.exp(-v)))
    return np.array([gelu(each) for each in v], np.longdouble)


def gelu(v):
    """x Phi(x) by Taylor's series near 0 and Laplace's continued fraction in the tail."""
    z = abs(v)
    pi = 4 * np.arctan(np.longdouble(1))
    if np.isnan(z):
        return z
    if z < 5:
        # 1/2 + phi(z) (z + z^3/3 + z^5/15 + ...): all terms positive
        term = total = z
        for i in range(1, 120):
            term = term * z * z / (2 * i + 1)
            total = total + term
        density = np.exp(-z * z / 2) / np.sqrt(2 * pi)
        if v >= 0:
            return v * (np.longdouble(0.5) + density * total)
        if z < 1:
            return v * (np.longdouble(0.5) - density * total)
    if z > 200:
        return v if v > 0 else np.longdouble(0)
    fraction = z
    for i in range(400, 0, -1):
        fraction = z + i / fraction
    tail = np.exp(-z * z / 2) / np.sqrt(2 * pi) / fraction
    return v * tail if v < 0 else v - v * tail


def points(dtype):
    """Where each formula could lose digits: near 0 and its kinks, in the tails, at the limits."""
    rng = np.random.default_rng(11)
    info = np.finfo(dtype)
    far = 100 if dtype == np.float32 else 740
    return np.concatenate(
        [
            rng.standard_normal(300),
            rng.uniform(-12, 12, 300),
            rng.uniform(-far, far, 300),
            rng.choice([-1, 1], 200) * 10.0 ** rng.uniform(np.log10(info.tiny) + 8, 4, 200),
            [0, 1, -1, 3, -3, 6, 0.34657359, -0.34657359, -38, -37.5, -103, -700, -745, 745, 1e4],
            [info.max / 8, -info.max / 8, info.tiny, -info.tiny],
            -3 + 4 * info.eps * np.arange(-3, 9),
        ]
    ).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", NAMES, ids=name_of)
def test_error_below_four_eps(activation, dtype, isa):
    dtype = np.dtype(dtype)
    values = points(dtype.type)
    if activation == "gelu":
        values = np.concatenate([values, np.linspace(-40, -0.5, 300)]).astype(dtype)
    want = exact(activation, values)
    got = convkit.activate(values, activation)
    info = np.finfo(dtype)
    # A result below the normal numbers has a fixed spacing: half of it is the least error.
    allowed = 4 * info.eps * np.abs(want) + info.smallest_subnormal
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(got - want) <= allowed) & (np.abs(want) < info.max)
    assert not wrong.any(), (values[wrong][:5], got[wrong][:5], want[wrong][:5])


@pytest.mark.parametrize(
    "activation, high, low",
    [
        ("relu", INFINITY, 0), ("relu6", 6, 0), (("clip", -1, 1), 1, -1),
        ("leaky_relu", INFINITY, -INFINITY), (("elu", 2.0), INFINITY, -2), ("hardsigmoid", 1, 0),
        ("sigmoid", 1, 0), ("tanh", 1, -1), ("hardswish", INFINITY, 0), ("silu", INFINITY, 0),
        ("gelu", INFINITY, 0),
    ],
    ids=name_of,
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities_and_nan(activation, high, low, dtype, isa):
    got = convkit.activate(np.array([INFINITY, -INFINITY, np.nan], dtype), activation)
    np.testing.assert_array_equal(got, [high, low, np.nan])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["silu", "gelu", "sigmoid", "elu", "tanh"])
def test_same_bits_wherever_a_value_stands(activation, dtype, isa):
    values = np.random.default_rng(3).uniform(-9, 9, 1300).astype(dtype)
    whole = convkit.activate(values, activation)
    for begin, end in ((0, 1), (1, 2), (7, 1300), (63, 130), (500, 533), (1299, 1300)):
        part = convkit.activate(values[begin:end], activation)
        np.testing.assert_array_equal(part, whole[begin:end])
    for step in (-1, 2, 5):
        np.testing.assert_array_equal(convkit.activate(values[::step], activation), whole[::step])


@pytest.mark.parametrize(
    "value, want",
    [(-38.0, -1.09646277682633e-314), (-20.0, -5.50724823721266e-88), (-39.0, -0.0)],
)
def test_gelu_keeps_digits_in_the_tail(value, want, isa):
    got = convkit.gelu(np.array([value]))[0]
    assert got == pytest.approx(want, rel=1e-9, abs=0 if want else 1e-300)


def test_silu_keeps_digits_below_the_normal_numbers(isa):
    # 745 exp(-745) is 425.58 times the smallest number; exp(-745), rounded first, would give 745.
    assert convkit.silu(np.array([-745.0]))[0] == -426 * 5e-324


def test_hardsigmoid_is_zero_at_minus_three(isa):
    for dtype in (np.float32, np.float64):
        assert convkit.hardsigmoid(np.array([-3], dtype))[0] == 0


def test_named_functions_are_the_activations():
    x = np.linspace(-5, 5, 41)
    for name in ("relu", "relu6", "leaky_relu", "elu", "hardsigmoid", "sigmoid", "tanh",
                 "hardswish", "silu", "gelu"):  # fmt: skip
        np.testing.assert_array_equal(getattr(convkit, name)(x), convkit.activate(x, name))
    np.testing.assert_array_equal(convkit.clip(x, -1, 2), np.clip(x, -1, 2))
    np.testing.assert_array_equal(convkit.leaky_relu(x, 0.5), np.where(x < 0, 0.5 * x, x))
    np.testing.assert_array_equal(convkit.elu(x, 3.0), convkit.activate(x, ("elu", 3.0)))
    np.testing.assert_array_equal(convkit.hardsigmoid(x, 0.25, 0.5), np.clip(0.25 * x + 0.5, 0, 1))


def test_relu_of_the_course():
    x = np.array([[9, 3, 5, -8], [-6, 2, -3, 1], [1, 3, 4, 1], [3, -4, 5, 1]], np.float32)
    np.testing.assert_array_equal(convkit.relu(x), np.where(x < 0, 0, x))


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (5, 7), (2, 3, 4, 5, 6)], ids=str)
def test_any_shape(shape):
    x = np.asarray(np.random.default_rng(5).standard_normal(shape))
    got = convkit.relu(x)
    assert got.shape == shape and isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, np.maximum(x, 0))


def views(x):
    """(name, view) of strides that cannot be taken as one run."""
    yield "reversed", x[::-1, :, ::-1]
    yield "transposed", x.transpose(2, 0, 1)
    yield "crop", x[1:, 2:5, 1:-1]
    yield "every other", x[:, ::2, ::3]
    yield "one value", np.broadcast_to(x[:1, :, :1], x.shape)
    yield "five axes", x.reshape(4, 3, 2, 5, 2).transpose(1, 4, 0, 3, 2)[:, :, ::2]
    yield "odd address", np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_strides(dtype):
    x = np.random.default_rng(6).standard_normal((4, 6, 10)).astype(dtype)
    for name, view in views(x):
        np.testing.assert_array_equal(convkit.silu(view), convkit.silu(view.copy()), err_msg=name)
        out = np.full((*view.shape, 2), np.nan, dtype)[..., 0]
        assert convkit.silu(view, out=out) is out
        np.testing.assert_array_equal(out, convkit.silu(view.copy()), err_msg=name)


def test_fields_of_records():
    records = np.zeros(9, [("flag", "u1"), ("value", "f4")])
    records["value"] = np.arange(-4, 5)
    np.testing.assert_array_equal(convkit.relu(records["value"]), [0] * 5 + [1, 2, 3, 4])


def test_in_place():
    x = np.random.default_rng(7).standard_normal((3, 700))
    want = np.maximum(x, 0)
    assert convkit.relu(x, out=x) is x
    np.testing.assert_array_equal(x, want)


def test_out_that_overlaps_is_refused():
    memory = np.arange(-5.0, 6.0)
    with pytest.raises(ValueError, match="out overlaps x"):
        convkit.relu(memory[:-1], out=memory[1:])
    np.testing.assert_array_equal(memory, np.arange(-5.0, 6.0))


def test_out_inside_an_element_is_refused():
    out = np.zeros(17, np.uint8)[1:].view(np.float32)
    with pytest.raises(ValueError, match="out begins inside an element"):
        convkit.relu(np.ones(4, np.float32), out=out)
    assert not out.any()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_bits(threads):
    x = np.random.default_rng(8).standard_normal((3, 5, 111, 97)).astype(np.float32)
    with convkit.threads(1):
        want = convkit.gelu(x)
    with convkit.threads(threads):
        np.testing.assert_array_equal(convkit.gelu(x), want)


@pytest.mark.parametrize(
    "activation, error, message",
    [
        ("rleu", ValueError, "activation='rleu' must be one of relu, "),
        (3, TypeError, "activation=3 must be None, a name or"),
        ("clip", ValueError, r"must be \('clip', lo, hi\)"),
        (("clip", 2, 1), ValueError, "lo must be at most hi"),
        (("elu", "a"), TypeError, "alpha='a' must be a number"),
        (("leaky_relu", float("nan")), ValueError, "slope must not be NaN"),
        (("sigmoid", 1), ValueError, "must be 'sigmoid' alone"),
    ],
    ids=str,
)
def test_wrong_activation(activation, error, message):
    with pytest.raises(error, match=message):
        convkit.activate(np.zeros(3), activation)


@pytest.mark.parametrize(
    "x, message",
    [
        ([1.0, 2.0], "x is a list: expected an array, write np.asarray"),
        (np.arange(3), "x has dtype int64: expected float32 or float64"),
        (np.zeros(3, np.float16), "x has dtype float16"),
        (np.zeros(3, ">f4"), "x is big-endian"),
        (None, "x is None: expected an array"),
    ],
    ids=["list", "integers", "float16", "big-endian", "None"],
)
def test_wrong_array(x, message):
    with pytest.raises(TypeError, match=message):
        convkit.relu(x)
