"""The networks that come with convkit, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from convkit.graph import Model
from convkit.models.alexnet import alexnet, alexnet_paper
from convkit.models.densenet import densenet121, densenet161, densenet169, densenet201
from convkit.models.efficientnet import (
    efficientnet as efficientnet,
)
from convkit.models.efficientnet import (
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
)
from convkit.models.googlenet import googlenet, googlenet_paper
from convkit.models.inception import inception_v3
from convkit.models.inception_resnet import inception_resnet_v2
from convkit.models.inception_v2 import inception_v2
from convkit.models.inception_v4 import inception_v4
from convkit.models.keras_nets import keras_cats_dogs, keras_digits
from convkit.models.lenet import lenet5, lenet5_digits, lenet_caffe
from convkit.models.mobilenet import mobilenet_v1, mobilenet_v2
from convkit.models.nasnet import nasnet_large, nasnet_mobile
from convkit.models.resnet import (
    plain18,
    plain34,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)
from convkit.models.resnet_cifar import (
    resnet20_cifar10,
    resnet32_cifar10,
    resnet44_cifar10,
    resnet56_cifar10,
    resnet110_cifar10,
)
from convkit.models.resnet_v2 import resnet50_v2, resnet101_v2, resnet152_v2
from convkit.models.resnext import resnext50_32x4d, resnext101_32x8d
from convkit.models.segmentation import fcn8s, resnet50_fcn_dilated, segnet, vgg16_dilated
from convkit.models.squeezenet import squeezenet1_0, squeezenet1_1
from convkit.models.vgg import vgg11, vgg11_lrn, vgg13, vgg16, vgg16_c, vgg19
from convkit.models.xception import xception
from convkit.models.zfnet import zfnet
from convkit.problem import integer, one_of

#: Name -> function that builds it.
MODELS: dict[str, Callable[..., Model]] = {
    build.__name__: build
    for build in (
        lenet5_digits, lenet_caffe, lenet5, keras_digits, keras_cats_dogs,
        alexnet, alexnet_paper, zfnet,
        vgg11, vgg11_lrn, vgg13, vgg16, vgg16_c, vgg19,
        googlenet, googlenet_paper, squeezenet1_0, squeezenet1_1,
        resnet18, resnet34, resnet50, resnet101, resnet152,
        plain18, plain34,
        resnet50_v2, resnet101_v2, resnet152_v2,
        resnet20_cifar10, resnet32_cifar10, resnet44_cifar10, resnet56_cifar10, resnet110_cifar10,
        resnext50_32x4d, resnext101_32x8d,
        densenet121, densenet161, densenet169, densenet201,
        mobilenet_v1, mobilenet_v2,
        inception_v2, inception_v3, inception_v4, inception_resnet_v2, xception,
        nasnet_mobile, nasnet_large,
        efficientnet_b0, efficientnet_b1, efficientnet_b2, efficientnet_b3,
        efficientnet_b4, efficientnet_b5, efficientnet_b6, efficientnet_b7,
        segnet, fcn8s, vgg16_dilated, resnet50_fcn_dilated,
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
            Outputs of the last layer: 1000, 10 of the small networks and 21 of those that give
            every pixel a class, unless given.
        input_size : int or (h, w)
            Of the images; the network's own unless given.
        include_top : bool
            False leaves out the pooling and the layers at the end that make classes of features.
        seed : int
            Of the random weights, 0 unless given.
        alpha, shortcut, aux, ...
            What a family takes besides; the functions in `convkit.models` say it.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        There is no network of this name, and the message lists them; or it takes no images of
        this size.
    TypeError
        The network takes no such keyword, or the value is of another type.

    Examples
    --------
    >>> import convkit
    >>> convkit.models.build("lenet5_digits")
    <convkit model lenet5_digits, 61,706 parameters>
    """
    function = MODELS[one_of("name", name, names())]
    known = inspect.signature(function).parameters
    unknown = [keyword for keyword in keywords if keyword not in known]
    if unknown:
        raise TypeError(f"{name} takes no {', '.join(unknown)}: expected {', '.join(known)}")
    if "num_classes" in keywords:  # before a layer complains of a size that the user never wrote
        integer("num_classes", keywords["num_classes"], least=1)
    for keyword in ("include_top", "aux"):
        if not isinstance(keywords.get(keyword, True), bool):
            raise TypeError(f"{keyword}={keywords[keyword]!r} must be True or False")
    return function(**keywords)
