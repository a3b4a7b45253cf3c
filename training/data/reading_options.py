"""Hold what is given about the columns of a table, instead of inferred."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from eigenserve.errors import UserError
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.training.data.spellings.date_texts import readable_format

ColumnType = Literal["number", "category", "date", "time", "boolean"]


@dataclass(frozen=True)
class ReadingOptions:
    """Hold what is given about the columns of a table, instead of inferred.

    Attributes:
        decimal: the decimal mark; None to infer it.
        date_formats: column -> format; "" for all columns.
        missing: texts for a missing value in all columns, instead of the usual ones; None for these.
        missing_in: column -> texts for a missing value in it, instead of those.
        types: column -> what it is; the spellings of a category that is given are as many categories.
        labels: columns of categories whose type is not given, of which all spellings are one.
        measures: columns that are numbers, however doubtful, if they can be: weights, exposures and offsets.
    """

    decimal: str | None = None
    date_formats: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] | None = None
    missing_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()
    measures: frozenset[str] = frozenset()

    def plain_reading(self, name: str) -> Reading:
        """Return the reading of a column's missing values."""
        texts = self.missing_in.get(name, self.missing)
        return PLAIN if texts is None else Reading(missing=texts, markers=False)


def reading_options(settings: Mapping[str, Any], columns: Collection[str] = ()) -> ReadingOptions:
    """Collect what the settings of a fit say about the columns of a table.

    Args:
        settings: with or without the keys decimal, date_format, missing and types.
        columns: the table's, where they are known.

    Raises:
        UserError: a type that there is not.
    """
    everywhere, only = [], {}
    for entry in settings.get("missing") or ():
        # A column's name may hold the sign itself; one that no column has is refused where columns are read.
        given = next((name for name in columns if entry.startswith(f"{name}=")), entry.partition("=")[0])
        if given and given != entry:
            only[given] = tuple(filter(None, entry[len(given) + 1 :].split("|")))
        else:
            everywhere.append(entry)
    replaced = settings.get("missing") is not None and (everywhere or not only)
    return ReadingOptions(
        decimal=settings.get("decimal"),
        date_formats={name: readable_format(text) for name, text in settings.get("date_format") or ()},
        missing=tuple(everywhere) if replaced else None,
        missing_in=only,
        types=given_types(settings.get("types") or ()),
    )


def given_types(entries: Iterable[tuple[str, str]]) -> dict[str, ColumnType]:
    """Map columns to types, of pairs as an option gives them.

    Raises:
        UserError: a type that is none.
    """
    aliases = {
        "numeric": "number",
        "categorical": "category",
        "datetime": "date",
        "bool": "boolean",
        "text": "category",
    }
    types: dict[str, ColumnType] = {}
    for name, kind in entries:
        kind = aliases.get(kind, kind)
        if kind not in get_args(ColumnType):
            raise UserError(f"the type of {name!r} must be one of {', '.join(get_args(ColumnType))}; got {kind!r}")
        types[name] = kind  # type: ignore[assignment]
    return types
