"""Builds the extension `convkit._convkit`; the metadata is in pyproject.toml.

csrc/*.cpp is compiled once, csrc/{kernels,operators,sweeps}/*.cpp once per instruction set (ISA),
and the lists of kernels that the dispatch reads are written from the file names. The compile
commands are made here, not by distutils: the flags that Python itself was built with (-g, -fwrapv,
an rpath, ...) have no place in an extension that other machines run.

Environment:
  CXX                   the compiler; else the first of g++, c++, clang++
  CONVKIT_ISAS          comma list out of ISAS for this processor family; else all of them
  CONVKIT_SANITIZE=1    address and undefined-behaviour sanitizers, asserts on
  CONVKIT_WERROR=1      warnings are errors
  CONVKIT_BUILD_CACHE   folder of cached objects; else build/objects
"""

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, SetupError

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"
KERNEL_FOLDERS = ("kernels", "operators", "sweeps")
FAMILIES = {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}

# To add an ISA: a row here (best first), a row in csrc/isa.cpp and a width in csrc/simd.h.
ISAS = {
    "x86": {
        "avx512": ["-march=skylake-avx512", "-mprefer-vector-width=512"],
        "avx2": ["-mavx2", "-mfma"],
        "baseline": [],
    },
    "arm": {"neon": []},
    "other": {"baseline": []},
}

COMMON_FLAGS = [
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-ffp-contract=fast",
    "-Wall",
    "-Wextra",
]
RELEASE_FLAGS = ["-O3", "-DNDEBUG"]
# -O1 keeps the build of the kernels within minutes; -g1 gives reports their line numbers.
SANITIZE_FLAGS = [
    "-O1",
    "-g1",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]
# A kernel throws nothing and knows no types at run time. The warning silenced says that a vector in
# an argument is passed differently under another ISA: such calls stay inside their own ISA's file.
# GCC 12 at -O3 with AVX-512 turns `if (scalar) sum += vector;` in a loop into an add of lane 0
# alone (loop if-conversion): switched off. Clang knows neither the pass nor the flag.
KERNEL_FLAGS = [
    "-fno-exceptions",
    "-fno-rtti",
    "-Wno-psabi",
    "-fno-tree-loop-if-convert",
    "-Wno-ignored-optimization-argument",
]
# Only here may the compiler fold x + 0 and x * 0: a transform has many constant zeros.
FILE_FLAGS = {"kernels/fft.cpp": ["-fno-signed-zeros", "-fno-trapping-math"]}
# The transforms are straight-line code with thousands of loads: with every check written out at
# each of them GCC takes many minutes, with calls for those of bounds alone less than one.
SANITIZE_FILE_FLAGS = {
    "kernels/fft.cpp": [
        "-fno-sanitize=alignment,null,object-size",
        "-fno-sanitize-address-use-after-scope",
        "--param=asan-instrumentation-with-call-threshold=0",
        "-Wno-unused-command-line-argument",  # Clang's, which knows no such parameter
    ],
}

COMPILERS = "GCC >= 9 or Clang >= 10"
COMPILER_PROBE = """
#if defined(__clang__)
#if __clang_major__ < 10
#error clang 10
#endif
#elif !defined(__GNUC__) || __GNUC__ < 9
#error gcc 9
#endif
#if __cplusplus < 201703L
#error c++17
#endif
typedef float Vec __attribute__((vector_size(16)));
typedef int Mask __attribute__((vector_size(16)));
Vec probe(Vec a, Vec b) {
  if constexpr (sizeof(Vec) == 16) return (a < b) ? a * b + 1.0f : b;
}
"""


@dataclass(frozen=True)
class Unit:
    """One source compiled for one ISA ("" for what is compiled once)."""

    source: Path
    isa: str
    flags: tuple[str, ...]
    includes: tuple[str, ...]

    @property
    def label(self) -> str:
        return self.source.relative_to(ROOT).as_posix() + (f" [{self.isa}]" if self.isa else "")


# ---- what is built -------------------------------------------------------------------------------


def family(machine: str) -> str:
    return FAMILIES.get(machine.lower(), "other")


def selected_isas(machine: str, wanted: str) -> list[str]:
    """Return the ISAs to build, best first; `wanted` is the value of CONVKIT_ISAS."""
    known = list(ISAS[family(machine)])
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SetupError(
            f"CONVKIT_ISAS={wanted} names {', '.join(unknown)}: expected some of {', '.join(known)}"
        )
    return [name for name in known if not names or name in names]


def kernel_sources(folder: str) -> list[Path]:
    return sorted((CSRC / folder).glob("*.cpp"))


def isas_of(source: Path, isas: list[str]) -> list[str]:
    """Return those of `isas` a kernel is compiled for: all, or what its first line names.

    Such a line reads `// isas: avx512 avx2`.
    """
    with source.open(encoding="utf-8") as file:
        named = re.fullmatch(r"// isas: ([\w ,]+)", file.readline().strip())
    return [isa for isa in isas if not named or isa in re.split(r"[ ,]+", named[1])]


def kernel_list(isas: list[str]) -> str:
    """Return the text of kernel_list.h: X-macro lists of kernels, operators, sweeps and ISAs."""

    def macro(name: str, rows: list[str]) -> str:
        return f"#define {name}(X)" + "".join(f" \\\n  X({row})" for row in rows) + "\n"

    lines = ["// Written by setup.py from the file names in csrc/.\n#pragma once\n"]
    lines.append("// The ISAs built, best first.\n" + macro("CONVKIT_ISAS", isas))
    for folder, name in (
        ("kernels", "KERNEL"),
        ("operators", "OPERATOR"),
        ("sweeps", "SWEEP"),
    ):
        sources = kernel_sources(folder)
        copies = [f"{isa}, {source.stem}" for source in sources for isa in isas_of(source, isas)]
        lines.append(f"// csrc/{folder}, and each copy of one: X(isa, name).")
        lines.append(macro(f"CONVKIT_{name}S", [source.stem for source in sources]))
        lines.append(macro(f"CONVKIT_{name}_COPIES", copies))
    return "\n".join(lines)


def compile_flags(source: Path, isa: str, machine: str, sanitize: bool = False) -> list[str]:
    """Return the flags of one source but its include paths; isa "" is what is compiled once."""
    flags = COMMON_FLAGS + (SANITIZE_FLAGS if sanitize else RELEASE_FLAGS)
    if isa:
        flags = [*flags, f"-DCONVKIT_ISA={isa}", *ISAS[family(machine)][isa], *KERNEL_FLAGS]
        name = source.relative_to(CSRC).as_posix()
        flags += FILE_FLAGS.get(name, [])
        if sanitize:
            flags += SANITIZE_FILE_FLAGS.get(name, [])
            # Operators read the user's array where it lies, be it at an odd address.
            if name.startswith(("operators/", "sweeps/")):
                flags += ["-fno-sanitize=alignment"]
    return flags


def units(
    isas: list[str], machine: str, sanitize: bool, includes: list[str], extra: list[str]
) -> list[Unit]:
    """Return everything to compile, the longest first so that no worker ends alone with it."""
    found = []
    for folder in KERNEL_FOLDERS:
        for source in kernel_sources(folder):
            for isa in isas_of(source, isas):
                found.append(
                    Unit(
                        source,
                        isa,
                        (*compile_flags(source, isa, machine, sanitize), *extra),
                        tuple(includes),
                    )
                )
    found.sort(key=lambda unit: -unit.source.stat().st_size)
    once = [
        Unit(s, "", (*compile_flags(s, "", machine, sanitize), *extra), tuple(includes))
        for s in sorted(CSRC.glob("*.cpp"))
    ]
    return once + found


# ---- compiler, cache, symbols --------------------------------------------------------------------


def find_compiler() -> tuple[list[str], str]:
    """Return the compiler's command and its version line, or say in one line what is wrong."""
    if sys.platform == "win32":
        raise SetupError(f"convkit is built with {COMPILERS}; MSVC is not supported: use WSL")
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "c++", "clang++"]
    for name in names:
        command = shlex.split(name)
        if shutil.which(command[0]):
            break
    else:
        raise SetupError(
            f"no C++ compiler: looked for {', '.join(names)}; need {COMPILERS} (or set CXX)"
        )
    probe = [*command, "-std=c++17", "-fsyntax-only", "-Wno-psabi", "-x", "c++", "-"]
    result = subprocess.run(probe, input=COMPILER_PROBE, capture_output=True, text=True)
    version = subprocess.run(
        [*command, "--version"], capture_output=True, text=True
    ).stdout.partition("\n")[0]
    if result.returncode:
        named = f"{shlex.join(command)} ({version or 'unknown version'})"
        raise SetupError(f"compiler {named} lacks C++17 with vector types: need {COMPILERS}")
    return command, version


def included(source: Path, generated: Path) -> list[Path]:
    """Return `source` and every header of the project it includes, directly or not."""
    seen: dict[Path, None] = {source: None}
    queue = [source]
    while queue:
        file = queue.pop()
        for name in re.findall(
            r'^\s*#\s*include\s*"([^"]+)"', file.read_text(encoding="utf-8"), re.MULTILINE
        ):
            for folder in (file.parent, CSRC, generated):
                header = (folder / name).resolve()
                if header.is_file():
                    if header not in seen:
                        seen[header] = None
                        queue.append(header)
                    break
    return list(seen)


def object_key(unit: Unit, generated: Path, toolchain: str) -> str:
    """Return the hash of all that decides what the object holds."""
    key = hashlib.sha256(f"{toolchain}\0{unit.flags}\0".encode())
    for file in sorted(included(unit.source, generated), key=lambda path: path.name):
        key.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return key.hexdigest()[:32]


def compile_unit(
    unit: Unit, compiler: list[str], generated: Path, toolchain: str, cache: Path
) -> Path:
    """Return the unit's object out of the cache, compiled first if it is not there."""
    target = (
        cache
        / f"{unit.source.stem}-{unit.isa or 'once'}-{object_key(unit, generated, toolchain)}.o"
    )
    if target.exists():
        return target
    scratch = target.with_suffix(f".{os.getpid()}.tmp")
    prefix = f"-ffile-prefix-map={ROOT}{os.sep}="
    command = [
        *compiler,
        *unit.flags,
        prefix,
        *(f"-I{path}" for path in unit.includes),
        "-c",
        str(unit.source),
        "-o",
        str(scratch),
    ]
    print(f"compiling {unit.label}", flush=True)
    result = subprocess.run(command, capture_output=True, text=True)
    if result.stderr:
        print(f"{shlex.join(command)}\n{result.stderr}", file=sys.stderr, flush=True)
    if result.returncode:
        scratch.unlink(missing_ok=True)
        raise CompileError(f"{unit.label} did not compile (exit {result.returncode})")
    os.replace(scratch, target)  # another build that shares the cache sees the whole object or none
    return target


def symbol_faults(listing: str, isa: str) -> list[str]:
    """Return what in nm's listing of one ISA's object could be shared with, or run on, another ISA.

    The linker keeps one copy of a weak symbol, perhaps the one compiled for AVX-512, and an older
    processor dies on it.
    """
    own = re.compile(rf"_ZNK?7convkit{len(isa)}{isa}\d")
    faults = []
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) < 2 or len(fields[-2]) != 1:
            continue
        kind, name = fields[-2], fields[-1]
        if kind in "WVu":
            faults.append(f"weak symbol {name}")
        elif kind.isupper() and kind != "U" and not own.match(name):
            faults.append(f"global symbol {name} outside convkit::{isa}")
        elif name.startswith("_GLOBAL__sub_I_"):
            faults.append(f"static constructor {name}")
    return faults


def check_symbols(objects: list[tuple[str, str, Path]]) -> None:
    """Fail where objects, given as (label, isa, path), hold what another ISA could end up with."""
    nm = shutil.which("nm")
    if not nm:
        print(
            "warning: nm not found: symbols shared between ISAs are not looked for",
            file=sys.stderr,
            flush=True,
        )
        return
    faults = []
    for label, isa, path in objects:
        listing = subprocess.run([nm, str(path)], capture_output=True, text=True, check=True).stdout
        faults += [f"{label}: {fault}" for fault in symbol_faults(listing, isa)]
    if faults:
        print("\n".join(faults), file=sys.stderr, flush=True)
        raise CompileError(
            f"{len(faults)} symbols could be shared between ISAs, first {faults[0]}: "
            "put it into an anonymous namespace inside convkit::CONVKIT_ISA"
        )


# ---- the command ---------------------------------------------------------------------------------


class BuildKernels(build_ext):
    """build_ext with compile commands of its own, run in parallel, and a cache of objects."""

    def build_extension(self, ext: Extension) -> None:
        import pybind11

        sanitize = os.environ.get("CONVKIT_SANITIZE", "0") not in ("", "0")
        extra = ["-Werror"] if os.environ.get("CONVKIT_WERROR", "0") not in ("", "0") else []
        machine = platform.machine()
        isas = selected_isas(machine, os.environ.get("CONVKIT_ISAS", ""))
        compiler, version = find_compiler()

        generated = Path(self.build_temp).resolve() / "generated"
        generated.mkdir(parents=True, exist_ok=True)
        (generated / "kernel_list.h").write_text(kernel_list(isas), encoding="utf-8")
        cache = Path(os.environ.get("CONVKIT_BUILD_CACHE") or ROOT / "build" / "objects").resolve()
        cache.mkdir(parents=True, exist_ok=True)
        python = list(
            dict.fromkeys(sysconfig.get_path(name) for name in ("include", "platinclude"))
        )
        includes = [str(CSRC), str(generated), pybind11.get_include(), *python]
        toolchain = f"{compiler} {version} {sys.version} pybind11 {pybind11.__version__}"

        todo = units(isas, machine, sanitize, includes, extra)
        with ThreadPoolExecutor(workers()) as pool:
            objects = list(
                pool.map(
                    lambda unit: compile_unit(unit, compiler, generated, toolchain, cache), todo
                )
            )
        if not sanitize:  # the address sanitizer adds a global of its own beside each of ours
            check_symbols(
                [(u.label, u.isa, o) for u, o in zip(todo, objects, strict=True) if u.isa]
            )

        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        link(compiler, objects, target, sanitize)


def workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def link(compiler: list[str], objects: list[Path], target: Path, sanitize: bool) -> None:
    """Link the extension: no rpath, no libpython, symbols stripped."""
    if sys.platform == "darwin":
        flags = ["-bundle", "-undefined", "dynamic_lookup"]
    else:
        flags = ["-shared", "-pthread", "-Wl,-O1", "-Wl,--as-needed", "-Wl,-z,relro,-z,now"]
    flags += (
        ["-fsanitize=address,undefined"]
        if sanitize
        else ["-Wl,-x"]
        if sys.platform == "darwin"
        else ["-s"]
    )
    scratch = target.with_suffix(".tmp")  # a process that has the old file mapped keeps it
    command = [*compiler, *flags, *map(str, objects), "-o", str(scratch)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        print(f"{shlex.join(command)}\n{result.stderr}", file=sys.stderr, flush=True)
        raise CompileError(f"{target.name} did not link (exit {result.returncode})")
    os.replace(scratch, target)


if __name__ == "__main__":
    setup(
        ext_modules=[Extension("convkit._convkit", sources=[])],
        cmdclass={"build_ext": BuildKernels},
    )
