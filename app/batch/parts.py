"""Keep the finished parts of an output next to it, so that a killed run can resume, and assemble them."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet

from eigenserve.app.batch.errors import ScoreError
from eigenserve.app.batch.folders import Folder
from eigenserve.app.batch.places import OUTPUTS, Place
from eigenserve.app.batch.scorer import ScoredPart
from eigenserve.model.rows.warnings import KINDS

#: Rows of a Parquet row group, about, and the numbers it holds at most.
GROUP_ROWS = 2**20
GROUP_NUMBERS = 2**23
#: The file that says which run the parts belong to.
KEY = "key"
#: What is in it: of ``fingerprint``.
_KEY_TEXT = re.compile("[0-9a-f]{64}")
#: number, rows, nulls, rows with each kind of warning, sha256: the name is the journal's entry, so a part is finished
#: and as it was, or is not there.
_NAME = re.compile(r"(\d{6,})-(\d+)-(\d+)-([0-9.]+)-([0-9a-f]{64})\.part")


def is_csv(place: Place) -> bool:
    """Return whether an output is CSV.

    Raises:
        ScoreError: a suffix that says of no format.
    """
    if place.suffix not in OUTPUTS:
        raise ScoreError(f"--out must end in one of {', '.join(OUTPUTS)}; got {place.text}")
    return place.suffix in (".csv", ".csv.gz")


@dataclass(frozen=True)
class _Entry:
    rows: int
    nulls: int
    warned: str
    digest: str
    name: str

    def is_of(self, content: bytes) -> bool:
        """Return whether this is what was written."""
        return hashlib.sha256(content).hexdigest() == self.digest


@dataclass
class Parts:
    """Keep the finished parts of one output: always the first ones, without a gap.

    Attributes:
        folder: where they are.
        key: of the run: model, data and options.
        discarded: parts of a run with another key, which ``open`` removed.
        damaged: parts whose content is not what was written, which it removed, too.
    """

    folder: Folder
    key: str
    discarded: int = field(default=0, init=False)
    damaged: int = field(default=0, init=False)
    _entries: list[_Entry] = field(default_factory=list)

    def open(self, with_nulls: bool) -> None:
        """Take up what an earlier run with the same key has left; remove what one with another key has.

        Args:
            with_nulls: whether parts with bad rows may be among them.

        Raises:
            ScoreError: the folder holds something else, which is left as it is.
        """
        names = self.folder.names()
        found = self.folder.read(KEY).decode(errors="replace") if KEY in names else ""
        # Of a run that was killed at its very start, the key may be a draft.
        if not _KEY_TEXT.fullmatch(found) and set(names) - {f".{KEY}"}:
            where = self.folder.path
            raise ScoreError(f"{where} must hold finished parts or nothing; it holds other files: move them away")
        if found != self.key:
            self.discarded = sum(_NAME.fullmatch(name) is not None for name in names)
            for name in names:
                self.folder.remove(name)
            self.folder.write(KEY, self.key.encode())
            return
        kept = {}
        for name in names:
            match = _NAME.fullmatch(name)
            if match:
                kept[int(match[1])] = _Entry(int(match[2]), int(match[3]), match[4], match[5], name)
        while (entry := kept.get(len(self._entries))) is not None and (with_nulls or not entry.nulls):
            if not entry.is_of(self.folder.read(entry.name)):
                self.damaged += 1
                break
            self._entries.append(entry)
        for entry in kept.values():
            if entry not in self._entries:
                self.folder.remove(entry.name)

    def keep(self, part: ScoredPart) -> None:
        """Keep the next part."""
        digest = hashlib.sha256(part.content).hexdigest()
        name = f"{part.number:06d}-{part.rows}-{part.nulls}-{part.warned}-{digest}.part"
        self.folder.write(name, part.content)
        self._entries.append(_Entry(part.rows, part.nulls, part.warned, digest, name))

    @property
    def count(self) -> int:
        """Count the parts."""
        return len(self._entries)

    @property
    def rows(self) -> int:
        """Count the rows of all parts."""
        return sum(entry.rows for entry in self._entries)

    @property
    def nulls(self) -> int:
        """Count the rows of all parts that have no prediction."""
        return sum(entry.nulls for entry in self._entries)

    @property
    def warned(self) -> dict[str, int]:
        """Count the rows of all parts that have a warning, by its kind."""
        counts = [sum(map(int, each)) for each in zip(*(e.warned.split(".") for e in self._entries), strict=True)]
        return {kind: count for kind, count in zip(KINDS, counts, strict=False) if count}

    def assemble(self, place: Place, header: bytes) -> None:
        """Write the output: it appears whole or not at all, and the parts go.

        Raises:
            ScoreError: a part was changed since it was written.
        """
        with self.folder.publish(place) as file:
            if not is_csv(place):
                _write_tables(file, map(self._table, self._entries), place.suffix in (".parquet", ".pq"))
            elif place.suffix == ".csv.gz":
                # No name and no time in it: the same rows give the same bytes.
                with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
                    self._write_text(packed, header)
            else:
                self._write_text(file, header)
        self.folder.clear()

    def _write_text(self, file: Any, header: bytes) -> None:
        file.write(header)
        for entry in self._entries:
            file.write(self._content(entry))

    def _table(self, entry: _Entry) -> pa.Table:
        with pa.ipc.open_stream(self._content(entry)) as stream:
            return stream.read_all()

    def _content(self, entry: _Entry) -> bytes:
        content = self.folder.read(entry.name)
        if not entry.is_of(content):
            self.folder.remove(entry.name)
            what = f"{self.folder.path} must hold what this run wrote; {entry.name} was changed"
            raise ScoreError(f"{what}: the same command makes it again")
        return content


def _write_tables(file: IO[bytes], tables: Iterator[pa.Table], as_parquet: bool) -> None:
    first = next(tables)
    if not as_parquet:
        with pa.ipc.new_file(file, first.schema) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
        return
    part = max(1, first.num_rows)
    group = part * max(1, min(GROUP_ROWS, GROUP_NUMBERS // len(first.schema)) // part)
    texts = [column.name for column in first.schema if pa.types.is_string(column.type)]
    with pa.parquet.ParquetWriter(file, first.schema, compression="zstd", use_dictionary=texts) as writer:
        waiting = [first]
        for table in tables:
            waiting.append(table)
            if sum(t.num_rows for t in waiting) >= group:
                writer.write_table(pa.concat_tables(waiting), row_group_size=group)
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=group)
