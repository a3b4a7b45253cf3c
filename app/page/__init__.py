"""Serve the page at /: a form made from a model's schema, and everything an explanation says, live."""

from eigenserve.app.page.routes import add_page

__all__ = ["add_page"]
