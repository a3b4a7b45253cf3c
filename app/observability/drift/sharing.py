"""Share counts among the workers of a server: each writes a file, whoever is asked adds them up."""

from __future__ import annotations

import io
import logging
import os
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from eigenserve.app.observability.drift.windows import DAY_S, Block

log = logging.getLogger("eigenserve.drift")

#: What a version's counts are known by to other workers: name, version and digest.
VersionKey = tuple[str, int, str]
#: Recent blocks and hours by version.
Shared = Mapping[VersionKey, tuple[list[Block], list[Block]]]
_PREFIX = "drift-"


def write_shared(folder: Path, worker: int, shared: Shared) -> None:
    """Write this worker's counts, whole or not at all."""
    arrays = {}
    for (name, version, digest), kinds in shared.items():
        for kind, blocks in zip(("recent", "hours"), kinds, strict=True):
            if blocks:
                key = f"{name}|{version}|{digest}|{kind}"
                arrays[f"{key}|times"] = np.array([[b.started, b.ended, b.rows] for b in blocks])
                arrays[f"{key}|counts"] = np.stack([b.counts for b in blocks])
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    draft = folder / f".{_PREFIX}{worker}"
    draft.write_bytes(content.getvalue())
    os.replace(draft, folder / f"{_PREFIX}{worker}.npz")


def read_shared(folder: Path, besides: int) -> Iterator[tuple[VersionKey, tuple[list[Block], list[Block]]]]:
    """Read the counts of all workers but one, also of those that have ended within the day."""
    for path in folder.glob(f"{_PREFIX}*.npz"):
        if path.stem == f"{_PREFIX}{besides}":
            continue
        try:
            if time.time() - path.stat().st_mtime > DAY_S:
                path.unlink(missing_ok=True)
                continue
            with np.load(path, allow_pickle=False) as arrays:
                yield from _versions({key: arrays[key] for key in arrays.files})
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            log.error("counts of another worker cannot be read", extra={"path": str(path), "reason": str(error)})


def _versions(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[VersionKey, tuple[list[Block], list[Block]]]]:
    for head in sorted({key.rsplit("|", 2)[0] for key in arrays}):
        name, version, digest = head.split("|")
        kinds = [_blocks(arrays, f"{head}|{kind}") for kind in ("recent", "hours")]
        yield (name, int(version), digest), (kinds[0], kinds[1])


def _blocks(arrays: Mapping[str, np.ndarray], key: str) -> list[Block]:
    if f"{key}|times" not in arrays:
        return []
    return [
        Block(float(started), float(ended), int(rows), counts)
        for (started, ended, rows), counts in zip(arrays[f"{key}|times"], arrays[f"{key}|counts"], strict=True)
    ]
