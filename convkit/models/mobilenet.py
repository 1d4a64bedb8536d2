"""MobileNet v1 (Howard et al. 2017, MobileNets: efficient convolutional neural networks for mobile
vision applications) and v2 (Sandler et al. 2018, MobileNetV2: inverted residuals and linear
bottlenecks). Weight names of v2 are torchvision's, of v1 those of Keras applications."""

from __future__ import annotations

from convkit.graph import Builder, Model, Value

#: v1: (filters of the 1x1 convolution, stride of the depthwise one).
SEPARABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
#: v2, table 2: (expansion, channels, repeats, stride of the first).
INVERTED = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


def mobilenet_v1(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """4,231,976 parameters. Logits."""
    b = Builder((3, 224, 224), name="mobilenet_v1")
    x = b.conv2d(b.input, 32, 3, stride=2, padding=1, bias=False, name="conv1")
    x = b.batch_norm(x, activation="relu6", name="conv1_bn")
    for i, (filters, stride) in enumerate(SEPARABLE, 1):
        x = _depthwise(b, x, stride, f"conv_dw_{i}", f"conv_dw_{i}_bn")
        x = b.conv2d(x, filters, 1, bias=False, name=f"conv_pw_{i}")
        x = b.batch_norm(x, activation="relu6", name=f"conv_pw_{i}_bn")
    x = b.flatten(b.global_avg_pool2d(x, name="global_average_pooling2d"), name="flatten")
    return b.model(b.linear(x, num_classes, name="conv_preds"), seed=seed)


def mobilenet_v2(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """3,504,872 parameters. Logits."""
    b = Builder((3, 224, 224), name="mobilenet_v2")
    x = b.conv2d(b.input, 32, 3, stride=2, padding=1, bias=False, name="features.0.0")
    x = b.batch_norm(x, activation="relu6", name="features.0.1")
    number = 1
    for expansion, channels, repeats, first in INVERTED:
        for i in range(repeats):
            x = _inverted(b, x, expansion, channels, first if i == 0 else 1, f"features.{number}")
            number += 1
    x = b.conv2d(x, 1280, 1, bias=False, name=f"features.{number}.0")
    x = b.batch_norm(x, activation="relu6", name=f"features.{number}.1")
    x = b.flatten(b.global_avg_pool2d(x, name="avgpool"), name="flatten")
    return b.model(b.linear(b.dropout(x), num_classes, name="classifier.1"), seed=seed)


def _depthwise(b: Builder, x: Value, stride: int, conv: str, norm: str) -> Value:
    """3x3, a filter for each channel."""
    c = x.sizes[1]
    x = b.conv2d(x, c, 3, stride=stride, padding=1, groups=c, bias=False, name=conv)
    return b.batch_norm(x, activation="relu6", name=norm)


def _inverted(b: Builder, x: Value, expansion: int, channels: int, stride: int, name: str) -> Value:
    """1x1 to more channels, depthwise 3x3, 1x1 to few channels without an activation."""
    y, inside = x, x.sizes[1] * expansion
    number = 0
    if expansion != 1:
        y = b.conv2d(y, inside, 1, bias=False, name=f"{name}.conv.0.0")
        y = b.batch_norm(y, activation="relu6", name=f"{name}.conv.0.1")
        number = 1
    y = _depthwise(b, y, stride, f"{name}.conv.{number}.0", f"{name}.conv.{number}.1")
    y = b.conv2d(y, channels, 1, bias=False, name=f"{name}.conv.{number + 1}")
    y = b.batch_norm(y, name=f"{name}.conv.{number + 2}")
    keeps = stride == 1 and x.sizes[1] == channels
    return b.add(x, y, name=f"{name}.add") if keeps else y
