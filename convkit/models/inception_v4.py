"""Inception-v4 (Szegedy et al. 2016, Inception-v4, Inception-ResNet and the impact of residual
connections on learning, figures 3 to 9).

Weight names are those of the PyTorch weights that people have (timm's and pretrainedmodels'
`inceptionv4`): features.0 to features.21, last_linear. Mean pools do not count their padding.
"""

from __future__ import annotations

from collections.abc import Sequence

from convkit.graph import Builder, Model, Value
from convkit.models.inception import unit
from convkit.problem import PairLike, pair

#: A convolution of a branch: filters, kernel, stride; padded to keep the size unless it strides.
Layer = tuple[int, PairLike, int]

ROW, COLUMN = (1, 7), (7, 1)

#: Figures 4, 5, 6: branches of the modules at 35x35, 17x17, 8x8 that are plain chains.
MODULE_35: tuple[tuple[Layer, ...], ...] = (
    ((96, 1, 1),),
    ((64, 1, 1), (96, 3, 1)),
    ((64, 1, 1), (96, 3, 1), (96, 3, 1)),
)
MODULE_17: tuple[tuple[Layer, ...], ...] = (
    ((384, 1, 1),),
    ((192, 1, 1), (224, ROW, 1), (256, COLUMN, 1)),
    ((192, 1, 1), (192, COLUMN, 1), (224, ROW, 1), (224, COLUMN, 1), (256, ROW, 1)),
)
#: Figures 7 and 8: branches that halve the image, besides a max pool.
REDUCTION_17: tuple[tuple[Layer, ...], ...] = (
    ((384, 3, 2),),
    ((192, 1, 1), (224, 3, 1), (256, 3, 2)),
)
REDUCTION_8: tuple[tuple[Layer, ...], ...] = (
    ((192, 1, 1), (192, 3, 2)),
    ((256, 1, 1), (256, ROW, 1), (320, COLUMN, 1), (320, 3, 2)),
)
#: Channels behind the mean pool of each module.
POOLED_35, POOLED_17, POOLED_8 = 96, 128, 256

#: Rows and columns that leave one pixel at the end.
LEAST = 75


def inception_v4(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """42,679,816 parameters on 3x299x299. Logits. `input_size` is at least 75."""
    size = pair("input_size", 299 if input_size is None else input_size, least=LEAST)
    b = Builder((3, *size), name="inception_v4")
    x = _stem(b, b.input)
    for number in range(6, 10):
        x = _module(b, x, MODULE_35, POOLED_35, f"features.{number}")
    x = _reduction(b, x, REDUCTION_17, "features.10")
    for number in range(11, 18):
        x = _module(b, x, MODULE_17, POOLED_17, f"features.{number}")
    x = _reduction(b, x, REDUCTION_8, "features.18")
    for number in range(19, 22):
        x = _module_8(b, x, f"features.{number}")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="global_pool"), name="flatten")
    return b.model(b.linear(b.dropout(x, 0.2), num_classes, name="last_linear"), seed=seed)


def _stem(b: Builder, x: Value) -> Value:
    """Figure 3: 35x35x384 of 299x299x3; it forks three times."""
    x = unit(b, x, 32, 3, "features.0", stride=2)
    x = unit(b, x, 32, 3, "features.1")
    x = unit(b, x, 64, 3, "features.2", padding=1)
    pooled = b.max_pool2d(x, 3, stride=2, name="features.3.maxpool")
    x = b.concat([pooled, unit(b, x, 96, 3, "features.3.conv", stride=2)], name="features.3")
    short = unit(b, x, 64, 1, "features.4.branch0.0")
    short = unit(b, short, 96, 3, "features.4.branch0.1")
    long = unit(b, x, 64, 1, "features.4.branch1.0")
    long = unit(b, long, 64, ROW, "features.4.branch1.1", padding="same")
    long = unit(b, long, 64, COLUMN, "features.4.branch1.2", padding="same")
    long = unit(b, long, 96, 3, "features.4.branch1.3")
    x = b.concat([short, long], name="features.4")
    pooled = b.max_pool2d(x, 3, stride=2, name="features.5.maxpool")
    return b.concat([unit(b, x, 192, 3, "features.5.conv", stride=2), pooled], name="features.5")


def _branch(b: Builder, x: Value, layers: Sequence[Layer], name: str) -> Value:
    """Convolutions one after the other; numbered where there are several."""
    for number, (filters, kernel, stride) in enumerate(layers):
        layer = name if len(layers) == 1 else f"{name}.{number}"
        padding = "same" if stride == 1 else 0
        x = unit(b, x, filters, kernel, layer, stride=stride, padding=padding)
    return x


def _pooled(b: Builder, x: Value, filters: int, name: str) -> Value:
    x = b.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False, name=f"{name}.branch3.0")
    return unit(b, x, filters, 1, f"{name}.branch3.1")


def _module(
    b: Builder, x: Value, branches: Sequence[Sequence[Layer]], pooled: int, name: str
) -> Value:
    made = [_branch(b, x, each, f"{name}.branch{i}") for i, each in enumerate(branches)]
    return b.concat([*made, _pooled(b, x, pooled, name)], name=name)


def _reduction(b: Builder, x: Value, branches: Sequence[Sequence[Layer]], name: str) -> Value:
    made = [_branch(b, x, each, f"{name}.branch{i}") for i, each in enumerate(branches)]
    pooled = b.max_pool2d(x, 3, stride=2, name=f"{name}.branch{len(made)}")
    return b.concat([*made, pooled], name=name)


def _module_8(b: Builder, x: Value, name: str) -> Value:
    """Figure 6: two branches end in a fork of a row and a column."""
    single = unit(b, x, 256, 1, f"{name}.branch0")
    short = unit(b, x, 384, 1, f"{name}.branch1_0")
    long = unit(b, x, 384, 1, f"{name}.branch2_0")
    long = unit(b, long, 448, (3, 1), f"{name}.branch2_1", padding="same")
    long = unit(b, long, 512, (1, 3), f"{name}.branch2_2", padding="same")
    forks = [
        unit(b, x, 256, kernel, f"{name}.{layer}", padding="same")
        for x, kernel, layer in (
            (short, (1, 3), "branch1_1a"),
            (short, (3, 1), "branch1_1b"),
            (long, (1, 3), "branch2_3a"),
            (long, (3, 1), "branch2_3b"),
        )
    ]
    return b.concat([single, *forks, _pooled(b, x, POOLED_8, name)], name=name)
