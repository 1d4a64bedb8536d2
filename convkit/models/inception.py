"""Inception v3 (Szegedy et al. 2016, Rethinking the Inception architecture for computer vision).

The stem makes 35x35 of 299x299; three modules stay there, five follow at 17x17 with n x 1 and
1 x n filters, two at 8x8 with filters that fork. Layers, weight names and padding are
torchvision's: its mean pools count the zeros of the padding, those of Keras do not. torchvision's
published weights expect the "inception" preset's pixels (see docs/models.md).
"""

from __future__ import annotations

from convkit.graph import Builder, Model, Value
from convkit.problem import PaddingLike, PairLike, pair

#: Channels inside the modules of 17x17 that factorise 7x7 filters.
FACTORISED = {"Mixed_6b": 128, "Mixed_6c": 160, "Mixed_6d": 160, "Mixed_6e": 192}

#: Rows and columns that leave one pixel at the end, and five in the side classifier.
LEAST, LEAST_AUX = 75, 299


def inception_v3(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
    aux: bool = False,
) -> Model:
    """23,834,568 parameters on 3x299x299. Logits.

    `input_size` is at least 75. `aux` adds the side classifier's logits as a second output (of at
    least 299 pixels, and only with the top).
    """
    if aux and not include_top:
        raise ValueError(
            "aux=True needs include_top=True: the side classifier is a part of the top"
        )
    size = pair(
        "input_size", 299 if input_size is None else input_size, least=LEAST_AUX if aux else LEAST
    )
    b = Builder((3, *size), name="inception_v3")
    x = unit(b, b.input, 32, 3, "Conv2d_1a_3x3", stride=2)
    x = unit(b, x, 32, 3, "Conv2d_2a_3x3")
    x = unit(b, x, 64, 3, "Conv2d_2b_3x3", padding=1)
    x = b.max_pool2d(x, 3, stride=2, name="maxpool1")
    x = unit(b, x, 80, 1, "Conv2d_3b_1x1")
    x = unit(b, x, 192, 3, "Conv2d_4a_3x3")
    x = b.max_pool2d(x, 3, stride=2, name="maxpool2")
    for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = _module_35(b, x, pooled, name)
    x = _reduction_17(b, x, "Mixed_6a")
    for name, inside in FACTORISED.items():
        x = _module_17(b, x, inside, name)
    side = x
    x = _reduction_8(b, x, "Mixed_7a")
    for name in ("Mixed_7b", "Mixed_7c"):
        x = _module_8(b, x, name)
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="avgpool"), name="flatten")
    logits = b.linear(b.dropout(x), num_classes, name="fc")
    return b.model([logits, _side_classifier(b, side, num_classes)] if aux else logits, seed=seed)


def unit(
    b: Builder,
    x: Value,
    filters: int,
    kernel: PairLike,
    name: str,
    *,
    stride: int = 1,
    padding: PaddingLike = 0,
) -> Value:
    """The convolution of all these networks: without a bias, normalised, ReLU."""
    x = b.conv2d(
        x, filters, kernel, stride=stride, padding=padding, bias=False, name=f"{name}.conv"
    )
    return b.batch_norm(x, eps=1e-3, activation="relu", name=f"{name}.bn")


def _pooled(b: Builder, x: Value, filters: int, name: str) -> Value:
    """The branch of a mean pool, whose padding counts, and a 1x1 convolution."""
    x = b.avg_pool2d(x, 3, stride=1, padding=1, name=f"{name}.avg_pool")
    return unit(b, x, filters, 1, f"{name}.branch_pool")


def _module_35(b: Builder, x: Value, pooled: int, name: str) -> Value:
    """Figure 5: two 3x3 convolutions stand for a 5x5 one, and a 5x5 one is still there."""
    single = unit(b, x, 64, 1, f"{name}.branch1x1")
    five = unit(b, x, 48, 1, f"{name}.branch5x5_1")
    five = unit(b, five, 64, 5, f"{name}.branch5x5_2", padding=2)
    double = unit(b, x, 64, 1, f"{name}.branch3x3dbl_1")
    double = unit(b, double, 96, 3, f"{name}.branch3x3dbl_2", padding=1)
    double = unit(b, double, 96, 3, f"{name}.branch3x3dbl_3", padding=1)
    return b.concat([single, five, double, _pooled(b, x, pooled, name)], name=name)


def _reduction_17(b: Builder, x: Value, name: str) -> Value:
    """Figure 10: strides and a pool side by side, so that no information is lost before one."""
    single = unit(b, x, 384, 3, f"{name}.branch3x3", stride=2)
    double = unit(b, x, 64, 1, f"{name}.branch3x3dbl_1")
    double = unit(b, double, 96, 3, f"{name}.branch3x3dbl_2", padding=1)
    double = unit(b, double, 96, 3, f"{name}.branch3x3dbl_3", stride=2)
    pooled = b.max_pool2d(x, 3, stride=2, name=f"{name}.branch_pool")
    return b.concat([single, double, pooled], name=name)


def _module_17(b: Builder, x: Value, inside: int, name: str) -> Value:
    """Figure 6: 7x7 filters as a row and a column, once and twice."""
    single = unit(b, x, 192, 1, f"{name}.branch1x1")
    seven = unit(b, x, inside, 1, f"{name}.branch7x7_1")
    seven = unit(b, seven, inside, (1, 7), f"{name}.branch7x7_2", padding=(0, 3))
    seven = unit(b, seven, 192, (7, 1), f"{name}.branch7x7_3", padding=(3, 0))
    double = unit(b, x, inside, 1, f"{name}.branch7x7dbl_1")
    for number, filters in ((2, inside), (4, inside)):
        double = unit(b, double, filters, (7, 1), f"{name}.branch7x7dbl_{number}", padding=(3, 0))
        double = unit(
            b, double, 192 if number == 4 else inside, (1, 7),
            f"{name}.branch7x7dbl_{number + 1}", padding=(0, 3),
        )  # fmt: skip
    return b.concat([single, seven, double, _pooled(b, x, 192, name)], name=name)


def _reduction_8(b: Builder, x: Value, name: str) -> Value:
    """As `_reduction_17`, with a factorised 7x7 in the longer branch."""
    single = unit(b, x, 192, 1, f"{name}.branch3x3_1")
    single = unit(b, single, 320, 3, f"{name}.branch3x3_2", stride=2)
    seven = unit(b, x, 192, 1, f"{name}.branch7x7x3_1")
    seven = unit(b, seven, 192, (1, 7), f"{name}.branch7x7x3_2", padding=(0, 3))
    seven = unit(b, seven, 192, (7, 1), f"{name}.branch7x7x3_3", padding=(3, 0))
    seven = unit(b, seven, 192, 3, f"{name}.branch7x7x3_4", stride=2)
    pooled = b.max_pool2d(x, 3, stride=2, name=f"{name}.branch_pool")
    return b.concat([single, seven, pooled], name=name)


def _module_8(b: Builder, x: Value, name: str) -> Value:
    """Figure 7: branches that fork into a row and a column."""
    single = unit(b, x, 320, 1, f"{name}.branch1x1")
    three = unit(b, x, 384, 1, f"{name}.branch3x3_1")
    double = unit(b, x, 448, 1, f"{name}.branch3x3dbl_1")
    double = unit(b, double, 384, 3, f"{name}.branch3x3dbl_2", padding=1)
    return b.concat(
        [
            single,
            *_fork(b, three, f"{name}.branch3x3_2"),
            *_fork(b, double, f"{name}.branch3x3dbl_3"),
            _pooled(b, x, 192, name),
        ],
        name=name,
    )


def _fork(b: Builder, x: Value, name: str) -> list[Value]:
    """A row and a column of one value."""
    return [
        unit(b, x, 384, (1, 3), f"{name}a", padding=(0, 1)),
        unit(b, x, 384, (3, 1), f"{name}b", padding=(1, 0)),
    ]


def _side_classifier(b: Builder, x: Value, num_classes: int) -> Value:
    """Helped the training of the layers before it (figure 8); 5x5 filters over 5x5 pixels."""
    x = b.avg_pool2d(x, 5, stride=3, name="AuxLogits.avg_pool")
    x = unit(b, x, 128, 1, "AuxLogits.conv0")
    x = unit(b, x, 768, 5, "AuxLogits.conv1")
    x = b.flatten(b.global_avg_pool2d(x, name="AuxLogits.avgpool"), name="AuxLogits.flatten")
    return b.linear(x, num_classes, name="AuxLogits.fc")
