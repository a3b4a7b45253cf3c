"""Draw the README's picture: one of the demo's test rows, from its baseline to its prediction.

python docs/waterfall.py [MODEL] [OUT.svg]     MODEL: models/housing by default
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from eigenserve.model import load_model

ROOT = Path(__file__).parent.parent
PLACE = 1  # the second of the test rows
WIDTH, LEFT, RIGHT, ROW = 760, 250, 30, 30
UP, DOWN, TOTAL, INK, FAINT = "#2f6f9f", "#c8553d", "#555555", "#222222", "#bbbbbb"


def draw(model_path: str, out: Path) -> None:
    """Write the waterfall of that row as an SVG file."""
    with (ROOT / "examples/data/california_housing_test.csv").open() as file:
        house = list(csv.DictReader(file))[PLACE]
    row = {name: float(value) for name, value in house.items() if name != "median_house_value"}
    found = load_model(model_path).explain([row])
    baseline, score = float(found.baseline[0]), float(found.score[0])
    steps = sorted(zip(found.terms, found.contributions[0].tolist(), strict=True), key=lambda s: -abs(s[1]))
    bars = [("baseline", 0.0, baseline)]
    for term, contribution in steps:
        bars.append((label(term, row), bars[-1][2], bars[-1][2] + contribution))
    bars.append(("prediction", 0.0, score))
    low = min(end for _, _, end in bars) - 20_000
    high = max(end for _, _, end in bars) + 20_000

    def x(dollars: float) -> float:
        return LEFT + (max(dollars, low) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    height = ROW * len(bars) + 20
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="13"><rect width="{WIDTH}" height="{height}" fill="white"/>'
    ]
    for place, (name, start, end) in enumerate(bars):
        y = 10 + ROW * place
        whole = name in ("baseline", "prediction")
        colour = TOTAL if whole else UP if end >= start else DOWN
        text = f"${end:,.0f}" if whole else f"{end - start:+,.0f}"
        first, last = sorted((x(start), x(end)))
        outside = last + 80 > WIDTH  # no room to the right of the bar
        lines += [
            f'<text x="{LEFT - 10}" y="{y + 19}" text-anchor="end" fill="{INK}">{escape(name)}</text>',
            f'<rect x="{first:.1f}" y="{y + 5}" width="{max(last - first, 1):.1f}" height="{ROW - 10}" '
            f'fill="{colour}"/>',
            f'<text x="{first - 6 if outside else last + 6:.1f}" y="{y + 19}" fill="{colour}" '
            f'text-anchor="{"end" if outside else "start"}">{text}</text>',
        ]
        if place + 1 < len(bars):
            lines.append(
                f'<line x1="{x(end):.1f}" x2="{x(end):.1f}" y1="{y + 5}" y2="{y + ROW + 5}" stroke="{FAINT}"/>'
            )
    out.write_text("\n".join([*lines, "</svg>", ""]))


def label(term: str, row: dict[str, float]) -> str:
    """A feature with its value; a pair by its name."""
    return f"{term} = {row[term]:,g}" if term in row else term


if __name__ == "__main__":
    argv = sys.argv[1:]
    draw(argv[0] if argv else "models/housing", Path(argv[1]) if len(argv) > 1 else ROOT / "docs/images/waterfall.svg")
