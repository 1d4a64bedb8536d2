"""The environment variables convkit reads, all in this place."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from convkit import _convkit

#: Name -> what it does; `convkit.info` shows those that are set.
VARIABLES = {
    "CONVKIT_FORCE_ISA": "the instruction set to use instead of the best available one",
    "CONVKIT_SPIN_US": "microseconds a worker looks for more work before it sleeps",
}


def apply_environment() -> None:
    """Choose the instruction set and the spin time as the variables say; called on import."""
    isa = os.environ.get("CONVKIT_FORCE_ISA", "")
    if isa:
        try:
            _convkit.select_isa(isa)
        except ValueError as error:
            raise ValueError(f"CONVKIT_FORCE_ISA={isa}: {error}") from None
    spin = os.environ.get("CONVKIT_SPIN_US", "")
    if spin and not (spin.isdecimal() and int(spin) <= 1000):
        raise ValueError(f"CONVKIT_SPIN_US={spin} must be whole microseconds from 0 to 1000")
    if spin:
        _convkit.set_spin_microseconds(int(spin))
    elif _convkit.has_cpu_quota():
        _convkit.set_spin_microseconds(0)  # spinning would eat the quota that work needs


def refuse(error: ValueError) -> NoReturn:
    """Raise it; or, where it is the `convkit` command that imports the package, say it in one line.

    That import comes before any code of the command itself.
    """
    command = os.path.basename(sys.argv[0]) if sys.argv else ""
    module = command == "-m" and "-m convkit" in " ".join(sys.orig_argv)
    if command not in ("convkit", "convkit.exe") and not module:
        raise error
    print(f"convkit: {error}", file=sys.stderr)
    sys.exit(2)


def openmp_threads() -> int | None:
    """OMP_NUM_THREADS as OpenMP reads it (the first of a list), or None where it says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def variables_set() -> dict[str, str]:
    """The CONVKIT_* variables of this process, unknown ones included."""
    return {name: value for name, value in os.environ.items() if name.startswith("CONVKIT_")}
