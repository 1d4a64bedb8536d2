"""The kernels of convkit. Private: use the package."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

PROBLEM_FIELDS: int
NO_LIMIT: int
SANITIZED: bool

def built_isas() -> list[str]: ...
def available_isas() -> list[str]: ...
def current_isa() -> str: ...
def select_isa(name: str) -> None: ...
def available_threads(root: str = "") -> int: ...
def has_cpu_quota() -> bool: ...
def cpu_quota(root: str = "") -> float: ...
def set_spin_microseconds(microseconds: int) -> None: ...
def workers() -> tuple[int, int]: ...
def threads_that_meet(threads: int, seconds: float) -> list[int]: ...
def release_memory() -> int: ...
def idle_memory() -> int: ...
def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]: ...
def set_checking(on: bool) -> None: ...
def algorithms() -> list[str]: ...
def operators() -> list[str]: ...
def variants(name: str) -> list[tuple[str, int, int, int]]: ...
def sizes(name: str, problem: tuple[int, ...], variant: int = -1) -> tuple[int, int, int]: ...
def items(name: str, problem: tuple[int, ...], variant: int = -1) -> list[int]: ...
def sweeps() -> list[str]: ...
def sweep(
    name: str,
    function: int,
    a: NDArray[Any],
    b: NDArray[Any] | None,
    y: NDArray[Any],
    tables: list[NDArray[np.int64] | None],
    reduced: int,
    fill: int,
    activation: int,
    alpha: float,
    beta: float,
    threads: int,
) -> None: ...

class Plan:
    def __init__(
        self,
        name: str,
        problem: tuple[int, ...],
        w: NDArray[Any] | None,
        bias: NDArray[Any] | None,
        activation: int,
        a: float,
        b: float,
        variant: int,
        limit: int,
    ) -> None: ...
    def run(
        self,
        x: NDArray[Any],
        residual: NDArray[Any] | None,
        y: NDArray[Any],
        threads: int,
        indices: NDArray[np.int64] | None = None,
    ) -> None: ...
    @property
    def sizes(self) -> tuple[int, int, int]: ...
    @property
    def variant(self) -> str: ...

Place = tuple[int, int, int] | None
Step = (
    tuple[Sweep, Place, Place, Place]
    | tuple[Any, int, tuple[int, ...], Place, Place, Place, Place, Place, Place, tuple[int, ...]]
)

class Sweep:
    def __init__(
        self,
        name: str,
        function: int,
        a: NDArray[Any],
        b: NDArray[Any] | None,
        y: NDArray[Any],
        tables: list[NDArray[np.int64] | None],
        reduced: int,
        fill: int,
        activation: int,
        alpha: float,
        beta: float,
    ) -> None: ...

class Program:
    def __init__(
        self, steps: list[Step], constants: list[NDArray[Any]], arena_bytes: int
    ) -> None: ...
    def run(
        self, inputs: list[NDArray[Any]], outputs: list[NDArray[Any]], threads: int
    ) -> None: ...
    def profile(
        self, inputs: list[NDArray[Any]], outputs: list[NDArray[Any]], threads: int
    ) -> list[float]: ...
