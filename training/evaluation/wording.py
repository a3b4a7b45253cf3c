"""Write figures and intervals as text, for people."""

from __future__ import annotations

from eigenserve.model.monitoring.pages.figures import figure_text
from eigenserve.training.evaluation.bootstrap import Interval


def part_name(key: str) -> str:
    """Name the rows that a figure is of: "out_of_fold" -> "out of fold"."""
    return key.replace("_", " ")


def interval_text(value: float | None, interval: Interval | None) -> str:
    """Write an interval: "0.92 [0.91, 0.93]"."""
    if interval is None or value is None:
        return figure_text(value)
    return f"{figure_text(value)} [{figure_text(interval[0])}, {figure_text(interval[1])}]"
