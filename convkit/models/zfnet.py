"""ZFNet (Zeiler and Fergus 2014, Visualizing and understanding convolutional networks, figure 3).

AlexNet with smaller filters and strides in its first layers, so that they miss less of what lies
between coarse and fine; on one GPU, so without groups.
"""

from __future__ import annotations

from convkit.graph import Builder, Model
from convkit.models.alexnet import response_norm
from convkit.problem import PairLike, pair


def zfnet(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """On 3x224x224: 62,357,608 parameters. Logits.

    `input_size` is a number or a pair, at least 63; without the top, the maps that the first
    linear layer would read. The sides 110, 55, 26, 13, 6 that the figure prints come out where
    the first convolution pads by 1, the second does not, and pooling rounds up. Contrast is
    normalised after pooling, with AlexNet's figures.
    """
    height, width = pair("input_size", 224 if input_size is None else input_size, least=63)
    b = Builder((3, height, width), name="zfnet")
    x = b.conv2d(b.input, 96, 7, stride=2, padding=1, activation="relu", name="conv1")
    x = response_norm(b, b.max_pool2d(x, 3, stride=2, ceil_mode=True, name="pool1"), "norm1")
    x = b.conv2d(x, 256, 5, stride=2, activation="relu", name="conv2")
    x = response_norm(b, b.max_pool2d(x, 3, stride=2, ceil_mode=True, name="pool2"), "norm2")
    x = b.conv2d(x, 384, 3, padding=1, activation="relu", name="conv3")
    x = b.conv2d(x, 384, 3, padding=1, activation="relu", name="conv4")
    x = b.conv2d(x, 256, 3, padding=1, activation="relu", name="conv5")
    x = b.max_pool2d(x, 3, stride=2, ceil_mode=True, name="pool5")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(x, name="flatten")
    x = b.dropout(b.linear(x, 4096, activation="relu", name="fc6"))
    x = b.dropout(b.linear(x, 4096, activation="relu", name="fc7"))
    return b.model(b.linear(x, num_classes, name="fc8"), seed=seed)
