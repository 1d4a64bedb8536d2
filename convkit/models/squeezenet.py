"""SqueezeNet (Iandola et al. 2016, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters).

A fire module squeezes the image to few channels by 1x1 filters and expands it again by 1x1 and 3x3
filters side by side. The classifier is a 1x1 convolution, so the network takes any image that is
large enough. Weight names are torchvision's.

Both take `input_size` (a number or a pair, 224 unless given; ValueError where it is too small) and
`include_top`: without the top, the 512 maps of the last fire module.
"""

from __future__ import annotations

from collections.abc import Sequence

from convkit.graph import Builder, Model, Value
from convkit.problem import PairLike, pair

#: Filters of a fire module: squeezed, and of each of the two expanding convolutions.
Fire = tuple[int, int]
#: The fire modules between poolings.
STAGES_1_0: tuple[tuple[Fire, ...], ...] = (
    ((16, 64), (16, 64), (32, 128)),
    ((32, 128), (48, 192), (48, 192), (64, 256)),
    ((64, 256),),
)
STAGES_1_1: tuple[tuple[Fire, ...], ...] = (
    ((16, 64), (16, 64)),
    ((32, 128), (32, 128)),
    ((48, 192), (48, 192), (64, 256), (64, 256)),
)


def squeezenet1_0(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """The paper's, on 3x224x224: 1,248,424 parameters. Logits."""
    size = pair("input_size", 224 if input_size is None else input_size, least=29)
    b = Builder((3, *size), name="squeezenet1_0")
    x = b.conv2d(b.input, 96, 7, stride=2, activation="relu", name="features.0")
    return _squeezenet(b, x, STAGES_1_0, num_classes, include_top, seed)


def squeezenet1_1(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """Its authors' second one, less than half the work by earlier pooling: 1,235,496 parameters.

    On 3x224x224. Logits.
    """
    size = pair("input_size", 224 if input_size is None else input_size, least=25)
    b = Builder((3, *size), name="squeezenet1_1")
    x = b.conv2d(b.input, 64, 3, stride=2, activation="relu", name="features.0")
    return _squeezenet(b, x, STAGES_1_1, num_classes, include_top, seed)


def _squeezenet(
    b: Builder,
    x: Value,
    stages: Sequence[Sequence[Fire]],
    num_classes: int,
    include_top: bool,
    seed: int,
) -> Model:
    """A pooling and fire modules, three times; the first ReLU takes the number 1."""
    number = 2
    for stage in stages:
        x = b.max_pool2d(x, 3, stride=2, ceil_mode=True, name=f"features.{number}")
        for i, (squeezed, expanded) in enumerate(stage, number + 1):
            x = _fire(b, x, squeezed, expanded, f"features.{i}")
        number += 1 + len(stage)
    if not include_top:
        return b.model(x, seed=seed)
    x = b.conv2d(b.dropout(x), num_classes, 1, activation="relu", name="classifier.1")
    x = b.global_avg_pool2d(x, name="classifier.3")
    return b.model(b.flatten(x, name="flatten"), seed=seed)


def _fire(b: Builder, x: Value, squeezed: int, expanded: int, name: str) -> Value:
    """1x1 to few channels; from those 1x1 and 3x3 side by side."""
    x = b.conv2d(x, squeezed, 1, activation="relu", name=f"{name}.squeeze")
    small = b.conv2d(x, expanded, 1, activation="relu", name=f"{name}.expand1x1")
    large = b.conv2d(x, expanded, 3, padding=1, activation="relu", name=f"{name}.expand3x3")
    return b.concat((small, large), name=name)
