"""A pickle read as data: numbers, strings, containers, and the few names that a table explains.

Python's own unpickler imports what a file asks for and calls it. This one is a small machine over
the binary opcodes (protocols 1 to 5) that has no way to import or to call anything: a name such as
`torch._utils _rebuild_tensor_v2` is looked up in a table, and what does not stand there is refused.
Every instruction takes at least one byte and makes at most one small object, and there is a limit
to their number, so a file cannot ask for more than a bounded time and memory. Nothing recurses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from convkit.weights.bounds import Reader, shown

#: A network's pickle has about 30 instructions a tensor; four million run in seconds.
MOST_INSTRUCTIONS = 4_000_000
MOST_INTEGER_BYTES = 255
MOST_NAME = 256
#: Calls read what they are given, which is no more than the file unless it gives the same long
#: list again and again; so many items more are allowed.
MOST_ARGUMENTS = 16_000_000
#: From here on integers could be chosen to fall on one hash.
MOST_KEY = 1 << 60

Call = Callable[[tuple[object, ...]], object]


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle names, and what a call of it gives (None: no call)."""

    text: str
    call: Call | None = None


@runtime_checkable
class Stateful(Protocol):
    """An object that is made first and told what it holds by BUILD."""

    def set_state(self, state: object) -> None:
        """Take what it holds; ValueError if that cannot be."""


class _Mark:
    """Where a sequence of items begins on the stack."""

    __slots__ = ()


MARK = _Mark()


class Unpickler:
    """The machine: a reader, a stack and a memo."""

    __slots__ = ("arguments", "memo", "names", "persistent", "reader", "stack")

    def __init__(
        self, reader: Reader, names: Mapping[str, Name], persistent: Call | None = None
    ) -> None:
        self.reader = reader
        self.names = names
        self.persistent = persistent
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.arguments = 0

    def load(self) -> object:
        """Run to the end of one pickle, which leaves the reader behind it."""
        take = self.reader.take
        for _ in range(MOST_INSTRUCTIONS):
            code = take(1, "the next instruction")[0]
            if code == STOP:
                value = self._pop()
                if self.stack:
                    raise self.reader.fail("the pickle ends with values left over")
                return value
            instruction = INSTRUCTIONS.get(code)
            if instruction is None:
                raise self.reader.fail(
                    f"pickle instruction {bytes([code])!r} is not one that weights need"
                )
            instruction(self)
        raise self.reader.fail(f"more than {MOST_INSTRUCTIONS} pickle instructions")

    # Stack and memo

    def _push(self, value: object) -> None:
        self.stack.append(value)

    def _pop(self) -> object:
        if not self.stack or self.stack[-1] is MARK:
            raise self.reader.fail("a pickle instruction finds no value on the stack")
        return self.stack.pop()

    def _pop_to_mark(self) -> list[object]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise self.reader.fail("a pickle instruction finds no mark on the stack")

    def _top(self) -> object:
        value = self._pop()
        self.stack.append(value)
        return value

    def _remember(self, index: int) -> None:
        self.memo[index] = self._top()

    def _recall(self, index: int) -> None:
        if index not in self.memo:
            raise self.reader.fail(f"the pickle recalls value {index}, which it has not stored")
        self.stack.append(self.memo[index])

    # Plain values

    def number(self, layout: str) -> int:
        """An integer that stands in the pickle."""
        return self.reader.numbers(layout, "an integer")[0]

    def _float(self) -> None:
        self.stack.append(struct.unpack(">d", self.reader.take(8, "a number"))[0])

    def _integer(self, length: int) -> None:
        if length > MOST_INTEGER_BYTES:
            raise self.reader.fail(f"an integer of {length} bytes")
        data = self.reader.take(length, "an integer") if length else b""
        self.stack.append(int.from_bytes(data, "little", signed=True))

    def _text(self, length: int) -> None:
        try:
            self.stack.append(str(self.reader.take(length, "a string"), "utf-8"))
        except UnicodeDecodeError:
            raise self.reader.fail("a string is no UTF-8") from None

    def _old_string(self, length: int) -> None:
        # Python 2 had one type for text and bytes.
        data = bytes(self.reader.take(length, "a string"))
        try:
            self.stack.append(str(data, "utf-8"))
        except UnicodeDecodeError:
            self.stack.append(data)

    def _bytes(self, length: int) -> None:
        self.stack.append(bytes(self.reader.take(length, "bytes")))

    # Containers

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def _extend(self, items: list[object]) -> None:
        target = self._top()
        if type(target) is not list:
            raise self.reader.fail(f"items are added to {shown(target)}: expected a list")
        target.extend(items)

    def _update(self, items: list[object]) -> None:
        target = self._top()
        if type(target) is not dict:
            raise self.reader.fail(f"entries are set in {shown(target)}: expected a dictionary")
        if len(items) % 2:
            raise self.reader.fail("a dictionary's key has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self._key(key)] = value

    def _key(self, key: object) -> object:
        """Only keys of plain types: their hash neither recurses nor can be chosen to collide."""
        if type(key) is int and abs(key) < MOST_KEY:
            return key
        if key is None or type(key) in (str, bytes, bool, float):
            return key
        raise self.reader.fail(f"{shown(key)} as a dictionary's key")

    def _dictionary(self, items: list[object]) -> None:
        self.stack.append({})
        self._update(items)

    # Names, and calls of what the table allows

    def _line(self) -> str:
        begin = self.reader.position
        window = bytes(self.reader.data[begin : begin + MOST_NAME])
        length = window.find(b"\n")
        if length < 0:
            raise self.reader.fail("a name without an end")
        self.reader.position += length + 1
        try:
            return str(window[:length], "utf-8")
        except UnicodeDecodeError:
            raise self.reader.fail("a name is no UTF-8") from None

    def _global(self) -> None:
        module = self._line()
        self._name(module, self._line())

    def _stacked_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _name(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise self.reader.fail(f"a name must be a string, got {shown(module)}, {shown(name)}")
        if len(module) > MOST_NAME or len(name) > MOST_NAME:
            raise self.reader.fail(f"a name of more than {MOST_NAME} characters")
        full = f"{module}.{name}"
        if full not in self.names:
            raise self.reader.fail(
                f"the file asks for {shown(full)}, which is neither tensor nor container: refused "
                f"(save model.state_dict() instead)"
            )
        self.stack.append(self.names[full])

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Name) or function.call is None:
            what = function.text if isinstance(function, Name) else shown(function)
            raise self.reader.fail(f"the file calls {what}: refused")
        if type(arguments) is not tuple:
            raise self.reader.fail(f"the arguments of {function.text} are {shown(arguments)}")
        self._count(arguments)
        try:
            self.stack.append(function.call(arguments))
        except ValueError as error:
            raise self.reader.fail(f"{function.text}: {error}") from None

    def _count(self, arguments: tuple[object, ...]) -> None:
        """Add the sizes of a call's arguments to those of all calls before it, up to the limit."""
        self.arguments += len(arguments)
        if len(arguments) <= MOST_NAME:
            for argument in arguments:
                if isinstance(argument, (str, bytes, list, tuple, dict)):
                    self.arguments += len(argument)
        if self.arguments > MOST_ARGUMENTS + len(self.reader.data):
            raise self.reader.fail(f"calls with more than {MOST_ARGUMENTS} arguments")

    def _build(self) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, Name):
            raise self.reader.fail("the file sets attributes of a class or function: refused")
        # Attributes of a dictionary or a tensor (versions, hooks) say nothing about the weights.
        if isinstance(target, Stateful):
            self._count(state if type(state) is tuple else ())
            try:
                target.set_state(state)
            except ValueError as error:
                raise self.reader.fail(str(error)) from None

    def _persistent(self) -> None:
        identity = self._pop()
        if self.persistent is None:
            raise self.reader.fail("the pickle refers to data outside it, and there is none here")
        if type(identity) is not tuple:
            identity = (identity,)
        try:
            self.stack.append(self.persistent(identity))
        except ValueError as error:
            raise self.reader.fail(str(error)) from None


def _skip(count: int) -> Callable[[Unpickler], None]:
    def instruction(machine: Unpickler) -> None:
        machine.reader.take(count, "an instruction's argument")

    return instruction


def _constant(make: Callable[[], object]) -> Callable[[Unpickler], None]:
    return lambda machine: machine._push(make())


STOP = ord(".")
#: Opcode -> what it does. Left out: text of protocol 0, INST, OBJ, NEWOBJ_EX, EXT, buffers.
INSTRUCTIONS: dict[int, Callable[[Unpickler], None]] = {
    0x80: _skip(1),  # PROTO
    0x95: _skip(8),  # FRAME
    ord("("): _constant(lambda: MARK),
    ord("0"): lambda machine: _ignore(machine._pop()),
    ord("1"): lambda machine: _ignore(machine._pop_to_mark()),
    ord("2"): lambda machine: machine._push(machine._top()),  # DUP
    ord("N"): _constant(lambda: None),
    0x88: _constant(lambda: True),
    0x89: _constant(lambda: False),
    ord("J"): lambda machine: machine._push(machine.number("<i")),
    ord("K"): lambda machine: machine._push(machine.number("<B")),
    ord("M"): lambda machine: machine._push(machine.number("<H")),
    0x8A: lambda machine: machine._integer(machine.number("<B")),
    0x8B: lambda machine: machine._integer(machine.number("<I")),
    ord("G"): lambda machine: machine._float(),
    ord("T"): lambda machine: machine._old_string(machine.number("<I")),
    ord("U"): lambda machine: machine._old_string(machine.number("<B")),
    ord("X"): lambda machine: machine._text(machine.number("<I")),
    0x8C: lambda machine: machine._text(machine.number("<B")),
    0x8D: lambda machine: machine._text(machine.number("<Q")),
    ord("B"): lambda machine: machine._bytes(machine.number("<I")),
    ord("C"): lambda machine: machine._bytes(machine.number("<B")),
    0x8E: lambda machine: machine._bytes(machine.number("<Q")),
    0x96: lambda machine: machine._bytes(machine.number("<Q")),  # BYTEARRAY8
    ord(")"): _constant(tuple),
    0x85: lambda machine: machine._tuple(1),
    0x86: lambda machine: machine._tuple(2),
    0x87: lambda machine: machine._tuple(3),
    ord("t"): lambda machine: machine._push(tuple(machine._pop_to_mark())),
    ord("]"): _constant(list),
    ord("l"): lambda machine: machine._push(machine._pop_to_mark()),
    ord("a"): lambda machine: machine._extend([machine._pop()]),
    ord("e"): lambda machine: machine._extend(machine._pop_to_mark()),
    ord("}"): _constant(dict),
    ord("d"): lambda machine: machine._dictionary(machine._pop_to_mark()),
    ord("s"): lambda machine: machine._update([machine._pop(), machine._pop()][::-1]),
    ord("u"): lambda machine: machine._update(machine._pop_to_mark()),
    0x8F: _constant(list),  # a set: nothing asks for its items, so a list will do
    0x90: lambda machine: machine._extend(machine._pop_to_mark()),
    0x91: lambda machine: machine._push(machine._pop_to_mark()),  # FROZENSET
    ord("c"): lambda machine: machine._global(),
    0x93: lambda machine: machine._stacked_global(),
    ord("R"): lambda machine: machine._reduce(),
    0x81: lambda machine: machine._reduce(),  # NEWOBJ
    ord("b"): lambda machine: machine._build(),
    ord("Q"): lambda machine: machine._persistent(),
    ord("q"): lambda machine: machine._remember(machine.number("<B")),
    ord("r"): lambda machine: machine._remember(machine.number("<I")),
    0x94: lambda machine: machine._remember(len(machine.memo)),
    ord("h"): lambda machine: machine._recall(machine.number("<B")),
    ord("j"): lambda machine: machine._recall(machine.number("<I")),
}


def _ignore(value: object) -> None:
    """Leave a value where it is."""
