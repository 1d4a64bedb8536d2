"""info() and release_memory(): what this installation is, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass

from convkit import _convkit
from convkit._version import __version__
from convkit.environment import variables_set
from convkit.machine import Machine, this_machine
from convkit.threads import get_num_threads


@dataclass(frozen=True, slots=True)
class Info:
    """What `info` found; prints as a list."""

    version: str
    isa: str
    isas: tuple[str, ...]
    machine: Machine
    threads: int
    gpus: tuple[str, ...]
    variables: dict[str, str]

    def __str__(self) -> str:
        m = self.machine
        caches = ", ".join(
            f"{size >> 10} KiB at {speed / 1e9:.0f} GB/s" for size, speed in m.caches
        )
        variables = ", ".join(f"{name}={value}" for name, value in self.variables.items())
        return "\n".join(
            (
                f"convkit          {self.version}",
                f"instruction set  {self.isa} (available: {', '.join(self.isas)})",
                f"machine          {m.name}, profile {m.source}",
                f"  FMA peak       {m.peak / 1e9:.0f} GFLOP/s a core in float32",
                f"  caches         {caches}",
                f"  memory         {m.bandwidth / 1e9:.0f} GB/s a core",
                f"threads          {self.threads}",
                f"GPUs             {', '.join(self.gpus) or 'none used by this version'}",
                f"variables        {variables or 'no CONVKIT_* variable is set'}",
            )
        )

    __repr__ = __str__


def info() -> Info:
    """Version, instruction sets, machine profile and its source, threads, variables set.

    Examples
    --------
    >>> import convkit
    >>> convkit.info().version == convkit.__version__
    True
    """
    return Info(
        __version__,
        _convkit.current_isa(),
        tuple(_convkit.available_isas()),
        this_machine(),
        get_num_threads(),
        (),
        variables_set(),
    )


def release_memory() -> int:
    """Give the system back the scratch that is kept for the next call; returns the bytes.

    Examples
    --------
    >>> import convkit
    >>> convkit.release_memory() >= 0
    True
    """
    return _convkit.release_memory()
