"""The names of a network's classes, and which of them a file or folder is said to show."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Of the data set CIFAR-10, in the order of their index.
CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labels:
    """What the classes are called.

    Attributes
    ----------
    count : int
        Of the classes, a background apart.
    background : int
        1 where the network's output 0 stands for none of them, else 0.
    names : tuple of str, or None
    numbers : tuple of str, or None
        The WordNet numbers of ImageNet's classes, which its folders are called by.
    """

    count: int
    background: int = 0
    names: tuple[str, ...] | None = None
    numbers: tuple[str, ...] | None = None

    def name(self, index: int) -> str | None:
        return None if self.names is None else self.names[index]

    def find(self, text: str) -> frozenset[int]:
        """The classes that go by this name, number or index; two of ImageNet's are "crane"."""
        wanted = _plain(text)
        for known in (self.names, self.numbers):
            found = frozenset(i for i, name in enumerate(known or ()) if _plain(name) == wanted)
            if found:
                return found
        if text.isascii() and text.isdigit() and int(text[:18]) < self.count:
            return frozenset({int(text[:18])})
        return frozenset()

    @property
    def wanted(self) -> str:
        """What `find` takes, in the words of the messages."""
        known = "" if self.names is None else "a label or "
        return f"{known}an index from 0 to {self.count - 1}"


def _plain(name: str) -> str:
    """Case and underscores, which folders have for spaces, do not matter."""
    return name.casefold().replace("_", " ").strip()


def labels_of(
    outputs: int,
    given: Sequence[str] | None,
    kept: Sequence[str] | None,
    network: str,
    place: str = "labels",
) -> Labels:
    """Labels of a network with this many outputs.

    Parameters
    ----------
    outputs : int
    given : what the user says they are, which must fit
    kept : what the model's file says they are
    network : str
        The name it is known by, for the messages and for CIFAR-10.
    place : str
        Where `given` is from, for the messages.

    Raises
    ------
    ValueError
        The labels given are neither as many as the outputs nor one fewer.
    """
    if given is not None:
        if len(given) not in (outputs, outputs - 1):
            raise ValueError(
                f"{place} has {len(given)} names, which do not fit {network}: expected {outputs}, "
                f"one for each of its outputs, or {outputs - 1} without the background"
            )
        return Labels(len(given), outputs - len(given), tuple(given))
    if kept is not None and len(kept) in (outputs, outputs - 1):
        return Labels(len(kept), outputs - len(kept), tuple(kept))
    if outputs in (1000, 1001):
        from convkit.assets import imagenet_classes

        numbers, names = zip(*imagenet_classes(), strict=True)
        return Labels(1000, outputs - 1000, names, numbers)
    if outputs == len(CIFAR10) and network.endswith("_cifar10"):
        return Labels(outputs, 0, CIFAR10)
    return Labels(outputs)


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The lines of a text file, in the order of the index.

    Raises
    ------
    ValueError
        A line before the last is empty, there is none, or the file is no text.
    OSError
        The file is absent or cannot be read.
    """
    lines = _lines(path)
    if not lines:
        raise ValueError(f"labels: {os.fspath(path)} is empty: expected a name a line")
    for number, line in enumerate(lines, 1):
        if not line:
            raise ValueError(f"labels: {os.fspath(path)}, line {number} is empty: expected a name")
    return tuple(lines)


def read_truth(path: str | os.PathLike[str], labels: Labels) -> dict[str, frozenset[int]]:
    """What each file is said to show: lines of a file's name, a space or tab, a label or index.

    Raises
    ------
    ValueError
        A line is of another form or names an unknown class; the first one is named.
    OSError
        The file is absent or cannot be read.
    """
    found: dict[str, frozenset[int]] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line or line.startswith("#"):
            continue
        file, label = _split(line)
        classes = labels.find(label)
        if not classes:
            raise ValueError(
                f"truth: {os.fspath(path)}, line {number} says {label!r}: expected a file's name "
                f"and {labels.wanted}"
            )
        found[file] = classes
    if not found:
        raise ValueError(f"truth: {os.fspath(path)} is empty: expected lines of a file and a label")
    return found


def _split(line: str) -> tuple[str, str]:
    """A tab divides; else an index at the end is cut off, as files may have spaces in their name;
    else the first space divides, as labels may have them too."""
    if "\t" in line:
        file, _, label = line.partition("\t")
    elif line.rpartition(" ")[2].isdigit():
        file, _, label = line.rpartition(" ")
    else:
        file, _, label = line.partition(" ")
    return file.strip(), label.strip()


def look_up(truth: Mapping[str, frozenset[int]], file: str) -> frozenset[int] | None:
    """What is said of a file: by its path, the end of its path, or its name."""
    parts = Path(file).parts
    for name in (file, *("/".join(parts[start:]) for start in range(len(parts)))):
        if name in truth:
            return truth[name]
    return None


def _lines(path: str | os.PathLike[str]) -> list[str]:
    file = Path(path)
    if not file.is_file():
        file.stat()  # absent: the system's own OSError, which names the file
        raise OSError(f"{file} is no regular file")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text: byte {error.start} is not UTF-8") from None
    return [line.strip() for line in text.splitlines()]
