"""Keep the finished parts of a search on disk, so that one that was stopped can resume."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from eigenserve import model
from eigenserve.model.arrays import FloatArray
from eigenserve.model.checkpoints.atomic import write_whole
from eigenserve.model.kernels.source_digest import source_digest
from eigenserve.training.releases import releases
from eigenserve.training.settings import FitSettings

#: How the folders of journals begin, within that of a model.
PREFIX = ".search-"
#: A search that was stopped is kept for a week after its last step.
ABANDONED_S = 7 * 24 * 3600.0


class Journal:
    """Keep scores by key in a folder. Training repeats bit for bit, so they are as good as new ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def scores(self, key: tuple[int, ...]) -> FloatArray | None:
        """Read what was kept under a key; None if nothing was, or not all of it reached the disk."""
        try:
            return np.asarray(np.load(self._path(key), allow_pickle=False))
        except (FileNotFoundError, ValueError, EOFError):
            return None

    def keep(self, key: tuple[int, ...], scores: FloatArray) -> None:
        """Keep scores; they appear whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with write_whole(self._path(key)) as file:
            np.save(file, scores, allow_pickle=False)

    def clear(self) -> None:
        """Forget everything."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def clear_abandoned(self) -> None:
        """Forget what fits of other settings or tables left next to it and nobody has resumed for a week."""
        for folder in self._folder.parent.glob(f"{PREFIX}*"):
            try:
                touched = max(entry.stat().st_mtime for entry in (folder, *folder.iterdir()))
            except FileNotFoundError:
                continue  # its fit has just finished
            if folder != self._folder and touched < time.time() - ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)

    def _path(self, key: tuple[int, ...]) -> Path:
        return self._folder / f"{'-'.join(map(str, key))}.npy"


def journal_of(model_folder: Path, data_sha256: str, target: str, settings: FitSettings) -> Journal:
    """Open the journal of one table, target and settings: another fit never reads it, nor another release or source."""
    sources = source_digest(Path(model.__path__[0]), Path(__file__).parents[1])
    identity = json.dumps([data_sha256, target, asdict(settings), releases(), sources], sort_keys=True)
    return Journal(model_folder / f"{PREFIX}{hashlib.sha256(identity.encode()).hexdigest()[:16]}")
