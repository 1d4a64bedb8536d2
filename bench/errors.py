"""How far Winograd is off on tiny images of few channels, where its errors average out least.

    python -m bench.errors ALGORITHM [--images 20000] [--rank-one 0.5] [--seed 1]

Images of one to six tiles a side, standard normal; errors in eps of the largest conv(|x|, |w|) of
the image, against `direct` in float64, which the tests hold to SciPy. A filter of rank 1, a column
times a row, has few large taps, so that less averages out; --rank-one says how many have it.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

import convkit
from convkit.algorithms import phase_taps
from convkit.problem import conv_problem

#: Images that are computed by one call.
BATCH = 8
#: Channels that are drawn, by stride: the least that the algorithm takes, and a few more.
CHANNELS = {
    "winograd_strided": {2: (3, 4, 6), 3: (2, 4), 4: (1, 2, 3)},
    "winograd_f4": {1: (5, 6, 8)},
}


def errors(algorithm: str, images: int, rank_one: float, seed: int) -> dict[str, list[float]]:
    """Of each image, in eps, by stride and taps."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for _ in range(-(-images // BATCH)):
        stride = int(rng.choice(list(CHANNELS[algorithm])))
        c, k = int(rng.choice(CHANNELS[algorithm][stride])), int(rng.integers(1, 9))
        r, s = (3, 3) if stride == 1 else rng.integers(2 * stride + 1, 4 * stride + 1, 2).tolist()
        h, w = (int(taps + rng.integers(0, 6 * stride)) for taps in (r, s))
        x = rng.standard_normal((BATCH, c, h, w), np.float32)
        filters = rng.standard_normal((k, c, r, s), np.float32)
        if rng.random() < rank_one:
            filters = np.ascontiguousarray(filters[:, :, :, :1] * filters[:, :, -1:, :])
        y = convkit.conv2d(x, filters, stride=stride, algo=algorithm)
        exact, sizes = (
            convkit.conv2d(*pair, stride=stride, algo="direct")
            for pair in ((_double(x), _double(filters)), (_double(abs(x)), _double(abs(filters))))
        )
        axes = (1, 2, 3)
        off = np.abs(y - exact).max(axes) / sizes.max(axes) / float(np.finfo(np.float32).eps)
        taps = phase_taps(conv_problem(x.shape, filters.shape, stride=stride))
        # What is no number is infinitely wrong: a comparison would let it pass.
        off = np.where(np.isnan(off), np.inf, off)
        found.setdefault(f"stride {stride}, {taps} taps", []).extend(off.tolist())
    return found


def _double(array: Any) -> Any:
    return array.astype(np.float64)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("algorithm", choices=list(CHANNELS))
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--rank-one", type=float, default=0.5, help="share of the filters")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.images < 1 or not 0 <= options.rank_one <= 1:
        parser.error("--images must be at least 1, --rank-one between 0 and 1")
    print(f"{options.algorithm}, {convkit.info().isa}, seed {options.seed}, in eps")
    print(f"  {'':18} {'images':>7} {'median':>7} {'99 %':>7} {'99.9 %':>7} {'worst':>7}")
    drawn = errors(options.algorithm, options.images, options.rank_one, options.seed)
    for name, each in sorted(drawn.items()):
        figures = (*np.percentile(each, (50, 99, 99.9)), max(each))
        print(f"  {name:18} {len(each):7}", *(f"{figure:7.1f}" for figure in figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
