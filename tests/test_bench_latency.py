"""The bench of slow calls: its quota, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from convkit import _convkit

# At the end: what is installed goes first, convkit above all.
sys.path.append(str(Path(__file__).resolve().parent.parent))
from bench import latency, options  # noqa: E402


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


@pytest.mark.parametrize("words", ["x", "0", "-1", "1,", "", "1.5", "nan"])
def test_a_wrong_list_of_numbers_is_refused(words):
    with pytest.raises(ValueError, match=r"--threads .* must be whole numbers of 1 and more"):
        options.numbers("--threads", words, 1)


def test_a_list_of_numbers():
    assert options.numbers("--threads", "1,2", 1) == [1, 2]
    assert options.numbers("--pause", "0,2.5", 0, float) == [0, 2.5]
    with pytest.raises(ValueError, match="--pause 'nan' must be numbers of 0"):
        options.numbers("--pause", "nan", 0, float)
