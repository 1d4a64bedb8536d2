"""Reads an HDF5 file in a process of its own, which may run out of time or memory or even crash.

Run as a script by `convkit.weights.hdf5`; it imports nothing of convkit. The HDF5 library follows
what a file says, so this process takes little: limits on memory, time and files written; of the
file only groups, hard links, plain numbers, and the filters that every HDF5 library has.

What it writes to the pipe are parts of a length and as many bytes: JSON (attributes, and the
arrays' names, dtypes and shapes), then the arrays in that order. Where the file is refused, the
next part is PROBLEM in place of a length, then a length and the reason.
"""

from __future__ import annotations

import json
import math
import os
import resource
import struct
import sys
from collections.abc import Iterator
from typing import Any

#: deflate, shuffle and fletcher32: any other filter would be a plugin, which is code.
FILTERS = {1, 2, 3}
#: What a group says about itself that we ask for; lists of names go on in NAME0, NAME1, ...
ATTRIBUTES = ("layer_names", "weight_names", "model_config", "keras_version", "name", "dtype")
#: Groups at the top that hold no weights of the network.
SKIPPED = {"optimizer", "optimizer_weights", "metrics", "compile_metrics", "loss_tracker"}
MOST_DEPTH = 64
MOST_OBJECTS = 100_000
MOST_BYTES = 1 << 47
#: Names and attributes in all.
MOST_TEXT = 8 << 20
PROBLEM = (1 << 64) - 1
#: Memory for the library's own tables and the attributes, beside twice the file.
TABLES = 40 << 20
#: Of it, what the library may keep of the file's tables for a second look.
MOST_CACHED = 4 << 20


class RefusedError(Exception):
    """What stands in the file is not read."""


class Limits:
    """How much a file may claim."""

    def __init__(self, size: int, ratio: int, slack: int, most: int | None) -> None:
        self.size, self.ratio, self.slack, self.most = size, ratio, slack, most

    def check(self, what: str, stored: int, claimed: int) -> None:
        """Refuse what would unpack to too much."""
        stored = min(stored, self.size)
        if self.most is not None:
            if claimed > self.most:
                raise RefusedError(f"{what} holds {claimed} bytes: more than max_bytes={self.most}")
        elif claimed > self.ratio * stored + self.slack:
            raise RefusedError(
                f"{what} would unpack from {stored} to {claimed} bytes: more than {self.ratio} "
                f"times its size and {self.slack} are refused unless max_bytes= allows it"
            )


class Survey:
    """The groups and datasets of a file, every one checked before a byte of it is read."""

    def __init__(self, h5py: Any, limits: Limits) -> None:
        self.h5py, self.limits = h5py, limits
        self.attributes: dict[str, dict[str, Any]] = {}
        #: Path, its bytes in the file, dtype, shape. An open dataset takes 20 KB: none is kept.
        self.datasets: list[tuple[str, bytes, str, tuple[int, ...]]] = []
        self.root: Any = None
        self.sizes: list[int] = []
        self.seen: set[int] = set()
        self.text = 0

    def group(self, group: Any, path: str, at: bytes = b"/", depth: int = 0) -> None:
        """Walk through a group. Links stay inside: soft and external ones are not followed."""
        h5 = self.h5py
        if depth > MOST_DEPTH:
            raise RefusedError(f"group {path!a}: groups more than {MOST_DEPTH} deep")
        self._attributes(group, path)
        for name in group:
            inside = path + ("/" if path else "") + name.decode("utf-8", "replace")
            if not path and inside in SKIPPED:
                continue
            kind = group.links.get_info(name).type
            if kind != h5.h5l.TYPE_HARD:
                word = {h5.h5l.TYPE_SOFT: "a soft", h5.h5l.TYPE_EXTERNAL: "an external"}
                raise RefusedError(
                    f"{inside!a} is {word.get(kind, 'an unknown')} link: not followed"
                )
            member = h5.h5o.open(group, name)
            # Read as unsigned: h5py's address of an object is its place in the file.
            address = h5.h5o.get_info(member).addr
            if address in self.seen:
                raise RefusedError(f"{inside!a} leads to an object that was read before")
            self.seen.add(address)
            if len(self.seen) > MOST_OBJECTS:
                raise RefusedError(f"{inside!a}: more than {MOST_OBJECTS} objects")
            if isinstance(member, h5.h5g.GroupID):
                self.group(member, inside, at + name + b"/", depth + 1)
            elif isinstance(member, h5.h5d.DatasetID):
                self.dataset(member, inside, at + name)
            else:
                raise RefusedError(f"{inside!a} is neither a group nor an array")

    def _attributes(self, owner: Any, path: str) -> None:
        """The attributes of a group or dataset that Keras writes, texts and lists of texts."""
        h5 = self.h5py
        found: dict[str, Any] = {}
        for index in range(min(h5.h5a.get_num_attrs(owner), 1000)):
            attribute = h5.h5a.open(owner, index=index)
            name = attribute.name.decode("utf-8", "replace")
            if name.rstrip("0123456789") not in ATTRIBUTES:
                continue
            kind = attribute.get_type()
            if not isinstance(kind, h5.h5t.TypeStringID):
                continue  # an empty list of names is stored as floats
            shape = attribute.shape
            if len(shape) > 1 or math.prod(shape) > MOST_OBJECTS:
                raise RefusedError(f"attribute {name!a} of {path!a} has shape {shape}")
            if not kind.is_variable_str() and kind.get_size() * math.prod(shape) > min(
                self.limits.size, MOST_TEXT
            ):
                raise RefusedError(f"attribute {name!a} of {path!a} is larger than the file")
            holder = h5.Group(owner) if isinstance(owner, h5.h5g.GroupID) else h5.Dataset(owner)
            value = holder.attrs[name]
            texts = [_text(item) for item in (value if shape else [value])]
            self._count(texts)
            found[name] = texts if shape else texts[0]
        if found:
            self.attributes[path] = found

    def _count(self, texts: list[str]) -> None:
        """Names and attributes stand in memory once more at the other end of the pipe."""
        self.text += sum(map(len, texts)) + 64 * len(texts)
        if self.text > MOST_TEXT:
            raise RefusedError(f"names and attributes of more than {MOST_TEXT} bytes")

    def dataset(self, dataset: Any, path: str, at: bytes) -> None:
        """Check how an array is stored, and what it would take."""
        self._count([path])
        what = f"array {path!a}"
        shape = dataset.shape
        if shape is None or len(shape) > 32:
            raise RefusedError(f"{what} has no shape of at most 32 sizes")
        self._attributes(dataset, path)
        dtype, size = self._dtype(dataset, path, what)
        claimed = size * math.prod(max(extent, 1) for extent in shape)
        if claimed >= MOST_BYTES:
            raise RefusedError(f"{what} has shape {shape}: more than memory can hold")
        plist = dataset.get_create_plist()
        layout = plist.get_layout()
        if layout == self.h5py.h5d.VIRTUAL:
            raise RefusedError(f"{what} is virtual: its elements lie in other files")
        if plist.get_external_count():
            raise RefusedError(f"{what} lies in another file")
        for index in range(plist.get_nfilters()):
            number, _, _, name = plist.get_filter(index)
            if number not in FILTERS:
                raise RefusedError(
                    f"{what} is packed by filter {number} ({name[:40]!a}): expected gzip, shuffle "
                    "or fletcher32"
                )
        stored = dataset.get_storage_size()
        if 0 not in shape:
            self.limits.check(what, stored, claimed)
            if layout != self.h5py.h5d.CHUNKED and claimed > self.limits.size:
                raise RefusedError(f"{what} claims {claimed} bytes of a file of {self.limits.size}")
        if layout == self.h5py.h5d.CHUNKED:
            self.limits.check(f"a chunk of {what}", stored, size * math.prod(plist.get_chunk()))
        self.datasets.append((path, at, dtype, shape))
        self.sizes.append(size * math.prod(shape))

    def _dtype(self, dataset: Any, path: str, what: str) -> tuple[str, int]:
        """(name, bytes) of the elements' dtype."""
        h5 = self.h5py
        kind = dataset.get_type()
        named = self.attributes.get(path, {}).get("dtype")
        # Keras writes bfloat16 as two bytes without a meaning, and the meaning beside them.
        if kind.get_class() == h5.h5t.OPAQUE and kind.get_size() == 2 and named == "bfloat16":
            return "bfloat16", 2
        if kind.get_class() in (h5.h5t.INTEGER, h5.h5t.FLOAT, h5.h5t.ENUM):
            dtype = kind.dtype
            if dtype.kind in "fiub" and dtype.itemsize <= 8:
                return dtype.name, dtype.itemsize
        raise RefusedError(f"{what} does not hold plain numbers")

    def table(self) -> bytes:
        """What is sent first."""
        arrays = [[path, dtype, shape] for path, _, dtype, shape in self.datasets]
        return json.dumps(
            {"attributes": self.attributes, "arrays": arrays}, ensure_ascii=False
        ).encode()

    def arrays(self, numpy: Any) -> Iterator[Any]:
        """The arrays one after the other."""
        for path, at, dtype, shape in self.datasets:
            try:
                dataset = self.h5py.h5d.open(self.root, at)
                if dtype == "bfloat16":
                    array = numpy.empty(shape, "V2")
                    memory = dataset.get_type()
                else:
                    array = numpy.empty(shape, dtype)
                    memory = None
                if 0 not in shape:
                    dataset.read(self.h5py.h5s.ALL, self.h5py.h5s.ALL, array, memory)
            except MemoryError:
                raise RefusedError(
                    f"array {path!a} takes more memory than the file justifies"
                ) from None
            except Exception as error:  # noqa: BLE001  h5py gives what the library says
                raise RefusedError(f"array {path!a} cannot be read: {_line(error)}") from None
            yield array


def survey(h5py: Any, file: Any, limits: Limits) -> Survey:
    """What an open file holds; RefusedError where that is not plain arrays in groups."""
    found = Survey(h5py, limits)
    try:
        # Through the descriptor, not a name: there is no other file that a name could lead to.
        access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
        access.set_fileobj_driver(h5py.h5fd.fileobj_driver, file)
        opened = h5py.h5f.open(b"file", h5py.h5f.ACC_RDONLY, fapl=access)
        cache = opened.get_mdc_config()
        cache.set_initial_size, cache.initial_size = True, MOST_CACHED // 4
        cache.min_size, cache.max_size = MOST_CACHED // 4, MOST_CACHED
        opened.set_mdc_config(cache)
        found.root = h5py.h5g.open(opened, b"/")
        found.group(found.root, "")
    except RefusedError:
        raise
    except MemoryError:
        raise RefusedError("it asks for more memory than its size justifies") from None
    except RecursionError:
        raise RefusedError("its groups are nested too deep") from None
    except Exception as error:  # noqa: BLE001  h5py gives what the library says
        raise RefusedError(f"no HDF5 file, or a broken one: {_line(error)}") from None
    return found


def _text(value: Any) -> str:
    """A text as JSON may carry it."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.encode("utf-8", "replace").decode()


def _line(error: Exception) -> str:
    """An error of the library, short and on one line."""
    return " ".join(ascii(str(error))[1:-1].split())[:200] or type(error).__name__


def limit(seconds: int, memory: int) -> None:
    """Take from this process what reading a file needs none of."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    room = pages * resource.getpagesize() + memory
    for kind, most in (
        (resource.RLIMIT_AS, room),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))


def send(pipe: Any, part: Any) -> None:
    """A length, and as many bytes."""
    pipe.write(struct.pack("<Q", len(part)))
    pipe.write(part)


def serve(h5py: Any, numpy: Any, file: Any, pipe: Any, request: dict[str, Any]) -> None:
    """Write an open file to the pipe."""
    size = os.fstat(file.fileno()).st_size
    limits = Limits(size, request["ratio"], request["slack"], request["most"])
    try:
        found = survey(h5py, file, limits)
        if sum(found.sizes) > request["total"]:
            raise RefusedError(
                f"its arrays would take {sum(found.sizes)} bytes: more than {size} bytes justify"
            )
        # An array, and beside it a chunk packed and unpacked.
        limit(request["seconds"], TABLES + 3 * max(found.sizes, default=0))
        send(pipe, found.table())
        for array in found.arrays(numpy):
            send(pipe, memoryview(array.reshape(-1).view("u1")))
    except RefusedError as refusal:
        pipe.write(struct.pack("<Q", PROBLEM))
        send(pipe, str(refusal).encode("utf-8", "replace"))


def main(request: dict[str, Any]) -> None:
    """Read the file open at `request["file"]` and write it to the pipe at `request["pipe"]`."""
    sys.path += request["path"]
    import h5py  # type: ignore[import-untyped]
    import numpy

    file = os.fdopen(request["file"], "rb", buffering=0)
    limit(request["seconds"], TABLES + 2 * os.fstat(file.fileno()).st_size)
    with os.fdopen(request["pipe"], "wb") as pipe:
        serve(h5py, numpy, file, pipe, request)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
