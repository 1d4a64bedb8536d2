"""The bench of slow calls: its quota, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from convkit import _convkit

# At the end: what is installed goes first, convkit above all.
sys.path.append(str(Path(__file__).resolve().parent.parent))
from bench import latency  # noqa: E402


def test_a_quota_lasts_as_long_as_it_is_asked_for():
    before = _convkit.cpu_quota()
    try:
        with latency.quota(1.25):
            assert _convkit.cpu_quota() == pytest.approx(min(1.25, before) if before > 0 else 1.25)
    except ValueError as refused:
        pytest.skip(str(refused))
    assert _convkit.cpu_quota() == before


def test_no_right_to_make_a_group(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "GROUPS", tmp_path / "missing")
    with pytest.raises(ValueError, match=r"--quota 2.*needs the right to make a control group"):
        latency.quota(2).__enter__()
