"""Run the command line in a checkout: `eigenserve serve`."""

import sys

from eigenserve.__main__ import main

sys.exit(main(prog="python -m app"))
