"""Write short documents as Markdown and as HTML from the same blocks: headings, paragraphs, lists and tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

#: Such a document has no scripts, and asks no host for anything.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 52rem; margin: 0 auto;
       padding: 0 1rem 4rem; }
h1, h2, h3 { overflow-wrap: anywhere; }
h1 small { font-weight: normal; color: #666; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #eee; white-space: nowrap; }
pre { background: #f5f5f5; padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere; }
li { margin-bottom: .4rem; }
.figure { width: 100%; }
"""


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


def table_html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table of texts."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


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
