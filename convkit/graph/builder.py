"""Builder: writes a network, one call a node; shapes are checked as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np

from convkit.epilogue import ActivationLike
from convkit.graph.ir import Value, Weight
from convkit.graph.ops.convolution import conv2d_weights, linear_weights
from convkit.graph.writer import Writer
from convkit.problem import PaddingLike, PairLike, integer, one_of, padding_sides, pair


class Builder(Writer):
    """Write a network.

    Each method adds a node and returns the value it makes; `model` ends it. Convolutions, linear
    layers, batch norms and additions take an `activation` that is done in the same pass.

    Parameters
    ----------
    input_shape : (c, h, w) or (c,)
        One input image; a model takes any number of them.
    dtype : "float32" or "float64"
    name : str
        What printing and messages call the network.

    Examples
    --------
    >>> import convkit
    >>> b = convkit.Builder((1, 28, 28), name="tiny")
    >>> x = b.max_pool2d(b.conv2d(b.input, 8, 3, activation="relu", name="conv1"), 2)
    >>> model = b.model(b.linear(b.flatten(x), 10, name="fc"))
    >>> print(model.graph.outputs[0])
    1x10
    """

    # Layers with weights

    def conv2d(
        self,
        x: Value,
        filters: int,
        kernel: PairLike,
        *,
        stride: PairLike = 1,
        padding: PaddingLike = 0,
        padding_mode: str = "zeros",
        dilation: PairLike = 1,
        groups: int = 1,
        bias: bool = True,
        activation: ActivationLike = None,
        name: str | None = None,
    ) -> Value:
        """Convolve; the keywords are those of `convkit.conv2d`. Weights: weight, bias."""
        self._check(x)
        k = integer("filters", filters, least=1)
        shape = conv2d_weights(
            x, k, pair("kernel", kernel, least=1), integer("groups", groups, least=1)
        )
        return self._add(
            "conv2d", name, (x,), {"weight": shape, **({"bias": (k,)} if bias else {})},
            stride=stride, padding=padding, padding_mode=padding_mode, dilation=dilation,
            groups=groups, activation=activation,
        )  # fmt: skip

    def conv_transpose2d(
        self,
        x: Value,
        filters: int,
        kernel: PairLike,
        *,
        stride: PairLike = 1,
        padding: PaddingLike = 0,
        output_padding: PairLike = 0,
        dilation: PairLike = 1,
        groups: int = 1,
        bias: bool = True,
        activation: ActivationLike = None,
        name: str | None = None,
    ) -> Value:
        """Convolve transposed; the keywords are those of `convkit.conv_transpose2d`. Weights:
        weight (c, filters / groups, r, s), bias."""
        self._check(x)
        k, g = integer("filters", filters, least=1), integer("groups", groups, least=1)
        if k % g:
            raise ValueError(f"groups={g} must divide the {k} filters")
        shape = (x.sizes[1], k // g, *pair("kernel", kernel, least=1))
        return self._add(
            "conv_transpose2d", name, (x,), {"weight": shape, **({"bias": (k,)} if bias else {})},
            stride=stride, padding=padding, output_padding=output_padding, dilation=dilation,
            groups=groups, activation=activation,
        )  # fmt: skip

    def linear(
        self,
        x: Value,
        features: int,
        *,
        bias: bool = True,
        activation: ActivationLike = None,
        name: str | None = None,
    ) -> Value:
        """Multiply by a matrix (features, c). Weights: weight, bias."""
        self._check(x)
        k = integer("features", features, least=1)
        weights = {"weight": linear_weights(x, k), **({"bias": (k,)} if bias else {})}
        return self._add("linear", name, (x,), weights, activation=activation)

    def batch_norm(
        self,
        x: Value,
        *,
        eps: float = 1e-5,
        scale: bool = True,
        activation: ActivationLike = None,
        name: str | None = None,
    ) -> Value:
        """Normalise each channel. Weights: weight, bias, running_mean, running_var.

        Without `scale` there is no weight, as in Keras' layers with scale=False.
        """
        self._check(x)
        if len(x.sizes) not in (2, 4):
            raise ValueError(
                f"batch_norm needs (n, c) or (n, c, h, w), but {x.name} has shape {x.sizes}"
            )
        shape = (x.sizes[1],)
        weights = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), shape)
        read = [x]
        if not scale:
            name = self._free_name("batch_norm", name)
            del weights["weight"]
            ones = self._free_name("", f"{name}.ones")
            read += self._append(
                "constant_of_shape", ones, (), {"shape": shape, "value": 1, "dtype": x.dtype}
            )
        return self._add("batch_norm", name, read, weights, eps=eps, activation=activation)

    def affine(self, x: Value, *, name: str | None = None) -> Value:
        """Multiply each channel by a number and add another. Weights: gain, bias (c, 1, 1)."""
        self._check(x)
        name = self._free_name("affine", name)
        shape = (x.sizes[1], *(1,) * (len(x.sizes) - 2))
        gain = Weight(f"{name}.gain", shape, x.dtype, role="gain")
        bias = Weight(f"{name}.bias", shape, x.dtype, role="bias")
        (scaled,) = self._append("mul", self._free_name("", f"{name}.scaled"), (x, gain), {})
        return self._append("add", name, (scaled, bias), {})[0]

    def rbf(self, x: Value, features: int, *, codes: Any = None, name: str | None = None) -> Value:
        """Squared distance of x (c,) to `features` fixed codes: sum of (x - code)^2.

        Buffer: codes (features, c), which no training changes; random +1 and -1 unless given.
        """
        self._check(x)
        if len(x.sizes) != 2:
            raise ValueError(f"rbf needs (n, c), but {x.name} has shape {x.sizes}")
        name = self._free_name("rbf", name)
        shape = (integer("features", features, least=1), x.sizes[1])
        if codes is None:
            codes = np.random.default_rng(0).choice((-1.0, 1.0), shape)
        array = np.array(codes, x.dtype)
        if array.shape != shape:
            raise ValueError(f"codes has shape {array.shape}, expected {shape}")
        array.flags.writeable = False
        buffer = Weight(f"{name}.codes", shape, x.dtype, role="codes")
        self._fixed[buffer.name] = array
        row = self.reshape(x, (1, x.sizes[1]), name=f"{name}.row")
        (apart,) = self._append("sub", self._free_name("", f"{name}.apart"), (row, buffer), {})
        return self._append("reduce_sum_square", name, (apart,), {"axes": (2,), "keepdims": 0})[0]

    # Pooling

    @overload
    def max_pool2d(
        self, x: Value, kernel: PairLike, *, stride: PairLike | None = ...,
        padding: PaddingLike = ..., ceil_mode: bool = ..., return_indices: Literal[False] = ...,
        name: str | None = ...,
    ) -> Value: ...  # fmt: skip
    @overload
    def max_pool2d(
        self, x: Value, kernel: PairLike, *, stride: PairLike | None = ...,
        padding: PaddingLike = ..., ceil_mode: bool = ..., return_indices: Literal[True],
        name: str | None = ...,
    ) -> tuple[Value, Value]: ...  # fmt: skip
    def max_pool2d(
        self,
        x: Value,
        kernel: PairLike,
        *,
        stride: PairLike | None = None,
        padding: PaddingLike = 0,
        ceil_mode: bool = False,
        return_indices: bool = False,
        name: str | None = None,
    ) -> Value | tuple[Value, Value]:
        """Take the maximum of each window; the stride is the kernel unless given.

        `padding` may be "same", of which an odd row or column is below and right. With
        `return_indices` also where in the plane each maximum was, for `max_unpool2d`.
        """
        keywords: dict[str, Any] = {
            "kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode,
        }  # fmt: skip
        if not return_indices:
            return self._add("max_pool2d", name, (x,), {}, **keywords)
        self._check(x)
        name = self._free_name("max_pool2d", name)
        places = self._free_name("", f"{name}.indices")
        keywords["indices"] = "rows"
        y, indices = self._append("max_pool2d", name, (x,), keywords, (places,))
        return y, indices

    def max_unpool2d(
        self,
        x: Value,
        indices: Value,
        kernel: PairLike,
        *,
        stride: PairLike | None = None,
        padding: PairLike = 0,
        output_size: PairLike | None = None,
        name: str | None = None,
    ) -> Value:
        """Put each value back where its maximum was, zeros elsewhere."""
        size = (
            {}
            if output_size is None
            else {"output_size": pair("output_size", output_size, least=1)}
        )
        return self._add(
            "max_unpool2d", name, (x, indices), {}, kernel=kernel, stride=stride, padding=padding,
            **size,
        )  # fmt: skip

    def avg_pool2d(
        self,
        x: Value,
        kernel: PairLike,
        *,
        stride: PairLike | None = None,
        padding: PaddingLike = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        name: str | None = None,
    ) -> Value:
        """Take the mean of each window; the stride is the kernel unless given."""
        return self._add(
            "avg_pool2d", name, (x,), {}, kernel=kernel, stride=stride, padding=padding,
            ceil_mode=ceil_mode, count_include_pad=count_include_pad,
        )  # fmt: skip

    def global_avg_pool2d(self, x: Value, *, name: str | None = None) -> Value:
        """Take the mean of each channel: (c, 1, 1)."""
        return self._add("global_avg_pool2d", name, (x,), {})

    def global_max_pool2d(self, x: Value, *, name: str | None = None) -> Value:
        """Take the maximum of each channel: (c, 1, 1)."""
        return self._add("global_max_pool2d", name, (x,), {})

    def local_response_norm(
        self,
        x: Value,
        size: int = 5,
        *,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        name: str | None = None,
    ) -> Value:
        """Divide by (k + alpha mean of the squares of `size` neighbouring channels)^beta."""
        return self._add(
            "local_response_norm", name, (x,), {}, size=size, alpha=alpha, beta=beta, k=k
        )

    # Element by element

    def activation(self, x: Value, activation: ActivationLike, *, name: str | None = None) -> Value:
        """Apply an activation: a name or (name, parameters...)."""
        return self._add("activation", name, (x,), {}, activation=activation)

    def relu(self, x: Value, *, name: str | None = None) -> Value:
        """max(x, 0)."""
        return self.activation(x, "relu", name=name)

    def relu6(self, x: Value, *, name: str | None = None) -> Value:
        """min(max(x, 0), 6)."""
        return self.activation(x, "relu6", name=name)

    def clip(self, x: Value, lo: float, hi: float, *, name: str | None = None) -> Value:
        """min(max(x, lo), hi)."""
        return self.activation(x, ("clip", lo, hi), name=name)

    def leaky_relu(self, x: Value, slope: float = 0.01, *, name: str | None = None) -> Value:
        """x, or slope x where x is negative."""
        return self.activation(x, ("leaky_relu", slope), name=name)

    def elu(self, x: Value, alpha: float = 1.0, *, name: str | None = None) -> Value:
        """x, or alpha (exp(x) - 1) where x is negative."""
        return self.activation(x, ("elu", alpha), name=name)

    def hardsigmoid(
        self, x: Value, slope: float = 1 / 6, shift: float = 0.5, *, name: str | None = None
    ) -> Value:
        """slope x + shift, clipped to 0 and 1."""
        return self.activation(x, ("hardsigmoid", slope, shift), name=name)

    def sigmoid(self, x: Value, *, name: str | None = None) -> Value:
        """1 / (1 + exp(-x))."""
        return self.activation(x, "sigmoid", name=name)

    def tanh(self, x: Value, *, name: str | None = None) -> Value:
        """The hyperbolic tangent."""
        return self.activation(x, "tanh", name=name)

    def hardswish(self, x: Value, *, name: str | None = None) -> Value:
        """x times its hard sigmoid."""
        return self.activation(x, "hardswish", name=name)

    def silu(self, x: Value, *, name: str | None = None) -> Value:
        """x times its sigmoid."""
        return self.activation(x, "silu", name=name)

    def gelu(self, x: Value, *, name: str | None = None) -> Value:
        """x times the normal distribution function of x."""
        return self.activation(x, "gelu", name=name)

    def add(
        self, x: Value, y: Value, *, activation: ActivationLike = None, name: str | None = None
    ) -> Value:
        """x + y, two values of one shape: a residual connection."""
        return self._add("add", name, (x, y), {}, activation=activation)

    def multiply(self, x: Value, y: Value, *, name: str | None = None) -> Value:
        """x y; sizes of 1 are repeated: (c, 1, 1) weighs the channels of (c, h, w)."""
        return self._add("mul", name, (x, y), {})

    def scale(self, x: Value, factor: float, *, name: str | None = None) -> Value:
        """x times a number that belongs to the network's definition."""
        self._check(x)
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            raise TypeError(f"factor={factor!r} must be a number")
        name = self._free_name("scale", name)
        number = self._constant(self._free_name("", f"{name}.factor"), np.array(factor, x.dtype))
        return self._append("mul", name, (x, number), {})[0]

    def softmax(
        self, x: Value, *, axis: int = -1, b: float = 1.0, name: str | None = None
    ) -> Value:
        """exp(b x) over its sum along an axis (counted with the batch as axis 0)."""
        self._check(x)
        axes = len(x.sizes)
        if isinstance(axis, bool) or not isinstance(axis, int) or axis % axes == 0:
            raise ValueError(f"axis={axis!r} must be an axis of {x.name} behind the batch")
        return self._add("softmax", name, (x,), {}, axis=axis, b=b)

    def dropout(self, x: Value, p: float = 0.5) -> Value:
        """x itself: dropout does nothing once a network is trained."""
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise ValueError(f"p={p!r} must be a number from 0 to 1")
        self._check(x)
        return x

    # Shapes

    def flatten(self, x: Value, *, name: str | None = None) -> Value:
        """All numbers of an image in one row."""
        return self._add("flatten", name, (x,), {}, axis=1)

    def reshape(self, x: Value, shape: Sequence[int], *, name: str | None = None) -> Value:
        """The numbers of an image, in their order, as another shape (without the batch)."""
        self._check(x)
        sizes = tuple(integer("shape", size, least=1) for size in shape)
        return self._add("reshape", name, (x,), {}, shape=(0, *sizes))

    def concat(self, values: Sequence[Value], *, axis: int = 1, name: str | None = None) -> Value:
        """Values side by side along an axis (counted with the batch as axis 0): channels."""
        if isinstance(values, Value) or not values:
            raise TypeError(f"values={values!r} must be a list of values")
        return self._add("concat", name, tuple(values), {}, axis=axis)

    def take_channels(self, x: Value, indices: Sequence[int], *, name: str | None = None) -> Value:
        """The channels of these indices, in this order."""
        self._check(x)
        name = self._free_name("take_channels", name)
        numbers = np.array([integer("indices", index, least=0) for index in indices], np.int64)
        chosen = self._constant(self._free_name("", f"{name}.indices"), numbers)
        return self._append("gather", name, (x, chosen), {"axis": 1})[0]

    def upsample2d(
        self, x: Value, factor: PairLike, *, mode: str = "nearest", name: str | None = None
    ) -> Value:
        """Enlarge images by whole factors; mode "nearest" or "bilinear" (half-pixel centres)."""
        kind = one_of("mode", mode, ("nearest", "bilinear"))
        scales = tuple(float(size) for size in pair("factor", factor, least=1))
        return self._add(
            "resize", name, (x,), {}, axes=(2, 3), scales=scales,
            mode="nearest" if kind == "nearest" else "linear", coordinates="half_pixel",
            rounding="round_prefer_floor",
        )  # fmt: skip

    def pad2d(
        self, x: Value, padding: PaddingLike, *, value: float = 0.0, name: str | None = None
    ) -> Value:
        """Rows and columns of one value around images; `padding` as of conv2d, in pixels."""
        self._check(x)
        top, bottom, left, right = padding_sides(padding, (1, 1), (1, 1), (1, 1), (1, 1))
        return self._add(
            "pad", name, (x,), {}, pads=(top, left, bottom, right), axes=(2, 3), value=value
        )

    def crop2d(
        self, x: Value, top: int, left: int, height: int, width: int, *, name: str | None = None
    ) -> Value:
        """A window of the images."""
        self._check(x)
        h, w = x.sizes[2:]
        first, begin = integer("top", top, least=0), integer("left", left, least=0)
        rows, columns = integer("height", height, least=1), integer("width", width, least=1)
        if first + rows > h or begin + columns > w:
            raise ValueError(
                f"a window of {rows}x{columns} at ({first}, {begin}) is not inside {x.name} of "
                f"{h}x{w}"
            )
        return self._add(
            "slice", name, (x,), {}, axes=(2, 3), starts=(first, begin),
            ends=(first + rows, begin + columns),
        )  # fmt: skip

    def pad_channels(
        self, x: Value, before: int, after: int, *, stride: int = 1, name: str | None = None
    ) -> Value:
        """Every stride-th row and column, with channels of zeros before and after."""
        return self._add("pad_channels", name, (x,), {}, before=before, after=after, stride=stride)
