"""Everything a caller can get wrong: one test per message; `out` untouched, the next call unharmed.

A message names the argument, the value it got and what was needed, in that order.
"""

from __future__ import annotations

import math
import re
from contextlib import nullcontext

import numpy as np
import pytest

import convkit

X, W = (2, 6, 9, 10), (8, 3, 3, 3)


def zeros(*shape, dtype="f"):
    return np.zeros(shape, dtype)


def call(**changed):
    """conv2d on a sound problem (two groups) with these arguments changed."""
    arguments = {"x": zeros(*X), "w": zeros(*W), "bias": zeros(8), "groups": 2, **changed}
    return convkit.conv2d(
        arguments.pop("x"), arguments.pop("w"), arguments.pop("bias"), **arguments
    )


def refused(**changed):
    """What the call says, and whether it left an out of the right shape alone."""
    out = changed.pop("out", np.full((2, 8, 7, 8), 7, "f"))
    before = out.copy() if isinstance(out, np.ndarray) else None
    with pytest.raises((ValueError, TypeError)) as caught:
        call(out=out, **changed)
    if before is not None:
        np.testing.assert_array_equal(out, before)
    assert type(caught.value) in (ValueError, TypeError), "a subclass is somebody else's message"
    return caught.value


WRONG = {
    # shapes
    "channels": ({"w": zeros(8, 4, 3, 3)}, ValueError, r"w has 4 channels.*\(k, 3, r, s\)"),
    "rank of x": ({"x": zeros(6)}, ValueError, r"x of shape \(6,\).*expected"),
    "rank 5": (
        {"x": zeros(1, 2, 6, 9, 10)},
        ValueError,
        r"x of shape \(1, 2, 6, 9, 10\).*expected",
    ),
    "rank of w": ({"w": zeros(3, 3)}, ValueError, r"w of shape \(3, 3\).*expected"),
    "scalar": ({"x": np.float32(1)}, (ValueError, TypeError), r"x"),
    "no channels": ({"x": zeros(2, 0, 9, 10)}, ValueError, r"x .*\(2, 0, 9, 10\).*at least 1"),
    "no rows": ({"x": zeros(2, 6, 0, 10)}, ValueError, r"x .*\(2, 6, 0, 10\).*at least 1"),
    "no columns": ({"x": zeros(2, 6, 9, 0)}, ValueError, r"x .*\(2, 6, 9, 0\).*at least 1"),
    "no filters": (
        {"w": zeros(0, 3, 3, 3), "bias": None},
        ValueError,
        r"w .*\(0, 3, 3, 3\).*at least 1",
    ),
    "empty filters": ({"w": zeros(8, 3, 0, 3)}, ValueError, r"w .*\(8, 3, 0, 3\).*at least 1"),
    "bias length": ({"bias": zeros(7)}, ValueError, r"bias.*\(7,\).*\(8,\)"),
    "bias rank": ({"bias": zeros(8, 1)}, ValueError, r"bias.*\(8, 1\).*\(8,\)"),
    "residual shape": (
        {"residual": zeros(2, 8, 7, 7)},
        ValueError,
        r"residual.*\(2, 8, 7, 7\).*\(2, 8, 7, 8\)",
    ),
    "residual of one image": (
        {"residual": zeros(8, 7, 8)},
        ValueError,
        r"residual.*\(8, 7, 8\).*\(2, 8, 7, 8\)",
    ),
    "filter over rows": (
        {"w": zeros(8, 3, 10, 3)},
        ValueError,
        r"w has 10 rows.*9 rows of the padded image",
    ),
    "filter over columns": (
        {"w": zeros(8, 3, 3, 13), "padding": 1},
        ValueError,
        r"w has 13 columns.*12 columns of the padded",
    ),
    "dilated filter over rows": (
        {"dilation": 5},
        ValueError,
        r"w has 3 rows.*11.*9 rows of the padded image",
    ),
    # dtypes and kinds
    "x of another dtype": (
        {"x": zeros(*X, dtype="d")},
        TypeError,
        r"(x|w).*float64.*float32|(x|w).*float32.*float64",
    ),
    "w of another dtype": ({"w": zeros(*W, dtype="d")}, TypeError, r"w.*float64.*float32"),
    "bias of another dtype": ({"bias": zeros(8, dtype="d")}, TypeError, r"bias.*float64.*float32"),
    "residual of another dtype": (
        {"residual": zeros(2, 8, 7, 8, dtype="d")},
        TypeError,
        r"residual.*float64.*float32",
    ),
    "float16": ({"x": zeros(*X, dtype="e")}, TypeError, r"x.*float16.*x\.astype\("),
    "integers": ({"x": zeros(*X, dtype="i4")}, TypeError, r"x.*int32.*x\.astype\("),
    "unsigned bytes": ({"x": zeros(*X, dtype="u1")}, TypeError, r"x.*uint8.*x\.astype\("),
    "booleans": ({"w": zeros(*W, dtype="?")}, TypeError, r"w.*bool.*w\.astype\("),
    "complex": ({"x": zeros(*X, dtype="F")}, TypeError, r"x.*complex64"),
    "long double": (
        {"x": zeros(*X, dtype="g")},
        TypeError,
        r"x.*(longdouble|float128).*x\.astype\(",
    ),
    "objects": ({"x": np.zeros(X, object)}, TypeError, r"x.*object"),
    "strings": ({"x": np.zeros(X, "U1")}, TypeError, r"x.*(<U1|str)"),
    "big-endian x": ({"x": zeros(*X, dtype=">f4")}, TypeError, r"x.*(>f4|big-endian).*x\.astype\("),
    "big-endian w": ({"w": zeros(*W, dtype=">f4")}, TypeError, r"w.*(>f4|big-endian).*w\.astype\("),
    "list as x": ({"x": zeros(*X).tolist()}, TypeError, r"x.*list.*np\.(as)?array\(x"),
    "list as w": ({"w": zeros(*W).tolist()}, TypeError, r"w.*list.*np\.(as)?array\(w"),
    "list as bias": ({"bias": [0.0] * 8}, TypeError, r"bias.*list.*np\.(as)?array\(bias"),
    "list as residual": (
        {"residual": [[0.0]]},
        TypeError,
        r"residual.*list.*np\.(as)?array\(residual",
    ),
    "None as x": ({"x": None}, TypeError, r"x.*None"),
    "text as x": ({"x": "image.png"}, TypeError, r"x.*str"),
    "number as w": ({"w": 3.0}, TypeError, r"w.*float"),
    # stride and dilation
    "stride 0": ({"stride": 0}, ValueError, r"stride=0.*at least 1"),
    "stride negative": ({"stride": (1, -2)}, ValueError, r"stride=-2.*at least 1"),
    "stride NaN": ({"stride": math.nan}, TypeError, r"stride=nan.*integer"),
    "stride fraction": ({"stride": 1.5}, TypeError, r"stride=1\.5.*integer"),
    "stride whole float": ({"stride": 2.0}, TypeError, r"stride=2\.0.*integer"),
    "stride boolean": ({"stride": True}, TypeError, r"stride=True.*integer"),
    "stride text": ({"stride": "2"}, TypeError, r"stride='2'.*integer"),
    "stride of three": ({"stride": (1, 2, 3)}, ValueError, r"stride=\(1, 2, 3\).*pair"),
    "stride empty": ({"stride": ()}, ValueError, r"stride=\(\).*pair"),
    "stride None": ({"stride": None}, TypeError, r"stride=None.*integer"),
    "stride with NaN": ({"stride": (1, math.nan)}, TypeError, r"stride=nan.*integer"),
    "dilation 0": ({"dilation": 0}, ValueError, r"dilation=0.*at least 1"),
    "dilation NaN": ({"dilation": math.nan}, TypeError, r"dilation=nan.*integer"),
    "dilation negative": ({"dilation": -1}, ValueError, r"dilation=-1.*at least 1"),
    # padding
    "padding negative": ({"padding": -1}, ValueError, r"padding=-1.*at least 0"),
    "one side negative": ({"padding": ((0, 1), (-2, 0))}, ValueError, r"padding=-2.*at least 0"),
    "padding NaN": ({"padding": math.nan}, TypeError, r"padding=nan.*integer"),
    "padding name": ({"padding": "sane"}, ValueError, r"padding='sane'.*valid, same, full"),
    "padding of three": ({"padding": (1, 2, 3)}, ValueError, r"padding=\(1, 2, 3\)"),
    "padding of four": ({"padding": (1, 1, 1, 1)}, ValueError, r"padding=\(1, 1, 1, 1\)"),
    "padding half nested": ({"padding": (1, (1, 2))}, ValueError, r"padding=\(1, \(1, 2\)\).*top"),
    "padding None": ({"padding": None}, TypeError, r"padding=None"),
    "reflect too far": (
        {"padding": ((9, 0), (0, 0)), "padding_mode": "reflect"},
        ValueError,
        r"padding=\(9, 0, 0, 0\).*reflect.*at most 8",
    ),
    "symmetric too far": (
        {"padding": (0, 11), "padding_mode": "symmetric"},
        ValueError,
        r"padding=\(0, 0, 11, 11\).*symmetric.*at most 10",
    ),
    "circular too far": (
        {"padding": (10, 0), "padding_mode": "circular"},
        ValueError,
        r"padding=\(10, 10, 0, 0\).*circular.*at most 9",
    ),
    "padding mode": (
        {"padding_mode": "mirror"},
        ValueError,
        r"padding_mode='mirror'.*zeros, reflect, symmetric, replicate, circular",
    ),
    "padding mode None": ({"padding_mode": None}, TypeError, r"padding_mode=None"),
    # groups
    "groups and channels": (
        {"groups": 4},
        ValueError,
        r"groups=4 must divide the 6 input channels",
    ),
    "groups and filters": (
        {"groups": 3, "w": zeros(8, 2, 3, 3)},
        ValueError,
        r"groups=3 must divide the 8 filters",
    ),
    "groups 0": ({"groups": 0}, ValueError, r"groups=0.*at least 1"),
    "groups NaN": ({"groups": math.nan}, TypeError, r"groups=nan.*integer"),
    # names
    "algorithm": ({"algo": "winograd"}, ValueError, r"algo='winograd'.*auto.*direct.*winograd_f4"),
    "algorithm None": ({"algo": None}, TypeError, r"algo=None"),
    "forced depthwise": ({"algo": "depthwise"}, ValueError, r"algo='depthwise'.*2"),
    "forced pointwise": ({"algo": "pointwise"}, ValueError, r"algo='pointwise'.*(1, 1|1x1)"),
    "forced winograd": ({"algo": "winograd_f4"}, ValueError, r"algo='winograd_f4'.*group"),
    "forced fft": (
        {"algo": "fft", "stride": 2, "out": np.full((2, 8, 4, 4), 7, "f")},
        ValueError,
        r"algo='fft'.*stride.*\(2, 2\)",
    ),
    "precision": ({"precision": "low"}, ValueError, r"precision='low'.*highest, high, medium"),
    "precision and algorithm": (
        {"algo": "fft", "precision": "highest"},
        ValueError,
        r"algo='fft'.*highest",
    ),
    "activation": ({"activation": "swish"}, ValueError, r"activation='swish'.*silu"),
    "activation kind": ({"activation": 3}, TypeError, r"activation=3"),
    "activation function": ({"activation": np.tanh}, TypeError, r"activation=<ufunc 'tanh'>"),
    "clip without bounds": ({"activation": "clip"}, ValueError, r"activation='clip'.*lo, hi"),
    "clip with one bound": (
        {"activation": ("clip", 1)},
        ValueError,
        r"activation=\('clip', 1\).*lo, hi",
    ),
    "clip upside down": (
        {"activation": ("clip", 2, 1)},
        ValueError,
        r"activation=\('clip', 2, 1\).*lo.*hi",
    ),
    "clip to NaN": ({"activation": ("clip", 0, math.nan)}, ValueError, r"activation=.*nan.*NaN"),
    "relu with a parameter": (
        {"activation": ("relu", 1)},
        ValueError,
        r"activation=\('relu', 1\).*alone",
    ),
    "slope of text": (
        {"activation": ("leaky_relu", "a")},
        TypeError,
        r"activation=.*slope='a'.*number",
    ),
    "flip": ({"flip": "yes"}, TypeError, r"flip='yes'.*(True|bool)"),
    "invariant": ({"invariant": "no"}, TypeError, r"invariant='no'.*(True|bool)"),
    # memory
    "workspace": (
        {"max_workspace": 1},
        ValueError,
        r"max_workspace=1 .*direct.*\d+ bytes|max_workspace=1\b.*\d+",
    ),
    "workspace negative": ({"max_workspace": -1}, ValueError, r"max_workspace=-1.*at least 0"),
    "workspace NaN": ({"max_workspace": math.nan}, TypeError, r"max_workspace=nan.*integer"),
    "padding beyond memory": ({"padding": 1 << 40}, ValueError, r"(y|padding).*\d{9}"),
    "padding beyond 64 bits": ({"padding": 1 << 70}, ValueError, r"(y|padding).*\d{9}"),
    "stride beyond 64 bits": ({"stride": 1 << 70, "padding": 1 << 70}, ValueError, r"\d{9}"),
    "dilation beyond 64 bits": ({"dilation": 1 << 70}, ValueError, r"w has 3 rows.*\d{9}"),
}


@pytest.mark.parametrize(("changed", "kind", "message"), WRONG.values(), ids=WRONG)
def test_refused(changed, kind, message):
    error = refused(**changed)
    assert isinstance(error, kind), error
    assert re.search(message, str(error)), str(error)
    assert "\n" not in str(error)
    assert call().shape == (2, 8, 7, 8)


# ---- out -----------------------------------------------------------------------------------------

OUT_WRONG = {
    "shape": (np.full((2, 8, 7, 7), 7, "f"), ValueError, r"out.*\(2, 8, 7, 7\).*\(2, 8, 7, 8\)"),
    "rank": (np.full((8, 7, 8), 7, "f"), ValueError, r"out.*\(8, 7, 8\).*\(2, 8, 7, 8\)"),
    "dtype": (np.full((2, 8, 7, 8), 7, "d"), TypeError, r"out.*float64.*float32"),
    "big-endian": (np.full((2, 8, 7, 8), 7, ">f4"), TypeError, r"out.*(>f4|big-endian)"),
    "list": ([[7.0]], TypeError, r"out.*list"),
}


@pytest.mark.parametrize(("out", "kind", "message"), OUT_WRONG.values(), ids=OUT_WRONG)
def test_out_refused(out, kind, message):
    error = refused(out=out)
    assert isinstance(error, kind), error
    assert re.search(message, str(error)), str(error)


def test_read_only_out():
    out = np.full((2, 8, 7, 8), 7, "f")
    out.flags.writeable = False
    assert re.search("out.*(read-only|writ)", str(refused(out=out)))


def test_out_that_overlaps_itself():
    out = np.broadcast_to(np.full((1, 8, 7, 8), 7, "f"), (2, 8, 7, 8))
    assert re.search("out", str(refused(out=out)))
    line = np.full(400, 7, "f")
    stepped = np.lib.stride_tricks.as_strided(line, (2, 8, 7, 8), (4, 4, 4, 4))
    assert re.search("out.*overlap", str(refused(out=stepped)))


@pytest.mark.parametrize("name", ["x", "w", "bias"])
def test_out_overlaps_an_input(name):
    memory = np.full(3000, 7, "f")
    shape = {"x": X, "w": W, "bias": (8,)}[name]
    size = math.prod(shape)
    out = memory[size - 1 : size - 1 + 2 * 8 * 7 * 8].reshape(2, 8, 7, 8)
    error = refused(out=out, **{name: memory[:size].reshape(shape)})
    assert isinstance(error, ValueError)
    assert re.search(rf"out.*overlap.*\b{name}\b", str(error)), str(error)


def test_out_overlaps_the_residual_in_part():
    """The residual itself is fine, in the same places; one shifted by an element is not."""
    memory = np.full(2 * 8 * 7 * 8 + 1, 7, "f")
    residual, out = (memory[i : i + 2 * 8 * 7 * 8].reshape(2, 8, 7, 8) for i in (0, 1))
    assert re.search("out.*overlap.*residual", str(refused(out=out, residual=residual)))
    turned = out[:, :, ::-1]
    assert re.search("out.*overlap.*residual", str(refused(out=turned, residual=out)))
    assert call(out=out, residual=out) is out
    square = np.full((1, 1, 6, 6), 7, "f")
    with pytest.raises(ValueError, match=r"out.*overlap.*residual"):
        convkit.conv2d(
            zeros(1, 1, 8, 8), zeros(1, 1, 3, 3), residual=square.swapaxes(2, 3), out=square
        )
    np.testing.assert_array_equal(square, 7)


def test_out_beside_an_input_is_fine():
    """Interleaved with x, but never the same element."""
    memory = np.zeros((2, 6, 9, 10, 2), "f")
    x, out = memory[..., 0], memory[:, :4, :7, :8, 1]
    x[...] = 1
    w = np.ones((4, 6, 3, 3), "f")
    y = convkit.conv2d(x, w, out=out)
    np.testing.assert_array_equal(y, convkit.conv2d(x.copy(), w))
    np.testing.assert_allclose(y, 54, rtol=1e-6)
    np.testing.assert_array_equal(x, 1)


# ---- plans, threads, explain ---------------------------------------------------------------------


@pytest.fixture
def plan():
    return convkit.plan(X, zeros(*W), groups=2)


PLAN_WRONG = {
    "channels": ({"x": zeros(2, 5, 9, 10)}, ValueError, r"x.*\(2, 5, 9, 10\).*\(n, 6, 9, 10\)"),
    "rows": ({"x": zeros(2, 6, 8, 10)}, ValueError, r"x.*\(2, 6, 8, 10\).*\(n, 6, 9, 10\)"),
    "rank": ({"x": zeros(6, 9)}, ValueError, r"x.*\(6, 9\).*\(n, 6, 9, 10\)"),
    "dtype": ({"x": zeros(*X, dtype="d")}, TypeError, r"x.*float64.*float32"),
    "list": ({"x": [1.0]}, TypeError, r"x.*list"),
    "residual": (
        {"x": zeros(*X), "residual": zeros(1, 8, 7, 8)},
        ValueError,
        r"residual.*\(1, 8, 7, 8\)",
    ),
    "out": (
        {"x": zeros(*X), "out": zeros(1, 8, 7, 8)},
        ValueError,
        r"out.*\(1, 8, 7, 8\).*\(2, 8, 7, 8\)",
    ),
}


@pytest.mark.parametrize(("arguments", "kind", "message"), PLAN_WRONG.values(), ids=PLAN_WRONG)
def test_plan_refuses(plan, arguments, kind, message):
    with pytest.raises(kind, match=message):
        plan(**arguments)


@pytest.mark.parametrize(
    ("x_shape", "kind", "message"),
    [
        ((2, 6.5, 9, 10), TypeError, r"x_shape=\(2, 6\.5, 9, 10\)"),
        ((2, -6, 9, 10), ValueError, r"\(2, -6, 9, 10\).*at least 1"),
        (7, TypeError, r"x_shape=7"),
        ("6,9,10", (TypeError, ValueError), r"x_shape='6,9,10'"),
        ((2, 6, 1 << 40, 1 << 40), ValueError, r"bytes"),
        ((1 << 62, 6, 9, 10), ValueError, r"bytes"),
    ],
    ids=str,
)
@pytest.mark.parametrize("ask", ["plan", "explain"])
def test_shapes_refused(ask, x_shape, kind, message):
    with pytest.raises(kind, match=message):
        if ask == "plan":
            convkit.plan(x_shape, zeros(*W), groups=2)
        else:
            convkit.explain(x_shape, W, groups=2)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("float16", "float16"),
        ("int32", "int32"),
        ("single precision", "single precision"),
        (None, "None"),
    ],
)
def test_explain_refuses_dtypes(dtype, message):
    with pytest.raises((TypeError, ValueError), match=rf"dtype.*{message}"):
        convkit.explain(X, W, groups=2, dtype=dtype)


@pytest.mark.parametrize(
    "arguments", [{"stirde": 2}, {"device": "cpu"}], ids=["misspelt", "device"]
)
def test_unknown_keywords(arguments):
    with pytest.raises(TypeError, match=next(iter(arguments))):
        call(**arguments)


def test_keywords_are_keywords():
    with pytest.raises(TypeError):
        convkit.conv2d(zeros(*X), zeros(*W), None, 2)


@pytest.mark.parametrize(
    ("n", "kind", "message"),
    [
        (0, ValueError, r"=0 .*at least 1"),
        (-1, ValueError, r"=-1 .*at least 1"),
        (1.5, TypeError, r"=1\.5 .*integer"),
        (math.nan, TypeError, r"=nan .*integer"),
        ("2", TypeError, r"='2' .*integer"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "setter", [convkit.set_num_threads, convkit.threads], ids=lambda f: f.__name__
)
def test_threads_refused(setter, n, kind, message):
    before = convkit.get_num_threads()
    with pytest.raises(kind, match=message):
        with setter(n) or nullcontext():
            pass
    assert convkit.get_num_threads() == before


def test_answer_too_large_for_memory():
    """A clear error, not a crash: sizes that 64 bits hold and no machine does."""
    with pytest.raises((ValueError, MemoryError)) as caught:
        convkit.conv2d(zeros(1, 1, 4, 4), zeros(1, 1, 1, 1), padding=1 << 21)
    assert str(caught.value)


@pytest.mark.parametrize("algo", ["direct", "im2col", "pointwise"])
def test_many_pixels_from_few(algo):
    """Strides over a far padding: large coordinates, a small answer."""
    y = convkit.conv2d(
        np.ones((1, 1, 4, 4), "f"), np.ones((1, 1, 1, 1), "f"), padding=((1 << 33, 0), (0, 0)),
        stride=(1 << 32, 1), algo=algo,
    )  # fmt: skip
    assert y.shape == (1, 1, 3, 4)
    np.testing.assert_array_equal(y[0, 0].sum(axis=1), [0, 0, 4])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"stride": True}, TypeError),
        ({"stride": 1.0}, TypeError),
        ({"stride": (1, True)}, TypeError),
        ({"stride": (1.0, 1)}, TypeError),
        ({"dilation": (True, 1)}, TypeError),
        ({"dilation": 1.0}, TypeError),
        ({"padding": (1, True)}, TypeError),
        ({"padding": ((1, 1), (1.0, 1))}, TypeError),
        ({"padding": True}, TypeError),
        ({"groups": 1.0}, TypeError),
        ({"groups": [1]}, TypeError),
        ({"padding_mode": ["zeros"]}, TypeError),
        ({"invariant": 1}, TypeError),
    ],
    ids=str,
)
def test_what_equals_a_remembered_argument_is_still_refused(options, error):
    """1.0 == True == 1: the right call before must not make the wrong one pass."""
    x, w = np.ones((1, 2, 5, 5), "f"), np.ones((3, 2, 3, 3), "f")
    right = {"stride": 1, "dilation": 1, "padding": 1, "groups": 1, "invariant": True}
    pairs = [{name: (1, 1)} for name in ("stride", "dilation", "padding")]
    for good in (right, *(right | one for one in pairs), right | {"padding": ((1, 1), (1, 1))}):
        convkit.conv2d(x, w, **good)
        convkit.plan(x.shape, w, **good)
    with pytest.raises(error):
        convkit.conv2d(x, w, **(right | options))
    with pytest.raises(error):
        convkit.plan(x.shape, w, **(right | options))
    with pytest.raises(TypeError):
        convkit.plan((1, 2, 5.0, 5), w, **right)


def test_weights_changed_between_two_calls_are_seen():
    x, w = np.ones((1, 2, 5, 5), "f"), np.ones((3, 2, 3, 3), "f")
    assert convkit.conv2d(x, w)[0, 0, 0, 0] == 18
    w *= 2
    assert convkit.conv2d(x, w)[0, 0, 0, 0] == 36
