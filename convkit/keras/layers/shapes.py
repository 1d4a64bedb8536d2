"""Layers that pad, cut, and give the elements another shape."""

from __future__ import annotations

import math
from typing import Any

from convkit.keras.layer import Layer, Pair
from convkit.keras.layers.convolution import image
from convkit.keras.net import IMAGE_AXES, Net, Tensor

#: From channels last to channels second, and back.
TO_IMAGE, TO_KERAS = (0, 3, 1, 2), (0, 2, 3, 1)


def zero_padding2d(layer: Layer) -> Any:
    layer.channels_last()
    return _padded(layer.sides("padding"), 1)


def cropping2d(layer: Layer) -> Any:
    layer.channels_last()
    return _padded(layer.sides("cropping"), -1)


def _padded(sides: tuple[Pair, Pair], sign: int) -> Any:
    """Rows and columns of zeros more, or fewer rows and columns."""
    (top, bottom), (left, right) = sides

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        pads = (0, 0, sign * top, sign * left, 0, 0, sign * bottom, sign * right)
        y = net.emit("pad", layer.name, (image(x, layer),), pads=pads)
        if min(y.sizes) < 1:
            raise ValueError(f"{layer.kind} leaves nothing of shape {x.value.sizes}")
        return Tensor(y)

    return write


def flatten(layer: Layer) -> Any:
    layer.channels_last()
    return _flat


def _flat(net: Net, layer: Layer, x: Tensor) -> Tensor:
    """In convkit's order; the image is kept for those who need Keras' order."""
    value = x.value
    if len(value.sizes) == 2:
        return x
    y = net.emit("flatten", layer.name, (value,), axis=1)
    turned = len(value.sizes) == 4 and value.sizes[2:] != (1, 1)
    return Tensor(y, value if turned else None)


def reshape(layer: Layer) -> Any:
    asked = layer.get("target_shape")
    good = isinstance(asked, list) and 0 < len(asked) <= 4
    if not good or any(type(size) is not int or not -1 <= size < 1 << 31 for size in asked):
        raise ValueError(f"target_shape={asked!r} must be a list of sizes")
    if 0 in asked or asked.count(-1) > 1:
        raise ValueError(f"target_shape={asked} must be of sizes, one of which may be -1")
    target = tuple(asked)

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        count = math.prod(x.value.sizes[1:])
        if len(target) == 1:
            if target[0] not in (-1, count):
                raise ValueError(f"target_shape={target} does not fit {count} elements")
            return _flat(net, layer, x)
        value = x.value if x.image is None else net.plain(x)
        turned = len(value.sizes) == 4 and value.sizes[2:] != (1, 1)
        if turned:
            value = net.emit("transpose", f"{layer.name}.nhwc", (value,), perm=TO_KERAS)
        if len(target) != 3:
            return Tensor(net.emit("reshape", layer.name, (value,), shape=(0, *target)))
        if target[:2] == (1, 1):  # channels of one pixel: the same order in both layouts
            shape = (0, target[2], 1, 1)
            return Tensor(net.emit("reshape", layer.name, (value,), shape=shape))
        value = net.emit("reshape", f"{layer.name}.nhwc", (value,), shape=(0, *target))
        return Tensor(net.emit("transpose", layer.name, (value,), perm=TO_IMAGE))

    return write


def permute(layer: Layer) -> Any:
    """Other orders of the axes behind the batch, counted from 1."""
    dims = layer.get("dims")
    if not isinstance(dims, list) or sorted(map(str, dims)) != [
        str(axis) for axis in range(1, len(dims) + 1)
    ]:
        raise ValueError(f"dims={dims!r} must name each axis from 1 on once")
    perm = (0, *dims)

    def write(net: Net, layer: Layer, x: Tensor) -> Tensor:
        value = net.plain(x)
        if len(value.sizes) != len(perm):
            raise ValueError(f"dims={dims} must name the axes of shape {value.sizes}")
        order = perm
        if len(perm) == 4:  # the same of channels that stand second on both sides
            order = tuple(IMAGE_AXES[perm[axis]] for axis in TO_IMAGE)
        return Tensor(net.emit("transpose", layer.name, (value,), perm=order))

    return write


TRANSLATORS = {
    "ZeroPadding2D": zero_padding2d,
    "Cropping2D": cropping2d,
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
}
