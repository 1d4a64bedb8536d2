"""python -m bench verify_models: every network against a definition that is not convkit's.

Both get the same random weights and images. The definition's float64 run is the truth: at the
default precision convkit must come within 1e-3 of the largest logit, at "highest" within 4 times
the error of PyTorch's own float32 run. Where it does not, the first block that differs is named.
A row counts only if two images give different logits: else nothing would have been tested.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import convkit
from bench.definitions.table import Definition, definitions
from convkit.graph.ir import Node, Weight

LIMIT = 1e-3  # of the largest logit, at the default precision
TIMES = 4  # PyTorch's own float32 error, at "highest"
ROUNDING = 2.0**-23  # an error that float32 numbers have anyway
SIGNAL = 0.01  # what two images' logits must differ by, of the largest


@dataclass(frozen=True)
class Row:
    """What came out for one network; errors over the largest logit."""

    label: str
    source: str
    size: str
    high: float = np.nan
    highest: float = np.nan
    torch: float = np.nan
    signal: float = np.nan
    said: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was tested, and agrees."""
        near = self.high <= LIMIT and self.highest <= max(TIMES * self.torch, ROUNDING)
        return near and self.signal >= SIGNAL and not self.said

    def __str__(self) -> str:
        numbers = f"{self.high:.1e} | {self.highest:.1e} | {self.torch:.1e} | {self.signal:.2f}"
        verdict = ", ".join(["ok" if self.ok else "**differs**", *filter(None, [self.said])])
        return f"| {self.label} | {self.source} | {self.size} | {numbers} | {verdict} |"


HEAD = "| Network | Definition | Image | high | highest | PyTorch float32 | signal | |"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", help="names of networks, with commas between")


def run(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("torch") is None:
        raise ValueError("needs PyTorch: pip install torch==2.13.0")
    names = convkit.models.names() if options.only is None else options.only.split(",")
    for name in names:
        if name not in convkit.models.names():
            raise ValueError(f"--only: convkit has no network {name!r} (convkit models lists them)")
    print(HEAD, "|---" * 8 + "|", sep="\n")
    rows = []
    for row in checked(names, definitions()):
        print(row, flush=True)
        rows.append(row)
    wrong = sum(not row.ok for row in rows)
    print(f"\n{len(rows) - wrong} of {len(rows)} rows agree; {len(names)} networks")
    return 1 if wrong else 0


def checked(names: Any, table: list[Definition]) -> Iterator[Row]:
    """A row or more for each name."""
    for name in names:
        known = [each for each in table if each.network == name]
        if not known:
            yield Row(name, "", "", said="no definition")
        for definition in known:
            try:
                yield check(definition)
            except ModuleNotFoundError as error:
                said = f"not run: {error.name} is missing (pip install {error.name})"
                yield Row(definition.label, definition.source, "", said=said)
            except (ValueError, TypeError, MemoryError) as error:
                said = f"{type(error).__name__}: {error}"
                yield Row(definition.label, definition.source, "", said=said[:300])
            gc.collect()  # the largest networks hold a gigabyte


def check(definition: Definition) -> Row:
    """Run both, and compare."""
    shape = (2, definition.channels, definition.size, definition.size)
    reference = definition.make()
    # Other images than those compared: statistics of these would fit them too well.
    reference.draw(pictures((4 if definition.size <= 150 else 1, *shape[1:]), seed=1))
    keywords = {} if definition.own else {"input_size": definition.size}
    model = convkit.models.build(definition.network, **keywords, **definition.keywords)
    images = pictures(shape, seed=0)
    short = reference(images, "float32")
    truth = reference(images)
    pairs = matched(reference.made, model)
    model.load(
        {
            weight.name: np.asarray(layer.weights[weight.role], np.float32)
            for layer, node in pairs
            for weight in _owned(node)
        },
        strict=False,  # constants stay as they are
    )
    answers = {
        precision: _tuple(model.compile(shape, precision=precision)(images))
        for precision in ("high", "highest")
    }
    for precision, made in answers.items():
        shapes = [a.shape for a in made], [t.shape for t in truth]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{precision}: outputs {shapes[0]}, in the definition {shapes[1]}")
    row = Row(
        definition.label,
        definition.source,
        "x".join(map(str, shape[1:])),
        *(_worst(made, truth) for made in (*answers.values(), short)),
        signal=float(np.min([abs(t[0] - t[1]).max() / abs(t).max() for t in truth])),
    )
    if row.ok:
        return row
    reference.keeping = True
    reference(images)
    return Row(**{**row.__dict__, "said": first_difference(pairs, model, images)})


def pictures(shape: tuple[int, ...], seed: int) -> Any:
    """Random images: rough shapes 8 across, and noise."""
    random = np.random.default_rng(seed)
    n, c, h, w = shape
    rough = random.standard_normal((n, c, 8, 8))
    rows, columns = np.arange(h) * 8 // h, np.arange(w) * 8 // w
    noise = 0.5 * random.standard_normal(shape)
    return (rough[:, :, rows[:, None], columns] + noise).astype(np.float32)


def matched(layers: list[Any], model: Any) -> list[tuple[Any, Node]]:
    """convkit's node for each layer of the definition.

    By name where the definition has names that convkit has. Else the one that reads what the
    partner of the layer before makes, if there is one of this kind; else the next of the same kind
    and shapes.
    """
    free = {node.name: node for node in model.graph.nodes if _owned(node)}
    maker = {node.output.name: node.name for node in free.values() if len(node.outputs) == 1}
    partner: dict[int, Node] = {}
    shapes = {name: {w.role: w.sizes for w in _owned(node)} for name, node in free.items()}

    def fits(layer: Any, node: Node) -> bool:
        wanted = {role: tuple(values.shape) for role, values in layer.weights.items()}
        return layer.kind == node.op and shapes[node.name] == wanted

    named = {layer.name for layer in layers if layer.name in free}
    for layer in layers:
        if layer.name in named:
            options = [free[layer.name]]
        else:
            options = [node for name, node in free.items() if name not in named]
            after = partner.get(id(layer.after))
            if after is not None:
                next_to = [n for n in options if maker.get(_read(n)) == after.name]
                options = [n for n in next_to if fits(layer, n)] or options
        options = [node for node in options if fits(layer, node)]
        if not options:
            wanted = {role: tuple(values.shape) for role, values in layer.weights.items()}
            raise ValueError(
                f"no layer for the definition's {layer.kind} {layer.name or ''} {wanted}; "
                f"free are {', '.join(list(free)[:4])}"
            )
        partner[id(layer)] = free.pop(options[0].name)
    if free:
        raise ValueError(f"the definition has no layers for {', '.join(list(free)[:8])}")
    return [(layer, partner[id(layer)]) for layer in layers]


def first_difference(pairs: list[tuple[Any, Node]], model: Any, images: Any) -> str:
    """The first layer, in the definition's order, that is given other numbers."""
    known = {value.name for value in model.graph.values()} - {v.name for v in model.graph.inputs}
    pairs = [(layer, node) for layer, node in pairs if layer.read is not None]
    names = sorted({_read(node) for _, node in pairs} & known)
    run = model.compile(images.shape, precision="highest", outputs=names)
    values = dict(zip(names, _tuple(run(images)), strict=True))
    before, unlike = "the input", ""
    for layer, node in pairs:
        if _read(node) in values:
            ours, theirs = values[_read(node)], np.asarray(layer.read)
            place = f"between {before} and {node.name} ({layer.name or layer.kind})"
            if ours.size != theirs.size:  # one of the two may have padded it already
                unlike = unlike or f"{place}: {ours.shape}, in the definition {theirs.shape}"
            else:
                error = _worst((ours.reshape(theirs.shape),), (theirs,))
                if not error <= 1e-4:
                    return f"{place}: differs by {error:.1e}"
        before = node.name
    return unlike or f"after {before}"


def _owned(node: Node) -> list[Weight]:
    """The weights of a layer, constants apart."""
    return [weight for weight in node.weights if weight.role != "constant"]


def _read(node: Node) -> str:
    """The name of the value that a layer reads."""
    return next(value.name for value in node.reads if not isinstance(value, Weight))


def _tuple(made: Any) -> tuple[Any, ...]:
    return made if isinstance(made, tuple) else (made,)


def _worst(made: tuple[Any, ...], truth: tuple[Any, ...]) -> float:
    """The largest difference of any output over the largest number of that output."""
    # np.max: Python's max would pass over a NaN that is not the first.
    return float(
        np.max([abs(m - t).max() / abs(t).max() for m, t in zip(made, truth, strict=True)])
    )
