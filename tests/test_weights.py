"""Weight files: every format, dtype and layout that is read, and what a caller gets wrong.

Broken and hostile files are in test_hostile_weights.py.
"""

from __future__ import annotations

import json
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import weight_files as files
from weight_files import Call, Global, Raw, Reference

from convkit import load_weights

A = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7


def check(weights: dict, expected: dict) -> None:
    """The same names, and arrays that are equal to the bit, native, contiguous and writable."""
    assert list(weights) == list(expected)
    for name, array in expected.items():
        got = weights[name]
        assert got.dtype == array.dtype and got.shape == array.shape, name
        assert got.flags.c_contiguous and got.flags.writeable and got.dtype.isnative, name
        np.testing.assert_array_equal(got, array, err_msg=name)


def one_tensor(path: Path, form: str, array: np.ndarray, device: str = "cpu") -> Path:
    """A file of one tensor, "w", in one of the three PyTorch formats."""
    if form == "zip":
        value = {"w": files.whole("0", array, device=device)}
        return files.write_zip(path, value, {"0": array.tobytes()})
    if form == "stream":
        value = {"w": files.whole("0", array, stream=True, device=device)}
        return files.write_stream(path, value, {"0": (array.size, array.tobytes())})
    return files.write_tar(path, {"w": array})


@pytest.mark.parametrize("dtype", files.STORAGE_CLASSES)
@pytest.mark.parametrize("form", ["zip", "stream", "tar"])
def test_pytorch_dtypes(tmp_path, form, dtype):
    array = (np.arange(12).reshape(3, 4) % 5).astype(dtype)
    check(load_weights(one_tensor(tmp_path / "net.pth", form, array)), {"w": array})


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".PTH"])
@pytest.mark.parametrize("form", ["zip", "stream"])
def test_format_is_told_by_the_bytes(tmp_path, form, suffix):
    check(load_weights(one_tensor(tmp_path / f"net{suffix}", form, A)), {"w": A})


@pytest.mark.parametrize("device", ["cuda:0", "mps", "xpu:1", "meta?"])
@pytest.mark.parametrize("form", ["zip", "stream"])
def test_saved_from_any_device(tmp_path, form, device):
    check(load_weights(one_tensor(tmp_path / "net.pth", form, A, device)), {"w": A})


def test_cuda_storage_class(tmp_path):
    identity = ("storage", Global("torch.cuda", "FloatStorage"), "0", "cuda:0", 24)
    value = {"w": files.tensor(Reference(identity), (24,), (1,))}
    path = files.write_zip(tmp_path / "net.pth", value, {"0": A.tobytes()})
    check(load_weights(path), {"w": A.reshape(-1)})


LAYOUTS = {
    "transposed": ((4, 3, 2), (1, 4, 12), 0, A.T),
    "cropped": ((2, 1, 2), (12, 4, 2), 5, A[:, 1:2, 1::2]),
    "expanded": ((5, 3), (0, 1), 2, np.broadcast_to(A.reshape(-1)[2:5], (5, 3))),
    "scalar": ((), (), 23, A.reshape(-1)[23].reshape(())),
    "empty": ((0, 3), (3, 1), 0, np.zeros((0, 3), np.float32)),
    "stride of a size 1": ((1, 2), (1 << 40, 1), 22, A.reshape(-1)[None, 22:]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", ["zip", "stream"])
def test_pytorch_layouts(tmp_path, form, layout):
    shape, strides, offset, expected = LAYOUTS[layout]
    view = None if form == "stream" else ...
    value = {
        "w": files.tensor(files.storage("7", "FloatStorage", 24, view=view), shape, strides, offset)
    }
    if form == "zip":
        path = files.write_zip(tmp_path / "net.pth", value, {"7": A.tobytes()})
    else:
        path = files.write_stream(tmp_path / "net.pth", value, {"7": (24, A.tobytes())})
    check(load_weights(path), {"w": expected})


@pytest.mark.parametrize("form", ["zip", "stream", "safetensors"])
def test_bfloat16_becomes_float32(tmp_path, form):
    expected = np.array([[1.0, -2.5], [np.inf, 2.0**-130]], np.float32)
    bits = (expected.view(np.uint32) >> 16).astype("<u2").tobytes()
    if form == "safetensors":
        header = {"w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}
        text = json.dumps(header).encode()
        path = tmp_path / "net.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + bits)
    else:
        view = None if form == "stream" else ...
        reference = files.storage("0", "BFloat16Storage", 4, view=view)
        value = {"w": files.tensor(reference, (2, 2), (2, 1))}
        if form == "zip":
            path = files.write_zip(tmp_path / "net.pth", value, {"0": bits})
        else:
            path = files.write_stream(tmp_path / "net.pth", value, {"0": (4, bits)})
    check(load_weights(path), {"w": expected})


def test_big_endian_archive(tmp_path):
    value = {"w": files.whole("0", A)}
    data = {"0": A.astype(">f4").tobytes()}
    path = files.write_zip(tmp_path / "net.pth", value, data, order=b"big")
    check(load_weights(path), {"w": A})


def test_tensors_share_a_storage(tmp_path):
    reference = files.storage("0", "FloatStorage", 24)
    value = {
        "a": files.tensor(reference, (4,), (1,)),
        "b": files.tensor(reference, (4,), (1,), 2),
    }
    weights = load_weights(files.write_zip(tmp_path / "n.pt", value, {"0": A.tobytes()}))
    check(weights, {"a": A.reshape(-1)[:4], "b": A.reshape(-1)[2:6]})
    weights["a"][:] = 100  # arrays of their own
    np.testing.assert_array_equal(weights["b"], A.reshape(-1)[2:6])


@pytest.mark.parametrize("views", [False, True], ids=["storages", "views"])
def test_tar(tmp_path, views):
    arrays = {"conv.weight": A, "conv.bias": np.array([3.0, 4.0])}
    check(load_weights(files.write_tar(tmp_path / "net.pth", arrays, views=views)), arrays)


def test_view_of_a_storage_in_a_stream(tmp_path):
    value = {
        "w": files.tensor(files.storage("0", "FloatStorage", 24, view=("9", 4, 6)), (6,), (1,))
    }
    path = files.write_stream(tmp_path / "net.pth", value, {"0": (24, A.tobytes())})
    check(load_weights(path), {"w": A.reshape(-1)[4:10]})


T = files.whole("0", A)
UNTYPED = files.storage("0", "UntypedStorage", 96)
REBUILT = {
    "_rebuild_tensor": Call(
        Global("torch._utils", "_rebuild_tensor"), (T.arguments[0], 0, (2, 3, 4), (12, 4, 1))
    ),
    "_rebuild_tensor_v3": Call(
        Global("torch._utils", "_rebuild_tensor_v3"),
        (UNTYPED, 0, (2, 3, 4), (12, 4, 1), False, {}, Global("torch", "float32"), {}),
    ),
    "_rebuild_parameter": Call(Global("torch._utils", "_rebuild_parameter"), (T, True, {})),
    "_rebuild_parameter_with_state": Call(
        Global("torch._utils", "_rebuild_parameter_with_state"), (T, True, {}, {"a": 1})
    ),
    "_rebuild_device_tensor_from_cpu_tensor": Call(
        Global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"),
        (T, Global("torch", "float32"), "xla:0", False),
    ),
    "_rebuild_from_type_v2": Call(
        Global("torch._tensor", "_rebuild_from_type_v2"),
        (T.function, Global("torch.nn.parameter", "Parameter"), T.arguments, {"a": 1}),
    ),
    "torch.Size": Call(
        T.function,
        (T.arguments[0], 0, Call(Global("torch", "Size"), ((2, 3, 4),)), (12, 4, 1), False, {}),
    ),
    "attributes": Raw(files.opcodes(T) + files.opcodes({"note": 1}) + b"b"),
}


@pytest.mark.parametrize("name", REBUILT)
def test_ways_to_rebuild(tmp_path, name):
    path = files.write_zip(tmp_path / "net.pth", {"w": REBUILT[name]}, {"0": A.tobytes()})
    check(load_weights(path), {"w": A})


EVERYTHING_ELSE = {
    "epoch": 90, "best": 91.78, "arch": "resnet20", "none": None, "flag": True, "big": 1 << 70,
    "list": [1, (2.0, "x")],
    3: "integer key",
    "device": Call(Global("torch", "device"), ("cuda", 0)),
    "dtype": Global("torch", "float32"),
    "bytes": Call(Global("_codecs", "encode"), ("ab", "latin1")),
    "set": Call(Global("__builtin__", "set"), ([1, 2],)),
    "counter": Call(Global("collections", "Counter"), ({30: 1},)),
    "numpy": Raw(
        files.opcodes(Global("numpy.core.multiarray", "scalar"))
        + b"(" + files.opcodes(Call(Global("numpy", "dtype"), ("f8", False, True)))
        + files.opcodes((3, "<", None)) + b"b" + b"C\x08" + bytes(8) + b"tR"
    ),
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_arrays_in_a_pickle(tmp_path, protocol):
    """How tensors of TPUs were saved, bare and wrapped."""
    arrays = {
        "w": A + 0.3, "fortran": np.asfortranarray(A), "big": A.astype(">f8"),
        "int": np.arange(300), "bool": np.array([True, False]), "empty": np.zeros((0, 2)),
    }  # fmt: skip
    value = {"state_dict": {**arrays, "accuracy": np.float64(0.9)}}
    code = Raw(pickle.dumps(value, protocol)[2:-1])
    weights = load_weights(files.write_zip(tmp_path / "net.pth", code, {}))
    check(weights, {k: a.astype(a.dtype.newbyteorder("=")) for k, a in arrays.items()})
    rebuild = Global("torch._utils", "_rebuild_device_tensor_from_numpy")
    array = Raw(pickle.dumps(A, protocol)[2:-1])
    wrapped = {"w": Call(rebuild, (array, Global("torch", "float32"), "xla:1", False))}
    check(load_weights(files.write_zip(tmp_path / "net.pth", wrapped, {})), {"w": A})


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_checkpoint(tmp_path, key):
    value = {**EVERYTHING_ELSE, key: {"conv.weight": T}, "optimizer": {"state": {0: {"avg": T}}}}
    check(
        load_weights(files.write_zip(tmp_path / "net.pth", value, {"0": A.tobytes()})),
        {"conv.weight": A},
    )


def test_nested_names_are_joined_and_other_values_left_out(tmp_path):
    value = {"net": {"conv": {"weight": T}, "list": [1, T]}, "bias": T, **EVERYTHING_ELSE}
    path = files.write_zip(tmp_path / "net.pth", value, {"0": A.tobytes()})
    check(load_weights(path), {"net.conv.weight": A, "net.list.1": A, "bias": A})


def test_ordered_dict_with_metadata_and_of_python_2(tmp_path):
    ordered = Global("collections", "OrderedDict")
    new = Raw(
        files.opcodes(Call(ordered, ())) + b"(" + files.opcodes("w") + files.opcodes(T) + b"u"
        + files.opcodes({"_metadata": Call(ordered, ())}) + b"b"
    )  # fmt: skip
    old = Call(ordered, ([[Raw(b"U\x01w"), T]],))
    for value in (new, old):
        path = files.write_zip(tmp_path / "net.pth", value, {"0": A.tobytes()})
        check(load_weights(path), {"w": A})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", ["zip", "stream"])
def test_what_torch_saves(tmp_path, form, protocol):
    torch = pytest.importorskip("torch", reason="needs PyTorch, which wrote these formats")
    base = torch.arange(24.0).reshape(2, 3, 4)
    tagged = base.clone()
    tagged.note = "attribute"
    tensors = {
        "plain": base, "transposed": base.permute(2, 1, 0), "crop": base[:, 1:, ::2],
        "half": base.half(), "bfloat": base.bfloat16(), "double": base.double(),
        "int": torch.arange(5), "bool": base > 3, "expanded": torch.ones(1).expand(3, 2),
        "scalar": torch.tensor(2.5), "parameter": torch.nn.Parameter(base),
        "complex": torch.complex(base, base),
        "tagged": tagged, "channels_last": base[None].to(memory_format=torch.channels_last),
    }  # fmt: skip
    torch.save(
        {"state_dict": tensors, "epoch": 3, "size": base.shape, "device": base.device},
        tmp_path / "net.pth",
        _use_new_zipfile_serialization=form == "zip",
        pickle_protocol=protocol,
    )
    weights = load_weights(tmp_path / "net.pth")
    assert list(weights) == list(tensors)
    for name, expected in tensors.items():
        wide = expected.float() if expected.dtype == torch.bfloat16 else expected
        np.testing.assert_array_equal(weights[name], wide.detach().numpy(), strict=True)


@pytest.mark.parametrize("form", ["zip", "stream", "tar"])
def test_torch_reads_the_files_written_here(tmp_path, form):
    torch = pytest.importorskip("torch", reason="needs PyTorch, the reference for its formats")
    path = one_tensor(tmp_path / "net.pth", form, A)
    got = torch.load(path, weights_only=False)["w"].numpy()
    np.testing.assert_array_equal(got, A)


NPZ = {
    "conv.weight": A, "fortran": np.asfortranarray(A), "big": A.astype(">f8"), "crop": A[:, ::2],
    "bool": np.array([True, False]), "scalar": np.array(3.5, np.float32), "half": A.astype("f2"),
    "empty": np.zeros((0, 3)), "int": np.arange(3), "u1": np.arange(3, dtype=np.uint8),
    "complex": A.astype(np.complex64),
}  # fmt: skip


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_npz(tmp_path, save):
    save(tmp_path / "net.npz", **NPZ)
    native = {name: a.astype(a.dtype.newbyteorder("=")) for name, a in NPZ.items()}
    check(load_weights(tmp_path / "net.npz"), native)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)], ids=str)
def test_npy_versions(tmp_path, version):
    import io
    import zipfile

    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, A, version=version)
    with zipfile.ZipFile(tmp_path / "net.npz", "w") as archive:
        archive.writestr("a.npy", buffer.getvalue())
    check(load_weights(tmp_path / "net.npz"), {"a": A})


def test_safetensors(tmp_path):
    from safetensors.numpy import save_file

    kinds = ("conv.weight", "half", "bool", "scalar", "empty", "int", "u1")
    arrays = {name: NPZ[name] for name in kinds}
    save_file(arrays, tmp_path / "net.safetensors", metadata={"format": "pt"})
    weights = load_weights(str(tmp_path / "net.safetensors"))
    check(dict(sorted(weights.items())), dict(sorted(arrays.items())))


def test_stored_networks(data):
    lenet = load_weights(data / "mnist" / "lenet_caffe.safetensors")
    assert sum(array.size for array in lenet.values()) == 431_080
    weights = load_weights(data / "resnet_cifar10" / "resnet20.th")
    learned = {k: v for k, v in weights.items() if "running" not in k}
    assert sum(array.size for array in learned.values()) == 269_722
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    assert weights["module.conv1.weight"].shape == (16, 3, 3, 3)


def test_absent_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.npz"):
        load_weights(tmp_path / "no.npz")


def test_no_regular_file(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(OSError, match=r"folder\.npz is no regular file"):
        load_weights(tmp_path / "folder.npz")


@pytest.mark.parametrize("name", ["net.txt", "net", "net.pkl"])
def test_unknown_suffix(tmp_path, name):
    (tmp_path / name).write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match=r"expected \.safetensors, .*, \.keras or \.onnx$"):
        load_weights(tmp_path / name)


def test_no_path():
    with pytest.raises(TypeError, match="path=3 must be a string or a path"):
        load_weights(3)


def test_reading_loads_no_library(tmp_path):
    import subprocess

    path = one_tensor(tmp_path / "net.pth", "zip", A)
    code = (
        "import sys, numpy; before = set(sys.modules); import convkit\n"
        f"convkit.load_weights({str(path)!r})\n"
        "print(sorted({'torch', 'tarfile', 'safetensors'} & (set(sys.modules) - before)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert result.stdout.strip() == "[]"
