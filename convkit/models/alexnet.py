"""AlexNet, as the paper has it and as torchvision does.

`alexnet_paper`: Krizhevsky, Sutskever, Hinton 2012, ImageNet classification with deep convolutional
neural networks. Two GPUs shared the network: convolutions 2, 4 and 5 see only the maps of their own
half (two groups). `alexnet`: Krizhevsky 2014, One weird trick for parallelizing convolutional
neural networks, as torchvision has it: fewer filters, one group, no normalisation.

Each takes `input_size` (a number or a pair, the network's own unless given; ValueError where it is
too small) and `include_top`: without the top, the maps that the first linear layer would read.
That layer follows the input size.
"""

from __future__ import annotations

from convkit.graph import Builder, Model, Value
from convkit.problem import PairLike, pair


def alexnet(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """torchvision's, on 3x224x224, with its weight names: 61,100,840 parameters. Logits."""
    height, width = pair("input_size", 224 if input_size is None else input_size, least=63)
    b = Builder((3, height, width), name="alexnet")
    x = b.conv2d(b.input, 64, 11, stride=4, padding=2, activation="relu", name="features.0")
    x = b.max_pool2d(x, 3, stride=2, name="features.2")
    x = b.conv2d(x, 192, 5, padding=2, activation="relu", name="features.3")
    x = b.max_pool2d(x, 3, stride=2, name="features.5")
    x = b.conv2d(x, 384, 3, padding=1, activation="relu", name="features.6")
    x = b.conv2d(x, 256, 3, padding=1, activation="relu", name="features.8")
    x = b.conv2d(x, 256, 3, padding=1, activation="relu", name="features.10")
    x = b.max_pool2d(x, 3, stride=2, name="features.12")
    if not include_top:
        return b.model(x, seed=seed)
    return b.model(
        _classifier(b, x, ("classifier.1", "classifier.4", "classifier.6"), num_classes), seed=seed
    )


def alexnet_paper(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """The paper's: 60,965,224 parameters. Logits.

    On 3x227x227: the paper prints 224, from which its first layer would not get its 55x55 maps.
    """
    height, width = pair("input_size", 227 if input_size is None else input_size, least=67)
    b = Builder((3, height, width), name="alexnet_paper")
    x = b.conv2d(b.input, 96, 11, stride=4, activation="relu", name="conv1")
    x = b.max_pool2d(response_norm(b, x, "norm1"), 3, stride=2, name="pool1")
    x = b.conv2d(x, 256, 5, padding=2, groups=2, activation="relu", name="conv2")
    x = b.max_pool2d(response_norm(b, x, "norm2"), 3, stride=2, name="pool2")
    x = b.conv2d(x, 384, 3, padding=1, activation="relu", name="conv3")
    x = b.conv2d(x, 384, 3, padding=1, groups=2, activation="relu", name="conv4")
    x = b.conv2d(x, 256, 3, padding=1, groups=2, activation="relu", name="conv5")
    x = b.max_pool2d(x, 3, stride=2, name="pool5")
    if not include_top:
        return b.model(x, seed=seed)
    return b.model(_classifier(b, x, ("fc6", "fc7", "fc8"), num_classes), seed=seed)


def response_norm(b: Builder, x: Value, name: str) -> Value:
    """x / (2 + 1e-4 s)^0.75, s the sum of squares over 5 channels around (section 3.3).

    The operator takes the mean over the channels instead of the sum, hence 5 times the alpha.
    """
    return b.local_response_norm(x, size=5, alpha=5e-4, beta=0.75, k=2.0, name=name)


def _classifier(b: Builder, x: Value, names: tuple[str, str, str], num_classes: int) -> Value:
    """Dropout (nothing, once trained) and three linear layers."""
    first, second, last = names
    x = b.dropout(b.flatten(x, name="flatten"))
    x = b.dropout(b.linear(x, 4096, activation="relu", name=first))
    x = b.linear(x, 4096, activation="relu", name=second)
    return b.linear(x, num_classes, name=last)
