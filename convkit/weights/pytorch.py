"""What `torch.save` writes, read without PyTorch.

The zip archive of PyTorch 1.6 and later, the stream of pickles before it, and the tar archive of
PyTorch 0.1. All three hold one pickle of containers with tensors, and the bytes of the storages
that the tensors are views of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.weights import Weights
from convkit.weights.archive import Archive
from convkit.weights.bounds import DTYPES, Budget, Reader, cut_array, shown, sizes
from convkit.weights.numpy_pickle import NumpyArray
from convkit.weights.rebuild import NAMES, STORAGES, Storage, Tensor
from convkit.weights.tar import read_tar_members
from convkit.weights.unpickle import Name, Unpickler

ZIP_MAGIC = b"PK\x03\x04"
STREAM_MAGIC = 0x1950A86A20F9469CFC6C
STREAM_VERSION = 1001
#: Where a checkpoint keeps the weights, in order of preference.
WEIGHT_KEYS = ("state_dict", "model_state_dict", "model")
MOST_DEPTH = 16
MOST_ENTRIES = 250_000
MOST_NAME = 1000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds: the value of its pickle, and the bytes of each storage by key."""

    value: object
    data: dict[str, memoryview]
    big_endian: bool = False


def read_pytorch(contents: bytes, max_bytes: int | None = None) -> Weights:
    """The tensors of a .pth, .pt or .th file by name."""
    budget = Budget(len(contents), max_bytes)
    if contents[:4] == ZIP_MAGIC:
        checkpoint = _read_zip(contents, budget)
    elif contents[257:262] == b"ustar":
        checkpoint = _read_tar(contents)
    else:
        checkpoint = _read_stream(contents)
    return {
        name: _array(name, tensor, checkpoint, budget)
        for name, tensor in _named_tensors(checkpoint.value).items()
    }


def _array(
    name: str, tensor: Tensor | NumpyArray, checkpoint: Checkpoint, budget: Budget
) -> np.ndarray[Any, Any]:
    """The tensor's elements, cut out of its storage."""
    what = f"tensor {shown(name)}"
    if isinstance(tensor, NumpyArray):
        return tensor.array(what, budget)
    storage = tensor.storage
    if storage.key not in checkpoint.data:
        raise ValueError(f"{what} lies in storage {shown(storage.key)}, which the file lacks")
    size = itemsize(storage.dtype)
    data = checkpoint.data[storage.key][
        storage.begin * size : (storage.begin + storage.count) * size
    ]
    return cut_array(
        what, data, tensor.dtype, tensor.shape, budget,
        offset=tensor.offset, strides=tensor.strides, big_endian=checkpoint.big_endian,
    )  # fmt: skip


def itemsize(dtype: str) -> int:
    """Bytes of an element as it is stored."""
    return int(DTYPES[dtype][1:])


# The three formats


class _Storages:
    """The storages that a pickle refers to, their sizes kept until the bytes come."""

    __slots__ = ("by_key",)

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def __call__(self, identity: tuple[object, ...]) -> Storage:
        if len(identity) not in (5, 6) or identity[0] != "storage":
            raise ValueError(f"reference to {shown(identity[0] if identity else '')}: no storage")
        kind, key, _device, count = identity[1:5]
        view = identity[5] if len(identity) == 6 else None
        if not isinstance(kind, Name) or kind.text not in STORAGES:
            raise ValueError(
                f"a storage of type {kind.text if isinstance(kind, Name) else shown(kind)}"
            )
        if type(key) is not str:
            raise ValueError(f"a storage's key must be a string, got {shown(key)}")
        (count,) = sizes("the size of a storage", (count,))
        whole = self.by_key.setdefault(key, Storage(key, STORAGES[kind.text], count))
        if (whole.dtype, whole.count) != (STORAGES[kind.text], count):
            raise ValueError(f"storage {shown(key)} is referred to with two types or sizes")
        if view is None:
            return whole
        if type(view) is not tuple or len(view) != 3:
            raise ValueError(f"a view of a storage must have three parts, got {shown(view)}")
        return whole.part(*sizes("a view of a storage", view[1:]))


def _read_zip(contents: bytes, budget: Budget) -> Checkpoint:
    """NAME/data.pkl, NAME/data/KEY for each storage, NAME/byteorder."""
    archive = Archive(contents, budget)
    pickles = [name for name in archive.members if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise ValueError(f"a PyTorch archive has one data.pkl, this one has {len(pickles)}")
    root = pickles[0][: -len("data.pkl")]
    storages = _Storages()
    value = Unpickler(Reader(archive.read(pickles[0]), "data.pkl: "), NAMES, storages).load()
    data = {}
    for key, storage in storages.by_key.items():
        data[key] = archive.read(f"{root}data/{key}")
        if len(data[key]) != storage.count * itemsize(storage.dtype):
            raise ValueError(
                f"storage {shown(key)} has {len(data[key])} bytes, but the pickle says "
                f"{storage.count} of {storage.dtype}"
            )
    order = (
        bytes(archive.read(f"{root}byteorder")) if f"{root}byteorder" in archive.members else b""
    )
    if order not in (b"", b"little", b"big"):
        raise ValueError(f"byteorder is {shown(order.decode('latin-1'))}: expected little or big")
    return Checkpoint(value, data, order == b"big")


def _read_stream(contents: bytes) -> Checkpoint:
    """Pickles of magic, version, system, value, keys; then of each storage count and elements."""
    reader = Reader(memoryview(contents))
    if contents[:1] != b"\x80":
        raise ValueError("byte 0: no file of torch.save (neither zip, tar nor pickle begins here)")
    magic, version = Unpickler(reader, {}).load(), Unpickler(reader, {}).load()
    if (magic, version) != (STREAM_MAGIC, STREAM_VERSION):
        raise reader.fail(f"no file of torch.save: it begins with {shown(magic)}, {shown(version)}")
    Unpickler(reader, {}).load()
    storages = _Storages()
    value = Unpickler(reader, NAMES, storages).load()
    keys = Unpickler(reader, {}).load()
    if not isinstance(keys, list):
        raise reader.fail(f"the keys of the storages must be a list, got {shown(keys)}")
    data = {}
    for key in keys:
        storage = storages.by_key.get(key) if type(key) is str else None
        if storage is None:
            raise reader.fail(f"storage {shown(key)} is listed, but no tensor refers to it")
        data[storage.key] = _stored(reader, storage)
    return Checkpoint(value, data)


def _stored(reader: Reader, storage: Storage) -> memoryview:
    """The bytes of a storage that stands here behind its count, which must be the one expected."""
    what = f"storage {shown(storage.key)}"
    (count,) = reader.numbers("<q", f"the size of {what}")
    if count != storage.count:
        raise reader.fail(f"{what} has {count} elements, but the pickle says {storage.count}")
    return reader.take(count * itemsize(storage.dtype), what)


def _read_tar(contents: bytes) -> Checkpoint:
    """Members `storages`, `tensors`, `pickle`: the elements, views of them, the containers."""
    members = read_tar_members(contents, ("storages", "tensors", "pickle"))
    reader = Reader(members["storages"], "storages: ")
    objects: dict[int, Storage | Tensor] = {}
    data = {}
    for _ in range(_count(reader)):
        key, _device, kind = _parts(reader, 3)
        if not isinstance(kind, Name) or kind.text not in STORAGES or type(key) is not int:
            raise reader.fail(f"storage {shown(key)} of type {shown(kind)}")
        begin = reader.position
        (count,) = sizes("the size of a storage", reader.numbers("<q", "the size of a storage"))
        reader.position = begin
        storage = Storage(shown(key), STORAGES[kind.text], count)
        data[storage.key] = _stored(reader, storage)
        objects[key] = storage
    views = Unpickler(reader, NAMES).load()
    for view in views if isinstance(views, list) else []:
        target, root = view[:2] if isinstance(view, tuple) and len(view) == 4 else (None, None)
        whole = objects.get(root) if type(root) is int else None
        if type(target) is not int or not isinstance(whole, Storage):
            raise reader.fail(f"a view of storage {shown(root)}, which is none")
        objects[target] = whole.part(*sizes("a view of a storage", view[2:]))
    reader = Reader(members["tensors"], "tensors: ")
    for _ in range(_count(reader)):
        key, storage_key, _kind = _parts(reader, 3)
        base = objects.get(storage_key) if type(storage_key) is int else None
        if not isinstance(base, Storage) or type(key) is not int:
            raise reader.fail(
                f"tensor {shown(key)} lies in {shown(storage_key)}, which is no storage"
            )
        dimensions, _ = reader.numbers("<iI", "the number of dimensions")
        layout = f"<{len(sizes('shape', (0,) * min(max(dimensions, 0), 99)))}q"
        shape = sizes("shape", reader.numbers(layout, "shape"))
        strides = sizes("strides", reader.numbers(layout, "strides"))
        (offset,) = sizes("offset", reader.numbers("<q", "offset"))
        objects[key] = Tensor(base, offset, shape, strides, base.dtype)

    def referred(identity: tuple[object, ...]) -> object:
        key = identity[0] if len(identity) == 1 else None
        if type(key) is str and key.isdecimal() and len(key) < 20:
            key = int(key)
        if type(key) is not int or key not in objects:
            raise ValueError(f"reference to {shown(key)}, which is no tensor of the file")
        return objects[key]

    return Checkpoint(
        Unpickler(Reader(members["pickle"], "pickle: "), NAMES, referred).load(), data
    )


def _count(reader: Reader) -> int:
    """A pickled number of items."""
    count = Unpickler(reader, {}).load()
    if type(count) is not int or not 0 <= count <= len(reader.data):
        raise reader.fail(f"a number of items is {shown(count)}")
    return count


def _parts(reader: Reader, count: int) -> tuple[object, ...]:
    """A pickled tuple of this many values."""
    value = Unpickler(reader, NAMES).load()
    if not isinstance(value, tuple) or len(value) != count:
        raise reader.fail(f"expected a tuple of {count} values, got {shown(value)}")
    return value


# From containers to names


def _named_tensors(value: object) -> dict[str, Tensor | NumpyArray]:
    """The tensors under the weights' key, by their dotted names. Other values are left out."""
    for _ in range(MOST_DEPTH):
        key = next((k for k in WEIGHT_KEYS if isinstance(value, dict) and k in value), None)
        inner = value[key] if isinstance(value, dict) and key is not None else None
        if not isinstance(inner, dict):
            break
        value = inner
    if not isinstance(value, dict):
        raise ValueError(f"the file holds {shown(value)}: expected a dictionary of named tensors")
    named: dict[str, Tensor | NumpyArray] = {}
    waiting: list[tuple[str, object, int]] = [("", value, 0)]
    for _ in range(MOST_ENTRIES):
        if not waiting:
            break
        name, entry, depth = waiting.pop()
        if len(name) > MOST_NAME or depth > MOST_DEPTH:
            raise ValueError(
                f"the containers of the file are nested more than {MOST_DEPTH} deep, or a name is "
                f"longer than {MOST_NAME} characters: {shown(name)}"
            )
        if isinstance(entry, (Tensor, NumpyArray)):
            if name in named:
                raise ValueError(f"two tensors have the name {shown(name)}")
            named[name] = entry
        elif isinstance(entry, (dict, list, tuple)):
            if len(entry) + len(waiting) > MOST_ENTRIES:
                break
            items = list(entry.items()) if isinstance(entry, dict) else list(enumerate(entry))
            dot = f"{name}." if name else ""
            for key, inner in reversed(items):
                if isinstance(inner, (Tensor, NumpyArray, dict, list, tuple)):
                    waiting.append((f"{dot}{_plain(key)}", inner, depth + 1))
    if waiting:
        raise ValueError(f"the containers of the file have more than {MOST_ENTRIES} entries")
    if not named:
        raise ValueError("the file holds no tensor")
    return named


def _plain(key: object) -> str:
    """A dictionary's key as a part of a name."""
    if type(key) is str:
        return key if len(key) <= MOST_NAME else key[: MOST_NAME + 1]
    return shown(key)
