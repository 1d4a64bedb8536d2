"""Options that several commands of the bench share."""

from __future__ import annotations

from typing import Any


def numbers(flag: str, words: str, least: float, kind: type = int) -> list[Any]:
    """Of a comma list, such as "1,2". Raises ValueError that names the flag."""
    try:
        found = [kind(word) for word in words.split(",")]
        if all(number >= least for number in found):  # not for NaN
            return found
    except ValueError:
        pass
    sort = "whole numbers" if kind is int else "numbers"
    raise ValueError(f"{flag} {words!r} must be {sort} of {least} and more, such as 1,2")
