"""The names that a PyTorch pickle of weights may use, and the tensors made of them.

Tensors are views of storages, described and checked here, but not yet read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from convkit.weights.bounds import DTYPES, shown, sizes
from convkit.weights.numpy_pickle import NUMPY_NAMES, NumpyArray
from convkit.weights.unpickle import Name


@dataclass(frozen=True, slots=True)
class Storage:
    """Elements `begin` to `begin + count` of the storage `key`."""

    key: str
    dtype: str
    count: int
    begin: int = 0

    def part(self, begin: int, count: int) -> Storage:
        """A view of it, inside it."""
        if begin + count > self.count:
            raise ValueError(
                f"a view of storage {shown(self.key)} reaches element {begin + count} "
                f"of {self.count}"
            )
        return replace(self, begin=self.begin + begin, count=count)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A strided view of a storage, in elements of `dtype`."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


#: Storage classes by their names without "Storage". Untyped ones hold bytes.
_STORAGE_DTYPES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16",
    "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8",
    "Bool": "bool", "ComplexFloat": "complex64", "ComplexDouble": "complex128",
    "Untyped": "uint8", "_Untyped": "uint8",
}  # fmt: skip
#: Full name of a storage class -> dtype. The device it was on says nothing.
STORAGES = {
    f"{module}.{stem}Storage": dtype
    for module in ("torch", "torch.cuda", "torch.storage")
    for stem, dtype in _STORAGE_DTYPES.items()
}


def _tensor(arguments: tuple[object, ...], dtype: str | None = None) -> Tensor:
    """storage, offset, shape, strides: common to all versions of `_rebuild_tensor`."""
    if len(arguments) < 4:
        raise ValueError(f"{len(arguments)} arguments, expected at least 4")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage):
        raise ValueError(f"a tensor's storage must be one, got {shown(storage)}")
    (first,) = sizes("offset", (offset,))
    return Tensor(
        storage, first, sizes("shape", shape), sizes("strides", strides), dtype or storage.dtype
    )


def _plain_bits(metadata: object) -> None:
    """Refuse tensors that are stored negated or conjugated."""
    if isinstance(metadata, dict) and (metadata.get("conj") or metadata.get("neg")):
        raise ValueError("the tensor is a lazy conjugate or negative: save tensor.resolve_conj()")


def _tensor_v2(arguments: tuple[object, ...]) -> Tensor:
    _plain_bits(arguments[6] if len(arguments) > 6 else None)
    return _tensor(arguments)


def _tensor_v3(arguments: tuple[object, ...]) -> Tensor:
    """Of a dtype without a storage class: the storage is bytes, offset and strides are elements."""
    dtype = arguments[6] if len(arguments) > 6 else None
    name = dtype.text.removeprefix("torch.") if isinstance(dtype, Name) else ""
    if name not in DTYPES:
        raise ValueError(f"dtype {name or shown(dtype)}: expected one of {', '.join(DTYPES)}")
    _plain_bits(arguments[7] if len(arguments) > 7 else None)
    return _tensor(arguments, name)


def _first_tensor(arguments: tuple[object, ...]) -> Tensor:
    """Of a parameter, or of a tensor that was on another device: the tensor it wraps."""
    if not arguments or not isinstance(arguments[0], Tensor):
        raise ValueError(f"expected a tensor, got {shown(arguments[0] if arguments else ())}")
    return arguments[0]


def _numpy_tensor(arguments: tuple[object, ...]) -> NumpyArray:
    """Of a tensor that was on a TPU: the array its elements were saved as."""
    if not arguments or not isinstance(arguments[0], NumpyArray):
        raise ValueError(f"expected an array, got {shown(arguments[0] if arguments else ())}")
    return arguments[0]


def _from_type(arguments: tuple[object, ...]) -> Tensor:
    """(function, type, its arguments, attributes): a tensor with attributes of its own."""
    if len(arguments) != 4:
        raise ValueError(f"{len(arguments)} arguments, expected 4")
    function, kind, inner, _ = arguments
    if not isinstance(function, Name) or function.text not in _REBUILDS:
        raise ValueError(f"builds through {shown(function)}: refused")
    if not isinstance(kind, Name) or kind.text not in _TENSOR_TYPES:
        raise ValueError(f"builds a {shown(kind)}: expected a torch.Tensor")
    if not isinstance(inner, tuple):
        raise ValueError(f"arguments of {function.text} are {shown(inner)}")
    return _REBUILDS[function.text](inner)


def _ordered_dict(arguments: tuple[object, ...]) -> dict[object, object]:
    """OrderedDict(), or as Python 2 wrote it, OrderedDict([[key, value], ...])."""
    entries: dict[object, object] = {}
    pairs = arguments[0] if arguments else []
    if len(arguments) > 1 or not isinstance(pairs, (list, tuple)):
        raise ValueError(f"arguments {shown(pairs)}: expected a list of pairs")
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or type(pair[0]) is not str:
            raise ValueError(f"{shown(pair)} is no pair of a name and a value")
        entries[pair[0]] = pair[1]
    return entries


def _encode(arguments: tuple[object, ...]) -> bytes:
    """bytes as protocol 2 writes them: text with a character for each byte."""
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] != "latin1":
        raise ValueError("arguments are not a text and 'latin1'")
    try:
        return arguments[0].encode("latin1")
    except UnicodeEncodeError:
        raise ValueError("the text has characters that are no bytes") from None


def _no_bytes(arguments: tuple[object, ...]) -> bytes:
    """bytes(): how protocol 2 writes none."""
    if arguments:
        raise ValueError("has arguments: expected none")
    return b""


def _given(arguments: tuple[object, ...]) -> object:
    """The first argument itself: of a size, a set or a counter no more is needed."""
    return arguments[0] if arguments else []


def _nothing(arguments: tuple[object, ...]) -> None:
    """A device or a layout: not part of the weights."""


_REBUILDS = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _first_tensor,
    "torch._utils._rebuild_parameter_with_state": _first_tensor,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first_tensor,
}
_TENSOR_TYPES = {
    "torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.Parameter",
    *(name.removesuffix("Storage") + "Tensor" for name in STORAGES),
}  # fmt: skip

_BUILTINS = ("set", "frozenset", "bytearray", "complex")
#: Every name that is understood. What is not in here is refused.
NAMES: dict[str, Name] = {
    name: Name(name, call)
    for name, call in {
        **_REBUILDS,
        "torch._utils._rebuild_device_tensor_from_numpy": _numpy_tensor,
        "torch._utils._rebuild_xla_tensor": _numpy_tensor,
        "torch._tensor._rebuild_from_type": _from_type,
        "torch._tensor._rebuild_from_type_v2": _from_type,
        "torch.Size": _given,
        "torch.device": _nothing,
        "torch.serialization._get_layout": _nothing,
        "collections.OrderedDict": _ordered_dict,
        "collections.Counter": _given,
        "_codecs.encode": _encode,
        "builtins.bytes": _no_bytes,
        "__builtin__.bytes": _no_bytes,
        **dict.fromkeys((f"builtins.{kind}" for kind in _BUILTINS), _given),
        **dict.fromkeys((f"__builtin__.{kind}" for kind in _BUILTINS), _given),
        **dict.fromkeys(STORAGES),
        **dict.fromkeys(_TENSOR_TYPES),
        **dict.fromkeys(f"torch.{name}" for name in DTYPES),
    }.items()
} | NUMPY_NAMES
