"""Model: a graph and its weights. Calling it runs it; loading replaces weights by name."""

from __future__ import annotations

import math
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from convkit.backends import check_device
from convkit.graph.compiled import CompiledModel, Options
from convkit.graph.file import write_model
from convkit.graph.frozen import weights_before, weights_of
from convkit.graph.inputs import by_name, enter_inputs
from convkit.graph.ir import Graph, Shape, Weight
from convkit.graph.known import names_read
from convkit.graph.passes import PASSES
from convkit.graph.tune import Tuned
from convkit.problem import integer, one_of, shape_of
from convkit.select import request

if TYPE_CHECKING:
    from convkit.graph.summary import Summary

#: Compiled programs that calling a model keeps.
KEPT = 8


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What `Model.load` did: names set, names the file lacks, and names the network lacks.

    `by_alias` and `by_structure` are those of `loaded` whose names in the file are others: another
    framework's, known to us, or any, taken in the order of the layers. The rest have the network's
    own names. `unexpected` includes side classifiers that the network was built without.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    by_alias: tuple[str, ...] = ()
    by_structure: tuple[str, ...] = ()

    def __str__(self) -> str:
        ways = [f"{len(self.by_alias)} by alias"] if self.by_alias else []
        ways += [f"{len(self.by_structure)} by structure"] if self.by_structure else []
        how = f" ({', '.join(ways)})" if ways else ""
        return (
            f"{len(self.loaded)} loaded{how}, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected"
        )


class Model:
    """A network and its weights: `y = model(x)` for x (n, c, h, w).

    Made by `Builder.model`, `convkit.load` and `convkit.models.build`. Until `load` gives it
    weights they are random: drawn on first use, the same for the same `seed`. Safe to call from
    several threads.

    Attributes
    ----------
    labels : tuple of str, or None
        Names of the outputs.
    preset : str or None
        How images are made into inputs.
    sizes : dict
        What a file says of its inputs' shapes, where it leaves some sizes free: numbers, names of
        free sizes, or None.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
        *,
        seed: int = 0,
        labels: Sequence[str] | None = None,
        preset: str | None = None,
        sizes: Mapping[str, Any] | None = None,
    ) -> None:
        self._graph = graph
        self._seed = seed
        self._weights: dict[str, np.ndarray[Any, Any]] = dict(weights or {})
        self.labels = None if labels is None else tuple(labels)
        self.preset = preset
        self.sizes = dict(sizes or {})
        self._tuned: Tuned = {}
        self._frozen: frozenset[str] = frozenset()
        self._forget()

    def _forget(self) -> None:
        """Compiled programs and packed weights are of weights that are no more."""
        self._lock = threading.Lock()
        self._layers: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        self._compiled: OrderedDict[Any, CompiledModel] = OrderedDict()

    @property
    def graph(self) -> Graph:
        """The network's nodes; printing it lists them."""
        return self._graph

    def __repr__(self) -> str:
        return f"<convkit model {self._graph.name}, {self._graph.parameters:,} parameters>"

    def __call__(self, *arrays: Any, outputs: Sequence[str] | None = None, **named: Any) -> Any:
        """Run the network, compiled for the shapes of these inputs; the last 8 are kept.

        Parameters
        ----------
        *arrays, **named
            The inputs in order or by name: (n, c, h, w) with any n; NumPy arrays or another kind
            with DLPack.
        outputs : names of values, optional
            What to return instead of the network's outputs: any value inside it.

        Returns
        -------
        array or tuple of arrays
            The output, or the outputs where there are several; of the kind of x.

        Raises
        ------
        ValueError
            An input has a shape that the network does not take.
        TypeError
            An input has another dtype or is no array.
        """
        dtypes = {value.name: value.dtype for value in self._graph.inputs}
        given = by_name(self._graph.name, list(dtypes), arrays, named)
        views, _ = enter_inputs(self._graph.name, given, dtypes)
        known = {name: views[name] for name in names_read(self._graph)}
        key = (
            tuple(array.shape for array in views.values()),
            tuple((name, array.tobytes()) for name, array in known.items()),
            None if outputs is None else tuple(outputs),
        )
        run = self._compiled.get(key)
        if run is None:
            shapes = {name: array.shape for name, array in views.items()}
            run = self._compile(shapes, known, Options(), outputs)
            with self._lock:
                self._compiled[key] = run
                while len(self._compiled) > KEPT:
                    self._compiled.popitem(last=False)
        else:
            with self._lock:
                if key in self._compiled:
                    self._compiled.move_to_end(key)
        return run(**{name: given[name] for name in given if name not in known})

    def compile(
        self,
        *shapes: Sequence[int],
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "high",
        invariant: bool | None = None,
        outputs: Sequence[str] | None = None,
        tune: bool = False,
        max_workspace: int | None = None,
        without: Sequence[str] = (),
    ) -> CompiledModel:
        """Make one native program for inputs of these shapes.

        Parameters
        ----------
        *shapes : (n, c, h, w)
            Of each input, the batch included.
        device : "cpu"
        threads : int, optional
            As many as `get_num_threads()` says at each call, unless given.
        precision, invariant, max_workspace
            As for `convkit.conv2d`; the workspace is that of each step.
        outputs : names of values, optional
            What to return instead of the network's outputs.
        tune : bool
            Choose the algorithms by measuring them on one image, which takes seconds, instead of
            by predicted cost. What was measured is kept for the model's other shapes.
        without : names of passes, optional
            Passes to leave out (docs/graph.md lists them), to see what they do.

        Returns
        -------
        CompiledModel
            Call it as run(x).

        Raises
        ------
        ValueError, TypeError
            A shape or an argument does not fit.
        MemoryError
            The program's arrays need more memory than the machine has; before any work.

        Examples
        --------
        >>> import numpy as np, convkit
        >>> run = convkit.models.build("lenet5_digits").compile((4, 1, 32, 32))
        >>> run(np.zeros((4, 1, 32, 32), np.float32)).shape
        (4, 10)
        """
        check_device(device)
        asked = request("auto", precision, invariant, max_workspace)
        if threads is not None:
            threads = integer("threads", threads, least=1)
        if not isinstance(tune, bool):
            raise TypeError(f"tune={tune!r} must be True or False")
        for name in without:
            one_of("without", name, (*PASSES, "choose_layout"))
        wanted = self._graph.inputs
        if len(shapes) != len(wanted):
            raise ValueError(
                f"{len(shapes)} shapes were given: {self._graph.name} has {len(wanted)} inputs"
            )
        sizes = {
            value.name: shape_of(value.name, shape)
            for value, shape in zip(wanted, shapes, strict=True)
        }
        options = Options(
            threads, asked.precision, asked.invariant, asked.max_workspace, tuple(without)
        )
        return self._compile(sizes, {}, options, outputs, self._tuned if tune else None)

    def _compile(
        self,
        shapes: Mapping[str, Shape],
        known: Mapping[str, np.ndarray[Any, Any]],
        options: Options,
        outputs: Sequence[str] | None,
        tuned: Tuned | None = None,
    ) -> CompiledModel:
        self._check_shapes(shapes)
        graph = self._graph if outputs is None else self._giving(outputs)
        return CompiledModel(
            graph, self._all_weights(), shapes, known, options, self._layers, tuned
        )

    def _check_shapes(self, shapes: Mapping[str, Shape]) -> None:
        """Sizes that the network was written for, the batch and the image's own apart."""
        for value in self._graph.inputs:
            shape = shapes[value.name]
            if value.shape is None:
                continue
            fixed = value.shape[1:2] if len(value.shape) == 4 else value.shape[1:]
            if len(shape) != len(value.shape) or shape[1 : 1 + len(fixed)] != fixed:
                sizes = "".join(f", {size}" for size in value.shape[1:])
                raise ValueError(
                    f"{value.name} has shape {shape}: {self._graph.name} needs (n{sizes}) for any n"
                )

    def _giving(self, outputs: Sequence[str]) -> Graph:
        """The graph with other outputs."""
        if isinstance(outputs, str):
            raise TypeError(f"outputs={outputs!r} must be a list of names")
        values = {value.name: value for value in self._graph.values()}
        for name in outputs:
            if name not in values:
                near = get_close_matches(str(name), values, n=3)
                hint = f": did you mean {', '.join(near)}?" if near else ""
                raise ValueError(f"outputs: {self._graph.name} has no value {name!r}{hint}")
        return self._graph.but(self._graph.nodes, tuple(values[name] for name in outputs))

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Name -> array of all weights, read-only: `load` is the way to change them."""
        return self._all_weights()

    def load(
        self, source: str | os.PathLike[str] | Mapping[str, Any], *, strict: bool = True
    ) -> LoadReport:
        """Set the weights.

        Names are those of `state_dict`, or Keras' ("conv1/kernel:0"), whose layouts are converted;
        prefixes such as `module.` are dropped and `num_batches_tracked` is ignored. Names that
        another framework gives this network are known where docs/models.md says so; of names that
        Keras counted (conv2d_94, conv2d_95, ...) the first is the network's first. Where most
        names are others, the layers are taken in their order, if each has the shapes of the
        network's and there is one way to do so. Floats of another width are converted.

        Parameters
        ----------
        source : path or mapping
            A file that `convkit.load_weights` reads, or name -> array.
        strict : bool
            Whether every weight must be there, and nothing else but classifiers at the side. A
            wrong shape is always an error.

        Returns
        -------
        LoadReport
            The names that were loaded, missing and unexpected, and how they were found.

        Raises
        ------
        ValueError
            What does not fit, all of it in one message; the model stays as it was.

        Examples
        --------
        >>> import convkit
        >>> model = convkit.models.build("lenet5_digits")
        >>> print(model.load(model.state_dict()))
        10 loaded, 0 missing, 0 unexpected
        """
        from convkit.weights.matching import match_source

        if not isinstance(source, (str, os.PathLike, Mapping)):
            raise TypeError(f"source={source!r} must be a path or name -> array")
        found = match_source(self._graph, source)
        missing = [
            name
            for name, weight in self._graph.weights.items()
            if name not in found.taken and weight.role != "constant"  # part of the definition
        ]
        if found.wrong or (strict and (missing or found.left)):
            parts = [f"wrong: {'; '.join(found.wrong)}"] if found.wrong else []
            parts += [f"missing: {', '.join(missing)}"] if missing and strict else []
            parts += [f"unexpected: {', '.join(found.left)}"] if found.left and strict else []
            parts += [f"by the order of the layers: {found.reason}"] if found.reason else []
            place = "weights" if isinstance(source, Mapping) else os.fspath(source)
            raise ValueError(f"{place} does not fit {self._graph.name}: {'. '.join(parts)}")
        self._weights = {**self._weights, **found.taken}
        self._forget()
        return LoadReport(
            tuple(found.taken),
            tuple(missing),
            (*found.left, *found.side),
            tuple(found.by_alias),
            tuple(found.by_structure),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, graph, preset and labels into one file that `convkit.load` reads.

        Parameters
        ----------
        path : str or path
            Ends in .safetensors. Replaced where it is there already, whole or not at all.

        Raises
        ------
        ValueError
            The name ends in something else, or `preset` is not one of `convkit.images.prepare`.
        TypeError
            `labels` are no texts.
        OSError
            The file cannot be written.
        """
        write_model(path, self._graph, self._all_weights(), self.labels, self.preset)

    def summary(self, input_shape: Any = None) -> Summary:
        """Count the layers: outputs, parameters, multiply-adds, receptive fields.

        Weights that were never loaded are not drawn for it.

        Parameters
        ----------
        input_shape : (n, c, h, w), optional
            Of the input; of several inputs a list of shapes, or name -> shape. The network's own
            shape unless given. What is counted is of one image, whatever n is.

        Returns
        -------
        Summary
            Totals and a row for each layer; printing it shows a table.

        Raises
        ------
        ValueError
            The network does not take this shape, or has free sizes and none were given.
        TypeError
            It is no shape.

        Examples
        --------
        >>> import convkit
        >>> s = convkit.models.build("lenet5_digits").summary()
        >>> s.params, s.macs
        (61706, 416520)
        >>> [(row.name, row.params) for row in s.rows if row.params]
        [('conv1', 156), ('conv2', 2416), ('fc1', 48120), ('fc2', 10164), ('fc3', 850)]
        """
        from convkit.graph.count import shapes_to_count, summarize

        shapes = shapes_to_count(self._graph, self.sizes, input_shape)
        self._check_shapes(shapes)
        return summarize(self._graph, self._weights, shapes, self._frozen)

    def freeze(self, *, up_to: str | None = None, names: Sequence[str] | None = None) -> None:
        """Count weights as not trainable, as one does before training a network further.

        It changes what `summary` says and nothing else; `save` does not keep it.

        Parameters
        ----------
        up_to : str, optional
            A layer. All layers before it are frozen; it and all after it are trainable, whatever
            was frozen before.
        names : list of str, optional
            Layers to freeze beside those that are frozen. The name of a part, as `layer1` of
            `layer1.0.conv1`, means all its layers; Keras' names of VGG's layers, as
            `block5_conv1`, are known too. With neither argument, all layers.

        Raises
        ------
        ValueError
            The network has no such layer, or both arguments were given.

        Examples
        --------
        >>> import convkit
        >>> model = convkit.models.build("lenet5_digits")
        >>> model.freeze(up_to="fc3")
        >>> model.summary().trainable
        850
        """
        if up_to is not None and names is not None:
            raise ValueError(f"up_to={up_to!r} and names={names!r}: give one of them")
        if up_to is not None:
            self._frozen = weights_before(self._graph, up_to)
        else:
            self._frozen |= weights_of(self._graph, names)

    def unfreeze(self, names: Sequence[str] | None = None) -> None:
        """Count the weights of these layers, or of all, as trainable again; see `freeze`."""
        self._frozen -= weights_of(self._graph, names)

    def _all_weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """The weights in the graph's order; those never loaded are drawn here."""
        wanted = self._graph.weights
        drawn = {
            name: _random(weight, self._seed)
            for name, weight in wanted.items()
            if name not in self._weights
        }
        if drawn:
            self._weights = {**self._weights, **drawn}
        return {name: self._weights[name] for name in wanted}

    def __getstate__(self) -> dict[str, Any]:
        # The packed weights belong to this processor and process; they are made again on arrival.
        made_again = ("_lock", "_layers", "_compiled")
        return {name: value for name, value in self.__dict__.items() if name not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def _random(weight: Weight, seed: int) -> np.ndarray[Any, Any]:
    """He's normal distribution for filters; a batch norm that changes nothing; biases of zero.

    Each weight has a generator of its own, so that it does not depend on the others.
    """
    ones = weight.role in ("running_var", "gain")
    if ones or (weight.role == "weight" and len(weight.sizes) == 1):
        array = np.ones(weight.sizes, weight.dtype)
    elif weight.role == "weight":
        generator = np.random.default_rng([seed, zlib.crc32(weight.name.encode())])
        spread = math.sqrt(2 / math.prod(weight.sizes[1:]))
        array = (generator.standard_normal(weight.sizes) * spread).astype(weight.dtype)
    else:
        array = np.zeros(weight.sizes, weight.dtype)
    array.flags.writeable = False
    return array
