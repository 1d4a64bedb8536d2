"""NumPy's .npz: a zip archive of .npy files. Headers are read by pattern, never evaluated."""

from __future__ import annotations

import re

from convkit.weights import Weights
from convkit.weights.archive import Archive
from convkit.weights.bounds import CODES, Budget, Reader, cut_array, shown, sizes

MAGIC = b"\x93NUMPY"
MOST_HEADER = 10_000
MOST_DIGITS = 18
HEADER = re.compile(
    r"\{(?=.*'descr': *'(?P<order>[<>|=])(?P<code>[a-zA-Z]\d+)')"
    r"(?=.*'fortran_order': *(?P<fortran>True|False))"
    r"(?=.*'shape': *\((?P<shape>[\d, ]*)\))[^{}]*\}[ \n]*"
)


def read_npz(contents: bytes, max_bytes: int | None = None) -> Weights:
    """The arrays of an .npz file."""
    budget = Budget(len(contents), max_bytes)
    archive = Archive(contents, budget)
    weights: Weights = {}
    for member in archive.members:
        if not member.endswith(".npy"):
            raise ValueError(f"member {shown(member)} is no .npy file")
        reader = Reader(archive.read(member), f"{shown(member)}: ")
        order, dtype, fortran, shape = _header(reader)
        data = reader.data[reader.position :]
        stored = shape[::-1] if fortran else shape
        array = cut_array(
            f"array {shown(member)}", data, dtype, stored, budget, big_endian=order == ">"
        )
        if array.nbytes != len(data):
            raise ValueError(
                f"{shown(member)}: {len(data)} bytes of data, but shape {shape} of {dtype} "
                f"takes {array.nbytes}"
            )
        weights[member[:-4]] = array.T.copy(order="C") if fortran else array
    if not weights:
        raise ValueError("the archive holds no array")
    return weights


def _header(reader: Reader) -> tuple[str, str, bool, tuple[int, ...]]:
    """(byte order, dtype, Fortran order, shape) of an .npy file; leaves the reader at its data."""
    if reader.take(6, "magic") != MAGIC:
        raise reader.fail("no .npy file")
    major, _ = reader.numbers("<BB", "version")
    if major not in (1, 2, 3):
        raise reader.fail(f".npy version {major}: expected 1, 2 or 3")
    (length,) = reader.numbers("<H" if major == 1 else "<I", "length of the header")
    if length > MOST_HEADER:
        raise reader.fail(f"a header of {length} bytes: at most {MOST_HEADER} are read")
    text = str(reader.take(length, "header"), "latin-1")
    match = HEADER.fullmatch(text)
    if match is None or match["code"] not in CODES:
        raise reader.fail(
            f"header {shown(text.strip())} is not that of an array of numbers with one of the "
            f"dtypes {', '.join(CODES.values())}"
        )
    digits = [size for size in match["shape"].replace(" ", "").split(",") if size]
    if max(map(len, digits), default=0) > MOST_DIGITS:
        raise reader.fail(f"shape ({shown(match['shape'])}) is more than memory can hold")
    return (
        match["order"],
        CODES[match["code"]],
        match["fortran"] == "True",
        sizes(f"{reader.place}shape", [int(size) for size in digits]),
    )
