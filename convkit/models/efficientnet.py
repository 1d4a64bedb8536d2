"""The EfficientNets (Tan and Le 2019, EfficientNet: rethinking model scaling for convolutional
neural networks, table 1).

One base network, B0; the others multiply its channels, its layers and its resolution. B1 to B7 are
published triples, near but not equal to the powers of the paper's compound rule. Weight names are
torchvision's.

Each takes `input_size` (a number or a pair, the published resolution unless given; ValueError
below 1) and `include_top`: without the top, the maps at stride 32 before the mean of each channel.
"""

from __future__ import annotations

import math
from functools import partial

from convkit.graph import Builder, Model, Value
from convkit.models.sizes import image_shape, in_eights, multiplier
from convkit.problem import PairLike, pair

#: B0: (expansion, filter size, stride of the first, channels, layers) of each stage.
STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip
#: Factors on channels and on layers, resolution.
SCALES = {
    "b0": (1.0, 1.0, 224), "b1": (1.0, 1.1, 240), "b2": (1.1, 1.2, 260), "b3": (1.2, 1.4, 300),
    "b4": (1.4, 1.8, 380), "b5": (1.6, 2.2, 456), "b6": (1.8, 2.6, 528), "b7": (2.0, 3.1, 600),
}  # fmt: skip
#: The batch norms of these have another epsilon than PyTorch's, as their weights were trained.
WIDE_EPSILON = ("b5", "b6", "b7")


def efficientnet(
    width: float = 1.0,
    depth: float = 1.0,
    resolution: PairLike = 224,
    *,
    num_classes: int = 1000,
    include_top: bool = True,
    seed: int = 0,
    eps: float = 1e-5,
    name: str = "efficientnet",
) -> Model:
    """An EfficientNet for any budget.

    The paper's compound rule is depth 1.2^phi, width 1.1^phi and resolution 224 * 1.15^phi, for
    about 2^phi times the work of B0.

    Parameters
    ----------
    width, depth : float
        Factors on the channels (rounded to a multiple of 8, never down by more than a tenth) and
        on the layers of each stage (rounded up).
    resolution : int or (h, w)
        Size of the images.
    num_classes, include_top, seed
        As for every network.
    eps : float
        Of the batch norms.
    name : str
        What printing and messages call the network.

    Returns
    -------
    Model
        It gives logits.

    Examples
    --------
    >>> import convkit
    >>> phi = 0.5
    >>> convkit.models.efficientnet(1.1**phi, 1.2**phi, round(224 * 1.15**phi))
    <convkit model efficientnet, 8,441,486 parameters>
    """
    wide, deep = multiplier("width", width), multiplier("depth", depth)
    b = Builder((3, *pair("resolution", resolution, least=1)), name=name)
    norm = partial(b.batch_norm, eps=eps)
    channels = in_eights(32 * wide)
    x = b.conv2d(b.input, channels, 3, stride=2, padding=1, bias=False, name="features.0.0")
    x = norm(x, activation="silu", name="features.0.1")
    for stage, (expansion, size, first, base, layers) in enumerate(STAGES, 1):
        channels = in_eights(base * wide)
        for i in range(math.ceil(layers * deep)):
            stride = first if i == 0 else 1
            x = _inverted(b, x, expansion, size, stride, channels, eps, f"features.{stage}.{i}")
    last = len(STAGES) + 1
    x = b.conv2d(x, 4 * channels, 1, bias=False, name=f"features.{last}.0")
    x = norm(x, activation="silu", name=f"features.{last}.1")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="avgpool"), name="flatten")
    return b.model(b.linear(b.dropout(x), num_classes, name="classifier.1"), seed=seed)


def _inverted(
    b: Builder,
    x: Value,
    expansion: int,
    size: int,
    stride: int,
    channels: int,
    eps: float,
    name: str,
) -> Value:
    """1x1 to more channels, depthwise, weights for the channels, 1x1 to few without activation."""
    norm = partial(b.batch_norm, eps=eps)
    inside = in_eights(x.sizes[1] * expansion)
    y, number = x, 0
    if expansion != 1:
        y = b.conv2d(y, inside, 1, bias=False, name=f"{name}.block.0.0")
        y = norm(y, activation="silu", name=f"{name}.block.0.1")
        number = 1
    y = b.conv2d(
        y, inside, size, stride=stride, padding=size // 2, groups=inside, bias=False,
        name=f"{name}.block.{number}.0",
    )  # fmt: skip
    y = norm(y, activation="silu", name=f"{name}.block.{number}.1")
    y = _squeeze_excite(b, y, max(1, x.sizes[1] // 4), f"{name}.block.{number + 1}")
    y = b.conv2d(y, channels, 1, bias=False, name=f"{name}.block.{number + 2}.0")
    y = norm(y, name=f"{name}.block.{number + 2}.1")
    keeps = stride == 1 and x.sizes[1] == channels
    return b.add(x, y, name=f"{name}.add") if keeps else y


def _squeeze_excite(b: Builder, x: Value, squeezed: int, name: str) -> Value:
    """x times a weight from 0 to 1 for each channel, made of all channels' means (Hu et al. 2018,
    Squeeze-and-excitation networks)."""
    y = b.global_avg_pool2d(x, name=f"{name}.avgpool")
    y = b.conv2d(y, squeezed, 1, activation="silu", name=f"{name}.fc1")
    y = b.conv2d(y, x.sizes[1], 1, activation="sigmoid", name=f"{name}.fc2")
    return b.multiply(x, y, name=f"{name}.multiply")


def _published(
    which: str, num_classes: int, input_size: PairLike | None, include_top: bool, seed: int
) -> Model:
    width, depth, resolution = SCALES[which]
    return efficientnet(
        width,
        depth,
        image_shape(input_size, resolution)[1:],
        num_classes=num_classes,
        include_top=include_top,
        seed=seed,
        eps=1e-3 if which in WIDE_EPSILON else 1e-5,
        name=f"efficientnet_{which}",
    )


def efficientnet_b0(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """On 224x224: 5,288,548 parameters. Logits."""
    return _published("b0", num_classes, input_size, include_top, seed)


def efficientnet_b1(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """On 240x240: 7,794,184 parameters. Logits."""
    return _published("b1", num_classes, input_size, include_top, seed)


def efficientnet_b2(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """On 260x260: 9,109,994 parameters. Logits."""
    return _published("b2", num_classes, input_size, include_top, seed)


def efficientnet_b3(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """On 300x300: 12,233,232 parameters. Logits."""
    return _published("b3", num_classes, input_size, include_top, seed)


def efficientnet_b4(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """On 380x380: 19,341,616 parameters. Logits."""
    return _published("b4", num_classes, input_size, include_top, seed)


def efficientnet_b5(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """On 456x456: 30,389,784 parameters. Logits."""
    return _published("b5", num_classes, input_size, include_top, seed)


def efficientnet_b6(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """On 528x528: 43,040,704 parameters. Logits."""
    return _published("b6", num_classes, input_size, include_top, seed)


def efficientnet_b7(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """On 600x600: 66,347,960 parameters. Logits."""
    return _published("b7", num_classes, input_size, include_top, seed)
