"""Inception v2, called BN-Inception (Ioffe and Szegedy 2015, Batch normalization: accelerating deep
network training by reducing internal covariate shift, figure 5).

GoogLeNet with batch norm after each convolution, two 3x3 convolutions for each 5x5 one, and
modules that stride where GoogLeNet pools between modules. The branches are as wide as the figure
prints them, which makes 608 channels of 4c and 4d where its column of sizes says 576. Weight
names, the biases before the norms and the plain 7x7 stem are those of the weights that people
have (Caffe's model and its ports to PyTorch, pretrainedmodels' `bninception`).
"""

from __future__ import annotations

from typing import NamedTuple

from convkit.graph import Builder, Model, Value
from convkit.problem import PairLike, pair


class Module(NamedTuple):
    """Filters of the branches: 1x1; 1x1 before 3x3; 1x1 before two 3x3; 1x1 after the pool.

    Of a module that strides the first and last are 0: no such branch, and the pool as it is.
    """

    single: int
    reduce: int
    three: int
    double_reduce: int
    double: int
    pool: str
    projected: int


#: Figure 5.
MODULES = {
    "3a": Module(64, 64, 64, 64, 96, "avg", 32),
    "3b": Module(64, 64, 96, 64, 96, "avg", 64),
    "3c": Module(0, 128, 160, 64, 96, "max", 0),
    "4a": Module(224, 64, 96, 96, 128, "avg", 128),
    "4b": Module(192, 96, 128, 96, 128, "avg", 128),
    "4c": Module(160, 128, 160, 128, 160, "avg", 128),
    "4d": Module(96, 128, 192, 160, 192, "avg", 128),
    "4e": Module(0, 128, 192, 192, 256, "max", 0),
    "5a": Module(352, 192, 320, 160, 224, "avg", 128),
    "5b": Module(352, 192, 320, 192, 224, "max", 128),
}

#: Rows and columns that leave one pixel for the last modules.
LEAST = 17


def inception_v2(
    *,
    num_classes: int = 1000,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """11,295,240 parameters on 3x224x224. Logits. `input_size` is at least 17."""
    size = pair("input_size", 224 if input_size is None else input_size, least=LEAST)
    b = Builder((3, *size), name="inception_v2")
    x = _unit(b, b.input, 64, 7, "conv1_7x7_s2", stride=2)
    x = b.max_pool2d(x, 3, stride=2, ceil_mode=True, name="pool1_3x3_s2")
    x = _unit(b, x, 64, 1, "conv2_3x3_reduce")
    x = _unit(b, x, 192, 3, "conv2_3x3")
    x = b.max_pool2d(x, 3, stride=2, ceil_mode=True, name="pool2_3x3_s2")
    for name, module in MODULES.items():
        x = _module(b, x, module, f"inception_{name}")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(b.global_avg_pool2d(x, name="global_pool"), name="flatten")
    return b.model(b.linear(x, num_classes, name="last_linear"), seed=seed)


def _unit(b: Builder, x: Value, filters: int, kernel: int, name: str, *, stride: int = 1) -> Value:
    """A convolution that keeps the image's size but for the stride, normalised, ReLU."""
    x = b.conv2d(x, filters, kernel, stride=stride, padding=kernel // 2, name=name)
    return b.batch_norm(x, activation="relu", name=f"{name}_bn")


def _module(b: Builder, x: Value, module: Module, name: str) -> Value:
    """Up to four branches side by side."""
    strides = module.projected == 0
    stride = 2 if strides else 1
    branches = [] if strides else [_unit(b, x, module.single, 1, f"{name}_1x1")]
    three = _unit(b, x, module.reduce, 1, f"{name}_3x3_reduce")
    branches.append(_unit(b, three, module.three, 3, f"{name}_3x3", stride=stride))
    double = _unit(b, x, module.double_reduce, 1, f"{name}_double_3x3_reduce")
    double = _unit(b, double, module.double, 3, f"{name}_double_3x3_1")
    branches.append(_unit(b, double, module.double, 3, f"{name}_double_3x3_2", stride=stride))
    branches.append(_pool(b, x, module, name))
    return b.concat(branches, name=f"{name}_output")


def _pool(b: Builder, x: Value, module: Module, name: str) -> Value:
    """Pooled by 3x3, then a 1x1 convolution; where the module strides, pooled alone.

    There "same" is Caffe's rounding up for an even size, and for an odd size, which Caffe's model
    does not take, the size that the branches beside it have.
    """
    if module.projected == 0:
        return b.max_pool2d(x, 3, stride=2, padding="same", name=f"{name}_pool")
    pooled = (
        b.max_pool2d(x, 3, stride=1, padding=1, name=f"{name}_pool")
        if module.pool == "max"
        else b.avg_pool2d(x, 3, stride=1, padding=1, name=f"{name}_pool")
    )
    return _unit(b, pooled, module.projected, 1, f"{name}_pool_proj")
