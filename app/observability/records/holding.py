"""Say whether the process that writes a chain still runs, as far as that can be known from here.

On a local disk the chain's folder is locked (flock), which the kernel undoes when the process ends, however it ends; in
other places the marker names the process. Both hold for this machine only, and until it is started again.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

#: Descriptors of the folders that this process holds: it holds them until it ends.
_HELD: list[int] = []


def hold_folder(path: Path) -> str:
    """Lock a folder for as long as this process runs, and return which it is; "" where that cannot be done."""
    with suppress(ImportError, OSError):  # Windows has no fcntl; network file systems lock no folders
        import fcntl

        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _HELD.append(descriptor)
        return _identity(descriptor)
    return ""


@contextmanager
def alone_in_folder(path: Path) -> Iterator[bool]:
    """Lock a folder, once whoever holds it has ended; the value is False where folders cannot be locked."""
    descriptor = _locked(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(path: Path) -> int | None:
    with suppress(ImportError, OSError):
        import fcntl

        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
    return None


def is_folder_held(path: Path, identity: str) -> bool | None:
    """Return whether a process that runs holds a folder; None where that cannot be known from here."""
    with suppress(ImportError, OSError):
        import fcntl

        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if _identity(descriptor) != identity:
                return None  # a copy, or another machine
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
    return None


def this_process() -> str:
    """Return which process this is, of this machine; "" where the system does not say."""
    return _process(os.getpid()) or ""


def is_process_running(identity: str) -> bool | None:
    """Return whether a process runs; None where that cannot be known from here."""
    boot, _, process = identity.partition(" ")
    if not process or boot != _boot() or not process.startswith(f"{_namespace()} "):
        return None
    return _process(int(process.split(" ")[1])) == identity


def _identity(descriptor: int) -> str:
    status = os.fstat(descriptor)
    return f"{_boot()} {status.st_dev} {status.st_ino}"


def _process(pid: int) -> str | None:
    """Name a process by what no other one has: a number is given again once its process is gone."""
    with suppress(OSError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state == "Z" else f"{_boot()} {_namespace()} {pid} {fields[18]}"
    return None


@cache
def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


@cache
def _namespace() -> str:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return "none"
