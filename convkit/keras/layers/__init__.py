"""TRANSLATORS: for each class of layers, what reads its settings and says how to write its nodes.

A translator takes a `Layer`, reads all its settings and returns a function of the `Net` and the
tensors of a call, so that what is not supported is known of all layers before any node is written.
"""

from __future__ import annotations

from collections.abc import Callable

from convkit.keras.layer import Apply, Layer
from convkit.keras.layers import convolution, elementwise, pools, shapes

TRANSLATORS: dict[str, Callable[[Layer], Apply]] = {
    **convolution.TRANSLATORS,
    **pools.TRANSLATORS,
    **elementwise.TRANSLATORS,
    **shapes.TRANSLATORS,
}

#: Layers that take several tensors; all others take one.
MERGING = elementwise.MERGING

__all__ = ["MERGING", "TRANSLATORS"]
