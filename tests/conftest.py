"""Where the tested package and the data come from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import convkit
from convkit import _convkit

ROOT = Path(__file__).resolve().parent.parent

# A child started with `python -c` in the project's root must not import the source folder there.
os.environ["PYTHONSAFEPATH"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to test the bare source folder instead of the installed package."""
    if ROOT / "convkit" != Path(convkit.__file__).resolve().parent:
        return
    # All of that name: an old convkit.egg-info in the root would hide the editable install's own.
    origins = [
        json.loads(found.read_text("direct_url.json") or "{}")
        for found in metadata.distributions(name="convkit")
    ]
    if not any(origin.get("dir_info", {}).get("editable") for origin in origins):
        raise pytest.UsageError(
            f"the tests would run against {ROOT / 'convkit'}: expected the installed package "
            "(pip install '.[test]', then plain pytest)"
        )


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of stored networks and images, $CONVKIT_DATA; the test is skipped without it."""
    folder = os.environ.get("CONVKIT_DATA", "")
    if folder and Path(folder).is_dir():
        return Path(folder)
    if os.environ.get("CONVKIT_REQUIRE_DATA", "0") not in ("", "0"):
        pytest.fail(f"CONVKIT_DATA={folder!r} is no folder, and CONVKIT_REQUIRE_DATA asks for it")
    pytest.skip("needs CONVKIT_DATA, the folder of stored networks")


@pytest.fixture
def checked_kernels() -> Iterator[None]:
    """Scratch and packed weights full of NaN, and fenced; the instruction set is put back."""
    chosen = _convkit.current_isa()
    _convkit.set_checking(True)
    yield
    _convkit.set_checking(False)
    _convkit.select_isa(chosen)
