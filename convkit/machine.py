"""Machine: what a cost is reckoned with: FMA peak, size and bandwidth of caches and memory.

Profiles are built in for two processors. Others are recognised by the sizes of their caches, which
the system tells, and by the instruction set. `measure` takes the figures here and now; nothing
uses what it finds unless asked to.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit import _convkit
from convkit.problem import DTYPES, KernelProblem

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
        Where the figures come from: "built in" for this processor, "guessed" from the instruction
        set and the caches, or "measured".
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
        return _generic(model, isa)
    return replace(known, peak=PEAKS[known.name][isa], lanes=LANES[isa])


#: Of a core at 3 GHz: float32 operations a cycle, and bytes a second from L1, L2, L3 and memory, as
#: one may expect of processors of the last ten years; avx512 with one unit of 512 bits or two of
#: 256, baseline without FMA.
GENERIC = {
    "avx512": (64, (300e9, 100e9, 25e9, 12e9)),
    "avx2": (32, (200e9, 70e9, 25e9, 12e9)),
    "neon": (16, (100e9, 50e9, 25e9, 15e9)),
    "baseline": (16, (100e9, 50e9, 20e9, 12e9)),
}


def _generic(model: str, isa: str) -> Machine:
    """A processor without a profile: caches as the system tells, speeds by instruction set."""
    operations, speeds = GENERIC.get(isa, GENERIC["baseline"])
    told = _cache_sizes()
    usual = (32 * KIB, 512 * KIB, 8 * MIB)
    sizes = tuple(told.get(level + 1, size) for level, size in enumerate(usual))
    if list(sizes) != sorted(set(sizes)):
        sizes = usual
    # What a chip has in its last level is shared: a core counts on a part of a large one.
    sizes = (*sizes[:2], max(min(sizes[2], 32 * MIB), 2 * sizes[1]))
    return Machine(
        model or "unknown", "guessed", operations * 3e9, tuple(zip(sizes, speeds, strict=False)),
        speeds[-1], LANES.get(isa, 4),
    )  # fmt: skip


def _cache_sizes(root: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[int, int]:
    """Bytes of data cache by level, as far as the system tells."""
    sizes = {}
    for index in sorted(root.glob("index*")):
        try:
            kind, level, size = (
                (index / name).read_text(encoding="ascii").strip()
                for name in ("type", "level", "size")
            )
            if kind != "Instruction":
                unit = {"K": KIB, "M": MIB}.get(size[-1:], 1)
                sizes[int(level)] = int(size.rstrip("KM")) * unit
        except (OSError, ValueError):
            continue
    return sizes


def measure(seconds: float = 1.0) -> Machine:
    """This processor as it is now: FMA peak and bandwidths of one core, in about `seconds`.

    The sizes of the caches are the profile's; a level is read by a buffer of two thirds of what it
    holds, the last by four times the level before, memory by four times the last.
    """
    known = this_machine()
    sizes = [size for size, _ in known.caches]
    # A last level of a large chip may hold more than the profile counts on: memory is further off.
    held = [size * 2 // 3 for size in sizes[:-1]]
    held.append(min(4 * sizes[-2], sizes[-1] // 2) if len(sizes) > 1 else sizes[0] * 2 // 3)
    memory = max(4 * sizes[-1], _cache_sizes().get(3, 0))
    memory = min(memory, 1 << 29, physical_memory() // 8)
    share = seconds / (len(held) + 2)
    speeds = [_read_speed(size, share) for size in held]
    return replace(
        known,
        source="measured",
        peak=_fma_speed(share),
        caches=tuple(zip(sizes, speeds, strict=True)),
        bandwidth=_read_speed(memory, share),
    )


def _fma_speed(seconds: float) -> float:
    """Operations a second of multiply-adds in registers."""
    call, y = _native("fma_peak", np.array([0.5, 1.0] * 8, np.float32), 4)
    took = _once(call, seconds)
    return float(y.sum(dtype=np.float64)) / took


def _read_speed(size: int, seconds: float) -> float:
    """Bytes a second read again and again from a buffer of `size` bytes."""
    whole = np.ones(size // 4096 * 1024 + 16, np.float32)
    x = whole[-whole.ctypes.data % 64 // 4 :][: size // 4096 * 1024]  # no load crosses two lines
    rounds = max(1, (1 << 22) // x.nbytes)
    call, _ = _native("read_stream", x, rounds)
    return rounds * x.nbytes / _once(call, seconds)


def _native(name: str, x: NDArray[Any], k: int) -> tuple[Callable[[], None], NDArray[Any]]:
    """A call of an operator that reads the vector x and writes k numbers, and those."""
    dtype = DTYPES.index(x.dtype.name)
    problem = KernelProblem(1, 1, 1, x.size, k, *(1,) * 9, *(0,) * 5, dtype, dtype, dtype)
    plan = _convkit.Plan(name, tuple(problem), None, None, 0, 0.0, 0.0, -1, _convkit.NO_LIMIT)
    y = np.empty((1, k, 1, 1), x.dtype)
    return lambda: plan.run(x.reshape(1, 1, 1, -1), None, y, 1), y


def _once(call: Callable[[], None], seconds: float) -> float:
    """Median seconds of a call, over calls that fill the time."""
    call()
    end = time.perf_counter() + seconds
    each: list[float] = []
    while not each or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        each.append(time.perf_counter() - start)
    return statistics.median(each)


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
