"""Draw the figures of a report, as the plain dictionaries that plotly.js reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.training.report.effects import Effect, Effects
from eigenserve.training.search.judged import Judged

Figure = dict[str, Any]

#: Blue and red that remain apart for the colour-blind (Okabe and Ito, 2008), then the rest of that palette.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#f0e442")
#: Points of a scatter or a curve: more make the file larger, not clearer.
MAX_POINTS = 1_200
#: Groups of equally many rows of a calibration curve.
CALIBRATION_BINS = 10


def figure(data: Sequence[dict[str, Any]], x: str, y: str, **layout: Any) -> Figure:
    """Draw traces with titled axes; ``layout`` goes to plotly's layout."""
    base = {
        "margin": {"l": 64, "r": 16, "t": 16, "b": 56},
        "height": 340,
        "showlegend": sum(1 for trace in data if trace.get("showlegend", True) and trace.get("name")) > 1,
        "legend": {"orientation": "h", "y": 1.12},
        "xaxis": {"title": {"text": x}, "automargin": True, **layout.pop("xaxis", {})},
        "yaxis": {"title": {"text": y}, "automargin": True, **layout.pop("yaxis", {})},
        "plot_bgcolor": "#f7f7f7",
        "dragmode": False,
    }
    return {"data": list(data), "layout": {**base, **layout}}


def line(x: Any, y: Any, name: str = "", colour: str = COLOURS[0], **more: Any) -> dict[str, Any]:
    """Draw a line; ``more`` goes to plotly."""
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": name, "line": {"color": colour}, **more}


def search_chart(judged: Sequence[Judged]) -> Figure:
    """Draw the out-of-fold loss of all that the search tried, by optimiser steps, and the best so far."""
    kinds = {False: ("spectral", COLOURS[0]), True: ("additive", COLOURS[1])}
    traces: list[dict[str, Any]] = []
    for additive, (name, colour) in kinds.items():
        found = [j for j in judged if (j.candidate is None) == additive]
        if found:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    # The additive model takes no steps, and a logarithm no zero.
                    "x": [max(j.steps, 100) for j in found],
                    "y": [j.loss for j in found],
                    "marker": {"color": colour, "size": 8},
                    "text": ["" if j.candidate is None else f"penalties {j.candidate.penalties}" for j in found],
                }
            )
    steps = sorted({max(j.steps, 100) for j in judged})
    best = [min(j.loss for j in judged if max(j.steps, 100) <= s) for s in steps]
    traces.append(line(steps, best, "best so far", COLOURS[6]))
    return figure(traces, "optimiser steps", "out-of-fold loss", xaxis={"type": "log", "tickvals": steps})


def importance_chart(effects: Effects, shown: int = 25) -> Figure:
    """Draw bars of the mean |contribution| of the most important terms."""
    top = effects.importance[:shown][::-1]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [value for _, value in top],
        "y": [name for name, _ in top],
        "marker": {"color": COLOURS[0]},
    }
    height = 90 + 24 * len(top)
    return figure([bars], "mean |contribution|", "", height=height, yaxis={"type": "category"})


def effect_chart(effect: Effect, classes: Sequence[str]) -> Figure:
    """Draw the mean contribution along a feature, with the spread of rows; bars for categories, a map for a pair."""
    if len(effect.features) == 2:
        return _pair_chart(effect)
    bins = effect.bins[0]
    names = classes or ("mean",)
    traces: list[dict[str, Any]] = []
    for c, name in enumerate(names):
        colour = COLOURS[c % len(COLOURS)]
        mean, low, high = effect.mean[c], effect.low[c], effect.high[c]
        if bins.axis == "category":
            error = {"type": "data", "symmetric": False, "array": high - mean, "arrayminus": mean - low}
            traces.append(
                {
                    "type": "bar",
                    "x": bins.labels,
                    "y": mean,
                    "name": name,
                    "error_y": error,
                    "marker": {"color": colour},
                }
            )
            continue
        edge = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        traces += [
            {**line(bins.labels, low), **edge},
            # Alpha 1/4 as hexadecimal digits.
            {**line(bins.labels, high), **edge, "fill": "tonexty", "fillcolor": f"{colour}40"},
            line(bins.labels, mean, name, colour, mode="lines+markers", marker={"size": 4}),
        ]
        if np.isfinite(effect.missing[c]):
            level, ends = [effect.missing[c]] * 2, [bins.labels[0], bins.labels[-1]]
            traces.append({**line(ends, level, f"{name}, missing"), "line": {"color": colour, "dash": "dot"}})
    # Under the curves, on an axis four times as high as the largest: how many rows there are.
    rows: dict[str, Any] = {
        "type": "bar",
        "x": bins.labels,
        "y": effect.rows,
        "yaxis": "y2",
        "marker": {"color": "#bbbbbb"},
    }
    rows |= {"name": "rows", "showlegend": False, "opacity": 0.5}
    most = 4 * int(effect.rows.max(initial=1))
    below = {"overlaying": "y", "side": "right", "range": [0, most], "showgrid": False, "showticklabels": False}
    return figure([*traces, rows], effect.features[0], "contribution", xaxis={"type": bins.axis}, yaxis2=below)


def _pair_chart(effect: Effect) -> Figure:
    # Of several classes the first: a map shows one number per place.
    values = effect.mean[0]
    most = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    heat = {
        "type": "heatmap",
        "x": _ticks(effect, 0),
        "y": _ticks(effect, 1),
        "z": values,
        "zmin": -most,
        "zmax": most,
        "colorscale": [[0.0, COLOURS[0]], [0.5, "#ffffff"], [1.0, COLOURS[1]]],
        "colorbar": {"thickness": 12},
        "hoverongaps": False,
    }
    axes = {"type": "category", "showgrid": False}
    return figure([heat], *effect.features, height=420, xaxis=axes, yaxis=axes)


def _ticks(effect: Effect, axis: int) -> list[str]:
    """Label equally wide cells: parts with equally many rows are of very different widths."""
    return [label if isinstance(label, str) else f"{label:.5g}" for label in effect.bins[axis].labels]


def residual_charts(predicted: FloatArray, target: FloatArray, name: str) -> tuple[Figure, Figure]:
    """Draw residuals against predictions for a sample of rows, and their histogram (N,)."""
    residual = target - predicted
    part = np.sort(np.random.default_rng(0).permutation(len(predicted))[:MAX_POINTS])
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": predicted[part],
        "y": residual[part],
        "marker": {"color": COLOURS[0], "size": 4, "opacity": 0.4},
    }
    # The outermost 1% would squeeze all others into a few bars.
    low, high = np.quantile(residual, [0.005, 0.995])
    counts, edges = np.histogram(residual, bins=40, range=(low, high) if high > low else None)
    bars = {"type": "bar", "x": 0.5 * (edges[1:] + edges[:-1]), "y": counts, "marker": {"color": COLOURS[0]}}
    return (
        figure([points], f"predicted {name}", "target - prediction"),
        figure([bars], "target - prediction", "rows", bargap=0.02),
    )


def calibration_chart(
    predicted: Sequence[FloatArray],
    happened: Sequence[FloatArray],
    names: Sequence[str],
    weight: FloatArray,
    x: str,
    y: str,
) -> Figure:
    """Draw what happened against what was predicted, in groups of equally many rows, with 95% intervals.

    Args:
        predicted: for each curve (N,).
        happened: for each curve (N,): targets, or 0 and 1.
        names: of the curves.
        weight: (N,).
        x, y: titles.
    """
    traces: list[dict[str, Any]] = []
    ends: list[float] = []
    for c, (said, was, name) in enumerate(zip(predicted, happened, names, strict=True)):
        order = np.argsort(said, kind="stable")
        groups = [g for g in np.array_split(order, CALIBRATION_BINS) if len(g)]
        means = np.array([np.average(said[g], weights=weight[g]) for g in groups])
        reached = np.array([np.average(was[g], weights=weight[g]) for g in groups])
        errors = np.array([1.96 * was[g].std() / np.sqrt(len(g)) for g in groups])
        traces.append(
            line(
                means,
                reached,
                name,
                COLOURS[c % len(COLOURS)],
                mode="lines+markers",
                error_y={"type": "data", "array": errors},
            )
        )
        ends += [float(means.min()), float(means.max())]
    span = [min(ends), max(ends)]
    traces.append(line(span, span, "perfect", COLOURS[6], showlegend=False))
    return figure(traces, x, y)


def roc_chart(probabilities: Sequence[FloatArray], positive: Sequence[np.ndarray], names: Sequence[str]) -> Figure:
    """Draw true against false positive rates for each curve: probabilities (N,), whether rows are positive (N,)."""
    traces = []
    for c, (score, is_positive, name) in enumerate(zip(probabilities, positive, names, strict=True)):
        order = np.argsort(-score, kind="stable")
        # A curve has a point where a different score begins: rows of equal score enter together.
        last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
        hits = np.cumsum(is_positive[order])[last]
        alarms = last + 1 - hits
        if hits[-1] == 0 or alarms[-1] == 0:
            continue
        keep = np.unique(np.linspace(0, len(last) - 1, 200).astype(int))
        x = np.append(0.0, alarms[keep] / alarms[-1])
        y = np.append(0.0, hits[keep] / hits[-1])
        traces.append(line(x, y, name, COLOURS[c % len(COLOURS)]))
    traces.append(line([0, 1], [0, 1], "chance", COLOURS[6], showlegend=False))
    return figure(traces, "false positive rate", "true positive rate")
