"""Inception: v2 (Ioffe and Szegedy 2015, figure 5), v3 (Szegedy et al. 2016, Rethinking, named as
torchvision names it) and v4 (Szegedy et al. 2016, Inception-v4, figures 3 to 9)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from bench.definitions.layers import Layers, Pair

Unit = Callable[..., Any]


def unit(
    net: Layers, x: Any, filters: int, size: Pair, stride: int = 1, padding: Pair = 0,
    name: str | None = None, eps: float = 1e-3, bias: bool = False,
) -> Any:  # fmt: skip
    """Convolution, batch norm, ReLU."""
    inner, norm = (f"{name}.conv", f"{name}.bn") if name else (None, None)
    x = net.conv(x, filters, size, stride, padding, bias=bias, name=inner)
    return net.norm(x, eps, name=norm).relu()


# 1x1; 3x3 reduce, 3x3; twice 3x3 reduce, twice 3x3; pooling and what is behind it. 0: not there,
# and where there is no 1x1 the 3x3 have stride 2 and the maxima pass through.
FIGURE_5 = (
    (64, 64, 64, 64, 96, "mean", 32),
    (64, 64, 96, 64, 96, "mean", 64),
    (0, 128, 160, 64, 96, "max", 0),
    (224, 64, 96, 96, 128, "mean", 128),
    (192, 96, 128, 96, 128, "mean", 128),
    (160, 128, 160, 128, 160, "mean", 128),
    (96, 128, 192, 160, 192, "mean", 128),
    (0, 128, 192, 192, 256, "max", 0),
    (352, 192, 320, 160, 224, "mean", 128),
    (352, 192, 320, 192, 224, "max", 128),
)


def inception_v2(net: Layers, x: Any) -> Any:
    """BN-Inception; biases and poolings rounded up, as in the published Caffe network."""
    conv = partial(unit, net, eps=1e-5, bias=True)
    x = net.max_pool(conv(x, 64, 7, 2, 3), 3, 2, ceil=True)
    x = net.max_pool(conv(conv(x, 64, 1), 192, 3, 1, 1), 3, 2, ceil=True)
    for one, three1, three2, double1, double2, pool, behind in FIGURE_5:
        stride = 1 if one else 2
        branches = [conv(x, one, 1)] if one else []
        branches.append(conv(conv(x, three1, 1), three2, 3, stride, 1))
        double = conv(conv(x, double1, 1), double2, 3, 1, 1)
        branches.append(conv(double, double2, 3, stride, 1))
        if pool == "mean":
            pooled = net.avg_pool(x, 3, 1, 1)
        else:
            pooled = net.max_pool(x, 3, stride, 1 if one else 0, ceil=True)
        branches.append(conv(pooled, behind, 1) if behind else pooled)
        x = net.concat(branches)
    return net.linear(x.mean((2, 3)), 1000)


def inception_v3(net: Layers, x: Any) -> Any:
    """torchvision's, without the side classifier."""
    conv = partial(unit, net)
    x = conv(x, 32, 3, 2, name="Conv2d_1a_3x3")
    x = conv(x, 32, 3, name="Conv2d_2a_3x3")
    x = net.max_pool(conv(x, 64, 3, 1, 1, name="Conv2d_2b_3x3"), 3, 2)
    x = conv(conv(x, 80, 1, name="Conv2d_3b_1x1"), 192, 3, name="Conv2d_4a_3x3")
    x = net.max_pool(x, 3, 2)
    for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = v3_35(net, x, pooled, name)
    double = conv(conv(x, 64, 1, name="Mixed_6a.branch3x3dbl_1"), 96, 3, 1, 1,
                  name="Mixed_6a.branch3x3dbl_2")  # fmt: skip
    x = net.concat(
        [
            conv(x, 384, 3, 2, name="Mixed_6a.branch3x3"),
            conv(double, 96, 3, 2, name="Mixed_6a.branch3x3dbl_3"),
            net.max_pool(x, 3, 2),
        ]
    )
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        x = v3_17(net, x, width, f"Mixed_{name}")
    three = conv(conv(x, 192, 1, name="Mixed_7a.branch3x3_1"), 320, 3, 2,
                 name="Mixed_7a.branch3x3_2")  # fmt: skip
    seven = conv(x, 192, 1, name="Mixed_7a.branch7x7x3_1")
    seven = conv(seven, 192, (1, 7), 1, (0, 3), name="Mixed_7a.branch7x7x3_2")
    seven = conv(seven, 192, (7, 1), 1, (3, 0), name="Mixed_7a.branch7x7x3_3")
    seven = conv(seven, 192, 3, 2, name="Mixed_7a.branch7x7x3_4")
    x = net.concat([three, seven, net.max_pool(x, 3, 2)])
    for name in ("Mixed_7b", "Mixed_7c"):
        x = v3_8(net, x, name)
    return net.linear(x.mean((2, 3)), 1000, name="fc")


def v3_35(net: Layers, x: Any, pooled: int, name: str) -> Any:
    """torchvision's InceptionA."""
    conv = partial(unit, net)
    five = conv(x, 48, 1, name=f"{name}.branch5x5_1")
    double = conv(x, 64, 1, name=f"{name}.branch3x3dbl_1")
    double = conv(double, 96, 3, 1, 1, name=f"{name}.branch3x3dbl_2")
    return net.concat(
        [
            conv(x, 64, 1, name=f"{name}.branch1x1"),
            conv(five, 64, 5, 1, 2, name=f"{name}.branch5x5_2"),
            conv(double, 96, 3, 1, 1, name=f"{name}.branch3x3dbl_3"),
            conv(net.avg_pool(x, 3, 1, 1), pooled, 1, name=f"{name}.branch_pool"),
        ]
    )


def v3_17(net: Layers, x: Any, width: int, name: str) -> Any:
    """torchvision's InceptionC: 7x7 as a row and a column."""
    conv = partial(unit, net)
    row: dict[str, Any] = {"size": (1, 7), "padding": (0, 3)}
    column: dict[str, Any] = {"size": (7, 1), "padding": (3, 0)}
    seven = conv(x, width, 1, name=f"{name}.branch7x7_1")
    seven = conv(seven, width, **row, name=f"{name}.branch7x7_2")
    seven = conv(seven, 192, **column, name=f"{name}.branch7x7_3")
    double = conv(x, width, 1, name=f"{name}.branch7x7dbl_1")
    for part, shape in ((2, column), (3, row), (4, column), (5, row)):
        filters = 192 if part == 5 else width
        double = conv(double, filters, **shape, name=f"{name}.branch7x7dbl_{part}")
    one = conv(x, 192, 1, name=f"{name}.branch1x1")
    pooled = conv(net.avg_pool(x, 3, 1, 1), 192, 1, name=f"{name}.branch_pool")
    return net.concat([one, seven, double, pooled])


def v3_8(net: Layers, x: Any, name: str) -> Any:
    """torchvision's InceptionE: branches that branch again."""
    conv = partial(unit, net)

    def cross(x: Any, stem: str) -> list[Any]:
        row = conv(x, 384, (1, 3), 1, (0, 1), name=f"{name}.{stem}a")
        return [row, conv(x, 384, (3, 1), 1, (1, 0), name=f"{name}.{stem}b")]

    double = conv(x, 448, 1, name=f"{name}.branch3x3dbl_1")
    double = conv(double, 384, 3, 1, 1, name=f"{name}.branch3x3dbl_2")
    return net.concat(
        [
            conv(x, 320, 1, name=f"{name}.branch1x1"),
            *cross(conv(x, 384, 1, name=f"{name}.branch3x3_1"), "branch3x3_2"),
            *cross(double, "branch3x3dbl_3"),
            conv(net.avg_pool(x, 3, 1, 1), 192, 1, name=f"{name}.branch_pool"),
        ]
    )


def inception_v4(net: Layers, x: Any) -> Any:
    """The stem of figure 3; 4 blocks A, 7 B, 3 C with reductions between them."""
    conv = partial(unit, net)
    x = conv(conv(conv(x, 32, 3, 2), 32, 3), 64, 3, 1, 1)
    x = net.concat([net.max_pool(x, 3, 2), conv(x, 96, 3, 2)])
    left = conv(conv(x, 64, 1), 96, 3)
    right = across(conv, across(conv, conv(x, 64, 1), 64, (1, 7)), 64, (7, 1))
    x = net.concat([left, conv(right, 96, 3)])
    x = net.concat([conv(x, 192, 3, 2), net.max_pool(x, 3, 2)])
    for _ in range(4):
        x = v4_35(net, x, conv)
    reduced = conv(conv(conv(x, 192, 1), 224, 3, 1, 1), 256, 3, 2)
    x = net.concat([conv(x, 384, 3, 2), reduced, net.max_pool(x, 3, 2)])
    for _ in range(7):
        x = v4_17(net, x, conv)
    three = conv(conv(x, 192, 1), 192, 3, 2)
    seven = across(conv, across(conv, conv(x, 256, 1), 256, (1, 7)), 320, (7, 1))
    x = net.concat([three, conv(seven, 320, 3, 2), net.max_pool(x, 3, 2)])
    for _ in range(3):
        x = v4_8(net, x, conv)
    return net.linear(x.mean((2, 3)), 1000)


def across(conv: Unit, x: Any, filters: int, size: tuple[int, int]) -> Any:
    """A row or a column of a filter, that keeps the sides."""
    return conv(x, filters, size, 1, (size[0] // 2, size[1] // 2))


def v4_35(net: Layers, x: Any, conv: Unit) -> Any:
    """Figure 4."""
    one, three = conv(x, 96, 1), conv(conv(x, 64, 1), 96, 3, 1, 1)
    double = conv(conv(conv(x, 64, 1), 96, 3, 1, 1), 96, 3, 1, 1)
    pooled = conv(net.avg_pool(x, 3, 1, 1, count_padding=False), 96, 1)
    return net.concat([one, three, double, pooled])


def v4_17(net: Layers, x: Any, conv: Unit) -> Any:
    """Figure 5."""
    seven = across(conv, across(conv, conv(x, 192, 1), 224, (1, 7)), 256, (7, 1))
    double = conv(x, 192, 1)
    for filters, size in ((192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))):
        double = across(conv, double, filters, size)
    pooled = conv(net.avg_pool(x, 3, 1, 1, count_padding=False), 128, 1)
    return net.concat([conv(x, 384, 1), seven, double, pooled])


def v4_8(net: Layers, x: Any, conv: Unit) -> Any:
    """Figure 6."""

    def cross(x: Any) -> list[Any]:
        return [across(conv, x, 256, (1, 3)), across(conv, x, 256, (3, 1))]

    one, three = conv(x, 256, 1), cross(conv(x, 384, 1))
    double = across(conv, across(conv, conv(x, 384, 1), 448, (3, 1)), 512, (1, 3))
    pooled = conv(net.avg_pool(x, 3, 1, 1, count_padding=False), 256, 1)
    return net.concat([one, *three, *cross(double), pooled])
