"""The VGG networks (Simonyan and Zisserman 2015, Very deep convolutional networks for large-scale
image recognition, table 1): 3x3 convolutions, pooling by 2, three linear layers. Weight names are
torchvision's."""

from __future__ import annotations

from collections.abc import Sequence

from convkit.graph import Builder, Model

#: Filters of the convolutions of each of the five stages, which end in a pooling.
VGG11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
VGG13 = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))
VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


def vgg11(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """Configuration A: 132,863,336 parameters. Logits."""
    return _vgg("vgg11", VGG11, num_classes, seed)


def vgg13(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """Configuration B: 133,047,848 parameters. Logits."""
    return _vgg("vgg13", VGG13, num_classes, seed)


def vgg16(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """Configuration D: 138,357,544 parameters. Logits."""
    return _vgg("vgg16", VGG16, num_classes, seed)


def vgg19(*, num_classes: int = 1000, seed: int = 0) -> Model:
    """Configuration E: 143,667,240 parameters. Logits."""
    return _vgg("vgg19", VGG19, num_classes, seed)


def _vgg(name: str, stages: Sequence[Sequence[int]], num_classes: int, seed: int) -> Model:
    """torchvision numbers the layers of `features`: a convolution, its ReLU, a pooling take one
    number each."""
    b = Builder((3, 224, 224), name=name)
    x, number = b.input, 0
    for stage in stages:
        for filters in stage:
            x = b.conv2d(x, filters, 3, padding=1, activation="relu", name=f"features.{number}")
            number += 2
        x = b.max_pool2d(x, 2, name=f"features.{number}")
        number += 1
    x = b.flatten(x, name="flatten")
    x = b.linear(x, 4096, activation="relu", name="classifier.0")
    x = b.dropout(x)
    x = b.linear(x, 4096, activation="relu", name="classifier.3")
    x = b.dropout(x)
    return b.model(b.linear(x, num_classes, name="classifier.6"), seed=seed)
