"""The profile of the processor that costs are reckoned with."""

from __future__ import annotations

import numpy as np
import pytest

from convkit import _convkit, machine

#: What /proc/cpuinfo says of a processor: (model, features).
XEON = ("GenuineIntel Intel(R) Xeon(R) Processor", frozenset({"avx512f", "amx_tile"}))
ZEN = ("AuthenticAMD AMD EPYC 9V74", frozenset({"avx512f", "avx512_bf16"}))
OTHER = ("GenuineIntel Core i7", frozenset({"avx2"}))


def profile(processor, isa, monkeypatch):
    monkeypatch.setattr(machine, "_processor", lambda: processor)
    machine._profile.cache_clear()
    try:
        return machine._profile(isa)
    finally:
        machine._profile.cache_clear()


@pytest.mark.parametrize("isa", _convkit.available_isas())
def test_this_machine_follows_the_instruction_set(isa):
    before = _convkit.current_isa()
    try:
        _convkit.select_isa(isa)
        assert machine.this_machine() == machine._profile(isa)
    finally:
        _convkit.select_isa(before)


@pytest.mark.parametrize(
    ("processor", "name"), [(XEON, "Xeon with AMX"), (ZEN, "Zen 4")], ids=["Xeon", "Zen"]
)
def test_known_processor(processor, name, monkeypatch):
    for isa, peak in machine.PEAKS[name].items():
        found = profile(processor, isa, monkeypatch)
        assert (found.name, found.source, found.peak) == (name, "built in", peak)


def test_unknown_processor_is_guessed_from_the_instruction_set(monkeypatch):
    found = {isa: profile(OTHER, isa, monkeypatch) for isa in machine.LANES}
    assert {row.source for row in found.values()} == {"guessed"}
    assert found["avx512"].peak == 2 * found["avx2"].peak > 2 * found["baseline"].peak > 0
    assert found["avx2"].name == OTHER[0]


@pytest.mark.parametrize(
    "known",
    [machine.ZEN_4, machine.XEON_AMX, machine.Machine("", "", 1e9, (), 1e9)],
    ids=["Zen 4", "Xeon with AMX", "no caches"],
)
def test_caches_grow_and_slow_down(known):
    levels = [*known.caches, (float("inf"), known.bandwidth)]
    assert levels == sorted(levels)
    assert [speed for _, speed in levels] == sorted((speed for _, speed in levels), reverse=True)


def test_read_seconds_takes_the_nearest_level_that_holds_it():
    known = machine.Machine("", "", 8e9, ((100, 50.0), (1000, 10.0)), 2.0)
    assert [known.read_seconds(size) for size in (100, 101, 1000, 1001)] == [2, 10.1, 100, 500.5]


def test_float64_runs_at_half_the_peak():
    known = machine.Machine("", "", 8e9, (), 1e9)
    assert (known.fma_peak("float32"), known.fma_peak("float64")) == (8e9, 4e9)


def test_processor_without_proc_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / "missing")
    assert machine._processor() == ("", frozenset())


def cache(root, index, kind, level, size):
    folder = root / f"index{index}"
    folder.mkdir()
    for name, text in (("type", kind), ("level", level), ("size", size)):
        (folder / name).write_text(f"{text}\n", encoding="ascii")


def test_caches_as_the_system_tells(tmp_path):
    cache(tmp_path, 0, "Data", 1, "48K")
    cache(tmp_path, 1, "Instruction", 1, "32K")
    cache(tmp_path, 2, "Unified", 2, "1280K")
    cache(tmp_path, 3, "Unified", 3, "24M")
    cache(tmp_path, 4, "Unified", "four", "1M")
    (tmp_path / "index5").mkdir()
    assert machine._cache_sizes(tmp_path) == {1: 48 << 10, 2: 1280 << 10, 3: 24 << 20}
    assert machine._cache_sizes(tmp_path / "missing") == {}


@pytest.mark.parametrize(
    ("told", "sizes"),
    [
        ({1: 48 << 10, 2: 1 << 20, 3: 24 << 20}, (48 << 10, 1 << 20, 24 << 20)),
        ({}, (32 << 10, 512 << 10, 8 << 20)),
        ({2: 1 << 20}, (32 << 10, 1 << 20, 8 << 20)),
        ({1: 1 << 20, 2: 1 << 19}, (32 << 10, 512 << 10, 8 << 20)),
        ({3: 480 << 20}, (32 << 10, 512 << 10, 32 << 20)),
    ],
    ids=["told", "not told", "one told", "nonsense", "a large chip"],
)
def test_generic_machine_takes_the_caches_of_the_system(told, sizes, monkeypatch):
    monkeypatch.setattr(machine, "_cache_sizes", lambda: told)
    for isa in machine.LANES:
        found = profile(OTHER, isa, monkeypatch)
        assert tuple(size for size, _ in found.caches) == sizes
        speeds = [speed for _, speed in found.caches] + [found.bandwidth]
        assert speeds == sorted(speeds, reverse=True)


@pytest.mark.parametrize("isa", _convkit.available_isas())
def test_measured_machine_is_like_a_computer(isa):
    before = _convkit.current_isa()
    _convkit.select_isa(isa)
    try:
        found, known = machine.measure(0.1), machine.this_machine()
    finally:
        _convkit.select_isa(before)
    assert (found.name, found.source, found.lanes) == (known.name, "measured", known.lanes)
    assert [size for size, _ in found.caches] == [size for size, _ in known.caches]
    assert 1e9 < found.peak < 1e12
    for speed in [*(speed for _, speed in found.caches), found.bandwidth]:
        assert 1e8 < speed < 1e12


def test_multiply_adds_are_counted_as_done():
    """y holds the operations of each item: both dtypes, and the same in every item."""
    for dtype, code in (("float32", 0), ("float64", 1)):
        call, y = machine._native("fma_peak", np.array([0.5, 1, 2], dtype), 3)
        call()
        lanes = machine.this_machine().lanes // (1 + code)
        chains = 24 if _convkit.current_isa() in ("avx512", "neon") else 12
        np.testing.assert_array_equal(y.ravel(), [2 * lanes * chains * 1024 * 3] * 3)


def test_a_stream_is_read_to_its_end():
    for dtype in ("float32", "float64"):
        x = np.zeros(4096, dtype)
        lanes = machine.this_machine().lanes // (x.itemsize // 4)
        x[lanes * 8 * 3 + 5 * lanes] = 1
        x[-8 * lanes] = 2
        call, y = machine._native("read_stream", x, 2)
        call()
        np.testing.assert_array_equal(y.ravel(), [3, 3])


def test_physical_memory_is_that_of_a_computer():
    assert 1 << 26 < machine.physical_memory() < 1 << 50
