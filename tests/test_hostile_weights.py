"""Broken and hostile weight files: each ends in a ValueError that names file and place, soon and in
little memory, and no code of a file is ever run."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import weight_files as files
from weight_files import Call, Global, Raw, Reference

from convkit import load_weights
from convkit.weights import bounds, pytorch, unpickle

A = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
T = files.whole("0", A)
STORAGE = files.storage("0", "FloatStorage", 24)
ORDERED = Global("collections", "OrderedDict")


def refused(path: Path, match: str, *, seconds: float = 5.0, megabytes: float = 40) -> None:
    """Loading fails with a ValueError that names the file, soon and in little memory."""
    began = time.thread_time()
    with pytest.raises(ValueError, match=match) as caught:
        load_weights(path)
    assert time.thread_time() - began < seconds
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 2000
    tracemalloc.start()  # a second time, because tracing is slow
    try:
        with pytest.raises(ValueError, match=match):
            load_weights(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * 1e6 + 3 * path.stat().st_size


class Evil:
    """Runs a command when a real unpickler reads it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", ["bare", "stream", "zip", "tar"])
def test_code_is_not_run(tmp_path, form, protocol):
    proof, path = tmp_path / "pwned", tmp_path / "net.pth"
    code = pickle.dumps({"state_dict": Evil(f"touch {proof}")}, protocol)
    if form == "bare":
        path.write_bytes(code)
    elif form == "stream":
        files.write_stream(path, Raw(code[2:-1]), {})
        start = b"".join(files.pickled(part) for part in (files.MAGIC, 1001, {}))
        path.write_bytes(start + code)
    elif form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", code)
    else:
        files.write_tar(path, {"w": A})
        path.write_bytes(path.read_bytes().replace(files.pickled({}), code[:7], 1))
        files.write_tar(path, {"w": A})
        data = bytearray(path.read_bytes())
        at = data.index(b"pickle\0") + 512
        data[at : at + len(code)] = code
        path.write_bytes(data)
    refused(path, r"byte \d+|no file of torch.save")
    assert not proof.exists()


def nested(opener: bytes, depth: int, closer: bytes) -> Raw:
    return Raw(opener * depth + b"N" + closer * depth)


def laughs(count: int, make: bytes) -> Raw:
    """Containers that each hold the one before several times: endless entries from a few bytes."""
    code = files.opcodes(T) + b"q\x01"
    for _ in range(count):
        code += make + b"q\x01"
    return Raw(code + b"0}" + files.opcodes("w") + b"h\x01s")


def rebuilt(*arguments) -> dict:
    return {"w": Call(Global("torch._utils", "_rebuild_tensor_v2"), arguments)}


def shaped(shape, strides, offset=0) -> dict:
    return {"w": files.tensor(STORAGE, shape, strides, offset)}


COLLIDING = [(i * ((1 << 61) - 1), 1) for i in range(1, 2000)]
PICKLES = {
    # Names
    "os.system": (Call(Global("os", "system"), ("true",)), "asks for 'os.system'"),
    "builtins.eval": (Call(Global("builtins", "eval"), ("1",)), "asks for 'builtins.eval'"),
    "builtins.getattr": (Global("builtins", "getattr"), "asks for 'builtins.getattr'"),
    "dotted name": (Global("collections", "OrderedDict.__class__"), "asks for 'collections.Ord"),
    "torch.load": (Global("torch", "load"), "asks for 'torch.load'"),
    "numpy object": (Global("numpy", "load"), "neither tensor nor"),
    "array of objects": (
        Raw(pickle.dumps(np.array([None]), 3)[2:-1]), "NumPy array of dtype 'O8': expected"
    ),
    "array without state": (
        {"w": Call(
            Global("numpy.core.multiarray", "_reconstruct"),
            (Global("numpy", "ndarray"), (0,), "b"),
        )},
        "dtype ''",
    ),
    "array of another class": (
        Call(Global("numpy.core.multiarray", "_reconstruct"), (ORDERED, (0,), "b")), "numpy.ndarr"
    ),
    "array beyond its bytes": (
        {"w": Raw(pickle.dumps(np.zeros(3), 3)[2:-1].replace(b"K\x03\x85", b"K\x09\x85"))},
        "reaches element 8, but its storage holds 3",
    ),
    "state of a dtype": (
        Raw(files.opcodes(Call(Global("numpy", "dtype"), ("f4",))) + b"Nb"), "state of a NumPy dt"
    ),
    "bytes of no bytes": (Call(Global("_codecs", "encode"), ("\u1234", "latin1")), "no bytes"),
    "other codec": (Call(Global("_codecs", "encode"), ("a", "zlib")), "latin1"),
    "a module": (Global("torch.nn.modules.linear", "Linear"), "save model.state_dict"),
    "stacked name": (Raw(files.opcodes("os") + files.opcodes("system") + b"\x93"), "os.system"),
    "name of a number": (Raw(b"K\x01K\x02\x93"), "a name must be a string"),
    "endless name": (Raw(b"c" + b"a" * 5000), "a name without an end"),
    "long name": (Raw(files.opcodes("a" * 999) * 2 + b"\x93"), "name of more than 256"),
    "no UTF-8": (Raw(b"X\x02\0\0\0\xff\xfe"), "no UTF-8"),
    # Calls
    "call of a result": (Call(Call(ORDERED, ()), ()), "the file calls dict"),
    "call of a dtype": (Call(Global("torch", "float32"), ()), "the file calls torch.float32"),
    "call of a tensor class": (Call(Global("torch", "FloatTensor"), ()), "the file calls torch"),
    "call of a storage class": (Call(Global("torch", "FloatStorage"), ()), "the file calls torch"),
    "NEWOBJ": (Raw(files.opcodes(Global("torch", "Tensor")) + b")\x81"), "the file calls torch.T"),
    "arguments are no tuple": (Raw(files.opcodes(ORDERED) + b"]R"), "arguments of collections"),
    "INST": (Raw(b"(ios\nsystem\n"), "instruction b'i'"),
    "OBJ": (Raw(b"(" + files.opcodes(ORDERED) + b"o"), "instruction b'o'"),
    "NEWOBJ_EX": (Raw(files.opcodes(ORDERED) + b")}\x92"), r"instruction b'\\x92'"),
    "EXT1": (Raw(b"\x82\x01"), r"instruction b'\\x82'"),
    "out-of-band buffer": (Raw(b"\x97"), r"instruction b'\\x97'"),
    "BUILD of a class": (
        Raw(files.opcodes(Global("torch", "Tensor")) + files.opcodes({"a": 1}) + b"b"),
        "sets attributes of a class",
    ),
    "wrapped rebuild of a rebuild": (
        Call(
            Global("torch._tensor", "_rebuild_from_type_v2"),
            (Global("torch._tensor", "_rebuild_from_type_v2"), Global("torch", "Tensor"), (), {}),
        ),
        "builds through",
    ),
    "subclass of a tensor": (
        Call(
            Global("torch._tensor", "_rebuild_from_type_v2"),
            (T.function, Global("torch", "Size"), T.arguments, {}),
        ),
        "expected a torch.Tensor",
    ),
    "parameter of nothing": (
        Call(Global("torch._utils", "_rebuild_parameter"), (3,)), "expected a tensor, got 3"
    ),
    "OrderedDict of no pairs": (Call(ORDERED, ([[1, 2, 3]],)), "no pair of a name and a value"),
    # Stack, memo, containers
    "empty stack": (Raw(b"0"), "finds no value on the stack"),
    "no mark": (Raw(b"t"), "finds no mark"),
    "only a mark": (Raw(b"("), "finds no value on the stack"),
    "left over": (Raw(b"NN"), "values left over"),
    "unknown memo": (Raw(b"h\x05"), "recalls value 5"),
    "memo of nothing": (Raw(b"q\x00"), "finds no value"),
    "far memo": (Raw(b"Nr\xff\xff\xff\xff0"), "finds no value on the stack"),
    "items of a number": (Raw(b"K\x01(NNe"), "expected a list"),
    "entries of a list": (Raw(b"](NNu"), "expected a dictionary"),
    "odd entries": (Raw(b"}(NNNu"), "key has no value"),
    "tuple as key": ({(1, 2): 3}, "tuple as a dictionary's key"),
    "deep tuple as key": (Raw(b"}" + b")" + b"\x85" * 50_000 + b"Ns"), "as a dictionary's key"),
    "keys that collide": (dict(COLLIDING), "as a dictionary's key"),
    "long integer": (Raw(b"\x8b\xff\xff\xff\x7f"), "an integer of 2147483647 bytes"),
    "long string": (Raw(b"X\xff\xff\xff\x7f"), r"needs 2147483647 bytes, \d+ are left"),
    "longer string": (Raw(b"\x8d" + b"\xff" * 7 + b"\x7f"), r"a string needs \d+ bytes"),
    "long bytes": (Raw(b"\x8e" + b"\xff" * 8), r"bytes needs \d+ bytes"),
    "text integer": (Raw(b"I42\n"), "instruction b'I'"),
    "text string": (Raw(b"S'__import__'\n"), "instruction b'S'"),
    "deep lists": (nested(b"](", 50_000, b"e"), "expected a dictionary of named tensors"),
    "deep tuples": (nested(b"", 0, b"\x85" * 200_000), "expected a dictionary of named tensors"),
    "deep dictionaries": (
        Raw(files.opcodes(T) + (b"q\x00}" + files.opcodes("a") + b"h\x00s") * 40 ), "left over"
    ),
    "deep entries": (
        Raw(files.opcodes(T) + (b"q\x000}" + files.opcodes("a") + b"h\x00s") * 40), "nested more"
    ),
    "10^9 lists": (laughs(9, b"0](" + b"h\x01" * 10 + b"e"), "more than 20000 entries"),
    "2^60 lists": (laughs(60, b"0](h\x01h\x01e"), "nested more than 16 deep"),
    "a list of itself": (
        Raw(b"}" + files.opcodes("a") + b"]q\x01h\x01as"), "nested more than 16 deep"
    ),
    "a long name": ({"n" * 2000: T}, "longer than 1000 characters"),
    "two of a name": ({"a": {"b": T}, "a.b": T}, "two tensors have the name 'a.b'"),
    # Results
    "a tensor alone": (T, "file holds Tensor: expected a dictionary"),
    "a number": (3, "file holds 3"),
    "no tensor": ({"a": 1, "b": [2]}, "holds no tensor"),
    # References
    "reference to a module": (Reference(("module", ORDERED, "f", "src")), "no storage"),
    "reference to a number": (Reference(3), "no storage"),
    "storage of a class": (
        Reference(("storage", ORDERED, "0", "cpu", 24)), "storage of type collections.OrderedDict"
    ),
    "key is a number": (
        Reference(("storage", Global("torch", "FloatStorage"), 0, "cpu", 24)), "key must be a str"
    ),
    "path as key": (rebuilt(files.storage("../../x", "FloatStorage", 24), 0, (1,), (1,)), "no mem"),
    "absent storage": (rebuilt(files.storage("1", "FloatStorage", 24), 0, (1,), (1,)), "no member"),
    "size of a storage": (rebuilt(files.storage("0", "FloatStorage", 25), 0, (1,), (1,)), "96 byt"),
    "negative storage": (rebuilt(files.storage("0", "FloatStorage", -1), 0, (1,), (1,)), "got -1"),
    "huge storage": (
        rebuilt(files.storage("0", "FloatStorage", 1 << 62), 0, (1,), (1,)), "sizes from 0 to"
    ),
    "two types": (
        [files.storage("0", "FloatStorage", 24), files.storage("0", "LongStorage", 24)], "two types"
    ),
    "quantised": (Global("torch", "QInt8Storage"), "asks for 'torch.QInt8Storage'"),
    # Tensors
    "tensor of a number": (rebuilt(3, 0, (1,), (1,)), "storage must be one, got 3"),
    "few arguments": (rebuilt(STORAGE), "1 arguments, expected at least 4"),
    "negative stride": (shaped((2, 3), (3, -1)), "strides must be of sizes from 0 .*, got -1"),
    "negative size": (shaped((-2, 3), (3, 1)), "shape must be of sizes from 0"),
    "negative offset": (shaped((2, 3), (3, 1), -4), "offset must be of sizes from 0"),
    "huge size": (shaped((1 << 63,), (0,)), "shape must be of sizes from 0"),
    "huge integer": (shaped((1 << 900,), (0,)), "an integer of 901 bits"),
    "huge product": (shaped((1 << 40, 1 << 40), (0, 0)), "more than memory can hold"),
    "huge and empty": (shaped((0, 1 << 46, 1 << 46), (1, 1, 1)), "more than memory can hold"),
    "expanded without end": (shaped((1 << 20, 1 << 20), (0, 0)), "times their size"),
    "bool as size": (shaped((True, 3), (3, 1)), "shape must be of sizes .* got True"),
    "float as size": (shaped((2.0, 3), (3, 1)), "shape must be of sizes"),
    "nan as offset": (shaped((2, 3), (3, 1), float("nan")), "offset must be"),
    "too many dimensions": (shaped((1,) * 40, (1,) * 40), "at most 32 sizes"),
    "more sizes than strides": (shaped((2, 3), (3,)), "2 sizes and 1 strides"),
    "beyond the storage": (shaped((5, 5), (5, 1)), "reaches element 24, but its storage holds 24"),
    "offset beyond": (shaped((1,), (1,), 24), "reaches element 24"),
    "stride beyond": (shaped((2, 1), (24, 1)), "reaches element 24"),
    "conjugate": (
        rebuilt(STORAGE, 0, (1,), (1,), False, {}, {"conj": True}), "lazy conjugate or negative"
    ),
    "unknown dtype": (
        {"w": Call(
            Global("torch._utils", "_rebuild_tensor_v3"),
            (STORAGE, 0, (1,), (1,), False, {}, "float4"),
        )},
        "_rebuild_tensor_v3: dtype 'float4'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PICKLES)
def test_hostile_pickle(tmp_path, name, monkeypatch):
    monkeypatch.setattr(pytorch, "MOST_ENTRIES", 20_000)  # the real limit takes a second
    value, match = PICKLES[name]
    refused(files.write_zip(tmp_path / "net.pth", value, {"0": A.tobytes()}), match)


def test_pickle_with_too_many_instructions(tmp_path, monkeypatch):
    monkeypatch.setattr(unpickle, "MOST_INSTRUCTIONS", 1000)
    path = files.write_zip(tmp_path / "net.pth", Raw(b"N0" * 1000 + b"N"), {})
    refused(path, "more than 1000 pickle instructions")


def test_calls_that_read_one_list_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(unpickle, "MOST_ARGUMENTS", 100_000)
    code = files.opcodes([["a", 1]] * 1000) + b"q\x000"
    code += (files.opcodes(ORDERED) + b"h\x00\x85R0") * 1000 + b"N"
    refused(files.write_zip(tmp_path / "n.pth", Raw(code), {}), "calls with more than 100000 arg")


def test_many_tensors_of_one_storage(tmp_path, monkeypatch):
    """Each is small enough, all together would be a hundred times the file and more."""
    monkeypatch.setattr(bounds, "SLACK_OF_FILE", 1 << 20)
    data = bytes(1 << 16)
    reference = files.storage("0", "FloatStorage", 1 << 14)
    code = b"}(" + files.opcodes("k0")
    code += files.opcodes(files.tensor(reference, (1 << 14,), (1,))) + b"q\x01"
    code += b"".join(files.opcodes(f"k{i}") + b"h\x01" for i in range(1, 1000)) + b"u"
    path = files.write_zip(tmp_path / "net.pth", Raw(code), {"0": data})
    refused(path, "100 times their size and 1 MiB")


# Archives


def npy(shape="(4,)", descr="'<f4'", fortran="False", data=bytes(16), header=None) -> bytes:
    """A .npy file."""
    text = header or f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin-1") + data


NPYS = {
    "objects": (npy(descr="'|O'"), "not that of an array of numbers"),
    "structured": (npy(descr="[('a', '<f4')]"), "not that of an array of numbers"),
    "strings": (npy(descr="'<U4'"), "not that of an array of numbers"),
    "code": (npy(shape="__import__('os').system('true')"), "not that of an array of numbers"),
    "no shape": (npy(header="{'descr': '<f4', 'fortran_order': False}"), "not that of an array"),
    "nested": (npy(header="(" * 9000), "not that of an array"),
    "long header": (npy(header=" " * 20_000), "at most 10000 are read"),
    "huge size": (npy(shape="(9223372036854775807,)"), "more than memory can hold"),
    "huge product": (npy(shape="(100000000, 100000000)"), "more than memory can hold"),
    "long size": (npy(shape="(" + "9" * 5000 + ",)"), "more than memory can hold"),
    "beyond the data": (npy(shape="(5,)"), "reaches element 4, but its storage holds 4"),
    "data left over": (npy(shape="(3,)"), "16 bytes of data, but shape"),
    "bool left over": (npy("(3,)", "'|b1'"), "16 bytes of data, but shape"),
    "many dimensions": (npy(shape="(" + "1, " * 40 + ")"), "at most 32 sizes"),
    "version 9": (npy().replace(b"\x01\x00", b"\x09\x00", 1), ".npy version 9"),
    "no magic": (b"NUMPY" + bytes(90), "no .npy file"),
    "cut off": (npy()[:20], "header needs"),
    "empty": (b"", "magic needs 6 bytes, 0 are left"),
}


@pytest.mark.parametrize("name", NPYS)
def test_hostile_npy(tmp_path, name):
    data, match = NPYS[name]
    with zipfile.ZipFile(tmp_path / "net.npz", "w") as archive:
        archive.writestr("a.npy", data)
    refused(tmp_path / "net.npz", match)


ONE_ARRAY = (("a.npy", npy()),)


def zip_bytes(members=ONE_ARRAY, method=zipfile.ZIP_STORED) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return bytearray(buffer.getvalue())


def patched(offset: int, value: bytes, after: bytes = b"PK\x01\x02") -> bytes:
    """The archive with bytes replaced behind its last signature of this kind."""
    data = zip_bytes()
    at = data.rindex(after) + offset
    data[at : at + len(value)] = value
    return bytes(data)


ZIPS = {
    "empty archive": (bytes(zip_bytes(members=())), "holds no array"),
    "no archive": (b"x" * 100, "no zip archive"),
    "nothing": (b"", "no zip archive"),
    "other member": (bytes(zip_bytes([("a.txt", b"x")])), "no .npy file"),
    "encrypted": (patched(8, b"\x01"), "is encrypted"),
    "bzip2": (patched(10, b"\x0c"), "packed by method 12"),
    "checksum": (patched(16, b"\0\0\0\0"), "does not match its checksum"),
    "stored size": (patched(24, b"\x01\0\0\0"), "is stored, but"),
    "beyond the end": (patched(20, b"\0\0\1\0" * 2), r"needs 65536 bytes, \d+ are left"),
    "zip64 without sizes": (patched(20, b"\xff" * 8), "zip64 sizes needs 4 bytes"),
    "header elsewhere": (patched(42, b"\x05\0\0\0"), "no header of member"),
    "header outside": (patched(42, b"\xfe\xff\xff\xff"), "0 are left"),
    "no entry": (patched(0, b"PK\x09\x09"), "no entry stands here"),
    "name no UTF-8": (patched(46, b"\xff"), "no UTF-8"),
    "more entries": (patched(10, b"\xff\xff", b"PK\x05\x06"), "no entry stands here"),
    "directory outside": (patched(16, b"\xfe\xff\xff\xff", b"PK\x05\x06"), "0 are left"),
}


@pytest.mark.parametrize("name", ZIPS)
def test_hostile_archive(tmp_path, name):
    data, match = ZIPS[name]
    (tmp_path / "net.npz").write_bytes(data)
    refused(tmp_path / "net.npz", match)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_twice(tmp_path):
    (tmp_path / "net.npz").write_bytes(zip_bytes([("a.npy", npy()), ("a.npy", npy())]))
    refused(tmp_path / "net.npz", "'a.npy' stands twice")


def test_zip_bomb(tmp_path):
    data = zip_bytes([("a.npy", npy("(5000000,)", data=bytes(20_000_000)))], zipfile.ZIP_DEFLATED)
    (tmp_path / "net.npz").write_bytes(data)
    refused(tmp_path / "net.npz", "more than 100 times its size", megabytes=2)


def test_zip_bomb_of_a_pickle(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + b"]" * 20_000_000 + b".")
    refused(tmp_path / "net.pth", "more than 100 times its size", megabytes=2)


def test_zip_bomb_that_hides_its_size(tmp_path):
    data = zip_bytes([("a.npy", npy("(5000000,)", data=bytes(20_000_000)))], zipfile.ZIP_DEFLATED)
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 1000)
    (tmp_path / "net.npz").write_bytes(data)
    refused(tmp_path / "net.npz", "unpacks to other than the 1000 bytes", megabytes=2)


def test_zip_bomb_of_overlapping_members(tmp_path):
    """One packed member, listed by many names: each unpacks to less than 1 MB, all to gigabytes."""
    data = zip_bytes([("aaaa.npy", npy("(240000,)", data=bytes(960_000)))], zipfile.ZIP_DEFLATED)
    entry_at, end_at = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    entry, end = bytes(data[entry_at:end_at]), bytes(data[end_at:])
    entries = b"".join(entry.replace(b"aaaa", b"%04d" % i) for i in range(5000))
    end = end[:8] + struct.pack("<HHI", 5000, 5000, len(entries)) + end[16:]
    (tmp_path / "net.npz").write_bytes(data[:entry_at] + entries + end)
    refused(tmp_path / "net.npz", "100 times their size and 64 MiB", megabytes=150)


def test_deflated_rubbish(tmp_path):
    data = zip_bytes([("a.npy", os.urandom(50))])
    for signature, offset in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        data[data.rindex(signature) + offset] = 8
    (tmp_path / "net.npz").write_bytes(data)
    refused(tmp_path / "net.npz", "does not unpack|unpacks to other than")


# The stream and the tar archive


def test_other_magic(tmp_path):
    (tmp_path / "net.pth").write_bytes(files.pickled(7) + files.pickled(1001))
    refused(tmp_path / "net.pth", "begins with 7, 1001")


@pytest.mark.parametrize("count", [23, 25, -1, 1 << 62], ids=str)
def test_size_of_a_storage_in_a_stream(tmp_path, count):
    value = {"w": files.whole("0", A, stream=True)}
    files.write_stream(tmp_path / "net.pth", value, {"0": (count, A.tobytes())})
    refused(tmp_path / "net.pth", f"has {count} elements, but the pickle says 24")


@pytest.mark.parametrize(
    "view, match",
    [
        (("1", 20, 5), "reaches element 25 of 24"), (("1", -1, 5), "got -1"),
        (("1", 0), "three parts"), (3, "three parts"),
    ],
    ids=["beyond", "negative", "short", "number"],
)  # fmt: skip
def test_view_in_a_stream(tmp_path, view, match):
    reference = files.storage("0", "FloatStorage", 24, view=view)
    value = {"w": files.tensor(reference, (1,), (1,))}
    files.write_stream(tmp_path / "net.pth", value, {"0": (24, A.tobytes())})
    refused(tmp_path / "net.pth", match)


def test_storage_that_is_not_listed(tmp_path):
    value = {"w": files.whole("0", A, stream=True)}
    refused(files.write_stream(tmp_path / "net.pth", value, {}), "which the file lacks")


def test_storage_that_no_tensor_has(tmp_path):
    value = {"w": files.whole("0", A, stream=True)}
    stored = {"0": (24, A.tobytes()), "9": (1, bytes(4))}
    refused(files.write_stream(tmp_path / "net.pth", value, stored), "'9' is listed, but no tensor")


@pytest.mark.parametrize("size", [b"77777777777", b"xyz", b"-1", b"9", b""], ids=repr)
def test_size_in_a_tar_header(tmp_path, size):
    files.write_tar(tmp_path / "net.pth", {"w": A})
    data = bytearray(tmp_path.joinpath("net.pth").read_bytes())
    at = data.index(b"storages\0") + 124
    data[at : at + 12] = size.ljust(12, b"\0")
    (tmp_path / "net.pth").write_bytes(data)
    refused(tmp_path / "net.pth", "tar: byte")


def test_tar_without_members(tmp_path):
    files.write_tar(tmp_path / "net.pth", {"w": A})
    data = (tmp_path / "net.pth").read_bytes().replace(b"tensors\0", b"rubbish\0")
    (tmp_path / "net.pth").write_bytes(data)
    refused(tmp_path / "net.pth", "no member tensors")


# safetensors


def tensors(header: object, data: bytes = bytes(16), length: int | None = None) -> bytes:
    import json

    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(4,), offsets=(0, 16)) -> dict:
    return {"w": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


SAFETENSORS = {
    "nothing": b"", "short": b"abc", "no header": tensors(b"{"), "list": tensors(b"[]"),
    "empty": tensors({}, b""), "deep": tensors(b"[" * 100_000),
    "huge header": tensors({}, b"", 1 << 62),
    "negative shape": tensors(entry(shape=(-4,))), "huge shape": tensors(entry(shape=(1 << 62, 8))),
    "beyond": tensors(entry(offsets=(0, 1 << 40))), "backwards": tensors(entry(offsets=(16, 0))),
    "other size": tensors(entry(shape=(3,))), "left over": tensors(entry(), bytes(20)),
    "unknown dtype": tensors(entry("F99")), "float8": tensors(entry("F8_E4M3", (16,))),
}  # fmt: skip


@pytest.mark.parametrize("name", SAFETENSORS)
def test_hostile_safetensors(tmp_path, name):
    (tmp_path / "net.safetensors").write_bytes(SAFETENSORS[name])
    refused(tmp_path / "net.safetensors", "safetensors|F8_E4M3|holds no tensor")


# Mutations


def sources(folder: Path) -> dict[str, Path]:
    """One good file of each format."""
    from safetensors.numpy import save_file

    arrays = {f"conv{i}.weight": A + i for i in range(6)}
    value = {"state_dict": {k: files.whole(str(i), A) for i, k in enumerate(arrays)}, "epoch": 3}
    stored = {str(i): (A + i).tobytes() for i in range(6)}
    legacy = {k: files.whole(str(i), A, stream=True) for i, k in enumerate(arrays)}
    save_file(arrays, folder / "net.safetensors")
    np.savez(folder / "stored.npz", **arrays)
    np.savez_compressed(folder / "deflated.npz", **arrays)
    files.write_zip(folder / "zip.pth", value, stored)
    files.write_stream(folder / "stream.th", legacy, {k: (24, v) for k, v in stored.items()})
    files.write_tar(folder / "tar.pt", arrays)
    return {path.name: path for path in sorted(folder.iterdir())}


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """Cut off, overwritten, with bytes put in, moved or flipped."""
    data = bytearray(raw)
    reach = min(len(data), rng.choice([100, 4000, len(data)]))
    at = rng.randrange(reach)
    kind = rng.randrange(7)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    if kind == 1:
        data[:64] = rng.randbytes(64)
    elif kind == 2:
        for _ in range(20):
            data[rng.randrange(reach)] = rng.randrange(256)
    elif kind == 3:
        data[at:at] = b"\xff" * 9
    elif kind == 4:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 5:
        source = rng.randrange(reach)
        data[at : at + 30] = data[source : source + 30]
    else:
        number = rng.choice([0, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, (1 << 64) - 1])
        data[at : at + 8] = number.to_bytes(8, "little")
    return bytes(data)


NAMES = ["net.safetensors", "stored.npz", "deflated.npz", "zip.pth", "stream.th", "tar.pt"]


@pytest.mark.parametrize("name", NAMES)
def test_mutations(tmp_path, name):
    """A few hundred broken files of each format load or end in the promised errors."""
    folder = tmp_path / "good"
    folder.mkdir()
    raw = sources(folder)[name].read_bytes()
    assert len(load_weights(folder / name)) == 6
    path = tmp_path / f"mutated{Path(name).suffix}"
    outcomes = {"read": 0, "refused": 0}
    began = time.thread_time()
    tracemalloc.start()
    try:
        for seed in range(300):
            path.write_bytes(mutated(raw, random.Random(f"{name} {seed}")))
            try:
                load_weights(path)
                outcomes["read"] += 1
            except (ValueError, OSError) as error:
                outcomes["refused"] += 1
                assert path.name in str(error), f"seed {seed}: {error}"
                assert len(str(error)) > len(str(path)) + 12, f"seed {seed}: {error}"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcomes["refused"] > 100 and outcomes["read"] > 0, outcomes
    assert peak < 20e6
    assert time.thread_time() - began < 30


def test_every_cut_is_refused(tmp_path):
    """No prefix of a stream or an archive is taken for a whole file."""
    folder = tmp_path / "good"
    folder.mkdir()
    for name, source in sources(folder).items():
        raw = source.read_bytes()
        path = tmp_path / f"cut{source.suffix}"
        whole = load_weights(source)
        for size in range(0, len(raw), max(len(raw) // 60, 1)):
            path.write_bytes(raw[:size])
            try:
                cut = load_weights(path)
            except ValueError:
                continue
            # A tar archive may lose the zeros at its end.
            assert name == "tar.pt" and cut.keys() == whole.keys(), (name, size)


def test_damaged_archive_is_noticed_by_its_checksum(tmp_path):
    path = files.write_zip(tmp_path / "net.pth", {"w": T}, {"0": A.tobytes()})
    data = bytearray(path.read_bytes())
    data[data.index(A.tobytes()) + 7] ^= 1
    assert zlib.crc32(bytes(data)) != zlib.crc32(path.read_bytes())
    path.write_bytes(data)
    refused(path, "does not match its checksum")
