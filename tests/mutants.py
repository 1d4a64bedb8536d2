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
BINDINGS, WINDOW, EPILOGUE = "csrc/bindings.cpp", "csrc/blocks/window.h", "csrc/blocks/epilogue.h"
KERNELS = "tests/test_kernels.py -k direct"
PLAN, CONV, ERRORS = "tests/test_plan.py", "tests/test_conv.py", "tests/test_errors.py"
THREADS, EXPLAIN = "tests/test_threads.py", "tests/test_explain.py"
ALGORITHMS, FACTS = "tests/test_algorithms.py", "tests/test_facts.py"

MUTANTS = [
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
        "if (found != kept.blocks.end()) {",
        "if (found != kept.blocks.end() && false) {",
        "scratch is never used again",
        "tests/test_dispatch.py",
    ),
    Mutant(
        MEMORY,
        "kept.blocks.erase(found);",
        "",
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
        "if (!turn.owns_lock()) return job.work(0);",
        "if (!turn.owns_lock()) return;",
        "a second caller's work is dropped while the pool is busy",
        PLAN,
    ),
    Mutant(
        EXECUTOR,
        "begin + chunk < items ? begin + chunk : items",
        "begin + chunk",
        "the last range runs past the last item",
        KERNELS,
    ),
    Mutant(
        EXECUTOR,
        "done_.wait(lock, [this] { return active_ == 0; });",
        "",
        "a call returns before its threads are done",
        PLAN,
    ),
    Mutant(
        EXECUTOR,
        "const int thread = ++job->joined;",
        "const int thread = job->joined += 0;",
        "workers share the caller's scratch",
        "tests/test_kernels.py -k 'direct or im2col'",
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
        "if (std::chrono::steady_clock::now() - start >= limit) return;",
        "",
        "idle workers spin for ever",
        THREADS,
    ),
    Mutant(
        BINDINGS,
        ": bytes / element;",
        ": -bytes / element;",
        "arrays that run backwards run forwards",
        KERNELS,
    ),
    Mutant(
        BINDINGS,
        "array.shape(i) <= 1 ? (i == 3 ? 1 : 0)",
        "array.shape(i) <= 1 ? (i == 3 ? 7 : 0)",
        "a single column is taken for one of several",
        KERNELS,
    ),
    Mutant(
        BINDINGS,
        "array.shape(2) == h && array.shape(3) == w,",
        "array.shape(3) == w,",
        "the native plan reads rows that x does not have",
        "tests/test_dispatch.py",
    ),
    Mutant(
        BINDINGS,
        "bias_(bias)",
        "bias_(py::none())",
        "the bias's memory may be gone when a plan is called",
        "tests/test_dispatch.py",
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
        "convkit/plan.py",
        "w4[:, :, ::-1, ::-1] if flip else w4",
        "w4[:, :, ::-1] if flip else w4",
        "flip turns rows only",
        FACTS,
    ),
    Mutant(
        "convkit/plan.py",
        'order="C", copy=True)\n\n\ndef check_bias',
        'order="C", copy=None)\n\n\ndef check_bias',
        "a plan shares the caller's weights",
        PLAN,
    ),
    Mutant(
        "convkit/plan.py",
        "own_bias = None if bias is None else np.array(bias",
        "own_bias = None if bias is None else np.asarray(bias",
        "a plan shares the caller's bias",
        PLAN,
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
        "x=x, w=w, bias=bias, residual=residual)\n    once",
        "x=x, w=w, bias=None, residual=residual)\n    once",
        "out may be written over the bias",
        ERRORS,
    ),
    Mutant(
        "convkit/select.py",
        "row.cost(problem.with_batch(1), machine) * batch\n    else",
        "row.cost(problem, machine)\n    else",
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
        "return min(fits",
        "return max(fits",
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
]


def place(mutant: Mutant) -> str:
    """What is wrong with where the mutant would go, or nothing."""
    path = ROOT / mutant.file
    count = path.read_text(encoding="utf-8").count(mutant.old) if path.exists() else 0
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
    faults = [fault for mutant in MUTANTS if (fault := place(mutant))]
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
            path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
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
