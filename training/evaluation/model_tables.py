"""Read the files of a fit, and those of a finished model: every column as its training read it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from eigenserve.model.predictor import ClassLabel
from eigenserve.model.rows.feature import Feature
from eigenserve.model.rows.layout.titles import as_called
from eigenserve.model.rows.readings import MISSING_TEXTS, PLAIN, Reading, reading_of
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.reading_options import ReadingOptions, reading_options
from eigenserve.training.data.table import FileOptions, read_table

#: Where a model's card keeps how the texts of a target of numbers are read.
READING_KEY = "target_reading"


def files_of_fit(
    given: ReadingOptions, separator: str | None, encoding: str | None, wanted: Iterable[str]
) -> FileOptions:
    """Say how the files of a fit are read.

    Args:
        given: about the columns.
        separator, encoding: of CSV, where they are given.
        wanted: names that a CSV header should have.
    """
    return FileOptions(
        separator=separator,
        encoding=encoding,
        wanted=tuple(wanted),
        texts=frozenset(column for column, kind in given.types.items() if kind == "category"),
        missing=MISSING_TEXTS if given.missing is None else frozenset({"", *given.missing}),
        missing_in={column: frozenset({"", *texts}) for column, texts in given.missing_in.items()},
        decimal=given.decimal,
    )


def with_features(
    files: FileOptions, features: Iterable[Feature], target: str, classes: Collection[ClassLabel], reading: Reading
) -> FileOptions:
    """Leave what is trained on as text where a file alone would be read otherwise: 01 as 1, NA as missing.

    Args:
        files: how files are read otherwise.
        features: what is trained on.
        target: the target's column.
        classes, reading: of the target.
    """
    texts, missing = set(files.texts), dict(files.missing_in)
    for feature in features:
        plain = feature.kind == "boolean" or (feature.kind == "numeric" and feature.reading.takes_plain)
        absent = feature.reading.missing_texts
        for name in (feature.name, feature.name.strip()):
            # Models that are compared may take other texts for missing.
            if not plain or missing.setdefault(name, absent) != absent:
                texts.add(name)
    if not reading.takes_plain or any(isinstance(label, str) for label in classes):
        texts |= {target, target.strip()}
    return replace(files, texts=frozenset(texts), missing_in=missing)


def read_for_models(
    models: Iterable[SpectralModel],
    data: str | Path,
    separator: str | None = None,
    encoding: str | None = None,
    others: Iterable[str] = (),
) -> pd.DataFrame:
    """Read a table whose rows are for one or more models: each column as they were trained on it.

    Args:
        models: one, or some that are compared.
        data: the table.
        separator, encoding: of CSV, where they are given.
        others: names of columns that are wanted besides those of the models.

    Raises:
        UserError: as ``read_table``.
    """
    files = FileOptions(separator, encoding)
    wanted: list[str] = []
    given_missing: dict[str, frozenset[str]] = {}  # of columns that are none of the models'
    for model in models:
        given = reading_options(model.card.get("training", {}).get("settings", {}))
        own = files_of_fit(given, separator, encoding, ())
        given_missing |= own.missing_in
        files = replace(files, texts=files.texts | own.texts, missing=own.missing)
        reading = target_reading(model) or PLAIN
        files = with_features(files, model.features.features, model.target, model.classes, reading)
        wanted += [model.target, *model.features.input_names]
    missing_in = {**given_missing, **files.missing_in}
    wanted = list(dict.fromkeys([*wanted, *others]))
    frame = read_table(data, replace(files, wanted=tuple(map(str.strip, wanted)), missing_in=missing_in))
    frame.columns = pd.Index(as_called(frame.columns.tolist(), wanted))
    return frame


def target_reading(model: SpectralModel) -> Reading | None:
    """Return how the texts of a model's target of numbers are read; None where its card does not say."""
    kept = model.card.get(READING_KEY)
    return reading_of(kept) if kept else None
