"""`convkit classify`: what it says of pictures, and of whatever else it is given."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import convkit
from convkit import assets, cli, scores
from convkit.classify import find_images
from convkit.labels import Labels, labels_of, read_labels

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def colour_network(name="colours", *, side=8, features=3, activation=None, softmax=False):
    """The mean of each channel: with the preset unit it tells red, green and blue apart."""
    b = convkit.Builder((3, side, side), name=name)
    x = b.flatten(b.global_avg_pool2d(b.input))
    x = b.linear(x, features, activation=activation, name="fc")
    model = b.model(b.softmax(x) if softmax else x)
    weight = np.zeros((features, 3), np.float32)
    weight[-3:] = 10 * np.eye(3, dtype=np.float32)[:features]
    model.load({"fc.weight": weight, "fc.bias": np.zeros(features, np.float32)})
    model.preset = "unit"
    return model


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a network and a picture of each colour."""
    monkeypatch.chdir(tmp_path)
    colour_network().save("colours.safetensors")
    for name, colour in COLOURS.items():
        Image.new("RGB", (20, 10), colour).save(f"{name}.png")
    return tmp_path


def run(capsys, *arguments):
    """Exit code, output and messages of `convkit classify`."""
    code = cli.main(["classify", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def tops(capsys, *arguments):
    """What --json says of each file: its guesses."""
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    return {item["file"]: item["top"] for item in json.loads(out)}


# ---- what is said --------------------------------------------------------------------------------


def test_json(capsys, place):
    code, out, err = run(capsys, "colours.safetensors", "green.png", "red.png", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [item["file"] for item in found] == ["green.png", "red.png"]
    assert [guess["index"] for guess in found[0]["top"]] == [1, 0, 2]
    share = 1 / (1 + 2 * np.exp(-10))
    assert found[0]["top"][0] == {"index": 1, "label": None, "score": pytest.approx(share)}
    assert found[1]["top"][0]["index"] == 0
    assert sum(guess["score"] for guess in found[0]["top"]) == pytest.approx(1)


def test_text(capsys, place):
    code, out, err = run(capsys, "colours.safetensors", "blue.png", "--top", 2)
    assert (code, err) == (0, "")
    assert out == "blue.png\n   99.99%  2\n    0.00%  0\n"


def test_labels_of_a_file(capsys, place):
    (place / "names").write_text("rot\ngruen\nblau\n")
    top = tops(capsys, "colours.safetensors", "blue.png", "--labels", "names")["blue.png"]
    assert top[0]["label"] == "blau"


def test_labels_kept_in_the_model(capsys, place):
    model = colour_network()
    model.labels = ("r", "g", "b")
    model.save("named.safetensors")
    assert tops(capsys, "named.safetensors", "blue.png")["blue.png"][0]["label"] == "b"


def test_one_output_more_than_labels_is_the_background(capsys, place):
    colour_network(features=4).save("four.safetensors")
    (place / "names").write_text("r\ng\nb\n")
    top = tops(capsys, "four.safetensors", "red.png", "--labels", "names", "--top", 9)["red.png"]
    assert [guess["label"] for guess in top] == ["r", "g", "b"]
    assert [guess["index"] for guess in top] == [0, 1, 2]
    assert sum(guess["score"] for guess in top) < 1, "the background keeps its share"


def test_the_names_of_imagenet(capsys, place):
    for features in (1000, 1001):
        colour_network(features=features).save("many.safetensors")
        top = tops(capsys, "many.safetensors", "blue.png", "--top", 1)["blue.png"]
        assert (top[0]["index"], top[0]["label"]) == (999, "toilet tissue")


def test_shares_are_not_made_shares_again(capsys, place):
    colour_network(softmax=True).save("softmax.safetensors")
    for name in COLOURS:
        once = tops(capsys, "colours.safetensors", f"{name}.png")
        twice = tops(capsys, "softmax.safetensors", f"{name}.png")
        for a, b in zip(once[f"{name}.png"], twice[f"{name}.png"], strict=True):
            assert (a["index"], a["score"]) == (b["index"], pytest.approx(b["score"], rel=1e-5))


def test_a_single_output_is_the_second_of_two_classes(capsys, place):
    """As the course's network of cats and dogs gives it: folders in the order of their names."""
    for activation in (None, "sigmoid"):
        colour_network(features=1, activation=activation).save("one.safetensors")
        for folder, colour in (("dogs", "red"), ("cats", "blue")):
            os.makedirs(f"animals/{folder}", exist_ok=True)
            shutil.copy(f"{colour}.png", f"animals/{folder}/{colour}.png")
        top = tops(capsys, "one.safetensors", "animals")
        red, blue = (top[f"animals/{name}.png"] for name in ("dogs/red", "cats/blue"))
        assert red[0]["index"] == 1 and red[0]["label"] == "dogs"
        assert red[0]["score"] == pytest.approx(1 / (1 + np.exp(-10)))
        assert blue[0]["score"] == pytest.approx(0.5)


def test_presets_change_what_the_network_sees(capsys, place):
    found = {
        preset: tops(capsys, "colours.safetensors", "red.png", "--preset", preset)["red.png"]
        for preset in ("unit", "inception", "none", "standard")
    }
    assert found["unit"] == tops(capsys, "colours.safetensors", "red.png")["red.png"]
    assert found["inception"][1]["score"] == pytest.approx(np.exp(-20), rel=1e-3)
    assert found["none"][1]["score"] < 1e-30
    caffe = tops(capsys, "colours.safetensors", "red.png", "--preset", "caffe")["red.png"]
    assert caffe[0]["index"] == 2, "its channels are turned round"


def test_the_batch_does_not_matter(capsys, place):
    rng = np.random.default_rng(0)
    os.mkdir("many")
    for i in range(37):
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(f"many/{i:02}.png")
    many = tops(capsys, "colours.safetensors", "many")
    assert list(many) == [f"many/{i:02}.png" for i in range(37)]
    for name in ("many/00.png", "many/16.png", "many/36.png"):
        assert tops(capsys, "colours.safetensors", name)[name] == many[name]


def test_digits(capsys, place):
    """One channel, and the weights that come with convkit."""
    images, labels = assets.load_digits()
    lines = []
    for i in range(20):
        pixels = np.rint(255 * images[i, 0]).astype(np.uint8)
        Image.fromarray(pixels).save(f"digit{i}.png")
        lines.append(f"digit{i}.png {labels[i]}")
    (place / "truth").write_text("\n".join(lines))
    pictures = [f"digit{i}.png" for i in range(20)]
    weights = ("--weights", assets.digits_weights(), "--truth", "truth", "--top", 1)
    code, out, _ = run(capsys, "lenet5_digits", *pictures, *weights)
    model = convkit.models.build("lenet5_digits")
    model.load(assets.digits_weights())
    right = int((model(images[:20]).argmax(1) == labels[:20]).sum())
    assert code == 0 and right >= 19
    assert f"top-1 {right} of 20 right" in out.splitlines()[-1]


def test_a_network_trained_on_other_classes(capsys, place):
    model = convkit.models.build("lenet5_digits", num_classes=3)
    model.save("three.safetensors")
    (place / "names").write_text("a\nb\nc\n")
    arguments = ("lenet5_digits", "red.png", "--weights", "three.safetensors")
    top = tops(capsys, *arguments, "--labels", "names")["red.png"]
    assert {guess["label"] for guess in top} == {"a", "b", "c"}
    code, _, err = run(capsys, *arguments)
    assert code == 2 and "fc3.weight has shape (3, 84), expected (10, 84)" in err


def test_distances_to_codes_are_best_when_least(capsys, place):
    """The output of LeNet-5: the code nearest to the picture's mean colour wins."""
    b = convkit.Builder((3, 8, 8), name="nearest")
    x = b.flatten(b.global_avg_pool2d(b.input))
    model = b.model(b.rbf(x, 3, codes=np.eye(3, dtype=np.float32)))
    model.preset = "unit"
    model.save("nearest.safetensors")
    top = tops(capsys, "nearest.safetensors", "green.png")["green.png"]
    assert top[0]["index"] == 1
    assert top[0]["score"] == pytest.approx(1 / (1 + 2 * np.exp(-2)))


def onnx_colours(folder, *, layout="channels first", batch="n", side=8, to=(-1, 3)):
    """The same network as an exporter might write it."""
    onnx_models = pytest.importorskip("onnx_models", reason="needs the extra onnx")
    from onnx import helper

    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], keepdims=0,
                         axes=[1, 2] if layout == "channels last" else [2, 3]),
        helper.make_node("MatMul", ["m", "w"], ["t"]),
        helper.make_node("Reshape", ["t", "to"], ["r"]),
        helper.make_node("Softmax", ["r"], ["y"]),
    ]  # fmt: skip
    sizes = (side, side, 3) if layout == "channels last" else (3, side, side)
    proto = onnx_models.model(
        nodes,
        {"x": np.zeros((1, 3, 8, 8), np.float32), "w": np.eye(3, dtype=np.float32) * 10,
         "to": np.array(to)},
        ["y"], weights=("w", "to"), shapes={"x": (batch, *sizes)},
    )  # fmt: skip
    return onnx_models.saved(proto, folder)


WRITTEN = {
    "channels first": {},
    "channels last": {"layout": "channels last"},
    "any size": {"side": "side"},
    "a batch of 1": {"batch": 1},
    "a batch of 1 written into it": {"batch": 1, "to": (1, 3)},
    "a batch of 1 that takes all": {"batch": 1, "to": (1, -1)},
}


@pytest.mark.parametrize("written", WRITTEN)
def test_onnx_as_exporters_write_it(written, capsys, place):
    file = onnx_colours(place, **WRITTEN[written])
    pictures = ("red.png", "green.png", "blue.png")
    found = tops(capsys, file, *pictures, "--preset", "unit")
    assert [found[name][0]["index"] for name in pictures] == [0, 1, 2]
    alone = tops(capsys, file, "blue.png", "--preset", "unit")
    assert alone["blue.png"] == found["blue.png"]


def test_large_networks_run_smaller_batches(capsys, place, monkeypatch):
    sizes = []
    compile = convkit.Model.compile
    monkeypatch.setattr(
        convkit.Model, "compile",
        lambda self, shape, **keywords: sizes.append(shape[0]) or compile(self, shape, **keywords),
    )  # fmt: skip
    many = ["red.png"] * 40
    first = tops(capsys, "colours.safetensors", *many)
    assert sizes == [1, 16, 8]
    monkeypatch.setattr(scores, "BATCH_BYTES", 1)
    assert tops(capsys, "colours.safetensors", *many) == first
    assert sizes == [1, 16, 8, 1]


def test_a_files_unknown_preset_is_told_once(capsys, place):
    file = place / "colours.safetensors"
    contents = file.read_bytes()
    assert contents.count(b'"unit"') == 1
    file.write_bytes(contents.replace(b'"unit"', b'"tinu"'))
    code, out, err = run(capsys, file, "red.png", "blue.png")
    assert (code, out, err.count("preset='tinu' must be one of imagenet")) == (2, "", 1)
    assert err.count("\n") == 1
    assert run(capsys, file, "red.png", "--preset", "unit")[0] == 0


def test_usual_presets():
    for name, preset in {
        "resnet18": "imagenet", "mobilenet_v1": "inception", "lenet_caffe": "unit",
        "googlenet": "inception", "googlenet_paper": "caffe", "inception_v2": "caffe",
        "keras_cats_dogs": "unit",
    }.items():  # fmt: skip
        assert scores.usual_preset(name, convkit.models.build(name)) == preset


def test_usual_labels():
    assert labels_of(10, None, None, "resnet20_cifar10").name(9) == "truck"
    assert labels_of(10, None, None, "lenet_caffe").name(9) is None
    assert labels_of(10, None, ("a",) * 4, "net").names is None, "they are of another network"
    assert labels_of(1001, None, None, "net").background == 1


def test_images_are_found_in_order(place):
    names = [f"{i:02}" for i in range(30)]
    for name in reversed(names):
        os.makedirs(f"tree/{name}/deep")
        shutil.copy("red.png", f"tree/{name}/b.PNG")
        shutil.copy("red.png", f"tree/{name}/deep/a.png")
        (place / "tree" / name / "thumbs.db").touch()
    os.symlink("..", "tree/00/loop")
    found = find_images(["tree", "red.png"])
    expected = [f"tree/{name}/{file}" for name in names for file in ("b.PNG", "deep/a.png")]
    assert [item.file for item in found] == [*expected, "red.png"]
    assert [item.folder for item in found[:2]] == ["00", "deep"] and found[-1].folder is None


def test_help(capsys):
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    for word in ("--weights", "--labels", "--preset", "--truth", "--device", "--top", "--json"):
        assert word in out


# ---- what is right -------------------------------------------------------------------------------


def folders(*names):
    for name in names:
        os.makedirs(f"tree/{name}", exist_ok=True)
        shutil.copy(f"{name}.png", f"tree/{name}/x.png")


def test_folders_of_classes(capsys, place):
    folders("red", "green", "blue")
    shutil.copy("red.png", "tree/blue/wrong.png")
    (place / "tree" / "blue" / "notes.txt").write_text("no picture")
    (place / "names").write_text("Red\nGREEN\nblue\n")
    code, out, err = run(capsys, "colours.safetensors", "tree", "--labels", "names")
    assert (code, err) == (0, "")
    assert out.endswith("\ntop-1 3 of 4 right (75.0%), top-5 4 of 4 right (100.0%)\n")
    code, out, err = run(capsys, "colours.safetensors", "tree", "--labels", "names", "--json")
    assert len(json.loads(out)) == 4 and err.startswith("top-1 3 of 4 right")


def test_folders_without_labels_are_in_the_order_of_their_names(capsys, place):
    folders(
        "red", "green", "blue"
    )  # blue is 0, green 1, red 2: only green is as the network has it
    code, out, _ = run(capsys, "colours.safetensors", "tree")
    assert code == 0 and "top-1 1 of 3 right" in out
    assert "  0  blue\n" in out


def test_truth_of_a_file(capsys, place):
    (place / "names").write_text("dark red\ngreen\nblue\n")
    shutil.copy("red.png", "very red.png")
    (place / "truth").write_text(
        "red.png dark red\n# a comment\n\nvery red.png 0\nblue.png\tgreen\n"
    )
    arguments = ("--labels", "names", "--truth", "truth", "--top", 1)
    pictures = ("red.png", place / "very red.png", "blue.png", "green.png")
    code, out, _ = run(capsys, "colours.safetensors", *pictures, *arguments)
    assert code == 0
    assert out.endswith("top-1 2 of 3 right (66.7%), top-5 3 of 3 right (100.0%)\n")


def test_names_of_classes():
    numbers, names = zip(*assets.imagenet_classes(), strict=True)
    labels = Labels(1000, 1, names, numbers)
    assert len(set(numbers)) == 1000
    assert labels.find("great_white_SHARK") == labels.find("n01484850") == labels.find("2") == {2}
    assert labels.find("crane") == {134, 517}
    assert labels.find("1000") == labels.find("-1") == labels.find("fish fingers") == frozenset()


def test_labels_are_lines(tmp_path):
    (tmp_path / "a").write_text("\ufeffcat\n dog \n", encoding="utf-8")
    assert read_labels(tmp_path / "a") == ("cat", "dog")
    for content, message in ((b"", "is empty"), (b"a\n\nb", "line 2 is empty"), (b"\xff", "UTF-8")):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_labels(tmp_path / "a")


# ---- what is wrong -------------------------------------------------------------------------------

MISTAKES = {
    "no network of this name": ("colors red.png", "'colors' is neither a file nor a network"),
    "nearly a name": ("resnet81 red.png", "did you mean resnet18"),
    "a name in capitals": ("VGG16 red.png", "did you mean vgg16"),
    "no such file": ("absent.onnx red.png", "absent.onnx"),
    "a picture as network": ("red.png red.png", "'red.png' ends in '.png': expected"),
    "weights as network": ("w.pth red.png", "--weights w.pth"),
    "no weights": ("resnet18 red.png", "conv1.weight (64, 3, 7, 7); docs/models.md"),
    "no weights, but some come": ("lenet5_digits red.png", "lenet5_digits.safetensors comes with"),
    "weights of a file": ("NET red.png --weights w.pth", "is for a network by name"),
    "absent weights": ("resnet18 red.png --weights absent.pth", "absent.pth"),
    "empty folder": ("NET empty", "empty: no picture in there"),
    "top 0": ("NET red.png --top 0", "top=0 must be at least 1"),
    "top in words": ("NET red.png --top five", "'five'"),
    "preset": ("NET red.png --preset torch", "preset='torch' must be one of imagenet"),
    "device": ("NET red.png --device tpu", "device='tpu' must be"),
    "labels for another network": ("NET red.png --labels one", "one has 1 names, which do not fit"),
    "absent labels": ("NET red.png --labels absent", "absent"),
    "absent truth": ("NET red.png --truth absent", "absent"),
    "unknown class": ("NET red.png --truth odd", "odd, line 2 says 'purple': expected a file's"),
    "index too large": (
        "NET red.png --truth high",
        "expected a file's name and an index from 0 to",
    ),
    "truth of other files": ("NET red.png --truth other", "names none of the pictures"),
    "no classifier": ("wide red.png", "is no classifier: it gives y 1x3x8x8"),
    "no pictures": ("flat red.png", "flat takes no pictures: its input is input 1x12"),
    "two channels": ("pair red.png", "its input has 2 channels, expected 1 or 3"),
}


@pytest.fixture
def odd_files(place):
    (place / "one").write_text("a\n")
    (place / "odd").write_text("red.png 1\ngreen.png purple\n")
    (place / "high").write_text("red.png 3\n")
    (place / "other").write_text("pink.png 2\n")
    (place / "w.pth").write_text("")
    os.mkdir("empty")
    b = convkit.Builder((3, 8, 8), name="wide")
    b.model(b.conv2d(b.input, 3, 1, name="y")).save("wide.safetensors")
    b = convkit.Builder((12,), name="flat")
    b.model(b.linear(b.input, 3)).save("flat.safetensors")
    b = convkit.Builder((2, 8, 8), name="pair")
    b.model(b.linear(b.flatten(b.input), 3)).save("pair.safetensors")


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_line_and_exit_2(name, capsys, odd_files):
    written, message = MISTAKES[name]
    arguments = written.replace("NET", "colours.safetensors").split()
    if os.path.exists(f"{arguments[0]}.safetensors"):
        arguments[0] += ".safetensors"
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and err.startswith("convkit classify: "), err
    assert message in err


def test_what_cannot_be_read_is_reported_and_skipped(capsys, place):
    (place / "text.jpg").write_text("no picture")
    pictures = ("absent.png", "red.png", "text.jpg", "blue.png")
    code, out, err = run(capsys, "colours.safetensors", *pictures, "--json")
    assert code == 2
    assert [item["file"] for item in json.loads(out)] == ["red.png", "blue.png"]
    assert [item["top"][0]["index"] for item in json.loads(out)] == [0, 2]
    lines = err.splitlines()
    assert len(lines) == 3
    assert "absent.png" in lines[0] and "text.jpg holds no picture" in lines[1]
    assert lines[2] == "convkit classify: 2 of 4 pictures skipped"


def test_a_name_that_is_no_text(capsys, place):
    odd = os.fsdecode(b"r\xff.png")
    shutil.copy("red.png", odd)
    code, out, err = run(capsys, "colours.safetensors", odd, "--top", 1)
    assert (code, err) == (0, "")
    assert out.startswith("r\\udcff.png\n")
    assert tops(capsys, "colours.safetensors", odd)[odd][0]["index"] == 0


def test_an_answer_of_nan_is_reported(capsys, place):
    model = colour_network()
    model.load({"fc.bias": np.full(3, np.nan, np.float32)}, strict=False)
    model.save("nan.safetensors")
    code, out, err = run(capsys, "nan.safetensors", "red.png")
    assert (code, out) == (2, "")
    assert err == "convkit classify: red.png: the network's answer holds NaN or infinities\n"


# ---- the terminal --------------------------------------------------------------------------------


def start(*arguments, **keywords):
    return subprocess.Popen(
        [sys.executable, "-m", "convkit", "classify", *map(str, arguments)], text=True, **keywords
    )


def test_a_pipe_gets_plain_text(place):
    process = start(
        "colours.safetensors", "red.png", "blue.png", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("red.png\n") and "\x1b" not in out


def test_a_bar_on_a_terminal(place):
    """On the terminal only: what is piped elsewhere stays clean. The cursor is never hidden."""
    leader, follower = pty.openpty()
    process = start(
        "colours.safetensors", "red.png", "blue.png", stdout=subprocess.PIPE, stderr=follower,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    out, _ = process.communicate(timeout=60)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert process.returncode == 0
    assert "2/2" in shown and "\x1b[?25l" not in shown
    assert out.startswith("red.png\n") and "\x1b" not in out


def test_ctrl_c_ends_at_once(place):
    """Among a hundred pictures that take ten seconds and more. By hand: within 0.1 s."""
    b = convkit.Builder((3, 512, 512), name="slow")
    x = b.conv2d(b.input, 32, 31, padding=15, name="a")
    x = b.conv2d(x, 32, 31, padding=15, name="b")
    model = b.model(b.flatten(b.global_avg_pool2d(x)))
    model.save("slow.safetensors")
    process = start(
        "slow.safetensors", *["red.png"] * 100, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    time.sleep(3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - sent < 3
    assert err == "" and process.returncode in (130, -signal.SIGINT)


def test_a_program_keeps_its_own_ctrl_c(capsys, place):
    before = signal.getsignal(signal.SIGINT)
    run(capsys, "colours.safetensors", "red.png")
    assert signal.getsignal(signal.SIGINT) is before


# ---- a real network ------------------------------------------------------------------------------


def test_mobilenet_v2_on_imagenet(data, capsys, tmp_path):
    """36 of 40 right, 38 among the first five: of the ONNX file, then of our own file of it."""
    pytest.importorskip("onnx", reason="needs the extra onnx")
    pictures = sorted((data / "imagenet40").iterdir())
    truth = tmp_path / "truth"
    truth.write_text("".join(f"{file.name} {int(file.name[:3])}\n" for file in pictures))
    network = data / "mobilenet_v2" / "mobilenet_v2_1.0_224.onnx"
    arguments = (data / "imagenet40", "--truth", truth, "--preset", "inception")
    code, out, err = run(capsys, network, *arguments)
    assert (code, err) == (0, "")
    assert out.endswith("top-1 36 of 40 right (90.0%), top-5 38 of 40 right (95.0%)\n")
    expected = np.load(data / "mobilenet_v2" / "expected.npz")
    found = tops(capsys, network, *arguments)
    for file, output in zip(pictures, expected["output"], strict=True):
        for guess in found[str(file)]:
            assert guess["score"] == pytest.approx(output[1 + guess["index"]], abs=1e-3)
    model = convkit.load(network)
    model.preset = "inception"
    model.save(tmp_path / "own.safetensors")
    code, out, _ = run(capsys, tmp_path / "own.safetensors", *arguments[:3])
    assert code == 0 and "top-1 36 of 40 right (90.0%), top-5 38 of 40" in out


def test_cifar10_in_folders(data, capsys, tmp_path):
    """The thousand pictures lie in folders of their class; the small ones are not cut."""
    shutil.unpack_archive(data / "resnet_cifar10" / "cifar10_jpeg1000.zip", tmp_path / "pictures")
    weights = data / "resnet_cifar10" / "resnet20.th"
    code, out, _ = run(capsys, "resnet20_cifar10", tmp_path / "pictures", "--weights", weights)
    assert code == 0
    assert "top-1 795 of 1000 right (79.5%)" in out.splitlines()[-1]
