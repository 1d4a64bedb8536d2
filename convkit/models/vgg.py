"""The VGG networks (Simonyan and Zisserman 2015, Very deep convolutional networks for large-scale
image recognition, table 1): 3x3 convolutions, pooling by 2, three linear layers. Weight names are
torchvision's; `ALIASES` has those of Keras.

Each takes `input_size` (a number or a pair of at least 32, 224 unless given; ValueError below) and
`include_top`: without the top, the 512 maps that the last pooling makes. The first linear layer
follows the input size.
"""

from __future__ import annotations

from collections.abc import Sequence

from convkit.graph import Builder, Model
from convkit.models.alexnet import response_norm
from convkit.problem import PairLike, pair

#: Filters of the convolutions of each of the five stages, which end in a pooling.
VGG11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
VGG13 = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))
VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


def vgg11(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """Configuration A: 132,863,336 parameters. Logits."""
    return _vgg("vgg11", VGG11, num_classes, input_size, include_top, seed)


def vgg11_lrn(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """Configuration A-LRN, A with AlexNet's normalisation once: 132,863,336 parameters. Logits."""
    return _vgg("vgg11_lrn", VGG11, num_classes, input_size, include_top, seed, normalise=True)


def vgg13(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """Configuration B: 133,047,848 parameters. Logits."""
    return _vgg("vgg13", VGG13, num_classes, input_size, include_top, seed)


def vgg16(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """Configuration D: 138,357,544 parameters. Logits."""
    return _vgg("vgg16", VGG16, num_classes, input_size, include_top, seed)


def vgg16_c(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """Configuration C, the third filters of a stage 1x1: 133,638,952 parameters. Logits."""
    return _vgg("vgg16_c", VGG16, num_classes, input_size, include_top, seed, third_kernel=1)


def vgg19(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """Configuration E: 143,667,240 parameters. Logits."""
    return _vgg("vgg19", VGG19, num_classes, input_size, include_top, seed)


def _vgg(
    name: str,
    stages: Sequence[Sequence[int]],
    num_classes: int,
    input_size: PairLike | None,
    include_top: bool,
    seed: int,
    *,
    third_kernel: int = 3,
    normalise: bool = False,
) -> Model:
    """torchvision numbers the layers of `features`: a convolution, its ReLU, a pooling take one
    number each. The normalisation takes none, so that A-LRN has the names of A."""
    size = pair("input_size", 224 if input_size is None else input_size, least=32)
    b = Builder((3, *size), name=name)
    x, number = b.input, 0
    for stage in stages:
        for i, filters in enumerate(stage):
            kernel = third_kernel if i == 2 else 3
            x = b.conv2d(
                x, filters, kernel, padding=kernel // 2, activation="relu",
                name=f"features.{number}",
            )  # fmt: skip
            if normalise and number == 0:
                x = response_norm(b, x, "features.lrn")
            number += 2
        x = b.max_pool2d(x, 2, name=f"features.{number}")
        number += 1
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(x, name="flatten")
    x = b.linear(x, 4096, activation="relu", name="classifier.0")
    x = b.dropout(x)
    x = b.linear(x, 4096, activation="relu", name="classifier.3")
    x = b.dropout(x)
    return b.model(b.linear(x, num_classes, name="classifier.6"), seed=seed)


def _keras_names(stages: Sequence[Sequence[int]]) -> dict[str, str]:
    """Keras' name of each layer -> the name here."""
    names, number = {}, 0
    for block, stage in enumerate(stages, 1):
        for conv in range(1, len(stage) + 1):
            names[f"block{block}_conv{conv}"] = f"features.{number}"
            number += 2
        names[f"block{block}_pool"] = f"features.{number}"
        number += 1
    return {**names, "fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}


#: For each network, Keras' name of each layer (`block5_conv1`, `fc1`, ...) -> the name here.
#: Keras has the depths 16 and 19; the others are named by the same rule.
ALIASES = {
    name: _keras_names(stages)
    for name, stages in (
        ("vgg11", VGG11), ("vgg11_lrn", VGG11), ("vgg13", VGG13),
        ("vgg16", VGG16), ("vgg16_c", VGG16), ("vgg19", VGG19),
    )
}  # fmt: skip
