"""How many threads run, and who may say so."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
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


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/app", {"app/cpu.max": "150000 100000"}, 1.5),
        ("0::/app", {"app/cpu.max": "max 100000"}, -1),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "300000 100000"}, 2),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 0.5),
        # A container sees its own group as the root, though its path is told from outside.
        ("0::/docker/0123", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/app", {}, -1),
        (
            "4:memory:/m\n3:cpu,cpuacct:/app\n0::/",
            {"cpu/app/cpu.cfs_quota_us": "150000", "cpu/app/cpu.cfs_period_us": "100000"},
            1.5,
        ),
        (
            "3:cpu,cpuacct:/app",
            {"cpu,cpuacct/cpu.cfs_quota_us": "25000", "cpu,cpuacct/cpu.cfs_period_us": "10000"},
            2.5,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, -1),
        ("2:cpuset:/a", {"cpu/a/cpu.cfs_quota_us": "1", "cpu/a/cpu.cfs_period_us": "1"}, -1),
        ("", {"cpu.max": "100000 100000"}, -1),
        ("no line of this kind", {"cpu.max": "100000 100000"}, -1),
        ("0::/app", {"app/cpu.max": "many 100000"}, -1),
        ("0::/app", {"app/cpu.max": ""}, -1),
    ],
)
def test_quota_of_copied_files(tmp_path, groups, files, quota):
    """As versions 1 and 2 of control groups write their files."""
    listing = tmp_path / "proc/self/cgroup"
    listing.parent.mkdir(parents=True)
    listing.write_text(groups + "\n" if groups else "")
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    found = _convkit.cpu_quota(str(tmp_path))
    assert found == pytest.approx(quota) if quota > 0 else found < 0
    allowed = len(os.sched_getaffinity(0))
    assert _convkit.available_threads(str(tmp_path)) == (
        min(allowed, math.ceil(quota)) if quota > 0 else allowed
    )


CPU_GROUPS = Path("/sys/fs/cgroup/cpu")


@linux
def test_quota_of_this_process():
    """A real limit of 1.5 processors: two threads, and workers that never spin."""
    group = CPU_GROUPS / f"convkit-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("150000")
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"needs the right to make a control group of version 1: {error}")
    code = f"""
import os
with open({str(group / "cgroup.procs")!r}, "w") as processes:
    processes.write(str(os.getpid()))
import convkit
from convkit import _convkit
print(_convkit.has_cpu_quota(), convkit.get_num_threads(), _convkit.cpu_quota())
"""
    try:
        answer = child(code)
    finally:
        group.rmdir()
    assert answer == f"True {min(2, len(os.sched_getaffinity(0)))} 1.5"


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


@pytest.mark.parametrize("threads", [1, 4])
def test_in_a_users_thread_pool(threads):
    """Many callers at once, each with threads of its own to ask for: right, and none waits."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((32, 16, 3, 3)).astype("f")
    images = rng.standard_normal((24, 1, 16, 40, 40)).astype("f")
    plan = convkit.plan(images.shape[1:], w, padding=1)
    expected = [plan(x) for x in images]

    def work(x):
        with convkit.threads(threads):
            return plan(x)

    with ThreadPoolExecutor(6) as users:
        for _ in range(5):
            for y, right in zip(users.map(work, images), expected, strict=True):
                np.testing.assert_array_equal(y, right)


def test_beside_pytorchs_threads():
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 32, 56, 56)), rng.standard_normal((32, 32, 3, 3))
    with convkit.threads(2):
        for _ in range(10):
            ours = convkit.conv2d(x, w, padding=1)
            theirs = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, w)), padding=1)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-11)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_in_joblib(backend):
    joblib = pytest.importorskip("joblib", reason="needs joblib")
    w = np.random.default_rng(0).standard_normal((8, 4, 3, 3)).astype("f")
    images = np.random.default_rng(1).standard_normal((6, 1, 4, 30, 30)).astype("f")
    plan = convkit.plan(images.shape[1:], w)
    answers = joblib.Parallel(2, backend=backend)(joblib.delayed(plan)(x) for x in images)
    for x, y in zip(images, answers, strict=True):
        np.testing.assert_array_equal(y, plan(x))


@linux
def test_a_late_worker_is_taken_onto_the_callers_processor():
    """And may then run anywhere. It is late because the caller's half of the rows is padding."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    code = """
import os, time, numpy as np, convkit
from pathlib import Path
from convkit import _convkit
x, w = np.ones((1, 64, 112, 112), "f"), np.ones((64, 64, 3, 3), "f")
plan = convkit.plan(x.shape, w, padding=((112, 0), (1, 1)), algo="direct")
allowed, anywhere = os.sched_getaffinity(0), 0
with convkit.threads(2):
    for turn in range(60):
        plan(x)
        (worker,) = (
            int(task.name) for task in Path("/proc/self/task").iterdir()
            if (task / "comm").read_text().strip() == "convkit"
        )
        if turn:  # before the second call no worker has slept and been placed
            anywhere += os.sched_getaffinity(worker) == allowed
        while _convkit.workers()[0] != _convkit.workers()[1]:
            time.sleep(0.001)
print(anywhere > 0)
"""
    assert child(code) == "True"


@linux
def test_beside_processes_that_keep_the_processors():
    """No deadlock, the same bits, and the caller's own affinity is left alone."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        pytest.skip("needs two processors")
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 64, 56, 56)).astype("f"), rng.standard_normal((64, 64, 3, 3))
    plan = convkit.plan(x.shape, w.astype("f"), padding=1)
    expected = plan(x)
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in processors]
    try:
        for hog, processor in zip(hogs, processors, strict=True):
            os.sched_setaffinity(hog.pid, {processor})
        for threads in (2, 5):
            with convkit.threads(threads):
                for _ in range(40):
                    np.testing.assert_array_equal(plan(x), expected)
        assert set(os.sched_getaffinity(0)) == set(processors)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def test_a_call_returns_when_all_is_done():
    """Without spinning, the caller sleeps until the slowest worker has ended."""
    code = """
import numpy as np, convkit
x, w = np.ones((1, 32, 112, 112), "f"), np.ones((32, 32, 3, 3), "f")
plan, y, wrong = convkit.plan(x.shape, w, algo="direct"), np.empty((1, 32, 110, 110), "f"), 0
with convkit.threads(4):
    for _ in range(40):
        y[:] = 0
        plan(x, out=y)
        wrong += not (y == 288).all()
print(wrong)
"""
    assert child(code, CONVKIT_SPIN_US="0") == "0"


@linux
@pytest.mark.parametrize(("threads", "kept_off"), [(2, 1), (99, 0)])
def test_workers_keep_off_the_callers_processor(threads, kept_off):
    """A worker behind the caller on one processor would never begin; with too many, none moves."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    code = f"""
import os, time, numpy as np, convkit
from pathlib import Path
from convkit import _convkit
x, w = np.ones((1, 64, 128, 128), "f"), np.ones((64, 64, 3, 3), "f")
kept_off = set()
with convkit.threads({threads}):
    for _ in range(12):  # a worker that happens to be late may run anywhere
        convkit.conv2d(x, w, algo="direct")
        while _convkit.workers()[0] != _convkit.workers()[1]:
            time.sleep(0.01)
        for task in Path("/proc/self/task").iterdir():
            if (task / "comm").read_text().strip() == "convkit":
                mask = os.sched_getaffinity(int(task.name))
                kept_off.add(len(os.sched_getaffinity(0)) - len(mask))
print(max(kept_off))
"""
    assert child(code) == str(kept_off)


def test_little_work_wakes_nobody():
    """Handing over costs more than computing a few thousand products."""
    code = """
import numpy as np, convkit
from convkit import _convkit
with convkit.threads(4):
    convkit.conv2d(np.ones((1, 1, 8, 8), "f"), np.ones((4, 1, 3, 3), "f"))
print(_convkit.workers()[0])
"""
    assert child(code) == "0"


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_run_at_one_time(threads):
    """Each waits for all the others: only so many threads at once can meet, each in its range."""
    for _ in range(20):
        assert _convkit.threads_that_meet(threads, 60) == list(range(threads))


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
