"""`convkit demo`: a stored network reads digits, and each algorithm computes a real layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms import ALGORITHMS
from convkit.bench.measure import time_call
from convkit.conv import conv2d
from convkit.plan import plan
from convkit.problem import ConvProblem, conv_problem

#: Layers of known networks, so that every algorithm finds one of its own.
LAYERS = {
    "ResNet, first layer": ((1, 3, 224, 224), (64, 3, 7, 7), {"padding": 3, "stride": 2}),
    "ResNet-18, second stage": ((1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
    "ResNet-50, a bottleneck": ((1, 256, 56, 56), (64, 256, 1, 1), {}),
    "MobileNet, depthwise": ((1, 128, 56, 56), (128, 1, 3, 3), {"padding": 1, "groups": 128}),
}


@dataclass(frozen=True, slots=True)
class Digits:
    """What the network made of the test digits."""

    images: NDArray[Any]
    labels: NDArray[Any]
    answers: NDArray[Any]
    images_per_second: float

    @property
    def right(self) -> int:
        return int(np.count_nonzero(self.answers == self.labels))


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One algorithm on one layer. error: largest, in eps of the layer's largest sum of products."""

    layer: str
    problem: ConvProblem
    algorithm: str
    chosen: bool
    milliseconds: float
    gflops: float
    error: float
    bound: float

    @property
    def right(self) -> bool:
        return self.error <= self.bound


def read_digits() -> Digits:
    """Run the embedded network on the embedded test digits."""
    from convkit import models
    from convkit.assets import digits_weights, load_digits

    images, labels = load_digits()
    model = models.build("lenet5_digits")
    model.load(digits_weights())
    scores = np.asarray(model(images))
    timing = time_call(lambda: model(images), seconds=0.5, rounds=5)
    return Digits(images, labels, scores.argmax(axis=1), len(images) / timing.median)


def drawn(image: NDArray[Any]) -> list[str]:
    """A digit of 32 x 32 as 8 lines of text, darker where it has more ink."""
    shades = " .:-=+*#%@"
    cells = image.reshape(8, 4, 16, 2).mean(axis=(1, 3))
    return ["".join(shades[min(int(v * 10), 9)] for v in row) for row in cells]


def compare_algorithms() -> list[LayerRow]:
    """Each algorithm on the layers it applies to, against the float64 sum of the same layer."""
    rng = np.random.default_rng(0)
    rows = []
    for layer, (x_shape, w_shape, options) in LAYERS.items():
        problem = conv_problem(x_shape, w_shape, **options)  # type: ignore[arg-type]
        x = rng.standard_normal(x_shape, np.float32)
        w = rng.standard_normal(w_shape, np.float32)
        if problem.groups == problem.c:
            w = w[..., :1] * w[..., :1, :]  # of rank 1, for the algorithms that need it
        exact = conv2d(x.astype(np.float64), w.astype(np.float64), algo="direct", **options)  # type: ignore[call-overload]
        sums = conv2d(
            np.abs(x).astype(np.float64), np.abs(w).astype(np.float64), algo="direct", **options
        )  # type: ignore[call-overload]
        unit = float(sums.max()) * float(np.finfo(np.float32).eps)
        chosen = plan(x_shape, w, **options).algorithm  # type: ignore[arg-type]
        for row in ALGORITHMS:
            if not row.supports(problem) or (row.weights and row.weights(w)):
                continue
            run = plan(x_shape, w, algo=row.name, **options)  # type: ignore[arg-type]
            error = float(np.abs(run(x) - exact).max()) / unit
            seconds = time_call(lambda run=run, x=x: run(x)).median  # type: ignore[misc]
            rows.append(
                LayerRow(
                    layer,
                    problem,
                    row.name,
                    row.name == chosen,
                    1e3 * seconds,
                    2e-9 * problem.macs / seconds,
                    error,
                    8.0 if row.name in ("winograd_f4", "winograd_strided") else 4.0,
                )  # fmt: skip
            )
    return rows
