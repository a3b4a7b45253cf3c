"""Verdict: what was found about records, and what nothing here can prove."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eigenserve.errors import UserError


@dataclass
class Verdict:
    """Say what was found.

    Attributes:
        faults: what is not as it was written, one sentence each.
        lost: what was never written, one sentence each.
        open: what is still being gathered, one sentence each.
        unproved: what could have been changed so that it does not show here, one sentence each.
        strays: what lies between the chains and is none.
        rows, erased, chains, parts, signatures: counts.
        without_schema: parts with erased rows that were written before links had a ``schema``.
        heads: chain -> the sha256 of its last link, and ``erasures`` -> that of the last note; to be kept
            elsewhere, they prove everything up to there.
    """

    faults: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    rows: int = 0
    erased: int = 0
    chains: int = 0
    parts: int = 0
    signatures: int = 0
    without_schema: int = 0
    heads: dict[str, str] = field(default_factory=dict)


def read_heads(path: Path) -> dict[str, str]:
    """Read the heads that were kept: what ``verify --json`` printed, or its ``heads`` alone.

    Raises:
        UserError: it is something else.
    """
    try:
        text = path.read_text().strip()
        document = json.loads(text if text.startswith("{") else text.splitlines()[-1])
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{path} must hold what `eigenserve records verify --json` printed; {error}") from error
    heads = document.get("heads", document) if isinstance(document, dict) else None
    if not isinstance(heads, dict) or not all(isinstance(head, str) for head in heads.values()):
        raise UserError(f"{path} must hold what `eigenserve records verify --json` printed")
    return heads


def say_what_is_not_proved(verdict: Verdict, has_key: bool, heads: Mapping[str, str] | None) -> None:
    """Add to a verdict what could have been changed without a sign.

    Args:
        verdict: of all chains.
        has_key: whether signatures were checked.
        heads: those that were kept; None for none.
    """
    say = verdict.unproved.append
    if not has_key:
        signed = "signed; not checked: give --public-key" if verdict.signatures else "not signed"
        say(f"who wrote the records: {signed}")
    if heads is None:
        if not has_key:
            say(
                "the last link of each chain, and the last erasure: signatures or kept heads (--heads) alone prove them"
            )
        say("that no chain was cut off at its end and no erasure undone: kept heads (--heads) alone prove it")
    elif newer := sum(heads.get(name) != head for name, head in verdict.heads.items()):
        say(f"the ends of {newer} of {len(verdict.heads)} chains: something was added since the heads were kept")
    if verdict.without_schema:
        say(f"names and labels in {verdict.without_schema} parts with erased rows: an earlier release wrote no schema")
