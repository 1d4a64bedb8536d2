"""Xception (Chollet 2017, Xception: deep learning with depthwise separable convolutions, figure 5).

Residual blocks of separable convolutions: a 3x3 filter for each channel (`.depthwise`), then a 1x1
convolution (`.pointwise`) with nothing between them. Layer names are those of Keras applications;
the 1x1 convolutions of the shortcuts have the names that Keras gives layers without one
(`conv2d`, `conv2d_1`, ..., `batch_normalization`, ...). Padding is TensorFlow's "same": where a
stride leaves an odd row or column of padding over, it is below and right.
"""

from __future__ import annotations

from convkit.graph import Builder, Model, Value
from convkit.problem import PairLike, pair

#: Keras' default.
EPS = 1e-3

#: Blocks that halve the image: number -> filters of the two separable convolutions.
ENTRY = {2: (128, 128), 3: (256, 256), 4: (728, 728)}
EXIT = {13: (728, 1024)}
#: The middle flow, three separable convolutions each.
MIDDLE = range(5, 13)

#: Rows and columns of which the two convolutions without padding leave one pixel.
LEAST = 7


def xception(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """22,855,952 parameters on 3x299x299. Logits. `input_size` is at least 7."""
    size = pair("input_size", 299 if input_size is None else input_size, least=LEAST)
    b = Builder((3, *size), name="xception")
    x = b.conv2d(b.input, 32, 3, stride=2, bias=False, name="block1_conv1")
    x = b.batch_norm(x, eps=EPS, activation="relu", name="block1_conv1_bn")
    x = b.conv2d(x, 64, 3, bias=False, name="block1_conv2")
    x = b.batch_norm(x, eps=EPS, activation="relu", name="block1_conv2_bn")
    for number, filters in ENTRY.items():
        x = _halving(b, x, number, filters)
    for number in MIDDLE:
        x = _middle(b, x, number)
    for number, filters in EXIT.items():
        x = _halving(b, x, number, filters)
    for part, channels in enumerate((1536, 2048), 1):
        x = _separable(b, x, channels, f"block14_sepconv{part}")
        x = b.relu(x, name=f"block14_sepconv{part}_act")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="avg_pool"), name="flatten")
    return b.model(b.linear(x, num_classes, name="predictions"), seed=seed)


def _separable(b: Builder, x: Value, filters: int, name: str) -> Value:
    """Depthwise 3x3, then 1x1, then a batch norm."""
    c = x.sizes[1]
    x = b.conv2d(x, c, 3, padding="same", groups=c, bias=False, name=f"{name}.depthwise")
    x = b.conv2d(x, filters, 1, bias=False, name=f"{name}.pointwise")
    return b.batch_norm(x, eps=EPS, name=f"{name}_bn")


def _halving(b: Builder, x: Value, number: int, filters: tuple[int, int]) -> Value:
    """Two separable convolutions and a max pool; a 1x1 convolution strides beside them.

    A ReLU comes before each separable convolution, but block 2 starts behind one.
    """
    index = [*ENTRY, *EXIT].index(number)
    suffix = f"_{index}" if index else ""
    shortcut = b.conv2d(x, filters[1], 1, stride=2, bias=False, name=f"conv2d{suffix}")
    shortcut = b.batch_norm(shortcut, eps=EPS, name=f"batch_normalization{suffix}")
    for part, channels in enumerate(filters, 1):
        name = f"block{number}_sepconv{part}"
        if (number, part) != (2, 1):
            x = b.relu(x, name=f"{name}_act")
        x = _separable(b, x, channels, name)
    x = b.max_pool2d(x, 3, stride=2, padding="same", name=f"block{number}_pool")
    return b.add(x, shortcut, name=f"block{number}_add")


def _middle(b: Builder, x: Value, number: int) -> Value:
    """Three separable convolutions of 728 channels around which x goes."""
    y = x
    for part in (1, 2, 3):
        name = f"block{number}_sepconv{part}"
        y = _separable(b, b.relu(y, name=f"{name}_act"), x.sizes[1], name)
    return b.add(y, x, name=f"block{number}_add")
