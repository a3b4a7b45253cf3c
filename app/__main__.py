"""Run the command line in a checkout: `eigenserve serve`."""

import sys

from eigenserve.cli import main

sys.exit(main(prog="python -m app"))
