"""Inception-ResNet-v2 (Szegedy et al. 2016, Inception-v4, Inception-ResNet and the impact of
residual connections on learning, figure 15), as Keras applications has it.

Inception modules whose output, scaled down to keep training stable, is added to their input. Its
stem is that of Inception v3, not the forking one of the paper's figure 3. The batch norms have no
weight to train, only a bias. Weight names are those of Keras applications: layers that it does not
name have the numbers that Keras gives them in the order in which they are made (`conv2d`,
`conv2d_1`, ..., `batch_normalization`, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convkit.epilogue import ActivationLike
from convkit.graph import Builder, Model, Value
from convkit.problem import PairLike, pair

#: Filters and kernel of the convolutions of a branch, all of stride 1.
Layers = Sequence[tuple[int, PairLike]]

#: Branches of the residual modules at 35x35, 17x17 and 8x8, and what scales their output.
BLOCK_35: tuple[Layers, ...] = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))
BLOCK_17: tuple[Layers, ...] = (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))
BLOCK_8: tuple[Layers, ...] = (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))
SCALE_35, SCALE_17, SCALE_8 = 0.17, 0.1, 0.2

#: Rows and columns that leave one pixel at the end.
LEAST = 75


def inception_resnet_v2(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """55,813,192 parameters on 3x299x299. Logits. `input_size` is at least 75."""
    size = pair("input_size", 299 if input_size is None else input_size, least=LEAST)
    b = Builder((3, *size), name="inception_resnet_v2")
    net = _Layers(b)
    x = net.unit(b.input, 32, 3, stride=2, padding=0)
    x = net.unit(x, 32, 3, padding=0)
    x = net.unit(x, 64, 3)
    x = b.max_pool2d(x, 3, stride=2, name="max_pooling2d")
    x = net.unit(x, 80, 1)
    x = net.unit(x, 192, 3, padding=0)
    x = b.max_pool2d(x, 3, stride=2, name="max_pooling2d_1")
    x = _mixed_5b(net, x)
    for number in range(1, 11):
        x = net.block(x, BLOCK_35, SCALE_35, f"block35_{number}")
    x = _mixed_6a(net, x)
    for number in range(1, 21):
        x = net.block(x, BLOCK_17, SCALE_17, f"block17_{number}")
    x = _mixed_7a(net, x)
    for number in range(1, 10):
        x = net.block(x, BLOCK_8, SCALE_8, f"block8_{number}")
    x = net.block(x, BLOCK_8, 1.0, "block8_10", activation=None)
    x = net.unit(x, 1536, 1, name="conv_7b")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="avg_pool"), name="flatten")
    return b.model(b.linear(x, num_classes, name="predictions"), seed=seed)


@dataclass
class _Layers:
    """Writes the layers, and numbers those without a name of their own."""

    b: Builder
    unnamed: int = 0

    def unit(
        self,
        x: Value,
        filters: int,
        kernel: PairLike,
        *,
        stride: int = 1,
        padding: int | str = "same",
        name: str | None = None,
    ) -> Value:
        """A convolution without a bias, a batch norm without a weight, ReLU."""
        conv, norm = f"{name}", f"{name}_bn"
        if name is None:
            suffix = f"_{self.unnamed}" if self.unnamed else ""
            conv, norm = f"conv2d{suffix}", f"batch_normalization{suffix}"
            self.unnamed += 1
        x = self.b.conv2d(x, filters, kernel, stride=stride, padding=padding, bias=False, name=conv)
        return self.b.batch_norm(x, eps=1e-3, scale=False, activation="relu", name=norm)

    def branch(self, x: Value, layers: Layers) -> Value:
        """Convolutions one after the other that keep the image's size."""
        for filters, kernel in layers:
            x = self.unit(x, filters, kernel)
        return x

    def block(
        self,
        x: Value,
        branches: Sequence[Layers],
        scale: float,
        name: str,
        *,
        activation: ActivationLike = "relu",
    ) -> Value:
        """x + scale (branches side by side, fitted to x by a 1x1 convolution without a norm)."""
        made = [self.branch(x, layers) for layers in branches]
        mixed = self.b.concat(made, name=f"{name}_mixed")
        y = self.b.conv2d(mixed, x.sizes[1], 1, name=f"{name}_conv")
        if scale != 1:
            y = self.b.scale(y, scale, name=f"{name}_scaled")
        return self.b.add(x, y, activation=activation, name=name)


def _mixed_5b(net: _Layers, x: Value) -> Value:
    """35x35x320: the last module without a residual; its mean does not count the padding."""
    branches = [
        net.branch(x, layers)
        for layers in (((96, 1),), ((48, 1), (64, 5)), ((64, 1), (96, 3), (96, 3)))
    ]
    pooled = net.b.avg_pool2d(
        x, 3, stride=1, padding="same", count_include_pad=False, name="average_pooling2d"
    )
    return net.b.concat([*branches, net.unit(pooled, 64, 1)], name="mixed_5b")


def _mixed_6a(net: _Layers, x: Value) -> Value:
    """To 17x17x1088."""
    single = net.unit(x, 384, 3, stride=2, padding=0)
    double = net.branch(x, ((256, 1), (256, 3)))
    double = net.unit(double, 384, 3, stride=2, padding=0)
    pooled = net.b.max_pool2d(x, 3, stride=2, name="max_pooling2d_2")
    return net.b.concat([single, double, pooled], name="mixed_6a")


def _mixed_7a(net: _Layers, x: Value) -> Value:
    """To 8x8x2080."""
    branches = []
    for layers, filters in (
        (((256, 1),), 384), (((256, 1),), 288), (((256, 1), (288, 3)), 320),
    ):  # fmt: skip
        inside = net.branch(x, layers)
        branches.append(net.unit(inside, filters, 3, stride=2, padding=0))
    pooled = net.b.max_pool2d(x, 3, stride=2, name="max_pooling2d_3")
    return net.b.concat([*branches, pooled], name="mixed_7a")
