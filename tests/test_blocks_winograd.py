"""The Winograd blocks against their matrices: compiled as a small driver, for two sets of flags."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
EPS = float(np.finfo(np.float32).eps)
SQRT2 = 2.0**0.5
#: Finite interpolation points; the point at infinity comes last.
SIX = (0.0, SQRT2 / 2, -SQRT2 / 2, SQRT2, -SQRT2)
POINTS = {2: (0.0, 1.0, -1.0), 3: SIX, 4: SIX}
TILES = tuple(POINTS)
TAPS = {2: 3, 3: 4, 4: 3}
FLAGS = {"default": (), "native": ("-march=native",)}
MODES = {"zeros": "constant", "reflect": "reflect", "symmetric": "symmetric", "replicate": "edge",
         "circular": "wrap"}  # fmt: skip


def matrices(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (n, m), B (n, n) and G (n, r) of F(m, r), n = m + r - 1, all norms in G (Toom and Cook).

    Row i of B^T holds the coefficients of the product of (x - p) over the other points p, row i of
    G the powers of its point over the value of that product there.
    """
    points = POINTS[m]
    n, taps = len(points) + 1, TAPS[m]
    a, bt, g = np.zeros((n, m)), np.zeros((n, n)), np.zeros((n, taps))
    for i, point in enumerate(points):
        others = [p for p in points if p != point]
        bt[i, : n - 1] = np.poly(others)[::-1]
        norm = np.prod([point - p for p in others])
        a[i] = [point**j for j in range(m)]
        g[i] = [point**j / norm for j in range(taps)]
    bt[-1] = np.poly(points)[::-1]
    a[-1, -1] = g[-1, -1] = 1.0
    return a, bt.T, g


@pytest.fixture(scope="module", params=list(FLAGS))
def blocks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The driver as a library, built with the C++ compiler of this machine."""
    compiler = next(
        (c for c in (os.environ.get("CXX"), "g++", "c++", "clang++") if c and shutil.which(c)), None
    )
    if compiler is None:
        pytest.skip("no C++ compiler on this machine")
    if not (ROOT / "csrc").is_dir():
        pytest.skip("csrc/ is not beside the tests")
    library = tmp_path_factory.mktemp("blocks") / "winograd.so"
    command = [
        compiler, "-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=fast", "-Wall", "-Wextra",
        *FLAGS[request.param], f"-I{ROOT / 'csrc'}", str(ROOT / "tests/blocks/winograd.cpp"),
        "-o", str(library),
    ]  # fmt: skip
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    loaded = ctypes.CDLL(str(library))
    loaded.tiles_of.restype = ctypes.c_int64
    return loaded


def apply(blocks: ctypes.CDLL, name: str, outputs: int, rows: np.ndarray) -> np.ndarray:
    """A 1-D transform on the columns of `rows`, each through every lane in turn."""
    double = rows.dtype == np.float64
    lanes = blocks.double_lanes() if double else blocks.float_lanes()
    function = getattr(blocks, name)
    columns = []
    for i in range(rows.shape[1]):
        source = np.zeros((rows.shape[0], lanes), rows.dtype)
        source[:, i % lanes] = rows[:, i]
        target = np.full((outputs, lanes), np.nan, rows.dtype)
        function(source.ctypes.data_as(ctypes.c_void_p), target.ctypes.data_as(ctypes.c_void_p))
        others = np.delete(target, i % lanes, axis=1)
        np.testing.assert_array_equal(others, 0, err_msg=f"{name}: a lane touched another")
        columns.append(target[:, i % lanes])
    return np.stack(columns, axis=1)


def matrix_of(blocks: ctypes.CDLL, name: str, inputs: int, outputs: int, dtype: type) -> np.ndarray:
    return apply(blocks, name, outputs, np.eye(inputs, dtype=dtype)).astype(np.float64)


@pytest.mark.parametrize("m", TILES, ids=lambda m: f"f{m}")
def test_the_matrices_are_minimal_filtering(m: int) -> None:
    a, b, g = matrices(m)
    rng = np.random.default_rng(0)
    d, w = rng.standard_normal(len(b)), rng.standard_normal(TAPS[m])
    np.testing.assert_allclose(
        a.T @ ((g @ w) * (b.T @ d)), np.correlate(d, w, "valid"), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("m", TILES, ids=lambda m: f"f{m}")
def test_input_transform_is_b(blocks: ctypes.CDLL, m: int) -> None:
    _, b, _ = matrices(m)
    n = len(b)
    found = matrix_of(blocks, f"f{m}_input", n, n, np.float32)
    scale = found[np.arange(n), np.abs(b.T).argmax(1)] / np.abs(b.T).max(1)
    assert set(np.abs(scale).round(6)) == {1.0}  # rows of B^T may change their sign together with G
    np.testing.assert_allclose(np.abs(found), np.abs(b.T), rtol=2 * EPS, atol=4 * EPS)


@pytest.mark.parametrize("m", TILES, ids=lambda m: f"f{m}")
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_filter_and_output_transforms_are_g_and_a(blocks: ctypes.CDLL, m: int, dtype: type) -> None:
    """Norms and signs may move between G, B and A: at each point the three together are fixed."""
    a, b, g = matrices(m)
    n = len(b)
    name = f"f{m}_filter" + ("_double" if dtype == np.float64 else "")
    filters = matrix_of(blocks, name, TAPS[m], n, dtype)
    inputs = matrix_of(blocks, f"f{m}_input", n, n, np.float32).T
    outputs = matrix_of(blocks, f"f{m}_output", n, m, np.float32).T
    for point in range(n):
        found = np.einsum("j,s,d->jsd", outputs[point], filters[point], inputs[:, point])
        wanted = np.einsum("j,s,d->jsd", a[point], g[point], b[:, point])
        np.testing.assert_allclose(found, wanted, rtol=0, atol=8 * EPS, err_msg=f"point {point}")


@pytest.mark.parametrize("m", TILES, ids=lambda m: f"f{m}")
def test_two_dimensional_tile_is_the_correlation(blocks: ctypes.CDLL, m: int) -> None:
    rng = np.random.default_rng(m)
    taps, n = TAPS[m], m + TAPS[m] - 1
    d = rng.standard_normal((n, n)).astype(np.float32)
    w = rng.standard_normal((taps, taps))

    def both_axes(name: str, outputs: int, values: np.ndarray) -> np.ndarray:
        rows = apply(blocks, name, outputs, values)
        return apply(blocks, name, outputs, np.ascontiguousarray(rows.T)).T

    u = both_axes(f"f{m}_filter_double", n, w).astype(np.float32)
    v = both_axes(f"f{m}_input", n, d)
    y = both_axes(f"f{m}_output", m, np.ascontiguousarray(u * v))
    windows = np.lib.stride_tricks.sliding_window_view(d.astype(np.float64), (taps, taps))
    wanted = np.einsum("pqrs,rs->pq", windows, w)
    bound = np.einsum("pqrs,rs->pq", np.abs(windows), np.abs(w)).max()
    np.testing.assert_allclose(y, wanted, rtol=0, atol={2: 4, 3: 12, 4: 12}[m] * EPS * bound)


@pytest.mark.parametrize("m", TILES, ids=lambda m: f"f{m}")
def test_tiles_cover_every_output_once(blocks: ctypes.CDLL, m: int) -> None:
    for outputs in range(1, 60):
        begins = np.full(outputs + 3, -1, np.int64)
        tiles = blocks.tiles_of(m, ctypes.c_int64(outputs), begins.ctypes.data_as(ctypes.c_void_p))
        full = begins[tiles + 1]
        sizes = np.diff(begins[: tiles + 1])
        assert tiles == -(-outputs // m)
        assert begins[0] == 0 and sizes.sum() == outputs, outputs
        assert (sizes[:full] == m).all() and (sizes[full:] <= m - 1).all(), outputs
        assert (sizes[full:-1] == m - 1).all() and sizes.min() >= 1, outputs


def test_turn_is_a_transposition(blocks: ctypes.CDLL) -> None:
    lanes = blocks.float_lanes()
    source = np.arange(lanes * (lanes + 3), dtype=np.float32).reshape(lanes, lanes + 3)
    target = np.full((lanes, lanes + 5), np.nan, np.float32)
    blocks.turn_block(
        source.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(lanes + 3),
        target.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(lanes + 5),
    )  # fmt: skip
    np.testing.assert_array_equal(target[:, :lanes], source[:, :lanes].T)
    assert np.isnan(target[:, lanes:]).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", ["nchw", "nhwc", "every_second", "reversed"])
def test_pixels_are_the_padded_image(blocks: ctypes.CDLL, mode: str, layout: str) -> None:
    rng = np.random.default_rng(5)
    lanes = blocks.float_lanes()
    for channels in (1, lanes - 1, lanes):
        for width in (1, 3, lanes - 1, lanes, 2 * lanes + 1):
            height = 4
            x = rng.standard_normal((channels, height, width)).astype(np.float32)
            if layout == "nhwc":
                x = np.ascontiguousarray(x.transpose(1, 2, 0)).transpose(2, 0, 1)
            elif layout == "every_second":
                x = np.repeat(x, 2, axis=2)[:, :, ::2]
            elif layout == "reversed":
                x = x[::-1, ::-1, ::-1]
            reach = {"zeros": 3, "replicate": 3, "reflect": width - 1}.get(mode, width)
            left, right = min(3, reach), min(2, reach)
            padded = np.pad(x, ((0, 0), (1, 2), (left, right)), mode=MODES[mode])
            fields = np.zeros(blocks.problem_fields(), np.int64)
            fields[[1, 2, 3]] = channels, height, width
            fields[14:19] = 1, 2, left, right, list(MODES).index(mode)
            fields[-12:-8] = 0, *(s // 4 for s in x.strides)
            count = width + left + right
            for row in range(-1, height + 2):
                to = np.full((count + lanes, lanes), np.nan, np.float32)
                blocks.read_padded(
                    fields.ctypes.data_as(ctypes.c_void_p), x.ctypes.data_as(ctypes.c_void_p),
                    ctypes.c_int64(channels), ctypes.c_int64(row), ctypes.c_int64(-left),
                    ctypes.c_int64(count), to.ctypes.data_as(ctypes.c_void_p),
                )  # fmt: skip
                np.testing.assert_array_equal(
                    to[:count, :channels], padded[:, row + 1].T,
                    err_msg=f"channels {channels}, width {width}, row {row}",
                )  # fmt: skip
                assert np.isnan(to[count + lanes - 1 :]).all()
