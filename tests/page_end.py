"""Runs kernels on arrays at the very end, or start, of memory; a stray access kills the process.

    python page_end.py end|start ISA

Prints the kernel and case before it runs them, so that the last line names the culprit. Run by
test_memory.py.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
from native import VARIANTS, WAYS, named, native_plan, supported

PAGE = mmap.PAGESIZE
PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PRIVATE_ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Fenced:
    """Memory between two pages that nobody may touch, flush with the one at its end or start."""

    def __init__(self, size: int, at: str) -> None:
        self.pages = -(-size // PAGE) * PAGE
        self.base = libc.mmap(None, self.pages + 2 * PAGE, PROT_NONE, PRIVATE_ANONYMOUS, -1, 0)
        assert libc.mprotect(self.base + PAGE, self.pages, PROT_READ | PROT_WRITE) == 0
        self.address = self.base + PAGE + (self.pages - size if at == "end" else 0)

    def array(self, values: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
        """The values there, the axes from the outermost to the innermost in this order."""
        flat = (ctypes.c_char * values.nbytes).from_address(self.address)
        stored = np.frombuffer(flat, values.dtype).reshape([values.shape[axis] for axis in order])
        array = stored.transpose(np.argsort(order))
        array[...] = values
        return array

    def free(self) -> None:
        libc.munmap(self.base, self.pages + 2 * PAGE)


def main(at: str, isa: str) -> None:
    nchw, nhwc = (0, 1, 2, 3), (0, 2, 3, 1)
    chosen = [variant for variant in VARIANTS if variant.isa == isa]
    for variant, case in supported(named(WAYS + MORE), chosen):
        arrays, problem = case.arrays(variant.dtype), case.of(variant.dtype)
        for order in (nchw, nhwc):
            print(variant, case.name, "NCHW" if order == nchw else "NHWC", flush=True)
            parts = {
                "x": arrays.x, "w": arrays.w, "bias": arrays.bias, "residual": arrays.residual,
                "y": np.full(problem.y_shape, np.nan, problem.dtype),
            }  # fmt: skip
            memory = {name: Fenced(values.nbytes, at) for name, values in parts.items()}
            placed = {
                name: memory[name].array(
                    values, (0,) if name == "bias" else nchw if name == "w" else order
                )
                for name, values in parts.items()
            }
            plan = native_plan(variant, problem, placed["w"], placed["bias"])
            plan.run(placed["x"], placed["residual"], placed["y"], 1)
            assert not np.isnan(placed["y"]).any(), "an element was not written"
            del plan
            for each in memory.values():
                each.free()


# Beside WAYS: tails of rows and channels that a vector may run over.
MORE = """
    one_pixel one_pixel_many_channels one_pixel_depthwise filter_is_image one_column channels_15
    channels_16 channels_32 channels_16_columns_21 channels_32_columns_37 resnet20_block_3
    channels_33 columns_15 columns_17 columns_49 filters_15 filters_33 rows_5 pointwise
    pointwise_deep_257 pointwise_one_filter pointwise_one_channel pointwise_stride_1x2 depthwise_1x1
    depthwise_5x5 depthwise_bands_5x5_stride_2 depthwise_bands_7x7 depthwise_narrow_7x7
    depthwise_narrow_stride_2_same depthwise_narrow_unpadded depthwise_wide depthwise_31x31
    depthwise_stride_1x2 replicate filter_2x1
    filter_1x2 stride_2_columns_31 stride_2_columns_15 tile_57 filter_41x3 lenet_c1 groups_2_wide
    rank_one_pixel rank_one_3x3_wide rank_one_valid rank_one_full rank_one_strips rank_one_on_a_row
    rank_one_on_a_column rank_one_circular rank_one_over_image rank_one_many_filters
"""

if __name__ == "__main__":
    main(*sys.argv[1:])
    print("done")
