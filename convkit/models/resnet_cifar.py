"""The ResNets for CIFAR-10 (He et al. 2016, Deep residual learning for image recognition, 4.2).

Three stages of 16, 32 and 64 channels. Where a stage begins, the shortcut takes every second row
and column and pads channels with zeros (the paper's option A, without weights), or is a 1x1
convolution with batch norm (option B: `shortcut="projection"`).

Each takes `input_size` (a number or a pair, 32 unless given; ValueError below 1) and
`include_top`: without the top, the 64 maps at stride 4 before the mean of each channel.
"""

from __future__ import annotations

from convkit.graph import Builder, Model, Value
from convkit.models.sizes import image_shape
from convkit.problem import PairLike, one_of

STAGES = (16, 32, 64)
SHORTCUTS = ("identity", "projection")


def resnet20_cifar10(
    *,
    num_classes: int = 10,
    input_size: PairLike | None = None,
    include_top: bool = True,
    shortcut: str = "identity",
    seed: int = 0,
) -> Model:
    """ResNet-20 on 3x32x32: 269,722 parameters, 272,474 with projections. Logits."""
    b = Builder(image_shape(input_size, 32), name="resnet20_cifar10")
    return _resnet(b, 3, num_classes, include_top, shortcut, seed)


def resnet32_cifar10(
    *,
    num_classes: int = 10,
    input_size: PairLike | None = None,
    include_top: bool = True,
    shortcut: str = "identity",
    seed: int = 0,
) -> Model:
    """ResNet-32 on 3x32x32: 464,154 parameters, 466,906 with projections. Logits."""
    b = Builder(image_shape(input_size, 32), name="resnet32_cifar10")
    return _resnet(b, 5, num_classes, include_top, shortcut, seed)


def resnet44_cifar10(
    *,
    num_classes: int = 10,
    input_size: PairLike | None = None,
    include_top: bool = True,
    shortcut: str = "identity",
    seed: int = 0,
) -> Model:
    """ResNet-44 on 3x32x32: 658,586 parameters, 661,338 with projections. Logits."""
    b = Builder(image_shape(input_size, 32), name="resnet44_cifar10")
    return _resnet(b, 7, num_classes, include_top, shortcut, seed)


def resnet56_cifar10(
    *,
    num_classes: int = 10,
    input_size: PairLike | None = None,
    include_top: bool = True,
    shortcut: str = "identity",
    seed: int = 0,
) -> Model:
    """ResNet-56 on 3x32x32: 853,018 parameters, 855,770 with projections. Logits."""
    b = Builder(image_shape(input_size, 32), name="resnet56_cifar10")
    return _resnet(b, 9, num_classes, include_top, shortcut, seed)


def resnet110_cifar10(
    *,
    num_classes: int = 10,
    input_size: PairLike | None = None,
    include_top: bool = True,
    shortcut: str = "identity",
    seed: int = 0,
) -> Model:
    """ResNet-110 on 3x32x32: 1,727,962 parameters, 1,730,714 with projections. Logits."""
    b = Builder(image_shape(input_size, 32), name="resnet110_cifar10")
    return _resnet(b, 18, num_classes, include_top, shortcut, seed)


def _resnet(
    b: Builder, blocks: int, num_classes: int, include_top: bool, shortcut: str, seed: int
) -> Model:
    """6 blocks + 2 layers."""
    projects = one_of("shortcut", shortcut, SHORTCUTS) == "projection"
    x = b.conv2d(b.input, STAGES[0], 3, padding=1, bias=False, name="conv1")
    x = b.batch_norm(x, activation="relu", name="bn1")
    for stage, channels in enumerate(STAGES, 1):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 1 else 1
            x = _block(b, x, channels, stride, projects, f"layer{stage}.{block}")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="pool"), name="flatten")
    return b.model(b.linear(x, num_classes, name="linear"), seed=seed)


def _block(b: Builder, x: Value, channels: int, stride: int, projects: bool, name: str) -> Value:
    """Two 3x3 convolutions and a shortcut around them."""
    y = b.conv2d(x, channels, 3, stride=stride, padding=1, bias=False, name=f"{name}.conv1")
    y = b.batch_norm(y, activation="relu", name=f"{name}.bn1")
    y = b.conv2d(y, channels, 3, padding=1, bias=False, name=f"{name}.conv2")
    y = b.batch_norm(y, name=f"{name}.bn2")
    if stride != 1 and projects:
        x = b.conv2d(x, channels, 1, stride=stride, bias=False, name=f"{name}.shortcut.0")
        x = b.batch_norm(x, name=f"{name}.shortcut.1")
    elif stride != 1:
        before = (channels - x.sizes[1]) // 2
        after = channels - x.sizes[1] - before
        x = b.pad_channels(x, before, after, stride=stride, name=f"{name}.shortcut")
    return b.add(y, x, activation="relu", name=f"{name}.add")
