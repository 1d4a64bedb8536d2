"""What runs whole networks: convkit and its peers, each from a file to a call.

    python -m bench.engines ENGINE FILE NETWORK n,c,h,w THREADS

prints, as JSON, the most memory that a process took to load, compile and run, and for how long it
compiled. `bench.models` starts it, once for each engine.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import networks

Array = np.ndarray[Any, Any]
Call = Callable[[], Array]
#: What `--peers` takes: the engines that it stands for.
PEERS = {
    "ort": ("ort",),
    "openvino": ("openvino",),
    "torch": ("torch", "torch channels-last"),
}
#: What each needs; convkit reads files by `onnx`.
PACKAGES = {"ort": "onnxruntime", "openvino": "openvino", "torch": "torch", "convkit": "onnx"}


@dataclass(frozen=True, slots=True)
class Network:
    """A file to run; its name where `bench.networks` can build it, for PyTorch reads no ONNX."""

    file: Path
    name: str = ""

    @property
    def title(self) -> str:
        return self.name or self.file.stem


def versions(names: list[str]) -> dict[str, str]:
    """The version of each peer; of one that is missing, that it is."""
    found = {}
    for name in names:
        if name not in PEERS:
            raise ValueError(f"--peers {name!r} must be one of {', '.join(PEERS)}")
        try:
            found[name] = str(importlib.import_module(PACKAGES[name]).__version__)
        except ImportError:
            found[name] = "missing"
    return found


@dataclass(frozen=True, slots=True)
class Ready:
    """A compiled network with its input, and the seconds it took to load and compile."""

    call: Call
    seconds: float


def prepare(engine: str, network: Network, x: Array, threads: int) -> Ready:
    """Load and compile the network for this input, as fast as the engine can be asked to run it.

    Shapes are fixed at compile time in every engine; each answers with a float32 array. The time
    that Python takes to import the engine does not count, nor that PyTorch's weights take to draw.
    """
    importlib.import_module(PACKAGES[engine.split()[0]])
    maker: Callable[[Network, Array, int], Call] = MAKERS[engine]
    if engine.startswith("torch"):
        module = networks.build(network.name)
        maker = partial(maker, module)
    start = time.perf_counter()
    call = maker(network, x, threads)
    return Ready(call, time.perf_counter() - start)


def _convkit(network: Network, x: Array, threads: int) -> Call:
    import convkit  # here: a process for a peer does without

    run = convkit.load(network.file).compile(x.shape, threads=threads)
    return lambda: np.asarray(run(x))


def _ort(network: Network, x: Array, threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_free_dimension_override_by_name("batch", x.shape[0])
    session = onnxruntime.InferenceSession(
        str(network.file), options, providers=["CPUExecutionProvider"]
    )
    feed = {session.get_inputs()[0].name: x}
    return lambda: np.asarray(session.run(None, feed)[0])


def _openvino(network: Network, x: Array, threads: int) -> Call:
    import openvino

    core = openvino.Core()
    model = core.read_model(str(network.file))
    model.reshape(list(x.shape))
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    return lambda: np.asarray(request.infer({0: x})[0])


def _torch(module: Any, network: Network, x: Array, threads: int) -> Call:
    import torch

    tx = torch.from_numpy(x)
    traced = torch.jit.optimize_for_inference(_frozen(module, tx, threads))
    return lambda: np.asarray(traced(tx))


def _torch_channels_last(module: Any, network: Network, x: Array, threads: int) -> Call:
    """Frozen only: the rewrites of optimize_for_inference are for NCHW."""
    import torch

    tx = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    traced = _frozen(module.to(memory_format=torch.channels_last), tx, threads)
    return lambda: np.asarray(traced(tx))


def _frozen(module: Any, tx: Any, threads: int) -> Any:
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return torch.jit.freeze(torch.jit.trace(module, tx, check_trace=False))


MAKERS: dict[str, Callable[..., Call]] = {
    "convkit": _convkit,
    "ort": _ort,
    "openvino": _openvino,
    "torch": _torch,
    "torch channels-last": _torch_channels_last,
}


def peak_memory() -> int:
    """Bytes of this process at its most.

    Not getrusage's: a program that was started by another one inherits that one's peak.
    """
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def main(words: list[str]) -> int:
    engine, file, name, shape, threads = words
    x = np.zeros([int(size) for size in shape.split(",")], np.float32)
    ready = prepare(engine, Network(Path(file), name), x, int(threads))
    ready.call()
    ready.call()
    print(json.dumps({"peak_memory": peak_memory(), "compile_seconds": ready.seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
