"""Run the command line: `python -m eigenserve`."""

import sys

from eigenserve.app.server.signals import stop_request


def main(prog: str = "eigenserve") -> int:
    """Run a command, as ``eigenserve.cli.main``; a server is asked to end in good order from its first moment on."""
    if sys.argv[1:2] == ["serve"]:
        stop_request.catch()
    # Imported late: it takes over half a second.
    from eigenserve.cli import main as run

    return run(prog=prog)


if __name__ == "__main__":
    sys.exit(main())
