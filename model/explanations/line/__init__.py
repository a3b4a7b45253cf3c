"""Follow the straight line from a baseline to a row."""

from eigenserve.model.explanations.line.line import Line

__all__ = ["Line"]
