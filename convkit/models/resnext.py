"""The ResNeXts (Xie et al. 2017, Aggregated residual transformations for deep neural networks).

ResNets whose bottlenecks are wider and convolve their channels in 32 groups. Weight names are
torchvision's.

Each takes `input_size` (a number or a pair, 224 unless given; ValueError below 1) and
`include_top`: without the top, the maps at stride 32 before the mean of each channel.
"""

from __future__ import annotations

from functools import partial

from convkit.graph import Builder, Model
from convkit.models.resnet import bottleneck, resnet
from convkit.models.sizes import image_shape
from convkit.problem import PairLike


def resnext50_32x4d(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """32 groups, 4 channels wide in the first stage: 25,028,904 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="resnext50_32x4d")
    block = partial(bottleneck, groups=32, width=4)
    return resnet(b, block, (3, 4, 6, 3), num_classes, include_top, seed)


def resnext101_32x8d(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """32 groups, 8 channels wide in the first stage: 88,791,336 parameters. Logits."""
    b = Builder(image_shape(input_size, 224), name="resnext101_32x8d")
    block = partial(bottleneck, groups=32, width=8)
    return resnet(b, block, (3, 4, 23, 3), num_classes, include_top, seed)
