"""Run the command line `eigenserve`: one parser, and one place where mistakes become one line and an exit code."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from eigenserve import __version__
from eigenserve.app.batch.command import add_score
from eigenserve.app.cli import add_new_key, add_serve
from eigenserve.app.observability.records.command import add_records
from eigenserve.errors import EigenserveError, UserError
from eigenserve.extras import remedy_of
from eigenserve.training.commands.card import add_card
from eigenserve.training.commands.compare import add_compare
from eigenserve.training.commands.curvature import add_curvature
from eigenserve.training.commands.drift import add_drift
from eigenserve.training.commands.evaluate import add_evaluate
from eigenserve.training.commands.export import add_export
from eigenserve.training.commands.fit import add_fit
from eigenserve.training.commands.reference import add_reference

#: Exit code of a user's mistake, as argparse has it, and of Ctrl-C, as shells have it.
USER_ERROR, INTERRUPTED = 2, 130

#: CPU levels that kernels are compiled for.
LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4", "generic")
#: Add each command to the parser, in the order of ``--help``.
_COMMANDS = (
    add_fit,
    add_evaluate,
    add_drift,
    add_compare,
    add_card,
    add_reference,
    add_export,
    add_curvature,
    add_serve,
    add_new_key,
    add_score,
    add_records,
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if option := re.fullmatch(r"argument (?:-\w/)?(--[\w-]+): expected one argument", message):
            message += f"; one that begins with - follows an equals sign: {option[1]}=VALUE"
        raise UserError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None, prog: str = "eigenserve") -> int:
    """Run a command and return the exit code: 0, or 2 after a user's mistake, which standard error has in one line."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parsed, unknown = _parser(prog).parse_known_args(given)
        if unknown:
            # The parser of the command knows its options, not the one above it.
            raise UserError(f"unrecognized arguments: {' '.join(unknown)} (see {prog} {parsed.command} --help)")
        parsed.command_line = shlex.join([*prog.split(), *given])
        return int(parsed.run(parsed) or 0)
    except EigenserveError as error:
        return _fail(str(error))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}")
    except ModuleNotFoundError as error:
        remedy = remedy_of(error)
        if remedy is None:
            raise
        return _fail(remedy)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


def _fail(message: str) -> int:
    # One line, whatever a file or a column is called.
    # In one piece, as several processes may say so at once.
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.stderr.flush()
    return USER_ERROR


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(prog, description="Train, serve and explain tabular models whose prediction is an eigenvalue.")
    parser.add_argument("--version", action="version", version=f"eigenserve {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    kernels = commands.add_parser(
        "kernels",
        help="compile the kernels of prediction and explanation now",
        description="Compile every serving kernel into Numba's cache, or for other CPU levels into a folder.",
    )
    kernels.add_argument("folder", nargs="?", metavar="FOLDER", help="write kernels to FOLDER/LEVEL")
    kernels.add_argument("levels", nargs="*", metavar="LEVEL", help=f"{', '.join(LEVELS[:-1])} or {LEVELS[-1]}")
    kernels.set_defaults(run=_kernels)
    gpu = commands.add_parser(
        "gpu-check",
        help="check and time this machine's GPU",
        description="Check eigenpairs, gradients and a fit on the GPU against the CPU's, then time eigenpairs against "
        "torch.linalg.eigh and the memory's bound, and training. Takes at most ten minutes.",
    )
    gpu.set_defaults(run=_gpu_check)
    return parser


def _kernels(parsed: argparse.Namespace) -> None:
    from eigenserve.app.server.compile_kernels import main as compile_kernels

    if parsed.folder is not None and not parsed.levels:
        raise UserError("FOLDER needs at least one LEVEL, such as x86-64-v3")
    if wrong := [level for level in parsed.levels if level not in LEVELS]:
        raise UserError(f"LEVEL must be one of {', '.join(LEVELS)}; got {', '.join(wrong)}")
    compile_kernels(parsed.folder, *parsed.levels)


def _gpu_check(_: argparse.Namespace) -> int:
    from eigenserve.model.torch.gpu_check import main as gpu_check
    from eigenserve.training.commands.fit_check import check_fit

    return gpu_check(check_fit)
