"""Documents: links, markers and notes of erasures, read so that any damage to them is named."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eigenserve.app.observability.records.chain import part_name
from eigenserve.app.observability.records.folder import Folder

#: Seconds after which an open part that nobody adds to counts as lost, where it cannot be known whether its process
#: still runs: markers are written each tenth of the time that a part may take, which few will set to more than minutes.
STALE_S = 120.0
#: The kinds of files that a part has.
KINDS = frozenset({"decisions", "details"})
#: Members of each document and their types; a list holds items of one type.
_LINK = {"chain": str, "number": int, "previous": (str, type(None)), "files": dict}
_OPTIONAL = {"others": [str], "dropped": int, "closed": bool, "schema": str, "arithmetic": dict, "erasures": [str]}
_PART = {"rows": int, "model": {"model": str, "version": int, "sha256": str}}
_FILE = {"name": str, "sha256": str}
_MARKER = {"part": int, "previous": (str, type(None)), "rows": int, "at": (int, float)}
_ERASURE = {
    "number": int,
    "previous": (str, type(None)),
    "at": (int, float),
    "chain": str,
    "part": int,
    "before": str,
    "after": str,
    "rows": [int],
}


class DamagedError(ValueError):
    """Say what of a document is not as it was written."""


@dataclass(frozen=True)
class Marker:
    """Describe the part that is being gathered.

    Attributes:
        part, rows: its number, and how many rows it has.
        previous: the sha256 of the link before it.
        at: when this was written, in seconds since 1970.
        holder: who writes the chain, as ``Folder.is_held`` knows it.
    """

    part: int
    rows: int
    previous: str | None
    at: float
    holder: str

    def held(self, folder: Folder, chain: str) -> bool | None:
        """Return whether the process that writes a chain still runs; None where only time can show it."""
        held = folder.is_held(chain, self.holder)
        return False if held is None and time.time() - self.at > STALE_S else held


def read_link(content: bytes) -> dict[str, Any]:
    """Read a link.

    Raises:
        DamagedError: it is none.
    """
    link = _read(content, _LINK)
    _check({name: link[name] for name in _OPTIONAL if name in link}, {n: _OPTIONAL[n] for n in _OPTIONAL if n in link})
    if link["files"]:
        _check(link, _PART)
        if link["files"].keys() != KINDS:
            raise DamagedError("it does not name the two files of a part")
        for kind, file in link["files"].items():
            _check(file, _FILE, f"files.{kind}.")
            if file["name"] != part_name(link["number"], kind):
                raise DamagedError(f"files.{kind}.name is that of another file")
    return link


def read_marker(content: bytes) -> Marker:
    """Read the marker of an open part; raises as ``read_link``."""
    found = _read(content, _MARKER)
    if not 0 <= found["at"] < 2**40:
        raise DamagedError("at is no moment")
    return Marker(
        part=found["part"],
        rows=found["rows"],
        previous=found["previous"],
        at=found["at"],
        holder=str(found.get("holder", "")),
    )


def read_erasure(content: bytes) -> dict[str, Any]:
    """Read the note of an erasure; raises as ``read_link``."""
    return _read(content, _ERASURE)


def _read(content: bytes, members: Mapping[str, Any]) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedError("it is not JSON") from error
    _check(document, members)
    return dict(document)


def _check(value: Any, members: Mapping[str, Any], where: str = "") -> None:
    if not isinstance(value, dict):
        raise DamagedError(f"{where.rstrip('.') or 'it'} is not an object")
    for name, kind in members.items():
        if name not in value:
            raise DamagedError(f"it has no {where}{name}")
        found = value[name]
        if isinstance(kind, dict):
            _check(found, kind, f"{where}{name}.")
        elif isinstance(kind, list):
            if not isinstance(found, list) or not all(_is(each, kind[0]) for each in found):
                raise DamagedError(f"{where}{name} is of another type")
        elif not _is(found, kind):
            raise DamagedError(f"{where}{name} is of another type")


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
