"""Read the parts of records, in the order in which they were written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.app.observability.records.chain import chain_names, link_names
from eigenserve.app.observability.records.decisions import from_parquet
from eigenserve.app.observability.records.documents import DamagedError, read_link
from eigenserve.app.observability.records.folder import Folder
from eigenserve.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

#: Whole numbers as a table of floats has them.
WHOLE = re.compile(r"-?[0-9]+\.0+")
EXPONENT = re.compile(r"-?[0-9](\.[0-9]+)?e\+[0-9]{1,2}")


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
        for name in link_names(folder, chain):
            path = f"{chain}/{name}"
            try:
                link = read_link(folder.read(path))
            except DamagedError as error:
                raise damaged(path) from error
            arithmetic = link.get("arithmetic", arithmetic)
            if link["files"]:
                paths = {kind: f"{chain}/{file['name']}" for kind, file in link["files"].items()}
                yield Part(chain, link["number"], paths["decisions"], paths["details"], link["model"], arithmetic)


def read_rows(folder: Folder, path: str) -> pa.Table:
    """Read a file of a part.

    Raises:
        UserError: a file that cannot be read, or is gone.
    """
    try:
        content = folder.read(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is gone; `eigenserve records verify` names all that was changed") from error
    try:
        return from_parquet(content)
    except Exception as error:  # damaged bytes end in all kinds of them
        raise damaged(path) from error


def rows_of(details: pa.Table, person: str) -> NDArray[np.bool_]:
    """Return which rows of details have the id of a person, however its number is spelled: 7 and 7.0 are one."""
    if "id" not in details.column_names:
        return np.zeros(details.num_rows, bool)
    known = plain_id(person)
    ids = details.column("id").to_pylist()
    return np.array([each is not None and plain_id(each) == known for each in ids], bool)


def plain_id(text: str) -> str:
    """Write a whole number without a point or an exponent, as it is recorded; leave other ids as they are."""
    if WHOLE.fullmatch(text):
        return text.partition(".")[0]
    if EXPONENT.fullmatch(text) and (number := float(text)).is_integer():
        return str(int(number))
    return text


def damaged(path: str) -> UserError:
    """Say that a file cannot be read."""
    return UserError(f"{path} cannot be read: it was changed; `eigenserve records verify` names all that was")
