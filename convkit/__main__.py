"""python -m convkit: the `convkit` command."""

import sys

from convkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
