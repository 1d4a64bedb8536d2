"""The transforms under the FFT convolution, against their matrices in float64.

blocks/fft.cpp is compiled for the instruction set in use, so forcing another one tests that one.
"""

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from convkit import _convkit

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent / "csrc"
FLAGS = {
    "avx512": ["-march=skylake-avx512", "-mprefer-vector-width=512"],
    "avx2": ["-mavx2", "-mfma"],
    "baseline": [],
    "neon": [],
}
DTYPES = ("float32", "float64")
REAL, INVERSE_REAL, COMPLEX, INVERSE_COMPLEX = range(4)
HALF = 4  # added to these: the codelet that reads, or writes back, half of the numbers
# What the wide instruction sets and the baseline have in common, and what only the wide ones have.
SIZES = (1, 8, 12, 16, 18, 20, 24, 28, 32, 36, 40, 48, 64, 72, 96, 128, 192, 256)
FEWEST = {"float32": 11, "float64": 10}


def compiler():
    named = os.environ.get("CXX")
    if named:
        return shlex.split(named)
    for name in ("g++", "c++", "clang++"):
        if shutil.which(name):
            return [name]
    return None


class Blocks:
    """The compiled driver, on arrays whose last axis is the lanes."""

    def __init__(self, library):
        self.library = library
        for name in ("fft_frequencies_of", "fft_column_of"):
            getattr(library, name).restype = ctypes.c_int64

    def lanes(self, dtype):
        return self.library.fft_lanes(dtype == "float64")

    def sizes(self, dtype):
        found = (ctypes.c_int * 64)()
        return list(found[: self.library.fft_sizes(dtype == "float64", found)])

    def frequencies(self, rows, columns):
        """(row, column) of the 2-D transform for every frequency kept, in the order kept."""
        order = []
        for column in range(columns // 2 + 1):
            half = column == 0 or 2 * column == columns
            assert self.library.fft_column_of(rows, columns, column) >= 0
            for row in range(rows // 2 + 1 if half else rows):
                place = self.library.fft_column_of(rows, columns, column) + row
                order.append((place, row, column))
        order.sort()
        assert [place for place, _, _ in order] == list(range(len(order)))
        assert len(order) == self.library.fft_frequencies_of(rows, columns)
        return [(row, column) for _, row, column in order]

    def call(self, name, dtype, numbers, inputs, shape):
        inputs = [np.ascontiguousarray(each, dtype) for each in inputs]
        out = np.full(shape, np.nan, dtype)
        pointers = [ctypes.c_void_p(each.ctypes.data) for each in (*inputs, out)]
        getattr(self.library, name)(int(dtype == "float64"), *numbers, *pointers)
        return out.astype(np.float64)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    command = compiler()
    if command is None:
        pytest.skip("no C++ compiler found to compile tests/blocks/fft.cpp with")
    if not CSRC.is_dir():
        pytest.skip("csrc/ is not beside tests/")
    isa = _convkit.current_isa()
    out = tmp_path_factory.mktemp("blocks") / "fft.so"
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-fno-math-errno", "-ffp-contract=fast"]
    flags += ["-fno-signed-zeros", "-fno-trapping-math", "-Wno-psabi", f"-I{CSRC}"]
    source = str(HERE / "blocks" / "fft.cpp")
    subprocess.run(
        [*command, *flags, *FLAGS[isa], f"-DCONVKIT_ISA={isa}", source, "-o", str(out)], check=True
    )
    return Blocks(ctypes.CDLL(str(out)))


@pytest.fixture
def rng():
    return np.random.default_rng(20260)


def dft(size):
    index = np.arange(size)
    return np.exp(-2j * np.pi * (np.outer(index, index) % size) / size)


def pairs(values):
    """Complex [..., lane] as [..., re or im, lane]."""
    return np.stack([values.real, values.imag], axis=-2)


def complexes(values):
    return values[..., 0, :] + 1j * values[..., 1, :]


def close(got, want, dtype, size):
    """Within a few eps of the size a sum of random numbers has, log2(N) roundings deep."""
    limit = 3 * (2 + np.log2(size)) * np.finfo(dtype).eps * np.abs(want).max()
    np.testing.assert_allclose(got, want, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_ascend_and_are_among_those_tested(blocks, dtype):
    sizes = blocks.sizes(dtype)
    assert sizes == sorted(set(sizes))
    assert set(sizes) <= set(SIZES)
    assert len(sizes) >= FEWEST[dtype]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
class TestCodelets:
    @pytest.fixture(autouse=True)
    def built(self, blocks, dtype, size):
        if size not in blocks.sizes(dtype):
            pytest.skip(f"{_convkit.current_isa()} has no {dtype} codelet of size {size}")

    def test_complex_is_the_dft_matrix(self, blocks, dtype, size, rng):
        lanes = blocks.lanes(dtype)
        x = pairs(rng.standard_normal((size, lanes)) + 1j * rng.standard_normal((size, lanes)))
        x = x.astype(dtype)
        got = blocks.call("fft_transform", dtype, (COMPLEX, size), [x], x.shape)
        close(complexes(got), dft(size) @ complexes(x.astype("d")), dtype, size)

    def test_swapped_complex_is_the_conjugate_matrix(self, blocks, dtype, size, rng):
        lanes = blocks.lanes(dtype)
        x = pairs(rng.standard_normal((size, lanes)) + 1j * rng.standard_normal((size, lanes)))
        x = x.astype(dtype)
        got = blocks.call("fft_transform", dtype, (INVERSE_COMPLEX, size), [x], x.shape)
        close(complexes(got), dft(size).conj() @ complexes(x.astype("d")), dtype, size)

    def test_real_is_the_upper_half_of_the_matrix(self, blocks, dtype, size, rng):
        x = rng.standard_normal((size, blocks.lanes(dtype))).astype(dtype)
        shape = (size // 2 + 1, 2, x.shape[1])
        got = blocks.call("fft_transform", dtype, (REAL, size), [x], shape)
        close(complexes(got), dft(size)[: size // 2 + 1] @ x.astype("d"), dtype, size)

    def test_inverse_real_needs_no_imaginary_part_at_both_ends(self, blocks, dtype, size, rng):
        x = rng.standard_normal((size, blocks.lanes(dtype)))
        half = pairs(dft(size)[: size // 2 + 1] @ x)
        half[0, 1] = np.nan
        if size % 2 == 0:
            half[size // 2, 1] = np.nan
        got = blocks.call("fft_transform", dtype, (INVERSE_REAL, size), [half], x.shape)
        close(got, size * x, dtype, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
class TestHalfCodelets:
    """Of numbers whose second half is zeros, and back to the first half alone."""

    @pytest.fixture
    def kept(self, blocks, dtype, size):
        if size not in blocks.sizes(dtype):
            pytest.skip(f"{_convkit.current_isa()} has no {dtype} codelet of size {size}")
        kept = blocks.library.fft_kept(dtype == "float64", size)
        if kept == size:
            pytest.skip("has no codelet of half the numbers")
        assert 2 * kept == size
        return kept

    def test_complex(self, blocks, dtype, size, kept, rng):
        lanes = blocks.lanes(dtype)
        x = pairs(rng.standard_normal((kept, lanes)) + 1j * rng.standard_normal((kept, lanes)))
        x = x.astype(dtype)
        got = blocks.call("fft_transform", dtype, (COMPLEX + HALF, size), [x], (size, 2, lanes))
        close(complexes(got), dft(size)[:, :kept] @ complexes(x.astype("d")), dtype, size)

    def test_complex_back(self, blocks, dtype, size, kept, rng):
        lanes = blocks.lanes(dtype)
        x = pairs(rng.standard_normal((size, lanes)) + 1j * rng.standard_normal((size, lanes)))
        x = x.astype(dtype)
        shape = (size, 2, lanes)
        got = blocks.call("fft_transform", dtype, (INVERSE_COMPLEX + HALF, size), [x], shape)
        want = dft(size).conj()[:kept] @ complexes(x.astype("d"))
        close(complexes(got[:kept]), want, dtype, size)
        assert np.isnan(got[kept:]).all()

    def test_real(self, blocks, dtype, size, kept, rng):
        x = rng.standard_normal((kept, blocks.lanes(dtype))).astype(dtype)
        shape = (size // 2 + 1, 2, x.shape[1])
        got = blocks.call("fft_transform", dtype, (REAL + HALF, size), [x], shape)
        close(complexes(got), dft(size)[: size // 2 + 1, :kept] @ x.astype("d"), dtype, size)

    def test_inverse_real(self, blocks, dtype, size, kept, rng):
        x = rng.standard_normal((size, blocks.lanes(dtype)))
        half = pairs(dft(size)[: size // 2 + 1] @ x)
        got = blocks.call("fft_transform", dtype, (INVERSE_REAL + HALF, size), [half], x.shape)
        close(got[:kept], size * x[:kept], dtype, size)
        assert np.isnan(got[kept:]).all()


def test_some_sizes_have_codelets_of_half_the_numbers(blocks):
    for dtype in DTYPES:
        kept = {size: blocks.library.fft_kept(dtype == "float64", size) for size in (16, 32)}
        assert kept == {16: 8, 32: 16}


TILES = [(8, 8), (8, 12), (16, 8), (12, 24), (32, 16), (1, 16), (48, 1), (1, 1), (96, 8), (8, 128)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile[0]}x{tile[1]}")
class TestTiles:
    def test_spectrum_is_the_matrix_on_both_sides(self, blocks, dtype, tile, rng):
        rows, columns = tile
        x = rng.standard_normal((rows, columns, blocks.lanes(dtype))).astype(dtype)
        order = blocks.frequencies(rows, columns)
        got = blocks.call("fft_spectrum", dtype, tile, [x], (len(order), 2, x.shape[2]))
        full = np.einsum("ai,ijl,bj->abl", dft(rows), x.astype("d"), dft(columns))
        want = np.stack([full[place] for place in order])
        close(complexes(got), want, dtype, rows * columns)

    def test_inverse_undoes_it_but_for_the_area(self, blocks, dtype, tile, rng):
        rows, columns = tile
        x = rng.standard_normal((rows, columns, blocks.lanes(dtype))).astype(dtype)
        shape = (len(blocks.frequencies(rows, columns)), 2, x.shape[2])
        spectrum = blocks.call("fft_spectrum", dtype, tile, [x], shape)
        got = blocks.call("fft_inverse", dtype, tile, [spectrum], x.shape)
        close(got, rows * columns * x.astype("d"), dtype, (rows * columns) ** 2)

    def test_product_of_spectra_is_the_circular_convolution(self, blocks, dtype, tile, rng):
        rows, columns = tile
        x, g = rng.standard_normal((2, rows, columns, blocks.lanes(dtype))).astype(dtype)
        shape = (len(blocks.frequencies(rows, columns)), 2, x.shape[2])
        spectrum = blocks.call("fft_spectrum", dtype, tile, [g], shape)
        got = blocks.call("fft_filter", dtype, tile, [x, spectrum], x.shape)
        want = circular_2d(x.astype("d"), g.astype("d"))
        close(got / (rows * columns), want, dtype, (rows * columns) ** 2)


def circular_2d(x, g):
    out = np.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out += x[i, j] * np.roll(g, (i, j), axis=(0, 1))
    return out


def circular(f, g):
    return sum(f[i] * np.roll(g, i, axis=0) for i in range(len(f)))


@pytest.mark.parametrize("size", (8, 12, 24, 96))
@pytest.mark.parametrize("dtype", DTYPES)
class TestConvolutionTheorem:
    def transform(self, blocks, dtype, values):
        x = pairs(values + 0j)
        got = blocks.call("fft_transform", dtype, (COMPLEX, len(values)), [x], x.shape)
        return complexes(got)

    def numbers(self, blocks, dtype, size, rng):
        f, g = rng.standard_normal((2, size, blocks.lanes(dtype))).astype(dtype).astype("d")
        return f, g, self.transform(blocks, dtype, f), self.transform(blocks, dtype, g)

    def test_convolution_becomes_a_product(self, blocks, dtype, size, rng):
        f, g, f_hat, g_hat = self.numbers(blocks, dtype, size, rng)
        close(self.transform(blocks, dtype, circular(f, g)), f_hat * g_hat, dtype, size)

    def test_product_becomes_a_convolution_over_n(self, blocks, dtype, size, rng):
        f, g, f_hat, g_hat = self.numbers(blocks, dtype, size, rng)
        close(self.transform(blocks, dtype, f * g), circular(f_hat, g_hat) / size, dtype, size)

    def test_autocorrelation_becomes_the_squared_modulus(self, blocks, dtype, size, rng):
        f, _, f_hat, _ = self.numbers(blocks, dtype, size, rng)
        lags = np.stack([(f * np.roll(f, -lag, axis=0)).sum(axis=0) for lag in range(size)])
        close(self.transform(blocks, dtype, lags), np.abs(f_hat) ** 2, dtype, size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_swaps_rows_and_lanes(blocks, dtype):
    lanes = blocks.lanes(dtype)
    square = np.arange(lanes * lanes, dtype=dtype).reshape(lanes, lanes)
    got = blocks.call("fft_transpose", dtype, (), [square], square.shape)
    np.testing.assert_array_equal(got, square.T)


def test_flags_name_every_instruction_set_of_this_machine():
    assert set(_convkit.built_isas()) <= set(FLAGS), platform.machine()
