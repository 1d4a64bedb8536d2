"""Plans: packed once, called often, from anywhere."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import sys
import threading

import numpy as np
import pytest
from cases import BY_NAME, groups_size_stride, suited

import convkit
from convkit import _convkit
from convkit.algorithms import ALGORITHMS
from convkit.problem import ConvProblem, conv_problem

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
X_SHAPE, W_SHAPE = (2, 6, 17, 19), (8, 6, 3, 3)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(3)
    shapes = X_SHAPE, W_SHAPE, (8,), (2, 8, 17, 19)
    return [rng.standard_normal(shape).astype("f") for shape in shapes]


@pytest.fixture
def plan(arrays):
    _, w, bias, _ = arrays
    return convkit.plan(X_SHAPE, w, bias, padding=1, activation="relu")


def test_says_what_it_is(plan, arrays):
    assert isinstance(plan.problem, ConvProblem)
    assert plan.problem == conv_problem(X_SHAPE, W_SHAPE, padding=1)
    assert plan.algorithm in convkit.algorithms()
    assert isinstance(plan.workspace, int)
    assert plan.workspace >= arrays[1].nbytes
    assert plan.algorithm in repr(plan)
    assert str(plan.problem) in repr(plan)


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_computes_what_conv2d_does(row):
    groups, size, stride = groups_size_stride(row.name, 6)
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 6, 9, 9)).astype("f")
    residual = rng.standard_normal((2, 6, -(-9 // stride), -(-9 // stride))).astype("f")
    w = suited(row, rng.standard_normal((6, 6 // groups, size, size)).astype("f"))
    bias = np.arange(6, dtype="f")
    options = {
        "padding": size // 2, "stride": stride, "groups": groups, "algo": row.name,
        "activation": "tanh", "flip": True,
    }  # fmt: skip
    plan = convkit.plan(x.shape, w, bias, **options)
    assert plan.algorithm == row.name
    expected = convkit.conv2d(x, w, bias, residual=residual, **options)
    np.testing.assert_array_equal(plan(x, residual), expected)
    out = np.full_like(expected, np.nan)
    assert plan(x, residual=residual, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_that_of_the_weights(dtype):
    plan = convkit.plan(X_SHAPE, np.ones(W_SHAPE, dtype))
    assert plan.problem.dtype == dtype
    assert plan(np.ones(X_SHAPE, dtype)).dtype == dtype


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_any_batch(plan, arrays, n):
    x = np.random.default_rng(n).standard_normal((n, *X_SHAPE[1:])).astype("f")
    y = plan(x)
    assert y.shape == (n, 8, 17, 19)
    for i in range(n):
        np.testing.assert_array_equal(plan(x[i : i + 1])[0], y[i])


@pytest.mark.parametrize("x_shape", [(6, 17, 19), (17, 19)], ids=["c h w", "h w"])
def test_images_without_a_batch(x_shape):
    w = np.ones(W_SHAPE if len(x_shape) == 3 else (3, 3), "f")
    x = np.random.default_rng(0).standard_normal(x_shape).astype("f")
    plan = convkit.plan(x_shape, w)
    y = plan(x)
    assert y.shape == (*((8,) if len(x_shape) == 3 else ()), 15, 17)
    # conv2d, which counts the packing too, may choose another algorithm.
    np.testing.assert_array_equal(y, convkit.conv2d(x, w, algo=plan.algorithm))


def test_keeps_its_own_weights(arrays):
    x, w, bias, _ = arrays
    plan = convkit.plan(X_SHAPE, w, bias)
    before = plan(x)
    w[...] = np.nan
    bias[...] = np.nan
    np.testing.assert_array_equal(plan(x), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(plan))(x), before)


def test_answers_share_no_memory(plan, arrays):
    x = arrays[0]
    first = plan(x)
    kept = first.copy()
    assert not np.shares_memory(first, plan(2 * x))
    np.testing.assert_array_equal(first, kept)


def test_workspace_is_a_figure_of_the_problem(arrays):
    w = arrays[1]
    with convkit.threads(1):
        one = convkit.plan(X_SHAPE, w)
    with convkit.threads(4):
        four = convkit.plan((5, *X_SHAPE[1:]), w)
    assert (one.workspace, one.algorithm) == (four.workspace, four.algorithm)


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_tight_workspace_runs_fewer_threads(row):
    """At exactly its workspace a plan has room for one thread's scratch, and computes the same."""
    groups, size, stride = groups_size_stride(row.name, 6)
    options = {"groups": groups, "stride": stride, "algo": row.name}
    w = np.random.default_rng(1).standard_normal((6, 6 // groups, size, size)).astype("f")
    w = suited(row, w)
    x = np.random.default_rng(2).standard_normal((3, 6, 40, 41)).astype("f")
    free = convkit.plan(x.shape, w, **options)
    tight = convkit.plan(x.shape, w, max_workspace=free.workspace, **options)
    assert (tight.workspace, tight.algorithm) == (free.workspace, free.algorithm)
    for threads in (1, 4):
        with convkit.threads(threads):
            np.testing.assert_array_equal(tight(x), free(x))


# ---- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(plan, arrays, protocol):
    x, *_, residual = arrays
    copied = pickle.loads(pickle.dumps(plan, protocol))
    assert (copied.problem, copied.algorithm, copied.workspace) == (
        plan.problem, plan.algorithm, plan.workspace,
    )  # fmt: skip
    np.testing.assert_array_equal(copied(x, residual), plan(x, residual))


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_copy(plan, arrays, copier):
    np.testing.assert_array_equal(copier(plan)(arrays[0]), plan(arrays[0]))


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_pickled_plans_keep_their_algorithm(row):
    groups, size, stride = groups_size_stride(row.name, 6)
    options = {"groups": groups, "stride": stride, "algo": row.name}
    w = np.random.default_rng(1).standard_normal((6, 6 // groups, size, size)).astype("f")
    w = suited(row, w)
    x = np.random.default_rng(2).standard_normal((1, 6, 12, 13)).astype("f")
    plan = convkit.plan(x.shape, w, activation=("leaky_relu", 0.3), **options)
    copied = pickle.loads(pickle.dumps(plan))
    assert copied.algorithm == row.name
    np.testing.assert_array_equal(copied(x), plan(x))


def test_spawned_process(plan, arrays):
    """What joblib and multiprocessing on macOS and Windows do: a fresh interpreter unpickles."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        y = pool.apply_async(plan, (arrays[0], arrays[3])).get(timeout=120)
    np.testing.assert_array_equal(y, plan(arrays[0], arrays[3]))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork"
)
@pytest.mark.parametrize("threads", [1, 4])
def test_forked_process(plan, arrays, threads):
    """After the pool has run here: a child has none of its threads, and makes its own."""
    with convkit.threads(threads):
        expected = plan(arrays[0])
        with multiprocessing.get_context("fork").Pool(2) as pool:
            answers = [pool.apply_async(plan, (arrays[0],)) for _ in range(6)]
            for answer in answers:
                np.testing.assert_array_equal(answer.get(timeout=60), expected)
        np.testing.assert_array_equal(plan(arrays[0]), expected)


@linux
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_process_starts_threads_of_its_own(plan, arrays):
    with convkit.threads(4):
        expected = plan(arrays[0])
        child = os.fork()
        if child == 0:  # no return from here: the tests would go on twice
            signal.alarm(60)
            right = np.array_equal(plan(arrays[0]), expected)
            os._exit(0 if right and _convkit.threads_that_meet(4, 30) == [0, 1, 2, 3] else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# ---- threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_hammer_one_plan(threads):
    """Eight user threads share a plan, each on its own images; all answers to the bit."""
    case = BY_NAME["resnet20_block_3"]
    arrays = case.arrays()
    plan = convkit.plan(case.problem.x_shape, arrays.w, arrays.bias, padding=1)
    inputs = [arrays.x * (i + 1) for i in range(8)]
    expected = [plan(x) for x in inputs]
    wrong, start = [], threading.Barrier(8)

    def hammer(i):
        start.wait(timeout=60)
        with convkit.threads(threads):
            for turn in range(40):
                y = plan(inputs[(i + turn) % 8])
                if not np.array_equal(y, expected[(i + turn) % 8]):
                    wrong.append((i, turn))

    workers = [threading.Thread(target=hammer, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []


def test_threads_call_conv2d_and_change_settings():
    """conv2d, plan, release_memory and set_num_threads from several threads at once."""
    rng = np.random.default_rng(8)
    x = rng.standard_normal((1, 8, 20, 20)).astype("f")
    weights = [rng.standard_normal((8, 8, 3, 3)).astype("f") for _ in range(6)]
    expected = [convkit.conv2d(x, w, padding=1) for w in weights]
    wrong = []

    def work(i):
        for turn in range(30):
            with convkit.threads(1 + (i + turn) % 3):
                if not np.array_equal(convkit.conv2d(x, weights[i], padding=1), expected[i]):
                    wrong.append((i, turn))
            if turn % 7 == 0:
                convkit.release_memory()

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert wrong == []


def test_the_gil_is_released():
    """While one thread convolves, another runs Python."""
    w = np.ones((64, 64, 3, 3), "f")
    plan = convkit.plan((1, 64, 112, 112), w, padding=1, algo="direct")
    x = np.ones((1, 64, 112, 112), "f")
    done = threading.Event()
    ticks = 0

    def convolve():
        with convkit.threads(1):
            for _ in range(3):
                plan(x)
        done.set()

    worker = threading.Thread(target=convolve)
    worker.start()
    while not done.wait(0.001):
        ticks += 1
    worker.join()
    assert ticks >= 5
