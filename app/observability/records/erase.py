"""Erase the rows of a person from records, and note it so that the rest can still be verified."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from eigenserve.app.observability.records.chain import (
    ERASURES,
    OPEN,
    chain_names,
    is_signed,
    link_name,
    link_names,
    part_name,
    sha256,
)
from eigenserve.app.observability.records.decisions import from_parquet, to_parquet
from eigenserve.app.observability.records.documents import (
    DamagedError,
    Marker,
    read_erasure,
    read_marker,
)
from eigenserve.app.observability.records.folder import Folder
from eigenserve.app.observability.records.reading import Part, damaged, parts, read_rows, rows_of
from eigenserve.errors import UserError

#: Seconds for which an erasure that is not finished may be that of another process, where folders cannot be locked.
BUSY_S = 120.0
#: Seconds within which a row that was answered is counted in its chain's marker, if no part is being written.
SETTLED_S = 1.0
POLL_S = 0.1


@dataclass(frozen=True)
class Erased:
    """Say what was erased.

    Attributes:
        rows: how many rows.
        waiting: open parts that may hold more of them, one sentence each.
    """

    rows: int
    waiting: list[str]


def erase(folder: Folder, person: str, key: Any = None, wait_s: float = 0.0) -> Erased:
    """Remove the details of all rows with an id.

    What stays of such a row is its decision: what was answered, without inputs, contributions, reasons and id. Each
    erasure is noted before the file of details is replaced; killed in between, the next call finishes it.

    Args:
        folder: where the chains are.
        person: the id.
        key: signs the notes; None for none.
        wait_s: for how long to wait for the parts that are being gathered.

    Raises:
        UserError: records that are signed, without their key; another erasure at the same time; a damaged file.
    """
    _check_key(folder, key)
    gathered = _open_parts(folder)
    rows = _erase_written(folder, person, key)
    if not gathered:
        return Erased(rows, [])
    waiting = _wait(folder, gathered, wait_s)
    return Erased(rows + _erase_written(folder, person, key), waiting)


def _check_key(folder: Folder, key: Any) -> None:
    """Refuse to add what would not be signed, or not by the key of the records."""
    others = []
    for chain in chain_names(folder):
        signatures = [name for name in folder.names(chain) if name.endswith(".json.sig")]
        if not signatures:
            continue
        if key is None:
            raise UserError("these records are signed: give the private key that signs the note of an erasure (--key)")
        path = f"{chain}/{signatures[0]}"
        if is_signed(key.public_key(), folder.read(path.removesuffix(".sig")), folder.read(path)):
            return
        others.append(chain)
    if others:
        raise UserError(f"the key is not that of these records: {others[0]} is signed by another one")


def _open_parts(folder: Folder) -> dict[str, Marker]:
    """Return the markers of chains whose processes run, or may run."""
    found = {}
    for chain in chain_names(folder):
        path = f"{chain}/{OPEN}"
        try:
            marker = read_marker(folder.read(path))
        except FileNotFoundError:
            continue
        except DamagedError as error:
            raise damaged(path) from error
        if marker.held(folder, chain) is not False:
            found[chain] = marker
    return found


def _wait(folder: Folder, gathered: dict[str, Marker], wait_s: float) -> list[str]:
    """Wait until what was answered by now is written, and name the parts of which that is not known.

    Rows may have come while a part was being written: these are in the next one. So two parts of a chain are waited
    for, or a while without rows.
    """
    began = time.monotonic()
    seen = {chain: (marker.part, 0, began) for chain, marker in gathered.items()}
    while True:
        now, markers = time.monotonic(), _open_parts(folder)
        for chain, (part, written, since) in list(seen.items()):
            marker = markers.get(chain)
            if marker is None:
                del seen[chain]
                continue
            if marker.part != part:
                written, since = written + 1, now
            elif marker.rows:
                since = now
            seen[chain] = marker.part, written, since
            if written == 2 or now - since > SETTLED_S:
                del seen[chain]
        if not seen or now - began >= wait_s:
            return [
                f"chain {chain}: part {markers[chain].part} is being gathered, with {markers[chain].rows:,} rows"
                for chain in seen
            ]
        time.sleep(POLL_S)


def _erase_written(folder: Folder, person: str, key: Any) -> int:
    """Erase from the parts that are written, and return how many rows there were."""
    with folder.alone() as alone:
        notes = _Notes(folder, key, alone)
        notes.finish()
        count = sum(_erase_part(folder, part, person, notes) for part in parts(folder))
        notes.confirm()
        return count


def _erase_part(folder: Folder, part: Part, person: str, notes: _Notes) -> int:
    if not rows_of(read_rows(folder, part.details), person).any():
        return 0
    notes.finish()
    content = folder.read(part.details)
    details = from_parquet(content)
    chosen = rows_of(details, person)
    rows = details.column("n").to_numpy()[chosen].tolist()
    left = to_parquet(details.filter(pa.array(~chosen)))
    notes.carry_out({"chain": part.chain, "part": part.number, "before": sha256(content), "rows": rows}, left)
    return len(rows)


class _Notes:
    """Note erasures in their chain, and carry them out."""

    def __init__(self, folder: Folder, key: Any, alone: bool) -> None:
        self._folder, self._key, self._alone = folder, key, alone
        self._number = 0
        self._previous: str | None = None
        self._done: dict[str, bytes] = {}  # path of a note -> its content
        self._left: dict[str, str] = {}  # path of a file of details -> its sha256

    def finish(self) -> None:
        """Look up the last note, and finish its erasure, if whoever noted it was killed.

        Raises:
            UserError: it may be under way.
        """
        names = link_names(self._folder, ERASURES)
        self._number, self._previous = len(names), None
        if not names:
            return
        path = f"{ERASURES}/{names[-1]}"
        content = self._folder.read(path)
        self._previous = sha256(content)
        if self._done.get(path) == content:
            return
        try:
            note = read_erasure(content)
        except DamagedError as error:
            raise damaged(path) from error
        place = _details_path(note["chain"], note["part"])
        try:
            before = self._folder.read(place)
        except FileNotFoundError:
            return  # for ``verify`` to report
        if sha256(before) != note["before"]:
            return
        self._check_signature(path, content)
        if not self._alone and (left_s := BUSY_S - (time.time() - note["at"])) > 0:
            raise UserError(f"another erasure is under way, or was ended by force: try again in {left_s:.0f} s")
        details = from_parquet(before)
        left = to_parquet(details.filter(pa.array(~np.isin(details.column("n").to_numpy(), note["rows"]))))
        if sha256(left) == note["after"]:
            self._folder.write(place, left)
        else:  # another release of pyarrow writes other bytes
            self.carry_out({name: note[name] for name in ("chain", "part", "before", "rows")}, left)

    def carry_out(self, entry: dict[str, Any], left: memoryview) -> None:
        """Note an erasure, and replace the file of details by what is left.

        Raises:
            UserError: another process noted one at the same moment.
        """
        number = self._number + 1
        document = {
            "number": number,
            "previous": self._previous,
            "at": time.time(),
            **entry,
            "after": sha256(left),
        }
        content, path = json.dumps(document, indent=1).encode(), f"{ERASURES}/{link_name(number)}"
        if self._alone:
            self._sign(path, content)
        try:
            self._folder.create(path, content)
        except FileExistsError as error:
            raise UserError("another erasure took place at the same moment: call it again") from error
        if not self._alone:  # the signature of another process's note must not be replaced
            self._sign(path, content)
        place = _details_path(entry["chain"], entry["part"])
        self._folder.write(place, left)
        self._done[path], self._left[place] = content, document["after"]
        self._number, self._previous = number, sha256(content)

    def _sign(self, path: str, content: bytes) -> None:
        if self._key is not None:
            self._folder.write(f"{path}.sig", self._key.sign(content))

    def _check_signature(self, path: str, content: bytes) -> None:
        """Refuse to finish what the key's owner did not begin."""
        if self._key is None:
            return
        try:
            signature = self._folder.read(f"{path}.sig")
        except FileNotFoundError:
            signature = b""
        if not is_signed(self._key.public_key(), content, signature):
            raise UserError(f"{path} is not finished and not signed by this key: remove it, and erase again")

    def confirm(self) -> None:
        """Make sure that nobody who worked at the same time undid it, where a folder cannot be locked.

        Raises:
            UserError: somebody did.
        """
        if self._alone:
            return
        noted = all(self._folder.read(path) == content for path, content in self._done.items())
        if not noted or any(sha256(self._folder.read(place)) != digest for place, digest in self._left.items()):
            raise UserError("another erasure took place at the same time and undid this one: call it again")


def _details_path(chain: str, number: int) -> str:
    return f"{chain}/{part_name(number, 'details')}"
