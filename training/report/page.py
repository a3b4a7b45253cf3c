"""Build a self-contained HTML page with figures: plotly.js inside, without a request to any host."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from plotly.offline import get_plotlyjs

from eigenserve.model.monitoring.pages.blocks import STYLE
from eigenserve.training.report.charts import Figure

#: Digits of a figure's numbers: more are below a pixel, and the file grows with them.
DIGITS = 5

#: The browser itself is forbidden to contact any host.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

#: A figure is drawn when it comes near the screen: forty at once would stall a phone.
SCRIPT = """
const draw = (element) => {
  const { data, layout } = JSON.parse(element.nextElementSibling.textContent);
  Plotly.newPlot(element, data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
};
const seen = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((e) => {
  seen.unobserve(e.target);
  draw(e.target);
}), { rootMargin: "400px" });
const figures = document.querySelectorAll(".figure");
figures.forEach((element) => seen.observe(element));
addEventListener("beforeprint", () => figures.forEach(draw));
"""


def page(title: str, sections: Sequence[str]) -> str:
    """Build the page of these sections, which are HTML."""
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            *sections,
            "<noscript><p>The figures need JavaScript.</p></noscript>",
            f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>\n",
        ]
    )


def figure_html(identity: str, figure: Figure) -> str:
    """Write a place for a figure, and the figure as JSON next to it."""
    text = json.dumps(_plain(figure), separators=(",", ":"), allow_nan=False)
    height = figure["layout"]["height"]
    # Within a script element only "<" could end the element early.
    data = text.replace("<", "\\u003c")
    return (
        f'<div class="figure" id="{identity}" style="height:{height}px"></div>'
        f'<script type="application/json">{data}</script>'
    )


def _plain(value: Any) -> Any:
    """Turn arrays and numbers into JSON's: rounded, null for NaN and infinity; texts without markup."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    # plotly.js reads texts as HTML of a kind, and a column's name is none.
    return escape(value, quote=False) if isinstance(value, str) else value
