"""Run the command line in a checkout: `eigenserve fit`."""

import sys

from eigenserve.cli import main

sys.exit(main(prog="python -m training"))
