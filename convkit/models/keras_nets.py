"""Two small networks that introductions to Keras teach: digits, and cats against dogs.

Chollet 2017, Deep learning with Python, sections 5.1 and 5.2. Layer names are those that Keras
gives to a first model: `conv2d`, `conv2d_1`, ..., `dense`, `dense_1`. Keras flattens rows, columns
and channels in this order, here channels come first: the first dense layer's weight stands in the
order of channels, rows, columns.

Each takes `input_size` (a number or a pair, the network's own unless given; ValueError where it is
too small) and `include_top`: without the top, the maps that the first dense layer would read.
"""

from __future__ import annotations

from convkit.graph import Builder, Model
from convkit.problem import PairLike, pair


def keras_digits(
    *,
    num_classes: int = 10,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """Digits, on 1x28x28: 93,322 parameters. Probabilities (softmax)."""
    height, width = pair("input_size", 28 if input_size is None else input_size, least=18)
    b = Builder((1, height, width), name="keras_digits")
    x = b.conv2d(b.input, 32, 3, activation="relu", name="conv2d")
    x = b.max_pool2d(x, 2, name="max_pooling2d")
    x = b.conv2d(x, 64, 3, activation="relu", name="conv2d_1")
    x = b.max_pool2d(x, 2, name="max_pooling2d_1")
    x = b.conv2d(x, 64, 3, activation="relu", name="conv2d_2")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.linear(b.flatten(x, name="flatten"), 64, activation="relu", name="dense")
    x = b.linear(x, num_classes, name="dense_1")
    return b.model(b.softmax(x, name="softmax"), seed=seed)


def keras_cats_dogs(
    *,
    num_classes: int = 1,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """Cats against dogs, on 3x150x150: 3,453,121 parameters. The probability of a dog (sigmoid)."""
    height, width = pair("input_size", 150 if input_size is None else input_size, least=46)
    b = Builder((3, height, width), name="keras_cats_dogs")
    x = b.input
    for i, filters in enumerate((32, 64, 128, 128)):
        number = f"_{i}" if i else ""
        x = b.conv2d(x, filters, 3, activation="relu", name=f"conv2d{number}")
        x = b.max_pool2d(x, 2, name=f"max_pooling2d{number}")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.linear(b.flatten(x, name="flatten"), 512, activation="relu", name="dense")
    return b.model(b.linear(x, num_classes, activation="sigmoid", name="dense_1"), seed=seed)
