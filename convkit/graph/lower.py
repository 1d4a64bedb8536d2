"""Lowering: a bound graph becomes steps, each a kernel on views of buffers."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convkit import _convkit
from convkit.backends import Array
from convkit.epilogue import IDENTITY, Activation
from convkit.epilogue import activation as activation_of
from convkit.graph.bind import Bound
from convkit.graph.choice import choose, kernel_fields, operator_fields
from convkit.graph.ir import Node, Shape, Value, Weight
from convkit.graph.ops import OPS
from convkit.graph.ops.pooling import Places
from convkit.graph.ops.row import optional
from convkit.graph.tune import Tuned, fastest
from convkit.problem import DTYPES, ConvProblem, KernelProblem
from convkit.select import Request
from convkit.sweeps import binary, from_blocks, recorded, to_blocks
from convkit.sweeps import copy as copied
from convkit.sweeps import function as activation_in_sweeps

Strides = tuple[int, ...]
#: Layers by what they compute and the weights that they hold, shared by a model's programs.
Layers = MutableMapping[Any, _convkit.Plan]


@dataclass(frozen=True, slots=True)
class View:
    """Where an array lies: in a buffer, from an element on, with strides in elements.

    Of a value in blocks the strides are those of images, blocks, rows and pixels.
    """

    buffer: str
    offset: int
    strides: Strides


@dataclass(frozen=True, slots=True)
class Step:
    """A kernel and what it reads and writes.

    `kernel` is a layer, whose weights are packed; or what packs them in each run: (name, numbers of
    the problem, activation, a, b, most bytes); or a sweep, of which `residual` is the second array.
    """

    name: str
    algorithm: str
    shape: str
    kernel: Any
    images: int
    x: View
    y: View
    residual: View | None = None
    w: View | None = None
    bias: View | None = None
    #: Places of maxima; how many an image has, and how they are counted (Places of ops/pooling).
    places: View | None = None
    counting: tuple[int, ...] = ()
    strides: Strides = ()
    operations: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Lowered:
    """Steps in order, the elements and dtype of each buffer, and where values lie."""

    steps: list[Step] = field(default_factory=list)
    buffers: dict[str, tuple[int, str]] = field(default_factory=dict)
    views: dict[Value, View] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)


def default_strides(value: Value) -> Strides:
    """Strides of a value alone in its buffer."""
    sizes = value.sizes
    if value.block:
        n, c, h, w = sizes
        b, blocks = value.block, -(-c // value.block)
        return (blocks * h * w * b, h * w * b, w * b, b)
    return tuple(math.prod(sizes[i + 1 :]) for i in range(len(sizes)))


def elements(value: Value) -> int:
    """Elements that a value takes, lanes past the last channel included."""
    sizes = value.sizes
    if value.block:
        return sizes[0] * -(-sizes[1] // value.block) * value.block * sizes[2] * sizes[3]
    return math.prod(sizes)


class Lowering:
    """Makes the steps of a graph whose values have their layouts."""

    def __init__(
        self, bound: Bound, asked: Request, layers: Layers, tuned: Tuned | None = None
    ) -> None:
        self.made = Lowered()
        self._bound, self._asked, self._layers, self._tuned = bound, asked, layers, tuned
        self._shadows: dict[str, Array] = {}
        for value in bound.graph.inputs:
            self._alone(value)
        self._share_concats()
        for node in bound.graph.nodes:
            lower = OPS[node.op].lower
            if lower is None:
                raise ValueError(f"node {node.name}: {node.op} is not supported with these inputs")
            lower(self, node)
            self._shadows.clear()
        self._separate_outputs()

    # Views

    def view(self, value: Value) -> View:
        """Where a value lies; a buffer of its own unless something else was decided."""
        if isinstance(value, Weight):
            array = self._bound.weights[value.name]
            self.made.constants[value.name] = array
            return View(value.name, 0, default_strides(value))
        if value not in self.made.views:
            self._alone(value)
        return self.made.views[value]

    def _alone(self, value: Value) -> None:
        self.made.buffers[value.name] = (elements(value), value.dtype)
        self.made.views[value] = View(value.name, 0, default_strides(value))

    def is_whole(self, value: Value) -> bool:
        """Whether a value's elements follow each other in rows."""
        return not value.block and self.view(value).strides == default_strides(value)

    def in_rows(self, value: Value) -> Value:
        """The value, or a copy of it whose elements follow each other."""
        if self.is_whole(value):
            return value
        copy = Value(f"{value.name}:copy", value.shape, value.dtype)
        if copy not in self.made.views:
            self._copy(value, copy)
        return copy

    def array(self, value: Value | None) -> Array | None:
        """The array of a weight; None of anything else."""
        return self._bound.weights[value.name] if isinstance(value, Weight) else None

    def new_weight(self, name: str, array: Array) -> Weight:
        """A weight that lowering makes of others; its name says all that it is made of."""
        self._bound.weights[name] = array
        return Weight(name, array.shape, str(array.dtype))

    def renamed(self, value: Value, shape: Shape, offset: int = 0) -> Value:
        """A part of a whole value under another shape, `offset` elements behind its beginning."""
        assert self.is_whole(value), f"{value.name} is no whole array"
        part = Value(f"{value.name}:{offset}:{shape}", shape, value.dtype)
        view = self.view(value)
        self.made.views[part] = View(view.buffer, view.offset + offset, default_strides(part))
        return part

    def alias(self, node: Node) -> None:
        """The output names the input's memory by another shape."""
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None
        if source.block and source.sizes[2:] == (1, 1) and len(result.sizes) == 2:
            view = self.view(source)
            self.made.views[result] = View(view.buffer, view.offset, (view.strides[0], 1))
            return
        whole = self.in_rows(source)
        view = self.view(whole)
        self.made.views[result] = View(view.buffer, view.offset, default_strides(result))

    def _share_concats(self) -> None:
        """Parts of a concatenation along channels are made in place, slices of the whole."""
        inputs = {v.name for v in self._bound.graph.inputs}
        outputs = set(self._bound.graph.outputs)
        makers = {v: node for node in self._bound.graph.nodes for v in node.outputs}
        for node in reversed(self._bound.graph.nodes):
            if node.op != "concat" or node.keywords["axis"] != 1 or not node.output.block:
                continue
            joined = self._joined(node)
            if joined is not None and node.output not in self.made.views:
                self.made.views[node.output] = joined
                continue
            whole, channel = self.view(node.output), 0
            for part in node.reads:
                free = (
                    not isinstance(part, Weight)
                    and part not in self.made.views
                    and part.name not in inputs
                    and part not in outputs
                    and not OPS[makers[part].op].view
                )
                if free and channel % node.output.block == 0:
                    offset = channel // node.output.block * whole.strides[1]
                    self.made.views[part] = View(whole.buffer, whole.offset + offset, whole.strides)
                channel += part.sizes[1]

    def _joined(self, node: Node) -> View | None:
        """Where the parts of a concatenation stand one behind the other, in a larger one."""
        views = [self.made.views.get(part) for part in node.reads]
        first, channel = views[0], 0
        for view, part in zip(views, node.reads, strict=True):
            if view is None or first is None or channel % node.output.block:
                return None
            offset = first.offset + channel // node.output.block * first.strides[1]
            if (view.buffer, view.offset, view.strides) != (first.buffer, offset, first.strides):
                return None
            channel += part.sizes[1]
        return None if channel % node.output.block else first

    def _separate_outputs(self) -> None:
        """Outputs are arrays of their own: what shares memory is copied."""
        outputs = self._bound.graph.outputs
        taken = {v.name for v in self._bound.graph.inputs}
        for i, value in enumerate(outputs):
            if (
                isinstance(value, Weight)
                or self.view(value).buffer in taken
                or (self.view(value).buffer != value.name and not self._only_name(value))
            ):
                copy = Value(f"{value.name}:output{i}", value.shape, value.dtype)
                self._copy(value, copy)
                taken.add(copy.name)
            else:
                taken.add(self.view(value).buffer)

    def _only_name(self, value: Value) -> bool:
        """Whether the value fills its buffer, though that has another's name."""
        view = self.view(value)
        size, _ = self.made.buffers[view.buffer]
        return size == elements(value) and view.strides == default_strides(value)

    def output_buffers(self) -> list[str]:
        """The buffers of the graph's outputs, in order."""
        names = []
        for i, value in enumerate(self._bound.graph.outputs):
            copied = f"{value.name}:output{i}"
            names.append(copied if copied in self.made.buffers else self.view(value).buffer)
        return names

    # Steps

    def layer(
        self,
        kernel: str,
        fields: tuple[int, ...],
        weights: str,
        w: Array | None = None,
        bias: Array | None = None,
        activation: Activation = IDENTITY,
    ) -> _convkit.Plan:
        """A kernel with its weights packed; `weights` names them for other programs."""
        key = (kernel, fields, weights, activation, _convkit.current_isa(), self._asked)
        layer = self._layers.get(key)
        if layer is None:
            layer = _convkit.Plan(
                kernel, fields, w, bias, *activation, -1, self._asked.max_workspace
            )
            self._layers[key] = layer
        return layer

    def add(
        self,
        node: Node,
        algorithm: str,
        kernel: Any,
        x: tuple[Value, View],
        y: tuple[Value, View],
        residual: View | None = None,
        *,
        w: View | None = None,
        bias: View | None = None,
        places: View | None = None,
        counting: tuple[int, ...] = (),
        operations: int = 0,
    ) -> None:
        """A step on values whose views have four axes."""
        zero = (0, 0, 0, 0)
        strides = (*x[1].strides, *(residual.strides if residual else zero), *y[1].strides)
        size = 8 if y[0].dtype == "float64" else 4
        moved = elements(x[0]) + elements(y[0]) * (2 if residual else 1)
        moved += sum(math.prod(weight.sizes) for weight in node.weights)
        self.made.steps.append(
            Step(
                node.name,
                algorithm,
                f"{x[0]} -> {y[0]}",
                kernel,
                x[0].sizes[0],
                x[1],
                y[1],
                residual,
                w,
                bias,
                places,
                counting,
                strides,
                operations,
                moved * size,
            )  # fmt: skip
        )

    def convolution(self, node: Node, problem: ConvProblem) -> None:
        """A conv2d, by the algorithm that is cheapest in its layouts."""
        x, w = node.inputs[:2]
        bias, residual = optional(node.inputs, 2), optional(node.inputs, 3)
        assert x is not None and w is not None
        y = node.output
        array = self._bound.weights[w.name] if isinstance(w, Weight) else None
        activation = activation_of(node.keywords.get("activation"))
        fixed = array is not None and (bias is None or isinstance(bias, Weight))
        added = self._bound.weights[bias.name] if fixed and bias is not None else None
        algorithm: str | None
        if self._tuned is not None and fixed and array is not None:
            algorithm = fastest(
                self._tuned, problem, x, y, self._asked, array, added, activation,
                residual is not None,
            )  # fmt: skip
        else:
            chosen = choose(problem, x.block, y.block, self._asked, array)
            algorithm = None if chosen is None else chosen.algorithm
        if algorithm is None:
            raise ValueError(
                f"node {node.name}: no algorithm for {problem} has a workspace within "
                f"max_workspace={self._asked.max_workspace}"
            )
        fields = kernel_fields(problem, x.block, y.block)
        places: dict[str, Any] = {}
        kernel: Any
        if fixed:
            names = f"{w.name}+{'' if bias is None else bias.name}"
            kernel = self.layer(algorithm, fields, names, array, added, activation)
        else:
            kernel = (algorithm, fields, *activation, self._asked.max_workspace)
            places["w"] = self.view(self.in_rows(w))
            if bias is not None:
                places["bias"] = self.view(self.in_rows(bias))
        self.add(
            node, algorithm, kernel, (x, self.view(x)), (y, self.view(y)),
            None if residual is None else self.view(residual),
            operations=2 * problem.macs * x.sizes[0], **places,
        )  # fmt: skip

    def operator(
        self,
        node: Node,
        kernel: str,
        fields: tuple[int, ...],
        weights: tuple[str, Array] | None = None,
        activation: Activation = IDENTITY,
        places: Places | None = None,
    ) -> None:
        """A kernel of csrc/operators on images."""
        x, y = node.inputs[0], node.outputs[0]
        assert x is not None
        name, array = weights or ("", None)
        layer = self.layer(kernel, fields, name, array, None, activation)
        view = None
        counting: tuple[int, ...] = ()
        if places is not None:
            view = self.view(self.in_rows(places.value))
            counting = (math.prod(places.value.sizes[1:]), *map(int, places[1:]))
        self.add(
            node, kernel, layer, (x, self.view(x)), (y, self.view(y)), places=view,
            counting=counting,
        )  # fmt: skip

    def sweeps(self, node: Node, run: Callable[[], object]) -> None:
        """The sweeps that `run` makes on the arrays of `shadow`, a step each."""

        def record(a: Array, b: Array | None, y: Array, sweep: _convkit.Sweep) -> None:
            shape = f"{'x'.join(map(str, a.shape))} -> {'x'.join(map(str, y.shape))}"
            read = a.size + (0 if b is None else b.size) + y.size
            self.made.steps.append(
                Step(
                    node.name,
                    node.op,
                    shape,
                    sweep,
                    1,
                    self._behind(a),
                    self._behind(y),
                    None if b is None else self._behind(b),
                    bytes=read * y.itemsize,
                )  # fmt: skip
            )

        with recorded(record):
            run()

    def shadow(self, value: Value) -> Array:
        """An array with a value's shape and strides, on memory that is never touched.

        Of a value in blocks: (n, blocks, h, w, block).
        """
        view = self.view(value)
        if view.buffer not in self._shadows:
            array = self.made.constants.get(view.buffer)
            if array is None:
                size, dtype = self.made.buffers[view.buffer]
                array = np.empty(size, dtype)
            self._shadows[view.buffer] = array
        whole = self._shadows[view.buffer].reshape(-1)
        shape, strides = value.sizes, view.strides
        if value.block:
            n, c, h, w = shape
            shape, strides = (n, -(-c // value.block), h, w, value.block), (*strides, 1)
        if 0 in shape:
            return np.empty(shape, whole.dtype)
        steps = [step * whole.itemsize for step in strides]
        return np.lib.stride_tricks.as_strided(whole[view.offset :], shape, steps)

    def _behind(self, array: Array) -> View:
        """What a shadow's memory stands for; other arrays become constants."""
        place = array.__array_interface__["data"][0]
        for name, whole in self._shadows.items():
            begin = whole.__array_interface__["data"][0]
            if begin <= place < begin + whole.nbytes:
                return View(name, (place - begin) // whole.itemsize, ())
        name = f"constant {len(self.made.constants)}"
        self.made.constants[name] = array
        return View(name, 0, ())

    def reorder(self, node: Node) -> None:
        """Rows to blocks of channels, or back."""
        x, y = node.inputs[0], node.output
        assert x is not None
        from_x, to_y = self.shadow(x), self.shadow(y)
        if y.block:
            self.sweeps(node, lambda: to_blocks(from_x, y.block, out=to_y))
        else:
            self.sweeps(node, lambda: from_blocks(from_x, y.sizes[1], out=to_y))

    def elementwise(self, node: Node) -> None:
        """activation(x) or activation(x + y)."""
        activation = activation_of(node.keywords.get("activation"))
        values = [self._image(v) for v in node.reads] + [self._image(node.output)]
        if len(values) == 2:
            self._elementwise(node, values[0], values[1], None, activation)
        else:
            self._elementwise(node, values[0], values[2], values[1][1], activation)

    def _elementwise(
        self,
        node: Node,
        x: tuple[Value, View],
        y: tuple[Value, View],
        residual: View | None,
        activation: Activation,
    ) -> None:
        layer = self.layer("activation", operator_fields(x[0], y[0]), "", None, None, activation)
        self.add(node, "elementwise", layer, x, y, residual)

    def _copy(self, source: Value, copy: Value) -> None:
        node = Node("activation", copy.name, (source,), (copy,))
        if source.dtype not in DTYPES or len(source.sizes) not in (1, 2, 4):
            x, y = self.shadow(source), self.shadow(copy)
            if y.size:
                self.sweeps(node, lambda: copied(x, out=y))
            return
        self._elementwise(node, self._image(source), self._image(copy), None, IDENTITY)

    def _image(self, value: Value) -> tuple[Value, View]:
        """The value as images (n, c, h, w), whatever its axes."""
        view = self.view(value)
        sizes = value.sizes
        if len(sizes) == 4:
            return value, view
        if len(sizes) <= 2:
            strides = (0,) * (2 - len(sizes)) + view.strides
            n, c = (1,) * (2 - len(sizes)) + sizes
            shape: Shape = (n, 1, 1, c)
            return (
                Value(value.name, shape, value.dtype),
                View(view.buffer, view.offset, (strides[0], 0, 0, strides[1])),
            )
        assert self.is_whole(value), f"{value.name} is no whole array"
        shape = (sizes[0], 1, math.prod(sizes[1:-1]), sizes[-1])
        image = Value(value.name, shape, value.dtype)
        return image, View(view.buffer, view.offset, default_strides(image))

    def batch_norm(self, node: Node) -> None:
        """One row of weight, bias, mean, var and eps, as csrc/operators/batch_norm.cpp reads it."""
        arrays = [self._bound.weights[v.name] for v in node.weights]
        eps = node.keywords.get("eps", 1e-5)
        x, y = node.inputs[0], node.output
        assert x is not None
        if len(arrays) < 4 or len(x.sizes) not in (2, 4):
            self._batch_norm_by_steps(node, eps)
            return
        row = np.concatenate([*arrays, np.array([eps], arrays[0].dtype)])
        names = "+".join(v.name for v in node.weights) + f"+{eps}"
        activation = activation_of(node.keywords.get("activation"))
        if len(x.sizes) == 4:
            self.operator(node, "batch_norm", operator_fields(x, y), (names, row), activation)
            return
        n, c = x.sizes
        turned = [
            (
                Value(v.name, (1, c, n, 1), v.dtype),
                View(self.view(v).buffer, self.view(v).offset, (0, 1, self.view(v).strides[0], 0)),
            )
            for v in (x, y)
        ]
        fields = operator_fields(turned[0][0], turned[1][0])
        layer = self.layer("batch_norm", fields, names, row, None, activation)
        self.add(node, "batch_norm", layer, turned[0], turned[1])

    def _batch_norm_by_steps(self, node: Node, eps: float) -> None:
        """((x - mean) (weight / sqrt(var + eps)) + bias, of statistics that only a run knows."""
        x, weight, bias, mean, var = (self.shadow(value) for value in node.reads)
        y = self.shadow(node.output)
        room = Value(f"{node.name}:scale", weight.shape, node.output.dtype)
        scale = self.shadow(room)
        spread = (slice(None),) + (None,) * (x.ndim - 2)
        root = activation_in_sweeps("sqrt")
        added = np.full(var.shape, eps, y.dtype)
        last = activation_of(node.keywords.get("activation"))

        def steps() -> None:
            binary("add", var, added, activation=root, out=scale)
            binary("divide", weight, scale, out=scale)
            for name, vector, done in (
                ("subtract", mean, IDENTITY),
                ("multiply", scale, IDENTITY),
                ("add", bias, last),
            ):
                binary(
                    name,
                    x if name == "subtract" else y,
                    np.broadcast_to(vector[spread], y.shape),
                    activation=done,
                    out=y,
                )

        self.sweeps(node, steps)

    def softmax(self, node: Node) -> None:
        """Along one axis of a whole array."""
        x, y = node.inputs[0], node.output
        assert x is not None
        axis = node.keywords.get("axis", -1) % len(x.sizes)
        outer, c = math.prod(x.sizes[:axis]), x.sizes[axis]
        inner = math.prod(x.sizes[axis + 1 :])
        whole = self.in_rows(x)
        images = []
        for value in (whole, y):
            image = Value(value.name, (outer, c, 1, inner), value.dtype)
            view = self.view(value)
            images.append((image, View(view.buffer, view.offset, default_strides(image))))
        factor = Activation(IDENTITY.kind, float(node.keywords.get("b", 1.0)))
        layer = self.layer(
            "softmax", operator_fields(images[0][0], images[1][0]), "", None, None, factor
        )
        self.add(node, "softmax", layer, images[0], images[1])

    def linear(self, node: Node) -> None:
        """Rows times a matrix. The factor with fewer rows is packed in each run or once; the other
        is read as it lies, so that the weights of one image's rows stand in memory once."""
        x, w = node.inputs[:2]
        assert x is not None and w is not None
        (n, c), k, y = x.sizes, w.sizes[0], node.output
        activation = activation_of(node.keywords.get("activation"))
        bias = optional(node.inputs, 2)
        rows, matrix = self.view(self.in_rows(x)), self.view(self.in_rows(w))
        few_rows = n <= k
        many, few = (k, n) if few_rows else (n, k)
        steps = (1, c) if few_rows else (1, c)
        problem = KernelProblem(
            1, c, 1, many, few, 1, 1, 1, many, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0,
            *(DTYPES.index(x.dtype),) * 3,
        )  # fmt: skip
        read, packed = (matrix, rows) if few_rows else (rows, matrix)
        result = self.view(y)
        y_strides = (0, result.strides[0], 0, 1) if few_rows else (0, 1, 0, result.strides[0])
        added = None
        if bias is not None:
            place = self.view(self.in_rows(bias))
            strides = (0, 0, 0, 1) if few_rows else (0, 1, 0, 0)
            added = View(place.buffer, place.offset, strides)
        image = Value(x.name, (1, c, 1, many), x.dtype)
        made = Value(y.name, (1, few, 1, many), y.dtype)
        kernel: Any = ("linear", tuple(problem), *activation, self._asked.max_workspace)
        w_place: View | None = packed
        if not few_rows and isinstance(w, Weight):
            kernel = self.layer(
                "linear", tuple(problem), w.name, self._bound.weights[w.name], None, activation
            )
            w_place = None
        self.add(
            node, "linear", kernel,
            (image, View(read.buffer, read.offset, (0, steps[0], 0, steps[1]))),
            (made, View(result.buffer, result.offset, y_strides)),
            added, w=w_place, operations=2 * n * c * k,
        )  # fmt: skip
