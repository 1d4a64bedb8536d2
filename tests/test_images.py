"""Pictures of every kind become arrays: geometry and values of the presets, hostile files."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

import convkit
from convkit import images
from convkit.images import prepare


@pytest.fixture
def noise():
    """An array (90, 130, 3) of uint8."""
    return np.random.default_rng(5).integers(0, 256, (90, 130, 3), np.uint8)


def of_one_colour(red, green, blue):
    return np.full((4, 5, 3), (red, green, blue), np.uint8)


# ---- values --------------------------------------------------------------------------------------

VALUES = {
    "imagenet": [(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0 - 0.406) / 0.225],
    "inception": [1, -0.6, -1],
    "caffe": [0 - 103.939, 51 - 116.779, 255 - 123.68],
    "unit": [1, 0.2, 0],
    "none": [255, 51, 0],
}


@pytest.mark.parametrize("preset", VALUES)
def test_values(preset):
    x = prepare(of_one_colour(255, 51, 0), preset=preset)
    assert x.shape == (1, 3, 4, 5) and x.dtype == np.float32 and x.flags.c_contiguous
    np.testing.assert_allclose(x[0, :, 2, 3], VALUES[preset], rtol=1e-6)


def test_standard_has_mean_0_and_deviation_1_for_each_picture(noise):
    x = prepare([noise, noise // 3], preset="standard")
    np.testing.assert_allclose(x.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=(1, 2, 3)), 1, atol=1e-6)
    assert not prepare(of_one_colour(7, 7, 7), preset="standard").any()


@pytest.mark.parametrize("preset", images.PRESETS)
def test_blue_first_is_what_opencv_reads(preset, noise):
    x = prepare(noise, preset=preset, size=32)
    np.testing.assert_array_equal(prepare(noise[..., ::-1], preset=preset, size=32, bgr=True), x)


# ---- geometry ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, scaled, corner",
    [
        ((300, 451), (256, 384), (16, 80)),
        ((451, 300), (384, 256), (80, 16)),
        ((256, 259), (256, 259), (16, 18)),  # 17.5 rounds to even, as Python and torchvision do
        ((100, 100), (256, 256), (16, 16)),
    ],
)
def test_imagenet_scales_the_short_side_and_cuts_the_centre(shape, scaled, corner):
    array = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    large = Image.fromarray(array).resize(scaled[::-1], Image.Resampling.BILINEAR)
    top, left = corner
    expected = np.asarray(large)[top : top + 224, left : left + 224] / 255
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    expected = ((expected - mean) / deviation).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(prepare(array, preset="imagenet", size=224), expected, atol=1e-5)


def test_imagenet_covers_what_is_no_square(noise):
    x = prepare(noise, preset="imagenet", size=(64, 224))
    assert x.shape == (1, 3, 64, 224)
    large = Image.fromarray(noise).resize((256, int(90 * 256 / 130)), Image.Resampling.BILINEAR)
    top = round((large.height - 64) / 2)
    expected = np.asarray(large)[top : top + 64, 16:240]
    back = x[0].transpose(1, 2, 0) * images.IMAGENET_DEVIATION + images.IMAGENET_MEAN
    np.testing.assert_allclose(255 * back, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(90, 131), (1, 1), (17, 400)])
def test_inception_takes_the_central_seven_eighths(shape):
    array = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
    high, wide = max(1, int(0.875 * shape[0])), max(1, int(0.875 * shape[1]))
    top, left = (shape[0] - high) // 2, (shape[1] - wide) // 2
    cut = Image.fromarray(array[top : top + high, left : left + wide])
    expected = np.asarray(cut.resize((50, 50), Image.Resampling.BILINEAR)) / 127.5 - 1
    x = prepare(array, preset="inception", size=50)
    np.testing.assert_allclose(x[0], expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize("preset", ["unit", "standard", "none"])
def test_other_presets_take_all_of_the_picture(preset, noise):
    whole = Image.fromarray(noise).resize((40, 30), Image.Resampling.BILINEAR)
    expected = prepare(np.asarray(whole), preset=preset)
    np.testing.assert_array_equal(prepare(noise, preset=preset, size=(30, 40)), expected)


def test_without_crop_all_of_the_picture_is_taken(noise):
    small = Image.fromarray(noise).resize((32, 32), Image.Resampling.BILINEAR)
    expected = prepare(small, preset="imagenet")
    x = prepare(noise, preset="imagenet", size=32, crop=False)
    np.testing.assert_array_equal(x, expected)


def test_a_thread_of_a_picture_takes_no_memory_to_scale():
    """Whole, it would be scaled to 256 by 25,600,000."""
    x = prepare(np.full((1, 100_000, 3), 255, np.uint8), preset="unit", size=8)
    assert x.shape == (1, 3, 8, 8)
    x = prepare(np.full((1, 100_000, 3), 255, np.uint8), preset="imagenet", size=224)
    assert x.shape == (1, 3, 224, 224)


# ---- what is taken -------------------------------------------------------------------------------


def test_arrays_of_every_shape(noise):
    one = prepare(noise, preset="unit")
    np.testing.assert_array_equal(prepare(noise[None], preset="unit"), one)
    np.testing.assert_array_equal(prepare([noise], preset="unit"), one)
    both = prepare(np.stack([noise, noise[::-1]]), preset="unit")
    np.testing.assert_array_equal(both, [one[0], one[0, :, ::-1]])
    with_alpha = np.dstack([noise, noise[..., 0]])
    np.testing.assert_array_equal(prepare(with_alpha, preset="unit"), one)
    np.testing.assert_array_equal(one[0], noise.transpose(2, 0, 1) / np.float32(255))


def test_grey_arrays(noise):
    grey = noise[..., 0]
    expected = np.broadcast_to(grey / np.float32(255), (1, 3, 90, 130))
    for array in (grey, grey[..., None], grey[None, ..., None]):
        np.testing.assert_array_equal(prepare(array, preset="unit"), expected)
    x = prepare(grey, preset="unit", channels=1)
    np.testing.assert_array_equal(x, expected[:, :1])
    assert prepare(noise, preset="standard", channels=1).shape == (1, 1, 90, 130)


def test_a_list_may_mix_arrays_pictures_and_paths(noise, tmp_path):
    Image.fromarray(noise).save(tmp_path / "a.png")
    picture = Image.fromarray(noise)
    x = prepare([noise, picture, tmp_path / "a.png", str(tmp_path / "a.png")], preset="none")
    np.testing.assert_array_equal(x, np.stack([noise.transpose(2, 0, 1)] * 4))


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "RGBX", "RGBa", "La"]


@pytest.mark.parametrize("mode", MODES)
def test_modes_become_rgb(mode):
    """Of a picture of one grey, which each of them can hold: it comes back."""
    grey = Image.new("RGB", (6, 4), (255, 255, 255))
    through = {"PA": "P", "RGBa": "RGBA", "La": "LA"}.get(mode)
    picture = grey.convert(through).convert(mode) if through else grey.convert(mode)
    assert picture.mode == mode
    np.testing.assert_allclose(prepare(picture, preset="none"), 255, atol=1)


@pytest.mark.parametrize("kind", ["I;16", "I"])
def test_grey_of_16_bits(kind, tmp_path):
    """257 levels become one; Pillow's own conversion would cut all above 255 to white."""
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    picture = Image.fromarray(deep if kind == "I;16" else deep.astype(np.int32))
    assert picture.mode == kind
    file = tmp_path / ("deep.png" if kind == "I;16" else "deep.tiff")
    picture.save(file)
    for given in (picture, file):
        x = prepare(given, preset="none")
        np.testing.assert_array_equal(x, np.broadcast_to([0, 1, 128, 255], (1, 3, 1, 4)))


def test_palette_and_grey_files(tmp_path, noise):
    grey = Image.fromarray(noise).convert("L")
    grey.save(tmp_path / "grey.png")
    grey.convert("P").save(tmp_path / "palette.gif")
    expected = np.broadcast_to(np.asarray(grey), (1, 3, 90, 130))
    for name in ("grey.png", "palette.gif"):
        np.testing.assert_array_equal(prepare(tmp_path / name, preset="none"), expected)


def test_the_camera_held_sideways(noise, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right side
    Image.fromarray(noise).save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(noise, -1)
    x = prepare(tmp_path / "turned.png", preset="none")
    np.testing.assert_array_equal(x[0], upright.transpose(2, 0, 1))


# ---- what is refused -----------------------------------------------------------------------------

MISTAKES = {
    "preset": ({"preset": "torch"}, ValueError, "preset='torch' must be one of imagenet, incept"),
    "size 0": ({"size": 0}, ValueError, "size=0 must be at least 1"),
    "size too large": ({"size": 10**9}, ValueError, "size=1000000000 must be at most 32768"),
    "size of three": ({"size": (1, 2, 3)}, ValueError, r"size=\(1, 2, 3\) must be an integer or"),
    "size in words": ({"size": "224"}, TypeError, "size='224' must be an integer or a pair"),
    "channels": ({"channels": 4}, ValueError, "channels=4 must be 3 or 1"),
    "grey for imagenet": ({"channels": 1}, ValueError, "channels=1: preset='imagenet' is of 3"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_wrong_arguments(name, noise):
    keywords, error, message = MISTAKES[name]
    with pytest.raises(error, match=message):
        prepare(noise, **keywords)


WRONG = {
    "floats": (np.zeros((4, 4, 3), np.float32), TypeError, "dtype float32: expected uint8"),
    "channels first": (np.zeros((3, 9, 9), np.uint8), ValueError, r"\(3, 9, 9\): expected \(h, w"),
    "five sizes": (np.zeros((1, 1, 9, 9, 3), np.uint8), ValueError, r"\(1, 1, 9, 9, 3\)"),
    "empty": (np.zeros((0, 9, 9, 3), np.uint8), ValueError, "expected no size of 0"),
    "nothing": ([], ValueError, "holds none: expected at least one"),
    "numbers": ([1, 2], TypeError, "images holds a int: expected uint8 arrays, PIL images"),
    "floats of a file": (Image.new("F", (3, 3)), ValueError, "holds floats"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_pictures(name):
    given, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        prepare(given)


def test_pictures_of_two_sizes_need_a_size(noise):
    with pytest.raises(ValueError, match="images are 90 by 130 and 130 by 90: give size="):
        prepare([noise, noise.transpose(1, 0, 2)])


def test_blue_first_is_of_arrays_only(noise, tmp_path):
    with pytest.raises(ValueError, match="bgr=True is of arrays"):
        prepare(Image.fromarray(noise), bgr=True)


def test_absent_and_unreadable_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.png"):
        prepare(tmp_path / "absent.png")
    with pytest.raises(OSError, match="is no regular file"):
        prepare(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture at all")
    with pytest.raises(ValueError, match="text.jpg holds no picture"):
        prepare(tmp_path / "text.jpg")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match="empty.png holds no picture"):
        prepare(tmp_path / "empty.png")


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm", "tga"])
def test_broken_files_name_themselves(kind, noise, tmp_path):
    """Cut at many places and with bytes changed: a picture, ValueError or OSError."""
    stream = io.BytesIO()
    Image.fromarray(noise[:20, :30]).save(stream, kind)
    whole = stream.getvalue()
    rng = np.random.default_rng(zlib.crc32(kind.encode()))
    file = tmp_path / f"broken.{kind}"
    failed = 0
    for turn in range(60):
        content = bytearray(whole)
        if turn % 2:
            del content[rng.integers(len(whole)) :]
        else:
            for _ in range(1 + turn // 10):
                content[rng.integers(min(len(whole), 200))] = rng.integers(256)
        file.write_bytes(content)
        try:
            assert prepare(file, size=8).shape == (1, 3, 8, 8)
        except (ValueError, OSError) as error:
            assert str(file) in str(error)
            failed += 1
    assert failed > 5


def png_of(width, height):
    def chunk(name, content):
        summed = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", summed)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed)


@pytest.mark.parametrize("width, height", [(10_000, 9_500), (100_000, 100_000)])
def test_a_picture_that_claims_to_be_huge_is_refused(width, height, tmp_path):
    """Pillow warns of the first and refuses the second."""
    (tmp_path / "huge.png").write_bytes(png_of(width, height))
    with pytest.raises(ValueError, match="huge.png holds more than [0-9]* pixels"):
        prepare(tmp_path / "huge.png")


def test_postscript_is_not_run(tmp_path):
    """Pillow would start Ghostscript for it."""
    (tmp_path / "a.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.raises(ValueError, match="a.jpg holds no picture"):
        prepare(tmp_path / "a.jpg")
    assert ".eps" not in images.suffixes()
    assert {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif"} <= images.suffixes()


def test_images_is_imported_on_use_and_pillow_when_needed():
    script = (
        "import sys, convkit; assert 'convkit.images' not in sys.modules;"
        "convkit.images.prepare; assert 'PIL' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert "images" in dir(convkit)
