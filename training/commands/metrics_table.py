"""Print a table of metrics on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from eigenserve.training.evaluation.evaluate import Evaluation
from eigenserve.training.evaluation.wording import interval_text, part_name


def print_metrics(judged: Mapping[str, Evaluation]) -> None:
    """Print a line per metric, a column per part of the rows; in brackets the 95% confidence interval."""
    names = list(dict.fromkeys(name for found in judged.values() for name in found.metrics.values))
    table = [["", *(f"{part_name(part)} ({found.metrics.rows:,} rows)" for part, found in judged.items())]]
    for name in names:
        cells = (interval_text(found.metrics.values.get(name), found.intervals.get(name)) for found in judged.values())
        table.append([name, *cells])
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
