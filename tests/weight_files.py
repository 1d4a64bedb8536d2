"""Files as `torch.save` writes them, by hand.

So the format tests run without PyTorch, and hostile files say exactly what they please.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGE_CLASSES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage",
    "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage",
    "int8": "CharStorage", "uint8": "ByteStorage", "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage", "complex128": "ComplexDoubleStorage",
}  # fmt: skip


class Global(NamedTuple):
    """A name that the unpickler is asked for."""

    module: str
    name: str


class Call(NamedTuple):
    """A call of it, pickled as REDUCE."""

    function: Global
    arguments: tuple[Any, ...]


class Reference(NamedTuple):
    """A persistent id: data that stands outside the pickle."""

    identity: Any


class Raw(NamedTuple):
    """Opcodes as they are."""

    code: bytes


def pickled(value: Any) -> bytes:
    """A pickle of protocol 2."""
    return b"\x80\x02" + opcodes(value) + b"."


def opcodes(value: Any) -> bytes:
    """The instructions that put a value on the stack."""
    if isinstance(value, Raw):
        return value.code
    if isinstance(value, Global):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Call):
        return opcodes(value.function) + opcodes(tuple(value.arguments)) + b"R"
    if isinstance(value, Reference):
        return opcodes(value.identity) + b"Q"
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if isinstance(value, tuple):
        return b"(" + b"".join(map(opcodes, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(opcodes, value)) + b"e"
    if isinstance(value, dict):
        items = (opcodes(k) + opcodes(v) for k, v in value.items())
        return b"}(" + b"".join(items) + b"u"
    raise TypeError(f"{value!r}: no opcodes written here")


def storage(key: str, kind: str, count: int, device: str = "cpu", view: Any = ...) -> Reference:
    """A reference to a storage; in streams it has a sixth part, the view."""
    identity = ("storage", Global("torch", kind), key, device, count)
    return Reference(identity if view is ... else (*identity, view))


def tensor(data: Reference, shape: Iterable[int], strides: Iterable[int], offset: int = 0) -> Call:
    """`_rebuild_tensor_v2` of a storage."""
    hooks = Call(Global("collections", "OrderedDict"), ())
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, (data, offset, tuple(shape), tuple(strides), False, hooks))


def whole(key: str, array: np.ndarray, *, stream: bool = False, device: str = "cpu") -> Call:
    """A contiguous tensor that is all of its storage."""
    kind = STORAGE_CLASSES[array.dtype.name]
    strides = [step // array.itemsize for step in np.ascontiguousarray(array).strides]
    reference = storage(key, kind, array.size, device, None if stream else ...)
    return tensor(reference, array.shape, strides)


def write_zip(
    path: Path, value: Any, storages: Mapping[str, bytes], *, order: bytes | None = b"little",
    root: str = "archive",
) -> Path:  # fmt: skip
    """The archive of PyTorch 1.6 and later."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", pickled(value))
        for key, data in storages.items():
            archive.writestr(f"{root}/data/{key}", data)
        archive.writestr(f"{root}/version", b"3\n")
        if order is not None:
            archive.writestr(f"{root}/byteorder", order)
    return path


def write_stream(path: Path, value: Any, storages: Mapping[str, tuple[int, bytes]]) -> Path:
    """The pickles and storages of PyTorch 0.1.10 to 1.5; of a storage the count and the bytes."""
    system = {"protocol_version": 1001, "little_endian": True}
    parts = [pickled(part) for part in (MAGIC, 1001, system, value, list(storages))]
    parts += [struct.pack("<q", count) + data for count, data in storages.values()]
    path.write_bytes(b"".join(parts))
    return path


def write_tar(path: Path, arrays: Mapping[str, np.ndarray], *, views: bool = False) -> Path:
    """The archive of PyTorch 0.1.9 and before; with `views`, tensors lie in views of storages."""
    storages, tensors, names = pickled(len(arrays)), pickled(len(arrays)), {}
    listed = []
    for index, (name, array) in enumerate(arrays.items()):
        kind = Global("torch", STORAGE_CLASSES[array.dtype.name])
        storages += pickled((100 + index, "cpu", kind)) + struct.pack("<q", array.size)
        storages += array.tobytes()
        listed.append((300 + index, 100 + index, 0, array.size))
        tensors += pickled(
            (200 + index, (300 if views else 100) + index, Global("torch", "FloatTensor"))
        )
        steps = [step // array.itemsize for step in array.strides]
        layout = f"<iI{2 * array.ndim}qq"
        tensors += struct.pack(layout, array.ndim, 0, *array.shape, *steps, 0)
        names[name] = Reference(str(200 + index))
    storages += pickled(listed if views else [])
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for member, data in (
            ("sys_info", pickled({})), ("pickle", pickled(names)),
            ("tensors", tensors), ("storages", storages),
        ):  # fmt: skip
            header = tarfile.TarInfo(member)
            header.size, header.mtime = len(data), 1.5  # type: ignore[assignment]
            archive.addfile(header, io.BytesIO(data))
    return path


# Files of Keras

Layers = Mapping[str, Mapping[str, np.ndarray]]


def write_keras2(path: Path, layers: Layers, config: Any = None, *, suffix: str = ":0") -> Path:
    """A .h5 file of a model, as Keras 1 and 2 write it."""
    import h5py

    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
        group = file.create_group("model_weights")
        file.create_group("optimizer_weights").create_dataset("iterations:0", data=3)
        _keras2_layers(group, layers, suffix)
    return path


def write_keras2_weights(path: Path, layers: Layers, config: Any = None) -> Path:
    """A .h5 file of weights only."""
    import h5py

    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        _keras2_layers(file, layers, "")
    return path


def _keras2_layers(group: Any, layers: Layers, suffix: str) -> None:
    group.attrs["backend"] = b"tensorflow"
    group.attrs["layer_names"] = np.array(["in", *layers], "S")
    group.create_group("in").attrs["weight_names"] = np.zeros(0)
    for layer, weights in layers.items():
        inside = group.create_group(layer)
        inside.attrs["weight_names"] = np.array([f"{layer}/{n}{suffix}" for n in weights], "S")
        for name, array in weights.items():
            inside.create_dataset(f"{layer}/{name}{suffix}", data=array)


def write_keras3(path: Path, layers: Layers, config: Any, *, names: bool = True) -> Path:
    """A .keras file: model.weights.h5 in an archive, its groups numbered by class."""
    path = path.with_suffix(".keras")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.8.0"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", keras3_weights(layers, config, names=names))
    return path


def write_keras3_unnamed(path: Path, layers: Layers, config: Any) -> Path:
    """The same by the first versions, which leave the layers' names to the config."""
    return write_keras3(path, layers, config, names=False)


KERAS_GROUPS = {
    "Conv2D": "conv2d", "Dense": "dense", "BatchNormalization": "batch_normalization",
    "DepthwiseConv2D": "depthwise_conv2d", "SeparableConv2D": "separable_conv2d",
}  # fmt: skip


def keras3_weights(layers: Layers, config: Any, *, names: bool = True) -> bytes:
    """The bytes of model.weights.h5."""
    import h5py

    memory = io.BytesIO()
    counts: dict[str, int] = {}
    with h5py.File(memory, "w") as file:
        for layer in config["config"]["layers"]:
            name, group = layer["config"]["name"], KERAS_GROUPS.get(layer["class_name"])
            if group is None:
                continue
            counts[group] = counts.get(group, -1) + 1
            number = f"_{counts[group]}" if counts[group] else ""
            inside = file.create_group(f"layers/{group}{number}/vars")
            if names:
                inside.attrs["name"] = name
            for index, array in enumerate(layers[name].values()):
                inside.create_dataset(str(index), data=array)
        file.create_group("optimizer/vars").create_dataset("0", data=3)
    return memory.getvalue()
