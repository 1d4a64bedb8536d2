"""Every line of docs/migrating.md: both expressions give the same answer.

OpenCV and PyTorch are used where they are installed; elsewhere stand-ins of a few lines over SciPy,
which are held to the real libraries wherever those are there.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy
import scipy.ndimage
import scipy.signal
from oracle import oracle

import convkit
from convkit.problem import conv_problem

PAGE = Path(__file__).resolve().parent.parent / "docs" / "migrating.md"
LINES = [
    tuple(cell.strip() for cell in line.strip("|\n").split(" | "))
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| argument")
]
SETUP = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def tensor_conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    x = np.asarray(x)
    batch = x if x.ndim == 4 else x[None]
    problem = conv_problem(
        batch.shape, w.shape, stride=stride, padding=padding, dilation=dilation, groups=groups,
        dtype="float64",
    )  # fmt: skip
    y = oracle(batch, np.asarray(w), problem, bias)
    return y if x.ndim == 4 else y[0]


def tensor_pad(x, sides, mode="constant"):
    left, right, top, bottom = sides
    name = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode=name)


def tensor_conv_transpose2d(
    x, w, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """Every tap of the filter spreads the image over the outputs that it reaches."""
    steps, sides, more, gaps = (
        (value, value) if isinstance(value, int) else value
        for value in (stride, padding, output_padding, dilation)
    )
    n, c, *size = x.shape
    taps = w.shape[2:]
    reach = [(size[i] - 1) * steps[i] + 1 for i in range(2)]
    whole = [reach[i] + (taps[i] - 1) * gaps[i] + more[i] for i in range(2)]
    y = np.zeros((n, groups, w.shape[1], *whole))
    images, filters = x.reshape(n, groups, -1, *size), w.reshape(groups, -1, *w.shape[1:])
    for r, s in np.ndindex(*taps):
        spread = np.einsum("ngchw,gck->ngkhw", images, filters[..., r, s])
        rows = slice(r * gaps[0], r * gaps[0] + reach[0], steps[0])
        y[..., rows, s * gaps[1] : s * gaps[1] + reach[1] : steps[1]] += spread
    y = y.reshape(n, -1, *whole)
    y = y[:, :, sides[0] : whole[0] - sides[0], sides[1] : whole[1] - sides[1]]
    return y if bias is None else y + np.asarray(bias)[:, None, None]


STAND_IN_TORCH = SimpleNamespace(from_numpy=np.asarray)
STAND_IN_F = SimpleNamespace(
    conv2d=tensor_conv2d, conv_transpose2d=tensor_conv_transpose2d, pad=tensor_pad,
    relu=lambda a: np.maximum(a, 0),
)  # fmt: skip


def filter2d(src, ddepth, kernel, dst=None, anchor=(-1, -1), delta=0.0, borderType=4):  # noqa: N803
    if src.ndim == 3:
        planes = [filter2d(plane, ddepth, kernel) for plane in np.moveaxis(src, 2, 0)]
        return np.dstack(planes)
    rows, columns = kernel.shape
    left, top = (
        size // 2 if at < 0 else at for at, size in zip(anchor, (columns, rows), strict=True)
    )
    mode = {0: "constant", 1: "edge", 2: "symmetric", 4: "reflect"}[borderType]
    padded = np.pad(src, ((top, rows - 1 - top), (left, columns - 1 - left)), mode=mode)
    return scipy.signal.correlate(padded.astype("d"), kernel, "valid", method="direct") + delta


STAND_IN_CV2 = SimpleNamespace(
    filter2D=filter2d, CV_32F=5, CV_64F=6, BORDER_CONSTANT=0, BORDER_REPLICATE=1, BORDER_REFLECT=2,
    BORDER_REFLECT_101=4,
)  # fmt: skip


def names(real):
    """The page's names, with the real libraries or with the stand-ins."""
    space = {"cv2": STAND_IN_CV2, "torch": STAND_IN_TORCH, "F": STAND_IN_F}
    if real and importlib.util.find_spec("cv2"):
        import cv2

        space["cv2"] = cv2
    if real and importlib.util.find_spec("torch"):
        import torch

        space |= {"torch": torch, "F": torch.nn.functional}
    space |= {"np": np, "scipy": scipy, "convkit": convkit}
    definitions = [line for line in SETUP[1].splitlines() if re.match(r"\w = ", line)]
    exec("\n".join(definitions), space)
    return space


def values(expression, space):
    return np.asarray(eval(expression.strip("`"), space), np.float64)


def identify(line):
    return re.sub(r"\W+", "_", f"{line[1].split('(')[0]} {line[0]}").strip("_")


def test_the_page_has_its_lines():
    assert len(LINES) > 55
    assert all(len(line) == 3 for line in LINES)
    assert len({identify(line) for line in LINES}) == len(LINES)


@pytest.mark.parametrize("line", LINES, ids=identify)
def test_line(line):
    _, theirs, ours = line
    expected = values(theirs, names(real=True))
    space = names(real=True)
    if "T(" in ours and space["torch"] is STAND_IN_TORCH:
        space["T"] = np.asarray
    y = values(ours, space)
    assert y.shape == expected.shape
    loose = "float32" in line[1] + line[2] or "uint8" in line[1]
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4 if loose else 1e-11)


@pytest.mark.parametrize(
    "line", [line for line in LINES if "cv2." in line[1] or "F." in line[1]], ids=identify
)
def test_stand_ins_are_the_libraries(line):
    """Where a library is installed, its stand-in gives what it gives."""
    library = "cv2" if "cv2." in line[1] else "torch"
    if not importlib.util.find_spec(library):
        assert names(real=True)[library] is names(real=False)[library]
        return
    expected = values(line[1], names(real=True))
    np.testing.assert_allclose(values(line[1], names(real=False)), expected, atol=1e-4)


ARGUMENTS = {
    "scipy.signal.convolve2d": scipy.signal.convolve2d,
    "scipy.signal.fftconvolve": scipy.signal.fftconvolve,
    "scipy.ndimage.convolve": scipy.ndimage.convolve,
}


@pytest.mark.parametrize("name", [*ARGUMENTS, "cv2.filter2D", "torch.nn.functional.conv2d"])
def test_every_argument_has_a_line(name):
    text = PAGE.read_text(encoding="utf-8")
    (heading,) = re.findall(rf"^## {re.escape(name)}\((.*)\)$", text, re.MULTILINE)
    section = text.split(f"## {name}(")[1].split("\n## ")[0]
    arguments = [
        part.split("=")[0].strip() for part in re.sub(r"=\([^)]*\)", "", heading).split(",")
    ]
    first_cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| ")]
    for argument in arguments:
        names_it = {"borderType": "BORDER_", "boundary": 'boundary="'}.get(argument, argument)
        assert any(names_it in cell for cell in first_cells), argument
