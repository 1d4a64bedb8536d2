"""Sizes of images that a network takes, and widths of layers that follow a multiplier."""

from __future__ import annotations

from typing import Any

from convkit.problem import PairLike, pair


def image_shape(
    input_size: PairLike | None, own: PairLike, *, channels: int = 3, least: int = 1, of: int = 1
) -> tuple[int, int, int]:
    """(channels, height, width) of the images.

    Parameters
    ----------
    input_size : int or (h, w), optional
        The network's `own`, unless given.
    least, of : int
        Each side must be at least `least`, and a multiple of `of`.

    Raises
    ------
    ValueError, TypeError
        The network cannot take images of this size.
    """
    height, width = pair("input_size", own if input_size is None else input_size, least=1)
    if min(height, width) < least or height % of or width % of:
        needed = f"multiples of {of}" if of > 1 else "sizes"
        raise ValueError(
            f"input_size=({height}, {width}) must be an integer or (h, w): {needed} of at least "
            f"{least}"
        )
    return channels, height, width


def multiplier(name: str, value: Any) -> float:
    """A factor on the channels or layers of a network: a number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}={value!r} must be a number above 0")
    if not 0 < value <= 100:
        raise ValueError(f"{name}={value!r} must be above 0, and at most 100")
    return float(value)


def in_eights(channels: float) -> int:
    """The nearest multiple of 8, at least 8; the next one if that is less than nine tenths.

    The rounding rule of MobileNet v2 and its descendants.
    """
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
