"""convkit.conv2d: every argument, as a user calls it."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import BY_NAME, CASES, PROMISES, groups_size_stride, suited
from guarded import LAYOUTS, guarded
from oracle import activated, assert_within, magnitude, oracle
from scipy import signal

import convkit
from convkit.algorithms import ALGORITHMS
from convkit.problem import conv_problem

# At the end: what is installed goes first, convkit above all.
sys.path.append(str(Path(__file__).resolve().parent.parent))
from bench.kernels import keywords  # noqa: E402

DTYPES = ["float32", "float64"]
# What the loosest algorithm promises; "auto" may take any.
LOOSEST = dataclasses.replace(PROMISES["winograd_f4"], dtypes=("float32", "float64"))


def standard_normal(*shape, dtype="float32", seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_auto(case, dtype):
    arrays, problem = case.arrays(dtype), case.of(dtype)
    y = convkit.conv2d(arrays.x, arrays.w, arrays.bias, **keywords(problem))
    assert y.dtype == dtype
    assert_within(y, *arrays.expected(LOOSEST, problem))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: case.name)
def test_highest_precision_is_a_direct_sum(case, dtype):
    arrays, problem = case.arrays(dtype), case.of(dtype)
    y = convkit.conv2d(arrays.x, arrays.w, arrays.bias, precision="highest", **keywords(problem))
    assert_within(y, *arrays.expected(PROMISES["direct"], problem))


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
@pytest.mark.parametrize(
    "case",
    [BY_NAME[name] for name in ("batch_2", "depthwise_twice", "pointwise_stride_2", "filter_5x7")],
    ids=lambda case: case.name,
)
def test_forced_algorithm(case, row):
    arrays, problem = case.arrays(), case.problem
    if not row.supports(problem) or row.weights:
        with pytest.raises(ValueError, match=rf"algo='{row.name}'"):
            convkit.conv2d(arrays.x, arrays.w, algo=row.name, **keywords(problem))
        return
    y = convkit.conv2d(
        arrays.x, arrays.w, arrays.bias, algo=row.name, residual=arrays.residual, activation="relu",
        **keywords(problem),
    )  # fmt: skip
    promise = PROMISES[row.name]
    assert_within(y, *arrays.expected(promise, problem, residual=True, activation="relu"))


# ---- shapes --------------------------------------------------------------------------------------


def test_single_image():
    x, w = standard_normal(3, 9, 8), standard_normal(4, 3, 3, 3)
    y = convkit.conv2d(x, w, padding=1)
    assert y.shape == (4, 9, 8)
    np.testing.assert_array_equal(y, convkit.conv2d(x[None], w, padding=1)[0])


def test_single_plane():
    x, w = standard_normal(9, 8), standard_normal(3, 4)
    y = convkit.conv2d(x, w)
    assert y.shape == (7, 5)
    np.testing.assert_array_equal(y, convkit.conv2d(x[None, None], w[None, None])[0, 0])


@pytest.mark.parametrize("lead", [(), (1,), (1, 1)], ids=["h w", "c h w", "n c h w"])
def test_bias_and_residual_of_every_rank(lead):
    x, w = standard_normal(*lead, 6, 7), standard_normal(*((1, 1) if lead else ()), 3, 3)
    bias, residual = standard_normal(1, seed=2), standard_normal(*lead, 4, 5, seed=3)
    y = convkit.conv2d(x, w, bias, residual=residual)
    assert y.shape == residual.shape
    plain = convkit.conv2d(x, w, algo="direct")
    np.testing.assert_allclose(y, plain + bias[0] + residual, atol=2e-5)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (0, 3, 1, 1)])
def test_empty_batch(shape):
    y = convkit.conv2d(np.zeros(shape, "f"), standard_normal(5, 3, 3, 3), padding=1)
    assert y.shape == (0, 5, *shape[2:])
    assert y.dtype == np.float32


def test_numpy_integers_are_sizes():
    x, w = standard_normal(2, 4, 9, 9), standard_normal(6, 2, 3, 3)
    one, two = np.int64(1), np.int32(2)
    y = convkit.conv2d(x, w, stride=two, padding=(one, one), dilation=np.uint8(1), groups=two)
    np.testing.assert_array_equal(y, convkit.conv2d(x, w, stride=2, padding=1, groups=2))


# ---- padding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("padding", "sides"),
    [
        (0, (0, 0, 0, 0)),
        (2, (2, 2, 2, 2)),
        ((1, 2), (1, 1, 2, 2)),
        ([1, 2], (1, 1, 2, 2)),
        (((1, 2), (3, 0)), (1, 2, 3, 0)),
        ([[1, 2], [3, 0]], (1, 2, 3, 0)),
        ("valid", (0, 0, 0, 0)),
        ("full", (2, 2, 3, 3)),
        ("same", (1, 1, 1, 2)),
    ],
    ids=str,
)
def test_forms_of_padding(padding, sides):
    x, w = standard_normal(1, 2, 8, 9), standard_normal(3, 2, 3, 4)
    problem = conv_problem(x.shape, w.shape, padding=padding)
    assert problem.padding == sides
    y = convkit.conv2d(x, w, padding=padding, algo="direct")
    explicit = np.pad(x, ((0, 0), (0, 0), sides[:2], sides[2:]))
    np.testing.assert_allclose(y, convkit.conv2d(explicit, w, algo="direct"), atol=1e-5)


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("filter_size", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_is_the_input_over_the_stride(size, stride, filter_size, dilation):
    """TensorFlow's and ONNX's SAME_UPPER: ceil(in / stride), the odd one at the end."""
    shape = (1, 1, size, size), (1, 1, filter_size, filter_size)
    problem = conv_problem(*shape, stride=stride, dilation=dilation, padding="same")
    assert problem.p == problem.q == math.ceil(size / stride)
    top, bottom, left, right = problem.padding
    assert (top, bottom) == (left, right)
    reach = (filter_size - 1) * dilation + 1
    assert top + bottom == max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
    assert bottom - top in (0, 1)


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "replicate", "circular"])
@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_padding_modes_are_numpys(mode, row):
    """The same as a call on the array that np.pad makes."""
    numpys = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    groups, filter_size, stride = groups_size_stride(row.name, 3)
    x = standard_normal(2, 3, 7, 6)
    w = suited(row, standard_normal(6, 3 // groups, filter_size, filter_size))
    options = {"groups": groups, "stride": stride, "algo": row.name}
    y = convkit.conv2d(x, w, padding=((2, 5), (4, 1)), padding_mode=mode, **options)
    padded = np.pad(x, ((0, 0), (0, 0), (2, 5), (4, 1)), mode=numpys)
    np.testing.assert_allclose(y, convkit.conv2d(padded, w, **options), atol=5e-5)


# ---- flip ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["valid", "full", "same"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_flip_is_scipys_convolution(mode, dtype):
    x, w = standard_normal(12, 13, dtype=dtype), standard_normal(3, 3, dtype=dtype, seed=2)
    problem = conv_problem(x.shape, w.shape, padding=mode, dtype=dtype)
    for row in ALGORITHMS:
        if row.supports(problem):
            filters = suited(row, w[None, None])[0, 0]
            expected = signal.convolve2d(x, filters, mode)
            y = convkit.conv2d(x, filters, padding=mode, flip=True, algo=row.name)
            np.testing.assert_allclose(y, expected, atol=300 * np.finfo(dtype).eps)


def test_flip_is_a_rotation():
    x, w = standard_normal(2, 4, 9, 8), standard_normal(6, 2, 3, 2)
    rotated = np.ascontiguousarray(w[:, :, ::-1, ::-1])
    y = convkit.conv2d(x, w, groups=2, flip=True)
    np.testing.assert_array_equal(y, convkit.conv2d(x, rotated, groups=2))


# ---- bias, residual, activation ------------------------------------------------------------------

ACTIVATIONS = [
    "relu", "relu6", ("clip", -0.5, 2), ("clip", -math.inf, 0), "leaky_relu", ("leaky_relu", 0.2),
    ["leaky_relu", np.float32(0.25)], "elu", ("elu", 0.3), "hardsigmoid", ("hardsigmoid", 0.2, 0.4),
    "sigmoid", "tanh", "hardswish", "silu", "gelu",
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activation(activation, dtype):
    case = BY_NAME["filters_17"]
    arrays, problem = case.arrays(dtype), case.of(dtype)
    y = convkit.conv2d(
        arrays.x, arrays.w, arrays.bias, padding=1, residual=arrays.residual, activation=activation
    )
    assert_within(y, *arrays.expected(LOOSEST, problem, residual=True, activation=activation))


@pytest.mark.parametrize(
    ("bare", "spelled"),
    [
        ("relu6", ("clip", 0, 6)),
        ("leaky_relu", ("leaky_relu", 0.01)),
        ("elu", ("elu", 1.0)),
        ("hardsigmoid", ("hardsigmoid", 1 / 6, 0.5)),
    ],
)
def test_bare_name_takes_the_documented_parameters(bare, spelled):
    x, w = standard_normal(1, 3, 8, 8), standard_normal(4, 3, 3, 3)
    plain = convkit.conv2d(x, w, activation=bare)
    np.testing.assert_array_equal(plain, convkit.conv2d(x, w, activation=spelled))
    answer, _ = activated(oracle(x, w, conv_problem(x.shape, w.shape)), spelled)
    np.testing.assert_allclose(plain, answer, atol=1e-4)


def test_residual_is_added_before_the_activation():
    x, w = standard_normal(1, 2, 6, 6), standard_normal(3, 2, 3, 3)
    y = convkit.conv2d(x, w, residual=np.full((1, 3, 4, 4), -1e6, "f"), activation="relu")
    np.testing.assert_array_equal(y, 0)


def test_arguments_in_any_layout():
    """x, w, bias and residual, reversed, strided, transposed or cropped, give the same bits."""
    case = BY_NAME["groups_8"]
    a, problem = case.arrays(), case.problem
    options = keywords(problem)
    expected = convkit.conv2d(a.x, a.w, a.bias, residual=a.residual, **options)
    bias = np.repeat(a.bias, 2)[::2]
    assert not bias.flags.c_contiguous
    for layout in LAYOUTS:
        x, w, residual = (
            guarded(values.shape, "float32", layout, values).array
            for values in (a.x, a.w, a.residual)
        )
        out = guarded(problem.y_shape, "float32", layout)
        y = convkit.conv2d(x, w, bias[::-1][::-1], residual=residual, out=out.array, **options)
        assert y is out.array
        np.testing.assert_array_equal(y, expected, layout)
        out.check("out")


@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_at_odd_addresses(dtype):
    x = standard_normal(1, 3, 7, 8, dtype=dtype)
    w = standard_normal(4, 3, 3, 3, dtype=dtype)
    x, w = standard_normal(1, 3, 7, 8, dtype=dtype), standard_normal(4, 3, 3, 3, dtype=dtype)
    records = np.zeros(x.shape, [("tag", "u1"), ("value", dtype)])
    records["value"] = x
    y = convkit.conv2d(records["value"], w)
    np.testing.assert_array_equal(y, convkit.conv2d(x, w))


def test_broadcast_inputs():
    w = standard_normal(4, 3, 3, 3)
    x = np.broadcast_to(np.float32(0.5), (2, 3, 6, 7))
    y = convkit.conv2d(x, w, residual=np.broadcast_to(np.float32(1), (2, 4, 4, 5)))
    expected = 1 + 0.5 * w.astype(np.float64).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(y, np.broadcast_to(expected[:, None, None], y.shape), atol=1e-5)


def test_read_only_inputs():
    arrays = [standard_normal(1, 3, 8, 8), standard_normal(4, 3, 3, 3), standard_normal(4)]
    residual = standard_normal(1, 4, 6, 6)
    expected = convkit.conv2d(*arrays, residual=residual)
    for array in (*arrays, residual):
        array.flags.writeable = False
    np.testing.assert_array_equal(convkit.conv2d(*arrays, residual=residual), expected)


def test_inputs_are_left_alone():
    arrays = [standard_normal(2, 3, 8, 8), standard_normal(4, 3, 3, 3), standard_normal(4)]
    before = [array.copy() for array in arrays]
    for row in ALGORITHMS:
        if row.supports(conv_problem(arrays[0].shape, arrays[1].shape)):
            convkit.conv2d(*arrays, algo=row.name, activation="relu")
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


# ---- out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_is_what_comes_back(dtype):
    x, w = standard_normal(2, 3, 8, 8, dtype=dtype), standard_normal(4, 3, 3, 3, dtype=dtype)
    out = np.full((2, 4, 6, 6), np.nan, dtype)
    assert convkit.conv2d(x, w, out=out) is out
    np.testing.assert_array_equal(out, convkit.conv2d(x, w))


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8)], ids=["c h w", "h w"])
def test_out_of_fewer_axes(shape):
    x = standard_normal(*shape)
    w = standard_normal(*((4, 3, 3, 3) if len(shape) == 3 else (3, 3)))
    y = convkit.conv2d(x, w)
    out = np.full_like(y, np.nan)
    assert convkit.conv2d(x, w, out=out) is out
    np.testing.assert_array_equal(out, y)


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_out_may_be_the_residual(row):
    groups, size, stride = groups_size_stride(row.name, 6)
    x, w = standard_normal(2, 6, 21, 23), suited(row, standard_normal(6, 6 // groups, size, size))
    residual = standard_normal(2, 6, -(-21 // stride), -(-23 // stride), seed=5)
    options = {
        "padding": size // 2, "stride": stride, "groups": groups, "algo": row.name,
        "activation": "relu",
    }  # fmt: skip
    expected = convkit.conv2d(x, w, residual=residual, **options)
    with convkit.threads(3):
        assert convkit.conv2d(x, w, residual=residual, out=residual, **options) is residual
    np.testing.assert_array_equal(residual, expected)


def test_answers_share_no_memory():
    x, w = standard_normal(1, 3, 8, 8), standard_normal(3, 3, 1, 1)
    first, second = convkit.conv2d(x, w), convkit.conv2d(x, w)
    for other in (second, x, w):
        assert not np.shares_memory(first, other)
    copy = first.copy()
    convkit.conv2d(2 * x, w)
    np.testing.assert_array_equal(first, copy)


def test_answer_is_contiguous_and_writable():
    y = convkit.conv2d(standard_normal(2, 3, 8, 8)[..., ::-1], standard_normal(3, 3, 3, 3))
    assert y.flags.c_contiguous
    assert y.flags.writeable
    assert type(y) is np.ndarray


# ---- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_changed_weights_change_the_answer(row):
    """In place, between two calls: nothing kept from the first may answer the second."""
    groups, size, stride = groups_size_stride(row.name, 4)
    x, w = standard_normal(1, 4, 9, 9), suited(row, standard_normal(4, 4 // groups, size, size))
    bias = np.zeros(4, "f")
    options = {"groups": groups, "stride": stride, "algo": row.name}
    first = convkit.conv2d(x, w, bias, **options)
    w *= 2
    np.testing.assert_array_equal(convkit.conv2d(x, w, bias, **options), 2 * first)
    w[0] = 0
    y = convkit.conv2d(x, w, bias, **options)
    np.testing.assert_allclose(y[:, 0], 0, atol=1e-5)
    bias += 3
    np.testing.assert_allclose(convkit.conv2d(x, w, bias, **options)[:, 0], 3, atol=1e-5)


# ---- choice --------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_precision(precision):
    x, w = standard_normal(1, 16, 12, 12), standard_normal(16, 16, 3, 3)
    problem = conv_problem(x.shape, w.shape)
    y = convkit.conv2d(x, w, precision=precision)
    promise = PROMISES["direct"] if precision == "highest" else LOOSEST
    size = magnitude(x, w, problem)
    bound = promise.bound(size, problem, float(np.finfo("f").eps))
    assert_within(y, oracle(x, w, problem), bound)


def test_medium_is_high_on_the_cpu():
    x, w = standard_normal(1, 16, 12, 12), standard_normal(16, 16, 3, 3)
    np.testing.assert_array_equal(
        convkit.conv2d(x, w, precision="medium"), convkit.conv2d(x, w, precision="high")
    )


@pytest.mark.parametrize("name", ["winograd_f2", "winograd_f4", "fft"])
def test_highest_precision_excludes(name):
    x, w = standard_normal(1, 4, 9, 9), standard_normal(4, 4, 3, 3)
    with pytest.raises(ValueError, match=rf"(?s){name}.*highest"):
        convkit.conv2d(x, w, algo=name, precision="highest")


@pytest.mark.parametrize("case", CASES[::9], ids=lambda case: case.name)
@pytest.mark.parametrize("invariant", [None, True, False])
def test_batch_is_images_side_by_side(case, invariant):
    """invariant=False may choose by the batch, so there only the error is promised."""
    arrays, problem = case.arrays(), case.problem
    x = np.concatenate([arrays.x[:1], -arrays.x[:1], arrays.x[:1, :, ::-1]])
    options = {**keywords(problem), "invariant": invariant}
    whole = convkit.conv2d(x, arrays.w, arrays.bias, **options)
    alone = np.concatenate(
        [convkit.conv2d(x[i : i + 1], arrays.w, arrays.bias, **options) for i in range(3)]
    )
    if invariant is False:
        three = problem.with_batch(3)
        size = magnitude(x, arrays.w, three, arrays.bias)
        bound = LOOSEST.bound(size, three, float(np.finfo("f").eps))
        assert_within(whole, oracle(x, arrays.w, three, arrays.bias), bound)
    else:
        np.testing.assert_array_equal(whole, alone)
        np.testing.assert_array_equal(
            convkit.conv2d(x[::-1], arrays.w, arrays.bias, **options)[::-1], alone
        )


def test_workspace_limit_is_honoured():
    """Every limit that direct can live with gives an answer, and the choice fits the limit."""
    x, w = standard_normal(1, 32, 24, 24), standard_normal(32, 32, 3, 3)
    rows = {row.algorithm: row for row in convkit.explain(x.shape, w.shape, padding=1)}
    least = rows["direct"].workspace
    expected = convkit.conv2d(x, w, padding=1, algo="direct")
    limits = sorted({row.workspace for row in rows.values() if row.applies})
    for limit in [least, *(limit for limit in limits if limit >= least)]:
        chosen = [
            row
            for row in convkit.explain(x.shape, w.shape, padding=1, max_workspace=limit)
            if row.chosen
        ]
        assert len(chosen) == 1
        assert chosen[0].workspace <= limit
        y = convkit.conv2d(x, w, padding=1, max_workspace=limit)
        np.testing.assert_allclose(y, expected, atol=1e-3)
    with pytest.raises(ValueError, match=f"max_workspace={least - 1}.*{least}"):
        convkit.conv2d(x, w, padding=1, max_workspace=least - 1)
