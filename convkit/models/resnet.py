"""The ResNets for ImageNet (He et al. 2016, Deep residual learning for image recognition, table 1).

Four stages; where a stage after the first begins, the image halves and a 1x1 convolution fits the
shortcut. A bottleneck strides in its 3x3 convolution, as torchvision does ("ResNet v1.5"). Weight
names are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convkit.graph import Builder, Model, Value

CHANNELS = (64, 128, 256, 512)


def resnet18(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """11,689,512 parameters. Logits."""
    return _resnet("resnet18", _basic, 1, (2, 2, 2, 2), num_classes, seed)


def resnet34(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """21,797,672 parameters. Logits."""
    return _resnet("resnet34", _basic, 1, (3, 4, 6, 3), num_classes, seed)


def resnet50(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """25,557,032 parameters. Logits."""
    return _resnet("resnet50", _bottleneck, 4, (3, 4, 6, 3), num_classes, seed)


def resnet101(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """44,549,160 parameters. Logits."""
    return _resnet("resnet101", _bottleneck, 4, (3, 4, 23, 3), num_classes, seed)


def resnet152(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """60,192,808 parameters. Logits."""
    return _resnet("resnet152", _bottleneck, 4, (3, 8, 36, 3), num_classes, seed)


def _resnet(
    name: str,
    block: Callable[[Builder, Value, int, int, str], Value],
    expansion: int,
    blocks: Sequence[int],
    num_classes: int,
    seed: int,
) -> Model:
    """A stem, four stages of blocks, the mean of each channel and one linear layer."""
    b = Builder((3, 224, 224), name=name)
    x = b.conv2d(b.input, 64, 7, stride=2, padding=3, bias=False, name="conv1")
    x = b.batch_norm(x, activation="relu", name="bn1")
    x = b.max_pool2d(x, 3, stride=2, padding=1, name="maxpool")
    for stage, (channels, count) in enumerate(zip(CHANNELS, blocks, strict=True), 1):
        for i in range(count):
            stride = 2 if i == 0 and stage > 1 else 1
            layer = f"layer{stage}.{i}"
            y = block(b, x, channels, stride, layer)
            if i == 0 and (stride != 1 or x.sizes[1] != channels * expansion):
                x = b.conv2d(
                    x, channels * expansion, 1, stride=stride, bias=False,
                    name=f"{layer}.downsample.0",
                )  # fmt: skip
                x = b.batch_norm(x, name=f"{layer}.downsample.1")
            x = b.add(y, x, activation="relu", name=f"{layer}.add")
    x = b.flatten(b.global_avg_pool2d(x, name="avgpool"), name="flatten")
    return b.model(b.linear(x, num_classes, name="fc"), seed=seed)


def _basic(b: Builder, x: Value, channels: int, stride: int, name: str) -> Value:
    """Two 3x3 convolutions."""
    x = b.conv2d(x, channels, 3, stride=stride, padding=1, bias=False, name=f"{name}.conv1")
    x = b.batch_norm(x, activation="relu", name=f"{name}.bn1")
    x = b.conv2d(x, channels, 3, padding=1, bias=False, name=f"{name}.conv2")
    return b.batch_norm(x, name=f"{name}.bn2")


def _bottleneck(b: Builder, x: Value, channels: int, stride: int, name: str) -> Value:
    """1x1 to fewer channels, 3x3, 1x1 to four times as many."""
    x = b.conv2d(x, channels, 1, bias=False, name=f"{name}.conv1")
    x = b.batch_norm(x, activation="relu", name=f"{name}.bn1")
    x = b.conv2d(x, channels, 3, stride=stride, padding=1, bias=False, name=f"{name}.conv2")
    x = b.batch_norm(x, activation="relu", name=f"{name}.bn2")
    x = b.conv2d(x, 4 * channels, 1, bias=False, name=f"{name}.conv3")
    return b.batch_norm(x, name=f"{name}.bn3")
