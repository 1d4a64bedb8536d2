"""The DenseNets (Huang et al. 2017, Densely connected convolutional networks, table 1).

Each layer reads all that the layers before it in its block made, side by side. Weight names are
torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence

from convkit.graph import Builder, Model, Value
from convkit.models.sizes import image_shape
from convkit.problem import PairLike

#: Five times halved, rounded up in the stem and down in the transitions, one pixel is left.
LEAST = 29


def densenet121(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """7,978,856 parameters. Logits."""
    b = Builder(image_shape(input_size, 224, least=LEAST), name="densenet121")
    return _densenet(b, (6, 12, 24, 16), 32, num_classes, include_top, seed)


def densenet161(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """28,681,000 parameters. Logits."""
    b = Builder(image_shape(input_size, 224, least=LEAST), name="densenet161")
    return _densenet(b, (6, 12, 36, 24), 48, num_classes, include_top, seed)


def densenet169(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """14,149,480 parameters. Logits."""
    b = Builder(image_shape(input_size, 224, least=LEAST), name="densenet169")
    return _densenet(b, (6, 12, 32, 32), 32, num_classes, include_top, seed)


def densenet201(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """20,013,928 parameters. Logits."""
    b = Builder(image_shape(input_size, 224, least=LEAST), name="densenet201")
    return _densenet(b, (6, 12, 48, 32), 32, num_classes, include_top, seed)


def _densenet(
    b: Builder, blocks: Sequence[int], growth: int, num_classes: int, include_top: bool, seed: int
) -> Model:
    """A stem, four dense blocks with a transition between two, one linear layer."""
    x = b.conv2d(b.input, 2 * growth, 7, stride=2, padding=3, bias=False, name="features.conv0")
    x = b.batch_norm(x, activation="relu", name="features.norm0")
    x = b.max_pool2d(x, 3, stride=2, padding=1, name="features.pool0")
    for number, layers in enumerate(blocks, 1):
        if number > 1:
            x = _transition(b, x, f"features.transition{number - 1}")
        for layer in range(1, layers + 1):
            x = _dense(b, x, growth, f"features.denseblock{number}.denselayer{layer}")
    x = b.batch_norm(x, activation="relu", name="features.norm5")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="avgpool"), name="flatten")
    return b.model(b.linear(x, num_classes, name="classifier"), seed=seed)


def _dense(b: Builder, x: Value, growth: int, name: str) -> Value:
    """`growth` new channels beside those of x: 1x1 to four times as many, then 3x3."""
    y = b.batch_norm(x, activation="relu", name=f"{name}.norm1")
    y = b.conv2d(y, 4 * growth, 1, bias=False, name=f"{name}.conv1")
    y = b.batch_norm(y, activation="relu", name=f"{name}.norm2")
    y = b.conv2d(y, growth, 3, padding=1, bias=False, name=f"{name}.conv2")
    return b.concat((x, y), name=f"{name}.concat")


def _transition(b: Builder, x: Value, name: str) -> Value:
    """Half the channels, half the image."""
    x = b.batch_norm(x, activation="relu", name=f"{name}.norm")
    x = b.conv2d(x, x.sizes[1] // 2, 1, bias=False, name=f"{name}.conv")
    return b.avg_pool2d(x, 2, name=f"{name}.pool")
