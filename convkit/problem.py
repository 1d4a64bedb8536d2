"""ConvProblem: one convolution as a frozen value, and KernelProblem, its view for the kernels."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, SupportsIndex

PADDING_MODES = ("zeros", "reflect", "symmetric", "replicate", "circular")
DTYPES = ("float32", "float64")
#: Arrays beyond this many bytes fit no address space; sizes below it cannot overflow 64 bits.
MOST_BYTES = 1 << 47

PaddingLike = int | str | Sequence[int] | Sequence[Sequence[int]]
PairLike = int | Sequence[int]


class KernelProblem(NamedTuple):
    """What a kernel is told: the fields of `Problem` in csrc/problem.h up to the strides."""

    n: int
    c: int
    h: int
    w: int
    k: int
    r: int
    s: int
    p: int
    q: int
    groups: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int
    padding_mode: int
    x_dtype: int
    w_dtype: int
    sum_dtype: int
    x_layout: int = 0
    y_layout: int = 0
    block: int = 0


@dataclass(frozen=True, slots=True)
class ConvProblem:
    """A convolution: sizes, stride, dilation, padding (top, bottom, left, right), groups, dtype.

    Built by `conv_problem`, which validates. `p` and `q` are the output's rows and columns.
    """

    n: int
    c: int
    h: int
    w: int
    k: int
    r: int
    s: int
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    padding_mode: str = "zeros"
    groups: int = 1
    dtype: str = "float32"
    p: int = field(init=False)
    q: int = field(init=False)

    def __post_init__(self) -> None:
        top, bottom, left, right = self.padding
        object.__setattr__(
            self, "p", output_size(self.h + top + bottom, self.r, self.stride[0], self.dilation[0])
        )
        object.__setattr__(
            self, "q", output_size(self.w + left + right, self.s, self.stride[1], self.dilation[1])
        )

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return (self.n, self.c, self.h, self.w)

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        return (self.k, self.c // self.groups, self.r, self.s)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return (self.n, self.k, self.p, self.q)

    @property
    def itemsize(self) -> int:
        return 8 if self.dtype == "float64" else 4

    @property
    def macs(self) -> int:
        """Multiply-adds of one image by the definition, padding counted."""
        return self.k * self.p * self.q * (self.c // self.groups) * self.r * self.s

    def one_image(self) -> ConvProblem:
        """The same problem for a batch of one: what a batch-invariant choice may look at."""
        return self if self.n == 1 else self.with_batch(1)

    def with_batch(self, n: int) -> ConvProblem:
        return ConvProblem(
            n, self.c, self.h, self.w, self.k, self.r, self.s, self.stride, self.dilation,
            self.padding, self.padding_mode, self.groups, self.dtype,
        )  # fmt: skip

    def kernel_problem(self) -> KernelProblem:
        # A filter of one row or column has nothing to dilate.
        dilation_h = 1 if self.r == 1 else self.dilation[0]
        dilation_w = 1 if self.s == 1 else self.dilation[1]
        dtype = DTYPES.index(self.dtype)
        return KernelProblem(
            self.n, self.c, self.h, self.w, self.k, self.r, self.s, self.p, self.q, self.groups,
            *self.stride, dilation_h, dilation_w, *self.padding,
            PADDING_MODES.index(self.padding_mode), dtype, dtype, dtype,
        )  # fmt: skip

    def __str__(self) -> str:
        """The shape as the command line writes it: n1c64h56w56k64r3s3p1."""
        text = f"n{self.n}c{self.c}h{self.h}w{self.w}k{self.k}r{self.r}s{self.s}"
        top, bottom, left, right = self.padding
        if any(self.padding):
            if top == bottom == left == right:
                text += f"p{top}"
            elif (top, left) == (bottom, right):
                text += f"p{top},{left}"
            else:
                text += f"p{top},{bottom},{left},{right}"
        for letter, pair in (("u", self.stride), ("d", self.dilation)):
            if pair != (1, 1):
                same = pair[0] == pair[1]
                text += f"{letter}{pair[0]}" if same else f"{letter}{pair[0]},{pair[1]}"
        return text + (f"g{self.groups}" if self.groups != 1 else "")


def parse_shape(text: str) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """(x_shape, w_shape, keywords of conv2d) of a shape such as n1c64h56w56k64r3s3p1.

    Sizes n c h w k r s, then p padding, u stride, d dilation, g groups where they are not 0, 1, 1,
    1; p, u and d may be pairs "1,2" (vertical, horizontal), p also top,bottom,left,right.
    """
    form = "n1c64h56w56k64r3s3, then p padding, u stride, d dilation, g groups"
    found = re.fullmatch(r"(?:[nchwkrspudg]\d+(?:,\d+)*)+", text)
    parts = re.findall(r"([a-z])(\d+(?:,\d+)*)", text) if found else []
    values = {letter: tuple(map(int, numbers.split(","))) for letter, numbers in parts}
    if len(values) != len(parts) or not set("chwkrs") <= set(values):
        raise ValueError(f"shape {text!r} must be written like {form}")
    for letter, numbers in values.items():
        if len(numbers) > {"p": 4, "u": 2, "d": 2}.get(letter, 1) or len(numbers) == 3:
            raise ValueError(f"shape {text!r}: {letter}{','.join(map(str, numbers))} is too many")
    size = {letter: values[letter][0] for letter in "chwkrs"}
    n, groups = values.get("n", (1,))[0], values.get("g", (1,))[0]
    if groups < 1 or size["c"] % groups:
        raise ValueError(f"shape {text!r}: g{groups} must divide the {size['c']} input channels")
    keywords: dict[str, Any] = {"groups": groups}
    for letter, name in (("p", "padding"), ("u", "stride"), ("d", "dilation")):
        if letter in values:
            numbers = values[letter]
            pairs = (numbers[:2], numbers[2:]) if len(numbers) == 4 else numbers
            keywords[name] = numbers[0] if len(numbers) == 1 else pairs
    x_shape = (n, size["c"], size["h"], size["w"])
    return x_shape, (size["k"], size["c"] // groups, size["r"], size["s"]), keywords


def output_size(padded: int, filter_size: int, stride: int, dilation: int) -> int:
    """Number of windows in a padded extent: floor((padded - ((f - 1) d + 1)) / u) + 1."""
    return (padded - ((filter_size - 1) * dilation + 1)) // stride + 1


def conv_problem(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    stride: PairLike = 1,
    padding: PaddingLike = 0,
    padding_mode: str = "zeros",
    dilation: PairLike = 1,
    groups: int = 1,
    dtype: str = "float32",
) -> ConvProblem:
    """Validate a convolution's arguments and make its `ConvProblem`.

    Raises ValueError or TypeError that names the argument, the value and what was needed.
    """
    n, c, h, w, k, r, s, w_channels = _sizes(x_shape, w_shape)
    stride_hw = pair("stride", stride, least=1)
    dilation_hw = pair("dilation", dilation, least=1)
    groups = integer("groups", groups, least=1)
    if c % groups:
        raise ValueError(f"groups={groups} must divide the {c} input channels")
    if k % groups:
        raise ValueError(f"groups={groups} must divide the {k} filters")
    if w_channels != c // groups:
        raise ValueError(
            f"w has {w_channels} channels per group but x has {c} channels in {groups} "
            f"group{'s' if groups > 1 else ''}: expected w of shape (k, {c // groups}, r, s)"
        )
    one_of("padding_mode", padding_mode, PADDING_MODES)
    sides = padding_sides(padding, (h, w), (r, s), stride_hw, dilation_hw)
    _check_padding_fits(sides, padding_mode, (h, w))
    for axis, size, filter_size, padded, dilated in (
        ("rows", h, r, h + sides[0] + sides[1], (r - 1) * dilation_hw[0] + 1),
        ("columns", w, s, w + sides[2] + sides[3], (s - 1) * dilation_hw[1] + 1),
    ):
        if dilated > padded:
            spread = "" if dilated == filter_size else f" (spread over {dilated} by dilation)"
            raise ValueError(
                f"w has {filter_size} {axis}{spread}, more than the {padded} {axis} of the padded "
                f"image ({size} of x and {padded - size} of padding)"
            )
    problem = ConvProblem(
        n, c, h, w, k, r, s, stride_hw, dilation_hw, sides, padding_mode, groups, dtype
    )
    for name, shape in (("x", problem.x_shape), ("w", problem.w_shape), ("y", problem.y_shape)):
        if math.prod(max(size, 1) for size in shape) * problem.itemsize > MOST_BYTES:
            raise ValueError(
                f"{name} of shape {shape} would take {math.prod(shape) * problem.itemsize} bytes: "
                f"at most {MOST_BYTES} can be addressed"
            )
    if max(sides) > MOST_BYTES or max(dilation_hw) * max(r, s) > MOST_BYTES:
        raise ValueError(f"padding={sides}, dilation={dilation_hw}: more than can be addressed")
    return problem


def _sizes(
    x_shape: Sequence[int], w_shape: Sequence[int]
) -> tuple[int, int, int, int, int, int, int, int]:
    """(n, c, h, w, k, r, s, channels of w) of the shapes that conv2d accepts."""
    x_shape = shape_of("x", x_shape)
    w_shape = shape_of("w", w_shape)
    if len(w_shape) == 2 and len(x_shape) == 2:
        x_shape, w_shape = (1, 1, *x_shape), (1, 1, *w_shape)
    elif len(x_shape) == 3 and len(w_shape) == 4:
        x_shape = (1, *x_shape)
    if len(x_shape) != 4 or len(w_shape) != 4:
        raise ValueError(
            f"x of shape {x_shape} and w of shape {w_shape}: expected x (n, c, h, w) or (c, h, w) "
            f"with w (k, c / groups, r, s), or x (h, w) with w (r, s)"
        )
    for name, letters, shape in (("x", "nchw", x_shape), ("w", "kcrs", w_shape)):
        for letter, size in zip(letters, shape, strict=True):
            if size < (0 if letter == "n" else 1):
                raise ValueError(f"{name} has shape {shape}: every size must be at least 1 (n: 0)")
    n, c, h, w = x_shape
    k, w_channels, r, s = w_shape
    return n, c, h, w, k, r, s, w_channels


def shape_of(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape as a tuple of ints."""
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise TypeError(f"{name}_shape={shape!r} must be a sequence of integers") from None
    return sizes


def integer(name: str, value: SupportsIndex, *, least: int) -> int:
    """The value as an int of at least `least`."""
    if isinstance(value, bool):
        raise TypeError(f"{name}={value!r} must be an integer of at least {least}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r} must be an integer of at least {least}") from None
    if number < least:
        raise ValueError(f"{name}={number} must be at least {least}")
    return number


def one_of(name: str, value: str, names: Sequence[str]) -> str:
    """The value, which must be one of the names."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r} must be one of {', '.join(names)}")
    if value not in names:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(names)}")
    return value


def pair(name: str, value: PairLike, *, least: int) -> tuple[int, int]:
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise ValueError(
                f"{name}={value!r} must be an integer or a pair (vertical, horizontal)"
            )
        return integer(name, value[0], least=least), integer(name, value[1], least=least)
    if isinstance(value, (str, bytes)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}={value!r} must be an integer or a pair (vertical, horizontal)")
    number = integer(name, value, least=least)  # type: ignore[arg-type]
    return number, number


def padding_sides(
    padding: PaddingLike,
    size: tuple[int, int],
    filter_size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of any accepted form."""
    if isinstance(padding, str):
        one_of("padding", padding, ("valid", "same", "full"))
        sides: list[int] = []
        for n, f, u, d in zip(size, filter_size, stride, dilation, strict=True):
            reach = (f - 1) * d
            if padding == "same":
                total = max((-(-n // u) - 1) * u + reach + 1 - n, 0)
                sides += [total // 2, total - total // 2]
            else:
                sides += [reach, reach] if padding == "full" else [0, 0]
        return sides[0], sides[1], sides[2], sides[3]
    if isinstance(padding, (list, tuple)) and any(isinstance(v, (list, tuple)) for v in padding):
        if len(padding) != 2 or any(
            not isinstance(v, (list, tuple)) or len(v) != 2 for v in padding
        ):
            raise ValueError(f"padding={padding!r} must be ((top, bottom), (left, right))")
        (top, bottom), (left, right) = padding  # type: ignore[misc]
        return (
            integer("padding", top, least=0),
            integer("padding", bottom, least=0),
            integer("padding", left, least=0),
            integer("padding", right, least=0),
        )
    vertical, horizontal = pair("padding", padding, least=0)  # type: ignore[arg-type]
    return vertical, vertical, horizontal, horizontal


def _check_padding_fits(sides: tuple[int, int, int, int], mode: str, size: tuple[int, int]) -> None:
    """Modes that read the image for its padding can only reach so far."""
    if mode in ("zeros", "replicate"):
        return
    for axis, extent, pads in (("rows", size[0], sides[:2]), ("columns", size[1], sides[2:])):
        most = extent - 1 if mode == "reflect" else extent
        if max(pads) > most:
            raise ValueError(
                f"padding={sides} (top, bottom, left, right) is too large for "
                f"padding_mode={mode!r}: at most {most} for the {extent} {axis} of x"
            )
