"""Infer the encoding of a text: UTF-8 where it is that, else that of Western Europe, unless it is of elsewhere."""

from __future__ import annotations

import codecs
import re
from typing import IO

from eigenserve.model.rows.errors import CsvError

#: Bytes at the beginning of a text by which it is judged.
HEAD_BYTES = 2**18
UTF_8, WESTERN = "utf-8", "cp1252"
#: The mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    *((codecs.BOM_UTF8, UTF_8), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
    *((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
)
#: Encodings of elsewhere that a message names where the text can be read in them.
_ELSEWHERE = ("cp1251", "gb18030", "shift_jis", "cp949", "big5", "cp1253", "koi8-r", "cp1255", "cp1256", "cp874")
_MOST_NAMED, _LONGEST = 5, 12
#: Of the characters beyond ASCII, the share that are letters in the right encoding, at least.
_LEAST_LETTERS = 0.9
#: Of the characters beyond ASCII, the share up to which those that are not UTF-8 are damage.
_MOST_DAMAGE = 0.1
_WORD = re.compile(r"[^\W\d_\x00-\x7f]{2,}")
_HIGH = re.compile(rb"[\x80-\xff]+")


def encoding_of(file: IO[bytes]) -> str:
    """Return the encoding of a whole file: that of its byte order mark, else UTF-8 if it is that, else cp1252.

    Raises:
        CsvError: as ``encoding_of_head``.
    """
    piece = file.read(HEAD_BYTES)
    if marked := byte_order_mark(piece)[1] or _utf_16(piece):
        return marked
    decoder = codecs.getincrementaldecoder(UTF_8)()
    lines = beyond = 0
    try:
        while piece:
            beyond += len(piece) - len(decoder.decode(piece))
            lines += piece.count(b"\n")
            piece = file.read(2**22)
        decoder.decode(b"", True)
    except UnicodeDecodeError as error:
        return _other_than_utf_8(error, lines, beyond)
    return UTF_8


def byte_order_mark(head: bytes) -> tuple[bytes, str | None]:
    """Return the byte order mark that a text begins with, and its encoding; (b"", None) for none."""
    return next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", None))


def encoding_of_head(head: bytes) -> str:
    """Return the encoding of a text without a byte order mark, by its beginning.

    Raises:
        CsvError: one that is nearly UTF-8, or whose words beyond ASCII are not those of Western Europe: which encoding
            it has must be given.
    """
    try:
        codecs.getincrementaldecoder(UTF_8)().decode(head)
    except UnicodeDecodeError as error:
        return _utf_16(head) or _other_than_utf_8(error)
    return _utf_16(head) or UTF_8


def _utf_16(head: bytes) -> str | None:
    if head[1:2] == b"\0" and head[:1] != b"\0":
        return "utf-16-le"
    return "utf-16-be" if head[:1] == b"\0" else None


def _other_than_utf_8(error: UnicodeDecodeError, lines: int = 0, beyond: int = 0) -> str:
    """Return cp1252 for a text that it may be.

    Args:
        error: the first bytes that are not UTF-8, in the part of the text that has them.
        lines: ends of lines before this part.
        beyond: letters beyond ASCII before it, about.
    """
    part = error.object
    text = part.decode(UTF_8, "replace")
    damaged = text.count("\ufffd")
    if damaged <= _MOST_DAMAGE * (beyond + sum(letter > "\x7f" for letter in text)):
        line = lines + part.count(b"\n", 0, error.start) + 1
        raise CsvError(f"line {line} has bytes that are not UTF-8, as the rest is: mend it, or give --encoding")
    runs = _HIGH.findall(part)
    # In the languages of Western Europe hardly a word has three such letters in a row; signs may be repeated: $$$.
    foreign = [run for run in runs if len(run) > 2 and len(set(run)) > 1]
    if 2 * len(foreign) <= len(runs):
        return WESTERN
    readable = [f"{name} ({word!r})" for name in _ELSEWHERE if (word := _word(part, name))]
    such = f", such as {' or '.join(readable[:_MOST_NAMED])}" if readable else ""
    raise CsvError(f"is neither UTF-8 nor in the letters of Western Europe: give --encoding{such}")


def _word(content: bytes, encoding: str) -> str:
    """Return the beginning of the first word beyond ASCII in an encoding; empty if the text cannot be in it."""
    try:
        # The last bytes of a part may be half a letter.
        text = codecs.getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError:
        return ""
    letters = [letter.isalpha() for letter in text if letter > "\x7f"]
    word = next(iter(_WORD.findall(text)), "")
    return word[:_LONGEST] if sum(letters) >= _LEAST_LETTERS * len(letters) else ""
