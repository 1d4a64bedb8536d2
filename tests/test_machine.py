"""The profile of the processor that costs are reckoned with."""

from __future__ import annotations

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


def test_physical_memory_is_that_of_a_computer():
    assert 1 << 26 < machine.physical_memory() < 1 << 50
