"""Run the commands `eigenserve serve` and `eigenserve new-key`."""

from __future__ import annotations

import argparse
import errno
import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eigenserve.app.keys.grants import ORDINARY, SCOPES, digest_of
from eigenserve.app.server.listener import keep_unsent_little
from eigenserve.errors import UserError

# What needs the extra `serve` is imported by the functions that use it: other commands have the same parser.
if TYPE_CHECKING:
    from eigenserve.app.settings import Settings

#: Connections that wait to be accepted, as uvicorn has it.
LISTEN_BACKLOG = 2048
#: Setting -> what is right, for those whose form a pattern gives.
FORMS = {
    "shadow": "NAME:VERSION, such as housing:2",
    "canary": "NAME:VERSION:SHARE, such as housing:2:0.1",
    "path_prefix": "a path that begins and does not end with a slash, such as /models",
    "health_route": "a path, such as /health",
    "predict_route": "a path, such as /predict",
    "jwt_jwks_url": "a URL, such as https://login.example.com/keys",
}


def add_serve(commands: Any) -> None:
    """Add the command `serve` to the subparsers."""
    serve = commands.add_parser(
        "serve",
        help="serve the models of a store over HTTP",
        description="Serve the models of a store over HTTP. Environment variables EIGENSERVE_* hold the other "
        "settings: see docs/service.md.",
    )
    serve.set_defaults(run=_run_serve)
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", help="port to listen on (default 8000)")
    serve.add_argument("--workers", help="server processes (default 1)")
    serve.add_argument("--store", help="folder of the models, or an fsspec URL (default models/)")
    # What KServe adds to the arguments of an explainer. The predictor is not asked: the model is here, too.
    serve.add_argument("--model_name", dest="default_model", help=argparse.SUPPRESS)
    serve.add_argument("--predictor_host", help=argparse.SUPPRESS)
    serve.add_argument("--http_port", dest="port", help=argparse.SUPPRESS)


def add_new_key(commands: Any) -> None:
    """Add the command `new-key` to the subparsers."""
    new_key = commands.add_parser(
        "new-key",
        help="make a key for a service, and its entry in the file of keys",
        description="Print a key on standard error, once, and on standard output its entry for EIGENSERVE_KEYS_FILE.",
    )
    new_key.set_defaults(run=_run_new_key)
    new_key.add_argument("name", metavar="NAME", help="whose key it is, for logs and metrics")
    new_key.add_argument(
        "--scopes", default=",".join(sorted(ORDINARY)), help=f"of {', '.join(SCOPES)} (default all but admin)"
    )
    new_key.add_argument("--expires", metavar="DATE", help="first day without it, such as 2027-01-31")
    new_key.add_argument("--rows-per-s", type=float, metavar="N", help="rows per second, on average")
    new_key.add_argument("--heavy", type=int, metavar="N", help="heavy requests at a time")


def _run_new_key(parsed: argparse.Namespace) -> None:
    from eigenserve.app.keys.file import parse_keys

    scopes = [scope.strip() for scope in parsed.scopes.split(",")]
    if wrong := [scope for scope in scopes if scope not in SCOPES]:
        raise UserError(f"--scopes must be of {', '.join(SCOPES)}; got {', '.join(map(repr, wrong))}")
    if parsed.expires is not None and not _is_day(parsed.expires):
        raise UserError(f"--expires must be a date such as 2027-01-31; got {parsed.expires!r}")
    key = secrets.token_urlsafe(32)
    lines = ["[[keys]]", f"name = {_toml(parsed.name)}", f'sha256 = "{digest_of(key.encode())}"']
    lines.append(f"scopes = [{', '.join(map(_toml, scopes))}]")
    if parsed.expires is not None:
        lines.append(f"expires = {parsed.expires}")
    lines += [f"{name} = {value}" for name in ("rows_per_s", "heavy") if (value := getattr(parsed, name)) is not None]
    entry = "\n".join(lines)
    parse_keys(entry, "the entry")
    print(f"key of {parsed.name}: {key}", file=sys.stderr, flush=True)
    print(entry, flush=True)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # TOML's basic strings are JSON's


def _run_serve(parsed: argparse.Namespace) -> None:
    from pydantic import ValidationError

    from eigenserve.app.keys.file import read_keys
    from eigenserve.app.observability.logs import configure_logging
    from eigenserve.app.observability.records import check_records

    try:
        settings = _settings(parsed)
    except ValidationError as error:
        raise UserError("; ".join(f"{_origin(e['loc'], parsed)}: {_words(e)}" for e in error.errors())) from error
    if settings.keys_file is not None:
        read_keys(settings.keys_file)  # a mistake in it is reported now, in one line
    check_records(settings)
    try:
        listener = _bind(settings)
    except OSError as error:
        place = settings.unix_socket or f"{settings.host}:{settings.port}"
        raise UserError(f"cannot listen on {place}: {error.strerror or error}") from error
    if settings.grpc_port is not None:
        try:
            _bind(settings, settings.grpc_port).close()
        except OSError as error:
            listener.close()
            where = f"{settings.host}:{settings.grpc_port}"
            raise UserError(f"cannot listen on {where} for gRPC: {error.strerror or error}") from error
    print(f"Eigenserve on {_address(settings, listener)} (docs at {settings.path_prefix}/docs)", flush=True)
    configure_logging(settings)
    # Imported late: mistakes need no kernels, and neither does the process that only watches over workers.
    with listener:
        if settings.workers > 1:
            from eigenserve.app.server.supervisor import supervise

            failure = supervise(settings, listener)
        else:
            from eigenserve.app.server.process import serve

            reason = serve(settings, listener)
            failure = None if reason is None else str(reason)
    if failure is not None:
        raise UserError(failure)


def _address(settings: Settings, listener: socket.socket) -> str:
    if settings.unix_socket is not None:
        return f"unix:{settings.unix_socket}"
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bind(settings: Settings, port: int | None = None) -> socket.socket:
    """Bind a listening socket, for one server or many: the service's, or one of another ``port``."""
    if port is None and settings.unix_socket is not None:
        return _bind_unix(settings.unix_socket)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keep_unsent_little(listener)
        listener.bind((settings.host, settings.port if port is None else port))
        # At once: with SO_REUSEADDR two servers may bind a port that nobody listens on yet.
        listener.listen(LISTEN_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _bind_unix(path: Path) -> socket.socket:
    """Listen on a Unix socket. One that a server left there is replaced, but not one in use, or another file."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(str(path)) == 0:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            path.unlink()
        listener.bind(str(path))
        listener.listen(LISTEN_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _settings(parsed: argparse.Namespace) -> Settings:
    """Read the environment's settings, overridden by the command line."""
    from eigenserve.app.settings import Settings, platform_settings

    given: dict[str, Any] = {
        key: value for key, value in vars(parsed).items() if key in Settings.model_fields and value is not None
    }
    return Settings(**{**platform_settings(os.environ), **given})


def _words(fault: Mapping[str, Any]) -> str:
    """Say what a setting must be. A value may be a secret: it is repeated only where its form is wrong."""
    from eigenserve.app.problems import fault_words

    if fault["type"] == "string_pattern_mismatch":
        return f"must be {FORMS[str(fault['loc'][0])]}; got {fault['input']!r}"
    return fault_words(fault)


def _origin(loc: tuple[int | str, ...], parsed: argparse.Namespace) -> str:
    from eigenserve.app.settings import PREFIX, platform_variables

    name = str(loc[0]) if loc else "settings"
    if getattr(parsed, name, None) is not None:
        return f"--{name}"
    return platform_variables(os.environ).get(name, f"{PREFIX}{name.upper()}")
