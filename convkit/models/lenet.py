"""Two descendants of LeNet-5.

LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition.
"""

from __future__ import annotations

from convkit.graph import Builder, Model


def lenet5_digits(*, num_classes: int = 10, seed: int = 0) -> Model:
    """LeNet-5 as courses teach it, on 1x32x32: 61,706 parameters. Logits."""
    b = Builder((1, 32, 32), name="lenet5_digits")
    x = b.conv2d(b.input, 6, 5, name="conv1")
    x = b.tanh(b.avg_pool2d(x, 2, name="pool1"), name="tanh1")
    x = b.conv2d(x, 16, 5, name="conv2")
    x = b.tanh(b.avg_pool2d(x, 2, name="pool2"), name="tanh2")
    x = b.flatten(x, name="flatten")
    x = b.linear(x, 120, activation="tanh", name="fc1")
    x = b.linear(x, 84, activation="tanh", name="fc2")
    return b.model(b.linear(x, num_classes, name="fc3"), seed=seed)


def lenet_caffe(*, num_classes: int = 10, seed: int = 0) -> Model:
    """The LeNet of Caffe's examples, on 1x28x28 scaled to 0..1: 431,080 parameters. Logits."""
    b = Builder((1, 28, 28), name="lenet_caffe")
    x = b.conv2d(b.input, 20, 5, name="conv1")
    x = b.max_pool2d(x, 2, ceil_mode=True, name="pool1")
    x = b.conv2d(x, 50, 5, name="conv2")
    x = b.max_pool2d(x, 2, ceil_mode=True, name="pool2")
    x = b.linear(b.flatten(x, name="flatten"), 500, activation="relu", name="fc1")
    return b.model(b.linear(x, num_classes, name="fc2"), seed=seed)
