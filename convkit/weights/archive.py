"""The members of a zip archive, read with bounds.

Written here and not left to `zipfile`, which takes sizes on trust and has many ways to fail: a
member may unpack to 100 times its size and 1 MiB unless the caller allows more; what is stored
unpacked is not copied.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from convkit.weights.bounds import Budget, Reader, shown

STORED, DEFLATED = 0, 8
ENCRYPTED = 1
#: Sizes of the fixed parts, after their four-byte signatures.
END, END64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
MOST_COMMENT = 0xFFFF
IN_ZIP64 = 0xFFFFFFFF
MOST_MEMBERS = 1 << 18


class Member(NamedTuple):
    """A file inside the archive, as the directory at the end states it."""

    name: str
    method: int
    checksum: int
    packed: int
    size: int
    header: int


class Archive:
    """A zip archive in memory: names -> bytes."""

    __slots__ = ("budget", "data", "members")

    def __init__(self, data: bytes, budget: Budget) -> None:
        self.data = memoryview(data)
        self.budget = budget
        self.members = _directory(data)

    def read(self, name: str) -> memoryview:
        """The unpacked bytes of a member, its checksum verified."""
        if name not in self.members:
            raise ValueError(f"the archive has no member {shown(name)}")
        member = self.members[name]
        what = f"member {shown(name)}"
        self.budget.unpack(member.packed, member.size, what)
        reader = Reader(self.data, "", member.header)
        if bytes(reader.take(4, f"header of {what}")) != b"PK\x03\x04":
            raise reader.fail(f"no header of {what} stands here")
        reader.take(22, f"header of {what}")
        name_size, extra_size = reader.numbers("<HH", f"header of {what}")
        reader.take(name_size + extra_size, f"header of {what}")
        packed = reader.take(member.packed, what)
        content = packed if member.method == STORED else self._inflate(packed, member)
        if len(content) != member.size:
            raise ValueError(f"{what} unpacks to other than the {member.size} bytes it states")
        if zlib.crc32(content) != member.checksum:
            raise ValueError(f"{what} does not match its checksum: the file is damaged")
        return content

    def _inflate(self, packed: memoryview, member: Member) -> memoryview:
        """Unpack at most one byte more than stated: enough to see that there is too much."""
        self.budget.take(member.size, f"member {shown(member.name)}")
        try:
            return memoryview(zlib.decompressobj(-15).decompress(packed, member.size + 1))
        except zlib.error as error:
            raise ValueError(f"member {shown(member.name)} does not unpack: {error}") from None


def _directory(data: bytes) -> dict[str, Member]:
    """Name -> member, of the central directory."""
    end = data.rfind(END, max(len(data) - 22 - MOST_COMMENT, 0))
    if end < 0:
        raise ValueError("no zip archive, or cut off: the directory at its end is missing")
    reader = Reader(memoryview(data), "directory: ", end + 4)
    *_, count, _, start, _ = reader.numbers("<HHHHIIH", "end of directory")
    locator = data.find(END64_LOCATOR, max(end - 20, 0), end)
    if locator >= 0:
        _, end64, _ = Reader(memoryview(data), "directory: ", locator + 4).numbers(
            "<IQI", "zip64 locator"
        )
        reader = Reader(memoryview(data), "directory: ", end64)
        signature, *_, count, _, start = reader.numbers("<IQHHIIQQQQ", "zip64 end of directory")
        if signature != 0x06064B50:
            raise reader.fail("no zip64 end of directory stands here")
    if count > MOST_MEMBERS:
        raise ValueError(f"directory: {count} members, at most {MOST_MEMBERS} are read")
    reader = Reader(memoryview(data), "directory: ", start)
    members: dict[str, Member] = {}
    for _ in range(count):
        member = _member(reader)
        if member.name in members:
            raise ValueError(f"directory: member {shown(member.name)} stands twice")
        members[member.name] = member
    return members


def _member(reader: Reader) -> Member:
    """The next entry of the directory."""
    if bytes(reader.take(4, "entry")) != b"PK\x01\x02":
        raise reader.fail("no entry stands here")
    (_, _, flags, method, _, _, checksum, packed, size, name_size, extra_size, comment_size,
     _, _, _, header) = reader.numbers("<HHHHHHIIIHHHHHII", "entry")  # fmt: skip
    try:
        name = str(reader.take(name_size, "name"), "utf-8")
    except UnicodeDecodeError:
        raise reader.fail("the name of a member is no UTF-8") from None
    extra = Reader(reader.take(extra_size, "extra field"), f"extra field of {shown(name)}: ")
    reader.take(comment_size, "comment")
    # Fields too large for 32 bits stand, in this order, in the extra field of kind 1.
    while IN_ZIP64 in (packed, size, header):
        kind, length = extra.numbers("<HH", "zip64 sizes")
        field = Reader(extra.take(length, "zip64 sizes"), extra.place)
        if kind == 1:
            size = field.numbers("<Q", "size")[0] if size == IN_ZIP64 else size
            packed = field.numbers("<Q", "packed size")[0] if packed == IN_ZIP64 else packed
            header = field.numbers("<Q", "offset")[0] if header == IN_ZIP64 else header
            break
    if flags & ENCRYPTED:
        raise ValueError(f"member {shown(name)} is encrypted: expected a plain archive")
    if method not in (STORED, DEFLATED):
        raise ValueError(f"member {shown(name)} is packed by method {method}: expected 0 or 8")
    if method == STORED and size != packed:
        raise ValueError(f"member {shown(name)} is stored, but {packed} bytes hold {size}")
    return Member(name, method, checksum, packed, size, header)
