"""The arrays that answers come in: their memory is kept for the next answer, and nobody notices."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import sys
import threading

import numpy as np
import pytest

import convkit
from convkit import _convkit

F32 = np.dtype("f")
KEPT = 256 << 20


@pytest.fixture(autouse=True)
def released():
    """No idle memory before or after."""
    gc.collect()
    convkit.release_memory()
    yield
    convkit.release_memory()


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("shape", [(), (0, 3), (1, 1, 2, 3), (3, 70, 80), (1, 8, 129, 131)])
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_is_an_array_like_any_other(shape, dtype):
    y = _convkit.empty(shape, np.dtype(dtype))
    assert type(y) is np.ndarray
    assert (y.shape, y.dtype) == (shape, np.dtype(dtype))
    assert y.flags.c_contiguous
    assert y.flags.writeable
    assert y.flags.aligned
    y[...] = 1
    assert y.sum() == y.size
    copy = pickle.loads(pickle.dumps(y))
    np.testing.assert_array_equal(copy, y)


@pytest.mark.parametrize("size", [1 << 12, 1 << 14, 1 << 19, 1 << 22])
def test_begins_on_a_line(size):
    held = [_convkit.empty((size,), F32) for _ in range(3)]
    assert all(address(y) % 64 == 0 for y in held)


def test_memory_comes_back_when_the_last_view_goes():
    y = _convkit.empty((64, 1024), F32)
    place, view = address(y), y[3:5, ::7].T
    del y
    gc.collect()
    assert _convkit.idle_memory() == 0
    other = _convkit.empty((64, 1024), F32)
    assert not np.may_share_memory(other, view)
    del other, view
    gc.collect()
    assert _convkit.idle_memory() > 0
    assert address(_convkit.empty((64, 1024), F32)) == place
    assert convkit.release_memory() > 0
    assert _convkit.idle_memory() == 0


def test_the_latest_is_lent_first():
    a, b = (_convkit.empty((1 << 15,), F32) for _ in range(2))
    latest = address(b)
    del a, b  # in this order
    assert address(_convkit.empty((1 << 15,), F32)) == latest


def test_idle_memory_is_bounded():
    blocks = [_convkit.empty((5 << 20,), F32) for _ in range(20)]  # 400 MiB, never written
    last = address(blocks[-1])
    for _ in range(len(blocks)):
        blocks.pop(0)
        assert _convkit.idle_memory() <= KEPT
    assert _convkit.idle_memory() > KEPT // 2
    assert address(_convkit.empty((5 << 20,), F32)) == last, "the oldest go first"
    whole = _convkit.empty((65 << 20,), F32)
    del whole
    assert _convkit.idle_memory() <= KEPT
    convkit.release_memory()
    several = [_convkit.empty((1 << 13,), F32) for _ in range(1000)]
    one = 2 * several[0].nbytes
    several.clear()
    assert _convkit.idle_memory() <= 256 * one, "many small blocks are bounded by their number"


def test_two_answers_never_share_memory():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((1, 3, 64, 65)).astype("f")
    w = rng.standard_normal((8, 3, 3, 3)).astype("f")
    plan = convkit.plan(x.shape, w, algo="direct")
    answers = [plan(x) for _ in range(4)]
    answers += [convkit.conv2d(x, w, algo="direct") for _ in range(4)]
    expected = np.array(answers[0])
    for i, y in enumerate(answers):
        assert not any(np.shares_memory(y, other) for other in answers[:i])
        y += i
    for i, y in enumerate(answers):
        np.testing.assert_array_equal(y, expected + np.float32(i))


def test_from_many_threads():
    """Every thread's answers keep what it wrote, while others drop theirs."""
    wrong = []

    def work(mine):
        held = []
        for i in range(300):
            y = _convkit.empty((4 + i % 3, 1 << 12), F32)
            y[...] = mine
            held.append(y)
            if len(held) > 5:
                old = held.pop(0)
                if not (old == mine).all():
                    wrong.append(mine)
            if i % 50 == 0:
                convkit.release_memory()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _child(pipe, y):
    """Drops what it inherited, computes, and says what it saw."""
    seen = float(y.sum())
    del y
    other = _convkit.empty((1 << 15,), F32)
    other[...] = 3
    pipe.send((seen, float(other.sum())))


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_fork():
    y = _convkit.empty((1 << 15,), F32)
    y[...] = 2
    dropped = _convkit.empty((1 << 15,), F32)
    del dropped
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_child, args=(there, y))
    child.start()
    assert here.poll(30)
    assert here.recv() == (2.0 * (1 << 15), 3.0 * (1 << 15))
    child.join(30)
    assert child.exitcode == 0
    assert (y == 2).all()
