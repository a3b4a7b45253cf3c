"""Run the command line: `python -m eigenserve`."""

import sys

from eigenserve.cli import main

sys.exit(main())
