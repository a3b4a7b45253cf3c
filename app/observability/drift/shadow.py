"""Shadow: a version that runs along on rows that another one answered, off the requests' path."""

from __future__ import annotations

import io
import logging
import os
import time
import zipfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eigenserve.app.problems import ProblemError
from eigenserve.app.registry import ServedModel
from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.tables import row_values
from eigenserve.model.monitoring.comparison import Comparison, compare
from eigenserve.model.predictor import Predictor
from eigenserve.model.rows.cells import iso_time

log = logging.getLogger("eigenserve.shadow")

#: Rows of each worker that are compared, the newest; and how many of a request are kept for that.
COMPARED_ROWS, REQUEST_ROWS = 2000, 256
#: A comparison takes a tenth of a second (measured, demo model): whoever asks again soon gets the same.
KEPT_S = 5.0
_PREFIX = "shadow-"


class Shadow:
    """Keep the rows that a model's other versions answered lately, and compare what the shadow makes of them.

    Args:
        shadows: name -> the version that runs along.
        find: finds a version; raises ProblemError where it is not served.
    """

    def __init__(self, shadows: dict[str, int], find: Callable[[str, int], ServedModel]) -> None:
        self.shadows, self._find = shadows, find
        self._rows: dict[ServedModel, deque[FloatArray]] = {}
        self._changed = False
        self._folder: Path | None = None
        self._worker = 0
        self._last: dict[ServedModel, tuple[float, Comparison]] = {}

    def share(self, folder: Path, worker: int) -> None:
        """Share rows with the other workers, in a folder of theirs."""
        self._folder, self._worker = folder, worker

    def note(self, served: ServedModel, columns: FloatArray) -> None:
        """Keep answered rows, columns (N, F), if a shadow runs along with their version; of many a spread of them."""
        shadow = self.shadows.get(served.name)
        if shadow is None or shadow == served.version:
            return
        kept = self._rows.get(served)
        if kept is None:
            kept = self._rows[served] = deque()
        kept.append(columns[:: -(-len(columns) // REQUEST_ROWS)].copy() if len(columns) > REQUEST_ROWS else columns)
        self._changed = True

    def tick(self, current: set[ServedModel]) -> None:
        """Join rows and drop old ones; share them with the other workers."""
        for served, kept in list(self._rows.items()):
            if served not in current:
                del self._rows[served]
                continue
            parts = [kept.popleft() for _ in range(len(kept))]
            if parts:
                kept.appendleft(np.concatenate(parts)[-COMPARED_ROWS:])
        if self._changed and self._folder is not None:
            self._changed = False
            content = io.BytesIO()
            arrays = {served.digest: kept[0] for served, kept in self._rows.items() if kept}
            np.savez(content, **arrays)  # type: ignore[arg-type]
            try:
                (self._folder / f".{_PREFIX}{self._worker}").write_bytes(content.getvalue())
                os.replace(self._folder / f".{_PREFIX}{self._worker}", self._folder / f"{_PREFIX}{self._worker}.npz")
            except OSError as error:
                log.error("rows cannot be shared with other workers", extra={"reason": str(error)})

    def comparison(self, name: str, served: ServedModel) -> tuple[ServedModel, Comparison]:
        """Return the shadow of a model, and how it differs from the version that answers.

        Raises:
            ProblemError: 404 the model has no shadow, it is not served, or nothing was answered yet; 409 the two cannot
                be compared.
        """
        if name not in self.shadows:
            raise ProblemError(404, f"model {name!r} has no shadow: set EIGENSERVE_SHADOW={name}:VERSION")
        shadow = self._find(name, self.shadows[name])
        before = self._last.get(served)
        if before is not None and time.monotonic() - before[0] < KEPT_S:
            return shadow, before[1]
        columns = self._all_rows(served)
        if not len(columns):
            raise ProblemError(404, f"version {served.version} of model {name!r} has answered nothing yet to compare")
        try:
            comparison = compare(served.model, shadow.model, (columns, columns_of(shadow.model, served.model, columns)))
        except ValueError as error:
            raise ProblemError(409, str(error)) from None
        self._last = {served: (time.monotonic(), comparison)}
        return shadow, comparison

    def _all_rows(self, served: ServedModel) -> FloatArray:
        parts = list(self._rows.get(served, ()))
        if self._folder is not None:
            for path in self._folder.glob(f"{_PREFIX}*.npz"):
                if path.stem == f"{_PREFIX}{self._worker}":
                    continue
                try:
                    with np.load(path, allow_pickle=False) as arrays:
                        parts += [arrays[served.digest]] if served.digest in arrays.files else []
                except (OSError, ValueError, zipfile.BadZipFile) as error:
                    log.error("rows of another worker cannot be read", extra={"reason": str(error)})
        return np.concatenate(parts) if parts else np.empty((0, len(served.model.features)))


def columns_of(model: Predictor, other: Predictor, columns: FloatArray) -> FloatArray:
    """Return rows, given as columns of another model, as this model's: what it does not have is left out.

    A category that the other model does not know is missing here; so is a feature that only this model has.
    """
    if model.features == other.features:
        return columns
    dates = {feature.name for feature in other.features.features if feature.kind == "datetime"}
    labels = {feature.name: feature.labels[-1] for feature in other.features.features if feature.kind == "categorical"}
    wanted = set(model.features.input_names)
    rows: list[dict[str, Any]] = []
    for row in columns:
        values = {name: value for name, value in row_values(other.features, row).items() if name in wanted}
        values |= {name: None for name, unseen in labels.items() if values.get(name) == unseen}
        for name in dates & values.keys():
            values[name] = None if values[name] is None else iso_time(values[name])
        rows.append(values)
    return model.features.encode(rows)
