"""The networks that come with convkit, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convkit.graph import Model
from convkit.models.alexnet import alexnet, alexnet_paper
from convkit.models.googlenet import googlenet, googlenet_paper
from convkit.models.keras_nets import keras_cats_dogs, keras_digits
from convkit.models.lenet import lenet5, lenet5_digits, lenet_caffe
from convkit.models.mobilenet import mobilenet_v1, mobilenet_v2
from convkit.models.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from convkit.models.resnet_cifar import resnet20_cifar10, resnet32_cifar10
from convkit.models.squeezenet import squeezenet1_0, squeezenet1_1
from convkit.models.vgg import vgg11, vgg11_lrn, vgg13, vgg16, vgg16_c, vgg19
from convkit.models.zfnet import zfnet
from convkit.problem import one_of

#: Name -> function that builds it.
MODELS: dict[str, Callable[..., Model]] = {
    build.__name__: build
    for build in (
        lenet5_digits, lenet_caffe, lenet5, keras_digits, keras_cats_dogs,
        alexnet, alexnet_paper, zfnet,
        vgg11, vgg11_lrn, vgg13, vgg16, vgg16_c, vgg19,
        googlenet, googlenet_paper, squeezenet1_0, squeezenet1_1,
        resnet18, resnet34, resnet50, resnet101, resnet152,
        resnet20_cifar10, resnet32_cifar10,
        mobilenet_v1, mobilenet_v2,
    )
}  # fmt: skip


def names() -> tuple[str, ...]:
    """The names that `build` takes."""
    return tuple(MODELS)


def build(name: str, **keywords: Any) -> Model:
    """Build a network with seeded random weights, drawn on first use.

    Parameters
    ----------
    name : str
        One of `convkit.models.names()`.
    **keywords
        num_classes : int
            Outputs of the last layer: 1000, or 10 of the small networks, unless given.
        seed : int
            Of the random weights, 0 unless given.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        There is no network of this name; the message lists them.

    Examples
    --------
    >>> import convkit
    >>> convkit.models.build("lenet5_digits")
    <convkit model lenet5_digits, 61,706 parameters>
    """
    return MODELS[one_of("name", name, names())](**keywords)
