"""Write figures as text."""

from __future__ import annotations


def figure_text(value: float | int | None) -> str:
    """Write four significant digits, more only left of the point; counts in full."""
    if value is None:
        return "-"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
