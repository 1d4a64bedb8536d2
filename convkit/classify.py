"""What `convkit classify` does: pictures -> the names of what they show."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.backends import check_device
from convkit.images import PRESETS, suffixes
from convkit.labels import Labels, labels_of, look_up, read_labels, read_truth
from convkit.problem import integer, one_of
from convkit.scores import Classifier, Path_, load_network, usual_preset


@dataclass(frozen=True, slots=True)
class Guess:
    """A class, its name where it is known, and its share of 1."""

    index: int
    label: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What one file shows.

    Attributes
    ----------
    file : str
    guesses : tuple of Guess
        Best first.
    rank : int, or None
        How many classes score more than the right one; None where that is not known.
    error : str
        Why the file could not be read; empty if it could.
    """

    file: str
    guesses: tuple[Guess, ...] = ()
    rank: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to classify, and the folder below the given one that it lies in."""

    file: str
    folder: str | None = None


def find_images(paths: Sequence[Path_]) -> list[Found]:
    """The files among these paths and in these folders and their folders, in order of their names.

    A file is taken whatever its name, so that a wrong one is reported; in folders the name tells.

    Raises
    ------
    ValueError
        There is none.
    """
    found: list[Found] = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(Found(os.fspath(path)))
            continue
        for place, folders, files in os.walk(path):
            folders.sort()
            inside = os.path.relpath(place, path)
            folder = None if inside == "." else os.path.basename(place)
            found += [
                Found(os.path.join(place, file), folder)
                for file in sorted(files)
                if os.path.splitext(file)[1].lower() in suffixes()
            ]
    if not found:
        shown = ", ".join(os.fspath(path) for path in paths)
        raise ValueError(f"{shown}: no picture in there: expected .jpg, .png or other files")
    return found


def classify(
    source: str,
    images: Sequence[Found],
    *,
    weights: Path_ | None = None,
    labels: Path_ | None = None,
    preset: str | None = None,
    truth: Path_ | None = None,
    device: str = "cpu",
    top: int = 5,
) -> Iterator[Answer]:
    """Run a network on pictures, in batches.

    Parameters
    ----------
    source : name of a network, or path of a file that `convkit.load` reads
    images : what `find_images` found
    weights : file for a network by name
    labels : file with a line for each output; one line fewer where output 0 is the background
    preset : of `convkit.images.prepare`; what the model's file says, else what is usual
    truth : file that says what the pictures show; else the folders do that they lie in
    device : "cpu"
    top : int
        How many guesses to give of each picture.

    Yields
    ------
    Answer
        Of each picture in turn; one that cannot be read has an `error`.

    Raises
    ------
    ValueError, OSError
        A name, file or argument does not fit.
    """
    top = integer("top", top, least=1)
    check_device(device)
    if preset is not None:
        one_of("preset", preset, tuple(PRESETS))
    names = None if labels is None else read_labels(labels)
    model = load_network(source, weights, names)
    preset = preset or model.preset or usual_preset(source, model)
    one_of("preset", preset, tuple(PRESETS))  # a file may name another: once, not at each picture
    network = Classifier(model, preset, len(images))
    known = labels_of(network.outputs, names, model.labels, model.graph.name, f"labels: {labels}")
    known, right = _truth(images, truth, known)
    for file, scores in network.run([found.file for found in images]):
        if isinstance(scores, str):
            yield Answer(file, error=scores)
        else:
            yield _answer(file, scores[known.background :], known, top, right.get(file))


def _answer(
    file: str, scores: NDArray[Any], labels: Labels, top: int, right: frozenset[int] | None
) -> Answer:
    if not np.isfinite(scores).all():
        return Answer(file, error=f"{file}: the network's answer holds NaN or infinities")
    order = np.argsort(-scores, kind="stable")
    guesses = tuple(Guess(int(i), labels.name(int(i)), float(scores[i])) for i in order[:top])
    rank = None if right is None else min(int(np.flatnonzero(order == i)[0]) for i in right)
    return Answer(file, guesses, rank)


def _truth(
    images: Sequence[Found], file: Path_ | None, labels: Labels
) -> tuple[Labels, dict[str, frozenset[int]]]:
    """What is known of the pictures; and the labels, which the folders' names may tell."""
    if file is not None:
        said = read_truth(file, labels)
        looked = {found.file: look_up(said, found.file) for found in images}
        right = {name: classes for name, classes in looked.items() if classes is not None}
        if not right:
            raise ValueError(
                f"truth: {os.fspath(file)} names none of the pictures; the first one it names is "
                f"{next(iter(said))!r}, the first picture is {images[0].file!r}"
            )
        return labels, right
    folders = sorted({found.folder for found in images if found.folder is not None})
    if labels.names is None and len(folders) == labels.count:
        if not all(labels.find(folder) for folder in folders):
            # Keras and torchvision train on folders in the order of their names.
            labels = Labels(labels.count, labels.background, tuple(folders))
    looked = {found.file: labels.find(found.folder or "") for found in images}
    return labels, {name: classes for name, classes in looked.items() if classes}
