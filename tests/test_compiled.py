"""Compiled networks: shapes, kinds of arrays, threads, memory, copies, inner values."""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import pickle
import threading
import time

import numpy as np
import pytest

import convkit
from convkit.cli import main
from convkit.graph.check import check
from convkit.graph.ir import Weight
from convkit.graph.memory import Lifetime, plan_arena
from convkit.graph.ops import OPS
from convkit.graph.text import graph_text, read_graph


def model_of(c=4) -> convkit.Model:
    b = convkit.Builder((c, 12, 10), name="small")
    x = b.conv2d(b.input, 20, 3, padding=1, bias=False, name="conv1")
    x = b.batch_norm(x, activation="relu", name="norm1")
    y = b.conv2d(x, 20, 3, padding=1, name="conv2")
    x = b.add(y, x, activation="relu", name="add")
    x = b.max_pool2d(x, 2, name="pool")
    x = b.conv2d(x, 36, 1, activation="relu6", name="conv3")
    return b.model(b.linear(b.flatten(b.global_avg_pool2d(x)), 7, name="fc"))


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_bits_depend_neither_on_batch_nor_on_threads():
    model, x = model_of(), draw((5, 4, 12, 10))
    whole = model.compile((5, 4, 12, 10), threads=1)(x)
    for threads in (1, 2, 3):
        one = model.compile((1, 4, 12, 10), threads=threads)
        for i in range(5):
            np.testing.assert_array_equal(one(x[i : i + 1])[0], whole[i])
        five = model.compile((5, 4, 12, 10), threads=threads)
        np.testing.assert_array_equal(five(x), whole)


def test_any_image_size_the_network_allows():
    model = model_of()
    for h, w in ((12, 10), (7, 33), (2, 2)):
        assert model(draw((2, 4, h, w))).shape == (2, 7)
    with pytest.raises(ValueError, match="node pool: kernel has 2 rows"):
        model(draw((1, 4, 1, 9)))


def test_a_batch_of_none():
    assert model_of()(draw((0, 4, 12, 10))).shape == (0, 7)


def test_exactly_the_shapes_compiled_for():
    run = model_of().compile((2, 4, 12, 10))
    with pytest.raises(ValueError, match=r"input has shape \(3, 4, 12, 10\): small was compiled"):
        run(draw((3, 4, 12, 10)))
    with pytest.raises(TypeError, match="input has dtype float64: small needs float32"):
        run(draw((2, 4, 12, 10)).astype(float))
    with pytest.raises(TypeError, match="2 inputs were given: small takes input"):
        run(draw((2, 4, 12, 10)), draw((2, 4, 12, 10)))
    with pytest.raises(TypeError, match="also needs the input input"):
        run()
    with pytest.raises(TypeError, match="input 'image': small takes input"):
        run(image=draw((2, 4, 12, 10)))


COMPILE = {
    "shapes": (lambda m: m.compile(), ValueError, "0 shapes were given: small has 1 inputs"),
    "channels": (lambda m: m.compile((1, 3, 12, 10)), ValueError, r"needs \(n, 4, 12, 10\)"),
    "text": (lambda m: m.compile("1"), TypeError, "must be a sequence of integers"),
    "device": (lambda m: m.compile((1, 4, 12, 10), device="tpu"), ValueError, "device='tpu'"),
    "threads": (lambda m: m.compile((1, 4, 12, 10), threads=0), ValueError, "threads=0 must"),
    "precision": (
        lambda m: m.compile((1, 4, 12, 10), precision="some"), ValueError, "precision='some' must"
    ),
    "workspace": (
        lambda m: m.compile((1, 4, 12, 10), max_workspace=10), ValueError, "max_workspace=10"
    ),
    "without": (
        lambda m: m.compile((1, 4, 12, 10), without=["all"]), ValueError, "without='all' must be"
    ),
    "outputs": (
        lambda m: m.compile((1, 4, 12, 10), outputs=["conv9"]), ValueError,
        "has no value 'conv9': did you mean conv",
    ),
    "outputs of text": (
        lambda m: m.compile((1, 4, 12, 10), outputs="conv1"), TypeError, "must be a list of names"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPILE)
def test_compile_refuses(name):
    call, error, match = COMPILE[name]
    with pytest.raises(error, match=match):
        call(model_of())


def test_precision_highest_takes_exact_algorithms_alone():
    run = model_of().compile((1, 4, 12, 10), precision="highest")
    taken = {row.algorithm for row in run.profile(draw((1, 4, 12, 10)))}
    assert not taken & {"winograd_f2", "winograd_f4", "fft"}


def test_inner_values():
    model, x = model_of(), draw((2, 4, 12, 10))
    inner, logits = model(x, outputs=["norm1", "fc"])
    # Another program: it may compute a convolution by another algorithm.
    np.testing.assert_allclose(logits, model(x), rtol=1e-4, atol=1e-5)
    weights = model.state_dict()
    scale = weights["norm1.weight"] / np.sqrt(weights["norm1.running_var"] + np.float32(1e-5))
    plain = convkit.conv2d(x, weights["conv1.weight"] * scale[:, None, None, None], padding=1)
    np.testing.assert_allclose(inner, np.maximum(plain, 0), rtol=1e-4, atol=1e-5)
    (conv1,) = (model(x, outputs=["conv1"]),)
    np.testing.assert_allclose(
        conv1, convkit.conv2d(x, weights["conv1.weight"], padding=1), atol=1e-5
    )


def test_the_last_eight_shapes_are_kept():
    model = model_of()
    for n in range(1, 12):
        model(draw((n, 4, 12, 10)))
    assert len(model._compiled) == 8
    first = next(iter(model._compiled.values()))
    model(draw((4, 4, 12, 10)))  # the oldest kept: used again, so it stays
    model(draw((1, 4, 12, 10)))
    assert first in model._compiled.values()


def test_programs_share_packed_weights():
    model = model_of()
    runs = [model.compile((n, 4, 12, 10)) for n in (1, 2, 5)]
    assert len({id(layer) for run in runs for layer in run._layers}) == len(runs[0]._layers)
    del runs
    gc.collect()
    assert not model._layers, "closed programs keep no packed weights"


def test_new_weights_change_what_is_compiled_anew():
    model, x = model_of(), draw((1, 4, 12, 10))
    before = model(x)
    run = model.compile(x.shape)
    model.load({name: array * 2 for name, array in model.state_dict().items()})
    assert not np.array_equal(model(x), before)
    np.testing.assert_array_equal(run(x), before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))])
def test_copies_of_a_run(copied):
    run, x = model_of().compile((2, 4, 12, 10)), draw((2, 4, 12, 10))
    np.testing.assert_array_equal(copied(run)(x), run(x))


def test_close():
    run, x = model_of().compile((2, 4, 12, 10)), draw((2, 4, 12, 10))
    run(x)
    run.close()
    with pytest.raises(ValueError, match="small was closed"):
        run(x)


def test_profile_and_memory():
    run, x = model_of().compile((2, 4, 12, 10)), draw((2, 4, 12, 10))
    profile = run.profile(x)
    assert len(profile) == len(run._steps)
    assert {"conv1", "fc"} & {row.name for row in profile} or "norm1" in str(profile)
    assert all(row.ms >= 0 and row.bytes > 0 for row in profile)
    assert sum(row.gflops > 0 for row in profile) == 4  # three convolutions and a linear layer
    assert str(profile).startswith("small: ")
    assert 0 < run.memory.live <= run.memory.arena <= 1.25 * run.memory.live
    assert run.memory.weights > 0


def test_threads_share_a_run_and_python_goes_on():
    b = convkit.Builder((64, 56, 56), name="long")
    x = b.input
    for _ in range(12):
        x = b.conv2d(x, 64, 3, padding=1)
    run = b.model(x).compile((1, 64, 56, 56), threads=1)
    data = [draw((1, 64, 56, 56), seed) for seed in range(4)]
    expected = [run(each) for each in data]
    results: list = [None] * 4
    ticks = 0

    def work(i):
        for _ in range(4):
            results[i] = run(data[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        ticks += 1
        time.sleep(0.001)
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert ticks > 3, "no other Python thread could run meanwhile"


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_runs_and_shapes_leave_memory_flat():
    model = model_of()
    run, x = model.compile((1, 4, 12, 10), threads=1), draw((1, 4, 12, 10))
    for _ in range(200):
        run(x)
    before = resident()
    for _ in range(10_000):
        run(x)
    assert resident() - before < 4 << 20
    for size in range(4, 104):
        model(draw((1, 4, size, 5)))
    before = resident()
    for h in range(4, 34):
        for w in range(4, 34):
            model(draw((1, 4, h, w)))
    assert resident() - before < 16 << 20


# The arena


def test_buffers_that_never_live_together_share_bytes():
    lives = {"a": Lifetime(1000, 0, 1), "b": Lifetime(1000, 1, 2), "c": Lifetime(1000, 2, 3)}
    arena = plan_arena(lives)
    assert arena.offsets["a"] == arena.offsets["c"] != arena.offsets["b"]
    assert arena.size == arena.live == 2048


@pytest.mark.parametrize("seed", range(20))
def test_buffers_that_live_together_never_overlap(seed):
    rng = np.random.default_rng(seed)
    lives = {}
    for i in range(60):
        first = int(rng.integers(0, 50))
        lives[f"b{i}"] = Lifetime(
            int(rng.integers(1, 10_000)), first, first + int(rng.integers(0, 6))
        )
    arena = plan_arena(lives)
    for a, one in lives.items():
        assert arena.offsets[a] % 128 == 0
        assert arena.offsets[a] + one.size <= arena.size
        for b, other in lives.items():
            if a < b and one.first <= other.last and other.first <= one.last:
                low, high = sorted((a, b), key=arena.offsets.get)
                assert arena.offsets[low] + lives[low].size <= arena.offsets[high]
    assert arena.live <= arena.size


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v1", "mobilenet_v2", "resnet20_cifar10"])
def test_arena_of_networks(name):
    model = convkit.models.build(name)
    _, *image = model.graph.inputs[0].shape
    memory = model.compile((1, *image)).memory
    assert memory.arena <= 1.25 * memory.live


# Tuning


def test_tuning_measures_and_remembers():
    model, x = model_of(), draw((3, 4, 12, 10))
    run = model.compile(x.shape, tune=True)
    measured = dict(model._tuned)
    assert len(measured) == 3  # one for each convolution
    np.testing.assert_allclose(run(x), model(x), rtol=1e-4, atol=1e-5)
    one = model.compile((1, 4, 12, 10), tune=True, threads=2)
    assert model._tuned == measured, "another batch and other threads are the same problem"
    for i in range(3):
        np.testing.assert_array_equal(one(x[i : i + 1])[0], run(x)[i])
    again = pickle.loads(pickle.dumps(run))
    np.testing.assert_array_equal(again(x), run(x))
    with pytest.raises(TypeError, match="tune=1 must be True or False"):
        model.compile(x.shape, tune=1)


def test_more_memory_than_there_is():
    b = convkit.Builder((1, 8, 8), name="huge")
    model = b.model(b.relu(b.conv2d(b.input, 64, 3, padding=1)))
    with pytest.raises(MemoryError, match=r"huge needs \d+ bytes for its arrays: this machine has"):
        model.compile((1, 1, 1 << 20, 1 << 14))


# Files


def test_save_and_load(tmp_path):
    model, x = model_of(), draw((2, 4, 12, 10))
    model.labels, model.preset = ("a", "b"), "imagenet"
    path = tmp_path / "net.safetensors"
    model.save(path)
    twin = convkit.load(path)
    assert twin.graph == model.graph
    assert twin.labels == ("a", "b") and twin.preset == "imagenet"
    np.testing.assert_array_equal(twin(x), model(x))
    assert set(convkit.load_weights(path)) == set(model.state_dict())
    with pytest.raises(ValueError, match="must end in .safetensors"):
        model.save(tmp_path / "net.npz")


def broken(path, change):
    """The file with its graph's text changed."""
    contents = path.read_bytes()
    size = int.from_bytes(contents[:8], "little")
    header = json.loads(contents[8 : 8 + size])
    data = json.loads(header["__metadata__"]["convkit_graph"])
    change(data)
    header["__metadata__"]["convkit_graph"] = json.dumps(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + contents[8 + size :])


BROKEN = {
    "newer": (lambda g: g.update(format=2), "format 2, this convkit reads 1: a newer convkit"),
    "no nodes": (lambda g: g.pop("nodes"), "nodes=None, expected a list"),
    "unknown operator": (
        lambda g: g["nodes"][0].update(op="warp"), "node 'conv1' is a 'warp', which this convkit"
    ),
    "unknown input": (
        lambda g: g["nodes"][1]["inputs"].__setitem__(0, "lost"), "reads 'lost', which nothing"
    ),
    "cycle": (
        lambda g: g["nodes"][0]["inputs"].__setitem__(0, "fc"), "reads 'fc', which nothing before"
    ),
    "made twice": (
        lambda g: g["nodes"][1]["outputs"][0].update(name="conv1"), "'conv1' is made twice"
    ),
    "negative size": (lambda g: g["inputs"][0].update(shape=[1, -4, 2, 2]), "expected sizes"),
    "other weights": (
        lambda g: g["weights"][0].update(shape=[20, 4, 3, 2]), r"float32 \(20, 4, 3, 3\): the gr"
    ),
    "missing weights": (
        lambda g: g["weights"][0].update(name="w9") or g["nodes"][0]["inputs"].__setitem__(1, "w9"),
        "weights are missing: w9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(name, tmp_path):
    change, match = BROKEN[name]
    path = tmp_path / "net.safetensors"
    model_of().save(path)
    broken(path, change)
    with pytest.raises(ValueError, match=match):
        convkit.load(path)


def test_weights_alone_are_no_network(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "weights.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, path)
    with pytest.raises(ValueError, match="holds weights and no graph"):
        convkit.load(path)
    with pytest.raises(ValueError, match="ends in '.txt'"):
        convkit.load(tmp_path / "net.txt")
    with pytest.raises(ValueError, match=r"ends in '.pth'.*holds weights and no network"):
        convkit.load("net.pth")
    with pytest.raises(ValueError, match=r"ends in ''.*build\('vgg16'\) makes the network"):
        convkit.load("vgg16")
    with pytest.raises(ValueError, match="is a folder: expected a file"):
        convkit.load(tmp_path)
    with pytest.raises(TypeError, match="path=3 must be"):
        convkit.load(3)


def test_mistaken_places_to_save_to(tmp_path):
    model = convkit.models.build("lenet5_digits")
    with pytest.raises(TypeError, match="path=3 must be"):
        model.save(3)
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*absent'$"):
        model.save(tmp_path / "absent" / "net.safetensors")
    (tmp_path / "net.safetensors").mkdir()
    with pytest.raises(IsADirectoryError, match=r"is a folder: .*net\.safetensors'$"):
        model.save(tmp_path / "net.safetensors")
    with pytest.raises(TypeError, match="source=3 must be a path or name -> array"):
        model.load(3)


def test_save_refuses_what_load_and_classify_would(tmp_path):
    model = convkit.models.build("lenet5_digits")
    for labels in (5, "abc", [1, 2]):
        model.labels = labels
        with pytest.raises(TypeError, match="labels=.* must be a list of texts"):
            model.save(tmp_path / "net.safetensors")
    model.labels, model.preset = None, "imagnet"
    with pytest.raises(ValueError, match="preset='imagnet' must be one of imagenet"):
        model.save(tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["lenet5_digits", "resnet50", "mobilenet_v2"])
def test_text_and_drawing_of_graphs(name):
    graph = convkit.models.build(name).graph
    assert read_graph(graph_text(graph)) == graph
    drawn = graph.to_dot()
    assert drawn.startswith(f'digraph "{name}" {{') and drawn.endswith("}")
    assert drawn.count(" -> ") == 1 + sum(
        not isinstance(value, Weight) for node in graph.nodes for value in node.reads
    )


# The command


def test_convert_and_check(tmp_path, capsys):
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    model_of().save(source)
    assert main(["convert", str(source), str(target)]) == 0
    assert "small, 5," in capsys.readouterr().out
    assert main(["check", str(target)]) == 0
    assert "small on input (1, 4, 12, 10): agrees with the definitions" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "none.safetensors")]) == 2
    assert "none.safetensors" in capsys.readouterr().err
    assert main(["models"]) == 0
    assert "resnet50" in capsys.readouterr().out


def test_check_names_the_first_node_that_differs(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    model_of().save(path)
    row = OPS["max_pool2d"]
    wrong = dataclasses.replace(row, reference=lambda a, k: (row.reference(a, k)[0] + 1,))
    monkeypatch.setitem(OPS, "max_pool2d", wrong)
    found = check(path)
    assert not found.right
    assert "the first node that differs is pool (max_pool2d)" in str(found)


# The arithmetic is the kernels'

NUMPY = """
    dot matmul einsum tensordot inner vdot convolve correlate multiply add subtract divide exp tanh
    maximum minimum clip where pad sum mean max concatenate stack take
"""


@pytest.mark.parametrize("name", ["lenet5_digits", "resnet20_cifar10", "mobilenet_v2"])
def test_numpy_computes_nothing_inside_a_run(name, monkeypatch):
    model = convkit.models.build(name)
    _, *image = model.graph.inputs[0].shape
    x = draw((2, *image))
    run = model.compile(x.shape)
    expected, called = run(x), []
    for function in NUMPY.split():
        true = getattr(np, function)
        monkeypatch.setattr(
            np, function, lambda *a, f=function, t=true, **k: called.append(f) or t(*a, **k)
        )
    y = run(x)
    monkeypatch.undo()
    assert not called
    np.testing.assert_array_equal(y, expected)
