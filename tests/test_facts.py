"""Worked examples of a course on convolutional networks, each to the exact number."""

from __future__ import annotations

import numpy as np
import pytest

import convkit
from convkit.problem import conv_problem

VERTICAL = [[1, 0, -1]] * 3
HORIZONTAL = [[1, 1, 1], [0, 0, 0], [-1, -1, -1]]
SOBEL = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
SOBEL_DOWN = [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
SCHARR = [[3, 0, -3], [10, 0, -10], [3, 0, -3]]
SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]

BRIGHT_LEFT = np.repeat([[10, 10, 10, 0, 0, 0]], 6, axis=0)
BRIGHT_RIGHT = BRIGHT_LEFT[:, ::-1]
A = [
    [105, 102, 100, 97, 96],
    [103, 99, 103, 101, 102],
    [101, 98, 104, 102, 100],
    [99, 101, 106, 104, 99],
    [104, 104, 104, 100, 98],
]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def filtered(image, weights, dtype, **options):
    return convkit.conv2d(np.array(image, dtype), np.array(weights, dtype), **options)


@pytest.mark.parametrize(
    ("image", "weights", "flip", "row"),
    [
        (BRIGHT_LEFT, VERTICAL, False, [0, 30, 30, 0]),
        (BRIGHT_RIGHT, VERTICAL, False, [0, -30, -30, 0]),
        (BRIGHT_LEFT, VERTICAL, True, [0, -30, -30, 0]),
        (BRIGHT_LEFT, SOBEL, False, [0, 40, 40, 0]),
        (BRIGHT_LEFT, SCHARR, False, [0, 160, 160, 0]),
        (np.repeat([[10, 10, 10, 0, 0, 0, 0]], 7, axis=0), VERTICAL, False, [0, 30, 30, 0, 0]),
    ],
    ids=["dark to the right", "dark to the left", "flipped", "sobel", "scharr", "7x7"],
)
def test_vertical_edge(image, weights, flip, row, dtype):
    y = filtered(image, weights, dtype, flip=flip)
    np.testing.assert_array_equal(y, [row] * len(row))


def test_horizontal_edge_of_a_chequered_image(dtype):
    image = np.zeros((6, 6))
    image[:3, :3] = image[3:, 3:] = 10
    rows = [[0, 0, 0, 0], [30, 10, -10, -30], [30, 10, -10, -30], [0, 0, 0, 0]]
    np.testing.assert_array_equal(filtered(image, HORIZONTAL, dtype), rows)


def test_sharpen(dtype):
    y = filtered(A, SHARPEN, dtype, padding=1)
    assert y.shape == (5, 5)
    np.testing.assert_array_equal(
        y[:4, :4],
        [[320, 206, 198, 188], [210, 89, 111, 101], [205, 85, 111, 101], [189, 98, 117, 113]],
    )


@pytest.mark.parametrize(
    ("weights", "y"),
    [
        (SOBEL, [[2, -3, 10], [-13, -13, 16], [-17, -6, 24]]),
        (SOBEL_DOWN, [[8, -9, -18], [-3, -11, -6], [-15, -4, 6]]),
    ],
    ids=["across", "down"],
)
def test_sobel(weights, y, dtype):
    np.testing.assert_array_equal(filtered(A, weights, dtype), y)
    np.testing.assert_array_equal(filtered(A, weights, dtype, flip=True), np.negative(y))


CURVE = np.zeros((7, 7))
CURVE[range(6), [5, 4, 3, 3, 3, 3]] = 30
ON_THE_CURVE = [
    [0, 0, 0, 0, 0, 0, 30],
    [0, 0, 0, 0, 50, 50, 50],
    [0, 0, 0, 20, 50, 0, 0],
    *[[0, 0, 0, 50, 50, 0, 0]] * 4,
]
ELSEWHERE = [
    [0, 0, 0, 0, 0, 0, 0],
    [0, 40, 0, 0, 0, 0, 0],
    [40, 0, 40, 0, 0, 0, 0],
    [40, 20, 0, 0, 0, 0, 0],
    [0, 50, 0, 0, 0, 0, 0],
    [0, 0, 50, 0, 0, 0, 0],
    [25, 25, 0, 50, 0, 0, 0],
]


@pytest.mark.parametrize(
    ("image", "found", "flipped"),
    [(ON_THE_CURVE, 6600, 3600), (ELSEWHERE, 0, 2250)],
    ids=["on the curve", "elsewhere"],
)
def test_curve_detector(image, found, flipped, dtype):
    assert filtered(image, CURVE, dtype) == [[found]]
    assert filtered(image, CURVE, dtype, flip=True) == [[flipped]]


def test_filter_of_one_weight_scales(dtype):
    np.testing.assert_array_equal(filtered(A, [[2]], dtype), 2 * np.array(A))


def test_residual_through_a_zero_filter_is_the_identity(dtype):
    x = np.abs(np.random.default_rng(0).standard_normal((2, 4, 6, 6))).astype(dtype)
    y = convkit.conv2d(
        x, np.zeros((4, 4, 3, 3), dtype), padding=1, residual=x, activation="relu", algo="direct"
    )
    np.testing.assert_array_equal(y, x)


# ---- the convolution theorem, for circular convolution -------------------------------------------


def circularly(f, g, dtype, **options):
    """sum over a, b of f[a, b] g[i - a, j - b], indices modulo the size."""
    size = f.shape[0]
    y = filtered(f, g, dtype, flip=True, padding=((size - 1, 0), (size - 1, 0)),
                 padding_mode="circular", **options)  # fmt: skip
    assert y.shape == f.shape
    return y.astype(np.float64)


@pytest.fixture
def signals(dtype):
    rng = np.random.default_rng(7)
    f, g = rng.standard_normal((2, 12, 12)).astype(dtype).astype(np.float64)
    tolerance = 3000 * np.finfo(dtype).eps
    return f, g, tolerance


@pytest.mark.parametrize("algo", ["direct", "im2col", "fft"])
def test_convolution_becomes_a_product(signals, dtype, algo):
    f, g, tolerance = signals
    left = np.fft.fft2(circularly(f, g, dtype, algo=algo))
    np.testing.assert_allclose(left, np.fft.fft2(f) * np.fft.fft2(g), atol=tolerance)


@pytest.mark.parametrize("algo", ["direct", "im2col", "fft"])
def test_product_becomes_a_convolution(signals, dtype, algo):
    """DFT(f g) = (1 / N) DFT(f) circularly convolved with DFT(g); complex, so four convolutions."""
    f, g, tolerance = signals
    transforms = [(t.real, t.imag) for t in (np.fft.fft2(f), np.fft.fft2(g))]
    (f_re, f_im), (g_re, g_im) = transforms
    re = circularly(f_re, g_re, dtype, algo=algo) - circularly(f_im, g_im, dtype, algo=algo)
    im = circularly(f_re, g_im, dtype, algo=algo) + circularly(f_im, g_re, dtype, algo=algo)
    np.testing.assert_allclose((re + 1j * im) / f.size, np.fft.fft2(f * g), atol=tolerance)


def test_transform_of_the_autocorrelation_is_the_power_spectrum(signals, dtype):
    f, _, tolerance = signals
    size = f.shape[0]
    y = filtered(f, f, dtype, padding=((0, size - 1), (0, size - 1)), padding_mode="circular")
    np.testing.assert_allclose(np.fft.fft2(y), np.abs(np.fft.fft2(f)) ** 2, atol=tolerance)


# ---- pooling and what follows --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "kernel", "stride", "y"),
    [
        ([[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]], 2, 2, [[9, 2], [6, 3]]),
        ([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], 2, 2, [[6, 8], [3, 4]]),
        (
            [[1, 3, 2, 1, 3], [2, 9, 1, 1, 5], [1, 3, 2, 3, 2], [8, 3, 5, 1, 0], [5, 6, 1, 2, 9]],
            3,
            1,
            [[9, 9, 5], [9, 9, 5], [8, 6, 9]],
        ),
    ],
    ids=["first", "second", "overlapping"],
)
def test_max_pool(image, kernel, stride, y, dtype):
    x = np.array(image, dtype)[None, None]
    np.testing.assert_array_equal(convkit.max_pool2d(x, kernel, stride=stride)[0, 0], y)


def test_avg_pool(dtype):
    x = np.array([[1, 3, 2, 1], [2, 9, 1, 1], [1, 4, 2, 3], [5, 6, 1, 2]], dtype)[None, None]
    np.testing.assert_array_equal(convkit.avg_pool2d(x, 2, stride=2)[0, 0], [[3.75, 1.25], [4, 2]])


def test_relu(dtype):
    x = np.array([[9, 3, 5, -8], [-6, 2, -3, 1], [1, 3, 4, 1], [3, -4, 5, 1]], dtype)
    y = convkit.relu(x)
    np.testing.assert_array_equal(y, [[9, 3, 5, 0], [0, 2, 0, 1], [1, 3, 4, 1], [3, 0, 5, 1]])


@pytest.mark.parametrize(
    ("b", "y"),
    [
        (0, [1 / 3] * 3),
        (1, [0.09003057, 0.24472847, 0.66524096]),
        (2, [0.01587624, 0.11731043, 0.86681333]),
    ],
)
def test_softmax(b, y, dtype):
    x = np.array([[1, 2, 3]], dtype)
    np.testing.assert_allclose(convkit.softmax(x, b=float(b)), [y], rtol=0, atol=6e-8)


# ---- sizes and costs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "w", "options", "y"),
    [
        ((1, 1, 7, 7), (1, 1, 3, 3), {"stride": 2}, (1, 1, 3, 3)),
        ((1, 3, 227, 227), (96, 3, 11, 11), {"stride": 4}, (1, 96, 55, 55)),
        ((1, 1, 5, 5), (1, 1, 3, 3), {"padding": 1}, (1, 1, 5, 5)),
        ((1, 3, 39, 39), (10, 3, 3, 3), {}, (1, 10, 37, 37)),
        ((1, 10, 37, 37), (20, 10, 5, 5), {"stride": 2}, (1, 20, 17, 17)),
        ((1, 20, 17, 17), (40, 20, 5, 5), {"stride": 2}, (1, 40, 7, 7)),
    ],
    ids=["7x7", "alexnet", "25 patches", "first", "second", "third"],
)
def test_sizes(x, w, options, y):
    assert conv_problem(x, w, **options).y_shape == y
    assert convkit.conv2d(np.zeros(x, "f"), np.zeros(w, "f"), **options).shape == y


def test_pooled_size():
    assert convkit.max_pool2d(np.zeros((1, 64, 224, 224), "f"), 2).shape == (1, 64, 112, 112)


@pytest.mark.parametrize(
    ("x", "w", "options", "macs"),
    [
        ((1, 192, 28, 28), (32, 192, 5, 5), {"padding": "same"}, 120_422_400),
        ((1, 192, 28, 28), (16, 192, 1, 1), {}, 2_408_448),
        ((1, 16, 28, 28), (32, 16, 5, 5), {"padding": "same"}, 10_035_200),
        ((1, 192, 28, 28), (32, 192, 1, 1), {}, 4_816_896),
        ((1, 3, 6, 6), (5, 3, 3, 3), {}, 2_160),
        ((1, 3, 6, 6), (3, 1, 3, 3), {"groups": 3}, 432),
        ((1, 3, 4, 4), (5, 3, 1, 1), {}, 240),
    ],
    ids=["5x5", "bottleneck", "after it", "1x1", "dense", "depthwise", "pointwise"],
)
def test_costs(x, w, options, macs):
    assert conv_problem(x, w, **options).macs == macs
