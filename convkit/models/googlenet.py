"""GoogLeNet (Szegedy et al. 2015, Going deeper with convolutions, table 1).

An inception module looks at the image through 1x1, 3x3 and 5x5 filters and a pooling side by side;
1x1 convolutions before the large filters make them affordable.

`googlenet_paper` is the paper's. `googlenet` is torchvision's, with its weight names: batch norm
after each convolution, and 3x3 filters where the paper has 5x5. The weights that torchvision
offers were trained on pixels from -1 to 1; torchvision's module, when it loads them, converts its
usual normalisation to that inside.

Both take `input_size` (a number or a pair, 224 unless given; ValueError where it is too small) and
`include_top`: without the top, the 1,024 maps of the last module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from convkit.graph import Builder, Model, Value
from convkit.models.alexnet import response_norm
from convkit.problem import PairLike, pair


class Inception(NamedTuple):
    """Filters of one module: of each branch; `reduce` ones are 1x1 before the larger ones."""

    single: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pool: int


#: The modules between poolings, with their names in the paper.
STAGES = (
    {"3a": Inception(64, 96, 128, 16, 32, 32), "3b": Inception(128, 128, 192, 32, 96, 64)},
    {
        "4a": Inception(192, 96, 208, 16, 48, 64),
        "4b": Inception(160, 112, 224, 24, 64, 64),
        "4c": Inception(128, 128, 256, 24, 64, 64),
        "4d": Inception(112, 144, 288, 32, 64, 64),
        "4e": Inception(256, 160, 320, 32, 128, 128),
    },
    {"5a": Inception(256, 160, 320, 32, 128, 128), "5b": Inception(384, 192, 384, 48, 128, 128)},
)

#: Adds a convolution that keeps the size, with all that follows it: (x, filters, kernel, name).
Convolution = Callable[[Value, int, int, str], Value]


def googlenet(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """torchvision's, on 3x224x224: 6,624,904 parameters. Logits."""
    size = pair("input_size", 224 if input_size is None else input_size, least=31)
    b = Builder((3, *size), name="googlenet")

    def conv(x: Value, filters: int, kernel: int, name: str, stride: int = 1) -> Value:
        x = b.conv2d(
            x, filters, kernel, stride=stride, padding=kernel // 2, bias=False, name=f"{name}.conv"
        )
        return b.batch_norm(x, eps=1e-3, activation="relu", name=f"{name}.bn")

    x = conv(b.input, 64, 7, "conv1", stride=2)
    x = b.max_pool2d(x, 3, stride=2, ceil_mode=True, name="maxpool1")
    x = conv(conv(x, 64, 1, "conv2"), 192, 3, "conv3")
    # torchvision says 5x5 and has 3x3 filters, so that weights of TensorFlow's version fit.
    maps = _modules(b, x, conv, five=3, last_pool=2)
    return b.model(
        _classifier(b, maps["5b"], num_classes) if include_top else maps["5b"], seed=seed
    )


def googlenet_paper(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    aux: bool = False,
    seed: int = 0,
) -> Model:
    """The paper's, on 3x224x224: 6,998,552 parameters. Logits.

    With `aux=True` the logits of the two side classifiers, which read modules 4a and 4d and help
    training, are a second and a third output: 13,378,280 parameters.
    """
    if aux and not include_top:
        raise ValueError("aux=True needs include_top=True: side classifiers are part of the top")
    # Pooling 5x5 before a side classifier needs 5x5 pixels there.
    least = 79 if aux else 47
    size = pair("input_size", 224 if input_size is None else input_size, least=least)
    b = Builder((3, *size), name="googlenet_paper")

    def conv(x: Value, filters: int, kernel: int, name: str, stride: int = 1) -> Value:
        return b.conv2d(
            x, filters, kernel, stride=stride, padding=kernel // 2, activation="relu", name=name
        )

    x = conv(b.input, 64, 7, "conv1", stride=2)
    x = b.max_pool2d(x, 3, stride=2, ceil_mode=True, name="maxpool1")
    x = conv(conv(response_norm(b, x, "norm1"), 64, 1, "conv2"), 192, 3, "conv3")
    maps = _modules(b, response_norm(b, x, "norm2"), conv, five=5, last_pool=3)
    if not include_top:
        return b.model(maps["5b"], seed=seed)
    outputs = [_classifier(b, maps["5b"], num_classes)]
    if aux:
        outputs.append(_side_classifier(b, maps["4a"], conv, num_classes, "aux1"))
        outputs.append(_side_classifier(b, maps["4d"], conv, num_classes, "aux2"))
    return b.model(outputs, seed=seed)


def _modules(
    b: Builder, x: Value, conv: Convolution, *, five: int, last_pool: int
) -> dict[str, Value]:
    """The nine inception modules, a pooling before each stage; what each module makes."""
    maps = {}
    for number, stage in enumerate(STAGES, 2):
        kernel = last_pool if number == 4 else 3
        x = b.max_pool2d(x, kernel, stride=2, ceil_mode=True, name=f"maxpool{number}")
        for module, filters in stage.items():
            x = _inception(b, x, conv, filters, five, f"inception{module}")
            maps[module] = x
    return maps


def _inception(
    b: Builder, x: Value, conv: Convolution, filters: Inception, five: int, name: str
) -> Value:
    """Four branches side by side; `five` is the side of the third one's filters."""
    single = conv(x, filters.single, 1, f"{name}.branch1")
    three = conv(x, filters.reduce3, 1, f"{name}.branch2.0")
    three = conv(three, filters.three, 3, f"{name}.branch2.1")
    large = conv(x, filters.reduce5, 1, f"{name}.branch3.0")
    large = conv(large, filters.five, five, f"{name}.branch3.1")
    pooled = b.max_pool2d(x, 3, stride=1, padding=1, name=f"{name}.branch4.0")
    pooled = conv(pooled, filters.pool, 1, f"{name}.branch4.1")
    return b.concat((single, three, large, pooled), name=name)


def _classifier(b: Builder, x: Value, num_classes: int) -> Value:
    """The mean of each map and one linear layer."""
    x = b.flatten(b.global_avg_pool2d(x, name="avgpool"), name="flatten")
    return b.linear(b.dropout(x, 0.4), num_classes, name="fc")


def _side_classifier(b: Builder, x: Value, conv: Convolution, num_classes: int, name: str) -> Value:
    """Means of 5x5, a 1x1 convolution and two linear layers (section 5)."""
    x = conv(b.avg_pool2d(x, 5, stride=3, name=f"{name}.pool"), 128, 1, f"{name}.conv")
    x = b.linear(b.flatten(x, name=f"{name}.flatten"), 1024, activation="relu", name=f"{name}.fc1")
    return b.linear(b.dropout(x, 0.7), num_classes, name=f"{name}.fc2")
