"""Which definition each network is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.definitions import classic, googlenet, inception, resnet, scaled, segmentation, vgg
from bench.definitions.keras_applications import KerasNetwork
from bench.definitions.layers import Layers

TORCHVISION = "as torchvision"


@dataclass(frozen=True)
class Definition:
    """A network of convkit and what it must compute.

    Attributes
    ----------
    network : str
        Its name in `convkit.models`.
    source : str
        What the definition follows.
    make : function
        Gives an object like `Layers`, to be called with images.
    size : int
        Side of the images; also told to convkit as `input_size`, unless it is the network's own.
    channels : int
    keywords : dict
        What else convkit's network is built with.
    own : bool
        Whether the size is the network's own.
    """

    network: str
    source: str
    make: Callable[[], Any]
    size: int
    channels: int = 3
    keywords: dict[str, Any] = field(default_factory=dict)
    own: bool = False

    @property
    def label(self) -> str:
        """The network's name and keywords."""
        return " ".join([self.network, *(f"{k}={v}" for k, v in self.keywords.items())])


def written(network: str, source: str, function: Any, size: int, **settings: Any) -> Definition:
    """A definition written in this folder."""
    return Definition(network, source, partial(Layers, function), size, **settings)


def definitions() -> list[Definition]:
    """All of them, in the order in which they are run."""
    return [
        *small(), *plain_stacks(), *residual(), *scaled_networks(), *inceptions(), *of_keras(),
        *dense_prediction(),
    ]  # fmt: skip


def small() -> list[Definition]:
    """Networks small enough for their own size."""
    return [
        written("lenet5", "LeCun et al. 1998", classic.lenet5, 32, channels=1, own=True),
        written(
            "lenet5_digits",
            "bench/train_digits.py",
            classic.lenet5_digits,
            32,
            channels=1,
            own=True,
        ),
        written("lenet_caffe", "Caffe", classic.lenet_caffe, 28, channels=1, own=True),
        written("keras_digits", "Chollet's book", classic.keras_digits, 28, channels=1, own=True),
        written("keras_cats_dogs", "Chollet's book", classic.keras_cats_dogs, 150, own=True),
    ]


def plain_stacks() -> list[Definition]:
    """Layer behind layer, and branches without batch norm."""
    rows = [
        written("alexnet", TORCHVISION, classic.alexnet, 95),
        written("alexnet_paper", "Krizhevsky et al. 2012", classic.alexnet_paper, 99),
        written("zfnet", "Zeiler and Fergus 2014", classic.zfnet, 100),
    ]
    for name, column in (("11", "A"), ("13", "B"), ("16", "D"), ("19", "E")):
        rows.append(written(f"vgg{name}", TORCHVISION, partial(vgg.vgg, column=column), 64))
    paper = "Simonyan and Zisserman 2015"
    normed = partial(vgg.vgg, column="A", response_norm=True)
    fires = googlenet.squeezenet
    older = partial(fires, pools=(2, 6, 11), stem=(96, 7))
    newer = partial(fires, pools=(2, 5, 8), stem=(64, 3))
    sides = partial(googlenet.googlenet_paper, aux=True)
    szegedy = "Szegedy et al. 2015"
    return [
        *rows,
        written("vgg11_lrn", paper, normed, 64),
        written("vgg16_c", paper, partial(vgg.vgg, column="C"), 64),
        written("squeezenet1_0", TORCHVISION, older, 64),
        written("squeezenet1_1", TORCHVISION, newer, 64),
        written("googlenet", TORCHVISION, googlenet.googlenet, 64),
        written("googlenet_paper", szegedy, googlenet.googlenet_paper, 64),
        written("googlenet_paper", szegedy, sides, 224, keywords={"aux": True}, own=True),
    ]


def residual() -> list[Definition]:
    """Shortcuts by addition."""
    rows = []
    for depth in (18, 34, 50, 101, 152):
        rows.append(written(f"resnet{depth}", TORCHVISION, partial(resnet.resnet, depth=depth), 64))
    for depth in (18, 34):
        without = partial(resnet.resnet, depth=depth, shortcut=False)
        rows.append(written(f"plain{depth}", "He et al. 2016", without, 64))
    for depth, groups, width in ((50, 32, 4), (101, 32, 8)):
        grouped = partial(resnet.resnet, depth=depth, groups=groups, group_width=width)
        rows.append(written(f"resnext{depth}_{groups}x{width}d", TORCHVISION, grouped, 64))
    for depth in (20, 32, 44, 56, 110):
        padded = partial(resnet.resnet_cifar, depth=depth)
        rows.append(written(f"resnet{depth}_cifar10", "He et al. 2016, 4.2", padded, 32, own=True))
    for depth in (20, 56):
        fitted = partial(resnet.resnet_cifar_projection, depth=depth)
        option = {"shortcut": "projection"}
        name = f"resnet{depth}_cifar10"
        rows.append(written(name, "He et al. 2016", fitted, 32, keywords=option, own=True))
    return rows


def scaled_networks() -> list[Definition]:
    """Families of one rule and several sizes."""
    rows = []
    for name, blocks in (
        ("121", (6, 12, 24, 16)),
        ("169", (6, 12, 32, 32)),
        ("201", (6, 12, 48, 32)),
    ):
        dense = partial(scaled.densenet, blocks=blocks)
        rows.append(written(f"densenet{name}", TORCHVISION, dense, 64))
    dense = partial(scaled.densenet, blocks=(6, 12, 36, 24), growth=48, first=96)
    rows.append(written("densenet161", TORCHVISION, dense, 64))
    for alpha in (1.0, 0.25, 0.5, 0.75):
        net = partial(scaled.mobilenet_v1, alpha=alpha)
        rows.append(written("mobilenet_v1", "as Keras", net, 64, keywords=_alpha(alpha)))
    for alpha in (1.0, 0.35, 0.5, 1.4):
        net = partial(scaled.mobilenet_v2, alpha=alpha)
        rows.append(written("mobilenet_v2", TORCHVISION, net, 64, keywords=_alpha(alpha)))
    for number, (width, depth) in enumerate(WIDTHS_AND_DEPTHS):
        eps = 1e-5 if number < 5 else 1e-3
        net = partial(scaled.efficientnet, width=width, depth=depth, eps=eps)
        rows.append(written(f"efficientnet_b{number}", TORCHVISION, net, 64))
    return rows


def inceptions() -> list[Definition]:
    """Branches and concatenations."""
    return [
        written("inception_v2", "Ioffe and Szegedy 2015", inception.inception_v2, 64),
        written("inception_v3", TORCHVISION, inception.inception_v3, 75),
        written("inception_v4", "Szegedy et al. 2016", inception.inception_v4, 75),
    ]


def of_keras() -> list[Definition]:
    """Networks that Keras defines."""

    def row(network: str, function: str, size: int) -> Definition:
        make = partial(KerasNetwork, function, size)
        return Definition(network, f"keras.applications.{function}", make, size)

    rows = [row(f"resnet{depth}_v2", f"ResNet{depth}V2", 64) for depth in (50, 101, 152)]
    return [
        *rows,
        row("xception", "Xception", 71),
        row("inception_resnet_v2", "InceptionResNetV2", 75),
        row("nasnet_mobile", "NASNetMobile", 64),
        row("nasnet_large", "NASNetLarge", 64),
    ]


def dense_prediction() -> list[Definition]:
    """A class for each pixel."""
    return [
        written("segnet", "Badrinarayanan et al. 2017", segmentation.segnet, 64),
        written("fcn8s", "Long et al. 2015", segmentation.fcn8s, 64),
        written("vgg16_dilated", "Yu and Koltun 2016", vgg.vgg_dilated, 192),
        written("resnet50_fcn_dilated", TORCHVISION, segmentation.resnet50_fcn_dilated, 64),
    ]


# EfficientNet-B0 to B7, as published
WIDTHS_AND_DEPTHS = (
    (1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1),
)  # fmt: skip


def _alpha(alpha: float) -> dict[str, Any]:
    return {} if alpha == 1 else {"alpha": alpha}
