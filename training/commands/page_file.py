"""Write a page of a command as the name of its file says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eigenserve.errors import UserError

if TYPE_CHECKING:
    from eigenserve.model.monitoring.pages.blocks import Block

HTML, MARKDOWN = (".html", ".htm"), (".md", ".markdown")


def check_page_file(path: str | None) -> None:
    """Check the name of a page's file before there is anything to write; None for none.

    Raises:
        UserError: its suffix is neither that of HTML nor that of Markdown.
    """
    if path is not None and not path.lower().endswith((*HTML, *MARKDOWN)):
        raise UserError(f"--out must end in .html or .md; got {path}")


def print_page(path: str | None, title: str, blocks: Sequence[Block]) -> None:
    """Write a page into a file whose name was checked, or print it as Markdown."""
    from eigenserve.model.monitoring.pages.blocks import to_html, to_markdown

    if path is None:
        print(to_markdown(blocks), end="")
        return
    text = to_html(title, blocks) if path.lower().endswith(HTML) else to_markdown(blocks)
    Path(path).write_text(text, encoding="utf-8")
    print(f"wrote {path}")
