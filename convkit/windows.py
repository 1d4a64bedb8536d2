"""Windows: where pooling's windows lie, after validation."""

from __future__ import annotations

from typing import NamedTuple

from convkit.problem import PaddingLike, PairLike, padding_sides, pair


class Windows(NamedTuple):
    """Windows over an image: (rows, columns) of one, their distance, padding, the distance of two
    pixels in one, their number."""

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]  # top, bottom, left, right
    dilation: tuple[int, int]
    size: tuple[int, int]


def windows(
    image: tuple[int, int],
    kernel: PairLike,
    stride: PairLike | None,
    padding: PaddingLike,
    dilation: PairLike,
    ceil_mode: bool,
) -> Windows:
    """Validate pooling's arguments for an image of (rows, columns).

    Raises ValueError or TypeError that names the argument, the value and what was needed.
    """
    window = pair("kernel", kernel, least=1)
    strides = window if stride is None else pair("stride", stride, least=1)
    spread = pair("dilation", dilation, least=1)
    if isinstance(padding, str) and padding == "full":
        raise ValueError("padding='full' must be a size, 'same' or 'valid' for pooling")
    padded = padding_sides(padding, image, window, strides, spread)
    sizes = []
    for i, axis in enumerate(("rows", "columns")):
        before, after = padded[2 * i], padded[2 * i + 1]
        reach = (window[i] - 1) * spread[i] + 1
        dilated = "" if reach == window[i] else f" (spread over {reach} by dilation)"
        if max(before, after) >= reach:
            raise ValueError(
                f"padding={max(before, after)} must be less than the {window[i]} {axis} of kernel"
                f"{dilated}"
            )
        span = image[i] + before + after - reach
        if span < 0:
            raise ValueError(
                f"kernel has {window[i]} {axis}{dilated}, more than the {span + reach} {axis} of "
                f"the padded image ({image[i]} of x and {before + after} of padding)"
            )
        size = span // strides[i] + 1
        if ceil_mode and span % strides[i] and size * strides[i] < image[i] + before:
            size += 1
        sizes.append(size)
    return Windows(window, strides, padded, spread, (sizes[0], sizes[1]))
