"""Write explanations and models as HTML for notebooks: small tables that need no script and no style sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

#: Rows and contributions that a notebook shows; the rest is counted.
MOST_ROWS, MOST_TERMS = 5, 6


def table(head: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    """Return a table of texts, which are escaped, with a note under it."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    foot = f"<p>{escape(note)}</p>" if note else ""
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>{foot}"


def signed(amount: float) -> str:
    """Write a contribution with its sign."""
    return f"{amount:+,.0f}" if abs(amount) >= 1e4 else f"{amount:+.4g}"
