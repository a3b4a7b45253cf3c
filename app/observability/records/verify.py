"""Verify: find every byte of records that was changed, every part that was removed or moved, and what was lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

from eigenserve.app.observability.records.chain import (
    ERASURES,
    LINK,
    OPEN,
    chain_names,
    is_signed,
    link_name,
    link_names,
    name_prefix,
    sha256,
)
from eigenserve.app.observability.records.decisions import commitments, from_parquet, schema_hash
from eigenserve.app.observability.records.documents import (
    DamagedError,
    Marker,
    read_erasure,
    read_link,
    read_marker,
)
from eigenserve.app.observability.records.folder import Folder
from eigenserve.app.observability.records.verdict import Verdict, say_what_is_not_proved

T = TypeVar("T")


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

    def __init__(self, folder: Folder, key: Any = None, heads: Mapping[str, str] | None = None) -> None:
        """Create a verifier.

        Args:
            folder: where the chains are.
            key: a public key; every link must then have a signature by it.
            heads: those of an earlier verdict, which what they prove must still have; None for none.
        """
        self.folder, self.key, self.heads, self.verdict = folder, key, heads, Verdict()
        self._links_of: dict[str, list[str]] = {}  # chain, or ERASURES -> the sha256 of each link
        self._notes: list[tuple[str, bool]] = []  # of each erasure: its chain, and whether it is signed

    def verify(self) -> Verdict:
        """Verify all chains and erasures."""
        names, named, erasures = chain_names(self.folder), set[str](), set[str]()
        self.erasures = self._erasures()
        for name in names:
            self.verdict.chains += 1
            for link in self._links(name):
                named.update(link.get("others", ()))
                erasures.update(link.get("erasures", ()))
                self._part(name, link)
        for name in sorted(named - set(names)):
            self._fault(f"chain {name} is gone, which was there when another one began")
        for chain, part in self.erasures:
            if chain not in names:
                self._fault(f"an erasure names part {part} of chain {chain}, which is not there")
        if erasures - {*self._links_of[ERASURES]}:
            self._fault("an erasure is gone, or was changed, which was there when a chain began")
        self._strays(names)
        self._compare_heads()
        say_what_is_not_proved(self.verdict, self.key is not None, self.heads)
        return self.verdict

    def _links(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the links of a chain that are in order."""
        files = self.folder.names(name)
        numbers = [int(match[1]) for file in files if (match := LINK.fullmatch(file))]
        expected, previous, closed, known = 0, None, False, {OPEN}
        hashes = self._links_of[name] = list[str]()
        signed = {number for number in numbers if f"{link_name(number)}.sig" in files}
        for number in numbers:
            if number != expected:
                self._fault(f"chain {name}: link {expected} is gone")
            path = f"{name}/{link_name(number)}"
            known |= {link_name(number), f"{link_name(number)}.sig"}
            content, link = self._document(path, read_link)
            if link is None:
                known |= {file for file in files if file.startswith(name_prefix(number))}
                previous, expected = None, number + 1
                continue
            in_place = link["chain"] == name and link["number"] == number
            if not in_place or (number == expected and link["previous"] != previous):
                self._fault(f"chain {name}: link {number} does not follow the one before it: it or that was changed")
            if closed:
                self._fault(f"chain {name}: link {number} was added behind the end")
            self._signed(path, content, number in signed, bool(signed))
            closed, previous, expected = bool(link.get("closed")), sha256(content), number + 1
            hashes.append(previous)
            known |= {file["name"] for file in link["files"].values()}
            if link.get("dropped"):
                self.verdict.lost.append(
                    f"chain {name}: {link['dropped']:,} rows were dropped: no room, or not writable"
                )
            yield link
        if previous is not None:
            self.verdict.heads[name] = previous
        for chain, is_noted in self._notes:
            if chain == name and signed and not is_noted and self.key is None:
                self._fault(f"chain {name} is signed, and an erasure of it is not: its signature was removed")
        self._end(name, OPEN in files, closed, expected, previous)
        for file in sorted(set(files) - known):
            # Files of the part that was being written when its process was killed.
            if closed or not file.startswith(name_prefix(expected)):
                self._fault(f"chain {name}: {file} is in no link: it was added, or its link was removed")

    def _end(self, name: str, is_open: bool, closed: bool, number: int, head: str | None) -> None:
        if closed:
            return
        if not is_open:
            self._fault(f"chain {name}: its last links are gone: it is neither closed nor open")
            return
        _, marker = self._document(f"{name}/{OPEN}", read_marker)
        if marker is None:
            return
        # The marker of the next part is written after a part: a process may be killed in between.
        if marker.part not in (number, number - 1) or (marker.part == number and marker.previous != head):
            self._fault(f"chain {name}: its last links are gone: part {marker.part} was being gathered")
        else:
            self._open_part(name, number, marker)

    def _open_part(self, name: str, number: int, marker: Marker) -> None:
        """Say whether a part is still being gathered, or its process is gone and the part with it."""
        age_s = time.time() - marker.at
        known = marker.rows if marker.part == number else 0
        held = marker.held(self.folder, name)
        if held is False:
            killed = self.folder.is_held(name, marker.holder) is False
            why = "its process was killed" if killed else f"nobody has written to it for {age_s:,.0f} s"
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
            content = self._read(f"{name}/{file['name']}")
            if content is None:
                self._fault(f"{where}: {file['name']} is gone")
                continue
            known = {file["sha256"]}
            erasures = self.erasures.get((name, link["number"]), []) if kind == "details" else []
            if erasures:
                # An erasure is noted before it is done: killed in between, it has to be done again.
                known = {erasures[-1].after, erasures[-1].before}
                if not _follow(file["sha256"], erasures):
                    self._fault(f"{where}: its erasures do not follow each other")
            if sha256(content) not in known:
                self._fault(f"{where}: {file['name']} was changed")
                continue
            if erasures and sha256(content) == erasures[-1].before:
                self._fault(f"{where}: an erasure was begun and not finished: erase the same person again")
            contents[kind] = content
        if len(contents) == 2:
            try:
                self._rows(where, name, link, contents)
            except Exception as error:  # damaged bytes end in all kinds of them
                self._fault(f"{where}: its files were changed: they cannot be read: {type(error).__name__}")

    def _rows(self, where: str, name: str, link: dict[str, Any], contents: dict[str, bytes]) -> None:
        """Check that the details are those of the decisions, but for what was erased."""
        decisions, details = from_parquet(contents["decisions"]), from_parquet(contents["details"])
        erasures = self.erasures.get((name, link["number"]), [])
        gone = {row for erasure in erasures for row in erasure.rows}
        kept = [row for row in range(decisions.num_rows) if row not in gone]
        self.verdict.rows += decisions.num_rows
        self.verdict.erased += decisions.num_rows - len(kept)
        if decisions.num_rows != link["rows"] or details.column("n").to_pylist() != kept:
            self._fault(f"{where}: it does not have the rows that it was written with")
        elif erasures:
            # What was not erased is proved by the commitments, which the chain holds, and what it means by the schema.
            self.verdict.without_schema += "schema" not in link
            promised = decisions.column("commitment").take(pa.array(kept, pa.int64())).combine_chunks()
            if link.get("schema", schema_hash(details)) != schema_hash(details):
                self._fault(f"{where}: names or labels of its details were changed")
            elif not commitments(details).equals(promised):
                self._fault(f"{where}: rows of its details were changed")

    def _erasures(self) -> dict[tuple[str, int], list[Erasure]]:
        """Read what was erased, by chain and part."""
        found: dict[tuple[str, int], list[Erasure]] = {}
        files = self.folder.names(ERASURES)
        self.verdict.strays += [f"{ERASURES}/{f}" for f in files if not LINK.fullmatch(f.removesuffix(".sig"))]
        previous, hashes = None, self._links_of.setdefault(ERASURES, [])
        for number, file in enumerate(link_names(self.folder, ERASURES), 1):
            path = f"{ERASURES}/{file}"
            content, note = self._document(path, read_erasure)
            if note is None:
                previous = None
                continue
            if note["number"] != number or note["previous"] != previous:
                self._fault(f"erasure {number} does not follow the one before it: one was changed or removed")
            is_signed = f"{file}.sig" in files
            self._signed(path, content, is_signed)
            self._notes.append((note["chain"], is_signed))
            previous = sha256(content)
            hashes.append(previous)
            one = Erasure(note["before"], note["after"], tuple(note["rows"]))
            found.setdefault((note["chain"], note["part"]), []).append(one)
        if previous is not None:
            self.verdict.heads[ERASURES] = previous
        return found

    def _strays(self, chains: list[str]) -> None:
        for name in self.folder.names():
            if name in chains or name == ERASURES:
                continue
            if link_names(self.folder, name):
                self._fault(f"{name} holds links and is not named as a chain: it was renamed, or added")
            else:
                self.verdict.strays.append(name)

    def _compare_heads(self) -> None:
        for name, head in sorted((self.heads or {}).items()):
            what = "erasures" if name == ERASURES else f"chain {name}"
            if not self._links_of.get(name):
                self._fault(f"{what}: gone, and there when the heads were kept")
            elif head not in self._links_of[name]:
                self._fault(f"{what}: changed, cut off or undone: it does not have the head that was kept")

    def _document(self, path: str, read: Callable[[bytes], T]) -> tuple[bytes, T | None]:
        content = self._read(path)
        try:
            if content is not None:
                return content, read(content)
            self._fault(f"{path} was changed: it is not a file")
        except DamagedError as error:
            self._fault(f"{path} was changed: {error}")
        return b"", None

    def _read(self, path: str) -> bytes | None:
        try:
            return self.folder.read(path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def _signed(self, path: str, content: bytes, is_there: bool, others: bool = False) -> None:
        """Check a signature; without a key, only that there is one where others of the chain have one."""
        signature = self._read(f"{path}.sig") if is_there else None
        self.verdict.signatures += signature is not None
        if signature is None:
            if self.key is not None or others:
                self._fault(f"{path} is not signed")
        elif self.key is not None and not is_signed(self.key, content, signature):
            self._fault(f"{path} is not signed by this key")

    def _fault(self, text: str) -> None:
        self.verdict.faults.append(text)


def _follow(written: str, erasures: list[Erasure]) -> bool:
    """Return whether each erasure begins as the one before it ended, or began: that may not have been finished."""
    before = {written}
    for erasure in erasures:
        if erasure.before not in before:
            return False
        before = {erasure.after, erasure.before}
    return True
