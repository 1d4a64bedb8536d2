"""VGG: Simonyan and Zisserman 2015 (Very deep convolutional networks), table 1; Yu and Koltun 2016
(Multi-scale context aggregation by dilated convolutions) for the front end of dilated ones."""

from __future__ import annotations

from typing import Any

from bench.definitions.layers import Layers

# Table 1: filters of the convolutions of each block; a 1x1 convolution stands as its negative.
COLUMNS = {
    "A": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "B": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    "C": ((64, 64), (128, 128), (256, 256, -256), (512, 512, -512), (512, 512, -512)),
    "D": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    "E": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


def vgg(net: Layers, x: Any, column: str, response_norm: bool = False) -> Any:
    """Blocks of convolutions, each pooled by 2, then three linear layers; torchvision's names."""
    place = 0
    for block in COLUMNS[column]:
        for filters in block:
            size = 3 if filters > 0 else 1
            # A-LRN has a layer more after its first convolution: unnamed from there on
            name = None if response_norm else f"features.{place}"
            x = net.conv(x, abs(filters), size, 1, size // 2, name=name).relu()
            if response_norm and place == 0:
                x = net.response_norm(x)
            place += 2
        x = net.max_pool(x, 2, 2)
        place += 1
    x = net.linear(x.flatten(1), 4096, name="classifier.0").relu()
    x = net.linear(x, 4096, name="classifier.3").relu()
    return net.linear(x, 1000, name="classifier.6")


def vgg_dilated(net: Layers, x: Any, classes: int = 21) -> Any:
    """VGG-16 without its last two poolings; what follows them is dilated by 2 and 4 instead.

    Nothing is padded inside: the image is, by what the convolutions take away, with its reflection.
    """
    x = net.functions.pad(x, (186,) * 4, mode="reflect")
    for number, block in enumerate(COLUMNS["D"]):
        for filters in block:
            x = net.conv(x, filters, 3, dilation=2 if number == 4 else 1).relu()
        if number < 3:
            x = net.max_pool(x, 2, 2)
    x = net.conv(x, 4096, 7, dilation=4).relu()
    x = net.conv(x, 4096, 1).relu()
    return net.conv(x, classes, 1)
