"""Write logs: JSON lines on standard error, one for every request and event."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.types import Scope

from eigenserve.app.observability.line_writer import LineWriter
from eigenserve.app.settings import Settings

#: Lines are written together: a system call for each would cost as much as a small prediction.
FLUSH_S = 0.1

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonFormatter(logging.Formatter):
    """Format a log record as one JSON object; what was passed as ``extra`` become its members."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as a line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


#: Of this process; tests and embedding programs may replace standard error by what has no descriptor.
_writer = LineWriter(2)


class _LineHandler(logging.Handler):
    """Hand records to the thread that writes lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            _writer.write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait a moment for what is not written."""
        _writer.flush()


def configure_logging(settings: Settings) -> None:
    """Send all logs to standard error in the form the settings ask for."""
    handler = _LineHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else text)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # uvicorn logs each start and stop at length; the service logs them in one line each.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


class AccessLog:
    """Write one line per request, gathered and written a few times a second."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._lines: list[bytes] = []
        self._pid = os.getpid()

    def write(self, scope: Scope, status: int, seconds: float, request_id: str, trace_id: str | None) -> None:
        """Note a finished request. The query is left out: clients put secrets there."""
        client = scope.get("client")
        line = {
            "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
            "level": "info",
            "logger": "eigenserve.access",
            "message": "request",
            "pid": self._pid,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "ms": round(seconds * 1000, 3),
            "client": client[0] if client else None,
            "request_id": request_id,
        }
        if (key := scope["state"].get("key_name")) is not None:
            line["key"] = key
        if trace_id is not None:
            line["trace_id"] = trace_id
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        self._lines.append(orjson.dumps(line) if self._as_json else _text(line))

    def flush(self) -> None:
        """Write what was noted."""
        lines, self._lines = self._lines, []
        if lines:
            _writer.write(b"\n".join(lines) + b"\n")


def _text(line: dict[str, Any]) -> bytes:
    # What a client sends must not look like a line of its own.
    path = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line["path"])
    text = "{time} {method} {path} {status} {ms} ms {request_id}".format(**{**line, "path": path})
    if "key" in line:
        text += f" key {line['key']}"
    return text.encode("utf-8", "backslashreplace")
