"""Builder: writes a network, one call a node; shapes are checked as it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convkit.epilogue import ActivationLike
from convkit.graph.ir import Graph, Node, Shape, Value, Weight
from convkit.graph.model import Model
from convkit.graph.ops import OPS
from convkit.graph.ops.convolution import conv2d_weights, linear_weights
from convkit.problem import DTYPES, PaddingLike, PairLike, integer, one_of, pair


class Builder:
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

    def __init__(
        self, input_shape: Sequence[int], *, dtype: str = "float32", name: str = "network"
    ) -> None:
        if not isinstance(input_shape, (tuple, list)):
            raise TypeError(f"input_shape={input_shape!r} must be a tuple (c, h, w) or (c,)")
        if len(input_shape) not in (1, 3):
            raise ValueError(f"input_shape={tuple(input_shape)} must be (c, h, w) or (c,)")
        shape = tuple(integer("input_shape", size, least=1) for size in input_shape)
        self._name = name
        self._input = Value("input", (1, *shape), one_of("dtype", dtype, DTYPES))
        self._nodes: list[Node] = []
        self._values = {"input": self._input}

    @property
    def input(self) -> Value:
        """The network's input."""
        return self._input

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
        activation: ActivationLike = None,
        name: str | None = None,
    ) -> Value:
        """Normalise each channel. Weights: weight, bias, running_mean, running_var."""
        self._check(x)
        if len(x.sizes) not in (2, 4):
            raise ValueError(
                f"batch_norm needs (n, c) or (n, c, h, w), but {x.name} has shape {x.sizes}"
            )
        weights = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (x.sizes[1],))
        return self._add("batch_norm", name, (x,), weights, eps=eps, activation=activation)

    # Pooling

    def max_pool2d(
        self,
        x: Value,
        kernel: PairLike,
        *,
        stride: PairLike | None = None,
        padding: PairLike = 0,
        ceil_mode: bool = False,
        name: str | None = None,
    ) -> Value:
        """Take the maximum of each window; the stride is the kernel unless given."""
        return self._add(
            "max_pool2d", name, (x,), {}, kernel=kernel, stride=stride, padding=padding,
            ceil_mode=ceil_mode,
        )  # fmt: skip

    def avg_pool2d(
        self,
        x: Value,
        kernel: PairLike,
        *,
        stride: PairLike | None = None,
        padding: PairLike = 0,
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

    def pad_channels(
        self, x: Value, before: int, after: int, *, stride: int = 1, name: str | None = None
    ) -> Value:
        """Every stride-th row and column, with channels of zeros before and after."""
        return self._add("pad_channels", name, (x,), {}, before=before, after=after, stride=stride)

    # The end

    def model(self, output: Value | Sequence[Value], *, seed: int = 0) -> Model:
        """The network that makes this value, or these; nodes they do not need are left out.

        `seed` is that of the random weights a model has until it loads others.
        """
        outputs = (output,) if isinstance(output, Value) else tuple(output)
        if not outputs:
            raise ValueError("output=() must be a value or several")
        for value in outputs:
            self._check(value)
        whole = Graph(self._name, (self._input,), tuple(self._nodes), outputs)
        graph = whole.but(whole.nodes)
        return Model(graph, seed=integer("seed", seed, least=0))

    def _add(
        self,
        op: str,
        name: str | None,
        inputs: tuple[Value, ...],
        weights: Mapping[str, Shape],
        **keywords: Any,
    ) -> Value:
        """Check and append a node; settings are frozen, lists in them become tuples."""
        for value in inputs:
            self._check(value)
        name = self._free_name(op, name)
        dtype = inputs[0].dtype
        owned = tuple(
            Weight(f"{name}.{role}", shape, dtype, role=role) for role, shape in weights.items()
        )
        settings = tuple((key, _frozen(value)) for key, value in keywords.items())
        read = (*inputs, *owned)
        ((shape, dtype),) = OPS[op].infer(read, [None] * len(read), dict(settings))
        output = Value(name, shape, dtype)
        self._nodes.append(Node(op, name, read, (output,), settings))
        self._values[name] = output
        return output

    def _free_name(self, op: str, name: str | None) -> str:
        if name is None:
            number = 1
            while f"{op}_{number}" in self._values:
                number += 1
            return f"{op}_{number}"
        if not isinstance(name, str) or not name:
            raise TypeError(f"name={name!r} must be a string that is not empty")
        if name in self._values:
            raise ValueError(f"name={name!r} is taken: expected one for each node")
        return name

    def _check(self, value: Value) -> None:
        if not isinstance(value, Value):
            raise TypeError(
                f"a {type(value).__name__} was given: expected a value, such as b.input or what "
                f"b.conv2d returns"
            )
        if self._values.get(value.name) is not value:
            raise ValueError(f"value {value.name!r} is not of this builder")


def _frozen(value: Any) -> Any:
    """Lists inside settings as tuples, so that a node cannot be changed from outside."""
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value
