"""Large JSON bodies, read a slice of rows at a time: neither their memory nor one slice's time grows with the body.

A JSON parser holds the interpreter's lock, so that a body of 25 MB would stop every other request for most of a second,
and its objects take ten times as much memory as its text. The commas between rows are found by NumPy, which
does not hold the lock; each slice is parsed on its own, and encoded before the next one is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.wire.bodies import parse_json

#: Larger bodies are read in slices. Measured on a slow core: 256 KB of rows are parsed in 5 ms.
SLICED_BYTES = SLICE_BYTES = 2**18
#: Scanned at a time: NumPy's temporary arrays take nine times as much.
SCAN_BYTES = 2**20
#: What a body may have besides its rows, such as a sample to compare with.
MAX_OPTIONS_BYTES = 2**22
#: One row, which cannot be sliced. Of ten thousand features it has a third of that.
MAX_ROW_BYTES = 2**20
#: What parsed JSON may take where it cannot be sliced.
MAX_PARSED_BYTES = 64 * 2**20
#: Keys of JSON that cannot be sliced. Measured on a slow core: the parser takes 0.6 us for a key it has not seen.
MAX_KEYS = 200_000

_KEY = re.compile(rb'"\s*:')
#: Lists that the outermost object may have as values, if its rows are to be found: each is looked at in Python.
MAX_LISTS = 1000


@dataclass(frozen=True)
class RowSlices:
    """Hold the rows of a JSON array that is not parsed yet.

    Attributes:
        body: the text.
        cuts: positions of the commas at which slices end, and of the array's last bracket.
        start: position behind the array's first bracket.
        count: how many rows there are.
        key: of the array in its object.
        each: what is done to each slice of rows before it is yielded.
    """

    body: bytes
    start: int
    cuts: tuple[int, ...]
    count: int
    key: str
    each: Callable[[list[Any]], list[Any]] | None = None

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield lists of rows.

        Raises:
            ProblemError: 422 where the text is not valid JSON.
        """
        start = self.start
        for cut in self.cuts:
            if cut - start > SLICE_BYTES + MAX_ROW_BYTES:
                raise ProblemError(413, f"a row must have at most {MAX_ROW_BYTES} bytes")
            text = b"[%b]" % self.body[start:cut]
            rows = parse_json(text, self.body, start - 1)
            if not rows and self.count:
                raise invalid(("body",), f"must be valid JSON; a row is missing at byte {start}")
            yield rows if self.each is None else self.each(rows)
            start = cut + 1


def parse_large(body: bytes, key: str = "instances") -> Any:
    """Parse a JSON object; the array under ``key``, if it is long, becomes ``RowSlices``.

    Raises:
        ProblemError: 422 not valid JSON; 413 what would take too much memory.
    """
    if len(body) <= SLICED_BYTES:
        return parse_json(body)
    slices = _slice(body, key)
    if slices is None:
        check_parsed_size(body)
        return parse_json(body)
    rest = body[: slices.start] + body[slices.cuts[-1] :]
    if len(rest) > MAX_OPTIONS_BYTES:
        raise ProblemError(413, f"a body must have at most {MAX_OPTIONS_BYTES} bytes outside of its rows")
    check_parsed_size(rest)
    document = parse_json(rest)
    if isinstance(document, dict) and document.get(key) == []:
        document[key] = slices
    return document


def nan_to_null(body: bytes) -> bytes:
    """Replace each NaN outside texts by null."""
    pieces: list[bytes] = []
    text, plain = b"", np.empty(0, np.uint8)
    for base, symbols, _ in _scan(body):
        text += body[base : base + len(symbols)]
        plain = np.concatenate([plain, symbols])
        places = np.flatnonzero((plain[:-2] == 0x4E) & (plain[1:-1] == 0x61) & (plain[2:] == 0x4E))
        # One may be cut in two by the end of a piece: its beginning waits for the next.
        done = max(len(text) - 2, int(places[-1]) + 3 if len(places) else 0)
        pieces.append(_with_nulls(text[:done], places))
        text, plain = text[done:], plain[done:]
    return b"".join(pieces) + text


def _with_nulls(text: bytes, places: NDArray[Any]) -> bytes:
    if not len(places):
        return text
    symbols = np.frombuffer(text, np.uint8).copy()
    for offset, letter in enumerate(b"nul"):
        symbols[places + offset] = letter
    return np.insert(symbols, places + 3, 0x6C).tobytes()


def check_parsed_size(body: bytes) -> None:
    """Refuse a JSON text whose objects would take too much memory; counted before one is made.

    Raises:
        ProblemError: 413.
    """
    # Mostly the cheap count is enough; times of day have colons, too.
    if body.count(b":") > MAX_KEYS and _has_many_keys(body):
        raise ProblemError(413, f"a body must have at most {MAX_KEYS} keys outside of its rows")
    size = parsed_size(body)
    if size > MAX_PARSED_BYTES:
        raise ProblemError(
            413,
            f"the body takes about {size >> 20} MiB when parsed; send at most {MAX_PARSED_BYTES >> 20} MiB",
        )


def _has_many_keys(body: bytes) -> bool:
    """Say whether a JSON text has more than ``MAX_KEYS``; in steps, since matching holds the interpreter's lock."""
    count = 0
    for start in range(0, len(body), SLICED_BYTES):
        count += len(_KEY.findall(body, start, start + SLICED_BYTES))
        if count > MAX_KEYS:
            return True
    return False


def parsed_size(body: bytes) -> int:
    """Return an upper bound, mostly within twice, of the bytes that a JSON text's objects take (64-bit CPython)."""
    if len(body) <= SLICED_BYTES:
        return 64 * len(body)
    objects, members, values = body.count(b"{"), body.count(b":"), body.count(b",")
    # An object is 64 bytes and its table at least 184; a list 56 and its items; a number 24; a text 49 and more.
    texts = body.count(b'"') // 2
    containers = 64 * (objects + body.count(b"[")) + 184 * min(objects, members)
    return containers + 48 * (values + members) + 24 * texts + len(body)


def _slice(body: bytes, key: str) -> RowSlices | None:
    """Find the rows of the array ``key`` of the outermost object; None where there is not exactly one."""
    found: list[list[int]] = []
    cuts: list[int] = []
    count, in_array, previous, brackets = 0, False, 0, 0
    for base, plain, depth in _scan(body):
        # The brackets between the first and the second level, and the commas within.
        opens = np.flatnonzero((plain == 0x5B) & (depth == 2))
        closes = np.flatnonzero((plain == 0x5D) & (depth == 1))
        commas = np.flatnonzero((plain == 0x2C) & (depth == 2))
        brackets += len(opens) + len(closes)
        if brackets > 2 * MAX_LISTS:
            return None
        for kind, place in sorted([(0, int(p)) for p in opens] + [(1, int(p)) for p in closes], key=lambda e: e[1]):
            before = body[max(0, base + place - 200) : base + place]
            if kind == 0 and re.search(rb'"%b"\s*:\s*$' % key.encode(), before):
                if found:
                    return None
                found.append([base + place + 1])
                in_array, previous = True, base + place
                commas = commas[np.searchsorted(commas, place) :]
            elif kind == 1 and in_array:
                inside = commas[: np.searchsorted(commas, place)]
                count += len(inside)
                previous = _cut(inside + base, previous, cuts)
                cuts.append(base + place)
                found[0].append(base + place)
                in_array = False
        if in_array:
            count += len(commas)
            previous = _cut(commas + base, previous, cuts)
    if len(found) != 1 or len(found[0]) != 2:
        return None
    start, end = found[0]
    return RowSlices(body, start, tuple(cuts), count + 1 if body[start:end].strip() else 0, key)


def _cut(commas: NDArray[Any], previous: int, cuts: list[int]) -> int:
    """Choose the commas at which slices end, about ``SLICE_BYTES`` apart."""
    while len(commas) and (place := int(np.searchsorted(commas, previous + SLICE_BYTES))) < len(commas):
        previous = int(commas[place])
        cuts.append(previous)
    return previous


def _scan(body: bytes) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.int32]]]:
    """Yield the text in pieces: position, bytes with those of texts set to zero, and depth after each byte."""
    in_text, level, base = 0, 0, 0
    while base < len(body):
        piece = body[base : base + SCAN_BYTES]
        # A piece must not end within an escape; in front of its last byte there may be any number of backslashes.
        if base + len(piece) < len(body) and (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece = piece[:-1] if len(piece) > 1 else body[base : base + 2]
        symbols = np.frombuffer(piece, np.uint8)
        if b"\\" in piece:
            symbols = _without_escapes(symbols)
        quotes = symbols == 0x22
        inside = np.bitwise_xor.accumulate(quotes.view(np.uint8)) ^ in_text
        in_text = int(inside[-1])
        plain = np.where(inside.view(bool) | quotes, 0, symbols).astype(np.uint8)
        steps = ((plain | 0x20) == 0x7B).astype(np.int8) - ((plain | 0x20) == 0x7D).astype(np.int8)
        depth = np.cumsum(steps, dtype=np.int32)
        depth += level
        level = int(depth[-1])
        yield base, plain, depth
        base += len(piece)


def _without_escapes(symbols: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Replace each backslash that escapes, and what it escapes, by an x, without the interpreter's lock."""
    slashes = symbols == 0x5C
    place = np.arange(len(symbols), dtype=np.int32)
    begin = np.maximum.accumulate(np.where(slashes, 0, place + 1))
    # Of the backslashes in a row, every second one is escaped by the one in front of it.
    escaping = slashes & ((place - begin) % 2 == 0)
    plain = symbols.copy()
    plain[escaping] = 0x78
    plain[1:][escaping[:-1]] = 0x78
    return plain
