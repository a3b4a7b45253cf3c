"""Keep copies of loaded checkpoints, so that a worker that starts later has what the others serve."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from eigenserve.app.agreement.board import COPIES
from eigenserve.model.checkpoints.files import DOCUMENT, WEIGHTS, CheckpointFiles, read_files


class Copies:
    """Keep the files of checkpoints by digest, in a folder that all workers share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / COPIES
        self._folder.mkdir(exist_ok=True)

    def keep(self, files: CheckpointFiles) -> None:
        """Keep a checkpoint's files, once.

        Raises:
            OSError: the disk is full.
        """
        place = self._folder / files.digest
        if place.exists():
            return
        draft = Path(tempfile.mkdtemp(dir=self._folder, prefix=".draft-"))
        try:
            (draft / WEIGHTS).write_bytes(files.weights)
            (draft / DOCUMENT).write_bytes(files.document)
            try:
                draft.rename(place)
            except OSError:
                if not place.exists():  # unless another worker was quicker
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def read(self, digest: str) -> CheckpointFiles:
        """Read a checkpoint that was kept.

        Raises:
            CheckpointError: it was not, or no longer is.
        """
        return read_files(self._folder / digest)
