"""Layer: the settings of a layer of the file, each of which must be read by its translator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convkit.keras.network import LayerConfig
from convkit.weights.bounds import shown

Pair = tuple[int, int]
#: No window, stride or pad is larger.
MOST_SIZE = 1 << 16
#: No number is beyond float32's range.
MOST_NUMBER = 3.4e38
#: Settings that matter for training alone, or only repeat what stands elsewhere.
IDLE = (
    "name", "trainable", "dtype", "batch_input_shape", "batch_shape", "input_shape", "seed",
    "noise_shape", "activity_regularizer", "quantization_config", "momentum", "fused",
    "virtual_batch_size", "synchronized", "implementation", "lora_rank", "lora_alpha",
    "input_dim", "sparse", "ragged", "renorm_momentum", "renorm_clipping",
)  # fmt: skip
IDLE_ENDS = ("_initializer", "_regularizer", "_constraint")


class Unsupported(ValueError):  # noqa: N818
    """What the file means is clear, but it is not in this library."""


class Layer:
    """A layer of the file as the translators see it."""

    def __init__(self, config: LayerConfig, path: tuple[str, ...], keras_3: bool) -> None:
        self.name = config.name
        self.kind = config.kind
        self.module = config.module
        self.path = path
        self.keras_3 = keras_3
        self._settings = config.settings
        self._read: set[str] = set()

    def unread(self) -> list[str]:
        """Settings that are given and that no translator asked for."""
        return [
            f"{key}={shown(value)}"
            for key, value in self._settings.items()
            if key not in self._read
            and key not in IDLE
            and not key.endswith(IDLE_ENDS)
            and value is not None
            and value is not False
        ]

    def ignore(self) -> None:
        """No setting matters when a network is run."""
        self._read.update(self._settings)

    def get(self, key: str, default: Any = None) -> Any:
        self._read.add(key)
        return self._settings.get(key, default)

    def integer(self, key: str, default: int | None = None, least: int = 1) -> int:
        return self._integer(key, self.get(key, default), least)

    def _integer(self, key: str, value: Any, least: int) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not least <= value < 1 << 31:
            raise ValueError(f"{key}={shown(value)} must be an integer of at least {least}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key, default)
        if value not in (True, False):
            raise ValueError(f"{key}={shown(value)} must be true or false")
        return bool(value)

    def number(self, key: str, default: float) -> float:
        return finite(key, self.get(key, default))

    def word(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        """A setting of which some values are supported."""
        value = self.get(key, default)
        if not isinstance(value, str):
            raise ValueError(f"{key}={shown(value)} must be a string")
        if value.lower() not in allowed:
            raise Unsupported(f"{self.kind} with {key}={shown(value)}")
        return value.lower()

    def pair(self, key: str, default: int | None = None, least: int = 1) -> Pair:
        """(vertical, horizontal) of one number or two."""
        value = self.get(key)
        return self._pair(key, default if value is None else value, least)

    def _pair(self, key: str, value: Any, least: int) -> Pair:
        both = value if isinstance(value, list) else [value, value]
        if len(both) != 2:
            raise ValueError(f"{key}={value!r} must be one number or two")
        rows, columns = (self._integer(key, each, least) for each in both)
        if max(rows, columns) > MOST_SIZE:
            raise ValueError(f"{key}={(rows, columns)} must be at most {MOST_SIZE}")
        return rows, columns

    def sides(self, key: str) -> tuple[Pair, Pair]:
        """((top, bottom), (left, right)) of one number, two, or two pairs."""
        value = self.get(key)
        rows, columns = value if isinstance(value, list) and len(value) == 2 else (value, value)
        return self._pair(key, rows, 0), self._pair(key, columns, 0)

    def channels_last(self) -> None:
        """Refuse the other layout, for which files are rare and paddings are other."""
        self.word("data_format", "channels_last", ("channels_last",))


def finite(key: str, value: Any) -> float:
    """A number of a setting."""
    if isinstance(value, dict):  # Keras 3 writes the numbers of NumPy so
        inside = value.get("config")
        value = inside.get("value") if isinstance(inside, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key}={shown(value)} must be a number")
    if not abs(value) <= MOST_NUMBER:  # nor NaN
        raise ValueError(f"{key}={shown(value)} must be a number that float32 can hold")
    return float(value)


def numbers(key: str, value: Any) -> list[float]:
    """One number or a list of them, nested as Keras writes arrays, in one row."""
    found: list[float] = []
    waiting = [value]  # the next one last
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict) and isinstance(each.get("config"), dict):
            each = each["config"].get("value")
        if isinstance(each, list):
            if len(each) + len(found) + len(waiting) > MOST_SIZE:
                raise ValueError(f"{key} has more than {MOST_SIZE} numbers")
            waiting += reversed(each)
        else:
            found.append(finite(key, each))
    if not found:
        raise ValueError(f"{key}={shown(value)} must be a number or a list of them")
    return found


def one_number(key: str, value: Any) -> float:
    """A number that Keras may have written as an array of one."""
    found = numbers(key, value)
    if len(found) > 1:
        raise ValueError(f"{key} holds {len(found)} numbers: expected one")
    return found[0]


#: Settings read and checked -> what writes the nodes, given what the layer is called with.
Apply = Callable[..., Any]
