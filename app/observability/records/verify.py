"""Verify: find every byte of records that was changed, every part that was removed or moved, and what was lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from eigenserve.app.observability.records.chain import (
    ERASURES,
    LINK,
    OPEN,
    chain_names,
    is_signed,
    sha256,
)
from eigenserve.app.observability.records.decisions import commitments, from_parquet
from eigenserve.app.observability.records.folder import Folder

#: Seconds after which an open part that nobody adds to counts as lost, where it cannot be known whether its process
#: still runs: markers are written each tenth of the time that a part may take, which few will set to more than minutes.
STALE_S = 120.0


@dataclass
class Verdict:
    """Say what was found.

    Attributes:
        faults: what is not as it was written, one sentence each.
        lost: what was never written, one sentence each.
        open: what is still being gathered, one sentence each.
        rows, erased, chains, parts: counts.
        heads: chain -> the sha256 of its last link; to be kept elsewhere, it proves the chain up to there.
    """

    faults: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    rows: int = 0
    erased: int = 0
    chains: int = 0
    parts: int = 0
    heads: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Erasure:
    """Hold what was erased from a file of details.

    Attributes:
        before, after: the file's sha256.
        rows: places in the part.
    """

    before: str
    after: str
    rows: tuple[int, ...]


class Verifier:
    """Verify the records in a folder."""

    def __init__(self, folder: Folder, key: Any = None) -> None:
        """Create a verifier.

        Args:
            folder: where the chains are.
            key: a public key; every link must then have a signature by it.
        """
        self.folder, self.key, self.verdict = folder, key, Verdict()

    def verify(self) -> Verdict:
        """Verify all chains and erasures."""
        names, named = chain_names(self.folder), set[str]()
        self.erasures = self._erasures()
        for name in names:
            self.verdict.chains += 1
            for link in self._links(name):
                named.update(link.get("others", ()))
                self._part(name, link)
        for name in sorted(named - set(names)):
            self._fault(f"chain {name} is gone, which was there when another one began")
        for chain, part in self.erasures:
            if chain not in names:
                self._fault(f"an erasure names part {part} of chain {chain}, which is not there")
        return self.verdict

    def _links(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the links of a chain that are in order."""
        files = self.folder.names(name)
        numbers = [int(match[1]) for file in files if (match := LINK.fullmatch(file))]
        expected, previous, closed, known = 0, None, False, {OPEN}
        for number in numbers:
            if number != expected:
                self._fault(f"chain {name}: link {expected} is gone")
            known |= {f"{number:08d}.json", f"{number:08d}.json.sig"}
            content = self.folder.read(f"{name}/{number:08d}.json")
            link = self._document(f"{name}/{number:08d}.json", content)
            if link is None:
                previous, expected = None, number + 1
                continue
            in_place = link.get("chain") == name and link.get("number") == number
            if not in_place or (number == expected and link.get("previous") != previous):
                self._fault(f"chain {name}: link {number} does not follow the one before it: it or that was changed")
            if closed:
                self._fault(f"chain {name}: link {number} was added behind the end")
            self._signed(f"{name}/{number:08d}.json", content)
            closed, previous, expected = bool(link.get("closed")), sha256(content), number + 1
            known |= {file["name"] for file in link["files"].values()}
            if link.get("dropped"):
                self.verdict.lost.append(
                    f"chain {name}: {link['dropped']:,} rows were dropped: no room, or not writable"
                )
            yield link
        if previous is not None:
            self.verdict.heads[name] = previous
        self._end(name, OPEN in files, closed, expected, previous)
        for file in sorted(set(files) - known):
            # Files of the part that was being written when its process was killed.
            if closed or not file.startswith(f"{expected:08d}."):
                self._fault(f"chain {name}: {file} is in no link: it was added, or its link was removed")

    def _end(self, name: str, is_open: bool, closed: bool, number: int, head: str | None) -> None:
        if closed:
            return
        if not is_open:
            self._fault(f"chain {name}: its last links are gone: it is neither closed nor open")
            return
        marker = self._document(f"{name}/{OPEN}", self.folder.read(f"{name}/{OPEN}"))
        if marker is None:
            return
        # The marker of the next part is written after a part: a process may be killed in between.
        if marker["part"] not in (number, number - 1) or (marker["part"] == number and marker["previous"] != head):
            self._fault(f"chain {name}: its last links are gone: part {marker['part']} was being gathered")
        else:
            self._open_part(name, number, marker)

    def _open_part(self, name: str, number: int, marker: dict[str, Any]) -> None:
        """Say whether a part is still being gathered, or its process is gone and the part with it."""
        age_s = time.time() - marker["at"]
        known = marker["rows"] if marker["part"] == number else 0
        held = self.folder.is_held(name, str(marker.get("holder", "")))
        if held is False or (held is None and age_s > STALE_S):
            why = "its process was killed" if held is False else f"nobody has written to it for {age_s:,.0f} s"
            rows = f"at least {known:,}" if known else "any"
            self.verdict.lost.append(f"chain {name}: {why}: {rows} rows of part {number} were lost")
            return
        whether = "" if held else "; whether its process still runs cannot be known from here"
        self.verdict.open.append(
            f"chain {name}: part {number} is open with {known:,} rows, last written {age_s:,.0f} s ago{whether}"
        )

    def _part(self, name: str, link: dict[str, Any]) -> None:
        if not link["files"]:
            return
        self.verdict.parts += 1
        where, contents = f"chain {name}: part {link['number']}", {}
        for kind, file in link["files"].items():
            try:
                contents[kind] = self.folder.read(f"{name}/{file['name']}")
            except FileNotFoundError:
                self._fault(f"{where}: {file['name']} is gone")
                continue
            known = {file["sha256"]}
            erasures = self.erasures.get((name, link["number"]), []) if kind == "details" else []
            if erasures:
                # An erasure is noted before it is done: killed in between, it has to be done again.
                known = {erasures[-1].after, erasures[-1].before}
                chained = [file["sha256"], *(erasure.after for erasure in erasures)]
                if [erasure.before for erasure in erasures] != chained[:-1]:
                    self._fault(f"{where}: its erasures do not follow each other")
            if sha256(contents[kind]) not in known:
                self._fault(f"{where}: {file['name']} was changed")
                del contents[kind]
            elif erasures and sha256(contents[kind]) == erasures[-1].before:
                self._fault(f"{where}: an erasure was begun and not finished: erase the same person again")
        if len(contents) == 2:
            self._rows(where, name, link, contents)

    def _rows(self, where: str, name: str, link: dict[str, Any], contents: dict[str, bytes]) -> None:
        """Check that the details are those of the decisions, but for what was erased."""
        decisions, details = from_parquet(contents["decisions"]), from_parquet(contents["details"])
        erasures = self.erasures.get((name, link["number"]), [])
        gone = {row for erasure in erasures for row in erasure.rows}
        kept = [row for row in range(decisions.num_rows) if row not in gone]
        self.verdict.rows += decisions.num_rows
        self.verdict.erased += len(gone)
        if decisions.num_rows != link["rows"] or details.column("n").to_pylist() != kept:
            self._fault(f"{where}: it does not have the rows that it was written with")
        elif erasures:
            # What was not erased is proved by the commitments, which the chain holds.
            promised = decisions.column("commitment").take(pa.array(kept, pa.int64())).combine_chunks()
            if not commitments(details).equals(promised):
                self._fault(f"{where}: rows of its details were changed")

    def _erasures(self) -> dict[tuple[str, int], list[Erasure]]:
        """Read what was erased, by chain and part."""
        found: dict[tuple[str, int], list[Erasure]] = {}
        previous, numbers = None, [n for n in self.folder.names(ERASURES) if LINK.fullmatch(n)]
        for number, file in enumerate(numbers, 1):
            path = f"{ERASURES}/{file}"
            content = self.folder.read(path)
            document = self._document(path, content)
            if document is None:
                continue
            if document["number"] != number or document["previous"] != previous:
                self._fault(f"erasure {number} does not follow the one before it: one was changed or removed")
            self._signed(path, content)
            previous = sha256(content)
            one = Erasure(document["before"], document["after"], tuple(document["rows"]))
            found.setdefault((document["chain"], document["part"]), []).append(one)
        return found

    def _document(self, path: str, content: bytes) -> dict[str, Any] | None:
        try:
            document = json.loads(content)
            if isinstance(document, dict):
                return document
        except ValueError:
            pass
        self._fault(f"{path} was changed: it is not JSON")
        return None

    def _signed(self, path: str, content: bytes) -> None:
        if self.key is None:
            return
        try:
            signature = self.folder.read(f"{path}.sig")
        except FileNotFoundError:
            self._fault(f"{path} is not signed")
            return
        if not is_signed(self.key, content, signature):
            self._fault(f"{path} is not signed by this key")

    def _fault(self, text: str) -> None:
        self.verdict.faults.append(text)
