"""Layers to measure: real ones out of bench/shapes/*.csv, and others drawn from a seed.

A file has one layer a line: its name, its shape as the command line writes it (docs of
`convkit.problem.parse_shape`) and how often the network runs it. Fully connected layers are not
there: they are a matrix product.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convkit.problem import ConvProblem, conv_problem, parse_shape

SHAPES = Path(__file__).parent / "shapes"
#: As docs/performance.md names them.
CLASSES = ("3x3", "dense", "1x1", "dw", "large", "image")


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution that a network runs `count` times."""

    name: str
    problem: ConvProblem
    count: int = 1

    @property
    def kind(self) -> str:
        return class_of(self.problem)


def class_of(problem: ConvProblem) -> str:
    """3x3 (stride 1, dense), other dense, 1x1, depthwise, large filters, image filters."""
    side = max(problem.r, problem.s)
    if problem.c // problem.groups == 1 and problem.k <= 4:
        return "image"
    if side >= 11 and problem.stride == (1, 1):
        return "large"
    if problem.groups == problem.c:
        return "dw"
    if side == 1:
        return "1x1"
    if (problem.r, problem.s) == (3, 3) and problem.stride == (1, 1) and problem.groups == 1:
        return "3x3"
    return "dense"


def networks() -> list[str]:
    return sorted(path.stem for path in SHAPES.glob("*.csv"))


def read(file: str | Path) -> list[Layer]:
    """The layers of one network, by its name or the path of a file."""
    path = Path(file)
    if path.suffix != ".csv":
        path = SHAPES / f"{file}.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Layer(f"{path.stem} {row['name']}", problem_of(row["shape"]), int(row["count"]))
            for row in csv.DictReader(lines)
        ]


def problem_of(shape: str) -> ConvProblem:
    x_shape, w_shape, keywords = parse_shape(shape)
    return conv_problem(x_shape, w_shape, **keywords)


def select(names: Sequence[str] = ()) -> list[Layer]:
    """Every distinct layer of the networks, files or classes named; of all where none is.

    The same shape in several networks is one layer, under the name it was first met by.
    """
    files = [name for name in names if name not in CLASSES and not name.startswith("n1c")]
    single = [Layer(name, problem_of(name)) for name in names if name.startswith("n1c")]
    kinds = [name for name in names if name in CLASSES]
    found: dict[ConvProblem, Layer] = {layer.problem: layer for layer in single}
    for file in files:
        if file not in networks() and not Path(file).is_file():
            raise ValueError(
                f"--shapes {file!r} must be a shape such as n1c64h56w56k64r3s3p1, a CSV file, or "
                f"one of {', '.join([*CLASSES, *networks()])}"
            )
    for file in files or ([] if single else networks()):
        for layer in read(file):
            if not kinds or layer.kind in kinds:
                found.setdefault(layer.problem, layer)
    return list(found.values())


def part(layers: list[Layer], slice_of: str) -> list[Layer]:
    """Of "i/n": each n-th layer, from the i-th."""
    index, _, of = slice_of.partition("/")
    if not (index.isdecimal() and of.isdecimal() and int(index) < int(of)):
        raise ValueError(f"--slice {slice_of!r} must be i/n with i below n, such as 0/4")
    return layers[int(index) :: int(of)]


def draw(count: int, seed: int, *, largest: float = 2e9, evenly: bool = False) -> list[Layer]:
    """Layers that are in no file: real ones with sizes off by 1 to 30 %, batch 1, 8 or 32.

    `largest` bounds the operations of a call, counted by definition: a larger batch is cut to one
    that fits. `evenly`: as many of each class, not as many of each real layer.
    """
    dice = random.Random(seed)
    real = select()
    known = {layer.problem for layer in real}
    drawn: list[Layer] = []
    while len(drawn) < count:
        kind = dice.choice(CLASSES) if evenly else ""
        origin = dice.choice([layer for layer in real if kind in ("", layer.kind)])
        near = _near(origin.problem, dice)
        batch = dice.choice((1, 8, 32))
        most = int(largest // max(2 * near.macs, 8 * (near.c * near.h * near.w)))
        batch = max((n for n in (1, 8, 32) if n <= min(batch, most)), default=0)
        if batch and near not in known:
            problem = near.with_batch(batch)
            drawn.append(Layer(f"drawn {len(drawn)}", problem))
    return drawn


def _near(problem: ConvProblem, dice: random.Random) -> ConvProblem:
    def off(size: int) -> int:
        factor = 1 + dice.choice((-1, 1)) * dice.uniform(0.01, 0.30)
        return max(1, round(size * factor))

    depthwise = problem.groups == problem.c
    groups = 1 if problem.groups == 1 else problem.groups
    c = off(problem.c // groups) * groups if not depthwise else off(problem.c)
    k = c * (problem.k // problem.c) if depthwise else off(problem.k // groups) * groups
    h, w = off(problem.h), off(problem.w)
    if problem.h == problem.w and dice.random() < 0.5:
        w = h
    h, w = max(h, problem.r), max(w, problem.s)
    if problem.h == 1:
        h = w = 1
    return replace(problem, c=c, k=k, h=h, w=w, groups=c if depthwise else groups)


def macs(layers: Iterable[Layer]) -> int:
    """Multiply-adds of one image through all of them, as often as each is run."""
    return sum(layer.count * layer.problem.macs for layer in layers)
