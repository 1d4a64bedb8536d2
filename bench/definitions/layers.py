"""What the definitions are written in: PyTorch's functions, and weights drawn on the way.

A definition is a function of `Layers` and images. Its first run draws each layer's weights when
the layer is reached, so that the signal keeps its size; later runs take the same weights in the
same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Pair = int | tuple[int, int]

BAND = 1 << 28  # bytes of patches that a convolution may copy out at a time


@dataclass
class Layer:
    """A layer with weights.

    Attributes
    ----------
    kind : str
        convkit's word for it.
    name : str or None
    weights : role -> tensor
        In convkit's layout.
    after : Layer or None
        The layer that made what this one reads, with nothing between them.
    read : array, optional
        What it read last, where that is kept.
    """

    kind: str
    name: str | None
    weights: dict[str, Any]
    after: Layer | None = None
    read: Any = None


class Layers:
    """A network of layers in order of execution: call it as net(images, dtype).

    Parameters
    ----------
    definition : function of Layers and images
        What the network computes; it may give several outputs as a tuple.
    seed : int
        Of the weights.

    Attributes
    ----------
    made : list of Layer
    keeping : bool
        Whether what each layer reads is kept, to be compared.
    """

    def __init__(self, definition: Callable[[Layers, Any], Any], seed: int = 0) -> None:
        import torch

        self.torch = torch
        self.functions = torch.nn.functional
        self.made: list[Layer] = []
        self.keeping = False
        self._last: tuple[Layer | None, Any] = (None, None)  # the last layer, and what it made
        self._definition = definition
        self._random = torch.Generator().manual_seed(seed)
        self._next: Iterator[Layer] | None = None
        self._dtype = torch.float64

    def draw(self, images: Any) -> None:
        """Draw the weights, for the signals of these images."""
        self(images)
        self._last = (None, None)
        for layer in self.made:
            for role, values in layer.weights.items():  # what float32 networks can hold
                layer.weights[role] = values.float().double()

    def __call__(self, images: Any, dtype: str = "float64") -> tuple[Any, ...]:
        """Run on (n, c, h, w) numbers; the outputs as arrays."""
        self._dtype = getattr(self.torch, dtype)
        with self.torch.no_grad():
            made = self._definition(self, self.torch.as_tensor(images).to(self._dtype))
        self._next = iter(self.made)  # from now on weights are taken, not drawn
        made = made if isinstance(made, tuple) else (made,)
        return tuple(value.numpy() for value in made)

    # Layers with weights

    def conv(
        self,
        x: Any,
        filters: int,
        kernel: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        name: str | None = None,
    ) -> Any:
        """Convolve; padding "same" is TensorFlow's: the odd row and column at the end."""
        read = x
        if padding == "same":
            x, padding = self.pad_same(x, kernel, stride), 0
        shape = (filters, x.shape[1] // groups, *_pair(kernel))

        def compute(weight: Any, b: Any = None) -> Any:
            return self._conv_in_bands(x, weight, b, stride, padding, dilation, groups)

        return self._linear("conv2d", name, read, shape, filters if bias else 0, compute)

    def conv_transpose(
        self, x: Any, filters: int, kernel: Pair, stride: Pair, padding: Pair = 0,
        bias: bool = True, name: str | None = None,
    ) -> Any:  # fmt: skip
        """Convolve transposed: each pixel becomes a window."""
        shape = (x.shape[1], filters, *_pair(kernel))

        def compute(weight: Any, b: Any = None) -> Any:
            return self.functions.conv_transpose2d(x, weight, b, stride, padding)

        return self._linear("conv_transpose2d", name, x, shape, filters if bias else 0, compute)

    def linear(self, x: Any, features: int, bias: bool = True, name: str | None = None) -> Any:
        """Multiply by a matrix (features, c)."""

        def compute(weight: Any, b: Any = None) -> Any:
            return self.functions.linear(x, weight, b)

        shape = (features, x.shape[1])
        return self._linear("linear", name, x, shape, features if bias else 0, compute)

    def norm(
        self, x: Any, eps: float = 1e-5, name: str | None = None, loudness: float = 1.0
    ) -> Any:
        """Normalise each channel by its stored mean and variance.

        The weights drawn are about `loudness`. Where many branches are added one after the other,
        branches as loud as what they are added to make errors grow from block to block, until
        float32 says nothing; in trained networks they are quieter.
        """

        def draw() -> dict[str, Any]:
            channels = x.shape[1]
            return {
                "weight": loudness * (0.7 + 0.6 * self._uniform(channels)),
                "bias": 0.1 * self._normal(channels),
                "running_mean": 0.5 * x.mean((0, 2, 3)) + 0.1 * x.std() * self._normal(channels),
                "running_var": x.square().mean() * (0.7 + 0.6 * self._uniform(channels)),
            }

        def compute(weight: Any, bias: Any, mean: Any, var: Any) -> Any:
            return self.functions.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

        return self._layer("batch_norm", name, x, draw, compute)

    def gain(self, x: Any) -> Any:
        """A factor for each channel."""

        def draw() -> dict[str, Any]:
            return {"gain": (0.7 + 0.6 * self._uniform(x.shape[1], 1, 1)) / x.std()}

        return self._layer("mul", None, x, draw, lambda gain: x * gain)

    def shift(self, x: Any) -> Any:
        """A bias for each channel."""

        def draw() -> dict[str, Any]:
            return {"bias": 0.1 * self._normal(x.shape[1], 1, 1)}

        return self._layer("add", None, x, draw, lambda bias: x + bias)

    def distances(self, x: Any, features: int, name: str | None = None) -> Any:
        """The squared distance of each row to each code of -1 and 1."""

        def draw() -> dict[str, Any]:
            return {"codes": self._normal(features, x.shape[1]).sign()}

        def compute(codes: Any) -> Any:
            return (x[:, None, :] - codes).square().sum(2)

        return self._layer("sub", name, x, draw, compute)

    # Layers without

    def max_pool(
        self, x: Any, kernel: int, stride: int, padding: int = 0, ceil: bool = False
    ) -> Any:
        """The largest of each window."""
        return self.functions.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil)

    def max_pool_same(self, x: Any, kernel: int, stride: int) -> Any:
        """The largest of each window, with TensorFlow's "same" padding."""
        return self.max_pool(self.pad_same(x, kernel, stride, -float("inf")), kernel, stride)

    def avg_pool(
        self, x: Any, kernel: int, stride: int, padding: int = 0, count_padding: bool = True
    ) -> Any:
        """The mean of each window."""
        return self.functions.avg_pool2d(
            x, kernel, stride, padding, count_include_pad=count_padding
        )

    def response_norm(self, x: Any) -> Any:
        """Divide by (2 + 1e-4 the sum of the squares of 5 channels)^0.75: AlexNet's section 3.3.

        PyTorch's alpha is that of a mean, so 5 times as large.
        """
        return self.functions.local_response_norm(x, 5, 5e-4, 0.75, 2.0)

    def upsample(self, x: Any, size: tuple[int, int]) -> Any:
        """Resize bilinearly, corners not aligned."""
        return self.functions.interpolate(x, size, mode="bilinear", align_corners=False)

    def concat(self, values: list[Any]) -> Any:
        """Channels behind channels."""
        return self.torch.cat(values, 1)

    def pad(self, x: Any, sides: tuple[int, ...], value: float = 0.0) -> Any:
        """Pad by (left, right, top, bottom), or also (..., before, after) in channels."""
        return self.functions.pad(x, sides, value=value)

    def pad_same(self, x: Any, kernel: Pair, stride: Pair, value: float = 0.0) -> Any:
        """Pad as TensorFlow's "same" does."""
        sides: list[int] = []
        for size, window, step in zip(x.shape[2:], _pair(kernel), _pair(stride), strict=True):
            total = max(0, (-(-size // step) - 1) * step + window - size)
            sides = [total // 2, total - total // 2, *sides]
        return self.functions.pad(x, tuple(sides), value=value)

    # Weights

    def _conv_in_bands(
        self, x: Any, weight: Any, bias: Any, stride: Pair, padding: Any, dilation: int, groups: int
    ) -> Any:
        """Convolve, some rows at a time: in float64 PyTorch copies all patches out first."""
        rows, columns = _pair(padding)
        if rows or columns:
            x = self.functions.pad(x, (columns, columns, rows, rows))
        step, reach = _pair(stride)[0], (weight.shape[2] - 1) * dilation + 1
        count = (x.shape[2] - reach) // step + 1
        patches = 8 * x.shape[0] * weight[0].numel() * groups * x.shape[3]  # bytes of a row's
        band = max(1, BAND // patches)
        made = []
        for first in range(0, count, band):
            last = min(first + band, count) - 1
            part = x[:, :, first * step : last * step + reach]
            made.append(self.functions.conv2d(part, weight, bias, stride, 0, dilation, groups))
        return made[0] if len(made) == 1 else self.torch.cat(made, 2)

    def _linear(
        self, kind: str, name: str | None, x: Any, shape: tuple[int, ...], bias: int, compute: Any
    ) -> Any:
        """A layer that multiplies: drawn so that what it makes has a deviation of about 1."""

        def draw() -> dict[str, Any]:
            weight = self._normal(*shape)
            weight /= compute(weight).std()
            return {"weight": weight, **({"bias": 0.1 * self._normal(bias)} if bias else {})}

        return self._layer(kind, name, x, draw, compute)

    def _layer(self, kind: str, name: str | None, x: Any, draw: Any, compute: Any) -> Any:
        """Draw or take the weights, and compute."""
        if self._next is None:
            after, made = self._last
            layer = Layer(kind, name, draw(), after if made is x else None)
            self.made.append(layer)
        else:
            layer = next(self._next)
        layer.read = x if self.keeping else None
        made = compute(*(values.to(self._dtype) for values in layer.weights.values()))
        self._last = (layer, made) if self._next is None else (None, None)
        return made

    def _normal(self, *shape: int) -> Any:
        return self.torch.randn(shape, generator=self._random, dtype=self.torch.float64)

    def _uniform(self, *shape: int) -> Any:
        return self.torch.rand(shape, generator=self._random, dtype=self.torch.float64)


def _pair(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
