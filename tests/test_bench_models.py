"""The bench of whole networks: its options, its check of checks, a tiny network end to end."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
# At the end: what is installed goes first, convkit above all.
sys.path.append(str(ROOT))
from bench import engines, models, networks, table  # noqa: E402
from bench.__main__ import main  # noqa: E402


def options(*words):
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    found = parser.parse_args(list(map(str, words)))
    found.words = " ".join(map(str, words))
    return found


def tiny(folder, w=None, sizes=("batch", 2, 9, 7)):
    """An ONNX file: 3x3 convolution, ReLU, mean over the image, fully connected."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    dice = np.random.default_rng(1)
    w = dice.standard_normal((4, 2, 3, 3)) if w is None else w
    arrays = {"w": w, "b": np.full(4, 0.1), "m": dice.standard_normal((4, 5))}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["y"]),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", kind, sizes)],
        [helper.make_tensor_value_info("y", kind, ["batch", 5])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "tiny.onnx")
    return folder / "tiny.onnx"


def run(*words):
    said = []
    code = models.run(options(*words), said.append)
    return code, "\n".join(said)


def test_a_tiny_network_end_to_end(tmp_path):
    file, out = tiny(tmp_path), tmp_path / "found.json"
    code, said = run(file, "--batch", "1,3", "--rounds", 3, "--out", out)
    assert code == 0
    assert "tiny  3x2x9x7, 1 thread(s)" in said
    assert "MiB" in said
    head, rows = models.results.read(out)
    assert head["command"].startswith("models")
    assert [row["batch"] for row in rows] == [1, 3]
    for row in rows:
        assert row["engine"] == "convkit"
        assert row["error"] < 1e-6
        assert row["ms"] * row["images_per_second"] == pytest.approx(1e3 * row["batch"])
        assert row["peak_memory"] > 1 << 22
        assert row["compile_seconds"] > 0


def test_results_as_json(tmp_path):
    code, said = run(tiny(tmp_path), "--rounds", 3, "--no-memory", "--json")
    assert code == 0
    (row,) = json.loads(said)["rows"]
    assert "peak_memory" not in row


def test_a_wrong_answer_is_not_timed(tmp_path, monkeypatch):
    def wrong(network, x, threads):
        right = real(network, x, threads)
        return lambda: right() * np.float32(1.001)

    real = engines.MAKERS["convkit"]
    monkeypatch.setitem(engines.MAKERS, "convkit", wrong)
    code, said = run(tiny(tmp_path), "--rounds", 3, "--no-memory")
    assert code == 1
    assert "WRONG: error 1.0e-03" in said


def test_a_network_that_sees_nothing_is_not_compared(tmp_path):
    code, said = run(tiny(tmp_path, np.full((4, 2, 3, 3), 1e-9)), "--rounds", 3, "--no-memory")
    assert code == 1
    assert "NOT COMPARED: answers to different images differ by" in said


def test_a_network_that_looks_the_same_in_a_mirror_is_not_compared(tmp_path):
    even = np.random.default_rng(1).standard_normal((4, 2, 3, 3))
    file = tiny(tmp_path, even + even[:, :, ::-1, ::-1])
    code, said = run(file, "--rounds", 3, "--no-memory")
    assert code == 1
    assert "NOT COMPARED: one layer's filters mirrored pass as right" in said


def test_images_are_different_and_always_the_same():
    pictures = models.images((3, 40, 33))
    assert pictures.shape == (models.IMAGES, 3, 40, 33)
    assert np.array_equal(pictures, models.images((3, 40, 33)))
    batch = models.batch_of(pictures, 6)
    assert np.array_equal(batch[5], pictures[1])
    assert not np.array_equal(batch[5], pictures[0])


@pytest.mark.parametrize("bad", [np.full((2, 3), np.nan), np.zeros((2, 2))])
def test_nan_and_another_shape_are_infinitely_wrong(bad):
    assert models.difference(bad, np.ones((2, 3))) == np.inf


def test_open_sizes_are_asked_for(tmp_path):
    file = tiny(tmp_path, sizes=("batch", 2, "h", "w"))
    with pytest.raises(ValueError, match="takes images of any size: say which by --size HxW"):
        models.selected(options(file))
    ((network, shape),) = models.selected(options(file, "--size", "5x6"))
    assert (network.title, shape) == ("tiny", (2, 5, 6))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--networks", "lenet"], "--networks 'lenet' must be one of alexnet, "),
        (["--threads", "0"], "--threads '0' must be whole numbers of 1 and more"),
        (["--batch", "x"], "--batch 'x' must be whole numbers of 1 and more"),
        (["--rounds", "0"], "--rounds 0 must be at least 1"),
        (["--peers", "tensorrt"], "--peers 'tensorrt' must be one of ort, openvino, torch"),
        (["--size", "5", "none.onnx"], "--size '5' must be HxW, such as 224x224"),
        (["none.onnx"], "none.onnx does not exist"),
        (["net.pt"], "net.pt must end in .onnx"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments_are_one_line(words, message):
    with pytest.raises(ValueError) as refused:
        run(*words)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_the_command_line_refuses_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "models", "none.onnx"])
    assert main() == 2
    assert capsys.readouterr().err == "python -m bench models: none.onnx does not exist\n"


def test_named_networks_need_pytorch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match="--networks alexnet is written by PyTorch"):
        models.selected(options("--networks", "alexnet", "--cache", tmp_path))


def test_ratios_are_of_the_best_peer(tmp_path):
    def row(engine, ms):
        return {
            "network": "net", "batch": 8, "threads": 2, "engine": engine, "ms": ms,
            "low": ms, "high": ms, "images_per_second": 8e3 / ms, "compile_seconds": 0.5,
        }  # fmt: skip

    rows = [row("convkit", 2.0), row("ort", 4.0), row("openvino", 3.0)]
    assert models.summary(rows) == "net              batch  8, 2 thread(s):  1.50 of openvino"
    assert models.summary(rows[:1]) == models.summary(rows[1:]) == ""
    head = {
        "command": "models", "processor": "P", "profile": "p", "isa": "avx2", "commit": "c",
        "date": "d", "peers": {"ort": "1"},
    }  # fmt: skip
    models.results.write(tmp_path / "net.json", head, rows)
    text = table.text(str(tmp_path / "net.json"), "networks")
    assert "| net | 8 | 2 | 2.00 (2.00 to 2.00) | 4000.0 | openvino | 3.00 | 1.50 |" in text


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_networks_are_the_papers(name):
    """Parameters, those of batch norm included, as torchvision counts them."""
    pytest.importorskip("torch")
    counts = {
        "alexnet": 61_100_840, "vgg16": 138_357_544, "squeezenet": 1_235_496,
        "resnet18": 11_689_512, "resnet50": 25_557_032, "resnext50": 25_028_904,
        "densenet121": 7_978_856, "mobilenet_v1": 4_231_976, "mobilenet_v2": 3_504_872,
        "efficientnet_b0": 5_288_548, "googlenet": 7_005_832,
    }  # fmt: skip
    module = networks.build(name)
    assert sum(part.numel() for part in module.parameters()) == counts[name]
