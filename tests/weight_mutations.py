"""Broken weight files by the thousand, read one after the other in one process.

    python tests/weight_mutations.py FORMAT FIRST LAST [SEED]

prints a line for each mutant: its number and what came of it. The tests start it and look at the
lines; by hand, `python tests/weight_mutations.py all 0 20000` goes through every format.

HDF5 files are read in this process and not in one each, under the same limits: a mutant that ends
the process is read again by `load_weights`, which must then say so.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import weight_files as files

#: Format -> the suffix of its files.
FORMATS = {
    "safetensors": ".safetensors", "npz": ".npz", "pth zip": ".pth", "pth legacy": ".pth",
    "h5": ".h5", "keras": ".keras", "onnx": ".onnx",
}  # fmt: skip
#: What every reader may take beyond the process after its imports.
MOST_MEMORY = 64 << 20
SECONDS = 20
#: A reader that ends the process again and again needs no more looks.
MOST_ENDED = 20
ARRAYS = {
    "conv.weight": np.arange(72, dtype=np.float32).reshape(4, 2, 3, 3),
    "conv.bias": np.ones(4, np.float32),
    "fc.weight": np.zeros((10, 40)),
    "count": np.array([3]),
}


def whole(form: str, folder: Path) -> bytes:
    """An unbroken file."""
    path = folder / "whole"
    layers = {"conv": {"kernel": ARRAYS["conv.weight"].T, "bias": ARRAYS["conv.bias"]},
              "fc": {"kernel": ARRAYS["fc.weight"].T}}  # fmt: skip
    listed = [{"class_name": kind, "config": {"name": name, "filters": 4}}
              for kind, name in (("Conv2D", "conv"), ("Dense", "fc"))]  # fmt: skip
    config = {"class_name": "Sequential", "config": {"name": "net", "layers": listed}}
    if form == "safetensors":
        from safetensors.numpy import save

        return save(ARRAYS)
    if form == "npz":
        path = path.with_suffix(".npz")
        np.savez_compressed(path, **ARRAYS)
    elif form == "pth zip":
        value = {"state_dict": {name: files.whole(name, array) for name, array in ARRAYS.items()}}
        files.write_zip(path, value, {name: array.tobytes() for name, array in ARRAYS.items()})
    elif form == "pth legacy":
        value = {name: files.whole(name, array, stream=True) for name, array in ARRAYS.items()}
        files.write_stream(
            path, value, {name: (array.size, array.tobytes()) for name, array in ARRAYS.items()}
        )
    elif form == "h5":
        path = files.write_keras2(path, layers, config)
    elif form == "keras":
        path = files.write_keras3(path, layers, config)
    else:
        from onnx import helper, numpy_helper

        tensors = [numpy_helper.from_array(array, name) for name, array in ARRAYS.items()]
        node = helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["y"])
        return helper.make_model(
            helper.make_graph([node], "net", [], [], tensors)
        ).SerializeToString()
    return path.read_bytes()


def mutant(data: bytes, chance: random.Random) -> bytes:
    """The file changed in one to four places, or cut off."""
    changed = bytearray(data)
    # Headers stand at the beginning or the end: change these more than what is between.
    reach = chance.choice((64, 512, len(data)))
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(min(reach, max(len(changed), 1)))
        if chance.random() < 0.3:
            at = max(len(changed) - 1 - at, 0)
        kind = chance.randrange(8)
        if kind == 0:
            del changed[at:]
        elif kind == 1:
            del changed[at : at + chance.randrange(1, 9)]
        elif kind == 2:
            changed[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
        elif kind == 3:
            changed[at : at + 8] = b"\xff" * 8
        elif kind == 4:
            size = chance.choice((1, 2, 4, 8))
            changed[at : at + size] = chance.randrange(1 << 8 * size).to_bytes(size, "little")
        elif kind == 5:
            start = chance.randrange(max(len(changed), 1))
            changed[at : at + 16] = changed[start : start + 16]
        elif changed:
            changed[at % len(changed)] ^= 1 << chance.randrange(8)
        if not changed:
            break
    return bytes(changed)


def inside(data: bytes, chance: random.Random) -> bytes:
    """An archive with one of its members changed, whose checksum is right again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(list(members))
    members[name] = mutant(members[name], chance)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return memory.getvalue()


def mutants(form: str, folder: Path, first: int, last: int, seed: int) -> Iterator[bytes]:
    """Numbers FIRST to LAST of a format's."""
    data = whole(form, folder)
    archived = form in ("npz", "pth zip", "keras")
    for number in range(first, last):
        chance = random.Random(f"{form} {seed} {number}")
        yield (inside if archived and number % 3 else mutant)(data, chance)


def read_here(file: int, budget: Any) -> Any:
    """`read_hdf5` in this process."""
    import h5py

    from convkit.weights import hdf5, hdf5_child

    if os.pread(file, 8, 0) != hdf5.MAGIC:
        raise ValueError("byte 0: no HDF5 file: its signature is missing")
    pipe = io.BytesIO()
    with os.fdopen(os.dup(file), "rb", buffering=0) as stream:
        hdf5_child.serve(h5py, np, stream, pipe, hdf5.limits(1 << 20, budget))
    pipe.seek(0)
    return hdf5.received(pipe, budget)


def read_all(form: str, first: int, last: int, seed: int) -> None:
    """Read the mutants, and say of each what came of it."""
    import convkit
    from convkit.weights import hdf5_child, keras_file, onnx_file  # noqa: F401

    keras_file.read_hdf5 = read_here
    hdf5_child.limit = lambda seconds, memory: None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / f"net{FORMATS[form]}"
        path.write_bytes(whole(form, folder))
        convkit.load_weights(path)  # imports
        with open("/proc/self/statm") as file:
            room = int(file.read().split()[0]) * resource.getpagesize() + MOST_MEMORY
        room += 4 * path.stat().st_size
        resource.setrlimit(resource.RLIMIT_AS, (room, resource.getrlimit(resource.RLIMIT_AS)[1]))
        for number, data in enumerate(mutants(form, folder, first, last, seed), first):
            path.write_bytes(data)
            signal.alarm(SECONDS)
            try:
                result = f"read {len(convkit.load_weights(path))}"
            except (ValueError, OSError) as error:
                named = str(path) in str(error) and len(str(error)) < 2000
                result = "refused" if named else f"WRONG no file named: {str(error)[:200]!a}"
            except BaseException as error:  # noqa: BLE001
                result = f"WRONG {type(error).__name__}: {str(error)[:200]!a}"
            print(number, result, flush=True)


def results(form: str, first: int, last: int, seed: int = 0) -> dict[int, str]:
    """What came of each mutant; the process is started again after a mutant that ended it."""
    path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }
    found: dict[int, str] = {}
    ended = 0
    while first < last and ended < MOST_ENDED:
        child = subprocess.run(
            [sys.executable, __file__, form, str(first), str(last), str(seed), "child"],
            capture_output=True, text=True, env=environment,
        )  # fmt: skip
        for line in child.stdout.splitlines():
            number, _, result = line.partition(" ")
            found[int(number)] = result
        reached = max(found, default=first - 1) + 1
        if reached < last:
            found[reached] = f"DIED with {child.returncode}: {child.stderr[-300:]!a}"
            ended += 1
            if form in ("h5", "keras"):
                found[reached] = _as_users_do(form, reached, seed)
        first = reached + 1
    return found


def _as_users_do(form: str, number: int, seed: int) -> str:
    """A mutant that ended the process, read by `load_weights` with a process of its own."""
    import convkit

    with tempfile.TemporaryDirectory() as name:
        (data,) = mutants(form, Path(name), number, number + 1, seed)
        path = Path(name) / f"net{FORMATS[form]}"
        path.write_bytes(data)
        try:
            return f"read {len(convkit.load_weights(path))}"
        except (ValueError, OSError) as error:
            return "refused in a process of its own" if str(path) in str(error) else "WRONG"


if __name__ == "__main__":
    asked, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    if "child" in sys.argv:
        read_all(asked, first, last, seed)
    else:
        for form in FORMATS if asked == "all" else [asked]:
            counts: dict[str, int] = {}
            for number, result in results(form, first, last, seed).items():
                word = result.split()[0]
                counts[word] = counts.get(word, 0) + 1
                if word in ("WRONG", "DIED") or "own" in result:
                    print(form, number, result)
            print(form, json.dumps(counts), flush=True)
