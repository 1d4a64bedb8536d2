"""python -m bench: measuring for developers. See docs/performance.md."""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    kernels = commands.add_parser("kernels", help="single layers against peers")
    compare = commands.add_parser("compare", help="what changed between two results")
    compare.add_argument("a")
    compare.add_argument("b")
    calibrate = commands.add_parser("calibrate", help="fit the cost coefficients")
    choice = commands.add_parser("choice", help="auto against every forced algorithm")
    table = commands.add_parser("table", help="a results file as a table for the docs")
    table.add_argument("file")
    from bench import kernels as kernels_module

    kernels_module.add_arguments(kernels)
    from bench import calibrate as calibrate_module
    from bench import choice as choice_module

    calibrate_module.add_arguments(calibrate)
    choice_module.add_arguments(choice)
    options = parser.parse_args()
    options.words = " ".join(sys.argv[2:])
    if options.command == "kernels":
        return kernels_module.run(options)
    if options.command == "compare":
        from bench import compare as compare_module

        return compare_module.run(options.a, options.b)
    if options.command == "calibrate":
        return calibrate_module.run(options)
    if options.command == "choice":
        return choice_module.run(options)
    from bench import table as table_module

    return table_module.run(options.file)


if __name__ == "__main__":
    sys.exit(main())
