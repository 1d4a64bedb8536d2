"""The build: what it compiles and with what, what it refuses, and what came out of it."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

import convkit
from convkit import _convkit as native

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(convkit.__file__).resolve().parent
EXTENSION = Path(native.__file__)
ISAS = native.available_isas()

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file")
needs_binutils = pytest.mark.skipif(not shutil.which("readelf"), reason="needs readelf")
sanitized = pytest.mark.skipif(native.SANITIZED, reason="a sanitizer build links its own library")


def load_setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convkit_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


setup = load_setup()


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a child, away from the source folder, which would be imported first."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tempfile.gettempdir(),
        env={**os.environ, **env},
        timeout=120,
    )


# ---- the symbol check ----------------------------------------------------------------------------

SOUND = """
namespace convkit { namespace CONVKIT_ISA {
namespace {
template <class T> __attribute__((noinline)) T twice(T v) { return v + v; }
const int kTable[] = {1, 2};
}
extern const int* const planted = kTable;
float used(float v) { return twice(v); }
}}
"""
FAULTY = {
    "shared inline function": (
        "namespace convkit { inline __attribute__((noinline)) int f(int v) { return v + 1; } }\n"
        "namespace convkit { namespace CONVKIT_ISA { int use(int v) { return f(v); } } }",
        "weak symbol _ZN7convkit1fEi",
    ),
    "template in the ISA's namespace": (
        "namespace convkit { namespace CONVKIT_ISA {\n"
        "template <class T> __attribute__((noinline)) T f(T v) { return v + 1; }\n"
        "int use(int v) { return f(v); } } }",
        "weak symbol",
    ),
    "inline variable": (
        "namespace convkit { namespace CONVKIT_ISA { inline int count = 1;\n"
        "int* use() { return &count; } } }",
        "symbol _ZN7convkit6avx5125countE",
    ),
    "function outside the namespace": (
        "namespace convkit { int outside(int v) { return v; } }",
        "global symbol _ZN7convkit7outsideEi outside convkit::avx512",
    ),
    "another ISA's namespace": (
        "namespace convkit { namespace avx2 { int stray(int v) { return v; } } }",
        "global symbol _ZN7convkit4avx25strayEi outside convkit::avx512",
    ),
    "C function": ('extern "C" int stray(int v) { return v; }', "global symbol stray"),
    "global variable": ("int counter = 3;", "global symbol counter"),
    "static constructor": (
        "namespace convkit { namespace CONVKIT_ISA { int f();\n"
        "namespace { int at_start = f(); }\n"
        "int use() { return at_start; } } }",
        "static constructor",
    ),
}


@pytest.fixture(scope="module")
def compile_object(tmp_path_factory: pytest.TempPathFactory):
    try:
        compiler, _ = setup.find_compiler()
    except setup.SetupError as error:
        pytest.skip(str(error))
    if not shutil.which("nm"):
        pytest.skip("needs nm")

    def compiled(text: str) -> Path:
        folder = tmp_path_factory.mktemp("planted")
        (folder / "planted.cpp").write_text(text, encoding="utf-8")
        flags = ["-std=c++17", "-O2", "-fPIC", "-DCONVKIT_ISA=avx512"]
        target = folder / "planted.o"
        command = [*compiler, *flags, "-c", str(folder / "planted.cpp"), "-o", str(target)]
        subprocess.run(command, check=True)
        return target

    return compiled


@pytest.mark.parametrize("name", FAULTY)
def test_symbol_check_finds_what_isas_could_share(name, compile_object):
    text, fault = FAULTY[name]
    with pytest.raises(setup.CompileError, match="anonymous namespace") as caught:
        setup.check_symbols([("planted.cpp [avx512]", "avx512", compile_object(text))])
    assert fault in str(caught.value)
    assert "planted.cpp [avx512]" in str(caught.value)


def test_symbol_check_passes_a_sound_file(compile_object):
    setup.check_symbols([("planted.cpp [avx512]", "avx512", compile_object(SOUND))])


def test_symbol_check_without_nm_warns(compile_object, monkeypatch, capfd):
    path = compile_object(FAULTY["global variable"][0])
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    setup.check_symbols([("planted.cpp", "avx512", path)])
    assert "warning: nm not found" in capfd.readouterr().err


# ---- flags, lists, cache -------------------------------------------------------------------------


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
def test_flags(machine):
    for isa in setup.selected_isas(machine, ""):
        for source in sum(map(setup.kernel_sources, setup.KERNEL_FOLDERS), []):
            flags = setup.compile_flags(source, isa, machine)
            assert f"-DCONVKIT_ISA={isa}" in flags
            assert not {"-g", "-fwrapv", "-ffast-math", "-Ofast", "-march=native"} & set(flags)
            assert ("-fno-signed-zeros" in flags) == (source.stem == "fft")
            if isa in ("baseline", "neon"):
                assert not [flag for flag in flags if flag.startswith("-m")]


def test_isas_of_each_processor_family_best_first():
    assert setup.selected_isas("x86_64", "") == ["avx512", "avx2", "baseline"]
    assert setup.selected_isas("AMD64", "baseline, avx512") == ["avx512", "baseline"]
    assert setup.selected_isas("aarch64", "") == ["neon"]
    assert setup.selected_isas("riscv64", "") == ["baseline"]


def test_unknown_isa_to_build_is_refused():
    with pytest.raises(setup.SetupError, match="CONVKIT_ISAS=sse9 names sse9: expected some of av"):
        setup.selected_isas("x86_64", "sse9")


def test_kernel_list_names_every_file():
    text = setup.kernel_list(["avx2", "baseline"])
    assert "#define CONVKIT_ISAS(X) \\\n  X(avx2) \\\n  X(baseline)\n" in text
    for source in sum(map(setup.kernel_sources, setup.KERNEL_FOLDERS), []):
        for row in (source.stem, f"avx2, {source.stem}", f"baseline, {source.stem}"):
            assert f"  X({row})" in text


def test_kernel_of_some_isas_only(tmp_path):
    source = tmp_path / "some.cpp"
    source.write_text("// isas: avx512, avx2\n", encoding="utf-8")
    assert setup.isas_of(source, ["avx512", "avx2", "baseline"]) == ["avx512", "avx2"]
    source.write_text("// y = x\n", encoding="utf-8")
    assert setup.isas_of(source, ["avx2", "baseline"]) == ["avx2", "baseline"]


def test_object_key_follows_headers_flags_and_compiler(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "CSRC", tmp_path)
    source, header, inner = (tmp_path / name for name in ("a.cpp", "a.h", "blocks/b.h"))
    inner.parent.mkdir()
    source.write_text('#include "a.h"\n#include <vector>\n', encoding="utf-8")
    header.write_text('#include "blocks/b.h"\n', encoding="utf-8")
    inner.write_text("// one\n", encoding="utf-8")
    assert set(setup.included(source, tmp_path)) == {source, header, inner}

    def key(flags: tuple[str, ...] = ("-O2",), toolchain: str = "g++ 12") -> str:
        return setup.object_key(setup.Unit(source, "", flags, ()), tmp_path, toolchain)

    first = key()
    assert key() == first
    assert len({first, key(("-O3",)), key(toolchain="g++ 13")}) == 3
    inner.write_text("// two\n", encoding="utf-8")
    assert key() != first


def fake_compiler(folder: Path, body: str) -> str:
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "body, platform, message",
    [
        ('[ "$1" = --version ] && echo "old 4.8" || exit 1', "linux", "(old 4.8) lacks C++17 with"),
        (None, "linux", "no C++ compiler: looked for /nowhere/c++; need GCC >= 9 or Clang >= 10"),
        (None, "win32", "MSVC is not supported"),
    ],
    ids=["too old", "missing", "MSVC"],
)
def test_unsupported_compiler_is_told_in_one_line(body, platform, message, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, body) if body else "/nowhere/c++")
    monkeypatch.setattr(setup.sys, "platform", platform)
    with pytest.raises(setup.SetupError) as caught:
        setup.find_compiler()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- what came out -------------------------------------------------------------------------------


def test_every_isa_has_every_kernel():
    names = {source.stem for source in setup.kernel_sources("kernels")}
    assert names == set(native.algorithms())
    assert {source.stem for source in setup.kernel_sources("operators")} == set(native.operators())
    assert {source.stem for source in setup.kernel_sources("sweeps")} == set(native.sweeps())
    before = native.current_isa()
    try:
        for isa in ISAS:
            native.select_isa(isa)
            for name in native.algorithms():
                assert native.variants(name)
    finally:
        native.select_isa(before)


@pytest.mark.parametrize("isa", ISAS)
def test_forced_isa(isa):
    code = "from convkit import _convkit; print(_convkit.current_isa())"
    result = python(code, CONVKIT_FORCE_ISA=isa)
    assert (result.returncode, result.stdout.strip()) == (0, isa), result.stderr


@pytest.mark.parametrize("isa", ["pentium", "avx1024", "avx2,baseline"])
def test_impossible_forced_isa_is_a_clear_error(isa):
    result = python("import convkit", CONVKIT_FORCE_ISA=isa)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: CONVKIT_FORCE_ISA=")
    assert isa in last
    for name in ISAS:
        assert name in last


def test_without_forced_isa_the_best_is_used():
    code = "from convkit import _convkit as n; print(n.current_isa(), n.available_isas()[0])"
    for force in ({}, {"CONVKIT_FORCE_ISA": ""}):
        env = {k: v for k, v in os.environ.items() if k != "CONVKIT_FORCE_ISA"} | force
        command = [sys.executable, "-c", code]
        cwd = tempfile.gettempdir()
        result = subprocess.run(
            command, capture_output=True, text=True, env=env, cwd=cwd, check=True
        )
        used, best = result.stdout.split()
        assert used == best


@linux
@sanitized
@needs_binutils
def test_links_only_the_c_and_cpp_libraries_and_has_no_rpath():
    command = ["readelf", "--dynamic", "--wide", str(EXTENSION)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    needed = {line.split("[")[1].split(".so")[0] for line in lines if "(NEEDED)" in line}
    # the loader stands there for thread-local variables; libpthread is a part of libc since 2.34
    loaders = {name for name in needed if name.startswith("ld-linux")}
    assert needed - loaders <= {"libc", "libm", "libstdc++", "libgcc_s", "libpthread"}
    assert not [line for line in lines if "RPATH" in line or "RUNPATH" in line]


@linux
@sanitized
@needs_binutils
def test_is_stripped_and_exports_nothing_of_its_own():
    command = ["readelf", "--sections", "--wide", str(EXTENSION)]
    sections = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert ".text" in sections
    assert ".debug" not in sections
    assert ".symtab" not in sections
    command = ["readelf", "--dyn-syms", "--wide", str(EXTENSION)]
    symbols = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "PyInit__convkit" in symbols
    assert "_ZN7convkit" not in symbols


@sanitized
def test_packed_package_is_under_5_mb():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(PACKAGE.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(PACKAGE))
    assert packed.tell() < 5_000_000


def test_version_and_typing_marker():
    assert convkit.__version__ == metadata.version("convkit")
    assert (PACKAGE / "py.typed").is_file()
    assert (PACKAGE / "_convkit.pyi").is_file()


def test_bare_source_folder_says_what_to_do_in_one_line(tmp_path):
    """Without site-packages (-S), where an editable install would lend its extension."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "convkit", tmp_path / "convkit", ignore=ignored)
    result = subprocess.run(
        [sys.executable, "-S", "-c", "import convkit"],
        capture_output=True, text=True, cwd=tempfile.gettempdir(), timeout=120,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "pip install" in last
    assert "During handling of the above exception" not in result.stderr


def test_sdist_holds_all_that_builds_and_tests_it(tmp_path):
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(".*", "*.so", "__pycache__", "build", "*.egg-info", "dist")
    shutil.copytree(ROOT, tree, ignore=ignored)
    (tree / "csrc" / "kernels" / "stray.o").write_bytes(b"")
    command = [sys.executable, "setup.py", "-q", "sdist", "-d", str(tmp_path / "dist")]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    (archive,) = (tmp_path / "dist").iterdir()
    with tarfile.open(archive) as packed:
        held = {name.partition("/")[2] for name in packed.getnames()}
    wanted = {"setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    for folder in ("convkit", "csrc", "tests", "bench", "docs"):
        files = [path for path in (tree / folder).rglob("*") if path.is_file()]
        wanted |= {path.relative_to(tree).as_posix() for path in files}
    wanted.remove("csrc/kernels/stray.o")
    assert wanted <= held
    assert "csrc/kernels/stray.o" not in held
