"""The DenseNets (Huang et al. 2017, Densely connected convolutional networks, table 1).

Each layer reads all that the layers before it in its block made, side by side. Weight names are
torchvision's; `ALIASES` has those of its older files and of Keras applications.

Each takes `input_size` (a number or a pair of at least 29, 224 unless given; ValueError below) and
`include_top`: without the top, the maps at stride 32 after the last batch norm.
"""

from __future__ import annotations

from collections.abc import Sequence

from convkit.graph import Builder, Model, Value
from convkit.models.sizes import image_shape
from convkit.problem import PairLike

#: Five times halved, rounded up in the stem and down in the transitions, one pixel is left.
LEAST = 29

#: (layers of each dense block, channels that each layer adds)
DENSENETS = {
    "densenet121": ((6, 12, 24, 16), 32),
    "densenet161": ((6, 12, 36, 24), 48),
    "densenet169": ((6, 12, 32, 32), 32),
    "densenet201": ((6, 12, 48, 32), 32),
}


def densenet121(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """7,978,856 parameters. Logits."""
    return _densenet("densenet121", num_classes, input_size, include_top, seed)


def densenet161(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """28,681,000 parameters. Logits."""
    return _densenet("densenet161", num_classes, input_size, include_top, seed)


def densenet169(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """14,149,480 parameters. Logits."""
    return _densenet("densenet169", num_classes, input_size, include_top, seed)


def densenet201(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """20,013,928 parameters. Logits."""
    return _densenet("densenet201", num_classes, input_size, include_top, seed)


def _densenet(
    name: str, num_classes: int, input_size: PairLike | None, include_top: bool, seed: int
) -> Model:
    """A stem, four dense blocks with a transition between two, one linear layer."""
    blocks, growth = DENSENETS[name]
    b = Builder(image_shape(input_size, 224, least=LEAST), name=name)
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


def _other_names(blocks: Sequence[int]) -> dict[str, str]:
    """torchvision's older names (norm.1 for norm1) and Keras' -> the names here."""
    names = {"bn": "features.norm5", "predictions": "classifier"}
    for between in "_/":  # Keras 3 and Keras 2
        names |= {
            f"conv1{between}conv": "features.conv0",
            f"conv1{between}bn": "features.norm0",
        }
    for number, layers in enumerate(blocks, 1):
        keras = f"conv{number + 1}_block"
        for layer in range(1, layers + 1):
            name = f"features.denseblock{number}.denselayer{layer}"
            for part in ("norm1", "conv1", "norm2", "conv2"):
                names[f"{name}.{part[:4]}.{part[4]}"] = f"{name}.{part}"
            names |= {
                f"{keras}{layer}_0_bn": f"{name}.norm1",
                f"{keras}{layer}_1_conv": f"{name}.conv1",
                f"{keras}{layer}_1_bn": f"{name}.norm2",
                f"{keras}{layer}_2_conv": f"{name}.conv2",
            }
        if number < len(blocks):
            names[f"pool{number + 1}_bn"] = f"features.transition{number}.norm"
            names[f"pool{number + 1}_conv"] = f"features.transition{number}.conv"
    return names


#: For each network, other names of its layers -> the name here.
ALIASES = {name: _other_names(blocks) for name, (blocks, _) in DENSENETS.items()}
