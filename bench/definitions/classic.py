"""LeNets, AlexNet, ZFNet and the small networks of Keras' book."""

from __future__ import annotations

from typing import Any

from bench.definitions.layers import Layers


def lenet5(net: Layers, x: Any) -> Any:
    """LeCun et al. 1998, Gradient-based learning applied to document recognition, section II.B."""
    x = squash(net.conv(x, 6, 5))
    x = subsample(net, x)
    # Table I: six maps that read three neighbours, six that read four, three with a gap, one of all
    threes = [[(i + j) % 6 for j in range(3)] for i in range(6)]
    fours = [[(i + j) % 6 for j in range(4)] for i in range(6)]
    fours += [[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5]]
    maps = [
        net.conv(x[:, sum(threes, [])], 6, 5, groups=6),
        net.conv(x[:, sum(fours, [])], 9, 5, groups=9),
        net.conv(x, 1, 5),
    ]
    x = subsample(net, squash(net.concat(maps)))
    x = squash(net.conv(x, 120, 5)).flatten(1)
    x = squash(net.linear(x, 84))
    return net.distances(x, 10)


def subsample(net: Layers, x: Any) -> Any:
    """The sum of 2x2 pixels, times a gain, plus a bias, squashed."""
    return squash(net.shift(net.gain(4 * net.avg_pool(x, 2, 2))))


def squash(x: Any) -> Any:
    """1.7159 tanh(2/3 x), appendix A."""
    return 1.7159 * (2 / 3 * x).tanh()


def lenet5_digits(net: Layers, x: Any) -> Any:
    """The network that bench/train_digits.py trains."""
    x = net.avg_pool(net.conv(x, 6, 5, name="conv1"), 2, 2).tanh()
    x = net.avg_pool(net.conv(x, 16, 5, name="conv2"), 2, 2).tanh().flatten(1)
    x = net.linear(x, 120, name="fc1").tanh()
    x = net.linear(x, 84, name="fc2").tanh()
    return net.linear(x, 10, name="fc3")


def lenet_caffe(net: Layers, x: Any) -> Any:
    """Caffe's examples/mnist: no activation but one."""
    x = net.max_pool(net.conv(x, 20, 5), 2, 2, ceil=True)
    x = net.max_pool(net.conv(x, 50, 5), 2, 2, ceil=True)
    return net.linear(net.linear(x.flatten(1), 500).relu(), 10)


def keras_digits(net: Layers, x: Any) -> Any:
    """Chollet, Deep learning with Python, 5.1."""
    x = net.max_pool(net.conv(x, 32, 3).relu(), 2, 2)
    x = net.max_pool(net.conv(x, 64, 3).relu(), 2, 2)
    x = net.conv(x, 64, 3).relu().flatten(1)
    return net.linear(net.linear(x, 64).relu(), 10).softmax(1)


def keras_cats_dogs(net: Layers, x: Any) -> Any:
    """Chollet, Deep learning with Python, 5.2."""
    for filters in (32, 64, 128, 128):
        x = net.max_pool(net.conv(x, filters, 3).relu(), 2, 2)
    x = net.linear(x.flatten(1), 512).relu()
    return net.linear(x, 1).sigmoid()


def alexnet(net: Layers, x: Any) -> Any:
    """Krizhevsky 2014 (One weird trick), as torchvision has it."""
    x = net.max_pool(net.conv(x, 64, 11, 4, 2, name="features.0").relu(), 3, 2)
    x = net.max_pool(net.conv(x, 192, 5, 1, 2, name="features.3").relu(), 3, 2)
    x = net.conv(x, 384, 3, 1, 1, name="features.6").relu()
    x = net.conv(x, 256, 3, 1, 1, name="features.8").relu()
    x = net.conv(x, 256, 3, 1, 1, name="features.10").relu()
    x = net.max_pool(x, 3, 2).flatten(1)
    x = net.linear(x, 4096, name="classifier.1").relu()
    x = net.linear(x, 4096, name="classifier.4").relu()
    return net.linear(x, 1000, name="classifier.6")


def alexnet_paper(net: Layers, x: Any) -> Any:
    """Krizhevsky, Sutskever, Hinton 2012: on two GPUs, so in two groups, with response norms."""
    x = net.response_norm(net.conv(x, 96, 11, 4).relu())
    x = net.conv(net.max_pool(x, 3, 2), 256, 5, 1, 2, groups=2).relu()
    x = net.max_pool(net.response_norm(x), 3, 2)
    x = net.conv(x, 384, 3, 1, 1).relu()
    x = net.conv(x, 384, 3, 1, 1, groups=2).relu()
    x = net.conv(x, 256, 3, 1, 1, groups=2).relu()
    return head(net, net.max_pool(x, 3, 2))


def zfnet(net: Layers, x: Any) -> Any:
    """Zeiler and Fergus 2014, figure 3: sides 110, 55, 26, 13, 6; pooled, then normalised."""
    x = net.max_pool(net.conv(x, 96, 7, 2, 1).relu(), 3, 2, ceil=True)
    x = net.response_norm(x)
    x = net.max_pool(net.conv(x, 256, 5, 2).relu(), 3, 2, ceil=True)
    x = net.response_norm(x)
    x = net.conv(x, 384, 3, 1, 1).relu()
    x = net.conv(x, 384, 3, 1, 1).relu()
    x = net.conv(x, 256, 3, 1, 1).relu()
    return head(net, net.max_pool(x, 3, 2, ceil=True))


def head(net: Layers, x: Any) -> Any:
    """Two hidden layers of 4,096, and the classes."""
    x = net.linear(x.flatten(1), 4096).relu()
    return net.linear(net.linear(x, 4096).relu(), 1000)
