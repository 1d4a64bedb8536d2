"""python -m bench models: whole networks, convkit and its peers on the same ONNX file.

Every engine is checked against float64 sums before the clock starts, and the check is checked: a
network counts only where two images get answers that differ by 1 % of their size, and where
mirroring the filters of one layer is found out. Then calls in shuffled order, each after a pause,
in which other engines' threads stop spinning, and an untimed call. Compile time and peak memory
are those of a fresh process that loads, compiles and runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import engines, networks, peers, results
from bench.engines import Network
from bench.kernels import isa
from bench.options import numbers
from bench.peers import limit_threads
from convkit import _convkit
from convkit.bench.measure import compare_calls

Array = np.ndarray[Any, Any]
Rows = list[dict[str, Any]]
#: The largest error, as a share of the largest answer, that is right.
MOST_ERROR = 1e-4
#: By how much, as a share of the largest answer, two images must be told apart.
LEAST_DIFFERENCE = 0.01
#: Different images; a larger batch has them again and again.
IMAGES = 4


def images(shape: tuple[int, ...]) -> Array:
    """IMAGES images (c, h, w) as pictures are: areas under noise, each with its own contrast."""
    dice = np.random.default_rng(0)
    c, h, w = shape
    coarse = dice.standard_normal((IMAGES, c, -(-h // 32), -(-w // 32)))
    areas = coarse.repeat(32, axis=2).repeat(32, axis=3)[:, :, :h, :w]
    contrast = np.linspace(1.5, 0.5, IMAGES).reshape(-1, 1, 1, 1)
    return (contrast * (areas + 0.5 * dice.standard_normal(areas.shape))).astype(np.float32)


def batch_of(pictures: Array, batch: int) -> Array:
    return np.ascontiguousarray(pictures[np.arange(batch) % len(pictures)])


def difference(y: Array, wanted: Array) -> float:
    """The largest difference as a share of the largest wanted value; infinite for NaN."""
    if y.shape != wanted.shape:
        return float("inf")
    share = float(np.abs(y.astype(np.float64) - wanted).max() / np.abs(wanted).max())
    return share if np.isfinite(share) else float("inf")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The answers to the images and where they are from; why they prove nothing, or ""."""

    answers: Array
    source: str
    blind: str


def wanted(network: Network, pictures: Array) -> Wanted:
    answers, source = _reference(network, pictures)
    seen = difference(answers[1:], np.broadcast_to(answers[:1], answers[1:].shape))
    if seen < LEAST_DIFFERENCE:
        return Wanted(answers, source, f"answers to different images differ by {seen:.1e} only")
    with tempfile.TemporaryDirectory() as folder:
        mirrored = _mirrored(network.file, Path(folder))
        if mirrored is not None:
            y = engines.prepare("convkit", Network(mirrored), pictures[:1], 1).call()
            if difference(y, answers[:1]) <= MOST_ERROR:
                return Wanted(answers, source, "one layer's filters mirrored pass as right")
    return Wanted(answers, source, "")


def _reference(network: Network, pictures: Array) -> tuple[Array, str]:
    """PyTorch in float64 where it has the network; else ONNX Runtime; else ONNX's definitions."""
    if network.name:
        with contextlib.suppress(ImportError):
            return _float64(network, pictures), "PyTorch, float64"
    with contextlib.suppress(ImportError):
        return engines.prepare("ort", network, pictures, 1).call(), "ONNX Runtime"
    from onnx.reference import ReferenceEvaluator

    definitions = ReferenceEvaluator(str(network.file))
    return definitions.run(None, {definitions.input_names[0]: pictures})[0], "onnx.reference"


def _float64(network: Network, pictures: Array) -> Array:
    """Kept beside the network's file: it takes seconds."""
    import torch

    kept = network.file.with_suffix(".npy")
    if not kept.exists():
        with torch.inference_mode():
            y = networks.build(network.name).double()(torch.from_numpy(pictures).double())
        np.save(kept, y.numpy())
    found: Array = np.load(kept)
    return found


def _mirrored(file: Path, folder: Path) -> Path | None:
    """The network with the last filters that are larger than 1x1 mirrored; None without any."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(file)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in reversed(model.graph.node):
        if node.op_type == "Conv" and node.input[1] in weights:
            tensor = weights[node.input[1]]
            w = numpy_helper.to_array(tensor)
            if max(w.shape[2:]) > 1:
                flipped = np.ascontiguousarray(np.flip(w, range(2, w.ndim)))
                tensor.CopyFrom(numpy_helper.from_array(flipped, tensor.name))
                onnx.save(model, folder / "mirrored.onnx")
                return folder / "mirrored.onnx"
    return None


def image_shape(file: Path, size: tuple[int, ...] | None) -> tuple[int, ...]:
    """(c, h, w) of the only input of a file; `size` replaces h and w that it leaves open."""
    from onnx import load

    graph = load(file, load_external_data=False).graph
    held = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in held]
    if len(inputs) != 1:
        raise ValueError(f"{file} has {len(inputs)} inputs: `bench models` runs networks of one")
    sizes = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    if len(sizes) != 4 or sizes[1] < 1:
        raise ValueError(f"{file}: input {inputs[0].name!r} has sizes {sizes}, expected n, c, h, w")
    shape = sizes[1], *(free if fixed < 1 else fixed for fixed, free in
                        zip(sizes[2:], size or (0, 0), strict=True))  # fmt: skip
    if min(shape) < 1:
        raise ValueError(f"{file} takes images of any size: say which by --size HxW")
    return shape


def fresh_process(
    engine: str, network: Network, shape: tuple[int, ...], threads: int
) -> dict[str, Any]:
    """What `bench.engines` says in a process of its own."""
    words = [engine, network.file, network.name, ",".join(map(str, shape)), threads]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.engines", *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(sys.path),
                          "CONVKIT_FORCE_ISA": _convkit.current_isa()},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ValueError(f"{engine} on {network.title}: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_network(
    network: Network, x: Array, right: Wanted, options: argparse.Namespace, threads: int
) -> Rows:
    """A row for each engine, in the order of their medians."""
    found = [name for peer in options.peers for name in engines.PEERS[peer]]
    if not network.name:
        found = [name for name in found if not name.startswith("torch")]
    rows: dict[str, dict[str, Any]] = {}
    calls = {}
    for engine in ("convkit", *found):
        ready = engines.prepare(engine, network, x, threads)
        error = difference(ready.call(), batch_of(right.answers, len(x)))
        rows[engine] = {
            "network": network.title, "batch": len(x), "image": list(x.shape[1:]),
            "threads": threads, "engine": engine, "reference": right.source, "error": error,
            "compile_seconds": ready.seconds,
        }  # fmt: skip
        if right.blind:
            rows[engine]["blind"] = right.blind
        elif error <= MOST_ERROR:
            calls[engine] = ready.call
    times = compare_calls(
        calls, rounds=options.rounds, seconds=0, pause=peers.pause(calls, threads)
    )
    for engine, took in times.items():
        rows[engine] |= {"ms": took.median * 1e3, "low": took.low * 1e3, "high": took.high * 1e3,
                         "images_per_second": len(x) / took.median}  # fmt: skip
        if options.memory:
            rows[engine] |= fresh_process(engine, network, x.shape, threads)
    return sorted(rows.values(), key=lambda row: row.get("ms", float("inf")))


def describe(rows: Rows) -> str:
    """The rows of one network, batch and threads as a table."""
    first = rows[0]
    sizes = "x".join(map(str, (first["batch"], *first["image"])))
    lines = [
        f"{first['network']}  {sizes}, {first['threads']} thread(s), against {first['reference']}"
    ]
    for row in rows:
        if "ms" in row:
            text = (
                f"{row['ms']:9.2f} ms [{row['low']:.2f}, {row['high']:.2f}] "
                f"{row['images_per_second']:8.1f} images/s, compiled in "
                f"{row['compile_seconds']:6.2f} s"
            )
            if "peak_memory" in row:
                text += f", peak {row['peak_memory'] / (1 << 20):6.0f} MiB"
            lines.append(f"  {row['engine']:20} {text}, error {row['error']:.0e}")
        elif "blind" in row:
            lines.append(f"  {row['engine']:20} NOT COMPARED: {row['blind']}")
        else:
            lines.append(f"  {row['engine']:20} WRONG: error {row['error']:.1e}")
    return "\n".join(lines)


def ratios(rows: Rows) -> Iterator[tuple[str, int, int, dict[str, Any], dict[str, Any]]]:
    """(network, batch, threads, convkit's row, the best peer's) of each comparison."""
    groups: dict[tuple[str, int, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if "ms" in row:
            key = (row["network"], row["batch"], row["threads"])
            groups.setdefault(key, {})[row["engine"]] = row
    for key, by_engine in groups.items():
        ours = by_engine.pop("convkit", None)
        if ours is not None and by_engine:
            yield *key, ours, min(by_engine.values(), key=lambda row: row["ms"])


def summary(rows: Rows) -> str:
    """Best peer's time over convkit's."""
    lines = [
        f"{network:16} batch {batch:2}, {threads} thread(s): {peer['ms'] / ours['ms']:5.2f} of "
        f"{peer['engine']}"
        for network, batch, threads, ours, peer in ratios(rows)
    ]
    return "\n".join(lines)


def table(rows: Rows) -> str:
    """What `bench table --form networks` puts into a page."""
    lines = [
        "| Network | Batch | Threads | ms | Images/s | Best peer | ms | Ratio | Peak memory, MiB "
        "| the peer's | Compiled in, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for network, batch, threads, ours, peer in ratios(rows):
        memory = [
            f"{row['peak_memory'] / (1 << 20):.0f}" if "peak_memory" in row else ""
            for row in (ours, peer)
        ]
        lines.append(
            f"| {network} | {batch} | {threads} | {ours['ms']:.2f} ({ours['low']:.2f} to "
            f"{ours['high']:.2f}) | {ours['images_per_second']:.1f} | {peer['engine']} | "
            f"{peer['ms']:.2f} | {peer['ms'] / ours['ms']:.2f} | {memory[0]} | {memory[1]} | "
            f"{ours['compile_seconds']:.2f} |"
        )
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE.onnx", help="networks of your own")
    parser.add_argument(
        "--networks", help=f"comma list of {', '.join(networks.NETWORKS)}; all if no file is named"
    )
    parser.add_argument("--peers", default="", help=f"comma list of {', '.join(engines.PEERS)}")
    parser.add_argument("--threads", default="1", help="comma list")
    parser.add_argument("--batch", default="1", help="comma list")
    parser.add_argument("--size", help="HxW of images where a file takes any")
    parser.add_argument(
        "--cache", default="~/.cache/convkit/networks", help="folder for the networks' files"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--isa", help="instruction set to force on convkit")
    parser.add_argument(
        "--no-memory", dest="memory", action="store_false", help="no fresh process per engine"
    )
    parser.add_argument("--out", help="file for the results; a bare name goes to bench/results/")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def selected(options: argparse.Namespace) -> list[tuple[Network, tuple[int, ...]]]:
    """The networks and the shapes (c, h, w) of their images."""
    names = list(networks.NETWORKS) if options.networks is None and not options.files else []
    if options.networks is not None:
        names = [name for name in options.networks.split(",") if name]
    for name in names:
        if name not in networks.NETWORKS:
            raise ValueError(
                f"--networks {name!r} must be one of {', '.join(networks.NETWORKS)}; a file is "
                "named without --networks"
            )
    size = None
    if options.size is not None:
        size = tuple(numbers("--size", options.size.replace("x", ","), 1))
        if len(size) != 2:
            raise ValueError(f"--size {options.size!r} must be HxW, such as 224x224")
    found = []
    for file in map(Path, options.files):
        if file.suffix != ".onnx":
            raise ValueError(f"{file} must end in .onnx")
        if not file.is_file():
            raise ValueError(f"{file} does not exist")
        found.append((Network(file), image_shape(file, size)))
    folder = Path(options.cache).expanduser()
    for name in names:
        try:
            file = networks.onnx_file(name, folder)
        except ImportError as error:
            raise ValueError(
                f"--networks {name} is written by PyTorch ({error}): pip install torch onnx, or "
                "name an ONNX file"
            ) from None
        found.append((Network(file, name), (3, networks.SIZE, networks.SIZE)))
    return found


def run(options: argparse.Namespace, say: Callable[[str], None] = print) -> int:
    threads = numbers("--threads", options.threads, 1)
    batches = numbers("--batch", options.batch, 1)
    if options.rounds < 1:
        raise ValueError(f"--rounds {options.rounds} must be at least 1")
    limit_threads(max(threads))
    options.peers = [name for name in options.peers.split(",") if name]
    versions = engines.versions(options.peers)
    options.peers = [name for name in options.peers if versions[name] != "missing"]
    rows: Rows = []
    with isa(options.isa):
        found = selected(options)
        head = results.header(f"models {options.words}", threads=threads)
        head["peers"] = versions
        if not options.json:
            say(results.describe(head))
        for network, shape in found:
            pictures = images(shape)
            right = wanted(network, pictures)
            for count in threads:
                for batch in batches:
                    x = batch_of(pictures, batch)
                    measured = measure_network(network, x, right, options, count)
                    rows += measured
                    if not options.json:
                        say(describe(measured))
    if options.out:
        say(f"# written to {results.write(options.out, head, rows)}")
    say(json.dumps({"header": head, "rows": rows}) if options.json else summary(rows))
    return int(any("ms" not in row for row in rows))
