"""The embedded digits and weights: they are scikit-learn's, and the network reads them."""

from __future__ import annotations

import numpy as np
import pytest

import convkit
from convkit import assets


def test_digits():
    images, labels = assets.load_digits()
    assert images.shape == (359, 1, 32, 32) and images.dtype == np.float32
    assert labels.shape == (359,) and labels.dtype == np.int64
    assert images.min() == 0 and 0.9 < images.max() <= 1
    assert np.bincount(labels).tolist() == [27, 21, 34, 52, 34, 28, 31, 43, 47, 42]


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn's digits")
    small, labels = datasets.load_digits(return_X_y=True)
    test = np.arange(1797) % 5 == 4
    stored = convkit.load_weights(assets.DIGITS)
    assert stored["images"].dtype == stored["labels"].dtype == np.uint8
    np.testing.assert_array_equal(stored["images"], small.reshape(-1, 8, 8)[test])
    np.testing.assert_array_equal(stored["labels"], labels[test])
    np.testing.assert_array_equal(assets.load_digits()[1], labels[test])
    expected = assets.scale_digits(small.reshape(-1, 8, 8)[test])
    np.testing.assert_array_equal(assets.load_digits()[0], expected)


def test_scaling_by_hand():
    """Rows at (i + 1/2) / 4 - 1/2 between their neighbours, the ends kept."""
    image = np.zeros((1, 8, 8), np.uint8)
    image[0, 0] = 16
    image[0, 2, 3] = 16
    scaled = assets.scale_digits(image)[0, 0]
    assert scaled.shape == (32, 32)
    np.testing.assert_allclose(scaled[:7, 0], [1, 1, 0.875, 0.625, 0.375, 0.125, 0])
    np.testing.assert_allclose(scaled[9, 12:16], 0.875 * np.array([0.625, 0.875, 0.875, 0.625]))
    np.testing.assert_allclose(assets.scale_digits(np.full((1, 8, 8), 16)), 1)


def test_scaling_is_bilinear_as_scipy_knows_it():
    ndimage = pytest.importorskip("scipy.ndimage", reason="needs SciPy for a second opinion")
    image = np.random.default_rng(0).integers(0, 17, (8, 8))
    place = (np.arange(32) + 0.5) / 4 - 0.5
    rows, columns = np.meshgrid(place, place, indexing="ij")
    expected = ndimage.map_coordinates(image / 16, [rows, columns], order=1, mode="nearest")
    np.testing.assert_allclose(assets.scale_digits(image[None])[0, 0], expected, atol=1e-6)


def test_network_reads_the_digits():
    model = convkit.models.build("lenet5_digits")
    report = model.load(assets.digits_weights())
    assert len(report.loaded) == 10
    images, labels = assets.load_digits()
    right = (model(images).argmax(1) == labels).mean()
    assert right >= 0.985, right


def test_assets_are_small():
    assert sum(p.stat().st_size for p in (assets.DIGITS, assets.WEIGHTS)) < 400_000
