"""Share counts among the workers of a server: each writes a file, whoever is asked adds them up."""

from __future__ import annotations

import io
import logging
import os
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eigenserve.app.observability.drift.windows import DAY_S, KEPT_DAYS, Block

log = logging.getLogger("eigenserve.drift")

#: What a version's counts are known by to other workers: name, version and digest.
VersionKey = tuple[str, int, str]


class Kept(NamedTuple):
    """Hold what a worker has counted of a version: recent blocks, hours, and days of outcomes."""

    recent: list[Block]
    hours: list[Block]
    outcomes: list[Block]


_PREFIX = "drift-"


def write_shared(folder: Path, worker: int, shared: Mapping[VersionKey, Kept]) -> None:
    """Write this worker's counts, whole or not at all."""
    arrays = {}
    for (name, version, digest), kept in shared.items():
        for kind, blocks in kept._asdict().items():
            if blocks:
                key = f"{name}|{version}|{digest}|{kind}"
                arrays[f"{key}|times"] = np.array([[b.started, b.ended, b.rows] for b in blocks])
                arrays[f"{key}|counts"] = np.stack([b.counts for b in blocks])
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    draft = folder / f".{_PREFIX}{worker}"
    draft.write_bytes(content.getvalue())
    os.replace(draft, folder / f"{_PREFIX}{worker}.npz")


def read_shared(folder: Path, besides: int) -> Iterator[tuple[VersionKey, Kept]]:
    """Read the counts of all workers but one, also of those that have ended."""
    for path in folder.glob(f"{_PREFIX}*.npz"):
        if path.stem == f"{_PREFIX}{besides}":
            continue
        try:
            if time.time() - path.stat().st_mtime > KEPT_DAYS * DAY_S:
                path.unlink(missing_ok=True)
                continue
            with np.load(path, allow_pickle=False) as arrays:
                yield from _versions({key: arrays[key] for key in arrays.files})
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            log.error("counts of another worker cannot be read", extra={"path": str(path), "reason": str(error)})


def _versions(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[VersionKey, Kept]]:
    for head in sorted({key.rsplit("|", 2)[0] for key in arrays}):
        name, version, digest = head.split("|")
        yield (name, int(version), digest), Kept(*(_blocks(arrays, f"{head}|{kind}") for kind in Kept._fields))


def _blocks(arrays: Mapping[str, np.ndarray], key: str) -> list[Block]:
    if f"{key}|times" not in arrays:
        return []
    return [
        Block(float(started), float(ended), int(rows), counts)
        for (started, ended, rows), counts in zip(arrays[f"{key}|times"], arrays[f"{key}|counts"], strict=True)
    ]
