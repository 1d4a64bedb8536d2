"""Residual networks: He et al. 2016 (Deep residual learning), Xie et al. 2017 (ResNeXt).

Layers are named as torchvision names them, CIFAR's as in akamaster/pytorch_resnet_cifar10.
"""

from __future__ import annotations

from typing import Any

from bench.definitions.layers import Layers

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def resnet(
    net: Layers, x: Any, depth: int, shortcut: bool = True, groups: int = 1, group_width: int = 64
) -> Any:
    """18 and 34 of two 3x3 a block, deeper ones of bottlenecks; without shortcuts: "plain"."""
    x = net.norm(net.conv(x, 64, 7, 2, 3, bias=False, name="conv1"), name="bn1").relu()
    x = net.max_pool(x, 3, 2, 1)
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            name = f"layer{stage + 1}.{block}"
            if depth < 50:
                x = basic(net, x, 64 << stage, stride, name, shortcut)
            else:
                width = (64 << stage) * group_width // 64 * groups
                x = bottleneck(net, x, 256 << stage, width, stride, groups, 1, name)
    return net.linear(x.mean((2, 3)), 1000, name="fc")


def basic(net: Layers, x: Any, filters: int, stride: int, name: str, shortcut: bool) -> Any:
    """Two 3x3 convolutions beside the shortcut."""
    y = net.conv(x, filters, 3, stride, 1, bias=False, name=f"{name}.conv1")
    y = net.norm(y, name=f"{name}.bn1").relu()
    y = net.conv(y, filters, 3, 1, 1, bias=False, name=f"{name}.conv2")
    y = net.norm(y, name=f"{name}.bn2")
    if shortcut:
        y = y + fitted(net, x, filters, stride, name)
    return y.relu()


def bottleneck(
    net: Layers,
    x: Any,
    filters: int,
    width: int,
    stride: int,
    groups: int,
    dilation: int,
    name: str,
) -> Any:
    """1x1, 3x3 (strided, in groups, dilated), 1x1 beside the shortcut."""
    y = net.conv(x, width, 1, bias=False, name=f"{name}.conv1")
    y = net.norm(y, name=f"{name}.bn1").relu()
    y = net.conv(y, width, 3, stride, dilation, dilation, groups, False, name=f"{name}.conv2")
    y = net.norm(y, name=f"{name}.bn2").relu()
    y = net.conv(y, filters, 1, bias=False, name=f"{name}.conv3")
    y = net.norm(y, name=f"{name}.bn3")
    return (y + fitted(net, x, filters, stride, name)).relu()


def fitted(net: Layers, x: Any, filters: int, stride: int, name: str) -> Any:
    """The shortcut: x, or x through a strided 1x1 convolution where shapes differ."""
    if stride == 1 and x.shape[1] == filters:
        return x
    y = net.conv(x, filters, 1, stride, bias=False, name=f"{name}.downsample.0")
    return net.norm(y, name=f"{name}.downsample.1")


def resnet_cifar(net: Layers, x: Any, depth: int) -> Any:
    """Three stages of 16, 32, 64 channels; shortcuts skip pixels and pad channels with zeros."""
    x = net.norm(net.conv(x, 16, 3, 1, 1, bias=False, name="conv1"), name="bn1").relu()
    for stage in range(3):
        for block in range((depth - 2) // 6):
            stride, filters = (2 if stage and not block else 1), 16 << stage
            name = f"layer{stage + 1}.{block}"
            y = net.conv(x, filters, 3, stride, 1, bias=False, name=f"{name}.conv1")
            y = net.norm(y, name=f"{name}.bn1").relu()
            y = net.conv(y, filters, 3, 1, 1, bias=False, name=f"{name}.conv2")
            y = net.norm(y, name=f"{name}.bn2")
            if stride == 2:
                quarter = filters // 4
                x = net.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
            x = (y + x).relu()
    return net.linear(x.mean((2, 3)), 10, name="linear")


def resnet_cifar_projection(net: Layers, x: Any, depth: int) -> Any:
    """The same with 1x1 convolutions and norms where shapes differ."""
    x = net.norm(net.conv(x, 16, 3, 1, 1, bias=False)).relu()
    for stage in range(3):
        for block in range((depth - 2) // 6):
            stride = 2 if stage and not block else 1
            x = basic(net, x, 16 << stage, stride, f"layer{stage + 1}.{block}", True)
    return net.linear(x.mean((2, 3)), 10)
