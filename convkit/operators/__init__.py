"""What a classic network needs beside convolution: pooling, linear, batch_norm, softmax, ...

Each is a kernel of csrc/operators run through the same native plan as a convolution; nothing is
computed with NumPy. Arrays may have any strides; results are new arrays unless `out` is given.
"""

from convkit.operators.dense import linear, softmax
from convkit.operators.elementwise import (
    activate,
    add,
    clip,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    relu,
    relu6,
    sigmoid,
    silu,
    tanh,
)
from convkit.operators.normalization import batch_norm, local_response_norm
from convkit.operators.pooling import avg_pool2d, global_avg_pool2d, max_pool2d, max_unpool2d

__all__ = [
    "activate", "add", "avg_pool2d", "batch_norm", "clip", "elu", "gelu", "global_avg_pool2d",
    "hardsigmoid", "hardswish", "leaky_relu", "linear", "local_response_norm", "max_pool2d",
    "max_unpool2d", "relu", "relu6", "sigmoid", "silu", "softmax", "tanh",
]  # fmt: skip
