"""Keep compiled kernels on disk, each in a file that is there whole or not at all.

Numba's own cache lists a function's files in an index, which it writes first: a process that ends between the two
writes, or two that write at once, leave names of other code behind. Here the name of a file is a digest of all that its
content depends on, so that there is no index, and its first bytes are a digest of its name and of the rest. What cannot
be read, is damaged or was made for something else is compiled again and overwritten.

Files are looked for, and written, in the first of these folders where that is possible: ``NUMBA_CACHE_DIR`` alone if it
is set, or else ``__pycache__`` next to the source and the user's cache folder, as Numba does.
"""

from __future__ import annotations

import inspect
import logging
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from hashlib import blake2b, sha1
from pathlib import Path
from typing import Any
from uuid import uuid4

import numba
from numba.core import config, sigutils
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

log = logging.getLogger("eigenserve.kernels")

_DIGEST_BYTES = 16
#: A draft this old belongs to a process that was killed while it wrote.
_ABANDONED_S = 3600.0


class DiskCache(NullCache):  # type: ignore[misc]
    """Find and keep what a function was compiled to; it never raises an error."""

    def __init__(self, function: Callable[..., Any]) -> None:
        source = Path(inspect.getfile(function)).absolute()
        name = function.__qualname__.replace("<", "").replace(">", "")
        self._function = function
        self._content = source.read_bytes()
        self._folders = _folders(source)
        python = "py{}{}".format(*sys.version_info) + getattr(sys, "abiflags", "")
        self._base = f"{source.stem}.{name}-{function.__code__.co_firstlineno}.{python}"

    @property
    def cache_path(self) -> str:
        """The folder that is tried first."""
        return str(self._folders[0])

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is on disk for the types, or None, without the libraries that only a compiler needs."""
        rtsys.initialize(target_context)
        types, _ = sigutils.normalize_signature(sig)
        name = self._file_name(sig, target_context.codegen())
        for folder in self._folders:
            found = _rebuilt(folder / name, target_context)
            if found is not None and tuple(found.signature.args) == types:
                return found
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled in the first folder that takes it; say so, once, where none does."""
        if data.library.has_dynamic_globals:
            log.warning("%s is compiled in every process: it refers to addresses", self._base)
            return
        name, content = self._file_name(sig, data.codegen), dumps(data._reduce())
        reasons = []
        for folder in self._folders:
            try:
                _write(folder / name, _digest(name.encode(), content).digest() + content)
                self._remove_what_nobody_finds(folder)
            except OSError as error:
                reasons.append(f"{folder}: {error.strerror or error}")
            else:
                return
        _warn("; ".join(reasons))

    def holds(self, target_context: Any, sig: Any = None) -> bool:
        """Say whether there is a file for these types, or for any, of the function as it is now."""
        codegen = target_context.codegen()
        start = self._start(codegen) if sig is None else self._file_name(sig, codegen)
        return any(name.startswith(start) and name.endswith(".nbc") for f in self._folders for name in _names(f))

    def is_writable(self) -> bool:
        """Say whether any folder takes files."""
        for folder in self._folders:
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
                return True
        return False

    @cached_property
    def _sources(self) -> str:
        """The function's name and a digest of what it was made from; a closure may get its values late."""
        captured = tuple(cell.cell_contents for cell in self._function.__closure__ or ())
        code = self._function.__code__.co_code
        parts = (numba.__version__.encode(), self._content, code, dumps(captured))
        return f"{self._base}.{_short(*parts)}."

    def _start(self, codegen: Any) -> str:
        return f"{self._sources}{_short(repr(codegen.magic_tuple()).encode())}."

    def _file_name(self, sig: Any, codegen: Any) -> str:
        types, _ = sigutils.normalize_signature(sig)
        return f"{self._start(codegen)}{_short(repr(types).encode())}.nbc"

    def _remove_what_nobody_finds(self, folder: Path) -> None:
        """Remove the files of other sources, and what killed processes left of these."""
        for name in _names(folder):
            if name.startswith(f"{self._base}."):
                with suppress(OSError):
                    file = folder / name
                    draft = name.endswith(".tmp") and time.time() - file.stat().st_mtime > _ABANDONED_S
                    if draft or not name.startswith(self._sources):
                        file.unlink()


def _folders(source: Path) -> list[Path]:
    """Return where the kernels of a file may be; below a common folder in one of the name that Numba gives it."""
    named = f"{source.parent.name}_{sha1(str(source.parent).encode()).hexdigest()}"
    if config.CACHE_DIR:
        return [Path(config.CACHE_DIR, named)]
    users = Path(AppDirs("numba", appauthor=False).user_cache_dir, named)
    # A user without a home has none.
    return [source.parent / "__pycache__", *([users] if users.is_absolute() else [])]


def _rebuilt(path: Path, target_context: Any) -> Any:
    """Read a compiled function; None if there is none, or none that this process can use."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    check, data = content[:_DIGEST_BYTES], memoryview(content)[_DIGEST_BYTES:]
    if check != _digest(path.name.encode(), data).digest():
        return None
    try:
        return CompileResult._rebuild(target_context, *pickle.loads(data))
    except Exception as error:
        # The bytes are as they were written, but refer to something that is elsewhere now.
        log.debug("%s is compiled again: %s", path, error)
        return None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _names(folder: Path) -> Iterator[str]:
    with suppress(OSError):
        yield from os.listdir(folder)


def _digest(*parts: bytes | memoryview) -> Any:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest


def _short(*parts: bytes) -> str:
    return str(_digest(*parts).hexdigest()[:20])


_warned = False


def _warn(reason: str) -> None:
    """Write one line per process: what is said of one kernel holds for the others."""
    global _warned
    if not _warned:
        _warned = True
        log.warning(
            "compiled code cannot be kept, so that every process compiles for seconds (%s): "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            reason,
        )
