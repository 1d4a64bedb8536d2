"""The members of a tar archive as PyTorch 0.1 wrote it: plain files behind 512-byte headers."""

from __future__ import annotations

from collections.abc import Sequence

from convkit.weights.bounds import Reader, shown

BLOCK = 512
PLAIN_FILE = (b"0", b"\0")


def read_tar_members(contents: bytes, wanted: Sequence[str]) -> dict[str, memoryview]:
    """Name -> bytes of the wanted members."""
    reader = Reader(memoryview(contents), "tar: ")
    members: dict[str, memoryview] = {}
    while len(contents) - reader.position >= BLOCK:
        header = bytes(reader.take(BLOCK, "header"))
        if not any(header):
            break
        name = header[:100].rstrip(b"\0").decode("latin-1")
        digits = header[124:136].strip(b" \0")
        if not digits.isdigit() or any(digit > ord("7") for digit in digits):
            raise reader.fail(f"member {shown(name)} has size {shown(digits.decode('latin-1'))}")
        size = int(digits, 8)
        content = reader.take(size, f"member {shown(name)}")
        reader.position = min(reader.position + -size % BLOCK, len(contents))
        if header[156:157] in PLAIN_FILE and name.removeprefix("./") in wanted:
            members[name.removeprefix("./")] = content
    missing = [name for name in wanted if name not in members]
    if missing:
        raise ValueError(f"the tar archive has no member {', '.join(missing)}")
    return members
