"""A class for each pixel: SegNet (Badrinarayanan, Kendall, Cipolla 2017), FCN-8s (Long, Shelhamer,
Darrell 2015) and torchvision's FCN on a dilated ResNet-50."""

from __future__ import annotations

from typing import Any

from bench.definitions.layers import Layers
from bench.definitions.resnet import bottleneck
from bench.definitions.vgg import COLUMNS


def segnet(net: Layers, x: Any, classes: int = 21) -> Any:
    """VGG-16's convolutions with batch norms, and back: each maximum returns to its place."""

    def unit(x: Any, filters: int) -> Any:
        return net.norm(net.conv(x, filters, 3, 1, 1)).relu()

    places = []
    for block in COLUMNS["D"]:
        for filters in block:
            x = unit(x, filters)
        size = tuple(x.shape[2:])
        x, indices = net.functions.max_pool2d(x, 2, 2, return_indices=True)
        places.append((indices, size))
    for number in (4, 3, 2, 1, 0):
        indices, size = places[number]
        x = net.functions.max_unpool2d(x, indices, 2, 2, output_size=size)
        block = COLUMNS["D"][number]
        for filters in block[1:]:
            x = unit(x, filters)
        if number:
            x = unit(x, COLUMNS["D"][number - 1][0])
    return net.conv(x, classes, 3, 1, 1)


def fcn8s(net: Layers, x: Any, classes: int = 21) -> Any:
    """VGG-16's linear layers as convolutions; scores of two finer layers added; 100 pixels of
    padding, cropped again, as in the authors' network."""
    sides, kept = x.shape[2:], []
    for number, block in enumerate(COLUMNS["D"]):
        for place, filters in enumerate(block):
            x = net.conv(x, filters, 3, 1, 100 if number == place == 0 else 1).relu()
        x = net.max_pool(x, 2, 2, ceil=True)
        kept.append(x)
    x = net.conv(net.conv(x, 4096, 7).relu(), 4096, 1).relu()
    x = net.conv_transpose(net.conv(x, classes, 1), classes, 4, 2, bias=False)
    x = x + crop(net.conv(kept[3], classes, 1), 5, x.shape[2:])
    x = net.conv_transpose(x, classes, 4, 2, bias=False)
    x = x + crop(net.conv(kept[2], classes, 1), 9, x.shape[2:])
    return crop(net.conv_transpose(x, classes, 16, 8, bias=False), 31, sides)


def crop(x: Any, first: int, sides: Any) -> Any:
    """Rows and columns from `first`, as many as `sides` says."""
    return x[:, :, first : first + sides[0], first : first + sides[1]]


def resnet50_fcn_dilated(net: Layers, x: Any, classes: int = 21) -> Any:
    """Stages 3 and 4 dilated by 2 and 4 instead of strided; scores resized to the image."""
    sides, root = tuple(x.shape[2:]), "backbone."
    x = net.conv(x, 64, 7, 2, 3, bias=False, name=f"{root}conv1")
    x = net.max_pool(net.norm(x, name=f"{root}bn1").relu(), 3, 2, 1)
    for stage, (blocks, stride, first, dilation) in enumerate(
        ((3, 1, 1, 1), (4, 2, 1, 1), (6, 1, 1, 2), (3, 1, 2, 4))
    ):
        for block in range(blocks):
            step, spread = (1, dilation) if block else (stride, first)
            name = f"{root}layer{stage + 1}.{block}"
            x = bottleneck(net, x, 256 << stage, 64 << stage, step, 1, spread, name)
    x = net.conv(x, 512, 3, 1, 1, bias=False, name="classifier.0")
    x = net.norm(x, name="classifier.1").relu()
    return net.upsample(net.conv(x, classes, 1, name="classifier.4"), sides)
