"""NASNet-A (Zoph et al. 2018, Learning transferable architectures for scalable image recognition,
figure 4), as Keras applications has it.

Two cells found by a search, repeated: each reads the outputs of the two cells before it. A normal
cell keeps the image's size, a reduction cell halves it. Layer names are those of Keras
applications; a separable convolution is two, `.depthwise` and `.pointwise`. As there, the first
cell reads the stem twice without projecting it, strided pools see zeros (not "nothing") beyond the
image, and an odd row or column of padding is below and right.
"""

from __future__ import annotations

from dataclasses import dataclass

from convkit.graph import Builder, Model, Value
from convkit.problem import PairLike, pair

#: Keras' default.
EPS = 1e-3

#: Keras' bound; fewer leave a reduction cell nothing to halve.
LEAST = 32


@dataclass(frozen=True)
class Size:
    """What tells the two published networks apart.

    `cells` stand in each of three stages; the last makes `channels`. `skips`: a stage's first cell
    reads, as the one before the last, the value from before the reduction's input.
    """

    input_size: int
    channels: int
    cells: int
    stem: int
    skips: bool


MOBILE = Size(input_size=224, channels=1056, cells=4, stem=32, skips=False)
LARGE = Size(input_size=331, channels=4032, cells=6, stem=96, skips=True)


def nasnet_mobile(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """NASNet-A (4 @ 1056): 5,289,978 parameters on 3x224x224. Logits. `input_size` from 32."""
    return _nasnet("nasnet_mobile", MOBILE, num_classes, input_size, include_top, seed)


def nasnet_large(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """NASNet-A (6 @ 4032): 88,753,150 parameters on 3x331x331. Logits. `input_size` from 32."""
    return _nasnet("nasnet_large", LARGE, num_classes, input_size, include_top, seed)


def _nasnet(
    name: str,
    size: Size,
    num_classes: int,
    input_size: PairLike | None,
    include_top: bool,
    seed: int,
) -> Model:
    """A strided convolution, two small reduction cells, three stages with reductions between."""
    image = pair("input_size", size.input_size if input_size is None else input_size, least=LEAST)
    b = Builder((3, *image), name=name)
    x = b.conv2d(b.input, size.stem, 3, stride=2, bias=False, name="stem_conv1")
    x = b.batch_norm(x, eps=EPS, name="stem_bn1")
    # A normal cell puts six values side by side; two reductions follow, each doubles the width.
    filters = size.channels // 24
    x, before = _reduction_cell(b, x, x, filters // 4, "stem_1"), x
    x, before = _reduction_cell(b, x, before, filters // 2, "stem_2"), x
    for stage in range(3):
        # Keras counts a reduction as a cell, so that a number is left out after each.
        first = stage * size.cells + (1 if stage else 0)
        if stage:
            reduced = _reduction_cell(b, x, before, filters, f"reduce_{stage * size.cells}")
            x, before = reduced, before if size.skips else x
        for number in range(first, first + size.cells):
            x, before = _normal_cell(b, x, before, filters, str(number)), x
        filters *= 2
    x = b.relu(x, name="activation")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="global_average_pooling2d"), name="flatten")
    return b.model(b.linear(x, num_classes, name="predictions"), seed=seed)


def _normal_cell(b: Builder, x: Value, before: Value, filters: int, name: str) -> Value:
    """Five sums and the value from before, side by side: 6 x filters channels."""
    p = _fitted(b, before, x, filters, name)
    h = _squeezed(b, x, filters, "normal", name)
    p_relu, h_relu = b.relu(p, name=f"p_relu_{name}"), b.relu(h, name=f"h_relu_{name}")
    first = b.add(
        _separable(b, h_relu, filters, 5, f"normal_left1_{name}"),
        _separable(b, p_relu, filters, 3, f"normal_right1_{name}"),
        name=f"normal_add_1_{name}",
    )
    second = b.add(
        _separable(b, p_relu, filters, 5, f"normal_left2_{name}"),
        _separable(b, p_relu, filters, 3, f"normal_right2_{name}"),
        name=f"normal_add_2_{name}",
    )
    third = b.add(_mean(b, h, f"normal_left3_{name}"), p, name=f"normal_add_3_{name}")
    # The search chose the same mean of the same value twice.
    mean = _mean(b, p, f"normal_left4_{name}")
    fourth = b.add(mean, mean, name=f"normal_add_4_{name}")
    fifth = b.add(
        _separable(b, h_relu, filters, 3, f"normal_left5_{name}"), h, name=f"normal_add_5_{name}"
    )
    return b.concat([p, first, second, third, fourth, fifth], name=f"normal_concat_{name}")


def _reduction_cell(b: Builder, x: Value, before: Value, filters: int, name: str) -> Value:
    """Strided convolutions and pools, and two sums of their sums: 4 x filters channels."""
    p = before if before is x else _fitted(b, before, x, filters, name)
    h = _squeezed(b, x, filters, "reduction", name)
    p_relu, h_relu = b.relu(p, name=f"p_relu_{name}"), b.relu(h, name=f"h_relu_{name}")
    padded = b.pad2d(h, _halving_padding(h, 3), name=f"reduction_pad_1_{name}")
    maximum = b.max_pool2d(padded, 3, stride=2, name=f"reduction_left2_{name}")
    first = b.add(
        _separable(b, h_relu, filters, 5, f"reduction_left1_{name}", stride=2),
        _separable(b, p_relu, filters, 7, f"reduction_right1_{name}", stride=2),
        name=f"reduction_add_1_{name}",
    )
    second = b.add(
        maximum,
        _separable(b, p_relu, filters, 7, f"reduction_right2_{name}", stride=2),
        name=f"reduction_add_2_{name}",
    )
    third = b.add(
        b.avg_pool2d(padded, 3, stride=2, name=f"reduction_left3_{name}"),
        _separable(b, p_relu, filters, 5, f"reduction_right3_{name}", stride=2),
        name=f"reduction_add3_{name}",
    )
    mean = _mean(b, first, f"reduction_left4_{name}")
    fourth = b.add(second, mean, name=f"reduction_add_4_{name}")
    relu = b.relu(first, name=f"first_relu_{name}")
    fifth = b.add(
        _separable(b, relu, filters, 3, f"reduction_left4_{name}"),
        maximum,
        name=f"reduction_add4_{name}",
    )
    return b.concat([second, third, fourth, fifth], name=f"reduction_concat_{name}")


def _squeezed(b: Builder, x: Value, filters: int, kind: str, name: str) -> Value:
    """A cell's input in as many channels as its convolutions have."""
    x = b.conv2d(
        b.relu(x, name=f"{kind}_relu_{name}"), filters, 1, bias=False, name=f"{kind}_conv_1_{name}"
    )
    return b.batch_norm(x, eps=EPS, name=f"{kind}_bn_1_{name}")


def _fitted(b: Builder, p: Value, x: Value, filters: int, name: str) -> Value:
    """The value from before, of the size of x and in as many channels as the cell has."""
    if p.sizes[2:] != x.sizes[2:]:
        return _halved(b, b.relu(p, name=f"adjust_relu_1_{name}"), filters, name)
    if p.sizes[1] == filters:
        return p
    p = b.conv2d(
        b.relu(p, name=f"adjust_relu_{name}"), filters, 1, bias=False,
        name=f"adjust_conv_projection_{name}",
    )  # fmt: skip
    return b.batch_norm(p, eps=EPS, name=f"adjust_bn_{name}")


def _halved(b: Builder, p: Value, filters: int, name: str) -> Value:
    """Every second pixel, half of the channels from even places and half from odd ones, so that
    no row or column is lost altogether."""
    _, _, h, w = p.sizes
    even = b.conv2d(p, filters // 2, 1, stride=2, bias=False, name=f"adjust_conv_1_{name}")
    wide = b.pad2d(p, ((0, 1), (0, 1)), name=f"adjust_pad_{name}")
    moved = b.crop2d(wide, 1, 1, h, w, name=f"adjust_crop_{name}")
    odd = b.conv2d(moved, filters // 2, 1, stride=2, bias=False, name=f"adjust_conv_2_{name}")
    p = b.concat([even, odd], name=f"adjust_concat_{name}")
    return b.batch_norm(p, eps=EPS, name=f"adjust_bn_{name}")


def _separable(
    b: Builder, x: Value, filters: int, kernel: int, name: str, *, stride: int = 1
) -> Value:
    """Twice a separable convolution and a batch norm, a ReLU between; x is behind one."""
    for part in (1, 2):
        layer, c = f"separable_conv_{part}_{name}", x.sizes[1]
        x = b.conv2d(
            x, c, kernel, stride=stride if part == 1 else 1, padding="same", groups=c, bias=False,
            name=f"{layer}.depthwise",
        )  # fmt: skip
        x = b.conv2d(x, filters, 1, bias=False, name=f"{layer}.pointwise")
        x = b.batch_norm(
            x, eps=EPS, activation="relu" if part == 1 else None,
            name=f"separable_conv_{part}_bn_{name}",
        )  # fmt: skip
    return x


def _mean(b: Builder, x: Value, name: str) -> Value:
    """Of 3x3 pixels around each, those outside not counted."""
    return b.avg_pool2d(x, 3, stride=1, padding="same", count_include_pad=False, name=name)


def _halving_padding(x: Value, kernel: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(top, bottom), (left, right) of "same" at stride 2, as pixels."""
    _, _, h, w = x.sizes
    half = kernel // 2
    return (half - 1 + h % 2, half), (half - 1 + w % 2, half)
