"""GoogLeNet (Szegedy et al. 2015, Going deeper with convolutions, table 1) and SqueezeNet (Iandola
et al. 2016), with torchvision's names where they follow torchvision."""

from __future__ import annotations

from typing import Any

from bench.definitions.layers import Layers

# Name: 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; behind the pooling.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(net: Layers, x: Any) -> Any:
    """torchvision's: batch norms, 3x3 where the paper has 5x5, a pooling of 2 before 5a."""

    def unit(x: Any, filters: int, size: int, stride: int, name: str) -> Any:
        x = net.conv(x, filters, size, stride, size // 2, bias=False, name=f"{name}.conv")
        return net.norm(x, 1e-3, name=f"{name}.bn").relu()

    x = net.max_pool(unit(x, 64, 7, 2, "conv1"), 3, 2, ceil=True)
    x = unit(unit(x, 64, 1, 1, "conv2"), 192, 3, 1, "conv3")
    x = net.max_pool(x, 3, 2, ceil=True)
    for stage, (a, b1, b2, c1, c2, d) in INCEPTIONS.items():
        name = f"inception{stage}"
        pooled = net.max_pool(x, 3, 1, 1)
        x = net.concat(
            [
                unit(x, a, 1, 1, f"{name}.branch1"),
                unit(unit(x, b1, 1, 1, f"{name}.branch2.0"), b2, 3, 1, f"{name}.branch2.1"),
                unit(unit(x, c1, 1, 1, f"{name}.branch3.0"), c2, 3, 1, f"{name}.branch3.1"),
                unit(pooled, d, 1, 1, f"{name}.branch4.1"),
            ]
        )
        if stage == "3b":
            x = net.max_pool(x, 3, 2, ceil=True)
        elif stage == "4e":
            x = net.max_pool(x, 2, 2, ceil=True)
    return net.linear(x.mean((2, 3)), 1000, name="fc")


def googlenet_paper(net: Layers, x: Any, aux: bool = False) -> Any:
    """The paper's: no batch norm, response norms beside the first two poolings."""

    def unit(x: Any, filters: int, size: int, stride: int = 1) -> Any:
        return net.conv(x, filters, size, stride, size // 2).relu()

    def side(x: Any, name: str) -> Any:
        x = net.conv(net.avg_pool(x, 5, 3), 128, 1, name=f"{name}.conv").relu().flatten(1)
        x = net.linear(x, 1024, name=f"{name}.fc1").relu()
        return net.linear(x, 1000, name=f"{name}.fc2")

    x = net.max_pool(unit(x, 64, 7, 2), 3, 2, ceil=True)
    x = net.response_norm(x)
    x = net.response_norm(unit(unit(x, 64, 1), 192, 3))
    x = net.max_pool(x, 3, 2, ceil=True)
    sides = []
    for stage, (a, b1, b2, c1, c2, d) in INCEPTIONS.items():
        pooled = net.max_pool(x, 3, 1, 1)
        x = net.concat(
            [
                unit(x, a, 1),
                unit(unit(x, b1, 1), b2, 3),
                unit(unit(x, c1, 1), c2, 5),
                unit(pooled, d, 1),
            ]
        )
        if aux and stage in ("4a", "4d"):
            sides.append(side(x, f"aux{len(sides) + 1}"))
        if stage in ("3b", "4e"):
            x = net.max_pool(x, 3, 2, ceil=True)
    logits = net.linear(x.mean((2, 3)), 1000, name="fc")
    return (logits, *sides) if aux else logits


def squeezenet(net: Layers, x: Any, pools: tuple[int, ...], stem: tuple[int, int]) -> Any:
    """Fire modules; `pools` are torchvision's places of the poolings, `stem` filters and size."""
    fires = iter((16, 16, 32, 32, 48, 48, 64, 64))
    x = net.conv(x, stem[0], stem[1], 2, name="features.0").relu()
    for place in range(2, 13):
        if place in pools:
            x = net.max_pool(x, 3, 2, ceil=True)
            continue
        squeezed, name = next(fires), f"features.{place}"
        x = net.conv(x, squeezed, 1, name=f"{name}.squeeze").relu()
        one = net.conv(x, 4 * squeezed, 1, name=f"{name}.expand1x1").relu()
        three = net.conv(x, 4 * squeezed, 3, 1, 1, name=f"{name}.expand3x3").relu()
        x = net.concat([one, three])
    return net.conv(x, 1000, 1, name="classifier.1").relu().mean((2, 3))
