"""Plot explanations with matplotlib: a waterfall of contributions, and response curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigenserve.model.explanations.tables import needed

#: Up, down and neither, apart for eyes that distinguish red and green poorly, too.
UP, DOWN, NEUTRAL = "#2f6f9f", "#c8553d", "#777777"
#: Terms of a waterfall; the smaller ones are added up.
MOST_TERMS = 12
_CURVE_COLUMNS = 3


def draw_waterfall(
    terms: Sequence[str], values: Sequence[str], contributions: Sequence[float], baseline: float, score: float, ax: Any
) -> Any:
    """Draw contributions from the baseline to the score, the largest first.

    Args:
        terms: names.
        values: of the terms in the row, as a reader would write them.
        contributions: of the terms.
        baseline: where the waterfall starts.
        score: where it ends.
        ax: matplotlib axes to draw on; None for new ones.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
    """
    pyplot = needed("matplotlib.pyplot", "plot()", "matplotlib")
    order = sorted(range(len(terms)), key=lambda t: -abs(contributions[t]))
    shown = order if len(order) <= MOST_TERMS else order[: MOST_TERMS - 1]
    bars = [(f"{terms[t]} = {values[t]}", contributions[t]) for t in shown]
    if len(shown) < len(order):
        rest = order[len(shown) :]
        bars.append((f"{len(rest)} other terms", sum(contributions[t] for t in rest)))
    if ax is None:
        ax = pyplot.subplots(figsize=(8.0, 0.4 * len(bars) + 1.5), layout="constrained")[1]
    places = np.arange(len(bars))
    steps = np.array([step for _, step in bars])
    ends = baseline + np.cumsum(steps)
    ax.barh(places, steps, left=ends - steps, color=np.where(steps >= 0.0, UP, DOWN), height=0.7)
    for k in range(len(bars) - 1):
        ax.plot([ends[k], ends[k]], [k - 0.35, k + 1.35], color=NEUTRAL, linewidth=0.8)
    for k, step in enumerate(steps):
        right = step >= 0.0
        text = f"{step:+,.0f}" if abs(step) >= 1e4 else f"{step:+.4g}"
        side = {"xytext": (4 if right else -4, 0), "ha": "left" if right else "right"}
        ax.annotate(text, (ends[k], k), textcoords="offset points", va="center", fontsize="small", **side)
    ax.axvline(baseline, color=NEUTRAL, linestyle=":", linewidth=1.0)
    ax.axvline(score, color=NEUTRAL, linewidth=1.0)
    ax.set_yticks(places, [label for label, _ in bars])
    ax.invert_yaxis()
    ax.use_sticky_edges = False
    ax.margins(x=0.2)
    ax.set_xlabel(f"score: from the baseline {baseline:.6g} to {score:.6g}")
    return ax


def draw_curves(curves: Mapping[str, Any], here: Mapping[str, Any], prediction: float) -> Any:
    """Draw the prediction's response to every feature, with the row's own value, kinks and crossings.

    Args:
        curves: feature -> its ``ResponseCurve``.
        here: the row's own values, None for missing ones.
        prediction: of the row itself.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
    """
    pyplot = needed("matplotlib.pyplot", "plot()", "matplotlib")
    columns = min(_CURVE_COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(3.6 * columns, 2.6 * rows), sharey=True, squeeze=False, layout="constrained"
    )
    for ax in grid.flat[len(curves) :]:
        ax.set_visible(False)
    for ax, (name, curve) in zip(grid.flat, curves.items(), strict=False):
        ax.set_title(name, fontsize="medium")
        own = here[name]
        if curve.values.dtype == np.float64:
            ax.plot(curve.values, curve.predictions, color=UP)
            ax.plot(curve.kinks, np.interp(curve.kinks, curve.values, curve.predictions), "|", color=NEUTRAL)
            at = [crossing.value for crossing in curve.crossings]
            ax.plot(at, np.interp(at, curve.values, curve.predictions), "x", color=DOWN)
        else:
            labels = [str(value) for value in curve.values]
            ax.bar(labels, curve.predictions, color=[UP if value == own else NEUTRAL for value in curve.values])
            ax.tick_params(axis="x", labelrotation=45)
        if curve.missing is not None:
            ax.axhline(curve.missing[1], color=NEUTRAL, linestyle=":")
        if own is not None and curve.values.dtype == np.float64:
            ax.plot([own], [prediction], "o", color=DOWN)
    return figure
