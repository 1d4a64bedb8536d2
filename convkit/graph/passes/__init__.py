"""Passes: small rewrites of a bound graph, in the order in which they run. No pass looks at the
batch, so an image's bits do not depend on it."""

from __future__ import annotations

from collections.abc import Collection

from convkit.graph.bind import Bound
from convkit.graph.passes.drop_identities import drop_identities
from convkit.graph.passes.fold_batch_norm import fold_batch_norm
from convkit.graph.passes.fold_constants import fold_constants
from convkit.graph.passes.fold_scales import fold_scales
from convkit.graph.passes.fuse_epilogue import fuse_activation, fuse_residual
from convkit.graph.passes.fuse_gates import fuse_gates
from convkit.graph.passes.linear_of_matmul import linear_of_matmul
from convkit.graph.passes.merge_pads import merge_pads
from convkit.graph.passes.pool_of_means import pool_of_means
from convkit.graph.passes.rewrite import Pass

#: In order; each works on its own.
PASSES: dict[str, Pass] = {
    "fold_constants": fold_constants,
    "drop_identities": drop_identities,
    "merge_pads": merge_pads,
    "pool_of_means": pool_of_means,
    "linear_of_matmul": linear_of_matmul,
    "fuse_gates": fuse_gates,
    "fold_batch_norm": fold_batch_norm,
    "fold_scales": fold_scales,
    "fuse_residual": fuse_residual,
    "fuse_activation": fuse_activation,
}


def simplify(bound: Bound, without: Collection[str] = ()) -> Bound:
    """The graph after every pass but those named in `without`."""
    for name, run in PASSES.items():
        if name not in without:
            bound = run(bound)
    return bound
