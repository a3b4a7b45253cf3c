"""Read the parts of records, in the order in which they were written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eigenserve.app.observability.records.chain import LINK, chain_names
from eigenserve.app.observability.records.folder import Folder


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
        ValueError: a link that cannot be read.
    """
    for chain in chain_names(folder):
        arithmetic: dict[str, str] = {}
        for name in folder.names(chain):
            if LINK.fullmatch(name) is None:
                continue
            link = json.loads(folder.read(f"{chain}/{name}"))
            arithmetic = link.get("arithmetic", arithmetic)
            if link["files"]:
                paths = {kind: f"{chain}/{file['name']}" for kind, file in link["files"].items()}
                yield Part(chain, link["number"], paths["decisions"], paths["details"], link["model"], arithmetic)
