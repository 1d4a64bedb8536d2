"""What kernels read and how much memory they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import groups_size_stride
from native import ISAS

from convkit.algorithms import ALGORITHMS

# Children start here: from the root of the tree they would find the package without its extension.
HERE = Path(__file__).resolve().parent


@pytest.mark.kernels
@pytest.mark.skipif(sys.platform != "linux", reason="protects pages through Linux's mmap")
@pytest.mark.parametrize("at", ["end", "start"])
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("script", ["page_end.py", "page_end_operators.py"])
def test_nothing_outside_the_arrays_is_touched(script, isa, at):
    """x, w, bias, residual and y each stand against a page that kills who touches it."""
    paths = [str(HERE), os.environ.get("PYTHONPATH")]
    child = subprocess.run(
        [sys.executable, HERE / script, at, isa],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    lines = child.stdout.splitlines() or ["nothing"]
    assert child.returncode == 0, f"{lines[-1]}: exit {child.returncode}\n{child.stderr[-2000:]}"
    assert lines[-1] == "done"
    assert len(lines) > 100


# ---- resident memory -----------------------------------------------------------------------------

SIDE = 4096
MEASURE = """
import json, sys
import numpy as np, convkit

algo, how, size, stride, groups, channels, side = json.loads(sys.argv[1])


def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def image(c, h, w):
    if how == "nhwc":
        x = np.empty((1, h, w, c), "f").transpose(0, 3, 1, 2)
    elif how == "crop":
        x = np.empty((1, c, h + 7, w + 9), "f")[:, :, 3 : h + 3, 5 : w + 5]
    else:
        x = np.empty((1, c, h, w), "f")
    x[...] = 1
    return x


w = np.ones((channels, channels // groups, size, size), "f")
options = dict(padding=size // 2, padding_mode="reflect" if how == "reflect" else "zeros",
               stride=stride, groups=groups, algo=algo)
y_shape = (1, channels, -(-side // stride), -(-side // stride))
with convkit.threads(1):
    convkit.plan((1, channels, 40, 40), w, **options)(image(channels, 40, 40))
    convkit.release_memory()
    x, out = image(channels, side, side), np.zeros(y_shape, "f")
    out[...] = 2
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = status("VmRSS")
    plan = convkit.plan(x.shape, w, **options)
    plan(x, out=out)
    peak = status("VmHWM")
assert np.isclose(out[0, 0, y_shape[2] // 2, y_shape[3] // 2], size * size * channels // groups)
print(json.dumps([peak - before, plan.workspace]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's high-water mark")
@pytest.mark.parametrize("how", ["reflect", "nhwc", "crop"])
@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_resident_memory(row, how):
    """At one thread, after one small call: the plan's workspace and 1 MB, over x, w and y."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("needs /proc/self/clear_refs")
    channels = 2
    groups, size, stride = groups_size_stride(row.name, channels)
    arguments = json.dumps([row.name, how, size, stride, groups, channels, SIDE])
    child = subprocess.run(
        [sys.executable, "-c", MEASURE, arguments],
        capture_output=True, text=True, timeout=120, cwd=HERE,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    resident, workspace = json.loads(child.stdout)
    assert resident <= workspace + (1 << 20), f"{resident} bytes, workspace {workspace}"
    image = channels * SIDE * SIDE * 4
    assert workspace < image // 8, "scratch that grows with the image's area"
