"""DenseNet (Huang et al. 2017), MobileNet v1 and v2 (Howard et al. 2017, Sandler et al. 2018) and
EfficientNet (Tan and Le 2019); layers are named as torchvision or, v1, Keras names them."""

from __future__ import annotations

import math
from typing import Any

from bench.definitions.layers import Layers


def densenet(
    net: Layers, x: Any, blocks: tuple[int, ...], growth: int = 32, first: int = 64
) -> Any:
    """Each layer reads all before it in its block; transitions halve channels and sides."""
    x = net.conv(x, first, 7, 2, 3, bias=False, name="features.conv0")
    x = net.max_pool(net.norm(x, name="features.norm0").relu(), 3, 2, 1)
    for block, layers in enumerate(blocks, 1):
        for layer in range(1, layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            y = net.norm(x, name=f"{name}.norm1").relu()
            y = net.conv(y, 4 * growth, 1, bias=False, name=f"{name}.conv1")
            y = net.norm(y, name=f"{name}.norm2").relu()
            y = net.conv(y, growth, 3, 1, 1, bias=False, name=f"{name}.conv2")
            x = net.concat([x, y])
        if block < len(blocks):
            name = f"features.transition{block}"
            x = net.norm(x, name=f"{name}.norm").relu()
            x = net.conv(x, x.shape[1] // 2, 1, bias=False, name=f"{name}.conv")
            x = net.avg_pool(x, 2, 2)
    x = net.norm(x, name="features.norm5").relu()
    return net.linear(x.mean((2, 3)), 1000, name="classifier")


def mobilenet_v1(net: Layers, x: Any, alpha: float = 1.0) -> Any:
    """Keras applications': "same" padding, eps 1e-3."""

    def unit(x: Any, filters: int, size: int, stride: int, groups: int, name: str) -> Any:
        x = net.conv(x, filters, size, stride, "same", 1, groups, False, name)
        return net.norm(x, 1e-3, name=f"{name}_bn").clamp(0, 6)

    x = unit(x, int(32 * alpha), 3, 2, 1, "conv1")
    rows = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    rows += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for number, (filters, stride) in enumerate(rows, 1):
        x = unit(x, x.shape[1], 3, stride, x.shape[1], f"conv_dw_{number}")
        x = unit(x, int(filters * alpha), 1, 1, 1, f"conv_pw_{number}")
    return net.linear(x.mean((2, 3)), 1000, name="conv_preds")


def multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, no more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def mobilenet_v2(net: Layers, x: Any, alpha: float = 1.0) -> Any:
    """torchvision's: symmetric padding."""

    def unit(x: Any, filters: int, size: int, stride: int, groups: int, name: str) -> Any:
        x = net.conv(x, filters, size, stride, size // 2, 1, groups, False, f"{name}.0")
        return net.norm(x, name=f"{name}.1").clamp(0, 6)

    x = unit(x, multiple_of_8(32 * alpha), 3, 2, 1, "features.0")
    place = 0
    for expand, channels, repeats, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for repeat in range(repeats):
            place += 1
            name, filters = f"features.{place}.conv", multiple_of_8(channels * alpha)
            y, part = x, 0
            if expand > 1:
                y = unit(y, x.shape[1] * expand, 1, 1, 1, f"{name}.0")
                part = 1
            step = 1 if repeat else stride
            y = unit(y, y.shape[1], 3, step, y.shape[1], f"{name}.{part}")
            y = net.conv(y, filters, 1, bias=False, name=f"{name}.{part + 1}")
            y = net.norm(y, name=f"{name}.{part + 2}")
            x = x + y if step == 1 and x.shape[1] == filters else y
    x = unit(x, multiple_of_8(1280 * max(1.0, alpha)), 1, 1, 1, "features.18")
    return net.linear(x.mean((2, 3)), 1000, name="classifier.1")


# Expansion, filter, stride, channels, layers: table 1 of EfficientNet.
STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip


def efficientnet(net: Layers, x: Any, width: float, depth: float, eps: float = 1e-5) -> Any:
    """torchvision's: symmetric padding; swish; squeeze and excite with a quarter of the input."""

    def unit(
        x: Any, filters: int, size: int, stride: int, groups: int, name: str, loudness: float = 1.0
    ) -> Any:
        x = net.conv(x, filters, size, stride, size // 2, 1, groups, False, f"{name}.0")
        return net.norm(x, eps, name=f"{name}.1", loudness=loudness)

    def swish(x: Any) -> Any:
        return x * x.sigmoid()

    x = swish(unit(x, multiple_of_8(32 * width), 3, 2, 1, "features.0"))
    for stage, (expand, size, stride, channels, layers) in enumerate(STAGES, 1):
        filters = multiple_of_8(channels * width)
        for layer in range(math.ceil(layers * depth)):
            y, part, step = x, 0, 1 if layer else stride
            name = f"features.{stage}.{layer}.block"
            if expand > 1:
                y = swish(unit(y, x.shape[1] * expand, 1, 1, 1, f"{name}.0"))
                part = 1
            y = swish(unit(y, y.shape[1], size, step, y.shape[1], f"{name}.{part}"))
            gate = y.mean((2, 3), keepdim=True)
            gate = swish(net.conv(gate, x.shape[1] // 4, 1, name=f"{name}.{part + 1}.fc1"))
            y = y * net.conv(gate, y.shape[1], 1, name=f"{name}.{part + 1}.fc2").sigmoid()
            added = step == 1 and x.shape[1] == filters
            y = unit(y, filters, 1, 1, 1, f"{name}.{part + 2}", 0.3 if added else 1.0)
            x = x + y if added else y
    x = swish(unit(x, 4 * x.shape[1], 1, 1, 1, "features.8"))
    return net.linear(x.mean((2, 3)), 1000, name="classifier.1")
