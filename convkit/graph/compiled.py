"""CompiledModel: a graph made into one native program for the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from convkit import _convkit
from convkit.backends import Array
from convkit.graph.bind import Bound, bind
from convkit.graph.inputs import by_name, enter_inputs
from convkit.graph.ir import Graph, Shape, Value
from convkit.graph.lower import Layers, Lowered, Lowering, Step, View, elements
from convkit.graph.memory import Arena, Lifetime, most_alive, plan_arena
from convkit.graph.passes import simplify
from convkit.graph.passes.choose_layout import choose_layout
from convkit.graph.tune import Tuned
from convkit.machine import physical_memory, this_machine
from convkit.select import Request
from convkit.threads import get_num_threads

#: Numbers as in csrc/program.h.
ARENA, INPUT, OUTPUT, CONSTANT = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a compiled model.

    Attributes
    ----------
    arena : int
        What each call in progress takes for values inside the network.
    live : int
        The most of it that is in use during any step.
    weights : int
        Packed weights; programs of one model share them.
    """

    arena: int
    live: int
    weights: int


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One step of a run. `peak` is the share of the FMA peak of the threads in use."""

    name: str
    algorithm: str
    shape: str
    ms: float
    gflops: float
    peak: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Profile:
    """The steps of a run with their times; iterates over `ProfileRow`s and prints as a table."""

    name: str
    rows: tuple[ProfileRow, ...]

    def __iter__(self) -> Iterator[ProfileRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> ProfileRow:
        return self.rows[index]

    def __str__(self) -> str:
        total = sum(row.ms for row in self.rows)
        heads = {"name": "step", "algorithm": "algorithm", "shape": "shape"}
        name, algorithm, shape = (
            max([len(head), *(len(getattr(row, field)) for row in self.rows)])
            for field, head in heads.items()
        )
        lines = [
            f"{self.name}: {total:.3f} ms in {len(self.rows)} steps",
            f"  {'step':{name}}  {'algorithm':{algorithm}}  {'shape':{shape}} "
            f"{'ms':>9} {'share':>6} {'GFLOP/s':>8} {'peak':>5} {'KiB':>8}",
        ]
        for row in self.rows:
            lines.append(
                f"  {row.name:{name}}  {row.algorithm:{algorithm}}  {row.shape:{shape}} "
                f"{row.ms:9.4f} {row.ms / total:6.1%} {row.gflops:8.1f} {row.peak:5.0%} "
                f"{row.bytes // 1024:8}"
            )
        return "\n".join(lines)

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class Options:
    """What `Model.compile` was asked for."""

    threads: int | None = None
    precision: str = "high"
    invariant: bool = True
    max_workspace: int = _convkit.NO_LIMIT
    without: tuple[str, ...] = ()

    @property
    def request(self) -> Request:
        return Request("auto", self.precision, self.invariant, self.max_workspace)


class CompiledModel:
    """A network for inputs of certain shapes: `y = run(x)`.

    Made by `Model.compile`; safe to call from several threads, to pickle and to copy.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Array],
        shapes: Mapping[str, Shape],
        known: Mapping[str, Array],
        options: Options,
        layers: Layers | None = None,
        tuned: Tuned | None = None,
    ) -> None:
        self._source = (graph, dict(weights), dict(shapes), dict(known), options, tuned)
        self._threads = options.threads
        self._name = graph.name
        bound = simplify(bind(graph, weights, shapes, known), options.without)
        self._build(bound, options, WeakValueDictionary() if layers is None else layers, tuned)

    def _build(self, bound: Bound, options: Options, layers: Layers, tuned: Tuned | None) -> None:
        if "choose_layout" not in options.without:
            bound = choose_layout(bound, options.request)
        _check_memory(bound)
        lowering = Lowering(bound, options.request, layers, tuned)
        lowered = lowering.made
        self._graph = bound.graph
        self._inputs = bound.graph.inputs
        self._results = [Value(v.name, v.shape, v.dtype) for v in bound.graph.outputs]
        outputs = lowering.output_buffers()
        _overwrite_residuals(lowered, {v.name for v in self._inputs}, set(outputs))
        arena = _arena(lowered, {v.name for v in self._inputs}, set(outputs))
        places = _places(lowered, [v.name for v in self._inputs], outputs, arena)
        self._steps = lowered.steps
        self._program: _convkit.Program | None = _convkit.Program(
            [_native(step, lowered, places) for step in lowered.steps],
            list(lowered.constants.values()),
            arena.size,
        )
        packed = {
            id(s.kernel): s.kernel for s in lowered.steps if isinstance(s.kernel, _convkit.Plan)
        }
        self._layers = list(packed.values())
        self.memory = Memory(arena.size, arena.live, sum(p.sizes[0] for p in packed.values()))

    @property
    def graph(self) -> Graph:
        """What is run: the network after all passes, with layouts."""
        return self._graph

    def __repr__(self) -> str:
        shapes = ", ".join(f"{v.name} {v.shape}" for v in self._inputs)
        return f"<convkit {self._name} compiled for {shapes}>"

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        """Run the network.

        Parameters
        ----------
        *arrays, **named
            The inputs in order or by name: arrays of exactly the shapes compiled for.

        Returns
        -------
        array, or tuple of arrays where the network has several outputs

        Raises
        ------
        ValueError
            An input has another shape.
        TypeError
            An input has another dtype or is no array.
        """
        given, leave = self._enter(arrays, named)
        outputs = self._outputs()
        self._native().run(given, outputs, self._threads or get_num_threads())
        answers = tuple(map(leave, outputs))
        return answers[0] if len(answers) == 1 else answers

    def profile(self, *arrays: Any, **named: Any) -> Profile:
        """Run once and time every step: a table that iterates over rows."""
        given, _ = self._enter(arrays, named)
        threads = self._threads or get_num_threads()
        self._native().run(given, self._outputs(), threads)
        seconds = self._native().profile(given, self._outputs(), threads)
        machine = this_machine()
        rows = []
        for step, time in zip(self._steps, seconds, strict=True):
            rate = step.operations / time if time > 0 else 0.0
            peak = machine.fma_peak("float32") * threads
            rows.append(
                ProfileRow(
                    step.name, step.algorithm, step.shape, 1e3 * time, rate / 1e9, rate / peak,
                    step.bytes,
                )
            )  # fmt: skip
        return Profile(self._name, tuple(rows))

    def close(self) -> None:
        """Give the memory back; a call afterwards raises ValueError."""
        self._program = None
        self._layers = []
        self._steps = []

    def _native(self) -> _convkit.Program:
        if self._program is None:
            raise ValueError(f"{self._name} was closed: compile it again to run it")
        return self._program

    def _outputs(self) -> list[Array]:
        return [_convkit.empty(v.sizes, np.dtype(v.dtype)) for v in self._results]

    def _enter(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> tuple[list[Array], Any]:
        dtypes = {value.name: value.dtype for value in self._inputs}
        given = by_name(self._name, list(dtypes), arrays, named)
        found, leave = enter_inputs(self._name, given, dtypes)
        ready = []
        for value, array in zip(self._inputs, found.values(), strict=True):
            if array.shape != value.shape:
                raise ValueError(
                    f"{value.name} has shape {array.shape}: {self._name} was compiled for "
                    f"{value.shape}"
                )
            flags = array.flags
            whole = flags.c_contiguous and flags.aligned
            ready.append(array if whole else np.array(array, order="C", copy=True))
        return ready, leave

    def __getstate__(self) -> dict[str, Any]:
        # Packed weights belong to this processor and process; they are made again on arrival.
        return {"source": self._source}

    def __setstate__(self, state: dict[str, Any]) -> None:
        graph, weights, shapes, known, options, tuned = state["source"]
        self.__init__(graph, weights, shapes, known, options, None, tuned)  # type: ignore[misc]


def _check_memory(bound: Bound) -> None:
    """Raise MemoryError, before any work, where the network's arrays cannot fit."""
    lives: dict[Value, Lifetime] = {}
    for index, node in enumerate(bound.graph.nodes):
        for value in (*node.reads, *node.outputs):
            size = elements(value) * np.dtype(value.dtype).itemsize
            first = lives[value].first if value in lives else index
            lives[value] = Lifetime(size, first, index)
    needed = most_alive(lives.values())
    if needed > physical_memory():
        raise MemoryError(
            f"{bound.graph.name} needs {needed} bytes for its arrays: this machine has "
            f"{physical_memory()}"
        )


def _uses(step: Step) -> Iterator[tuple[View, bool]]:
    """The views of a step, and whether it writes them."""
    for view in (step.x, step.residual, step.w, step.bias):
        if view is not None:
            yield view, False
    yield step.y, True
    if step.places is not None:  # of a pooling written, of an unpooling read
        yield step.places, step.algorithm == "max_pool"


def _lifetimes(lowered: Lowered) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for index, step in enumerate(lowered.steps):
        for view, _ in _uses(step):
            first, _last = found.get(view.buffer, (index, index))
            found[view.buffer] = (first, index)
    return found


def _overwrite_residuals(
    lowered: Lowered, inputs: Collection[str], outputs: Collection[str]
) -> None:
    """Where a step is the last to read its residual, its answer takes the residual's place."""
    lifetimes = _lifetimes(lowered)
    renamed: dict[str, str] = {}

    def now(view: View) -> View:
        name = view.buffer
        while name in renamed:
            name = renamed[name]
        return View(name, view.offset, view.strides)

    def perhaps(view: View | None) -> View | None:
        return None if view is None else now(view)

    steps = []
    for index, step in enumerate(lowered.steps):
        step = replace(
            step,
            x=now(step.x),
            y=now(step.y),
            residual=perhaps(step.residual),
            w=perhaps(step.w),
            bias=perhaps(step.bias),
            places=perhaps(step.places),
        )
        residual, y = step.residual, step.y
        if (
            not isinstance(step.kernel, _convkit.Sweep)
            and residual is not None
            and residual.buffer in lowered.buffers
            and y.buffer != residual.buffer
        ):
            first, _ = lifetimes[y.buffer]
            _, last = lifetimes[residual.buffer]
            alone = (
                last == index
                and first == index
                and residual.strides == y.strides
                and residual.offset == y.offset
                and lowered.buffers[residual.buffer] == lowered.buffers[y.buffer]
                and step.x.buffer != residual.buffer
            )
            if alone and not {residual.buffer, y.buffer} & (set(inputs) | set(outputs)):
                renamed[y.buffer] = residual.buffer
                lifetimes[residual.buffer] = (
                    lifetimes[residual.buffer][0],
                    lifetimes.pop(y.buffer)[1],
                )
                step = replace(step, y=residual)
        steps.append(step)
    lowered.steps = steps


def _arena(lowered: Lowered, inputs: Collection[str], outputs: Collection[str]) -> Arena:
    lives = {}
    for name, (first, last) in _lifetimes(lowered).items():
        if name in lowered.buffers and name not in inputs and name not in outputs:
            size, dtype = lowered.buffers[name]
            lives[name] = Lifetime(size * np.dtype(dtype).itemsize, first, last)
    return plan_arena(lives)


def _places(
    lowered: Lowered, inputs: list[str], outputs: list[str], arena: Arena
) -> dict[str, tuple[int, int, int]]:
    """(kind, index, bytes) of each buffer."""
    places = {name: (ARENA, 0, offset) for name, offset in arena.offsets.items()}
    places.update({name: (CONSTANT, i, 0) for i, name in enumerate(lowered.constants)})
    places.update({name: (INPUT, i, 0) for i, name in enumerate(inputs)})
    places.update({name: (OUTPUT, i, 0) for i, name in enumerate(outputs)})
    return places


def _native(step: Step, lowered: Lowered, places: Mapping[str, tuple[int, int, int]]) -> Any:
    """The step as csrc/bindings.cpp reads it."""

    def place(view: View | None) -> tuple[int, int, int] | None:
        if view is None:
            return None
        kind, index, offset = places[view.buffer]
        dtype = (
            lowered.buffers[view.buffer][1]
            if view.buffer in lowered.buffers
            else lowered.constants[view.buffer].dtype
        )
        return kind, index, offset + view.offset * np.dtype(dtype).itemsize

    if isinstance(step.kernel, _convkit.Sweep):
        return step.kernel, place(step.x), place(step.residual), place(step.y)
    return (
        step.kernel, step.images, step.strides, place(step.x), place(step.residual),
        place(step.y), place(step.w), place(step.bias), place(step.places), step.counting,
    )  # fmt: skip
