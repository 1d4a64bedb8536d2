"""The ResNets for CIFAR-10 (He et al. 2016, Deep residual learning for image recognition, 4.2).

Three stages of 16, 32 and 64 channels; where a stage begins, the shortcut takes every second row
and column and pads channels with zeros (option A), so it has no weights.
"""

from __future__ import annotations

from convkit.graph import Builder, Model, Value

STAGES = (16, 32, 64)


def resnet20_cifar10(*, num_classes: int = 10, seed: int = 0) -> Model:
    """ResNet-20 on 3x32x32: 269,722 parameters. Logits."""
    return _resnet("resnet20_cifar10", 3, num_classes, seed)


def resnet32_cifar10(*, num_classes: int = 10, seed: int = 0) -> Model:
    """ResNet-32 on 3x32x32: 464,154 parameters. Logits."""
    return _resnet("resnet32_cifar10", 5, num_classes, seed)


def _resnet(name: str, blocks: int, num_classes: int, seed: int) -> Model:
    """6 blocks + 2 layers."""
    b = Builder((3, 32, 32), name=name)
    x = b.conv2d(b.input, STAGES[0], 3, padding=1, bias=False, name="conv1")
    x = b.batch_norm(x, activation="relu", name="bn1")
    for stage, channels in enumerate(STAGES, 1):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 1 else 1
            x = _block(b, x, channels, stride, f"layer{stage}.{block}")
    x = b.flatten(b.global_avg_pool2d(x, name="pool"), name="flatten")
    return b.model(b.linear(x, num_classes, name="linear"), seed=seed)


def _block(b: Builder, x: Value, channels: int, stride: int, name: str) -> Value:
    """Two 3x3 convolutions and a shortcut around them."""
    y = b.conv2d(x, channels, 3, stride=stride, padding=1, bias=False, name=f"{name}.conv1")
    y = b.batch_norm(y, activation="relu", name=f"{name}.bn1")
    y = b.conv2d(y, channels, 3, padding=1, bias=False, name=f"{name}.conv2")
    y = b.batch_norm(y, name=f"{name}.bn2")
    if stride != 1:
        before = (channels - x.sizes[1]) // 2
        after = channels - x.sizes[1] - before
        x = b.pad_channels(x, before, after, stride=stride, name=f"{name}.shortcut")
    return b.add(y, x, activation="relu", name=f"{name}.add")
