"""Machine: what a cost is reckoned with: FMA peak, size and bandwidth of caches and memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from convkit import _convkit

#: float32 numbers in a vector.
LANES = {"avx512": 16, "avx2": 8, "baseline": 4, "neon": 4}


@dataclass(frozen=True, slots=True)
class Machine:
    """One core, as costs see it.

    Attributes
    ----------
    name : str
        The processor.
    source : str
        Where the figures come from: "built in", or "guessed" from the instruction set.
    peak : float
        float32 operations a second of the FMA units; float64 runs at half.
    caches : tuple of (bytes, bytes a second)
        What one core has of each level, nearest first, and how fast it reads from there.
    bandwidth : float
        Bytes a second that one core reads from memory.
    lanes : int
        float32 numbers in a vector of the instruction set in use.
    """

    name: str
    source: str
    peak: float
    caches: tuple[tuple[int, float], ...]
    bandwidth: float
    lanes: int = 16

    @property
    def cold_bandwidth(self) -> float:
        """Bytes a second for weights that the rest of a network has pushed out: the last level."""
        return self.caches[-1][1]

    def fma_peak(self, dtype: str) -> float:
        """Operations a second in this dtype; a multiply-add is two."""
        return self.peak / 2 if dtype == "float64" else self.peak

    def read_seconds(self, size: int) -> float:
        """Seconds to stream what fills `size` bytes, from the nearest level that holds it."""
        for capacity, speed in self.caches:
            if size <= capacity:
                return size / speed
        return size / self.bandwidth


KIB, MIB = 1 << 10, 1 << 20
#: Measured: (what /proc/cpuinfo must show, the machine with AVX-512, the peak by ISA).
ZEN_4 = Machine(
    "Zen 4", "built in", 117e9, ((32 * KIB, 200e9), (1 * MIB, 90e9), (16 * MIB, 30e9)), 20e9
)
XEON_AMX = Machine(
    "Xeon with AMX", "built in", 190e9, ((48 * KIB, 300e9), (2 * MIB, 150e9), (32 * MIB, 29e9)),
    16e9,
)  # fmt: skip
PEAKS = {
    "Zen 4": {"avx512": 117e9, "avx2": 117e9, "baseline": 46e9},
    "Xeon with AMX": {"avx512": 190e9, "avx2": 118e9, "baseline": 50e9},
}


def this_machine() -> Machine:
    """The profile of this processor with the instruction set in use."""
    return _profile(_convkit.current_isa())


@lru_cache(maxsize=8)
def _profile(isa: str) -> Machine:
    model, flags = _processor()
    if "amx_tile" in flags:
        known = XEON_AMX
    elif "AMD" in model and "avx512_bf16" in flags:
        known = ZEN_4
    else:
        # Two FMA units at 3 GHz, or one multiply and one add unit; caches as most cores have them.
        peak = LANES.get(isa, 4) * (2 if isa == "baseline" else 4) * 3e9
        return Machine(
            model or "unknown", "guessed", peak,
            ((32 * KIB, 150e9), (512 * KIB, 70e9), (8 * MIB, 25e9)), 12e9, LANES.get(isa, 4),
        )  # fmt: skip
    return replace(known, peak=PEAKS[known.name][isa], lanes=LANES[isa])


def _processor() -> tuple[str, frozenset[str]]:
    """The model's name and the features that the system lists."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", frozenset()
    fields: dict[str, str] = {}
    for line in text.split("\n\n", 1)[0].splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    model = f"{fields.get('vendor_id', '')} {fields.get('model name', '')}".strip()
    return model, frozenset(fields.get("flags", "").split())


def physical_memory() -> int:
    """Bytes of memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
