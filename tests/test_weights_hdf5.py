"""Files of Keras: what they hold under which name, and what hostile HDF5 files come to."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import weight_files as files
import weight_mutations

from convkit import load_weights
from convkit.weights import hdf5
from convkit.weights.keras_file import read_keras

h5py = pytest.importorskip("h5py", reason="needs h5py, which reads HDF5")

KERNEL = np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2)
LAYERS = {
    "first": {"kernel": KERNEL, "bias": np.array([1, 2], np.float32)},
    "second": {"kernel": KERNEL[::-1].copy(), "bias": np.array([3, 4], np.float32)},
}
CONFIG = {
    "class_name": "Sequential",
    "config": {
        "name": "net",
        "layers": [
            {"class_name": "InputLayer", "config": {"name": "in"}},
            {"class_name": "Conv2D", "config": {"name": "first", "filters": 2}},
            {"class_name": "Conv2D", "config": {"name": "second", "filters": 2}},
        ],
    },
}


def same(weights: dict, expected: dict) -> None:
    assert list(weights) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(weights[name], array, strict=True)
        assert weights[name].flags.writeable and weights[name].dtype.isnative


@pytest.mark.parametrize("suffix", [":0", ""])
def test_keras_2(tmp_path, suffix):
    path = files.write_keras2(tmp_path / "net", LAYERS, CONFIG, suffix=suffix)
    file = read_keras(path)
    assert file.config == CONFIG
    assert list(file.layers) == ["first", "second"]
    same(file.layers["second"], LAYERS["second"])
    names = [f"{layer}/{name}{suffix}" for layer in LAYERS for name in ("kernel", "bias")]
    arrays = [array for weights in LAYERS.values() for array in weights.values()]
    same(load_weights(path), dict(zip(names, arrays, strict=True)))


def test_weights_only(tmp_path):
    path = files.write_keras2_weights(tmp_path / "net", LAYERS)
    path = path.rename(path.with_suffix(".hdf5"))
    assert read_keras(path).config is None
    assert list(load_weights(path)) == ["first/kernel", "first/bias", "second/kernel",
                                        "second/bias"]  # fmt: skip


@pytest.mark.parametrize("names", [True, False], ids=["named", "numbered"])
def test_keras_3(tmp_path, names):
    file = read_keras(files.write_keras3(tmp_path / "net", LAYERS, CONFIG, names=names))
    assert file.config == CONFIG
    assert list(file.layers) == ["first", "second"]
    expected = {f"{layer}/{i}": array for layer, weights in LAYERS.items()
                for i, array in enumerate(weights.values())}  # fmt: skip
    same(file.weights, expected)
    np.testing.assert_array_equal(file.layers["second"]["1"], LAYERS["second"]["bias"])


def test_long_lists_of_names(tmp_path):
    """Keras cuts lists of more than 64 KiB into attributes of several names."""
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names0"] = np.array(["b"], "S")
        file.attrs["layer_names1"] = np.array(["a"], "S")
        for layer in "ab":
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array([f"{layer}/w:0"], "S")
            group[f"{layer}/w:0"] = np.ones(1)
    assert list(load_weights(path)) == ["b/w:0", "a/w:0"]


KINDS = ["float16", "float32", "float64", ">f4", "int64", "uint8", "bool"]


@pytest.mark.parametrize("kind", KINDS)
def test_dtypes_and_ways_to_store(tmp_path, kind):
    array = (np.arange(60).reshape(5, 3, 4) % 3).astype(kind)
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file["g/plain"] = array
        file.create_dataset("g/packed", data=array, chunks=(2, 2, 2), compression="gzip",
                            shuffle=True, fletcher32=True)  # fmt: skip
        file["g/scalar"] = array[0, 0, 1]
        file["g/empty"] = array[:0]
    native = array.astype(array.dtype.newbyteorder("="))
    weights = load_weights(path)
    for name, expected in (("plain", native), ("packed", native), ("empty", native[:0]),
                           ("scalar", np.array(native[0, 0, 1]))):  # fmt: skip
        np.testing.assert_array_equal(weights[f"g/{name}"], expected, strict=True)


def test_bfloat16(tmp_path):
    expected = np.array([1, -2.5, np.inf], np.float32)
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file["g/w"] = (expected.view(np.uint32) >> 16).astype("<u2").view("V2")
        file["g/w"].attrs["dtype"] = "bfloat16"
    same(load_weights(path), {"g/w": expected})


def test_many_arrays(tmp_path):
    """More than the largest networks have: the library's tables of them fit into the limits."""
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        for i in range(4000):
            file[f"layer_{i}/layer_{i}/kernel:0"] = np.full(3, i, np.float32)
    weights = load_weights(path)
    assert len(weights) == 4000
    assert all(array[0] == int(name.split("/")[0][6:]) for name, array in weights.items())


# Hostile files


def refused(path: Path, match: str, *, seconds: float = 20) -> None:
    began = time.monotonic()
    with pytest.raises((ValueError, OSError), match=match) as caught:
        load_weights(path)
    assert time.monotonic() - began < seconds
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000


def _external_link(file):
    file["g/x"] = h5py.ExternalLink("other.h5", "/w")


def _soft_link(file):
    file["g/x"] = h5py.SoftLink("/w")


def _circle(file):
    file["g/x"] = file["g"]


def _virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "w", (4,))
    file.create_virtual_dataset("g/x", layout)


def _external_storage(file):
    file.create_dataset("g/x", (4,), "f4", external=[("other.raw", 0, 16)])


def _plugin_filter(file):
    file.create_dataset("g/x", data=np.zeros(100), compression="lzf")


def _unknown_filter(file):
    file.create_dataset("g/x", (4,), "f4", chunks=(4,), compression=None)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4,))
    plist.set_filter(40000, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file["g"].id, b"y", h5py.h5t.NATIVE_FLOAT, space, plist)


def _bomb(file):
    file.create_dataset("g/x", data=np.zeros(1 << 24, np.uint8), chunks=(1 << 20,),
                        compression="gzip")  # fmt: skip


def _huge_claim(file):
    file.create_dataset("g/x", (1 << 40,), "f4", chunks=(1 << 10,))


def _huge_chunk(file):
    file.create_dataset("g/x", (2,), "f4", chunks=(1 << 29,), maxshape=(None,))


def _unwritten(file):
    file.create_dataset("g/x", (1 << 23,), "f4")


def _overflow(file):
    file.create_dataset("g/x", (1 << 31, 1 << 31, 2), "f8", chunks=(1, 1, 1))


def _compound(file):
    file["g/x"] = np.zeros(2, [("a", "f4"), ("b", "i4")])


def _texts(file):
    file["g/x"] = ["a", "b"]


def _references(file):
    file.create_dataset("g/x", (1,), h5py.ref_dtype)


def _deep(file):
    file.create_group("g/" + "x/" * 100)


def _long_names(file):
    for i in range(150):
        file[f"g/{i}" + "x" * 60_000] = 1.0


HOSTILE = {
    _external_link: "'g/x' is an external link: not followed",
    _soft_link: "'g/x' is a soft link: not followed",
    _circle: "'g/x' leads to an object that was read before",
    _virtual: "'g/x' is virtual: its elements lie in other files",
    _external_storage: "'g/x' lies in another file",
    _plugin_filter: "'g/x' is packed by filter 32000",
    _unknown_filter: "'g/y' is packed by filter 40000",
    _bomb: r"'g/x' would unpack from \d+ to 16777216 bytes: .* unless max_bytes= allows it",
    _huge_claim: "'g/x' would unpack from 0 to 4398046511104 bytes",
    _huge_chunk: "a chunk of array 'g/x' would unpack from 0 to 2147483648 bytes",
    _unwritten: "'g/x' would unpack from 0 to 33554432 bytes",
    _overflow: "'g/x' has shape .*: more than memory can hold",
    _compound: "'g/x' does not hold plain numbers",
    _texts: "'g/x' does not hold plain numbers",
    _references: "'g/x' does not hold plain numbers",
    _long_names: "names and attributes of more than 8388608 bytes|the process that read it|memory",
    _deep: "groups more than 64 deep",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__[1:])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_hostile_hdf5(tmp_path, make, suffix):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["w"] = np.full(4, 7, np.float32)
    (tmp_path / "other.raw").write_bytes(bytes(16))
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file.create_group("g")
        file["w"] = np.zeros(4)
        make(file)
    if suffix == ".keras":
        data, path = path.read_bytes(), tmp_path / "net.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(CONFIG))
            archive.writestr("model.weights.h5", data)
    before = sorted(os.listdir(tmp_path))
    refused(path, HOSTILE[make])
    assert sorted(os.listdir(tmp_path)) == before


def test_max_bytes_allows_what_unpacks_to_much(tmp_path):
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        _bomb(file)
    assert load_weights(path, max_bytes=1 << 24)["g/x"].size == 1 << 24
    with pytest.raises(ValueError, match=r"'g/x' holds 16777216 bytes: more than max_bytes=16777"):
        load_weights(path, max_bytes=(1 << 24) - 1)
    np.savez_compressed(tmp_path / "net.npz", x=np.zeros(1 << 24, np.uint8))
    assert load_weights(tmp_path / "net.npz", 1 << 25)["x"].size == 1 << 24
    with pytest.raises(ValueError, match=r"more than 100 times .* unless max_bytes= allows it"):
        load_weights(tmp_path / "net.npz")
    with pytest.raises(ValueError, match="more than max_bytes=1000"):
        load_weights(tmp_path / "net.npz", 1000)


@pytest.mark.parametrize("wrong", [-1, 1.5, True])
def test_max_bytes_is_a_number(tmp_path, wrong):
    with pytest.raises((ValueError, TypeError), match=rf"max_bytes={wrong}"):
        load_weights(tmp_path / "net.npz", max_bytes=wrong)


def test_chunk_that_unpacks_to_more_than_it_states(tmp_path):
    """The library unpacks a chunk to its end, whatever its size: the process has no room for it."""
    import zlib

    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("g/x", (1 << 18,), "u1", chunks=(1 << 18,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 29)))
    began = time.monotonic()
    try:
        assert load_weights(path)["g/x"].size == 1 << 18  # a library that stops in time
    except ValueError as error:
        assert "'g/x'" in str(error) and str(path) in str(error)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("size", [0, 7, 8, 100, 2000, -1])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_cut_off(tmp_path, suffix, size):
    write = files.write_keras2 if suffix == ".h5" else files.write_keras3
    path = write(tmp_path / "net", LAYERS, CONFIG)
    path.write_bytes(path.read_bytes()[:size])
    refused(
        path,
        "byte 0: no HDF5 file|no HDF5 file, or a broken one|no zip archive, or cut off|end of dir",
    )


BROKEN_ARCHIVES = {
    "no config": ({"model.weights.h5": b""}, "has no member 'config.json'"),
    "no weights": ({"config.json": b"{}"}, "no member 'model.weights.h5'"),
    "no HDF5": ({"config.json": b"{}", "model.weights.h5": b"PK"}, "member 'model.weights.h5': by"),
    "no JSON": ({"config.json": b"{", "model.weights.h5": None}, "config is no JSON"),
    "nested": ({"config.json": b"[" * 100_000, "model.weights.h5": None}, "config is no JSON"),
    "a list": ({"config.json": b"[]", "model.weights.h5": None}, "config is no JSON object"),
    "long": ({"config.json": b" " * (4 << 20), "model.weights.h5": None}, "more than 3145728"),
    "bomb": ({"config.json": b"{}", "model.weights.h5": bytes(1 << 25)}, "would unpack from"),
}


@pytest.mark.parametrize("name", BROKEN_ARCHIVES)
def test_broken_archives(tmp_path, name):
    members, match = BROKEN_ARCHIVES[name]
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            if content is None:
                content = files.keras3_weights(LAYERS, CONFIG)
            archive.writestr(member, content)
    refused(path, match)


def test_names_that_lead_nowhere(tmp_path):
    path = files.write_keras2(tmp_path / "net", LAYERS, CONFIG)
    with h5py.File(path, "a") as file:
        file["model_weights/first"].attrs["weight_names"] = np.array(["first/no:0"], "S")
    refused(path, "weight 'first/no:0' of layer 'first' is missing")


def test_child_that_hangs_is_ended(tmp_path, monkeypatch):
    child = tmp_path / "hangs.py"
    child.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(hdf5, "CHILD", child)
    monkeypatch.setattr(hdf5, "SECONDS", 1)
    refused(files.write_keras2(tmp_path / "net", LAYERS), "the process that read it took 1 s")


ANSWERS = {
    "nothing": b"",
    "cut off": b"\x08",
    "no JSON": b"\x02\0\0\0\0\0\0\0[[",
    "other JSON": b"\x02\0\0\0\0\0\0\0{}",
    "endless": b"\xfe" + b"\xff" * 7,
    "endless reason": b"\xff" * 16 + b"x" * 5000,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_child_is_trusted_no_more_than_the_file(name):
    from convkit.weights.bounds import Budget

    with pytest.raises((ValueError, hdf5._CutOffError)):
        hdf5.received(io.BytesIO(ANSWERS[name]), Budget(100))


@pytest.mark.parametrize("entry", [["w", "f4", [2]], ["w", "float32", [-1]], ["w", "object", [1]],
                                   ["w", "float32", [1 << 50]], ["w", "float32", [1 << 40]],
                                   ["w", "float32", [3]]])  # fmt: skip
def test_child_that_claims_too_much(entry):
    from convkit.weights.bounds import Budget

    text = json.dumps({"attributes": {}, "arrays": [entry]}).encode()
    answer = len(text).to_bytes(8, "little") + text + (8).to_bytes(8, "little") + bytes(8)
    with pytest.raises(ValueError, match="'w'"):
        hdf5.received(io.BytesIO(answer), Budget(100))


def test_h5py_is_asked_for_by_the_name_of_the_extra(tmp_path, monkeypatch):
    path = files.write_keras2(tmp_path / "net", LAYERS)
    monkeypatch.setattr(hdf5, "find_spec", lambda name: None)
    refused(path, r"reading HDF5 files needs h5py: pip install 'convkit\[keras\]'$")


def test_reading_does_not_load_h5py_here(tmp_path):
    path = files.write_keras2(tmp_path / "net", LAYERS)
    code = (
        "import sys, convkit\n"
        f"assert len(convkit.load_weights({str(path)!r})) == 4\n"
        "print('h5py' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


MEMORY = """
import resource, sys, convkit
def most():
    return max(resource.getrusage(who).ru_maxrss for who in
               (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) << 10
convkit.load_weights(sys.argv[1])
before = most()
try:
    print(sum(a.nbytes for a in convkit.load_weights(sys.argv[2]).values()), end=" ")
except ValueError:
    print(0, end=" ")
print(most() - before)
"""


@pytest.mark.parametrize("make", [_bomb, _huge_claim, _unwritten, None],
                         ids=["bomb", "claim", "unwritten", "whole"])  # fmt: skip
def test_memory(tmp_path, make):
    small, path = files.write_keras2(tmp_path / "small", LAYERS), tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        if make is None:
            file["g/x"] = np.ones(6 << 20, np.float32)
        else:
            make(file)
    result = subprocess.run(
        [sys.executable, "-c", MEMORY, str(small), str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    held, taken = map(int, result.stdout.split())
    assert taken < (64 << 20) + 4 * max(held, path.stat().st_size)


@pytest.mark.parametrize("form", weight_mutations.FORMATS)
def test_500_mutants(form):
    """Each is read or refused by an error that names the file, within 64 MiB and 20 s."""
    found = weight_mutations.results(form, 0, 500)
    bad = {n: result for n, result in found.items() if result.startswith(("WRONG", "DIED"))}
    assert not bad
    assert len(found) == 500
    assert sum(result.startswith("refused") for result in found.values()) > 200
