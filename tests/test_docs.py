"""Every docstring example and every block of the pages runs, and prints what it says it prints."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import convkit

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Pages with tests of their own: their blocks are lines of a table and pieces of other files.
FOREIGN = {"migrating.md", "adding-an-algorithm.md"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

MODULES = [
    "convkit",
    *(
        found.name
        for found in pkgutil.walk_packages(convkit.__path__, "convkit.")
        if not found.name.startswith(("convkit.cuda", "convkit._convkit", "convkit.__main__"))
    ),
]


def examples_of(module_name):
    module = importlib.import_module(module_name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(module, module_name) if test.examples]


DOCTESTS = [test for name in MODULES for test in examples_of(name)]


def run_examples(test):
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    said: list[str] = []
    runner.run(test, out=said.append, clear_globs=False)
    assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize("test", DOCTESTS, ids=lambda test: test.name)
def test_docstring(test, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run_examples(test)


FUNCTIONS = [
    name
    for name in dir(convkit)
    if not name.startswith("_") and inspect.isroutine(getattr(convkit, name))
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_an_example(name):
    text = inspect.getdoc(getattr(convkit, name)) or ""
    assert ">>>" in text, f"convkit.{name} has no example"
    first = text.splitlines()[0]
    assert first.endswith("."), f"convkit.{name}: its first line is no sentence"


# ---- pages ---------------------------------------------------------------------------------------

BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page):
    return [(kind, text) for kind, text in BLOCK.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in FOREIGN], ids=lambda page: page.name
)
def test_page(page, capsys, monkeypatch, tmp_path):
    """Python blocks run in one namespace; a `text` block after one is what it prints."""
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "__main__"}
    found = blocks(page)
    for number, (kind, text) in enumerate(found):
        where = f"{page.name}, block {number + 1}"
        if kind == "pycon" or (kind == "python" and ">>> " in text):
            test = doctest.DocTestParser().get_doctest(text, space, where, str(page), 0)
            run_examples(test)
            space.update(test.globs)
        elif kind == "python" and not text.lstrip().startswith("# not run"):
            exec(compile(text, where, "exec"), space)
            printed = capsys.readouterr().out
            if number + 1 < len(found) and found[number + 1][0] == "text":
                expected = found[number + 1][1]
                assert printed.split() == expected.split(), where


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not re.match(r"\w+:", target):
            assert (page.parent / target).exists(), target
