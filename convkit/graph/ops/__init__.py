"""OPS: the operators of a graph, one row each, in files by family."""

from __future__ import annotations

from convkit.graph.ops import (
    arithmetic,
    constants,
    convolution,
    elementwise,
    matrices,
    movement,
    normalisation,
    padding,
    parts,
    pooling,
    reductions,
    resize,
    shapes,
    transposed,
)
from convkit.graph.ops.row import Op

OPS: dict[str, Op] = {
    **convolution.ROWS,
    **pooling.ROWS,
    **transposed.ROWS,
    **matrices.ROWS,
    **elementwise.ROWS,
    **arithmetic.ROWS,
    **normalisation.ROWS,
    **reductions.ROWS,
    **resize.ROWS,
    **shapes.ROWS,
    **movement.ROWS,
    **parts.ROWS,
    **padding.ROWS,
    **constants.ROWS,
}

__all__ = ["OPS", "Op"]
