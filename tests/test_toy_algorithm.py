"""docs/adding-an-algorithm.md, followed to the letter in a copy of the tree."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from convkit import _convkit

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "adding-an-algorithm.md"
TREE = ["convkit", "csrc", "tests", "setup.py", "pyproject.toml", "README.md", "LICENSE"]
BLOCKS = re.compile(
    r"^## \d\. [^\n]*`(?P<file>[\w/]+\.\w+)`\n.*?^```\w+\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
# Where a row goes: before the first line that closes the table.
TABLES = {
    "convkit/algorithms.py": "ALGORITHMS: tuple[Algorithm, ...] = (",
    "tests/cases.py": "PROMISES = {",
}


def add(tree: Path, file: str, text: str) -> None:
    """A new file, or a row at the end of a file's table."""
    path = tree / file
    if file not in TABLES:
        assert not path.exists()
        path.write_text(text, encoding="utf-8")
        return
    before, opening, table = path.read_text(encoding="utf-8").partition(TABLES[file])
    assert opening
    rows, closing, after = re.split(r"(^[)}])", table, maxsplit=1, flags=re.MULTILINE)
    path.write_text(before + opening + rows + text + closing + after, encoding="utf-8")


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(_convkit.SANITIZED, reason="the copy is built without sanitizers")
@pytest.mark.skipif(
    not any(map(shutil.which, [os.environ.get("CXX", "g++"), "c++", "clang++"])),
    reason="needs a C++ compiler",
)
@pytest.mark.skipif(not importlib.util.find_spec("pybind11"), reason="needs pybind11")
def test_toy_algorithm(tmp_path):
    tree, site = tmp_path / "tree", tmp_path / "site"
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            tree.mkdir(exist_ok=True)
            shutil.copy(source, tree / name)

    places = {found["file"]: found["text"] for found in BLOCKS.finditer(PAGE.read_text("utf-8"))}
    assert set(places) == {"csrc/kernels/toy.cpp", *TABLES}
    for file, text in places.items():
        add(tree, file, text)

    isa = _convkit.current_isa()
    # Objects of this tree's own build serve the copy, where they are still there.
    cache = os.environ.get("CONVKIT_BUILD_CACHE") or str(ROOT / "build" / "objects")
    run(
        sys.executable, "setup.py", "-q", "build", "--build-lib", site, cwd=tree,
        CONVKIT_ISAS=isa, CONVKIT_BUILD_CACHE=cache,
    )  # fmt: skip

    # The script, not -m: that would look for the package in the bare tree first.
    pytest_script = Path(sysconfig.get_path("scripts")) / "pytest"
    files = [f"tests/test_{name}.py" for name in ("kernels", "ieee", "algorithms")]
    said = run(
        sys.executable, pytest_script, "-q", "-p", "no:cacheprovider", "-k", "toy", *files,
        cwd=tree, PYTHONPATH=str(site), CONVKIT_FORCE_ISA=isa,
    )  # fmt: skip
    passed = int(re.search(r"(\d+) passed", said)[1])
    assert passed > 300, said
    code = (
        "import numpy as np, convkit; print(convkit.__file__);"
        "print(convkit.conv2d(np.ones((4, 4)), np.ones((3, 3)), algo='toy'));"
        "print(convkit.explain((4, 4), (3, 3)))"
    )
    said = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(site))
    assert str(site) in said
    assert "[[9. 9.]\n [9. 9.]]" in said
    assert "toy" in said
