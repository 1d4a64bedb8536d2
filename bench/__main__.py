"""python -m bench: measuring for developers. See docs/performance.md."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

# NumPy checks what is measured. Its own threads would go on spinning for a tenth of a second after
# each product, on the processors that convkit's threads are timed on.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

COMMANDS = {
    "kernels": "single layers, side by side with peers",
    "models": "whole networks, side by side with peers",
    "compare": "what changed between two results, beyond the noise",
    "calibrate": "fit the coefficients of the costs",
    "choice": "auto against every forced algorithm",
    "latency": "the slowest calls, also under a quota of processor time",
    "items": "how evenly work falls on many threads",
    "nodes": "how many nodes each pass of the graph compiler leaves",
    "verify_models": "every network against an independent definition",
    "table": "results as tables for the pages",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    modules = {name: importlib.import_module(f"bench.{name}") for name in COMMANDS}
    for name, module in modules.items():
        module.add_arguments(commands.add_parser(name, help=COMMANDS[name]))
    options = parser.parse_args()
    words = sys.argv[2:]
    if "--out" in words:  # where results went says nothing of how they came about
        del words[words.index("--out") : words.index("--out") + 2]
    options.words = " ".join(words)
    try:
        return int(modules[options.command].run(options))
    except (ValueError, OSError) as error:
        print(f"python -m bench {options.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
