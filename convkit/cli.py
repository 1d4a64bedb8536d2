"""The `convkit` command: argument parsing and printing, nothing else."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from convkit.classify import Answer
    from convkit.demo import Digits, LayerRow
    from convkit.graph import Model


class _Parser(argparse.ArgumentParser):
    """A parser that says a mistake in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 something checked was wrong, 2 bad usage or input."""
    try:
        from convkit import __version__
        from convkit.backends import DEVICES
        from convkit.problem import PADDING_MODES
        from convkit.select import PRECISIONS
    except (ImportError, ValueError) as error:  # no extension, or an impossible variable
        print(f"convkit: {error}", file=sys.stderr)
        return 2
    parser = _Parser(
        prog="convkit", description="A convolution engine: see `convkit COMMAND --help`."
    )
    parser.add_argument("--version", action="version", version=f"convkit {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser(
        "demo", help="a stored network reads digits; each algorithm computes a real layer"
    ).set_defaults(run=_demo)
    commands.add_parser(
        "info", help="version, instruction sets, machine profile, threads, variables"
    ).set_defaults(run=_info)
    explain = commands.add_parser(
        "explain",
        help="which algorithm would be chosen for a shape, and why",
        epilog="SHAPE: n1c64h56w56k64r3s3, then p padding, u stride, d dilation, g groups where "
        "they are not 0, 1, 1, 1; p1 or p1,2 (vertical, horizontal)",
    )
    explain.add_argument("shape", metavar="SHAPE")
    explain.add_argument("--dtype", default="float32", help="float32 (default) or float64")
    explain.add_argument("--padding-mode", default="zeros", help=", ".join(PADDING_MODES))
    explain.add_argument("--precision", default="high", help=", ".join(PRECISIONS))
    explain.add_argument("--algo", default="auto", help="auto (default) or an algorithm's name")
    explain.add_argument(
        "--max-workspace", type=int, metavar="BYTES", help="memory for weights and scratch"
    )
    explain.set_defaults(run=_explain)
    check = commands.add_parser(
        "check", help="run a network of a file and compare it with its definition"
    )
    check.add_argument(
        "file", metavar="FILE", help=".onnx, .h5, .keras, or what convkit convert wrote"
    )
    check.set_defaults(run=_check)
    convert = commands.add_parser(
        "convert", help="make one self-contained file of a network, which runs without extras"
    )
    convert.add_argument(
        "source", metavar="IN", help=".onnx, .h5, .keras, or what this command wrote"
    )
    convert.add_argument("target", metavar="OUT", help="ends in .safetensors")
    convert.set_defaults(run=_convert)
    commands.add_parser(
        "models", help="the networks that come with convkit: input, parameters, multiply-adds"
    ).set_defaults(run=_models)
    summary = commands.add_parser(
        "summary", help="the layers of a network: outputs, parameters, multiply-adds"
    )
    summary.add_argument(
        "network", metavar="NAME|FILE", help="a name that convkit models lists, or a file"
    )
    summary.add_argument(
        "--input", action="append", metavar="N,C,H,W",
        help="shape of the input, as 1,3,224,224; once for each input",
    )  # fmt: skip
    summary.add_argument("--json", action="store_true", help="print it as JSON")
    summary.set_defaults(run=_summary)
    classify = commands.add_parser("classify", help="say what pictures show")
    classify.add_argument(
        "network", metavar="NAME|FILE",
        help="a network that `convkit models` lists, with --weights; or a file of a whole one: "
        ".onnx, .safetensors, .h5, .keras",
    )  # fmt: skip
    classify.add_argument(
        "images", metavar="IMAGE", nargs="+", help="a picture, or a folder to search for pictures"
    )
    classify.add_argument("--weights", metavar="F", help="file of weights, for a network by name")
    classify.add_argument(
        "--labels", metavar="F", help="text with a name a line; without it ImageNet's, if they fit"
    )
    classify.add_argument(
        "--preset", metavar="P",
        help="how pictures are prepared: imagenet, inception, caffe, unit, standard or none; "
        "without it what the file says, else what networks of this kind are trained with",
    )  # fmt: skip
    classify.add_argument(
        "--truth", metavar="F",
        help="text with lines of a file and its label or index: how many are right is printed; "
        "folders called by their class say it too",
    )  # fmt: skip
    classify.add_argument("--device", default="cpu", help=" or ".join(DEVICES))
    classify.add_argument("--top", type=int, default=5, help="guesses for each picture (5)")
    classify.add_argument("--json", action="store_true", help="print a JSON list")
    classify.set_defaults(run=_classify)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has printed; it exits 0 for --help and --version
        return int(stop.code or 0)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except (ValueError, TypeError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0  # the reader, `head` say, has seen enough
        print(f"convkit {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


def _info(options: argparse.Namespace) -> int:
    from convkit import info

    print(info())
    return 0


def _explain(options: argparse.Namespace) -> int:
    from convkit import explain
    from convkit.problem import parse_shape

    x_shape, w_shape, keywords = parse_shape(options.shape)
    print(
        explain(
            x_shape,
            w_shape,
            dtype=options.dtype,
            padding_mode=options.padding_mode,
            precision=options.precision,
            algo=options.algo,
            max_workspace=options.max_workspace,
            **keywords,
        )  # fmt: skip
    )
    return 0


def _check(options: argparse.Namespace) -> int:
    from convkit.graph.check import check

    found = check(options.file)
    print(found)
    return 0 if found.right else 1


def _convert(options: argparse.Namespace) -> int:
    import convkit

    model = convkit.load(options.source)
    model.save(options.target)
    print(f"{options.target}: {model.graph.name}, {model.graph.parameters:,} parameters")
    return 0


def _models(options: argparse.Namespace) -> int:
    from convkit import models
    from convkit.models.papers import paper

    print(f"{'Network':20} {'Input':11} {'Params':>12} {'MACs':>16}  Paper")
    for name in models.names():
        found = models.build(name).summary()
        ((_, *image),) = found.input_shapes.values()
        size = "x".join(map(str, image))
        authors = paper(name).split(",")[0]
        print(f"{name:20} {size:11} {found.params:>12,} {found.macs:>16,}  {authors}")
    return 0


def _summary(options: argparse.Namespace) -> int:
    shapes = None if options.input is None else [_sizes(text) for text in options.input]
    model = _network(options.network, shapes)
    found = model.summary(shapes)
    if options.json:
        import json

        print(json.dumps(found.to_dict(), indent=1))
    else:
        print(found)
    return 0


def _network(name: str, shapes: list[tuple[int, ...]] | None) -> Model:
    """The network of a name or of a file; one of a name is written for the size that is asked."""
    import inspect
    from difflib import get_close_matches
    from pathlib import Path

    import convkit
    from convkit.models import MODELS

    if name in MODELS:
        sized = shapes is not None and len(shapes) == 1 and len(shapes[0]) == 4
        if sized and "input_size" in inspect.signature(MODELS[name]).parameters:
            assert shapes is not None
            return convkit.models.build(name, input_size=shapes[0][2:])
        return convkit.models.build(name)
    if not Path(name).suffix and not Path(name).exists():
        near = get_close_matches(name.lower(), MODELS, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`convkit models` lists them"
        raise ValueError(f"{name!r} is no network of convkit, and no file: {hint}")
    return convkit.load(name)


def _sizes(text: str) -> tuple[int, ...]:
    """A shape from what the user wrote."""
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise ValueError(f"--input {text} must be sizes with commas between them: 1,3,224,224")
    return tuple(int(part) for part in parts)


def _classify(options: argparse.Namespace) -> int:
    from convkit.classify import classify, find_images

    images = find_images(options.images)
    answers: list[Answer] = []
    with _ended_by_ctrl_c(), _progress(len(images)) as progress:
        for answer in classify(
            options.network, images, weights=options.weights, labels=options.labels,
            preset=options.preset, truth=options.truth, device=options.device, top=options.top,
        ):  # fmt: skip
            answers.append(answer)
            if answer.error:
                print(f"convkit classify: {answer.error}", file=sys.stderr)
            elif not options.json:
                _print_answer(answer)
            progress.advance(progress.task_ids[0])
    if options.json:
        _print_json(answers)
    _print_accuracy(answers, sys.stderr if options.json else sys.stdout)
    unread = sum(1 for answer in answers if answer.error)
    if unread and len(answers) > 1:
        print(f"convkit classify: {unread} of {len(answers)} pictures skipped", file=sys.stderr)
    return 2 if unread else 0


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process at once. Python's own handler would wait until a network has run or
    a large file is read, and there is nothing to put in order."""
    if current_thread() is not main_thread():
        yield  # of a program that calls `main`: its signals are its own
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def _progress(total: int) -> Progress:
    """A bar on a terminal; what is printed stands above it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    class Terminal(Console):
        def show_cursor(self, show: bool = True) -> bool:
            return False  # a cursor hidden by the bar would stay so after Ctrl-C

    console = Terminal(stderr=True)
    progress = Progress(
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal or total < 2,
        redirect_stdout=sys.stdout.isatty(),
    )  # fmt: skip
    progress.add_task("", total=total)
    return progress


def _print_answer(answer: Answer) -> None:
    # Names of files may hold bytes that are no text.
    print(answer.file.encode("utf-8", "backslashreplace").decode("utf-8"))
    width = max(len(str(guess.index)) for guess in answer.guesses)
    for guess in answer.guesses:
        name = "" if guess.label is None else f"  {guess.label}"
        print(f"  {guess.score:7.2%}  {guess.index:>{width}}{name}")
    sys.stdout.flush()  # what is done is done, should Ctrl-C end the rest


def _print_json(answers: Sequence[Answer]) -> None:
    import json

    found = [
        {
            "file": answer.file,
            "top": [
                {"index": guess.index, "label": guess.label, "score": guess.score}
                for guess in answer.guesses
            ],
        }
        for answer in answers
        if not answer.error
    ]
    print(json.dumps(found, indent=1))


def _print_accuracy(answers: Sequence[Answer], file: TextIO) -> None:
    ranks = [answer.rank for answer in answers if answer.rank is not None]
    if ranks:
        parts = []
        for top in (1, 5):
            right = sum(1 for rank in ranks if rank < top)
            parts.append(f"top-{top} {right} of {len(ranks)} right ({right / len(ranks):.1%})")
        print(", ".join(parts), file=file)


def _demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from convkit.demo import compare_algorithms, read_digits

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=110, color_system=None)
    digits = read_digits()
    _print_digits(console, digits)
    rows = compare_algorithms()
    _print_layers(console, rows)
    good = digits.right >= 0.98 * len(digits.labels) and all(row.right for row in rows)
    return 0 if good else 1


def _print_digits(console: Console, digits: Digits) -> None:
    from convkit.demo import drawn

    count = len(digits.labels)
    console.print(
        f"lenet5_digits read {digits.right} of {count} test digits right "
        f"({100 * digits.right / count:.1f} %), {digits.images_per_second:,.0f} images a second."
    )
    wrong = [i for i in range(count) if digits.answers[i] != digits.labels[i]]
    shown = [*range(5), *wrong[:1]]
    pictures = [drawn(digits.images[i, 0]) for i in shown]
    console.print()
    for lines in zip(*pictures, strict=True):
        console.print("  ".join(lines), markup=False)
    captions = []
    for i in shown:
        answer, label = digits.answers[i], digits.labels[i]
        captions.append(f"{answer}" if answer == label else f"{answer}, but is {label}")
    console.print("  ".join(f"{caption:^16}" for caption in captions))
    console.print()


def _print_layers(console: Console, rows: Sequence[LayerRow]) -> None:
    from rich import box
    from rich.table import Table

    from convkit import get_num_threads, info

    found = info()
    table = Table(
        title=f"{found.machine.name}, {found.isa}, threads: {get_num_threads()}; * what auto takes",
        title_justify="left", title_style="", box=box.SIMPLE if console.is_terminal else None,
    )  # fmt: skip
    for name in ("layer", "algorithm"):
        table.add_column(name, no_wrap=True)
    for name in ("ms", "GFLOP/s", "error in eps", "at most"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    last = ""
    for row in rows:
        table.add_row(
            f"{row.layer} {row.problem}" if row.layer != last else "",
            f"{row.algorithm}{' *' if row.chosen else ''}",
            f"{row.milliseconds:.3f}",
            f"{row.gflops:.0f}",
            f"{row.error:.2f}",
            f"{row.bound:.0f}",
            "right" if row.right else "WRONG",
        )
        last = row.layer
    console.print(table)
