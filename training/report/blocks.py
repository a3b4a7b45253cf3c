"""Write short documents as Markdown and as HTML from the same blocks: headings, paragraphs, lists and tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from eigenserve.training.report.page import STYLE, table_html

#: Such a document has no scripts, and asks no host for anything.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Heading(NamedTuple):
    """Begin a section; level 1 is the document's title."""

    text: str
    level: int = 2


class Text(NamedTuple):
    """Say something in a paragraph."""

    text: str


class Items(NamedTuple):
    """List texts."""

    texts: Sequence[str]


class Table(NamedTuple):
    """Show rows of texts under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = Heading | Text | Items | Table


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Write blocks as a self-contained page."""
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
    )
    return "\n".join([head, *map(_html, blocks), "</body></html>\n"])


def to_markdown(blocks: Sequence[Block]) -> str:
    """Write blocks as Markdown."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def written(path: str, title: str, blocks: Sequence[Block]) -> str:
    """Write blocks as the name of a file says: HTML for ``.html``, else Markdown."""
    return to_html(title, blocks) if path.lower().endswith((".html", ".htm")) else to_markdown(blocks)


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Items(texts):
            return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
        case Table(header, rows):
            return table_html(header, rows)


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_plain(text)}"
        case Text(text):
            return _plain(text)
        case Items(texts):
            return "\n".join(f"- {_plain(text)}" for text in texts)
        case Table(header, rows):
            lines = [header, ["---"] * len(header), *rows]
            return "\n".join(
                "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in row) + " |" for row in lines
            )


def _plain(text: str) -> str:
    """Return a text in one line that Markdown shows as it is."""
    line = " ".join(text.split())
    for sign in "\\`*_[]<>#":
        line = line.replace(sign, f"\\{sign}")
    return line
