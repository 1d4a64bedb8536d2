"""Pictures -> the arrays that networks take, by the names of the usual ways: presets.

    preset     what of the picture                    channels   values
    imagenet   short side to 256/224, centre crop     RGB        (x/255 - mean) / deviation
    inception  the central 87.5 % of each side        RGB        x/127.5 - 1
    caffe      short side to 256/224, centre crop     BGR        x - mean
    unit       all of it                              RGB        x/255
    standard   all of it                              RGB        mean 0 and deviation 1 per picture
    none       all of it                              RGB        x, from 0 to 255

Scaling is Pillow's bilinear one, which averages over the pixels that become one when it shrinks.
"""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from convkit.problem import integer, one_of

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]
Array = NDArray[np.float32]
Size = tuple[int, int]

#: Of the pixels of ImageNet from 0 to 1, red, green and blue, as torchvision has them.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
#: Of the pixels of ImageNet from 0 to 255, blue, green and red, as Caffe's VGG has them.
CAFFE_MEAN = np.array([103.939, 116.779, 123.68], np.float32)
#: The short side before the centre is cut out, in sides of what is cut out.
MARGIN = 256 / 224
#: The share of each side that the inception preset keeps.
CENTRAL = 0.875
#: Pictures longer than this many short sides lose their ends before they are scaled: scaling them
#: whole would take memory without bound for pixels that the centre crop drops.
LONGEST = 16

#: No network takes larger pictures; one of this side has 12 GiB in float32.
MOST_SIDE = 1 << 15

#: Formats that Pillow only recognises, and EPS, which it hands to another program to run.
NOT_READ = {"EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF"}


def prepare(
    images: Any,
    *,
    preset: str = "imagenet",
    size: SupportsIndex | Sequence[int] | None = None,
    channels: int = 3,
    crop: bool = True,
    bgr: bool = False,
) -> Array:
    """Make pictures into the input of a network.

    Parameters
    ----------
    images : uint8 array, PIL image, path, or a list of them
        Arrays are (h, w), (h, w, c) or (n, h, w, c) with 1, 3 or 4 channels; a fourth is dropped.
        Files and PIL images may be of any kind: palettes, CMYK and grey become what `channels`
        says, 16 bits become 8, the orientation that a camera noted is followed, and of several
        frames the first counts.
    preset : "imagenet", "inception", "caffe", "unit", "standard" or "none"
        What of the picture is taken, and what its values become: the table above.
    size : int or (h, w), optional
        What the network takes. None: each picture as large as it is, all of one size, uncut.
    channels : 3 or 1
        1 gives grey, which "imagenet" and "caffe" have no values for.
    crop : bool
        False: all of the picture is scaled to `size`, whatever the preset.
    bgr : bool
        The arrays' channels stand in the order blue, green, red, as OpenCV reads files.

    Returns
    -------
    (n, channels, h, w) float32

    Raises
    ------
    ValueError
        An argument or an array does not fit, a file holds no picture, or one of more pixels than
        `PIL.Image.MAX_IMAGE_PIXELS`.
    TypeError
        Something is no picture, or an array is not uint8.
    OSError
        A file is absent or breaks off.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.images import prepare
    >>> x = prepare(np.full((480, 640, 3), 255, np.uint8), preset="inception", size=224)
    >>> x.shape, float(x.min()), float(x.max())
    ((1, 3, 224, 224), 1.0, 1.0)
    """
    one_of("preset", preset, tuple(PRESETS))
    region, values = PRESETS[preset]
    target = None if size is None else _size(size)
    if channels not in (1, 3):
        raise ValueError(f"channels={channels!r} must be 3 or 1")
    if channels == 1 and preset in ("imagenet", "caffe"):
        raise ValueError(f"channels=1: preset={preset!r} is of 3 channels")
    ready: list[Array] = []
    for picture in _pictures(images, bgr):
        if target is not None:
            kept = region(picture, target) if crop else picture
            picture = _scaled(kept, target)
        pixels = np.asarray(picture.convert("RGB" if channels == 3 else "L"))
        if ready and pixels.shape[:2] != ready[0].shape[:2]:
            raise ValueError(
                f"images are {_shown(ready[0].shape)} and {_shown(pixels.shape)}: give size= or "
                "pictures of one size"
            )
        ready.append(values(pixels.reshape(*pixels.shape[:2], channels)))
    if not ready:
        raise ValueError(f"images={images!r} holds none: expected at least one")
    return np.ascontiguousarray(np.stack(ready).transpose(0, 3, 1, 2))


def _shown(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} by {shape[1]}"


def _size(size: SupportsIndex | Sequence[int]) -> Size:
    """(h, w) of what a caller wrote."""
    if isinstance(size, (list, tuple)):
        if len(size) != 2:
            raise ValueError(f"size={size!r} must be an integer or a pair (height, width)")
        return _side(size[0]), _side(size[1])
    if isinstance(size, (str, bytes)) or not hasattr(size, "__index__"):
        raise TypeError(f"size={size!r} must be an integer or a pair (height, width)")
    side = _side(operator.index(size))  # type: ignore[arg-type]
    return side, side


def _side(size: Any) -> int:
    side = integer("size", size, least=1)
    if side > MOST_SIDE:
        raise ValueError(f"size={side} must be at most {MOST_SIDE} pixels")
    return side


# ---- what of the picture -------------------------------------------------------------------------


def _whole(picture: Image, size: Size) -> Image:
    return picture


def _central(picture: Image, size: Size) -> Image:
    """The middle 87.5 % of each side."""
    width, height = max(1, int(CENTRAL * picture.width)), max(1, int(CENTRAL * picture.height))
    return _cut(
        picture, (picture.width - width) // 2, (picture.height - height) // 2, width, height
    )


def _centre(picture: Image, size: Size) -> Image:
    """Scaled so that it covers `size` with the usual margin, then cut to it in the middle."""
    high, wide = size
    picture = _without_ends(picture)
    covers = (round(high * MARGIN), round(wide * MARGIN))
    # The side that just covers is exact, the other rounded down: torchvision's Resize.
    if picture.width * covers[0] >= picture.height * covers[1]:
        scaled = covers[0], int(covers[0] * picture.width / picture.height)
    else:
        scaled = int(covers[1] * picture.height / picture.width), covers[1]
    picture = _scaled(picture, scaled)
    left, top = round((picture.width - wide) / 2), round((picture.height - high) / 2)
    return _cut(picture, left, top, wide, high)


def _without_ends(picture: Image) -> Image:
    longest = LONGEST * min(picture.width, picture.height)
    width, height = min(picture.width, longest), min(picture.height, longest)
    return _cut(
        picture, (picture.width - width) // 2, (picture.height - height) // 2, width, height
    )


def _cut(picture: Image, left: int, top: int, width: int, height: int) -> Image:
    if (width, height) == picture.size:
        return picture
    return picture.crop((left, top, left + width, top + height))


def _scaled(picture: Image, size: Size) -> Image:
    from PIL.Image import Resampling

    if picture.size == size[::-1]:
        return picture
    return picture.resize(size[::-1], Resampling.BILINEAR)


# ---- what its values become ----------------------------------------------------------------------


def _imagenet(x: Pixels) -> Array:
    return np.asarray((x / np.float32(255) - IMAGENET_MEAN) / IMAGENET_DEVIATION, np.float32)


def _inception(x: Pixels) -> Array:
    return np.asarray(x / np.float32(127.5) - np.float32(1), np.float32)


def _caffe(x: Pixels) -> Array:
    return np.asarray(x[..., ::-1] - CAFFE_MEAN, np.float32)


def _unit(x: Pixels) -> Array:
    return np.asarray(x / np.float32(255), np.float32)


def _standard(x: Pixels) -> Array:
    deviation = x.std(dtype=np.float64)
    scaled = (x - x.mean(dtype=np.float64)) / (deviation or 1)  # a picture of one colour: zeros
    return np.asarray(scaled, np.float32)


def _none(x: Pixels) -> Array:
    return x.astype(np.float32)


#: Name -> what of the picture is taken, and what its pixels become.
PRESETS: dict[str, tuple[Callable[[Image, Size], Image], Callable[[Pixels], Array]]] = {
    "imagenet": (_centre, _imagenet),
    "inception": (_central, _inception),
    "caffe": (_centre, _caffe),
    "unit": (_whole, _unit),
    "standard": (_whole, _standard),
    "none": (_whole, _none),
}


# ---- what pictures are read from -----------------------------------------------------------------


def _pictures(images: Any, bgr: bool) -> Iterator[Image]:
    """RGB or grey pictures of 8 bits, one by one, of whatever holds them."""
    from PIL.Image import Image

    if isinstance(images, (list, tuple)):
        for item in images:
            yield from _pictures(item, bgr)
        return
    if isinstance(images, np.ndarray):
        yield from _of_array(images, bgr)
        return
    if not isinstance(images, (str, os.PathLike, Image)):
        raise TypeError(
            f"images holds a {type(images).__name__}: expected uint8 arrays, PIL images or paths"
        )
    if bgr:
        raise ValueError(
            "bgr=True is of arrays, as OpenCV reads files: the order of other pictures is known"
        )
    yield _plain(images) if isinstance(images, Image) else read_picture(images)


def _of_array(array: NDArray[Any], bgr: bool) -> list[Image]:
    from PIL import Image

    if array.dtype != np.uint8:
        raise TypeError(
            f"images has dtype {array.dtype}: expected uint8, from 0 to 255; an array that is "
            "prepared already goes to the network as it is"
        )
    whole = array[None, ..., None] if array.ndim == 2 else array[None] if array.ndim == 3 else array
    if whole.ndim != 4 or whole.shape[3] not in (1, 3, 4):
        raise ValueError(
            f"images has shape {array.shape}: expected (h, w), (h, w, c) or (n, h, w, c) with 1, 3 "
            "or 4 channels; write x[..., None] for many grey ones, x.transpose(0, 2, 3, 1) for "
            "(n, c, h, w)"
        )
    if 0 in whole.shape:
        raise ValueError(f"images has shape {array.shape}: expected no size of 0")
    if whole.shape[3] == 1:
        return [Image.fromarray(np.ascontiguousarray(one[..., 0])) for one in whole]
    colours = whole[..., 2::-1] if bgr else whole[..., :3]
    return [Image.fromarray(np.ascontiguousarray(one)) for one in colours]


def read_picture(path: str | os.PathLike[str]) -> Image:
    """The picture of a file, as RGB or grey of 8 bits.

    Raises
    ------
    ValueError
        The file holds no picture that Pillow reads without help, a broken one, or a huge one.
    OSError
        The file is absent, cannot be read, or breaks off.
    """
    from PIL import Image, UnidentifiedImageError

    file = Path(path)
    if not file.is_file():  # a pipe or a device could keep us waiting for ever
        file.stat()  # absent: the system's own OSError, which names the file
        raise OSError(f"{file} is no regular file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, which is not used
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=_formats()) as opened:
                return _plain(opened)
        except UnidentifiedImageError:
            raise ValueError(f"{file} holds no picture: expected JPEG, PNG or another") from None
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise ValueError(
                f"{file} holds more than {Image.MAX_IMAGE_PIXELS} pixels, the most that "
                "PIL.Image.MAX_IMAGE_PIXELS lets through"
            ) from None
        except OSError as error:
            if error.filename is not None:
                raise
            raise OSError(f"{file}: {error}") from None
        except Exception as error:  # noqa: BLE001  a broken file makes Pillow raise nearly anything
            raise ValueError(f"{file}: {error or type(error).__name__}") from None


def _plain(picture: Image) -> Image:
    """Upright, RGB or grey, 8 bits a channel."""
    from PIL import ImageOps

    picture.load()
    try:
        picture = ImageOps.exif_transpose(picture)
    except Exception:  # noqa: BLE001  broken notes of the camera do not spoil the pixels
        pass
    if picture.mode == "La":
        picture = picture.convert("LA")
    if picture.mode in ("1", "L", "LA"):
        return picture.convert("L")
    if picture.mode.startswith("I"):  # 16 bits of grey, also where Pillow keeps them in 32
        return _of_deep_grey(np.asarray(picture))
    if picture.mode == "F":
        raise ValueError("holds floats, whose white is not known: expected whole numbers")
    return picture.convert("RGB")


def _of_deep_grey(deep: NDArray[Any]) -> Image:
    from PIL import Image

    shallow = (np.clip(deep, 0, 65535).astype(np.float32) / 257).round()
    return Image.fromarray(shallow.astype(np.uint8))


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """The formats that Pillow reads without the help of another program."""
    from PIL import Image

    Image.init()
    return tuple(name for name in Image.OPEN if name not in NOT_READ)


@lru_cache(maxsize=1)
def suffixes() -> frozenset[str]:
    """How the names of files end that hold pictures, in lower case with the dot."""
    from PIL import Image

    formats = _formats()
    return frozenset(end for end, name in Image.registered_extensions().items() if name in formats)
