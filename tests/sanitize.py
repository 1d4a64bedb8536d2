"""Runs the kernel, block and operator tests under the address and undefined-behaviour sanitizers.

    python tests/sanitize.py [pytest arguments]

It first proves itself: a read past the end of x and a signed overflow, planted in a kernel of a
copy of the sources, must both be caught, and the same kernel without them must pass. The builds go
into build/sanitize. CONVKIT_ISAS names the instruction sets; on x86 else avx512 and avx2: every
line of a kernel is compiled for them, the baseline differs in the width of a vector alone.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "sanitize"
X86_ISAS = "avx512,avx2"
SOURCES = ["convkit", "csrc", "setup.py", "pyproject.toml", "README.md", "LICENSE"]

# Three variants of one kernel: sound, reading past x, overflowing.
PLANTED = r"""
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

bool prefers(const Problem&) { return true; }
Sizes sizes(const Problem&) { return {64, 0, 64}; }
int64_t items(const Problem&, int64_t) { return 1; }
void prepare(const Problem&, const void*, void*) {}
void copy_from(const Operands& operands, int64_t index) {
  *static_cast<float*>(operands.y) = static_cast<const float*>(operands.x)[index];
}
void sound(const Problem& problem, int64_t, int64_t, int64_t, const Operands& operands) {
  copy_from(operands, problem.c * problem.h * problem.w - 1);
}
void read_outside(const Problem& problem, int64_t, int64_t, int64_t, const Operands& operands) {
  copy_from(operands, problem.c * problem.h * problem.w);
}
void overflow(const Problem& problem, int64_t, int64_t, int64_t, const Operands& operands) {
  const int32_t largest = 0x7fffffff, one = int32_t(problem.c);
  copy_from(operands, (largest + one) & 1023);
}
const Kernel kKernels[] = {
    {"sound", kFloat32, kNchw, kNchw, prefers, sizes, 1, items, prepare, sound},
    {"read outside", kFloat32, kNchw, kNchw, prefers, sizes, 1, items, prepare, read_outside},
    {"overflow", kFloat32, kNchw, kNchw, prefers, sizes, 1, items, prepare, overflow},
};
}  // namespace
extern const Variants planted = {kKernels, 3};
}  // namespace CONVKIT_ISA
}  // namespace convkit
"""

RUN_PLANTED = """
import sys
import numpy as np
import convkit._convkit as native
from convkit.problem import KernelProblem
assert native.SANITIZED
x = np.ones((1, 1, 32, 32), np.float32)
y = np.zeros((1, 1, 32, 32), np.float32)
problem = KernelProblem(n=1, c=1, h=32, w=32, k=1, r=1, s=1, p=32, q=32, groups=1, stride_h=1,
                        stride_w=1, dilation_h=1, dilation_w=1, pad_top=0, pad_bottom=0, pad_left=0,
                        pad_right=0, padding_mode=0, x_dtype=0, w_dtype=0, sum_dtype=0)
plan = native.Plan("planted", tuple(problem), np.ones((1, 1, 1, 1), np.float32), None, 0, 0.0, 0.0,
                   int(sys.argv[1]), native.NO_LIMIT)
plan.run(x, None, y, 1)
assert y[0, 0, 0, 0] == 1
"""


def install(source: Path, target: Path) -> None:
    """Install `source` into the folder `target`, compiled with the sanitizers."""
    shutil.rmtree(target, ignore_errors=True)
    cache = os.environ.get("CONVKIT_BUILD_CACHE") or str(ROOT / "build" / "objects")
    isas = os.environ.get("CONVKIT_ISAS") or (X86_ISAS if platform.machine() == "x86_64" else "")
    env = {
        **os.environ,
        "CONVKIT_SANITIZE": "1",
        "CONVKIT_BUILD_CACHE": cache,
        "CONVKIT_ISAS": isas,
    }
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], env=env, check=True)


def environment(target: Path) -> dict[str, str]:
    """Return the environment in which Python imports the build in `target`."""
    compiler = os.environ.get("CXX") or "g++"
    # The C++ library goes along: the sanitizer looks for what throws when it starts.
    libraries = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    return {
        **os.environ,
        "PYTHONPATH": str(target),
        "LD_PRELOAD": " ".join(libraries),
        # Python itself leaves memory behind at its end; a refused allocation is a MemoryError.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }


def prove() -> None:
    """Plant two faults and end the program unless both are caught."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        for name in SOURCES:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("*.so", "__pycache__")
                shutil.copytree(source, tree / name, ignore=ignored)
            else:
                shutil.copy(source, tree / name)
        (tree / "csrc" / "operators" / "planted.cpp").write_text(PLANTED, encoding="utf-8")
        target = Path(folder) / "site"
        install(tree, target)
        for variant, fault in enumerate(["", "heap-buffer-overflow", "signed integer overflow"]):
            result = subprocess.run(
                [sys.executable, "-c", RUN_PLANTED, str(variant)],
                env=environment(target),
                cwd=folder,
                capture_output=True,
                text=True,
            )
            caught = result.returncode != 0
            if caught != bool(fault) or fault not in result.stderr:
                sys.exit(
                    f"sanitizer proof failed for {fault or 'the sound kernel'}:\n{result.stderr}"
                )
            said = f"a planted {fault} is caught" if fault else "a sound kernel passes"
            print(f"sanitizers: {said}", flush=True)


def main() -> int:
    prove()
    install(ROOT, BUILD)
    tests = [str(p) for p in sorted((ROOT / "tests").glob("test_*.py")) if is_kernel_test(p.name)]
    pytest = [sys.executable, str(Path(sysconfig.get_path("scripts")) / "pytest")]
    command = [*pytest, *(sys.argv[1:] or ["-q", *tests])]
    return subprocess.run(command, env=environment(BUILD), cwd=ROOT).returncode


def is_kernel_test(name: str) -> bool:
    names = ("kernels", "blocks", "operators", "activations", "sweeps", "transposed")
    return name.startswith(tuple(f"test_{each}" for each in names))


if __name__ == "__main__":
    sys.exit(main())
