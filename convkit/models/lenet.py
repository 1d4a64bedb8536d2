"""LeNet-5 and two of its descendants.

LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition.

Each takes `input_size` (a number or a pair, the network's own unless given; ValueError where it is
too small) and `include_top`: without the top, the maps that the first dense layer would read.
"""

from __future__ import annotations

import numpy as np

from convkit.graph import Builder, Model, Value
from convkit.problem import PairLike, integer, pair

#: The maps of S2 that each map of C3 reads (table I of the paper), by how many it reads. Leaving
#: connections out saves weights and makes the maps learn different things.
TABLE_C3 = {
    "three": tuple(tuple((i + j) % 6 for j in range(3)) for i in range(6)),
    "four": (
        *(tuple((i + j) % 6 for j in range(4)) for i in range(6)),
        (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    ),
    "six": (tuple(range(6)),),
}  # fmt: skip

#: What F6 should show for each digit: its picture in 7x12 pixels, as the paper has it, so that
#: characters that look alike get codes that are alike. The pictures are drawn here anew.
CODES = """
 .......  ...#...  .#####.  .#####.  ....##.  #######  ..####.  #######  .#####.  .#####.
 ..###..  ..##...  ##...##  ##...##  ...###.  ##.....  .##....  .....##  ##...##  ##...##
 .##.##.  .###...  .....##  .....##  ..#.##.  ##.....  ##.....  .....##  ##...##  ##...##
 ##...##  ...#...  .....##  .....##  .##.##.  ##.....  ##.....  ....##.  ##...##  ##...##
 ##...##  ...#...  ....##.  ....##.  .#..##.  ######.  ##.###.  ....##.  .##.##.  ##...##
 ##...##  ...#...  ....##.  ..####.  ##..##.  .....##  ###..##  ...##..  ..###..  .######
 ##...##  ...#...  ...##..  .....##  #######  .....##  ##...##  ...##..  .##.##.  .....##
 ##...##  ...#...  ..##...  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
 ##...##  ...#...  .##....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
 .##.##.  ...#...  ##.....  ##...##  ....##.  ##...##  ##...##  ..##...  ##...##  ....##.
 ..###..  .#####.  #######  .#####.  ....##.  .#####.  .#####.  ..##...  .#####.  .####..
 .......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


def lenet5(
    *,
    num_classes: int = 10,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """LeNet-5 of the paper, on 1x32x32: 60,000 parameters.

    The outputs are squared distances to the fixed codes `rbf.codes`, so the least one wins; codes
    of classes after the tenth are random signs.
    """
    b = Builder(_image(input_size, own=32, least=32), name="lenet5")
    x = _squash(b, b.conv2d(b.input, 6, 5, name="c1"))
    x = _subsample(b, x, "s2")
    x = _squash(b, _partial_convolution(b, x))
    x = _subsample(b, x, "s4")
    if not include_top:
        return b.model(x, seed=seed)
    x = _squash(b, b.conv2d(x, 120, 5, name="c5"))
    x = _squash(b, b.linear(b.flatten(x, name="flatten"), 84, name="f6"))
    codes = _codes(integer("num_classes", num_classes, least=1), seed)
    return b.model(b.rbf(x, num_classes, codes=codes, name="rbf"), seed=seed)


def _squash(b: Builder, x: Value) -> Value:
    """1.7159 tanh(2x/3): it is 1 at 1, and bends most there."""
    name = x.name
    x = b.tanh(b.scale(x, 2 / 3, name=f"{name}.slope"), name=f"{name}.tanh")
    return b.scale(x, 1.7159, name=f"{name}.squashed")


def _subsample(b: Builder, x: Value, name: str) -> Value:
    """The sum of each 2x2, times a trained gain, plus a trained bias, of each map."""
    total = b.scale(b.avg_pool2d(x, 2, name=f"{name}.mean"), 4.0, name=f"{name}.sum")
    return _squash(b, b.affine(total, name=name))


def _partial_convolution(b: Builder, x: Value) -> Value:
    """C3: maps that read equally many maps are one grouped convolution, a group for each."""
    parts = []
    for count, rows in TABLE_C3.items():
        maps = b.take_channels(x, [i for row in rows for i in row], name=f"c3.{count}.maps")
        parts.append(b.conv2d(maps, len(rows), 5, groups=len(rows), name=f"c3.{count}"))
    return b.concat(parts, name="c3")


def _codes(num_classes: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A row of 84 signs for each class: 1 is ink."""
    lines = [line.split() for line in CODES.strip().splitlines()]
    drawn = ["".join(parts) for parts in zip(*lines, strict=True)]
    digits = np.array([[1 if pixel == "#" else -1 for pixel in code] for code in drawn])
    rest = max(num_classes - len(digits), 0)
    others = np.random.default_rng(seed).choice([-1, 1], (rest, digits.shape[1]))
    return np.concatenate([digits[:num_classes], others]).astype(np.float32)


def lenet5_digits(
    *,
    num_classes: int = 10,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """LeNet-5 as courses teach it, on 1x32x32: 61,706 parameters. Logits."""
    b = Builder(_image(input_size, own=32, least=16), name="lenet5_digits")
    x = b.conv2d(b.input, 6, 5, name="conv1")
    x = b.tanh(b.avg_pool2d(x, 2, name="pool1"), name="tanh1")
    x = b.conv2d(x, 16, 5, name="conv2")
    x = b.tanh(b.avg_pool2d(x, 2, name="pool2"), name="tanh2")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.flatten(x, name="flatten")
    x = b.linear(x, 120, activation="tanh", name="fc1")
    x = b.linear(x, 84, activation="tanh", name="fc2")
    return b.model(b.linear(x, num_classes, name="fc3"), seed=seed)


def lenet_caffe(
    *,
    num_classes: int = 10,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """The LeNet of Caffe's examples, on 1x28x28 scaled to 0..1: 431,080 parameters. Logits."""
    b = Builder(_image(input_size, own=28, least=15), name="lenet_caffe")
    x = b.conv2d(b.input, 20, 5, name="conv1")
    x = b.max_pool2d(x, 2, ceil_mode=True, name="pool1")
    x = b.conv2d(x, 50, 5, name="conv2")
    x = b.max_pool2d(x, 2, ceil_mode=True, name="pool2")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.linear(b.flatten(x, name="flatten"), 500, activation="relu", name="fc1")
    return b.model(b.linear(x, num_classes, name="fc2"), seed=seed)


def _image(input_size: PairLike | None, *, own: int, least: int) -> tuple[int, int, int]:
    """The shape of a grey image that a network takes."""
    return (1, *pair("input_size", own if input_size is None else input_size, least=least))
