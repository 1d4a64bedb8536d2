"""Where the buffers of a program lie in its arena: those that are never alive at once share bytes.

A buffer lives from the first step that writes it to the last that reads it. Largest first, each
takes the lowest gap among the buffers that live with it and are placed already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ALIGNMENT = 128


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer's bytes, and the steps from its first to its last use, both included."""

    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Arena:
    """Offsets of buffers, the bytes of all, and the most that is alive during any step."""

    offsets: dict[str, int]
    size: int
    live: int


def plan_arena(buffers: Mapping[str, Lifetime]) -> Arena:
    """Place every buffer."""
    rounded = {
        name: Lifetime(-(-life.size // ALIGNMENT) * ALIGNMENT, life.first, life.last)
        for name, life in buffers.items()
    }
    offsets: dict[str, int] = {}
    for name, life in sorted(rounded.items(), key=lambda item: (-item[1].size, item[1].first)):
        taken = sorted(
            (offsets[other], offsets[other] + rounded[other].size)
            for other in offsets
            if rounded[other].first <= life.last and life.first <= rounded[other].last
        )
        offsets[name] = _lowest_gap(taken, life.size)
    size = max((offsets[name] + life.size for name, life in rounded.items()), default=0)
    return Arena(offsets, size, most_alive(rounded.values()))


def _lowest_gap(taken: Iterable[tuple[int, int]], size: int) -> int:
    """Where `size` bytes fit between these, sorted by their beginning."""
    begin = 0
    for low, high in taken:
        if low - begin >= size:
            return begin
        begin = max(begin, high)
    return begin


def most_alive(lives: Iterable[Lifetime]) -> int:
    """The largest sum of the bytes of buffers that live at once."""
    changes: dict[int, int] = {}
    for life in lives:
        changes[life.first] = changes.get(life.first, 0) + life.size
        changes[life.last + 1] = changes.get(life.last + 1, 0) - life.size
    most = alive = 0
    for step in sorted(changes):
        alive += changes[step]
        most = max(most, alive)
    return most
