"""The ResNets with pre-activation (He et al. 2016, Identity mappings in deep residual networks).

Batch norm and ReLU stand before each convolution, so that a shortcut is the identity from one end
of a stage to the other. The last block of a stage halves the image. Weight names, biases and the
epsilon of batch norms are those of Keras applications (ResNet50V2 ...).

Each takes `input_size` (a number or a pair, 224 unless given; ValueError below 1) and
`include_top`: without the top, the maps at stride 32 before the mean of each channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from convkit.graph import Builder, Model, Value
from convkit.models.sizes import image_shape
from convkit.problem import PairLike

CHANNELS = (64, 128, 256, 512)
EPSILON = 1.001e-5


def resnet50_v2(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """25,568,360 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="resnet50_v2")
    return _resnet(b, (3, 4, 6, 3), num_classes, include_top, seed)


def resnet101_v2(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """44,577,896 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="resnet101_v2")
    return _resnet(b, (3, 4, 23, 3), num_classes, include_top, seed)


def resnet152_v2(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """60,236,904 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="resnet152_v2")
    return _resnet(b, (3, 8, 36, 3), num_classes, include_top, seed)


def _resnet(
    b: Builder, blocks: Sequence[int], num_classes: int, include_top: bool, seed: int
) -> Model:
    """A stem without batch norm, four stages, the activation that the last block left out."""
    x = b.conv2d(b.input, 64, 7, stride=2, padding=3, name="conv1_conv")
    # The stem ends without a ReLU: the zeros around it count where all of a window is negative.
    x = b.max_pool2d(b.pad2d(x, 1, name="pool1_pad"), 3, stride=2, name="pool1_pool")
    for stage, (channels, count) in enumerate(zip(CHANNELS, blocks, strict=True), 2):
        for i in range(1, count + 1):
            stride = 2 if i == count and stage < 5 else 1
            x = _block(b, x, channels, stride, i == 1, f"conv{stage}_block{i}")
    x = b.batch_norm(x, eps=EPSILON, activation="relu", name="post_bn")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="avg_pool"), name="flatten")
    return b.model(b.linear(x, num_classes, name="predictions"), seed=seed)


def _block(b: Builder, x: Value, channels: int, stride: int, projects: bool, name: str) -> Value:
    """1x1 to fewer channels, 3x3, 1x1 to four times as many, and a shortcut around them."""
    norm = partial(b.batch_norm, eps=EPSILON, activation="relu")
    y = norm(x, name=f"{name}_preact_bn")
    if projects:
        x = b.conv2d(y, 4 * channels, 1, stride=stride, name=f"{name}_0_conv")
    elif stride != 1:
        x = b.max_pool2d(x, 1, stride=stride, name=f"{name}_pool")
    y = norm(b.conv2d(y, channels, 1, bias=False, name=f"{name}_1_conv"), name=f"{name}_1_bn")
    y = b.conv2d(y, channels, 3, stride=stride, padding=1, bias=False, name=f"{name}_2_conv")
    y = norm(y, name=f"{name}_2_bn")
    y = b.conv2d(y, 4 * channels, 1, name=f"{name}_3_conv")
    return b.add(x, y, name=f"{name}_out")
