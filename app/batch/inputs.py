"""Find the files of a table to score: a file, a folder or a glob of parts, standard input, or a URL."""

from __future__ import annotations

import glob
import re

from eigenserve.app.batch.errors import ScoreError
from eigenserve.app.batch.places import SUFFIXES, Place, file_system
from eigenserve.model.rows.sources import Source, partition_of, sources_of

_ENDINGS = {"csv": ".csv", "parquet": ".parquet", "arrow": ".arrow", "excel": ".xlsx"}


def input_places(data: Place) -> list[Place]:
    """Return the files of a table, in the order of their names.

    What can be read but once, such as standard input, is copied to this machine first, and so is what HTTP serves.

    Raises:
        ScoreError, UserError: nothing there, or something that cannot be read.
    """
    if data.text == "-" or re.match("https?://", data.text):
        return [_place(source) for source in sources_of(data.text)]
    if data.is_url:
        return _remote(data)
    path = data.path
    if path.is_file() and str(path.parent) != "/dev":
        return [data]
    if path.exists() or glob.has_magic(str(path)):
        return [_place(source) for source in sources_of(str(path))]
    return [data]


def _place(source: Source) -> Place:
    ending = _ENDINGS[source.format] + source.compression
    return Place(str(source.path), source.name, ending, tuple(source.partition.items()), source.draft)


def _remote(data: Place) -> list[Place]:
    """Return the files of a folder or a glob that fsspec knows, or the file itself."""
    if "::" in data.text:
        return [data]
    system, path = file_system(data.text)
    try:
        if glob.has_magic(path):
            paths = system.glob(path)
        elif system.isdir(path):
            paths = system.find(path)
        else:
            return [data]
    except (OSError, ValueError) as error:
        raise ScoreError(f"{data.text} cannot be read: {error}") from error
    chosen = []
    for part in sorted(paths):
        pieces = str(part).split("/")
        if pieces[-1].startswith(("_", ".")) or not pieces[-1].lower().endswith(SUFFIXES):
            continue
        partition = tuple(partition_of(pieces[:-1]).items())
        chosen.append(Place(system.unstrip_protocol(part), partition=partition))
    if not chosen:
        raise ScoreError(f"{data.text} has no file that ends in one of {', '.join(SUFFIXES)}")
    return chosen
