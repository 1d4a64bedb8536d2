"""The `convkit` command: exit codes, one line for a mistake, plain text when piped."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

import convkit
from convkit import _convkit, cli

LAYER = "n1c64h56w56k64r3s3p1"


def command(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a child whose output is a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "convkit", *arguments],
        capture_output=True, text=True, timeout=120, env={**os.environ, **env},
    )  # fmt: skip


def test_version():
    result = command("--version")
    assert (result.returncode, result.stdout) == (0, f"convkit {convkit.__version__}\n")


@pytest.mark.parametrize("arguments", ["--help", "demo --help", "info --help", "explain --help"])
def test_help(arguments, capsys):
    assert cli.main(arguments.split()) == 0
    said = capsys.readouterr()
    assert said.out.startswith("usage: convkit")
    assert said.err == ""


def test_help_names_every_command(capsys):
    cli.main(["--help"])
    said = capsys.readouterr().out
    for name in ("demo", "info", "explain"):
        assert f"\n    {name}" in said


def test_info(capsys):
    assert cli.main(["info"]) == 0
    said = capsys.readouterr().out
    assert convkit.__version__ in said
    for isa in _convkit.available_isas():
        assert isa in said


def test_explain(capsys):
    """A row per algorithm, one of them chosen, and the reason where one does not apply."""
    assert cli.main(["explain", LAYER, "--dtype", "float64"]) == 0
    said = capsys.readouterr().out
    for name in convkit.algorithms():
        assert name in said
    assert "float64" in said


def test_explain_follows_its_options(capsys):
    keywords = {"padding": 1, "precision": "highest", "max_workspace": 400_000}
    options = ["--precision", "highest", "--max-workspace", "400000"]
    assert cli.main(["explain", LAYER, *options]) == 0
    expected = convkit.explain((1, 64, 56, 56), (64, 64, 3, 3), **keywords)
    assert capsys.readouterr().out == f"{expected}\n"


MISTAKES = {
    "no shape at all": (["explain", "resnet"], "'resnet' must be written like n1c64h56w56k64r3s3"),
    "size missing": (["explain", "c64h56w56k64r3"], "'c64h56w56k64r3' must be written like"),
    "letter twice": (["explain", LAYER + "p2"], f"'{LAYER}p2' must be written like"),
    "three paddings": (["explain", LAYER[:-1] + "1,2,3"], "p1,2,3 is too many"),
    "groups that do not divide": (["explain", LAYER + "g5"], "g5 must divide the 64 input"),
    "filter too large": (["explain", "c1h2w2k1r3s3"], "more than the 2 rows of the padded"),
    "dtype": (["explain", LAYER, "--dtype", "int8"], "int8"),
    "padding mode": (["explain", LAYER, "--padding-mode", "mirror"], "'mirror' must be one of"),
    "precision": (["explain", LAYER, "--precision", "low"], "'low' must be one of"),
    "algorithm": (["explain", LAYER, "--algo", "magic"], "'magic'"),
    "workspace below what direct needs": (
        ["explain", LAYER, "--max-workspace", "-1"],
        "max_workspace=-1",
    ),
    "workspace that is no number": (["explain", LAYER, "--max-workspace", "1G"], "'1G'"),
    "no command": ([], "COMMAND"),
    "unknown command": (["dmeo"], "'dmeo'"),
    "argument too many": (["info", "now"], "now"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_line_and_exit_2(name, capsys):
    arguments, message = MISTAKES[name]
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("convkit")
    assert message in said.err


def test_reader_that_stops_early_is_no_error():
    script = f'"{sys.executable}" -m convkit explain {LAYER} | head -n 1; echo ${{PIPESTATUS[0]}}'
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert result.stdout.endswith("\n0\n")
    assert result.stderr == ""


def test_demo_is_plain_when_piped_and_takes_under_10_seconds():
    """Of processor time on one thread: the clock would count what else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = command("demo", OMP_NUM_THREADS="1")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    assert "test digits right" in result.stdout
    assert "WRONG" not in result.stdout
    for name in convkit.algorithms():
        assert name in result.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


@pytest.mark.parametrize("way", ["-m", "-c"])
@pytest.mark.parametrize(
    "variable", [{"CONVKIT_FORCE_ISA": "nonsense"}, {"CONVKIT_SPIN_US": "soon"}], ids=str
)
def test_an_impossible_variable_is_one_line(variable, way):
    """By `python -m convkit` and by the script, whose import of the package comes first."""
    script = "import sys; sys.argv[0] = '/usr/bin/convkit'; from convkit.cli import main; main()"
    arguments = ["-I", *(["-m", "convkit"] if way == "-m" else ["-c", script]), "info"]
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120,
        env={**os.environ, **variable},
    )  # fmt: skip
    ((name, value),) = variable.items()
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert f"{name}={value}" in result.stderr
