"""The commands of `python -m app`."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from app.access_log import configure_logging
from app.platforms import platform_settings, platform_variables
from app.score.command import add_score, run_score
from app.settings import PREFIX, Settings

USER_ERROR = 2

#: Connections that wait to be accepted, as uvicorn has it.
LISTEN_BACKLOG = 2048


def main(arguments: Sequence[str]) -> int:
    """Run a command; the exit code: 0, or 2 after a user's mistake, told in one line on standard error."""
    parsed = _parser().parse_args(arguments)
    if parsed.command == "score":
        code, message = run_score(parsed)
        return code if message is None else _fail(message)
    try:
        settings = _settings(parsed)
    except ValidationError as error:
        return _fail("; ".join(f"{_origin(e['loc'], parsed)}: {e['msg']}" for e in error.errors()))
    return _serve(settings)


def _serve(settings: Settings) -> int:
    try:
        listener = _bind(settings)
    except OSError as error:
        return _fail(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}")
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"Eigenserve on http://{shown}:{port} (docs at /docs)", flush=True)
    configure_logging(settings)
    # Imported late: mistakes need no kernels, and neither does the process that only watches over workers.
    with listener:
        if settings.workers > 1:
            from app.workers import supervise

            failure = supervise(settings, listener)
        else:
            from app.server import serve

            reason = serve(settings, listener)
            failure = None if reason is None else str(reason)
    return 0 if failure is None else _fail(failure)


def _bind(settings: Settings) -> socket.socket:
    """The listening socket, for one server or many."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        # At once: with SO_REUSEADDR two servers may bind a port that nobody listens on yet.
        listener.listen(LISTEN_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _settings(parsed: argparse.Namespace) -> Settings:
    """The environment's settings, with what the command line says instead."""
    given: dict[str, Any] = {
        key: value for key, value in vars(parsed).items() if key in Settings.model_fields and value is not None
    }
    return Settings(**{**platform_settings(os.environ, PREFIX), **given})


def _origin(loc: tuple[int | str, ...], parsed: argparse.Namespace) -> str:
    name = str(loc[0]) if loc else "settings"
    if getattr(parsed, name, None) is not None:
        return f"--{name}"
    return platform_variables(os.environ, PREFIX).get(name, f"{PREFIX}{name.upper()}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m app", description="The HTTP service of Eigenserve, and batch scoring.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve", help="serve the models of a store", description=f"Further settings: {PREFIX}*, see docs."
    )
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", help="port to listen on (default 8000)")
    serve.add_argument("--workers", help="server processes (default 1)")
    serve.add_argument("--store", help="folder of the models, or an fsspec URL (default models/)")
    add_score(commands)
    return parser


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return USER_ERROR
