"""Read the parts of records, in the order in which they were written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eigenserve.app.observability.records.chain import LINK, chain_names
from eigenserve.app.observability.records.decisions import from_parquet
from eigenserve.app.observability.records.folder import Folder
from eigenserve.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Part:
    """Name a part of a chain.

    Attributes:
        chain, number: which.
        decisions, details: paths of its files.
        model: the name (``model``), version and sha256 of what answered.
        arithmetic: the releases and the CPU of the process that answered.
    """

    chain: str
    number: int
    decisions: str
    details: str
    model: dict[str, Any]
    arithmetic: dict[str, str]


def parts(folder: Folder) -> Iterator[Part]:
    """Yield the parts of all chains; what is damaged is for ``verify`` to report.

    Raises:
        UserError: a link that cannot be read.
    """
    for chain in chain_names(folder):
        arithmetic: dict[str, str] = {}
        for name in folder.names(chain):
            if LINK.fullmatch(name) is None:
                continue
            path = f"{chain}/{name}"
            try:
                link = json.loads(folder.read(path))
                arithmetic, files = link.get("arithmetic", arithmetic), link["files"]
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                raise _damaged(path) from error
            if files:
                paths = {kind: f"{chain}/{file['name']}" for kind, file in files.items()}
                yield Part(chain, link["number"], paths["decisions"], paths["details"], link["model"], arithmetic)


def read_rows(folder: Folder, path: str) -> pa.Table:
    """Read a file of a part.

    Raises:
        UserError: a file that cannot be read.
    """
    try:
        return from_parquet(folder.read(path))
    except ValueError as error:
        raise _damaged(path) from error


def _damaged(path: str) -> UserError:
    return UserError(f"{path} cannot be read: it was changed; `eigenserve records verify` names all that was")
