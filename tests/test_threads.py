"""How many threads run, and who may say so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import convkit
from convkit import _convkit

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
# Children start here: from the root of the tree they would find the package without its extension.
HERE = Path(__file__).resolve().parent
REPORT = "import convkit; print(convkit.get_num_threads())"


def child(code, **env):
    """What Python code prints in a fresh process without inherited thread settings."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OMP_NUM_THREADS", "CONVKIT_NUM_THREADS")
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=120, env={**inherited, **env}, cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_default_is_what_the_system_leaves():
    """Affinity and quota of this process; OMP_NUM_THREADS may only lower it."""
    assert int(child(REPORT)) == _convkit.available_threads()
    assert _convkit.available_threads() <= len(os.sched_getaffinity(0))


@linux
def test_affinity():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); {REPORT}"
    assert child(code) == "1"


@linux
def test_affinity_of_two():
    two = sorted(os.sched_getaffinity(0))[:2]
    if len(two) < 2:
        pytest.skip("needs two processors")
    code = f"import os; os.sched_setaffinity(0, {set(two)}); {REPORT}"
    assert child(code) in ("1", "2")  # 1 under a quota


@pytest.mark.parametrize(
    ("value", "threads"),
    [("1", 1), ("3", None), ("1,4", 1), (" 1 ", 1), ("", None), ("many", None), ("0", None)],
)
def test_omp_num_threads(value, threads):
    """Honoured as OpenMP reads it (the first of a list); what is no number is passed over."""
    answer = int(child(REPORT, OMP_NUM_THREADS=value))
    if value.strip() == "3":
        assert answer in (3, min(3, _convkit.available_threads()))
    else:
        assert answer == (threads or _convkit.available_threads())


@linux
@pytest.mark.parametrize(("quota", "threads"), [("100000 100000", 1), ("150000 100000", 2)])
def test_cgroup_quota(quota, threads):
    """A container's limit, in a mount namespace of its own with a made-up control group."""
    enter = ["unshare", "-rm", "sh", "-c"]
    works = (
        shutil.which("unshare")
        and not subprocess.run(
            [*enter, "mount -t tmpfs none /sys/fs/cgroup"], capture_output=True, check=False
        ).returncode
    )
    if not works:
        pytest.skip("needs the right to mount in a user namespace")
    group = '"/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)"'
    script = (
        "mount -t tmpfs none /sys/fs/cgroup && "
        f"mkdir -p {group} && echo '{quota}' > {group}/cpu.max && "
        f'exec "{sys.executable}" -c "{REPORT}"'
    )
    expected = min(threads, len(os.sched_getaffinity(0)))
    done = subprocess.run(
        [*enter, script], capture_output=True, text=True, check=False, timeout=60, cwd=HERE
    )
    assert done.returncode == 0, done.stderr
    if "0::" not in Path("/proc/self/cgroup").read_text():
        pytest.skip("needs version 2 of control groups")
    assert int(done.stdout) == expected


# ---- in this process -----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def restored():
    before = convkit.get_num_threads()
    yield
    convkit.set_num_threads(before)


def test_set_and_get():
    for n in (1, 2, 5, np.int64(3)):
        convkit.set_num_threads(n)
        assert convkit.get_num_threads() == n


def test_context():
    convkit.set_num_threads(2)
    with convkit.threads(5):
        assert convkit.get_num_threads() == 5
        with convkit.threads(1):
            assert convkit.get_num_threads() == 1
        assert convkit.get_num_threads() == 5
    assert convkit.get_num_threads() == 2


def test_context_ends_with_an_error():
    before = convkit.get_num_threads()
    with pytest.raises(KeyError), convkit.threads(before + 3):
        raise KeyError
    assert convkit.get_num_threads() == before


def test_context_is_the_calling_threads():
    """What one thread asks for, another does not see."""
    before = convkit.get_num_threads()
    seen, inside, leave = [], threading.Event(), threading.Event()

    def other():
        with convkit.threads(7):
            inside.set()
            leave.wait(60)
            seen.append(convkit.get_num_threads())

    worker = threading.Thread(target=other)
    worker.start()
    assert inside.wait(60)
    assert convkit.get_num_threads() == before
    with convkit.threads(3):
        assert convkit.get_num_threads() == 3
        leave.set()
        worker.join(60)
    assert seen == [7]


@pytest.mark.parametrize("threads", [1, 2, 3, 16, 64])
def test_oversubscribed(threads):
    """More threads than processors: slower perhaps, the same bits, no deadlock."""
    rng = np.random.default_rng(0)
    x, w = (
        rng.standard_normal((2, 16, 31, 33)).astype("f"),
        rng.standard_normal((16, 16, 3, 3)).astype("f"),
    )
    for algo in ("direct", "winograd_f4", "fft"):
        with convkit.threads(1):
            expected = convkit.conv2d(x, w, algo=algo)
        with convkit.threads(threads):
            for _ in range(5):
                np.testing.assert_array_equal(convkit.conv2d(x, w, algo=algo), expected)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_run_at_one_time(threads):
    """Each waits for all the others: only so many threads at once can meet."""
    assert _convkit.threads_that_meet(threads, 60) == threads


def test_a_convolution_starts_the_workers_it_was_given():
    code = """
import numpy as np, convkit
from convkit import _convkit
x, w = np.ones((1, 64, 56, 56), "f"), np.ones((64, 64, 3, 3), "f")
for threads in (1, 3, 2):
    with convkit.threads(threads):
        convkit.conv2d(x, w, algo="direct")
    print(_convkit.workers()[0])
"""
    assert child(code).split() == ["0", "2", "2"]


@pytest.mark.parametrize("spin", ["0", "1000"])
def test_idle_workers_sleep(spin):
    """A while after the last call every worker sleeps."""
    code = """
import time, numpy as np, convkit
from convkit import _convkit
x, w = np.ones((1, 32, 56, 56), "f"), np.ones((32, 32, 3, 3), "f")
with convkit.threads(4):
    convkit.conv2d(x, w)
for _ in range(3000):
    if _convkit.workers() == (3, 3):
        break
    time.sleep(0.01)
print(*_convkit.workers())
"""
    assert child(code, CONVKIT_SPIN_US=spin) == "3 3"


@linux
def test_release_memory():
    """Scratch is kept for the next call until it is asked back."""
    x, w = np.ones((1, 64, 40, 40), "f"), np.ones((64, 64, 3, 3), "f")
    convkit.release_memory()
    assert _convkit.idle_memory() == 0
    convkit.conv2d(x, w, algo="im2col")
    kept = _convkit.idle_memory()
    assert kept > 0
    assert convkit.release_memory() >= kept
    assert _convkit.idle_memory() == 0
    np.testing.assert_array_equal(convkit.conv2d(x, w, algo="im2col")[0, 0, 1:-1, 1:-1], 576)


def test_info():
    info = convkit.info()
    text = str(info)
    assert convkit.__version__ in text
    assert _convkit.current_isa() in text
    for isa in _convkit.available_isas():
        assert isa in text
