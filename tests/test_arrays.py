"""Kinds of arrays: what comes in goes out, through DLPack, without a copy."""

from __future__ import annotations

import re

import array_api_strict as strict
import numpy as np
import pytest

import convkit

DTYPES = ["float32", "float64"]


@pytest.fixture
def arrays():
    rng = np.random.default_rng(5)
    shapes = (2, 3, 9, 8), (4, 3, 3, 3), (4,), (2, 4, 9, 8)
    return [rng.standard_normal(shape).astype("f") for shape in shapes]


@pytest.mark.parametrize("dtype", DTYPES)
def test_array_api(arrays, dtype):
    """array-api-strict offers the standard and nothing of NumPy beside it."""
    x, w, bias, residual = (a.astype(dtype) for a in arrays)
    expected = convkit.conv2d(x, w, bias, padding=1, residual=residual)
    y = convkit.conv2d(
        strict.asarray(x), strict.asarray(w), strict.asarray(bias), padding=1,
        residual=strict.asarray(residual),
    )  # fmt: skip
    assert type(y) is type(strict.asarray(x))
    assert y.dtype == getattr(strict, dtype)
    np.testing.assert_array_equal(np.from_dlpack(y), expected)


def test_array_api_plan(arrays):
    x, w, bias, _ = arrays
    expected = convkit.conv2d(x, w, bias)
    plan = convkit.plan(x.shape, strict.asarray(w), strict.asarray(bias))
    y = plan(strict.asarray(x))
    assert type(y) is type(strict.asarray(x))
    np.testing.assert_array_equal(np.from_dlpack(y), expected)
    assert type(plan(x)) is np.ndarray


def test_array_api_out(arrays):
    x, w, *_ = arrays
    out = strict.zeros((2, 4, 7, 6), dtype=strict.float32)
    assert convkit.conv2d(strict.asarray(x), strict.asarray(w), out=out) is out
    np.testing.assert_array_equal(np.from_dlpack(out), convkit.conv2d(x, w))


def test_array_api_single_plane(arrays):
    x, w = arrays[0][0, 0], arrays[1][0, 0]
    y = convkit.conv2d(strict.asarray(x), strict.asarray(w))
    assert tuple(y.shape) == (7, 6)
    np.testing.assert_array_equal(np.from_dlpack(y), convkit.conv2d(x, w))


@pytest.mark.parametrize("name", ["float16", "int32", "uint8", "bool", "complex64"])
def test_array_api_dtypes_refused(name):
    if not hasattr(strict, name):
        pytest.skip(f"array-api-strict has no {name}")
    x = strict.zeros((1, 1, 4, 4), dtype=getattr(strict, name))
    w = strict.zeros((1, 1, 3, 3), dtype=strict.float32)
    with pytest.raises(TypeError, match=rf"x.*{name}"):
        convkit.conv2d(x, w)


def test_the_kind_of_x_decides(arrays):
    x, w, bias, _ = arrays
    expected = convkit.conv2d(x, w, bias)
    y = convkit.conv2d(strict.asarray(x), w, strict.asarray(bias))
    assert type(y) is type(strict.asarray(x))
    np.testing.assert_array_equal(np.from_dlpack(y), expected)
    assert type(convkit.conv2d(x, strict.asarray(w), bias)) is np.ndarray


class Elsewhere:
    """An array whose memory is on a device that NumPy cannot read."""

    def __dlpack__(self, **options):
        raise BufferError("memory of device type 13")

    def __dlpack_device__(self):
        return (13, 0)


@pytest.mark.parametrize("name", ["x", "w", "bias"])
def test_other_devices_are_refused(arrays, name):
    given = dict(zip(("x", "w", "bias"), arrays, strict=False)) | {name: Elsewhere()}
    with pytest.raises(TypeError, match=rf"^{name} is a Elsewhere.*CPU.*device type 13"):
        convkit.conv2d(given["x"], given["w"], given["bias"])


@pytest.mark.parametrize(
    ("x", "line"),
    [
        (np.zeros((1, 1, 4, 4), "e"), "x.astype(np.float32)"),
        (np.zeros((1, 1, 4, 4), "i8"), "x.astype(np.float32)"),
        (np.zeros((1, 1, 4, 4), "u1"), "x.astype(np.float32)"),
        (np.zeros((1, 1, 4, 4), ">f4"), "x.astype(np.float32)"),
        (np.zeros((1, 1, 4, 4), ">f8"), "x.astype(np.float64)"),
        ([[[[0.0]]]], "np.asarray(x, np.float32)"),
    ],
    ids=["float16", "int64", "uint8", ">f4", ">f8", "list"],
)
def test_refusals_say_the_line_to_write(x, line):
    """And the line works."""
    w = np.zeros((1, 1, 1, 1), "f")
    with pytest.raises(TypeError, match=re.escape(line)):
        convkit.conv2d(x, w)
    instead = eval(line, {"x": x, "np": np})
    assert convkit.conv2d(instead, w.astype(instead.dtype)).dtype == instead.dtype


@pytest.mark.parametrize("algo", ["auto", "direct", "im2col"])
def test_nothing_is_copied_whole(algo):
    """Half a terabyte of one number: any copy of x, padded or not, ends in a MemoryError."""
    x = np.broadcast_to(np.float32(1), (1, 1, 1 << 20, 1 << 17))
    y = convkit.conv2d(
        x, np.ones((1, 1, 3, 3), "f"), stride=(1 << 18, 1 << 15), algo=algo,
        padding=((3, 0), (0, 0)), padding_mode="reflect",
    )  # fmt: skip
    np.testing.assert_array_equal(y, np.full((1, 1, 5, 4), 9))


class Subclass(np.ndarray):
    pass


def test_numpy_subclasses_are_arrays(arrays):
    x, w, *_ = arrays
    y = convkit.conv2d(x.view(Subclass), w)
    np.testing.assert_array_equal(np.asarray(y), convkit.conv2d(x, w))


def test_masked_arrays_are_refused(arrays):
    """Their mask would be dropped in silence."""
    x, w, *_ = arrays
    with pytest.raises(TypeError, match=r"x.*(MaskedArray|masked)"):
        convkit.conv2d(np.ma.masked_greater(x, 1), w)


# ---- PyTorch -------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="needs PyTorch")


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch(torch, arrays, dtype):
    x, w, bias, residual = (torch.from_numpy(a.astype(dtype)) for a in arrays)
    y = convkit.conv2d(x, w, bias, padding=1, residual=residual, activation="relu")
    assert isinstance(y, torch.Tensor)
    assert y.dtype == getattr(torch, dtype)
    expected = torch.relu(torch.nn.functional.conv2d(x, w, bias, padding=1) + residual)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


def test_torch_layouts(torch, arrays):
    x, w, *_ = (torch.from_numpy(a) for a in arrays)
    expected = convkit.conv2d(x, w)
    channels_last = x.to(memory_format=torch.channels_last)
    assert torch.equal(convkit.conv2d(channels_last, w), expected)
    assert torch.equal(convkit.conv2d(x.expand(2, 3, 9, 8), w), expected)
    out = torch.full((2, 4, 7, 6), torch.nan)
    assert convkit.conv2d(x, w, out=out) is out
    assert torch.equal(out, expected)


def test_torch_is_not_copied(torch):
    x = torch.ones(()).expand(1, 1, 1 << 20, 1 << 17)
    y = convkit.conv2d(x, torch.ones((1, 1, 3, 3)), stride=(1 << 18, 1 << 15))
    assert torch.equal(y, torch.full((1, 1, 4, 4), 9.0))


def test_torch_parameters(torch, arrays):
    """A tensor that requires gradients says what to write, and the line works."""
    x, w, *_ = (torch.from_numpy(a) for a in arrays)
    w.requires_grad_(True)
    with pytest.raises(TypeError, match=r"w.*w\.detach\(\)"):
        convkit.conv2d(x, w)
    assert convkit.conv2d(x, w.detach()).shape == (2, 4, 7, 6)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "int32"])
def test_torch_dtypes_refused(torch, name):
    x = torch.zeros((1, 1, 4, 4), dtype=getattr(torch, name))
    with pytest.raises(TypeError, match=rf"x.*{name}"):
        convkit.conv2d(x, torch.zeros((1, 1, 3, 3)))
