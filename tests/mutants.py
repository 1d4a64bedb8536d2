"""Planted bugs, each with the test that must fail.

    python tests/mutants.py              all of them
    python tests/mutants.py dispatch     those whose file or reason holds this text
    python tests/mutants.py --check      only that each still finds its place in the sources

Copies the tree into a temporary folder, builds it for one instruction set (CONVKIT_FORCE_ISA, else
the best one), sees the tests pass there, then plants one bug at a time, rebuilds what it touched
and runs its test. Prints "killed" or "survived" for each; exits 1 if any survived.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TREE = ["convkit", "csrc", "tests", "setup.py", "pyproject.toml", "README.md", "LICENSE"]


class Mutant(NamedTuple):
    """In `file`, `old`, which stands there once, becomes `new`; then `test` must fail."""

    file: str
    old: str
    new: str
    why: str
    test: str


def of_kernel(name: str) -> str:
    """The kernel tests of one algorithm, and the child processes at the end of memory."""
    return (
        "tests/test_kernels.py tests/test_ieee.py tests/test_memory.py "
        f"-k '{name} and not resident or nothing_outside'"
    )


DISPATCH, MEMORY, EXECUTOR = "csrc/dispatch.cpp", "csrc/memory.cpp", "csrc/executor.cpp"
PROGRAM = "csrc/program.cpp"
BINDINGS, WINDOW, EPILOGUE = "csrc/bindings.cpp", "csrc/blocks/window.h", "csrc/blocks/epilogue.h"
KERNELS = "tests/test_kernels.py -k direct"
PLAN, CONV, ERRORS = "tests/test_plan.py", "tests/test_conv.py", "tests/test_errors.py"
THREADS, EXPLAIN = "tests/test_threads.py", "tests/test_explain.py"
ALGORITHMS, FACTS = "tests/test_algorithms.py", "tests/test_facts.py"

MUTANTS = [
    # ---- measuring -------------------------------------------------------------------------------
    Mutant(
        "csrc/operators/fma_peak.cpp",
        "T(2.0 * kLanes<T>",
        "T(1.0 * kLanes<T>",
        "a multiply-add is two operations",
        "tests/test_machine.py -k multiply_adds",
    ),
    Mutant(
        "csrc/operators/read_stream.cpp",
        "load(x + w + i * kLanes<T>)",
        "load(x + w + i)",
        "every vector of the stream is read",
        "tests/test_machine.py -k stream",
    ),
    Mutant(
        "convkit/bench/measure.py",
        "row_in[rows][:, :, None] & column_in",
        "row_in[rows][:, :, None] | column_in",
        "what lies in the padding of either axis is zero",
        "tests/test_measure.py -k oracle",
    ),
    Mutant(
        "convkit/calibration.py",
        "np.clip(phi, self.low, self.high)",
        "np.clip(phi, self.low, None)",
        "no quadratic runs away beyond what was measured",
        "tests/test_calibration.py",
    ),
    # ---- dispatch, memory, threads, bindings -----------------------------------------------------
    Mutant(
        DISPATCH,
        "image * call.x.n, element",
        "image * call.x.c, element",
        "the second image is read where the second channel stands",
        KERNELS,
    ),
    Mutant(
        DISPATCH,
        "at(y, image * call.y.n, element)",
        "at(y, 0, element)",
        "every image is written over the first",
        KERNELS,
    ),
    Mutant(
        DISPATCH,
        "at(epilogue.residual, image * call.residual.n, element)",
        "at(epilogue.residual, image * call.y.n, element)",
        "the residual is stepped through with the strides of y",
        KERNELS,
    ),
    Mutant(
        DISPATCH,
        "std::min(end, (image + 1) * items)",
        "end",
        "a range runs across two images",
        KERNELS,
    ),
    Mutant(
        DISPATCH,
        "stop - image * items, thread",
        "stop - image * items, 0",
        "all threads share the scratch of the first",
        "tests/test_kernels.py -k 'direct or im2col'",
    ),
    Mutant(
        DISPATCH,
        "limit - sizes_.packed - sizes_.shared",
        "limit + sizes_.packed",
        "threads take more scratch than max_workspace leaves",
        "tests/test_dispatch.py",
    ),
    Mutant(
        MEMORY,
        "      if (block->capacity != capacity) continue;",
        "      continue;",
        "scratch is never used again",
        "tests/test_dispatch.py",
    ),
    Mutant(
        MEMORY,
        "      kept.drop(block);",
        "      kept.bytes -= capacity;",
        "two calls are lent the same scratch",
        "tests/test_plan.py",
    ),
    Mutant(
        MEMORY,
        "  kept.blocks.clear();\n",
        "",
        "memory is given back and lent again",
        "tests/test_threads.py tests/test_plan.py",
    ),
    Mutant(
        EXECUTOR,
        "pthread_atfork(nullptr, nullptr, replace_pool);",
        "",
        "a forked child waits for threads that it does not have",
        PLAN,
    ),
    Mutant(
        EXECUTOR,
        "if (!turn.owns_lock()) return job.body(job.context, 0, job.items, 0);",
        "if (!turn.owns_lock()) return;",
        "a second caller's work is dropped while the pool is busy",
        PLAN,
    ),
    Mutant(
        EXECUTOR,
        "if (quota > 0 && (least < 0 || quota < least)) least = quota;",
        "if (quota > 0) least = quota;",
        "a wider quota above hides the tight one",
        "tests/test_threads.py",
    ),
    Mutant(
        EXECUTOR,
        "if (CPU_COUNT(&allowed) >= threads) CPU_CLR(size_t(here), &allowed);",
        "",
        "a worker may wait behind the caller on one processor",
        "tests/test_threads.py",
    ),
    Mutant(
        "csrc/blocks/depthwise_channels.h",
        "done += whole;",
        "",
        "every run of turned pixels is stored at the first one's place",
        "tests/test_kernels.py -k depthwise",
    ),
    Mutant(
        "csrc/blocks/block_vectors.h",
        "if (masked) v = kept ? v : Vec<T>{};\n      store(y + q * y_step, v);",
        "store(y + q * y_step, v);",
        "lanes past the last channel hold what a bound makes of zero",
        "tests/test_blocked_operators.py",
    ),
    Mutant(
        "csrc/blocks/block_vectors.h",
        "return channel / problem.block * strides.c + channel % problem.block;",
        "return number * strides.c;",
        "a block of several vectors is taken for several blocks",
        "tests/test_blocked_operators.py",
    ),
    Mutant(
        "csrc/blocks/depthwise_squares.h",
        "at >= 0 && at < problem.w ? kLanes<T> : 0",
        "at < problem.w ? kLanes<T> : 0",
        "squares read the padding at the left out of the row above",
        "tests/test_kernels.py -k depthwise",
    ),
    Mutant(
        "csrc/blocks/depthwise_squares.h",
        "square.skip = place - column;",
        "square.skip = 0;",
        "columns of two squares are stored twice, over their residual",
        "tests/test_kernels.py -k depthwise",
    ),
    Mutant(
        "csrc/blocks/depthwise_squares.h",
        "from = square.residual + channel * plane + (square.rows - 1) * problem.residual.h;",
        "from = square.residual + channel * plane;",
        "the second row of a square takes the residual of the first",
        "tests/test_kernels.py -k depthwise",
    ),
    Mutant(
        "csrc/blocks/depthwise_columns.h",
        "(kInside || (pixels.inside >> j & 1) ? at : zeros)",
        "(at)",
        "channels in the lanes: padding is read out of the image beside",
        "tests/test_kernels.py -k depthwise",
    ),
    Mutant(
        "csrc/blocks/lane_exit.h",
        "if (out.masked) v = out.kept ? v : Vec<T>{};",
        "",
        "lanes past the last channel hold what the activation makes of zero",
        "tests/test_kernels.py -k depthwise",
    ),
    Mutant(
        "csrc/blocks/depthwise_blocks.h",
        "if (kSlow || i >= skip)",
        "",
        "columns of two strips are stored twice, over their residual",
        "tests/test_kernels.py -k depthwise",
    ),
    Mutant(
        "csrc/blocks/depthwise_blocks.h",
        "for (int j = skip; j < tile.pixels; ++j) {",
        "for (int j = 0; j < tile.pixels; ++j) {",
        "with a slow activation, columns of two strips are stored twice, over their residual",
        "tests/test_kernels.py -k depthwise",
    ),
    Mutant(
        "csrc/blocks/depthwise_blocks.h",
        "store(to + j * out.y_step, masked ? (kept ? v : Vec<T>{}) : v);",
        "store(to + j * out.y_step, v);",
        "lanes past the last channel hold what a slow activation makes of zero",
        "tests/test_kernels.py -k depthwise",
    ),
    Mutant(
        "csrc/blocks/pointwise_blocks.h",
        "if (flat) return (pixel + i) * strides.w;",
        "return (pixel + i) * strides.w;",
        "with a slow activation, pixels of another row are stored behind those of the first",
        "tests/test_kernels.py -k pointwise",
    ),
    Mutant(
        DISPATCH,
        "lanes = std::min(lanes, threads_worth(call));",
        ";",
        "a handful of products wakes every worker",
        "tests/test_threads.py",
    ),
    Mutant(
        EXECUTOR,
        "(range + 1) * items / threads, thread);",
        "(range + 1) * items / threads + 1, thread);",
        "a range runs into the next one, and past the last item",
        KERNELS,
    ),
    Mutant(
        EXECUTOR,
        "done_.wait(lock, all_done);",
        "",
        "a call returns before its threads are done",
        "tests/test_threads.py",
    ),
    Mutant(
        EXECUTOR,
        "[this, thread = workers_ + 1]",
        "[this, thread = 0]",
        "workers share the caller's scratch",
        "tests/test_kernels.py -k 'direct or im2col'",
    ),
    Mutant(
        EXECUTOR,
        "(thread + turn) % threads;",
        "turn;",
        "threads take each other's ranges from phase to phase",
        THREADS,
    ),
    Mutant(
        EXECUTOR,
        "if (quota > 0 && quota < threads)",
        "if (quota > 0 && quota > threads)",
        "a container's quota is passed over",
        THREADS,
    ),
    Mutant(
        EXECUTOR,
        "threads = CPU_COUNT(&set);",
        "threads = 1024;",
        "affinity is passed over",
        THREADS,
    ),
    Mutant(
        EXECUTOR,
        "if (Clock::now() >= end) return;",
        "",
        "idle workers spin for ever",
        THREADS,
    ),
    Mutant(
        EXECUTOR,
        "      take_onto_this_processor(late_worker());",
        "      ;",
        "a late worker waits for its processor, which others keep",
        THREADS,
    ),
    Mutant(
        EXECUTOR,
        "pthread_setaffinity_np(handles_[size_t(thread) - 1], sizeof allowed, &allowed);",
        "",
        "a late worker stays on the caller's processor",
        THREADS,
    ),
    Mutant(
        BINDINGS,
        "(i == 3 ? 1 : 0) : bytes / element;",
        "(i == 3 ? 1 : 0) : -bytes / element;",
        "arrays that run backwards run forwards",
        KERNELS,
    ),
    Mutant(
        BINDINGS,
        "array.shape(1) == c && array.shape(2) == h &&",
        "array.shape(1) == c &&",
        "the native plan reads rows that x does not have",
        "tests/test_dispatch.py",
    ),
    Mutant(
        PROGRAM,
        "epilogue.bias = bias_values ? bias.data() : nullptr;",
        "epilogue.bias = bias_values;",
        "the bias's memory may be gone when a plan is called",
        "tests/test_dispatch.py",
    ),
    Mutant(
        PROGRAM,
        "epilogue.residual = frame.at(step.residual);",
        "epilogue.residual = nullptr;",
        "a program's convolutions add no residual",
        "tests/test_passes.py",
    ),
    Mutant(
        PROGRAM,
        "static_cast<char*>(const_cast<void*>(base)) + place.offset;",
        "static_cast<char*>(const_cast<void*>(base));",
        "all values of a program begin where the arena does",
        "tests/test_passes.py",
    ),
    # ---- blocks under every kernel ---------------------------------------------------------------
    Mutant(
        WINDOW,
        "case kReflect: return i < 0 ? -i :",
        "case kReflect: return i < 0 ? -i - 1 :",
        "reflect repeats the edge at the top left",
        KERNELS,
    ),
    Mutant(
        WINDOW,
        "2 * size - 2 - i;",
        "2 * size - 1 - i;",
        "reflect repeats the edge at the bottom right",
        KERNELS,
    ),
    Mutant(
        WINDOW,
        "case kReplicate: return i < 0 ? 0 : size - 1;",
        "case kReplicate: return 0;",
        "replicate takes the first row for the last",
        KERNELS,
    ),
    Mutant(
        WINDOW,
        "case kCircular: return i < 0 ? i + size : i - size;",
        "case kCircular: return i < 0 ? size - 1 : i - size;",
        "circular repeats the last row above the image",
        KERNELS,
    ),
    # ---- Python ----------------------------------------------------------------------------------
    Mutant(
        "convkit/problem.py",
        "sides += [total // 2, total - total // 2]",
        "sides += [total - total // 2, total // 2]",
        '"same" puts the odd row at the top left',
        CONV,
    ),
    Mutant(
        "convkit/problem.py",
        "return (padded - ((filter_size - 1) * dilation + 1)) // stride + 1",
        "return -(-(padded - ((filter_size - 1) * dilation + 1)) // stride) + 1",
        "output sizes are rounded up",
        "tests/test_oracle.py tests/test_facts.py",
    ),
    Mutant(
        "convkit/problem.py",
        'most = extent - 1 if mode == "reflect" else extent',
        "most = extent",
        "reflect may reach past the image",
        ERRORS,
    ),
    Mutant(
        "convkit/problem.py",
        "if k % groups:",
        "if False:",
        "groups that do not divide the filters",
        ERRORS,
    ),
    Mutant(
        "convkit/problem.py",
        "if isinstance(value, bool):",
        "if False:",
        "True is taken for a stride of 1",
        ERRORS,
    ),
    Mutant(
        "convkit/problem.py",
        "(r - 1) * dilation_hw[0] + 1)",
        "r)",
        "a dilated filter larger than the padded image is let through",
        ERRORS,
    ),
    Mutant(
        "convkit/epilogue.py",
        '"leaky_relu": ActivationRow(3, ("slope",), (0.01,))',
        '"leaky_relu": ActivationRow(3, ("slope",), (0.1,))',
        "another slope than the documented one",
        CONV,
    ),
    Mutant(
        "convkit/epilogue.py",
        'if name == "clip" and numbers[0] > numbers[1]:',
        "if False:",
        "a clip with its bounds exchanged",
        ERRORS,
    ),
    Mutant(
        "convkit/select.py",
        "best.exact or saved > LEAST_SAVED",
        "True",
        "a tiny image is rounded to save a microsecond",
        "tests/test_explain.py",
    ),
    Mutant(
        "convkit/select.py",
        "w4[:, :, ::-1, ::-1] if flip else w4",
        "w4[:, :, ::-1] if flip else w4",
        "flip turns rows only",
        FACTS,
    ),
    Mutant(
        "convkit/plan.py",
        'np.array(four_weights(w, flip), order="C", copy=True)',
        'np.array(four_weights(w, flip), order="C", copy=None)',
        "a plan shares the caller's weights",
        PLAN,
    ),
    Mutant(
        "convkit/plan.py",
        'else np.array(bias, order="C", copy=True)',
        "else np.ascontiguousarray(bias)",
        "a plan shares the caller's bias",
        PLAN,
    ),
    Mutant(
        "csrc/kernels/separable.cpp",
        "const int64_t at = lesser(column, end - group);",
        "const int64_t at = column;",
        "the last group of columns runs over the row",
        "tests/test_memory.py -k nothing_outside",
    ),
    Mutant(
        "csrc/kernels/separable.cpp",
        "problem.x.w == 1 && window.end - window.begin >= group &&",
        "window.end - window.begin >= group &&",
        "columns that do not follow each other are read as if they did",
        "tests/test_kernels.py -k separable",
    ),
    Mutant(
        "csrc/kernels/separable.cpp",
        "if (problem.padding_mode == kZeros) return true;",
        "return true;",
        "padding is copied from sums of another strip",
        "tests/test_kernels.py -k separable",
    ),
    Mutant(
        "csrc/kernels/separable.cpp",
        "if (!rows[i]) continue;",
        "if (!rows[i]) break;",
        "a row of zeros above ends the sum",
        "tests/test_kernels.py -k separable",
    ),
    Mutant(
        "convkit/algorithms.py",
        "allowed = 2 * float",
        "allowed = 2e3 * float",
        "filters of nearly rank 1 are taken for such",
        "tests/test_separable.py",
    ),
    Mutant(
        "convkit/select.py",
        "        if reason == APPLIES:\n            return decision",
        "        return decision",
        "filters of any rank are taken for products",
        "tests/test_separable.py",
    ),
    Mutant(
        "convkit/select.py",
        "if type(stride) is not int:",
        "if not isinstance(stride, (int, tuple)):",
        "a pair that equals a remembered one is taken for it",
        ERRORS,
    ),
    Mutant(
        MEMORY,
        "while (kept.bytes + capacity > kKept || kept.blocks.size() == kKeptBlocks) {",
        "while (kept.blocks.size() == kKeptBlocks) {",
        "idle memory has no bound",
        "tests/test_answers.py",
    ),
    Mutant(
        "convkit/plan.py",
        "out.strides == array.strides",
        "True",
        "a residual turned around is taken for out itself",
        ERRORS,
    ),
    Mutant(
        "convkit/plan.py",
        "if not out.flags.c_contiguous and _overlaps_itself(out):",
        "if False:",
        "out may name one element twice",
        ERRORS,
    ),
    Mutant(
        "convkit/plan.py",
        "            check_out(out, shape, x=x, residual=residual, w=None, bias=None)",
        "            pass",
        "a plan writes into any out",
        ERRORS,
    ),
    Mutant(
        "convkit/plan.py",
        "self._activation, self._limit,\n            self._x_ndim",
        "IDENTITY, self._limit,\n            self._x_ndim",
        "a pickled plan forgets its activation",
        PLAN,
    ),
    Mutant(
        "convkit/conv.py",
        "x=x, w=w, bias=bias, residual=residual)\n    # Packed",
        "x=x, w=w, bias=None, residual=residual)\n    # Packed",
        "out may be written over the bias",
        ERRORS,
    ),
    Mutant(
        "convkit/select.py",
        "row.seconds(problem.with_batch(1), machine) * batch\n    else",
        "row.seconds(problem, machine)\n    else",
        "the choice depends on the batch",
        "tests/test_explain.py tests/test_dispatch.py",
    ),
    Mutant(
        "convkit/select.py",
        'asked.precision == "highest" and not row.exact',
        "False",
        "precision='highest' excludes nothing",
        EXPLAIN,
    ),
    Mutant(
        "convkit/select.py",
        "and row.workspace(problem) <= asked.max_workspace\n    ]",
        "]",
        "max_workspace is passed over",
        CONV,
    ),
    Mutant(
        "convkit/select.py",
        "best = min(fits",
        "best = max(fits",
        "the dearest algorithm is chosen",
        EXPLAIN,
    ),
    Mutant(
        "convkit/algorithms.py",
        "if problem.groups == problem.c:",
        "if problem.groups == problem.k:",
        "depthwise does not take a multiplier",
        ALGORITHMS,
    ),
    Mutant(
        "convkit/algorithms.py",
        "if max(problem.stride) <= 2:",
        "if max(problem.stride) <= 1:",
        "depthwise does not take stride 2",
        ALGORITHMS,
    ),
    Mutant(
        "convkit/threads.py",
        "class _CallingThread(local):",
        "class _CallingThread:",
        "threads(n) changes other threads",
        THREADS,
    ),
    Mutant(
        "convkit/threads.py",
        "    finally:\n        _calling_thread.threads = before",
        "    finally:\n        pass",
        "threads(n) outlives its block",
        THREADS,
    ),
    Mutant(
        "convkit/environment.py",
        '.split(",")[0]',
        "",
        "a list in OMP_NUM_THREADS is passed over",
        THREADS,
    ),
    Mutant(
        "convkit/backends.py",
        "elif dtype != first_dtype or not dtype.isnative:",
        "elif False:",
        "arrays of two dtypes",
        ERRORS,
    ),
    Mutant(
        "convkit/backends.py",
        "if isinstance(array, np.ma.MaskedArray):",
        "if False:",
        "a mask is lost in silence",
        "tests/test_arrays.py",
    ),
    # ---- the kernels -----------------------------------------------------------------------------
    Mutant(
        "csrc/blocks/direct_filters.h",
        "const int64_t from = greater(r0, block.begin - i * band.row_step);",
        "const int64_t from = r0;",
        "rows of padding that were never filled are multiplied",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_filters.h",
        "const int64_t skipped = (from - r0) * row_taps;",
        "const int64_t skipped = 0;",
        "taps of the top padding are skipped in the band but not in the weights",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_filters.h",
        "store(to, load(to) + sum[i][v]);",
        "store(to, sum[i][v]);",
        "only the last part of a long sum survives",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_filters.h",
        "const int64_t count = pixels + (tile < wider);",
        "const int64_t count = pixels;",
        "tiles overlap where the row does not divide evenly",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_put.h",
        "if (out.masked) sum = kept ? sum : Vec<T>{};",
        "",
        "lanes past the last filter hold the activation of zero",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_put.h",
        "after == problem.k ? whole_blocks(problem, after) : after;",
        "after;",
        "lanes past the last group are not stored",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_channels.h",
        "if (padding >> i & 1) at[i] = kZeroRun<T>;",
        "",
        "pixels in the padding read the image",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_channels.h",
        "tile.w_after = (r1 - to) * row_taps * width;",
        "tile.w_after = 0;",
        "after rows in the padding, weights of other taps are taken",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_channels.h",
        "x += tile.block_step - tile.block;",
        "",
        "the next block of channels is read right behind this one",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_spread.h",
        "source < 0 || scratch.holds[slot] == row",
        "source < 0 || scratch.holds[slot] >= 0",
        "the ring keeps the rows of the first outputs",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_spread.h",
        "sums + skip * kLanes<T>, p, q, count - skip",
        "sums, p, q, count - skip",
        "the last strip of a row stores its first sums",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_filters.h",
        "c0 == 0 && s0 == 0 && r0 <= first_met(i);",
        "c0 == 0 && s0 == 0;",
        "the filter rows of the first part are forgotten",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_put.h",
        "filter < lesser(done.filters, v + kLanes<T>); ++filter)",
        "filter < v + kLanes<T>; ++filter)",
        "stores filters past the group",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_filters.h",
        "(item.group * packed_filters<T>(blocks) + item.filter_block",
        "(item.group * blocks.filters + item.filter_block",
        "weights of later groups are looked for without their padding",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/pixel_rows.h",
        "from > last || first + i < block.begin || first + i >= block.end",
        "from > last || first + i >= block.end",
        "rows of padding above the image are read, which nobody filled",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/pixel_rows.h",
        "if (i == from_next) {",
        "if (i == from_next + 1) {",
        "a filter row past the last one is multiplied",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/pixel_rows.h",
        "w[s - t * w_step]",
        "w[s + t * w_step]",
        "later output rows use later filter rows",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/pixel_rows.h",
        "load(sums + v * kLanes<T>) + sum[t][v]",
        "sum[t][v]",
        "only the last part of a long sum survives",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/band.h",
        "column % problem.stride_w * band.run + column / problem.stride_w",
        "column / problem.stride_w * band.run + column % problem.stride_w",
        "phases of the stride and columns exchanged",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/band.h",
        "band_row = band_row / problem.r * band.full_step + band_row % problem.r;",
        "band_row = band_row / problem.r * band.row_step + band_row % problem.r;",
        "stride over the filter's height ignored",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/band.h",
        "problem.stride_h + band_row * problem.dilation_h - problem.pad_top;",
        "problem.stride_h + band_row * problem.dilation_h - problem.pad_bottom;",
        "asymmetric padding",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/band.h",
        "const int64_t column = source_column(problem, begin + i * step);",
        "const int64_t column = source_column(problem, begin + i);",
        "padding columns taken without the stride",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/band.h",
        "lesser((w - first) / kColumns, count / kSize) * kSize);",
        "lesser(ceil_div(w - first, kColumns), count / kSize) * kSize);",
        "a vector that reaches past the image counts as within it",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_groups.h",
        "lesser(together - item.group % together, problem.groups - item.group)",
        "together",
        "bands of groups past the last one are filled",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_groups.h",
        "item.place - filled.place == further * places;",
        "true;",
        "groups of a line keep the bands of the block before",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_groups.h",
        "const int64_t groups = lesser(together, problem.groups - line * together);",
        "const int64_t groups = together;",
        "the last line of channels is taken for a full one",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_groups.h",
        "if (other.first != met.first || other.taps != met.taps) break;",
        "if (other.first != met.first) break;",
        "rows at the bottom use filter rows that lie in the padding",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_groups.h",
        "if (i == tile.filters) break;",
        "",
        "stores filters past the group",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_groups.h",
        "const T* before = tile.first ? nullptr : tile.sums;",
        "const T* before = nullptr;",
        "only the last channels that fit the band are summed",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_groups.h",
        "tile.count[v] = lesser(kSize, block.columns - column);",
        "tile.count[v] = kSize;",
        "the last vector of a row is stored over its end",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/band.h",
        "lesser(ceil_div(w - begin, step), count)",
        "lesser(ceil_div(w - begin, step) + 1, count)",
        "one column past the image is read instead of padding",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/band.h",
        "step_at.inside[v] = between<T>(greater(0, -column), w - column);",
        "step_at.inside[v] = between<T>(greater(0, -column), kSize);",
        "the last vector of a row is read past the image",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/band.h",
        "if (i == whole) i = rest;",
        "if (i == whole) i = rest + kSize;",
        "the vector behind the last whole one is not copied",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/band.h",
        "const int64_t at = lesser(i, outside - kLanes<float>);",
        "const int64_t at = i;",
        "the last pixels of an NHWC row are turned with what lies behind them",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_filters.h",
        "problem.pad_left <= problem.stride_w &&",
        "",
        "the second pixel of a row is read in the padding",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_filters.h",
        "problem.s == 3 && (!in_place || problem.pad_left <= problem.dilation_w);",
        "problem.s == 3;",
        "the first pixel's second column is read in the padding",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_filters.h",
        "-int64_t(last_column + column < problem.w);",
        "-1;",
        "the last pixel is read behind the row",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_filters.h",
        "return kFirst && i == 0 ? T(0) : x[place + i * kStep];",
        "return x[place + i * kStep];",
        "the first pixel is read before the row",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/direct_filters.h",
        "(group * places + place) * blocks.filter_blocks + block % blocks.filter_blocks);",
        "(group * places + place) * blocks.filter_blocks + block / places % blocks.filter_blocks);",
        "blocks of filters are computed twice, others never, where weights stay",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/blocks/transpose.h",
        "a[1] = high2(p, r);",
        "a[1] = high2(q, s);",
        "one shuffle takes the wrong half",
        of_kernel("direct"),
    ),
    Mutant(
        "csrc/kernels/im2col.cpp",
        "const bool padding = each->row + r < block.begin || each->row + r >= block.end;",
        "const bool padding = false;",
        "rows of padding are copied from scratch that nobody filled",
        of_kernel("im2col"),
    ),
    Mutant(
        "csrc/kernels/im2col.cpp",
        "if (depth == blocks.depth) copied = place;",
        "copied = place;",
        "the next filters of a block find the patches of the last part only",
        of_kernel("im2col"),
    ),
    Mutant(
        "csrc/kernels/im2col.cpp",
        "sum[i][v] += load(sums + v * kLanes<T>);",
        "sum[i][v] = sum[i][v];",
        "only the last part of a long sum survives",
        of_kernel("im2col"),
    ),
    Mutant(
        "csrc/kernels/im2col.cpp",
        "int64_t c = begin / taps, r = begin % taps / problem.s,",
        "int64_t c = begin / taps, r = 0,",
        "a part that begins inside a channel starts at the wrong filter row",
        of_kernel("im2col"),
    ),
    Mutant(
        "csrc/kernels/im2col.cpp",
        "const int64_t run = lesser(width - at, block.columns - column);",
        "const int64_t run = block.columns - column;",
        "rows run over the end of a panel",
        of_kernel("im2col"),
    ),
    Mutant(
        "csrc/kernels/im2col.cpp",
        "lesser(kTileRows, blocks.filters - tile * kTileRows)",
        "kTileRows",
        "stores filters past the group",
        of_kernel("im2col"),
    ),
    Mutant(
        "csrc/blocks/pointwise_product.h",
        "total[i][v] = first ? sum[i][v] : total[i][v] + sum[i][v];",
        "total[i][v] = sum[i][v];",
        "only the last partial sum survives (more than 256 channels)",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_product.h",
        "done = kRows * kRowDepths;",
        "done = kRowDepths;",
        "depths passed while rows of y were fetched count once again",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_pixels.h",
        "const T* row = x + x_row;",
        "const T* row = x + problem.x.h;",
        "copied rows: the second is the image's next one, whatever the stride",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_filters.h",
        "sum[i][v] += load(sums + (i * kPanelVecs + v) * kLanes<T>);",
        "",
        "few pixels: only the last channels count (more than 256)",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_blocks.h",
        "tile.totals += rows * vecs * kLanes<T>;",
        "",
        "blocks: all tiles share the first one's sums of the channels before",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_blocks.h",
        "to.masked = (first_vec + vecs) * kLanes<T> > problem.k;",
        "to.masked = false;",
        "blocks: lanes past the last filter hold activation(0)",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_blocks.h",
        "from + row * problem.x.h + column * problem.x.w",
        "from + row * problem.x.h + q * problem.x.w",
        "blocks: copied pixels of a row are all the first one",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_blocks.h",
        "problem.block == kLanes<T> && problem.x.w == kLanes<T> &&",
        "problem.x.w == problem.block &&",
        "blocks of several vectors read as if they had one",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_filters.h",
        "if (k + j == filters) break;",
        "",
        "turned sums: filters past the last one are stored, too",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/kernels/pointwise.cpp",
        "if (++group == grid.groups) {",
        "if (++group > grid.groups) {",
        "a chunk has one group of tiles too many",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_pixels.h",
        "problem.stride_w == 1 && problem.p == problem.h &&",
        "problem.stride_w == 1 &&",
        "rows of padding above and below: x read in place though its pixels are shifted",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_pixels.h",
        "problem.q == problem.w && problem.x.w == 1 &&",
        "problem.q == problem.w &&",
        "columns that do not follow each other read as if they did",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_pixels.h",
        "if (left >= 2 * kLanes<T>)",
        "if (left > 0)",
        "a stride of two reads whole vectors past the end of a row",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_pixels.h",
        "if (i < left) store(to, a[i]);",
        "store(to, a[i]);",
        "turned pixels: channels past the last one are written over what follows",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_pixels.h",
        "q * problem.stride_w * problem.x.w;",
        "q * problem.x.w;",
        "turned pixels: columns of a stride of two follow each other",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_pixels.h",
        "p * problem.stride_h - problem.pad_top,",
        "p * problem.stride_h - problem.pad_bottom,",
        "asymmetric padding",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/kernels/pointwise.cpp",
        "return left > 4 ? kFilters : left > 2 ? 4 : left;",
        "return left > 5 ? kFilters : left > 2 ? 4 : left;",
        "the fifth filter of a last tile is never computed",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/kernels/pointwise.cpp",
        "*to++ = k + i < problem.k ? from[(k + i) * problem.c + c] : T(0);\n  }\n}\n\n// Where",
        "*to++ = from[(k + i < problem.k ? k + i : k) * problem.c];\n  }\n}\n\n// Where",
        "every channel packed with the weights of channel 0",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/kernels/pointwise.cpp",
        "if (residual) residual += to.filter * problem.residual.c + to.first;",
        "if (residual) residual += to.filter * problem.residual.c;",
        "every panel adds the residual of the first",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/kernels/pointwise.cpp",
        "if (chunk != current) {",
        "if (current < 0) {",
        "later chunks multiply the first chunk's pixels",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/kernels/pointwise.cpp",
        "if (fresh && !last)",
        "if (fresh && last)",
        "the first tile of filters does not keep the pixels for the others",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_filters.h",
        "if (!in_x && copied != block) {",
        "if (!in_x && copied < 0) {",
        "a later block of few pixels multiplies the first block's copy",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/pointwise_filters.h",
        "transpose<T>(sums + i * kPanel<T> + v * kLanes<T>,",
        "transpose<T>(sums + i * kPanel<T>,",
        "turned sums: the second vector of filters is the first again",
        of_kernel("pointwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_strips.h",
        "edge += row_loads(kSize, kStride);",
        "",
        "the right edge uses the masks of the left one",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_strips.h",
        "inside = copied || (first >= 0 && first + kReach <= problem.w);",
        "inside = copied || first >= 0;",
        "lanes past the right edge read the next row",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_strips.h",
        "const int64_t channel = multiplier == 1 ? filter : filter / multiplier;",
        "const int64_t channel = multiplier == 1 ? filter : filter % problem.c;",
        "channel multiplier: filters read the wrong channel",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_strips.h",
        "taps[s + 1] = odd_lanes<T>(low, high);",
        "taps[s + 1] = even_lanes<T>(low, high);",
        "stride 2: odd columns replaced by even ones",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_strips.h",
        "sum[kTurn] = Vec<T>{};",
        "",
        "a sum starts from that of an output row above",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_bands.h",
        "if (!kMaskedLoads || (problem.padding_mode != kZeros && padded)) return Access::kCopied;",
        "if (!kMaskedLoads) return Access::kCopied;",
        "padding of the other modes read as zero",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_bands.h",
        "if (problem.x.w == 1) return Access::kInPlace;",
        "return Access::kInPlace;",
        "columns that do not follow each other read as if they did",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_bands.h",
        "rows.low = zeros && rows.top < 0 ? -rows.top : 0;",
        "rows.low = 0;",
        "rows above the image are read",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_bands.h",
        "? kLanes<T> / 2 : kLanes<T> - 1;",
        "? kLanes<T> / 2 : kLanes<T>;",
        "a row that fills its vector leaves no lane for the zero of the padding",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_pairs.h",
        "const int64_t second = alone ? filter : filter + 1;",
        "const int64_t second = filter + 1;",
        "an odd filter's neighbour is computed and stored",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_pairs.h",
        "filter / multiplier, second / multiplier",
        "filter / multiplier, filter / multiplier",
        "two filters of a pair read the first one's channel",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_bands.h",
        "if (begins || place.filter == place.first) {",
        "if (begins) {",
        "later groups of channels are filtered over the first one's rows",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/depthwise_any.h",
        "total[p][v] += sum[p][v];",
        "total[p][v] = sum[p][v];",
        "only the last partial sums survive (filters of more than 256 taps)",
        of_kernel("depthwise"),
    ),
    Mutant(
        "csrc/blocks/winograd_transforms.h",
        "v[2] = d[2] - d[1];",
        "v[2] = d[1] - d[2];",
        "F2: sign of the point -1",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_transforms.h",
        "y[1] = (m[1] - m[2]) + m[3];",
        "y[1] = (m[1] - m[2]) - m[3];",
        "F2: sign of the point at infinity",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_transforms.h",
        "const V even = half * (g[0] + g[2]), odd = half * g[1];",
        "const V even = half * (g[0] + g[2]), odd = g[1];",
        "F2: norm forgotten for the odd part",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_transforms.h",
        "v[0] = d[0] - d[2];",
        "v[0] = d[0] + d[2];",
        "F2: point 0",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_transforms.h",
        "sum = Scalar(2.5)",
        "sum = Scalar(2.4999)",
        "F4: a constant slightly off: error far above 8 eps, still plausible numbers",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_transforms.h",
        "v[5] = (d[5] - sum * d[3]) + d[1];",
        "v[5] = (d[5] - sum * d[3]) - d[1];",
        "F4: point at infinity",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_transforms.h",
        "Scalar(-2.0 / 3 * powers_small[kPower])",
        "Scalar(2.0 / 3 * powers_small[kPower])",
        "F4: sign of the norm of +-1/sqrt 2",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_transforms.h",
        "y[2] = output_at<2>(pairs, m[5]);",
        "y[2] = output_at<2>(pairs);",
        "F3: point at infinity",
        of_kernel("winograd_strided"),
    ),
    Mutant(
        "csrc/blocks/winograd_transforms.h",
        "odd_large = large * (g[1] + two * g[3]);",
        "odd_large = large * (g[1] + half * g[3]);",
        "F3: the fourth tap at the large points",
        of_kernel("winograd_strided"),
    ),
    Mutant(
        "csrc/blocks/winograd_phases.h",
        "const int64_t before = left >= 0 ? 0 : (u - 1 - left) / u;",
        "const int64_t before = left >= 0 ? 0 : -left / u;",
        "a pixel some of whose phases lie in the padding is read before x",
        of_kernel("winograd_strided"),
    ),
    Mutant(
        "csrc/blocks/winograd_phases.h",
        "const int64_t inside = phases.w - left < 0 ? 0 : (phases.w - left) / u;",
        "const int64_t inside = phases.w - left < 0 ? 0 : (phases.w - left + u - 1) / u;",
        "a pixel some of whose phases lie past the last column is read past x",
        of_kernel("winograd_strided"),
    ),
    Mutant(
        "csrc/blocks/winograd_phases.h",
        "lanes = u - column < channels - lane ? u - column : channels - lane;",
        "lanes = u < channels - lane ? u : channels - lane;",
        "the phases of a column that two vectors share are taken from its beginning",
        of_kernel("winograd_strided"),
    ),
    Mutant(
        "csrc/kernels/winograd_strided.cpp",
        "if (r >= problem.r || s >= problem.s) return 0.0;",
        "",
        "taps past the filter's end are those of the next row",
        of_kernel("winograd_strided"),
    ),
    Mutant(
        "csrc/blocks/winograd_tiles.h",
        "spare < tiles ? tiles - spare : 0",
        "spare < tiles ? tiles - spare - 1 : 0",
        "one full tile too few: the last outputs are never stored",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_tiles.h",
        "return at < axis.outputs ? at : axis.outputs;",
        "return at;",
        "a last tile stores outputs past the image",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_tiles.h",
        "(kind & 2) && column >= b.columns.full",
        "(kind & 2) && column >= b.rows.full",
        "rows and columns of short tiles confused",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_tiles.h",
        "end = b.columns.tiles * stop / b.cells;",
        "end = begin + b.columns.tiles / b.cells;",
        "cells of uneven width leave a gap",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd.h",
        "product.add = stage.depth > 0;",
        "product.add = false;",
        "sums of earlier channels forgotten beyond 256 (half: 32) channels",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd.h",
        "product.depth - done < kWide ? product.depth - done : kWide",
        "kWide",
        "reads weights and lanes past c",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_items.h",
        "const int64_t whole = share == 0 ? left / shares : 0;",
        "const int64_t whole = left / shares;",
        "a range that begins inside a cell leaves filters of a later one out",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd.h",
        "lanes[lane] = tap(lane, i, j);",
        "lanes[lane] = tap(lane, j, i);",
        "filters transposed",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd.h",
        "(j + 1) % 2 * kStretch * kGroup",
        "j % 2 * kStretch * kGroup",
        "half: the two finished points of a pair exchanged",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd.h",
        "const int place = places.at[2 * (column == n - 1)][tile];",
        "const int place = places.at[0][tile];",
        "sums at infinite columns are looked for where the short tiles were counted too",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd.h",
        "problem.k - filter < kWide ? problem.k - filter : kWide",
        "kWide",
        "stores filters past k",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_items.h",
        "begin += pair ? 2 * units : stop - at;",
        "begin += pair ? 3 * units : stop - at;",
        "half: after a pair of vectors of filters the next one is left out",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_items.h",
        "to < last ? to : last;",
        "last;",
        "half: a range also does the cells of the next one",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd.h",
        "parts.sums + stage.point * parts.sum_point + begin * kGroup;",
        "parts.sums + stage.point * parts.sum_point + (begin - first) * kGroup;",
        "a range that begins inside a block puts its sums where the first tiles stand",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd.h",
        "parts.pixels + (top - above) * pitch",
        "parts.pixels + Tile::kOutputs * pitch",
        "the rows of pixels under a short tile are taken from one row too low",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd.h",
        "const int64_t at = tile + i * piece.columns + j;",
        "const int64_t at = tile + i * piece.columns + j - begin;",
        "every strip of a row of tiles puts its inputs where those of the first stand",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_rows.h",
        "if (i >= r && i - r < kRows)",
        "if (i > r && i - r < kRows)",
        "rows: the first output row misses its first tap",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_rows.h",
        "product.add = step > 0;",
        "product.add = false;",
        "rows: sums of earlier channels forgotten beyond 16",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_rows.h",
        "problem.c - step * kStep < kStep ? problem.c - step * kStep : kStep",
        "kStep",
        "rows: reads lanes and weights past c",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_rows.h",
        "source_row(problem, end + 1 - problem.pad_top) < 0;",
        "true;",
        "rows: the last input row is left out where it is no padding",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_double.h",
        "if (item == begin || group == 0) {",
        "if (group == 0) {",
        "double: a range that begins inside a block uses inputs it never transformed",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_double.h",
        "for (int j = 0; j < n; ++j) d[j] = half[j][row];",
        "for (int j = 0; j < n; ++j) d[j] = half[j][0];",
        "double: every output row is the first",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_blocks.h",
        "top >= 0 && top + n <= problem.h",
        "top >= 0",
        "tiles that reach over the lower border are read past x",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_blocks.h",
        "problem.x.w == kWide && top",
        "top",
        "pixels further apart than a vector are read as if they were not",
        "tests/test_kernels.py -k 'winograd and within_larger'",
    ),
    Mutant(
        "csrc/blocks/winograd_blocks.h",
        "if (column < columns)",
        "if (column <= columns)",
        "a short tile stores an output of the next one",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/winograd_lanes.h",
        "return (problem.k + problem.block - 1) / problem.block * problem.block;",
        "return problem.k;",
        "whole vectors past the last filter of a block are not stored",
        "tests/test_kernels.py -k 'winograd and blocks_of_channels'",
    ),
    Mutant(
        "csrc/blocks/winograd_lanes.h",
        "store(y, exit.lanes.masked ? (exit.lanes.kept ? v : Vec<float>{}) : v);",
        "store(y, v);",
        "lanes past the last filter hold what a slow activation makes of zero",
        "tests/test_kernels.py -k 'winograd and blocks'",
    ),
    Mutant(
        "csrc/blocks/winograd_items.h",
        "return bands.cells * band / bands.count;",
        "return (bands.cells + bands.count - 1) / bands.count * band;",
        "the last band of cells is larger than the others, or ends past the image",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/turn.h",
        "i + kLanes<float> <= last ? i : last - kLanes<float>",
        "i",
        "the last turn of a row reads past x",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/turn.h",
        "if (i == first) i = last;",
        "if (i == first) i = last + 1;",
        "the first column of right padding is never written",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/turn.h",
        "at = column - begin;",
        "at = column;",
        "padding is copied from the wrong pixel of the row",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/turn.h",
        "load_first(from + (j * plane + begin + i), n)",
        "load(from + (j * plane + begin + i))",
        "reads past the end of a short row: faults at the end of a page",
        of_kernel("winograd"),
    ),
    Mutant(
        "csrc/blocks/fft_filters.h",
        "load(at + kLanes<T>) * splat(-scale)",
        "load(at + kLanes<T>) * splat(scale)",
        "convolution instead of correlation",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiling.h",
        "(tap - axis.shift > -out && tap - axis.shift < in)",
        "(tap - axis.shift > -out)",
        "a tap below the image wraps onto its first rows",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/kernels/fft.cpp",
        "x.data += unit * tiling.frequencies * x.step;",
        "",
        "every group reads the first group's inputs",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/kernels/fft.cpp",
        "product.a_piece_row = x_tile * x.columns;",
        "product.a_piece_row = x_tile;",
        "pieces of a long filter read the wrong tile row",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_fused.h",
        "store(column + kLanes<T>, re * w_im + im * w_re);",
        "store(column + kLanes<T>, re * w_im - im * w_re);",
        "wrong imaginary part in the fused product",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_filters.h",
        "(i - rows.shift + rows.size) % rows.size);",
        "i % rows.size);",
        "a wrapped tile's filter is not shifted",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_codelets.h",
        "store(out + kLanes<T>, 2 * f <= N ? part : -part);",
        "store(out + kLanes<T>, part);",
        "a long real transform forgets to conjugate",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_codelets.h",
        "return 8 * k > n ? sine_series(kPi * (n - 4 * k) / (2 * n))",
        "return 8 * k > n ? sine_series(kPi * (n - 4 * k) / (2 * n + 0.0001L))",
        "twiddles off by a few eps",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_codelets.h",
        "odd = {odd.re + difference[j].im * s, odd.im - difference[j].re * s};",
        "odd = {odd.re + difference[j].im * s, odd.im + difference[j].re * s};",
        "wrong odd butterfly: sizes with a factor 3, 5, 7",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft.h",
        "return column == columns / 2 ? rows / 2 + 1 : 2 * (rows / 2 + 1) + (column - 1) * rows;",
        "return column == columns / 2 ? rows / 2 + 1 : rows / 2 + 1 + (column - 1) * rows;",
        "columns of the spectrum overlap",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiling.h",
        "const int64_t step = size - taps + 1, tiles = ceil_div(out, step);",
        "const int64_t step = size - taps + 2, tiles = ceil_div(out, step);",
        "a tile keeps one wrapped output",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiling.h",
        "return max_of(in + max_of(least, 0), out + max_of(most, 0));",
        "return max_of(in, out);",
        "a wrapped tile too small for its border",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiling.h",
        "const bool zeros = problem.padding_mode == kZeros;",
        "const bool zeros = true;",
        "wraps around where padding is no zeros",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_codelets.h",
        "x[j] = {a * c + b * s, b * c - a * s};",
        "x[j] = {a * c + b * s, b * c + a * s};",
        "turned the wrong way between the halves of a long transform",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_image.h",
        "multiply(i, re, -im);",
        "multiply(i, re, im);",
        "mirrored weights not conjugated",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_image.h",
        "(i == 0 ? 0 : size - i) * kPair",
        "i * kPair",
        "mirrored weights of the wrong columns",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_image.h",
        "const int64_t tile = 2 * pair + which,",
        "const int64_t tile = 2 * pair,",
        "the second tile of a pair is the first again",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiling.h",
        "(axis.wrapped && place >= in ? place - axis.size : place);",
        "place; return tap % axis.size < taps ? tap % axis.size : -1;",
        "a filter larger than its circle loses the taps that do not stand at their own place",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "strip.beside = strip.same && last >= 0 && together && channel[last] - channel[0] == last;",
        "strip.beside = strip.same && last >= 0 && together;",
        "channels of an NHWC image that stand apart are read as neighbours",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "problem.x.c == 1 : last >= 0 && block(last) == block(0);",
        "problem.x.c == 1 : last >= 0;",
        "channels of two blocks are read as neighbours",
        "tests/test_fft_blocks_of_channels.py",
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "if (real < kLanes<T>) v = kept ? v : Vec<T>{};",
        "",
        "lanes past the last filter hold activation(0)",
        "tests/test_fft_blocks_of_channels.py",
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "for (int64_t vector = 1; vector <= empty; ++vector)",
        "for (int64_t vector = 2; vector <= empty; ++vector)",
        "a vector of a block that has no filter is not written",
        "tests/test_fft_blocks_of_channels.py",
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "if (problem.y_layout == kNchw || filter + 1 < problem.k) return;",
        "return;",
        "nothing behind the last filter where lanes are stored one by one",
        "tests/test_fft_blocks_of_channels.py",
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "load_first(from + j * step, real)",
        "load_first(from + j * step, real - 1)",
        "the last channel of an NHWC image is lost",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "tile_row = lane * tiling.grid_rows + row;",
        "tile_row = lane + row;",
        "lanes of tiles with pieces overlap",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "for (int64_t j = right; j < strip.count; ++j)",
        "for (int64_t j = right + 1; j < strip.count; ++j)",
        "one column of padding right of the image is never written",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "(problem.h - source) * problem.w - strip.first_column[0] - left",
        "(problem.h - source + 1) * problem.w - strip.first_column[0] - left",
        "reads beyond the last row of x",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "columns[l] = real ? min_of(tiling.columns.step, problem.q - q[l]) : 0;",
        "columns[l] = real ? tiling.columns.step : 0;",
        "the last tile writes beyond its row",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "(strip.first_column[l] + strip.left) * problem.x.w;",
        "strip.first_column[l] * problem.x.w;",
        "rows of the first tile begin in the padding",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_fused.h",
        "shared.done[unit] = count == tiling.cuts;",
        "shared.done[unit] = true;",
        "tiles that several ranges share are never finished",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_fused.h",
        "if (phase > 0 && shared.done[unit]) continue;",
        "",
        "a tile that is done is stored again, from another place",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_image.h",
        "} else if (phase == 0 || !shared.done[place]) {",
        "} else if (!shared.done[place]) {",
        "a pair that ranges share is read by those alone that come first",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiling.h",
        "return 2 * max_of(axis.used, axis.step) <= axis.size;",
        "return 2 * axis.step <= axis.size;",
        "inputs beyond the middle of a tile are taken for zeros",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "i < tiling.rows.used && gather_row(problem, x, strip, i, width, memory);",
        "i < tiling.rows.used - 1 && gather_row(problem, x, strip, i, width, memory);",
        "the last row of a tile's inputs is left out",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/fft_tiles.h",
        "v += load_first(add[l] + i * problem.residual.h + j, count);",
        "v += load_first(add[l] + i * problem.y.h + j, count);",
        "residual read with y's strides",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/complex_gemm.h",
        "re[i][v] -= a_im * b_im[v];",
        "re[i][v] += a_im * b_im[v];",
        "complex product with the wrong sign",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/complex_gemm.h",
        "for (int64_t begin = 0; begin < depth; begin += kBlock, left += 2 * kBlock) {",
        "for (int64_t begin = 0; begin < depth; begin += kBlock, left += kBlock) {",
        "second vector of channels read from the wrong place",
        of_kernel("fft"),
    ),
    Mutant(
        "csrc/blocks/transpose.h",
        "a[2] = low2(q, s);",
        "a[2] = low2(p, s);",
        "wrong transpose",
        of_kernel("fft"),
    ),
    # ---- activations and the other operators -----------------------------------------------------
    Mutant(
        "csrc/operators/activation.cpp",
        "constexpr double kFar = sizeof(T) == 4 ? 120 : 800;",
        "constexpr double kFar = sizeof(T) == 4 ? 60 : 300;",
        "tails cut off too early",
        "tests/test_activations.py",
    ),
    Mutant(
        "csrc/operators/activation.cpp",
        "return v < 0 ? -tail : v - tail;",
        "return v < 0 ? -tail : v + tail;",
        "gelu above 0",
        "tests/test_activations.py",
    ),
    Mutant(
        "csrc/blocks/exponential.h",
        "const Real q = sum * (r * r) + r;",
        "const Real q = sum * (r * r) + v;",
        "reduction by ln 2 forgotten",
        "tests/test_activations.py",
    ),
    Mutant(
        "csrc/blocks/exponential.h",
        "constexpr int kExponentialTerms = sizeof(T) == 4 ? 8 : 14;",
        "constexpr int kExponentialTerms = sizeof(T) == 4 ? 5 : 10;",
        "too few terms",
        "tests/test_activations.py",
    ),
    Mutant(
        "csrc/blocks/elements.h",
        "for (int i = count - 2; i >= 0;",
        "for (int i = count - 2; i > 0;",
        "the outermost axis ignored",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/blocks/elements.h",
        "for (int64_t i = 0; i < n; ++i) values[i] += other[i * inner.residual];",
        "for (int64_t i = 0; i < n; ++i) values[i] += other[i];",
        "residual's stride ignored",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/batch_norm.cpp",
        "T(double(gamma[c]) / sqrt(double(var[c]) + double(*eps)))",
        "T(double(gamma[c]) / (sqrt(double(var[c])) + double(*eps)))",
        "eps outside the root",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/batch_norm.cpp",
        "parts.mean[c] = mean[c];",
        "parts.mean[c] = mean[0];",
        "one mean for all",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/softmax.cpp",
        "constexpr double kFar = -800;",
        "constexpr double kFar = -20;",
        "small shares cut off",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/softmax.cpp",
        "for (int64_t i = whole; i < count; ++i) total += values[i];",
        "",
        "last channels not summed",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/max_pool.cpp",
        "return (v > most) | (v != v) ? v : most;",
        "return v > most ? v : most;",
        "NaN lost",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/max_pool.cpp",
        "constexpr T kNothing = T(-__builtin_inf());",
        "constexpr T kNothing = T(0);",
        "padding wins",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/blocks/pooling.h",
        "return {first < 0 ? 0 : first, last > problem.h ? problem.h : last};",
        "return {first < 0 ? 0 : first, last > problem.h ? problem.h - 1 : last};",
        "last row of the image dropped",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/blocks/pooling.h",
        "s % stride * pitch + s / stride",
        "s % stride * pitch",
        "taps beyond the stride",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/blocks/pooling_windows.h",
        "before + pixels + after).count",
        "before + pixels).count",
        "padding behind the image never counted",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/blocks/pooling_windows.h",
        "return count == kCountPadding",
        "return true",
        "padding always counted",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/global_avg_pool.cpp",
        "if (++w == problem.w) w = 0, ++h;",
        "++w;",
        "rows run on",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/global_avg_pool.cpp",
        "for (int64_t i = count; i % kStep; ++i) tile[i] = 0;",
        "",
        "sums what the last tile held",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/linear.cpp",
        "const int64_t row = tile + i < count ? tile + i : count - 1;",
        "const int64_t row = tile;",
        "rows of a tile",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/linear.cpp",
        "finish_row(problem, operands, chunk + f, 0, first,",
        "finish_row(problem, operands, chunk + f, 0, 0,",
        "rows of later items",
        "tests/test_operators.py",
    ),
    Mutant(
        "csrc/operators/activation.cpp",
        "j * splat(-2.12194440e-4f)",
        "j * splat(2.12194440e-4f)",
        "float32's ln 2 is off in its second part",
        "tests/test_activations.py",
    ),
    Mutant(
        "csrc/operators/activation.cpp",
        "larger(splat(-float(kFar<float>)), Single(SingleBits(v) | 0x80000000u))",
        "Single(SingleBits(v) | 0x80000000u)",
        "sigmoid of infinities",
        "tests/test_activations.py",
    ),
    Mutant(
        "csrc/operators/activation.cpp",
        "return v < 0 ? scaled(share, j) : share;",
        "return share;",
        "the power of two left out of sigmoid below zero",
        "tests/test_activations.py",
    ),
    Mutant(
        "csrc/simd.h",
        "return Vec<float>(_mm512_maskz_max_ps(0xffff, __m512(a), __m512(b)));",
        "return Vec<float>(_mm512_maskz_max_ps(0xffff, __m512(b), __m512(a)));",
        "bounds that turn NaN into the lower one",
        "tests/test_ieee.py",
    ),
    Mutant(
        "convkit/windows.py",
        "if ceil_mode and span % strides[i] and size * strides[i] < image[i] + before:",
        "if ceil_mode and span % strides[i]:",
        "window that starts in the padding",
        "tests/test_operators_pooling.py",
    ),
    Mutant(
        "convkit/operators/dense.py",
        "each = (each if n <= k else each.T)[None, :, None, :]",
        "each = each[None, :, None, :]",
        "bias when the batch is the larger factor",
        "tests/test_operators.py",
    ),
    # ---- sweeps, transposed convolution and what came with them ----------------------------------
    Mutant(
        "csrc/blocks/pooling_windows.h",
        "if (i >= left) v[i] = T(0);",
        "if (i > left) v[i] = T(0);",
        "lanes past the last channel activated",
        "tests/test_operators_pooling.py -k blocks",
    ),
    Mutant(
        "csrc/blocks/pooling_windows.h",
        "const int64_t skipped = at < 0 ? (-at + dilation - 1) / dilation : 0;",
        "const int64_t skipped = at < 0 ? -at / dilation : 0;",
        "a dilated window begins before the image",
        "tests/test_operators_pooling.py -k loops",
    ),
    Mutant(
        "csrc/operators/max_pool.cpp",
        "if (place < 0 || v > most || v != v) most = v, place = h * problem.w + w;",
        "if (place < 0 || v >= most || v != v) most = v, place = h * problem.w + w;",
        "the last of equal maxima",
        "tests/test_operators_pooling.py -k loops",
    ),
    Mutant(
        "csrc/operators/max_pool.cpp",
        "operands.indices + i * problem.q",
        "operands.indices + c * problem.q",
        "places of one row over another's",
        "tests/test_operators_pooling.py -k loops",
    ),
    Mutant(
        "csrc/operators/max_unpool.cpp",
        "operands.indices + c * pixels",
        "operands.indices",
        "the first channel's places for all",
        "tests/test_operators_pooling.py -k unpool",
    ),
    Mutant(
        "csrc/dispatch.cpp",
        "indices ? indices + image * places : nullptr",
        "indices",
        "the first image's places for all",
        "tests/test_operators_pooling.py",
    ),
    Mutant(
        "csrc/operators/local_response_norm.cpp",
        "t <= before + after",
        "t < before + after",
        "the last neighbour left out",
        "tests/test_operators_norms.py",
    ),
    Mutant(
        "csrc/operators/local_response_norm.cpp",
        "i < (before + c + after) * kPixels; ++i) parts.squares[i] = 0;",
        "i < before * kPixels; ++i) parts.squares[i] = 0;",
        "what scratch held counts as channels behind the last",
        "tests/test_operators_norms.py",
    ),
    Mutant(
        "csrc/operators/instance_norm.cpp",
        "sum_of(problem, x, mean,",
        "sum_of(problem, x, 0.0,",
        "lanes past the row count into the variance",
        "tests/test_operators_norms.py",
    ),
    Mutant(
        "csrc/operators/resize.cpp",
        "const T* weights = parts.across + s * problem.q;",
        "const T* weights = parts.across;",
        "the first tap's weight for all columns",
        "tests/test_operators_resize.py",
    ),
    Mutant(
        "csrc/operators/resize.cpp",
        "const T weight = parts.down[p * problem.r + r];",
        "const T weight = parts.down[p * problem.r];",
        "one weight for all rows",
        "tests/test_operators_resize.py",
    ),
    Mutant(
        "convkit/operators/resize.py",
        "(taps // 2 - 1)",
        "taps // 2",
        "interpolation a pixel off",
        "tests/test_operators_resize.py",
    ),
    Mutant(
        "csrc/blocks/logarithm.h",
        "(tiny ? splat(54.0) : Real{})",
        "(tiny ? splat(53.0) : Real{})",
        "the exponent of subnormals",
        "tests/test_sweeps.py -k subnormals",
    ),
    Mutant(
        "csrc/blocks/logarithm.h",
        "logarithm_of_positive(w) + (u - (w - splat(1.0))) / w",
        "logarithm_of_positive(w)",
        "what 1 + u loses of u",
        "tests/test_sweeps.py -k softplus",
    ),
    Mutant(
        "csrc/sweeps/elementwise.cpp",
        "(u > v) | (u != u) ? u : v",
        "(u > v) ? u : v",
        "a's NaN lost",
        "tests/test_sweeps.py -k finite",
    ),
    Mutant(
        "csrc/sweeps/elementwise.cpp",
        "const bool quick = epilogue.activation <= kClip;",
        "const bool quick = true;",
        "slow activations left out",
        "tests/test_sweeps.py -k 'binary or unary'",
    ),
    Mutant(
        "csrc/sweeps/elementwise.cpp",
        "if (repeated != b + walk.b) {",
        "if (repeated == nullptr) {",
        "what repeats is read once for all images",
        "tests/test_sweeps.py -k binary",
    ),
    Mutant(
        "csrc/sweeps/reduce.cpp",
        "i < whole + kParts; ++i) line[i] = empty<kFunction>();",
        "i < whole + kParts; ++i) line[i] = 0;",
        "zeros beyond the last element",
        "tests/test_sweeps.py -k reduce",
    ),
    Mutant(
        "csrc/sweeps/reduce.cpp",
        "Real& part = parts[(at + i) % kParts];",
        "Real& part = parts[i % kParts];",
        "the order of a sum depends on strides",
        "tests/test_sweeps.py -k reduce",
    ),
    Mutant(
        "csrc/sweeps/copy.cpp",
        "if (step == kFill) return kFill;",
        "",
        "a fill is taken for a place",
        "tests/test_sweeps.py -k pad",
    ),
    Mutant(
        "csrc/sweeps/copy.cpp",
        "for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j)",
        "for (int64_t j = whole_columns; j < columns; ++j)",
        "rows beyond whole squares not copied",
        "tests/test_sweeps.py -k transpose",
    ),
    Mutant(
        "csrc/prepared_sweep.cpp",
        "outer->b == axis.size * axis.b",
        "true",
        "axes joined that b repeats",
        "tests/test_sweeps.py -k binary",
    ),
    Mutant(
        "csrc/blocks/walk.h",
        "    walk.index[i] = 0;\n",
        "    walk.index[i] = 1;\n",
        "an axis begins again at its second place",
        "tests/test_sweeps.py -k 'copies or binary'",
    ),
    Mutant(
        "convkit/transposed.py",
        "b = (a + before - first * dilation) // stride",
        "b = (a + before) // stride",
        "a phase's first row of x",
        "tests/test_transposed.py",
    ),
    Mutant(
        "convkit/transposed.py",
        "transpose(0, 2, 1, 3, 4)",
        "transpose(0, 2, 1, 4, 3)",
        "filters turned",
        "tests/test_transposed.py",
    ),
    Mutant(
        "convkit/transposed.py",
        "sweeps.unary(bias, self._activation)",
        "bias",
        "the activation where no tap falls",
        "tests/test_transposed.py",
    ),
]


def places(mutant: Mutant, text: str) -> list[re.Match[str]]:
    """Where `old` stands, however its lines are broken."""
    return list(re.finditer(r"\s+".join(map(re.escape, mutant.old.split())), text))


def planted(mutant: Mutant, text: str) -> str:
    (place,) = places(mutant, text)
    return text[: place.start()] + mutant.new.strip() + text[place.end() :]


def fault(mutant: Mutant) -> str:
    """What is wrong with where the mutant would go, or nothing."""
    path = ROOT / mutant.file
    count = len(places(mutant, path.read_text(encoding="utf-8"))) if path.exists() else 0
    return "" if count == 1 else f"{mutant.file}: {mutant.old!r} stands there {count} times"


class Copy:
    """A copy of the tree, built for one instruction set."""

    def __init__(self, folder: Path, isa: str) -> None:
        self.tree, self.site, self.cache = folder / "tree", folder / "site", folder / "objects"
        self.isa = isa
        for name in TREE:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("*.so", "__pycache__")
                shutil.copytree(source, self.tree / name, ignore=ignored)
            else:
                self.tree.mkdir(exist_ok=True)
                shutil.copy(source, self.tree / name)
        built = Path(os.environ.get("CONVKIT_BUILD_CACHE") or ROOT / "build" / "objects")
        if built.is_dir():
            shutil.copytree(built, self.cache)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        env = {
            **os.environ,
            "CONVKIT_ISAS": self.isa,
            "CONVKIT_FORCE_ISA": self.isa,
            "CONVKIT_BUILD_CACHE": str(self.cache),
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            try:
                code = subprocess.run(
                    command, cwd=self.tree, env=env, stdout=said, stderr=said, timeout=400
                ).returncode
            except subprocess.TimeoutExpired:
                code = 124  # hangs: caught, too
            said.seek(0)
            return subprocess.CompletedProcess(command, code, said.read())

    def build(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "setup.py", "-q", "build", "--build-lib", self.site]
        return self.run(*command)

    def test(self, arguments: str) -> subprocess.CompletedProcess[str]:
        # The script, not -m: that would look for the package in the bare tree first.
        pytest = [sys.executable, str(Path(sysconfig.get_path("scripts")) / "pytest")]
        quick = ["-q", "-x", "--tb=line", "-p", "no:cacheprovider"]
        return self.run(*pytest, *quick, *shlex.split(arguments))


def main(wanted: list[str]) -> int:
    faults = [found for mutant in MUTANTS if (found := fault(mutant))]
    print("\n".join(faults) or f"{len(MUTANTS)} mutants find their places")
    if faults or wanted == ["--check"]:
        return 1 if faults else 0
    chosen = [
        mutant
        for mutant in MUTANTS
        if not wanted or any(text in f"{mutant.file} {mutant.why}" for text in wanted)
    ]
    from convkit import _convkit

    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder), os.environ.get("CONVKIT_FORCE_ISA") or _convkit.current_isa())
        built = copy.build()
        if built.returncode:
            sys.exit(f"the sources do not build:\n{built.stdout[-3000:]}")
        for test in sorted({mutant.test for mutant in chosen}):
            sound = copy.test(test)
            if sound.returncode:
                sys.exit(f"{test} fails without any bug:\n{sound.stdout[-3000:]}")
            print(f"sound: {test}: {sound.stdout.strip().splitlines()[-1]}", flush=True)
        for mutant in chosen:
            start, path = time.monotonic(), copy.tree / mutant.file
            text = path.read_text(encoding="utf-8")
            path.write_text(planted(mutant, text), encoding="utf-8")
            built = copy.build()
            if built.returncode:
                verdict, detail = "does not build", built.stdout[-1500:]
            else:
                tested = copy.test(mutant.test)
                failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", tested.stdout, re.MULTILINE)
                detail = (failed or [f"exit {tested.returncode}"])[0]
                verdict = "survived" if tested.returncode in (0, 5) else "killed"
            path.write_text(text, encoding="utf-8")
            seconds = time.monotonic() - start
            print(f"{verdict}: {mutant.file}: {mutant.why} [{detail}, {seconds:.0f} s]", flush=True)
            if verdict != "killed":
                survivors.append(mutant)
    print(
        f"{len(chosen)} mutants, {len(chosen) - len(survivors)} killed, {len(survivors)} survived"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
