"""`python -m framepack` is the `framepack` program."""

import sys

from framepack.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
