"""What Builder's methods make, against definitions in NumPy, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import convkit
from convkit import Builder

RNG = np.random.default_rng(7)
X = RNG.standard_normal((3, 6, 8, 10)).astype(np.float32)


def made(write: Callable[[Builder, Any], Any], x: np.ndarray = X) -> Any:
    """A network of one method."""
    b = Builder(x.shape[1:])
    return b.model(write(b, b.input))


def windows(x: np.ndarray) -> np.ndarray:
    """(n, c, h / 2, w / 2, 4): what each 2x2 window holds, row by row."""
    n, c, h, w = x.shape
    tiles = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return tiles.reshape(n, c, h // 2, w // 2, 4)


def unpooled(b: Builder, x: Any) -> Any:
    y, places = b.max_pool2d(x, 2, return_indices=True)
    return b.max_unpool2d(y, places, 2)


def local_response(x: np.ndarray) -> np.ndarray:
    squares = np.pad(x.astype(np.float64) ** 2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    sums = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    return x / (1.5 + 0.1 / 3 * sums) ** 0.6


def kept_maxima(x: np.ndarray) -> np.ndarray:
    tiles = windows(x)
    kept = np.where(tiles == tiles.max(-1, keepdims=True), tiles, 0)
    n, c, h, w = x.shape
    rows = kept.reshape(n, c, h // 2, w // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return rows.reshape(x.shape)


CASES: dict[str, tuple[Callable[[Builder, Any], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "concat": (lambda b, x: b.concat([x, b.relu(x), x]),
               lambda x: np.concatenate([x, np.maximum(x, 0), x], 1)),
    "concat of rows": (lambda b, x: b.concat([x, b.relu(x)], axis=2),
                       lambda x: np.concatenate([x, np.maximum(x, 0)], 2)),
    "multiply": (lambda b, x: b.multiply(x, b.global_max_pool2d(x)),
                 lambda x: x * x.max((2, 3), keepdims=True)),
    "scale": (lambda b, x: b.scale(x, 0.17), lambda x: x * np.float32(0.17)),
    "global_max_pool2d": (lambda b, x: b.global_max_pool2d(x),
                          lambda x: x.max((2, 3), keepdims=True)),
    "local_response_norm": (lambda b, x: b.local_response_norm(x, 3, alpha=0.1, beta=0.6, k=1.5),
                            local_response),
    "upsample2d": (lambda b, x: b.upsample2d(x, (2, 3)),
                   lambda x: x.repeat(2, axis=2).repeat(3, axis=3)),
    "pad2d": (lambda b, x: b.pad2d(x, ((1, 2), (3, 0)), value=0.5),
              lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), constant_values=0.5)),
    "crop2d": (lambda b, x: b.crop2d(x, 1, 2, 5, 7), lambda x: x[:, :, 1:6, 2:9]),
    "take_channels": (lambda b, x: b.take_channels(x, (4, 0, 4)), lambda x: x[:, [4, 0, 4]]),
    "reshape": (lambda b, x: b.reshape(x, (60, 8)), lambda x: x.reshape(len(x), 60, 8)),
    "max_unpool2d": (unpooled, kept_maxima),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_method(name, tmp_path):
    write, expected = CASES[name]
    model = made(write)
    np.testing.assert_allclose(model(X), expected(X), rtol=1e-6, atol=1e-6)
    model.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(convkit.load(tmp_path / "net.safetensors")(X), model(X))


def test_bilinear_upsampling_has_half_pixel_centres():
    row = np.array([0, 1, 5], np.float32).reshape(1, 1, 1, 3)
    y = made(lambda b, x: b.upsample2d(x, (1, 2), mode="bilinear"), row)(row)
    np.testing.assert_allclose(y.ravel(), [0, 0.25, 0.75, 2, 4, 5], rtol=1e-6)


def test_affine_starts_as_the_identity():
    model = made(lambda b, x: b.affine(x, name="scaled"))
    np.testing.assert_array_equal(model(X), X)
    gain, bias = (RNG.standard_normal((6, 1, 1)).astype("f") for _ in range(2))
    model.load({"scaled.gain": gain, "scaled.bias": bias})
    np.testing.assert_allclose(model(X), X * gain + bias, rtol=1e-5, atol=1e-6)
    assert model.graph.parameters == 12


def test_rbf():
    codes = RNG.choice((-1.0, 1.0), (5, 7))
    x = RNG.standard_normal((4, 7)).astype("f")
    model = made(lambda b, v: b.rbf(v, 5, codes=codes, name="out"), x)
    expected = ((x[:, None].astype(np.float64) - codes) ** 2).sum(2)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5)
    np.testing.assert_array_equal(model.state_dict()["out.codes"], codes)
    assert model.graph.parameters == 0


def test_conv_transpose2d():
    model = made(lambda b, x: b.conv_transpose2d(x, 4, 3, stride=2, padding=1, groups=2, name="up"))
    weights = model.state_dict()
    expected = convkit.conv_transpose2d(
        X, weights["up.weight"], weights["up.bias"], stride=2, padding=1, groups=2
    )
    np.testing.assert_allclose(model(X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda b, x: b.concat([]), "list of values"),
        (lambda b, x: b.concat([x, b.max_pool2d(x, 2)]), "equal sizes elsewhere"),
        (lambda b, x: b.crop2d(x, 4, 0, 5, 5), "window of 5x5 at \\(4, 0\\) is not inside"),
        (lambda b, x: b.take_channels(x, [6]), "indices from 6"),
        (lambda b, x: b.take_channels(x, [-1]), "indices=-1"),
        (lambda b, x: b.upsample2d(x, 2, mode="cubic"), "mode='cubic'"),
        (lambda b, x: b.scale(x, "2"), "factor='2'"),
        (lambda b, x: b.rbf(x, 3), "needs \\(n, c\\)"),
        (lambda b, x: b.rbf(b.flatten(x), 3, codes=np.ones((3, 2))), "codes has shape"),
        (lambda b, x: b.conv_transpose2d(x, 5, 3, groups=2), "groups=2 must divide the 5 filters"),
        (lambda b, x: b.max_unpool2d(x, x, 2), "int64 indices"),
        (lambda b, x: b.multiply(x, b.flatten(x)), "mul"),
    ],
)
def test_refused(write, message):
    with pytest.raises((ValueError, TypeError), match=message):
        made(write)
