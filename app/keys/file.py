"""Read keys from a TOML file, and read it again when it changes."""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from eigenserve.app.keys.grants import ORDINARY, Grant, Scope
from eigenserve.errors import UserError

log = logging.getLogger("eigenserve.keys")

#: How often the file is looked at.
LOOK_S = 1.0
#: Ten thousand keys have 2 MB.
MAX_BYTES = 16 * 2**20
_DIGEST = re.compile("[0-9a-f]{64}")


class KeysFileError(UserError):
    """Report a file of keys that cannot be read, and where."""


class _Entry(BaseModel):
    """Hold one key, as the file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}$")
    sha256: str
    scopes: frozenset[Scope] = ORDINARY
    expires: datetime | None = None
    rows_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    heavy: int | None = Field(default=None, ge=0)

    @field_validator("sha256")
    @classmethod
    def _is_digest(cls, value: str) -> str:
        if not _DIGEST.fullmatch(value):
            # The value may be a key that somebody did not hash: it must not get into logs.
            raise ValueError("must be 64 hexadecimal digits, as `eigenserve new-key` prints them")
        return value

    @field_validator("expires", mode="before")
    @classmethod
    def _moment(cls, value: object) -> object:
        if isinstance(value, date) and not isinstance(value, datetime):
            return datetime.combine(value, time(), UTC)
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value

    def grant(self) -> Grant:
        return Grant(self.name, self.scopes, self.expires, self.rows_per_s, self.heavy)


def read_keys(path: Path) -> Mapping[str, Grant]:
    """Return the grants of a file by the digests of their keys.

    Raises:
        KeysFileError: it cannot be read, or an entry is not as it must be. The message holds no value of the file.
    """
    return parse_keys(_content(path), str(path))


def _content(path: Path) -> str:
    """Return the text of a file; of a pipe or a device nobody knows when it ends."""
    try:
        # A pipe that nobody writes to would keep the process waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise KeysFileError(f"{path} must be a regular file")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeysFileError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise KeysFileError(f"{path} must have at most {MAX_BYTES} bytes; got more")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise KeysFileError(f"{path} must be UTF-8") from None


def parse_keys(content: str, path: str, may_be_empty: bool = True) -> Mapping[str, Grant]:
    """Return the grants of a file's content; raises as ``read_keys``, and where it must not be empty but is."""
    try:
        document = tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError, OverflowError) as error:
        raise KeysFileError(f"{path} is not valid TOML: {error}") from None
    if not may_be_empty and "keys" not in document:
        raise KeysFileError(f"{path} must have keys; got none: `keys = []` revokes all of them")
    entries = document.pop("keys", [])
    if document or not isinstance(entries, list):
        raise KeysFileError(f"{path} must consist of [[keys]] tables; got {', '.join(document) or 'another keys'}")
    grants: dict[str, Grant] = {}
    names: dict[str, Grant] = {}
    for number, entry in enumerate(entries, 1):
        made = _entry(path, number, entry)
        grant = made.grant()
        if made.sha256 in grants:
            raise KeysFileError(f"{path}: key {number} is the same key as that of {grants[made.sha256].name!r}")
        # While a key is replaced its owner has two, which share their limits.
        if names.setdefault(grant.name, replace(grant, expires=None)) != replace(grant, expires=None):
            raise KeysFileError(f"{path}: keys of one name must have the same scopes and limits; see {grant.name!r}")
        grants[made.sha256] = grant
    return grants


def _entry(path: str, number: int, entry: Any) -> _Entry:
    try:
        return _Entry.model_validate(entry)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'entry'}: {e['msg']}" for e in error.errors())
        raise KeysFileError(f"{path}: key {number}: {faults}") from None


class KeysFile:
    """Hold the grants of a file as it was when it last could be read.

    Attributes:
        grants: by digest; replaced as a whole.
        copy: of the file as it last could be read, for workers that start while it cannot be; None without workers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copy: Path | None = None
        self.grants: Mapping[str, Grant] = {}
        self._state: object = None
        self._seen: object = None
        self._reason: str | None = None
        self._ended = threading.Event()
        # A file system that does not answer must not keep requests waiting, or the process from ending.
        self._thread = threading.Thread(target=self._watch, name="keys", daemon=True)

    def start(self) -> None:
        """Read the file, and look at it every second from then on.

        Raises:
            KeysFileError: it cannot be read, and no other worker could.
        """
        if self.copy is not None and self.copy.exists():
            # The file may be half written just now; like the other workers this one takes it when it stands still.
            self.grants = read_keys(self.copy)
        else:
            self._read()
        self._thread.start()

    def stop(self) -> None:
        """Look no longer."""
        self._ended.set()

    def look(self) -> None:
        """Read the file again if it has changed, once it stands still: until then it may be half written.

        What was read before holds while it cannot be read, and while it has no keys: ``keys = []`` revokes all.
        """
        status, self._seen = self._seen, self._status()
        if self._seen != status or (status == self._state and self._reason is None):
            return
        try:
            self._read(may_be_empty=False)
        except KeysFileError as error:
            if str(error) != self._reason:
                log.error("the keys stay as they were", extra={"reason": str(error)})
            self._reason = str(error)
        else:
            self._reason = None
            log.info("keys read", extra={"keys": len(self.grants)})

    def _read(self, may_be_empty: bool = True) -> None:
        self._state = self._seen = self._status()
        content = _content(self.path)
        self.grants = parse_keys(content, str(self.path), may_be_empty)
        if self.copy is not None:
            draft = self.copy.with_suffix(f".{os.getpid()}")
            draft.write_text(content, "utf-8")
            draft.replace(self.copy)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self.look()
            except Exception:
                log.exception("looking at the keys failed")

    def _status(self) -> object:
        try:
            status = os.stat(self.path)
        except OSError as error:
            return error.errno
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
