"""The libraries that convkit is measured against: a layer in, a call out.

Each is asked for its best: weights packed when the call is made, threads set, one image of float32.
A peer that is not installed, or that cannot compute a layer, is named, not passed over.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from convkit.problem import ConvProblem

Call = Callable[[], Any]
#: name: the package it is imported from.
PACKAGES = {
    "ort": "onnxruntime", "openvino": "openvino", "torch": "torch", "opencv": "cv2",
    "scipy": "scipy",
}  # fmt: skip


#: Seconds in which a library's threads stop spinning after a call. Those of ONNX Runtime spin for
#: 29 milliseconds and take a processor from whoever is timed meanwhile; one thread has no others.
PAUSE, PAUSE_AFTER_ORT = 5e-3, 35e-3


def pause(names: Iterable[str], threads: int) -> float:
    """How long to wait before a call is timed."""
    return PAUSE_AFTER_ORT if "ort" in names and threads > 1 else PAUSE


def versions(names: list[str]) -> dict[str, str]:
    """The version of each peer; of one that is missing, that it is."""
    found = {}
    for name in names:
        if name not in PACKAGES:
            raise ValueError(f"--peers {name!r} must be one of {', '.join(PACKAGES)}")
        try:
            found[name] = str(importlib.import_module(PACKAGES[name]).__version__)
        except ImportError:
            found[name] = "missing"
    if found.get("ort") not in (None, "missing"):
        try:
            importlib.import_module("onnx")
        except ImportError:
            found["ort"] = found["openvino"] = "missing (needs onnx to write a layer)"
    return found


def limit_threads(threads: int) -> None:
    """Before any peer is imported: what reads its number of threads from the environment."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)


def calls(
    name: str, problem: ConvProblem, x: Any, w: Any, bias: Any, threads: int
) -> dict[str, Call]:
    """name -> call, one for each way that the peer has of computing this layer; may be empty."""
    return MAKERS[name](problem, x, w, bias, threads)


def _even(problem: ConvProblem) -> bool:
    top, bottom, left, right = problem.padding
    return (top, left) == (bottom, right) and problem.padding_mode == "zeros"


def _model(problem: ConvProblem, w: Any, bias: Any) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    top, bottom, left, right = problem.padding
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y"], kernel_shape=[problem.r, problem.s],
        strides=problem.stride, dilations=problem.dilation, pads=[top, left, bottom, right],
        group=problem.groups,
    )  # fmt: skip
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", kind, problem.x_shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(bias, "b")],
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def _ort(problem: ConvProblem, x: Any, w: Any, bias: Any, threads: int) -> dict[str, Call]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(
        _model(problem, w, bias), options, providers=["CPUExecutionProvider"]
    )
    return {"ort": lambda: session.run(None, {"x": x})[0]}


def _openvino(problem: ConvProblem, x: Any, w: Any, bias: Any, threads: int) -> dict[str, Call]:
    import openvino

    core = openvino.Core()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = core.read_model(_model(problem, w, bias))
    request = core.compile_model(model, "CPU", options).create_infer_request()
    return {"openvino": lambda: request.infer({0: x})[0]}


def _torch(problem: ConvProblem, x: Any, w: Any, bias: Any, threads: int) -> dict[str, Call]:
    import torch

    if not _even(problem):
        return {}
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    rest = (problem.stride, (problem.padding[0], problem.padding[2]), problem.dilation)
    tx, tw, tb = (torch.from_numpy(array) for array in (x, w, bias))
    last = torch.channels_last
    lx, lw = tx.contiguous(memory_format=last), tw.contiguous(memory_format=last)
    conv2d = torch.nn.functional.conv2d
    return {
        "torch": lambda: conv2d(tx, tw, tb, *rest, problem.groups),
        "torch channels-last": lambda: conv2d(lx, lw, tb, *rest, problem.groups),
    }


def _is_image(problem: ConvProblem) -> bool:
    return (
        problem.n == problem.c == problem.k == 1
        and problem.stride == problem.dilation == (1, 1)
        and problem.padding == (problem.r // 2,) * 2 + (problem.s // 2,) * 2
        and problem.r % 2 == problem.s % 2 == 1
        and problem.padding_mode == "zeros"
    )


def _opencv(problem: ConvProblem, x: Any, w: Any, bias: Any, threads: int) -> dict[str, Call]:
    import cv2

    cv2.setNumThreads(threads)
    if _is_image(problem):
        image, taps, delta = x[0, 0], w[0, 0], float(bias[0])
        border = cv2.BORDER_CONSTANT
        return {
            "opencv": lambda: cv2.filter2D(image, -1, taps, delta=delta, borderType=border)[
                None, None
            ]
        }
    return {}


def _scipy(problem: ConvProblem, x: Any, w: Any, bias: Any, threads: int) -> dict[str, Call]:
    from scipy import signal

    if not _is_image(problem):
        return {}
    image, turned = x[0, 0], np.ascontiguousarray(w[0, 0, ::-1, ::-1])
    return {
        "scipy fftconvolve": lambda: (signal.fftconvolve(image, turned, "same") + bias)[None, None],
        "scipy oaconvolve": lambda: (signal.oaconvolve(image, turned, "same") + bias)[None, None],
    }


MAKERS: dict[str, Callable[..., dict[str, Call]]] = {
    "ort": _ort, "openvino": _openvino, "torch": _torch, "opencv": _opencv, "scipy": _scipy,
}  # fmt: skip
