"""The developers' bench: its layers, its verdicts, how it fits costs, how work falls on threads."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from convkit import _convkit
from convkit.bench.measure import Spread

# At the end: what is installed goes first, convkit above all.
sys.path.append(str(Path(__file__).resolve().parent.parent))
from bench import calibrate, choice, compare, items, layers, results, table  # noqa: E402

#: Multiply-adds of a network, and those of its fully connected layers, which no file lists.
NETWORKS = {
    "alexnet": (724_406_816, 9216 * 4096 + 4096 * 4096 + 4096 * 1000),
    "efficientnet_b0": (385_814_752, 1280 * 1000),
    "googlenet": (1_582_671_872, 1024 * 1000),
    "mobilenet_v1": (568_740_352, 1024 * 1000),
    "mobilenet_v2": (300_774_272, 1280 * 1000),
    "resnet18": (1_814_073_344, 512 * 1000),
    "resnet50": (4_089_184_256, 2048 * 1000),
    "resnext50": (4_230_479_872, 2048 * 1000),
    "vgg16": (15_470_264_320, 25088 * 4096 + 4096 * 4096 + 4096 * 1000),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds_of_a_network(name):
    total, connected = NETWORKS[name]
    assert layers.macs(layers.read(name)) + connected == total


def test_every_file_has_layers_of_its_own_name():
    assert set(NETWORKS) < set(layers.networks())
    for name in layers.networks():
        found = layers.read(name)
        assert len({layer.problem for layer in found}) == len(found) > 4
        assert all(layer.name.startswith(name) and layer.count > 0 for layer in found)


def test_layers_are_selected_by_file_class_and_shape():
    assert layers.select(["vgg16"]) == layers.read("vgg16")
    assert {layer.kind for layer in layers.select()} == set(layers.CLASSES)
    assert {layer.kind for layer in layers.select(["resnet50", "1x1"])} == {"1x1"}
    (single,) = layers.select(["n1c3h9w9k4r3s3"])
    assert str(single.problem) == single.name
    problems = [layer.problem for layer in layers.select()]
    assert len(set(problems)) == len(problems)


def test_drawn_layers_are_new_and_the_same_for_a_seed():
    first, real = layers.draw(50, 3), {layer.problem for layer in layers.select()}
    assert first == layers.draw(50, 3) != layers.draw(50, 4)
    assert not {layer.problem.with_batch(1) for layer in first} & real
    assert {layer.problem.n for layer in first} == {1, 8, 32}
    for layer in first:
        again = layer.problem
        assert layers.problem_of(str(again)) == again
        assert again.c % again.groups == again.k % again.groups == 0


def test_a_difference_is_where_intervals_do_not_meet():
    old = {"ms": 2.0, "low": 1.9, "high": 2.1}
    assert compare.verdict(old, {"low": 1.5, "high": 1.8}) == "faster"
    assert compare.verdict(old, {"low": 1.5, "high": 1.9}) == "no difference"
    assert compare.verdict(old, {"low": 2.2, "high": 2.3}) == "slower"


def row(ms, **more):
    base = {"shape": "n1c1h8w8k1r3s3", "class": "image", "call": "auto", "algorithm": "direct"}
    base |= {"threads": 1, "state": "warm", "gflops": 1.0}
    return base | {"ms": ms, "low": 0.9 * ms, "high": 1.1 * ms} | more


def test_compare_reads_what_was_written(tmp_path, capsys):
    head = {"processor": "P", "isa": "avx2", "commit": "c"}
    a = results.write(tmp_path / "a.json", head, [row(2.0), row(5.0, call="fft")])
    b = results.write(tmp_path / "b.json", head, [row(1.0), row(5.1, call="fft")])
    options = type("Options", (), {"a": a, "b": b})
    assert compare.run(options) == 0
    said = capsys.readouterr().out
    assert "faster   2.00x" in said
    assert "1 faster, 0 slower, 1 no difference of 2" in said
    assert compare.run(type("Options", (), {"a": b, "b": a})) == 1


def test_table_stands_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- t: begin -->\nold\n<!-- t: end -->\nb\n", encoding="utf-8")
    lines = table.classes([row(1.0), row(3.0, call="ort"), row(2.0, call="torch")])
    table.put(page, "t", lines)
    assert (
        page.read_text(encoding="utf-8") == f"a\n<!-- t: begin -->\n{lines}\n<!-- t: end -->\nb\n"
    )
    assert lines.splitlines()[-1] == "| image filters | 1 | warm | 1 | 1 | 2.00 | 2.00 |"
    with pytest.raises(ValueError, match="no lines"):
        table.put(page, "u", lines)


def test_loss_counts_only_beyond_the_spread():
    best = Spread(1.0, 0.9, 1.1, 9)
    same, off = Spread(1.3, 1.05, 1.5, 9), Spread(1.3, 1.2, 1.5, 9)
    assert choice.loss({"fft": best, "auto": same}) == ("fft", 0.0)
    name, slower = choice.loss({"direct": off, "fft": best, "auto": off})
    assert (name, round(slower, 9)) == ("fft", 0.3)


def test_fit_finds_a_quadratic():
    """Of its own features: what is fitted from exact data is found again, also beside it."""
    dice = np.random.default_rng(0)
    phi = dice.normal(3, 2, (400, 4))
    target = 0.5 + 0.2 * phi[:, 0] - 0.1 * phi[:, 1] * phi[:, 2]
    fit = calibrate.fit(phi, target, np.ones(400))
    assert np.abs(target - target.mean()).mean() > 0.5
    assert np.abs(fit.terms(phi) @ fit.theta - target).mean() < 0.05
    beyond = fit.high + 5
    np.testing.assert_array_equal(fit.terms(beyond), fit.terms(fit.high))


@pytest.mark.parametrize(
    ("count", "threads", "busiest"),
    [(1, 8, 1), (7, 8, 1), (8, 8, 1), (9, 8, 2), (64, 2, 32), (65, 2, 33), (1000, 8, 125)],
)
def test_makespan(count, threads, busiest):
    assert items.makespan(count, threads) == busiest


LARGE = [layer for layer in layers.select() if 2 * layer.problem.macs >= items.LARGE]


def uneven(isa, threads, found):
    """What auto takes for these layers and keeps less than 80 % of the threads' time busy."""
    before = _convkit.current_isa()
    _convkit.select_isa(isa)
    try:
        return [
            f"{name} {reached:.2f} {counts} {layer.problem}"
            for layer in found
            for name, reached, counts in items.short(layer.problem, threads)
            if name == choice.chosen(layer)
        ]
    finally:
        _convkit.select_isa(before)


#: One image of one channel, which the FFT cuts into few, large tiles.
IMAGES = [layer for layer in LARGE if layer.kind == "image"]
NETWORK_LAYERS = [layer for layer in LARGE if layer.kind != "image"]


@pytest.mark.parametrize("threads", [8, 32])
@pytest.mark.parametrize("isa", _convkit.available_isas())
def test_work_of_networks_falls_evenly_on_threads(isa, threads):
    short = uneven(isa, threads, NETWORK_LAYERS)
    assert not short, "\n".join(short)


@pytest.mark.xfail(
    strict=False,
    reason="filters of 31x31 and more make few, large tiles: python -m bench items",
)
@pytest.mark.parametrize("isa", _convkit.available_isas())
def test_work_of_images_falls_evenly_on_threads(isa):
    short = uneven(isa, 32, IMAGES)
    assert not short, "\n".join(short)


@pytest.mark.parametrize("text", ["9/3", "3/3", "1", "-1/2", "a/b", "", "0/0"])
def test_a_wrong_slice_is_refused(text):
    with pytest.raises(ValueError, match="must be i/n"):
        layers.part([], text)


def test_slices_make_the_whole():
    every = layers.select(["resnet18"])
    parts = [layers.part(every, f"{i}/3") for i in range(3)]
    assert sorted(layer.name for part in parts for layer in part) == sorted(
        layer.name for layer in every
    )


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match=r"--shapes 'resnet19' must be .*resnet18"):
        layers.select(["resnet19"])
