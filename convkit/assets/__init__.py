"""The embedded default: handwritten digits, the weights of the network that reads them, and names.

The digits are those of scikit-learn's `load_digits` (UCI, Optical Recognition of Handwritten
Digits, 1,797 images of 8x8 with values 0 to 16) whose index % 5 == 4: the 359 that
bench/train_digits.py never trains on. `lenet5_digits.safetensors` is what that script wrote.

`imagenet_classes.txt` has a line for each of the 1,000 classes of ImageNet, in the order of their
index: the WordNet number and the first English name, as in timm 1.0.31 (imagenet_synsets.txt and
imagenet_synset_to_lemma.txt, Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from convkit.weights import load_weights

FOLDER = Path(__file__).parent
DIGITS = FOLDER / "digits.npz"
WEIGHTS = FOLDER / "lenet5_digits.safetensors"
CLASSES = FOLDER / "imagenet_classes.txt"
#: The values of the 8x8 images run from 0 to this.
WHITE = 16
#: Sides of the images of the data set and of the network.
SMALL, LARGE = 8, 32


def digits_weights() -> Path:
    """The file with the weights of `lenet5_digits`."""
    return WEIGHTS


def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """(WordNet number, name) of the 1,000 classes of ImageNet; two names stand twice.

    Examples
    --------
    >>> imagenet_classes()[0]
    ('n01440764', 'tench')
    """
    lines = CLASSES.read_text(encoding="ascii").splitlines()
    return tuple((line[:9], line[10:]) for line in lines)


def load_digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The 359 test digits.

    Returns
    -------
    images : (359, 1, 32, 32) float32
        From 0 (paper) to 1 (ink), scaled by `scale_digits`.
    labels : (359,) int64
    """
    arrays = load_weights(DIGITS)
    return scale_digits(arrays["images"]), arrays["labels"].astype(np.int64)


def scale_digits(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Scale digits of 8x8 to 32x32, as the network was trained: bilinear, pixel centres aligned.

    Row i of the result lies at (i + 1/2) / 4 - 1/2 of the 8 rows, kept inside 0 and 7, and is
    interpolated between the two rows around it; columns likewise. Then 0..16 becomes 0..1.

    Parameters
    ----------
    images : (n, 8, 8)
        Values from 0 to 16.

    Returns
    -------
    (n, 1, 32, 32) float32
    """
    place = np.clip((np.arange(LARGE) + 0.5) * SMALL / LARGE - 0.5, 0, SMALL - 1)
    lower = np.minimum(place.astype(np.int64), SMALL - 2)
    share = place - lower
    matrix = np.zeros((LARGE, SMALL))
    matrix[np.arange(LARGE), lower] = 1 - share
    matrix[np.arange(LARGE), lower + 1] = share
    scaled: np.ndarray[Any, Any] = matrix @ (images / WHITE) @ matrix.T
    return np.asarray(scaled[:, None], np.float32)
