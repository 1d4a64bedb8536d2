"""The file itself: bytes -> ModelProto, TensorProto -> array.

A file is data: no code of it runs, and it takes no more memory than its size justifies.
"""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from convkit.weights.bounds import MOST_BYTES, MOST_DIMENSIONS, shown

Array = np.ndarray[Any, Any]
#: protobuf reads no more.
MOST_FILE = 1 << 31
#: TensorProto's numbers of dtypes -> NumPy's names, and the field that holds those not raw.
DTYPES: dict[int, tuple[str, str]] = {
    1: ("float32", "float_data"),
    2: ("uint8", "int32_data"),
    3: ("int8", "int32_data"),
    4: ("uint16", "int32_data"),
    5: ("int16", "int32_data"),
    6: ("int32", "int32_data"),
    7: ("int64", "int64_data"),
    9: ("bool", "int32_data"),
    11: ("float64", "double_data"),
    12: ("uint32", "uint64_data"),
    13: ("uint64", "uint64_data"),
}
#: Names of the others, for messages.
OTHERS = {
    8: "string", 10: "float16", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz",
    21: "uint4", 22: "int4", 23: "float4e2m1",
}  # fmt: skip
EXTERNAL = 1


def onnx_package() -> Any:
    """The `onnx` package, which reads the file's outer form."""
    try:
        import onnx
    except ImportError:
        raise ValueError(
            "reading .onnx files needs the onnx package: pip install 'convkit[onnx]'"
        ) from None
    return onnx


def read_model(path: Path) -> Any:
    """The ModelProto of a file."""
    onnx = onnx_package()
    if not path.is_file():
        path.stat()  # absent: the system's own OSError, which names the file
        raise OSError(f"{path} is no regular file")
    size = path.stat().st_size
    if size >= MOST_FILE:
        raise ValueError(f"{size} bytes are more than the {MOST_FILE} that an ONNX file may have")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except MemoryError:
        raise ValueError(f"its {size} bytes do not fit into memory") from None
    except Exception as error:  # noqa: BLE001  protobuf's own kinds differ between versions
        raise ValueError(f"it is no ONNX file, or a broken one: {shown(str(error))}") from None
    if not model.HasField("graph"):
        raise ValueError("it holds no graph: it is no ONNX file, or a broken one")
    return model


def text(value: Any, what: str) -> str:
    """A name out of the file; protobuf gives bytes where it is no UTF-8."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{what} {value[:40]!r} is not UTF-8") from None
    return str(value)


def dtype_of(number: int, what: str) -> str:
    """NumPy's name of a TensorProto's dtype."""
    if number not in DTYPES:
        name = OTHERS.get(number, f"of kind {number}")
        raise ValueError(
            f"{what} is {name}: expected one of {', '.join(d for d, _ in DTYPES.values())}"
        )
    return DTYPES[number][0]


class Tensors:
    """Reads the tensors of one file, and of the files of data beside it."""

    def __init__(self, path: Path) -> None:
        self._folder = Path(os.path.realpath(path)).parent
        self._sizes: dict[str, int] = {}
        self._read = 0

    def array(self, tensor: Any, what: str) -> Array:
        """The array of a TensorProto, read-only."""
        dtype = dtype_of(tensor.data_type, what)
        shape = tuple(tensor.dims)
        if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0:
            raise ValueError(f"{what} has shape {shown(str(shape))}: expected sizes from 0")
        code = np.dtype(dtype)
        count = math.prod(shape)
        if math.prod(max(size, 1) for size in shape) * code.itemsize > MOST_BYTES:
            raise ValueError(f"{what} has shape {shown(str(shape))}: more than memory can hold")
        if tensor.HasField("segment"):
            raise ValueError(f"{what} is a segment of a tensor: expected a whole one")
        if tensor.data_location == EXTERNAL:
            raw: Any = self._external(tensor, count * code.itemsize, what)
        elif tensor.HasField("raw_data"):
            raw = tensor.raw_data
        else:
            return self._listed(tensor, dtype, shape, what)
        if len(raw) != count * code.itemsize:
            raise ValueError(
                f"{what} of shape {shape} and dtype {dtype} needs {count * code.itemsize} bytes, "
                f"but {len(raw)} are there"
            )
        if dtype == "bool":
            return _frozen(np.frombuffer(raw, "u1") != 0, shape)
        flat = np.frombuffer(raw, code.newbyteorder("<"))
        # A view has the dtype that all others have; big-endian machines need a copy.
        return _frozen(flat.view(code) if flat.dtype.isnative else flat.astype(code), shape)

    def _listed(self, tensor: Any, dtype: str, shape: tuple[int, ...], what: str) -> Array:
        """A tensor that stands in the file as a list of numbers."""
        numbers = getattr(tensor, DTYPES[tensor.data_type][1])
        if len(numbers) != math.prod(shape):
            raise ValueError(
                f"{what} of shape {shape} needs {math.prod(shape)} numbers, but {len(numbers)} "
                f"are there"
            )
        wide = np.array(numbers, np.float64 if dtype.startswith("float") else None)
        if dtype == "bool":
            return _frozen(wide != 0, shape)
        if not dtype.startswith("float") and wide.size:
            limits = np.iinfo(dtype)
            if int(wide.min()) < limits.min or int(wide.max()) > limits.max:
                raise ValueError(f"{what} is {dtype} but holds {wide.min()} to {wide.max()}")
        with np.errstate(over="ignore"):
            return _frozen(wide.astype(dtype), shape)

    def _external(self, tensor: Any, needed: int, what: str) -> bytes:
        """Bytes of a file beside the model: never one outside the model's folder."""
        entries = {
            text(entry.key, f"{what}: key"): text(entry.value, f"{what}: value")
            for entry in tensor.external_data
        }
        location = entries.get("location", "")
        offset, length = (_digits(entries, key, what) for key in ("offset", "length"))
        if length is not None and length != needed:
            raise ValueError(f"{what} needs {needed} bytes, but says that {length} are stored")
        file = self._inside(location, what)
        begin = offset or 0
        if begin + needed > self._sizes[location]:
            raise ValueError(
                f"{what} needs bytes {begin} to {begin + needed} of {shown(location)}, which has "
                f"{self._sizes[location]}"
            )
        self._read += needed
        if self._read > sum(self._sizes.values()):
            raise ValueError(f"{what}: the tensors stored outside overlap each other")
        try:
            with os.fdopen(os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as data:
                data.seek(begin)
                return data.read(needed)
        except OSError as error:
            raise ValueError(
                f"{what}: {shown(location)} cannot be read: {error.strerror}"
            ) from None

    def _inside(self, location: str, what: str) -> Path:
        """The file of that name, which must lie in the model's folder, by no link."""
        parts = location.replace("\\", "/").split("/")
        outside = os.path.isabs(location) or ".." in parts or ":" in location or "\0" in location
        file = self._folder / location
        if not location or outside:
            raise ValueError(
                f"{what} is stored in {shown(location)}: expected a file beside the model"
            )
        step = self._folder
        for part in parts:
            step = step / part
            if step.is_symlink():
                raise ValueError(f"{what} is stored in {shown(location)}, which is a link: refused")
        try:
            status = file.stat()
        except OSError as error:
            raise ValueError(f"{what} is stored in {shown(location)}: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{what} is stored in {shown(location)}, which is no regular file")
        self._sizes[location] = status.st_size
        return file


def _digits(entries: dict[str, str], key: str, what: str) -> int | None:
    value = entries.get(key)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 16):
        raise ValueError(f"{what} has {key}={shown(value)}: expected a number of bytes")
    return int(value)


def _frozen(flat: Array, shape: tuple[int, ...]) -> Array:
    array = flat.reshape(shape)
    array.flags.writeable = False
    return array
