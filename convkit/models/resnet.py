"""The ResNets for ImageNet (He et al. 2016, Deep residual learning for image recognition, table 1).

Four stages; where a stage after the first begins, the image halves and a 1x1 convolution fits the
shortcut. A bottleneck strides in its 3x3 convolution, as torchvision does ("ResNet v1.5"). The
plain networks of the paper are the same without shortcuts. Weight names are torchvision's.

Each takes `input_size` (a number or a pair, 224 unless given; ValueError below 1) and
`include_top`: without the top, the maps at stride 32 before the mean of each channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from convkit.graph import Builder, Model, Value
from convkit.models.sizes import image_shape
from convkit.problem import PairLike

CHANNELS = (64, 128, 256, 512)
#: No stage has dilated filters.
NOWHERE = (False, False, False, False)

#: (builder, input, channels, stride, dilation, name) -> what is added to the shortcut.
Block = Callable[[Builder, Value, int, int, int, str], Value]


def resnet18(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """11,689,512 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="resnet18")
    return resnet(b, basic, (2, 2, 2, 2), num_classes, include_top, seed)


def resnet34(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """21,797,672 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="resnet34")
    return resnet(b, basic, (3, 4, 6, 3), num_classes, include_top, seed)


def resnet50(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """25,557,032 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="resnet50")
    return resnet(b, bottleneck, (3, 4, 6, 3), num_classes, include_top, seed)


def resnet101(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """44,549,160 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="resnet101")
    return resnet(b, bottleneck, (3, 4, 23, 3), num_classes, include_top, seed)


def resnet152(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """60,192,808 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="resnet152")
    return resnet(b, bottleneck, (3, 8, 36, 3), num_classes, include_top, seed)


def plain18(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """ResNet-18 without its shortcuts: 11,515,688 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="plain18")
    return resnet(b, basic, (2, 2, 2, 2), num_classes, include_top, seed, shortcuts=False)


def plain34(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """ResNet-34 without its shortcuts: 21,623,848 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="plain34")
    return resnet(b, basic, (3, 4, 6, 3), num_classes, include_top, seed, shortcuts=False)


def resnet(
    b: Builder,
    block: Block,
    blocks: Sequence[int],
    num_classes: int,
    include_top: bool,
    seed: int,
    *,
    shortcuts: bool = True,
) -> Model:
    """The features, the mean of each channel and one linear layer."""
    x = features(b, block, blocks, shortcuts=shortcuts)
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="avgpool"), name="flatten")
    return b.model(b.linear(x, num_classes, name="fc"), seed=seed)


def features(
    b: Builder,
    block: Block,
    blocks: Sequence[int],
    *,
    shortcuts: bool = True,
    dilated: Sequence[bool] = NOWHERE,
    prefix: str = "",
) -> Value:
    """A stem and four stages of blocks.

    Where `dilated` says so, a stage does not halve the image: the filters from there on are spread
    by 2 instead, so that they see what they would see in the halved image.
    """
    x = b.conv2d(b.input, 64, 7, stride=2, padding=3, bias=False, name=f"{prefix}conv1")
    x = b.batch_norm(x, activation="relu", name=f"{prefix}bn1")
    x = b.max_pool2d(x, 3, stride=2, padding=1, name=f"{prefix}maxpool")
    dilation = 1
    for stage, (channels, count) in enumerate(zip(CHANNELS, blocks, strict=True), 1):
        for i in range(count):
            layer = f"{prefix}layer{stage}.{i}"
            halves = i == 0 and stage > 1
            spreads = halves and dilated[stage - 1]
            stride = 2 if halves and not spreads else 1
            y = block(b, x, channels, stride, dilation, layer)
            if spreads:  # the block at the border still reads the image that the stage before made
                dilation *= 2
            if not shortcuts:
                x = b.relu(y, name=f"{layer}.relu")
                continue
            if i == 0 and (stride != 1 or x.sizes[1] != y.sizes[1]):
                x = b.conv2d(
                    x, y.sizes[1], 1, stride=stride, bias=False, name=f"{layer}.downsample.0"
                )
                x = b.batch_norm(x, name=f"{layer}.downsample.1")
            x = b.add(y, x, activation="relu", name=f"{layer}.add")
    return x


def basic(b: Builder, x: Value, channels: int, stride: int, dilation: int, name: str) -> Value:
    """Two 3x3 convolutions."""
    conv = partial(b.conv2d, kernel=3, padding=dilation, dilation=dilation, bias=False)
    x = conv(x, channels, stride=stride, name=f"{name}.conv1")
    x = b.batch_norm(x, activation="relu", name=f"{name}.bn1")
    x = conv(x, channels, name=f"{name}.conv2")
    return b.batch_norm(x, name=f"{name}.bn2")


def bottleneck(
    b: Builder,
    x: Value,
    channels: int,
    stride: int,
    dilation: int,
    name: str,
    *,
    groups: int = 1,
    width: int = 64,
) -> Value:
    """1x1 to fewer channels, 3x3 in groups, 1x1 to `4 channels`.

    `width` is that of a group in the first stage, where there are 64 channels.
    """
    inside = channels * width // 64 * groups
    x = b.conv2d(x, inside, 1, bias=False, name=f"{name}.conv1")
    x = b.batch_norm(x, activation="relu", name=f"{name}.bn1")
    x = b.conv2d(
        x, inside, 3, stride=stride, padding=dilation, dilation=dilation, groups=groups,
        bias=False, name=f"{name}.conv2",
    )  # fmt: skip
    x = b.batch_norm(x, activation="relu", name=f"{name}.bn2")
    x = b.conv2d(x, 4 * channels, 1, bias=False, name=f"{name}.conv3")
    return b.batch_norm(x, name=f"{name}.bn3")
