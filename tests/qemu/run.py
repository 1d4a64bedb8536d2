"""Checks processors that are not at hand, under qemu's user emulation.

    python tests/qemu/run.py [x86] [arm]

x86: the installed package, imported on an emulated Nehalem (2008: SSE4.2, no AVX), passes one case
per algorithm and dtype. arm: the kernels, cross-compiled for aarch64, pass the cases of
tests/cases.py in a C++ driver. On Debian: apt-get install qemu-user g++-aarch64-linux-gnu.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / "qemu"
MOST_MACS = 200_000  # an emulated core does about 20 million a second

sys.path.insert(0, str(ROOT / "tests"))
from cases import CASES, PROMISES, Arrays, must_apply  # noqa: E402

from convkit.algorithms import BY_NAME  # noqa: E402
from convkit.problem import ConvProblem  # noqa: E402

ON_NEHALEM = """
import sys
import numpy as np
import convkit
from convkit import _convkit
assert _convkit.available_isas() == ["baseline"], _convkit.available_isas()
assert _convkit.current_isa() == "baseline"
cases = np.load(sys.argv[1])
for index in range(int(cases["count"])):
    name, dtype, algorithm = (str(text) for text in cases[f"name{index}"])
    x, w, bias, expected, bound, padding, numbers = (
        cases[f"{part}{index}"]
        for part in ("x", "w", "bias", "expected", "bound", "padding", "numbers")
    )
    stride, dilation, groups = tuple(numbers[:2]), tuple(numbers[2:4]), numbers[4]
    y = convkit.conv2d(x, w, bias, stride=stride, dilation=dilation, groups=groups, algo=algorithm,
                       padding=(tuple(padding[:2]), tuple(padding[2:])),
                       padding_mode=str(cases[f"mode{index}"]))
    assert (np.abs(y - expected) <= bound).all(), (algorithm, dtype, name)
    print(f"  {algorithm} {dtype} {name}")
print(f"baseline on an emulated Nehalem: {index + 1} passed, 0 failed")
"""


def pairs() -> Iterator[tuple[str, str, ConvProblem, Arrays]]:
    """Yield (algorithm, case, problem, arrays) for what must apply, dtype by dtype."""
    for case in CASES:
        if case.problem.n * case.problem.macs > MOST_MACS:
            continue
        for dtype in ("float32", "float64"):
            problem = case.of(dtype)
            for algorithm in sorted(must_apply(problem)):
                if BY_NAME[algorithm].weights and not case.rank_one:
                    continue
                yield algorithm, case.name, problem, case.arrays(dtype)


def tool(name: str) -> str:
    path = shutil.which(name)
    if not path:
        sys.exit(f"{name} not found: apt-get install qemu-user g++-aarch64-linux-gnu")
    return path


# ---- x86 -----------------------------------------------------------------------------------------


def x86() -> int:
    """Run one case per algorithm and dtype in an interpreter on an emulated Nehalem."""
    chosen: dict[tuple[str, str], tuple[str, ConvProblem, Arrays]] = {}
    for algorithm, name, problem, arrays in pairs():
        # the first with something to do: padding, channels, no single pixel
        channels = 0 if BY_NAME[algorithm].weights else 4
        if min(problem.p, problem.q) > 4 and problem.c > channels:
            chosen.setdefault((algorithm, problem.dtype), (name, problem, arrays))
    held: dict[str, object] = {"count": len(chosen)}
    for index, ((algorithm, dtype), (name, problem, arrays)) in enumerate(chosen.items()):
        expected, bound = arrays.expected(PROMISES[algorithm], problem)
        held |= {
            f"name{index}": np.array([name, dtype, algorithm]),
            f"x{index}": arrays.x,
            f"w{index}": arrays.w,
            f"bias{index}": arrays.bias,
            f"expected{index}": expected,
            f"bound{index}": bound,
            f"padding{index}": problem.padding,
            f"numbers{index}": [*problem.stride, *problem.dilation, problem.groups],
            f"mode{index}": problem.padding_mode,
        }
    assert {algorithm for algorithm, _ in chosen} == set(PROMISES)
    np.savez(BUILD / "x86.npz", **held)
    command = [tool("qemu-x86_64"), "-cpu", "Nehalem", sys.executable, "-c", ON_NEHALEM]
    # One thread: OpenBLAS, which NumPy starts, would emulate a pool of them.
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    env.pop("CONVKIT_FORCE_ISA", None)
    return subprocess.run([*command, str(BUILD / "x86.npz")], env=env, cwd=BUILD).returncode


# ---- arm -----------------------------------------------------------------------------------------


def load_setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convkit_setup", ROOT / "setup.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def build_driver() -> Path:
    """Cross-compile csrc but its bindings, and the driver, with the flags of setup.py."""
    setup = load_setup()
    compiler = [tool("aarch64-linux-gnu-g++")]
    isas = setup.selected_isas("aarch64", "")
    (BUILD / "kernel_list.h").write_text(setup.kernel_list(isas), encoding="utf-8")
    cache = Path(os.environ.get("CONVKIT_BUILD_CACHE") or ROOT / "build" / "objects")
    cache.mkdir(parents=True, exist_ok=True)
    includes = [str(setup.CSRC), str(BUILD)]
    todo = setup.units(isas, "aarch64", False, includes, ["-Werror"])
    todo = [unit for unit in todo if unit.source.name != "bindings.cpp"]
    driver = Path(__file__).resolve().parent / "driver.cpp"
    todo.append(dataclasses.replace(todo[0], source=driver))
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True)
    toolchain = f"{compiler} {version.stdout}"

    def compiled(unit: object) -> Path:
        return setup.compile_unit(unit, compiler, BUILD, toolchain, cache)

    with ThreadPoolExecutor(setup.workers()) as pool:
        objects = list(pool.map(compiled, todo))
    setup.check_symbols(
        [(unit.label, unit.isa, path) for unit, path in zip(todo, objects, strict=True) if unit.isa]
    )
    target = BUILD / "driver"
    # static: the emulator then needs no libraries of that processor
    link = [*compiler, "-static", "-pthread", *map(str, objects), "-o", str(target)]
    subprocess.run(link, check=True)
    return target


def write_cases(path: Path) -> None:
    """Write the cases in the order that driver.cpp reads them."""
    activations = [(0, 0.0, 0.0), (1, 0.0, 0.0), (2, -0.5, 1.5)]  # none, relu, clip, in turn

    def integers(*values: int) -> bytes:
        return struct.pack(f"<{len(values)}q", *values)

    def text(value: str) -> bytes:
        return integers(len(value)) + value.encode()

    def vector(values: np.ndarray | float, shape: tuple[int, ...]) -> bytes:
        whole = np.ascontiguousarray(np.broadcast_to(values, shape), "<f8")
        return integers(whole.size) + whole.tobytes()

    count = 0
    with path.open("wb") as file:
        file.write(integers(0))
        for count, (algorithm, name, problem, arrays) in enumerate(pairs(), start=1):
            kind, a, b = activations[count % 3]
            activation = (None, "relu", ("clip", a, b))[kind]
            with_residual = count % 2 == 0
            expected, bound = arrays.expected(
                PROMISES[algorithm], problem, residual=with_residual, activation=activation
            )
            file.write(text(algorithm) + text(f"{name} {problem} {problem.dtype}"))
            file.write(integers(*problem.kernel_problem(), kind) + struct.pack("<2d", a, b))
            for values in (arrays.x, arrays.w, arrays.bias):
                file.write(vector(values, values.shape))
            residual = arrays.residual if with_residual else np.empty(0)
            file.write(vector(residual, residual.shape))
            file.write(vector(expected, problem.y_shape) + vector(bound, problem.y_shape))
        file.seek(0)
        file.write(integers(count))


def arm() -> int:
    """Run the cases in the driver on an emulated 64-bit ARM."""
    driver = build_driver()
    write_cases(BUILD / "arm.cases")
    command = [tool("qemu-aarch64"), str(driver), str(BUILD / "arm.cases")]
    print(shlex.join(command), flush=True)
    return subprocess.run(command).returncode


def main() -> int:
    BUILD.mkdir(parents=True, exist_ok=True)
    parts = {"x86": x86, "arm": arm}
    wanted = sys.argv[1:] or list(parts)
    if not set(wanted) <= set(parts):
        sys.exit(f"{' '.join(wanted)}: expected some of {', '.join(parts)}")
    return max(parts[name]() for name in wanted)


if __name__ == "__main__":
    sys.exit(main())
