"""A network with all that is between files of pictures and the scores of their classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convkit.images import prepare

if TYPE_CHECKING:
    from convkit.graph import CompiledModel, Model

Path_ = str | os.PathLike[str]
#: A file with its scores, or with why it could not be read.
Scored = tuple[str, NDArray[Any] | str]

#: The most pictures that run together, and the memory that the values inside the network may take.
BATCH = 16
BATCH_BYTES = 128 << 20
#: The side of pictures for networks that take any.
USUAL_SIDE = 224
#: Networks of small pictures, digits say, see all of them: cutting off the edges costs accuracy.
SMALL_SIDE = 64
#: Networks whose weights come from TensorFlow or Keras and are trained on values from -1 to 1.
#: torchvision's GoogLeNet and Inception v3 are among them: there the model converts its input.
INCEPTION_STYLE = (
    "googlenet", "inception_v3", "inception_v4", "inception_resnet_v2", "xception",
    "mobilenet_v1", "nasnet_mobile", "nasnet_large",
    "resnet50_v2", "resnet101_v2", "resnet152_v2",
)  # fmt: skip
#: Networks whose weights come from Caffe: blue first, values less their mean.
CAFFE_STYLE = ("alexnet_paper", "googlenet_paper", "inception_v2")


def load_network(source: str, weights: Path_ | None, labels: Sequence[str] | None) -> Model:
    """A network by its name, with weights, or of a file.

    Raises
    ------
    ValueError, OSError
        There is no such network or file, or the weights are missing or do not fit.
    """
    import convkit

    if source not in convkit.models.names():
        if not Path(source).exists() and not Path(source).suffix:
            near = get_close_matches(source.lower(), convkit.models.names(), n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "`convkit models` lists them"
            raise ValueError(f"{source!r} is neither a file nor a network: {hint}")
        if weights is not None:
            raise ValueError(
                f"--weights {os.fspath(weights)} is for a network by name: {source} is a file and "
                "holds its own"
            )
        if Path(source).suffix.lower() in (".pth", ".pt", ".th", ".npz"):
            raise ValueError(
                f"{source} holds weights and no network: write the network's name there, and "
                f"--weights {source}"
            )
        return convkit.load(source)
    model = convkit.models.build(source)
    if weights is None:
        raise ValueError(_no_weights(source, model))
    try:
        model.load(weights)
    except ValueError:
        outputs = model.graph.outputs[0].sizes[-1]
        if labels is None or len(labels) == outputs:
            raise
        # As many classes as there are labels: a network trained further on them.
        model = convkit.models.build(source, num_classes=len(labels))
        model.load(weights)
    return model


def _no_weights(name: str, model: Model) -> str:
    """Which files fit."""
    if name == "lenet5_digits":
        from convkit.assets import digits_weights

        return f"{name} needs --weights FILE: {digits_weights()} comes with convkit"
    first = next(iter(model.graph.weights.values()))
    return (
        f"{name} needs --weights FILE: a .safetensors, .npz, .pth, .h5, .keras or .onnx file of "
        f"this network, with weights such as {first.name} {first.shape}; docs/models.md tells "
        "where they come from"
    )


def usual_preset(source: str, model: Model) -> str:
    """How networks of this kind are trained most often."""
    if _input(model)[0] == 1 or source == "keras_cats_dogs":
        return "unit"
    if source in CAFFE_STYLE:
        return "caffe"
    return "inception" if source in INCEPTION_STYLE else "imagenet"


def _input(model: Model) -> tuple[int, int, int, bool]:
    """Channels, height and width of the network's input, and whether the channels come last."""
    inputs = model.graph.inputs
    value = inputs[0]
    shape: Sequence[Any] | None = value.shape or model.sizes.get(value.name)
    shape = (None, 3, None, None) if shape is None else shape
    if len(inputs) != 1 or len(shape) != 4:
        wanted = ", ".join(f"{value.name} {value}" for value in inputs)
        raise ValueError(f"{model.graph.name} takes no pictures: its input is {wanted}")
    last = shape[3] in (1, 3) and shape[1] not in (1, 3)
    channels, height, width = (shape[3], *shape[1:3]) if last else shape[1:]
    sides = (side if isinstance(side, int) else USUAL_SIDE for side in (height, width))
    channels = channels if isinstance(channels, int) else 3
    if channels not in (1, 3):
        raise ValueError(
            f"{model.graph.name} takes no pictures: its input has {channels} channels, expected "
            "1 or 3"
        )
    return (channels, *sides, last)  # type: ignore[return-value]


class Classifier:
    """A model with all that is between files and scores."""

    def __init__(self, model: Model, preset: str, images: int) -> None:
        self._model = model
        self._preset = preset
        self._channels, *self._size, self._last = _input(model)
        self._runs: dict[int, CompiledModel] = {}
        single = self._compiled(1)
        results = single.graph.outputs
        shape = results[0].sizes
        if len(results) != 1 or len(shape) < 2 or shape[:2] != (1, int(np.prod(shape))):
            shown = " and ".join(f"{value.name} {value}" for value in results)
            raise ValueError(
                f"{model.graph.name} is no classifier: it gives {shown}, expected one output of "
                "(n, classes)"
            )
        self._last_node = model.graph.nodes[-1]
        #: A single output is how sure the network is of the second of two classes.
        self.outputs = max(2, shape[1])
        self._batch = self._largest_batch(single, images)

    def _compiled(self, count: int) -> CompiledModel:
        if count not in self._runs:
            height, width = self._size
            size = (
                (height, width, self._channels) if self._last else (self._channels, height, width)
            )
            self._runs[count] = self._model.compile((count, *size))
        return self._runs[count]

    def _largest_batch(self, single: CompiledModel, images: int) -> int:
        count = max(1, min(BATCH, images, BATCH_BYTES // max(1, single.memory.arena)))
        try:
            fits = self._compiled(count).graph.outputs[0].sizes[0] == count
        except ValueError:
            fits = False
        return count if fits else 1  # some exporters write a batch of 1 into the network

    def run(self, files: Iterable[str]) -> Iterator[Scored]:
        """Each file with its scores, or with why it could not be read."""
        read: list[Scored] = []
        waiting = 0
        for file in files:
            try:
                read.append((file, self._prepared(file)))
                waiting += 1
            except (ValueError, OSError) as error:
                read.append((file, str(error)))
            if waiting == self._batch:
                yield from self._scored(read)
                read, waiting = [], 0
        yield from self._scored(read)

    def _prepared(self, file: str) -> NDArray[Any]:
        height, width = self._size
        return prepare(
            file, preset=self._preset, size=(height, width), channels=self._channels,
            crop=min(height, width) >= SMALL_SIDE,
        )  # fmt: skip

    def _scored(self, read: Sequence[Scored]) -> Iterator[Scored]:
        arrays = [x for _, x in read if not isinstance(x, str)]
        scores: Iterator[NDArray[Any]] = iter(())
        if arrays:
            batch = np.concatenate(arrays)
            if self._last:
                batch = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
            batch = batch.astype(self._model.graph.inputs[0].dtype, copy=False)
            y = np.asarray(self._compiled(len(batch))(batch), np.float64)
            scores = iter(self._shares(y.reshape(len(batch), -1)))
        for file, x in read:
            yield file, x if isinstance(x, str) else next(scores)

    def _shares(self, y: NDArray[Any]) -> NDArray[Any]:
        """What the network gave as shares of 1."""
        node = self._last_node
        if y.shape[1] == 1:
            sure = y if "sigmoid" in str(node.settings) + node.op else 1 / (1 + np.exp(-y))
            return np.concatenate([1 - sure, sure], axis=1)
        if (y >= 0).all() and np.allclose(y.sum(axis=1), 1, rtol=0, atol=1e-3):
            return y
        if node.op == "reduce_sum_square":
            y = -y  # distances to the codes of the classes, of LeNet-5: the least wins
        powers = np.exp(y - y.max(axis=1, keepdims=True))
        shares: NDArray[Any] = powers / powers.sum(axis=1, keepdims=True)
        return shares
