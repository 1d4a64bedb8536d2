"""convkit: a convolution engine. See `convkit.conv2d`, `convkit.plan` and `convkit.models`."""

from typing import TYPE_CHECKING

from convkit._version import __version__

try:
    from convkit import _convkit as _native
except ImportError as error:
    raise ImportError(
        f"convkit's compiled extension cannot be loaded ({error}): run `pip install .` in the "
        "source folder and import convkit from elsewhere"
    ) from None

from convkit.environment import apply_environment, refuse

try:
    apply_environment()
except ValueError as error:
    refuse(error)

from convkit.algorithms import algorithms
from convkit.conv import conv2d
from convkit.info import info, release_memory
from convkit.operators import (
    activate,
    add,
    avg_pool2d,
    batch_norm,
    clip,
    elu,
    gelu,
    global_avg_pool2d,
    hardsigmoid,
    hardswish,
    leaky_relu,
    linear,
    local_response_norm,
    max_pool2d,
    max_unpool2d,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from convkit.plan import Plan, plan
from convkit.select import explain
from convkit.threads import get_num_threads, set_num_threads, threads
from convkit.transposed import conv_transpose2d

if TYPE_CHECKING:
    from convkit import images, models
    from convkit.graph import Builder, CompiledModel, Model, load
    from convkit.weights import load_weights

__all__ = [
    "Builder", "CompiledModel", "Model", "Plan", "__version__", "activate", "add", "algorithms",
    "avg_pool2d", "batch_norm", "clip", "conv2d", "conv_transpose2d", "elu", "explain", "gelu",
    "get_num_threads", "global_avg_pool2d", "hardsigmoid", "hardswish", "images", "info",
    "leaky_relu", "linear", "load", "load_weights", "local_response_norm", "max_pool2d",
    "max_unpool2d", "models", "plan", "release_memory", "relu", "relu6", "set_num_threads",
    "sigmoid", "silu", "softmax", "tanh", "threads",
]  # fmt: skip

#: Names that are imported when they are first used, to keep `import convkit` light.
_ON_USE = {
    "Builder": "convkit.graph", "CompiledModel": "convkit.graph", "Model": "convkit.graph",
    "load": "convkit.graph", "load_weights": "convkit.weights",
}  # fmt: skip


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in ("models", "graph", "images", "weights"):
        return import_module(f"convkit.{name}")
    if name in _ON_USE:
        return getattr(import_module(_ON_USE[name]), name)
    raise AttributeError(f"module 'convkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
