"""Model: a graph and its weights. Calling it runs it; loading replaces weights by name."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.backends import enter
from convkit.graph.ir import Graph, Weight
from convkit.graph.run import Runner
from convkit.weights import load_weights

#: What frameworks' wrappers put before the names of the network they wrap.
PREFIXES = ("module.", "model.", "_orig_mod.")
#: Counters that training keeps beside the weights.
IGNORED = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What `Model.load` did: names set, names the file lacks, and names the network lacks."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.loaded)} loaded, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected"
        )


class Model:
    """A network ready to run: `y = model(x)` for x (n, c, h, w) of the size it was built for.

    Made by `Builder.model` and `convkit.models.build`. Until `load` gives it weights they are
    random: drawn on first use, the same for the same `seed`. Safe to call from several threads.
    """

    def __init__(self, graph: Graph, *, seed: int = 0) -> None:
        self._graph = graph
        self._seed = seed
        self._weights: dict[str, np.ndarray[Any, Any]] = {}
        self._runner: Runner | None = None

    @property
    def graph(self) -> Graph:
        """The network's nodes; printing it lists them."""
        return self._graph

    def __repr__(self) -> str:
        return f"<convkit model {self._graph.name}, {self._graph.parameters:,} parameters>"

    def __call__(self, x: Any) -> Any:
        """Run the network.

        Parameters
        ----------
        x : (n, c, h, w)
            Any batch of images of the size and dtype that the network was built for; a NumPy
            array or another kind with DLPack.

        Returns
        -------
        array or tuple of arrays
            The output, or the outputs where the network has several; of the kind of x.

        Raises
        ------
        ValueError
            x has another shape.
        TypeError
            x has another dtype or is no array.
        """
        (wanted,) = self._graph.inputs
        (array,), leave = enter(x=x)
        if array.shape[1:] != wanted.shape or array.ndim != len(wanted.shape) + 1:
            sizes = "".join(f", {size}" for size in wanted.shape)
            raise ValueError(
                f"x has shape {array.shape}: {self._graph.name} needs (n{sizes}) for any n"
            )
        if array.dtype != wanted.dtype:
            raise TypeError(
                f"x has dtype {array.dtype}: {self._graph.name} needs {wanted.dtype}, "
                f"so pass x.astype({wanted.dtype!r})"
            )
        if self._runner is None:
            self._runner = Runner(self._graph, self._all_weights())
        outputs = tuple(map(leave, self._runner(array)))
        return outputs[0] if len(outputs) == 1 else outputs

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Name -> array of all weights, read-only: `load` is the way to change them."""
        return self._all_weights()

    def load(
        self, source: str | os.PathLike[str] | Mapping[str, Any], *, strict: bool = True
    ) -> LoadReport:
        """Set the weights.

        Names are those of `state_dict`; prefixes such as `module.` are dropped and
        `num_batches_tracked` is ignored. Floats of another width are converted.

        Parameters
        ----------
        source : path or mapping
            A file that `convkit.load_weights` reads, or name -> array.
        strict : bool
            Whether every weight must be there, and nothing else. A wrong shape is always an error.

        Returns
        -------
        LoadReport
            The names that were loaded, missing and unexpected.

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
        if isinstance(source, Mapping):
            given, place = dict(source), "weights"
        else:
            given, place = dict(load_weights(source)), os.fspath(source)
        wanted = self._graph.weights
        taken: dict[str, np.ndarray[Any, Any]] = {}
        unexpected: list[str] = []
        wrong: list[str] = []
        for full, value in given.items():
            name = _known_name(full, wanted)
            if name is None:
                if not str(full).endswith(IGNORED):
                    unexpected.append(str(full))
            elif name in taken:
                wrong.append(f"{full} stands twice, with and without a prefix")
            else:
                # A copy: later changes of the caller's array do not reach the model.
                array = np.array(value)
                problem = _misfit(array, wanted[name])
                if problem:
                    wrong.append(f"{full} {problem}")
                taken[name] = (
                    array if problem else array.astype(wanted[name].dtype, "C", copy=False)
                )
                taken[name].flags.writeable = False
        missing = [name for name in wanted if name not in taken]
        if wrong or (strict and (missing or unexpected)):
            parts = [f"wrong: {'; '.join(wrong)}"] if wrong else []
            parts += [f"missing: {', '.join(missing)}"] if missing and strict else []
            parts += [f"unexpected: {', '.join(unexpected)}"] if unexpected and strict else []
            raise ValueError(f"{place} does not fit {self._graph.name}: {'. '.join(parts)}")
        self._weights = {**self._weights, **taken}
        self._runner = None
        return LoadReport(tuple(taken), tuple(missing), tuple(unexpected))

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
        return {**self.__dict__, "_runner": None}


def _known_name(full: object, wanted: Mapping[str, Weight]) -> str | None:
    """The network's name of a weight of the file, prefixes dropped where needed."""
    name = full if isinstance(full, str) else ""
    while name not in wanted:
        prefix = next((p for p in PREFIXES if name.startswith(p)), None)
        if prefix is None:
            return None
        name = name[len(prefix) :]
    return name


def _misfit(array: np.ndarray[Any, Any], weight: Weight) -> str:
    """Why an array is not this weight; empty if it is."""
    if array.dtype.kind != "f":
        return f"has dtype {array.dtype}, expected {weight.dtype}"
    if array.shape != weight.shape:
        return f"has shape {array.shape}, expected {weight.shape}"
    return ""


def _random(weight: Weight, seed: int) -> np.ndarray[Any, Any]:
    """He's normal distribution for filters; a batch norm that changes nothing; biases of zero.

    Each weight has a generator of its own, so that it does not depend on the others.
    """
    if weight.role == "running_var" or (weight.role == "weight" and len(weight.shape) == 1):
        array = np.ones(weight.shape, weight.dtype)
    elif weight.role == "weight":
        generator = np.random.default_rng([seed, zlib.crc32(weight.name.encode())])
        spread = math.sqrt(2 / math.prod(weight.shape[1:]))
        array = (generator.standard_normal(weight.shape) * spread).astype(weight.dtype)
    else:
        array = np.zeros(weight.shape, weight.dtype)
    array.flags.writeable = False
    return array
