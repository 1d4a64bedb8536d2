"""OPS: the operators of a graph, one row each, in files by family."""

from __future__ import annotations

from convkit.graph.ops import convolution, elementwise, pooling, shapes
from convkit.graph.ops.row import Op

OPS: dict[str, Op] = {
    **convolution.ROWS,
    **pooling.ROWS,
    **elementwise.ROWS,
    **shapes.ROWS,
}

__all__ = ["OPS", "Op"]
