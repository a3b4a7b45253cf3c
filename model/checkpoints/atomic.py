"""Write a file so that readers see the old one or the whole of the new one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def write_whole(path: Path, folder: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a draft that becomes ``path`` once it is on the disk; where that fails, its room is given back.

    Args:
        path: of the file.
        folder: of the draft, on the same disk; by default that of the file.
    """
    handle, name = tempfile.mkstemp(prefix=".draft-", dir=folder or path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # Readable by others, as a file that is opened for writing would be.
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
