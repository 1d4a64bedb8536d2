"""What kernels read and how much memory they take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from native import ISAS

HERE = Path(__file__).parent


@pytest.mark.kernels
@pytest.mark.skipif(sys.platform != "linux", reason="protects pages through Linux's mmap")
@pytest.mark.parametrize("at", ["end", "start"])
@pytest.mark.parametrize("isa", ISAS)
def test_nothing_outside_the_arrays_is_touched(isa, at):
    """x, w, bias, residual and y each stand against a page that kills who touches it."""
    child = subprocess.run(
        [sys.executable, HERE / "page_end.py", at, isa],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )
    lines = child.stdout.splitlines() or ["nothing"]
    assert child.returncode == 0, f"{lines[-1]}: exit {child.returncode}\n{child.stderr[-2000:]}"
    assert lines[-1] == "done"
    assert len(lines) > 100
