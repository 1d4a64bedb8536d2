"""Keras files written by hand, so that tests need h5py and no Keras; and Keras' layers in NumPy.

The layouts are those of Keras 2 (.h5, lists of names in attributes) and Keras 3 (.keras, a zip
with model.weights.h5); arrays are channels last, as Keras has them.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Weights = dict[str, dict[str, Array]]


def layer(kind: str, name: str, calls: list[Any] | None = None, **settings: Any) -> dict[str, Any]:
    """A layer of a config; `calls` are the inbound nodes of a functional model."""
    entry: dict[str, Any] = {"class_name": kind, "config": {"name": name, **settings}}
    entry["name"] = name
    if calls is not None:
        entry["inbound_nodes"] = calls
    return entry


def entry(shape: tuple[int | None, ...], name: str = "input_1", **more: Any) -> dict[str, Any]:
    """An input layer of Keras 2."""
    return layer("InputLayer", name, batch_input_shape=[None, *shape], **more)


def sequential(*layers: dict[str, Any], name: str = "sequential") -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def functional(
    layers: list[dict[str, Any]], inputs: list[str], outputs: list[str], name: str = "model"
) -> dict[str, Any]:
    ends = {"input_layers": inputs, "output_layers": outputs}
    config = {key: [[each, 0, 0] for each in names] for key, names in ends.items()}
    return {"class_name": "Functional", "config": {"name": name, "layers": layers, **config}}


def call(*names: str | tuple[str, int]) -> list[Any]:
    """A call in the lists of Keras 2: with what the calls of these layers made."""
    pairs = [(each, 0) if isinstance(each, str) else each for each in names]
    return [[name, number, 0, {}] for name, number in pairs]


def call3(*names: str | tuple[str, int] | float, merged: bool = False, **kwargs: Any) -> Any:
    """A call in the objects of Keras 3; `merged`: the tensors stand in one list."""
    args: list[Any] = []
    for each in names:
        if isinstance(each, float):
            args.append(each)
            continue
        name, number = (each, 0) if isinstance(each, str) else each
        inside = {"shape": [None], "dtype": "float32", "keras_history": [name, number, 0]}
        args.append({"class_name": "__keras_tensor__", "config": inside})
    return {"args": [args] if merged else args, "kwargs": kwargs}


def write_h5(path: Path, config: dict[str, Any] | None, weights: Weights) -> Path:
    """As Keras 2 saves it; weights of a nested model are called INNER/kernel."""
    import h5py

    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in weights]
        for name, held in weights.items():
            group = root.create_group(name)
            names = [each if "/" in each else f"{name}/{each}" for each in held]
            group.attrs["weight_names"] = [f"{each}:0".encode() for each in names]
            for full, array in zip(names, held.values(), strict=True):
                group[f"{full}:0"] = array
    return path


def write_keras(path: Path, config: dict[str, Any], groups: dict[str, list[Array]]) -> Path:
    """As Keras 3 saves it: `groups` are paths such as conv2d_1, or functional/layers/conv2d."""
    import h5py

    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        for name, arrays in groups.items():
            for number, array in enumerate(arrays):
                file[f"layers/{name}/vars/{number}"] = array
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.4.1"}')
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", held.getvalue())
    return path


# Keras' layers, channels last


def same(size: int, window: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "same": what is missing for ceil(size / stride) windows, more of it behind."""
    missing = max((-(-size // stride) - 1) * stride + window - size, 0)
    return missing // 2, missing - missing // 2


def windows(
    x: Array, window: tuple[int, int], stride: tuple[int, int], padding: str, fill: float,
    dilation: tuple[int, int] = (1, 1),
) -> Array:  # fmt: skip
    """(n, p, q, c, r, s): what each window holds."""
    reach = [(f - 1) * d + 1 for f, d in zip(window, dilation, strict=True)]
    sides = [
        same(size, f, u) if padding == "same" else (0, 0)
        for size, f, u in zip(x.shape[1:3], reach, stride, strict=True)
    ]
    x = np.pad(x, ((0, 0), *sides, (0, 0)), constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, (1, 2))
    return seen[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]


def conv(
    x: Array, kernel: Array, stride: tuple[int, int] = (1, 1), padding: str = "valid",
    dilation: tuple[int, int] = (1, 1), groups: int = 1,
) -> Array:  # fmt: skip
    """The kernel is (r, s, c / groups, k)."""
    seen = windows(x, kernel.shape[:2], stride, padding, 0.0, dilation)
    c, k = kernel.shape[2], kernel.shape[3] // groups
    parts = [
        np.einsum(
            "npqcrs,rsck->npqk",
            seen[:, :, :, g * c : (g + 1) * c],
            kernel[..., g * k : (g + 1) * k],
        )
        for g in range(groups)
    ]
    return np.concatenate(parts, -1)


def depthwise(x: Array, kernel: Array, stride: tuple[int, int], padding: str) -> Array:
    """The kernel is (r, s, c, m); channel c's filters make channels c m to c m + m - 1."""
    seen = windows(x, kernel.shape[:2], stride, padding, 0.0)
    y = np.einsum("npqcrs,rscm->npqcm", seen, kernel)
    return y.reshape(*y.shape[:3], -1)


def conv_transpose(x: Array, kernel: Array, stride: int, padding: str) -> Array:
    """The gradient of a convolution of this stride and padding; the kernel is (r, s, k, c)."""
    n, h, w, _ = x.shape
    r, s, k, _ = kernel.shape
    whole = [(size - 1) * stride + max(f, stride) for size, f in zip((h, w), (r, s), strict=True)]
    y = np.zeros((n, *whole, k))
    for i in range(r):
        for j in range(s):
            part = np.einsum("nhwc,kc->nhwk", x, kernel[i, j])
            y[:, i : i + h * stride : stride, j : j + w * stride : stride][:, :h, :w] += part
    if padding == "valid":
        return y
    top, left = (same(size * stride, f, stride)[0] for size, f in zip((h, w), (r, s), strict=True))
    return y[:, top : top + h * stride, left : left + w * stride]
