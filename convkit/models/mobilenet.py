"""MobileNet v1 (Howard et al. 2017, MobileNets: efficient convolutional neural networks for mobile
vision applications) and v2 (Sandler et al. 2018, MobileNetV2: inverted residuals and linear
bottlenecks).

Weight names of v2 are torchvision's, of v1 those of Keras applications, and so are the padding
(below and to the right only, where the image halves) and the epsilon of v1's batch norms.

Both take `input_size` (a number or a pair, 224 unless given; ValueError below 1, for v1 below 31),
`alpha` (a factor on all channels; ValueError unless above 0) and `include_top`: without the top,
the maps at stride 32 before the mean of each channel.
"""

from __future__ import annotations

from convkit.graph import Builder, Model, Value
from convkit.models.sizes import image_shape, in_eights, multiplier
from convkit.problem import PairLike

#: v1: (filters of the 1x1 convolution, stride of the depthwise one).
SEPARABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
#: v1's padding at stride 2.
BELOW = ((0, 1), (0, 1))
#: v2, table 2: (expansion, channels, repeats, stride of the first).
INVERTED = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


def mobilenet_v1(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    alpha: float = 1.0,
    seed: int = 0,
) -> Model:
    """4,231,976 parameters; 2,585,560, 1,331,592 and 470,072 for alpha 0.75, 0.5 and 0.25, the
    factor on all channels. Logits."""
    wide = multiplier("alpha", alpha)
    # Halved five times, rounded up at first and then down.
    b = Builder(image_shape(input_size, 224, least=31), name="mobilenet_v1")
    filters = max(1, int(32 * wide))
    x = b.conv2d(b.input, filters, 3, stride=2, padding="same", bias=False, name="conv1")
    x = b.batch_norm(x, eps=1e-3, activation="relu6", name="conv1_bn")
    for i, (base, stride) in enumerate(SEPARABLE, 1):
        c = x.sizes[1]
        x = b.conv2d(
            x, c, 3, stride=stride, padding=1 if stride == 1 else BELOW, groups=c, bias=False,
            name=f"conv_dw_{i}",
        )  # fmt: skip
        x = b.batch_norm(x, eps=1e-3, activation="relu6", name=f"conv_dw_{i}_bn")
        x = b.conv2d(x, max(1, int(base * wide)), 1, bias=False, name=f"conv_pw_{i}")
        x = b.batch_norm(x, eps=1e-3, activation="relu6", name=f"conv_pw_{i}_bn")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="global_average_pooling2d"), name="flatten")
    return b.model(b.linear(b.dropout(x), num_classes, name="conv_preds"), seed=seed)


def mobilenet_v2(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    alpha: float = 1.0,
    seed: int = 0,
) -> Model:
    """3,504,872 parameters; 6,108,776, 1,968,680 and 1,677,128 for alpha 1.4, 0.5 and 0.35, the
    factor on all channels, the last 1280 only where it is above 1. Logits."""
    wide = multiplier("alpha", alpha)
    b = Builder(image_shape(input_size, 224), name="mobilenet_v2")
    filters = in_eights(32 * wide)
    x = b.conv2d(b.input, filters, 3, stride=2, padding=1, bias=False, name="features.0.0")
    x = b.batch_norm(x, activation="relu6", name="features.0.1")
    number = 1
    for expansion, base, repeats, first in INVERTED:
        channels = in_eights(base * wide)
        for i in range(repeats):
            x = _inverted(b, x, expansion, channels, first if i == 0 else 1, f"features.{number}")
            number += 1
    last = in_eights(1280 * max(1.0, wide))
    x = b.conv2d(x, last, 1, bias=False, name=f"features.{number}.0")
    x = b.batch_norm(x, activation="relu6", name=f"features.{number}.1")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="avgpool"), name="flatten")
    return b.model(b.linear(b.dropout(x), num_classes, name="classifier.1"), seed=seed)


def _inverted(b: Builder, x: Value, expansion: int, channels: int, stride: int, name: str) -> Value:
    """1x1 to more channels, depthwise 3x3, 1x1 to few channels without an activation."""
    y, inside = x, x.sizes[1] * expansion
    number = 0
    if expansion != 1:
        y = b.conv2d(y, inside, 1, bias=False, name=f"{name}.conv.0.0")
        y = b.batch_norm(y, activation="relu6", name=f"{name}.conv.0.1")
        number = 1
    y = b.conv2d(
        y, inside, 3, stride=stride, padding=1, groups=inside, bias=False,
        name=f"{name}.conv.{number}.0",
    )  # fmt: skip
    y = b.batch_norm(y, activation="relu6", name=f"{name}.conv.{number}.1")
    y = b.conv2d(y, channels, 1, bias=False, name=f"{name}.conv.{number + 1}")
    y = b.batch_norm(y, name=f"{name}.conv.{number + 2}")
    keeps = stride == 1 and x.sizes[1] == channels
    return b.add(x, y, name=f"{name}.add") if keeps else y
