"""Write report.html: what a fit found, on one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import count
from typing import Any

from eigenserve.model.arrays import FloatArray
from eigenserve.model.monitoring.pages.blocks import table_html
from eigenserve.model.monitoring.pages.figures import figure_text
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.evaluation.decisions import cutoff_table, kolmogorov_smirnov, lift
from eigenserve.training.evaluation.evaluate import Evaluation
from eigenserve.training.evaluation.wording import interval_text, part_name
from eigenserve.training.fit import Fitted
from eigenserve.training.report.charts import (
    Figure,
    calibration_chart,
    effect_chart,
    importance_chart,
    residual_charts,
    roc_chart,
    search_chart,
)
from eigenserve.training.report.effects import MAX_CLASSES, Effects, measure_effects
from eigenserve.training.report.page import figure_html, page

#: What a contribution is measured in.
UNITS = {
    "regression": "in units of the target",
    "binary": "in log-odds of {0!r}",
    "multiclass": "in score of the class, before softmax",
    "poisson": "in the logarithm of the rate",
}


def report_html(model: SpectralModel, fitted: Fitted, judged: dict[str, Evaluation], command: str) -> str:
    """Write the report of a fit. The same fit gives the same text.

    Args:
        model: what was trained, named, with its card complete.
        fitted: how it was trained.
        judged: "out_of_fold", and "test" if there were test rows.
        command: that reproduces it.
    """
    effects = measure_effects(model, fitted.columns)
    ids = (f"figure-{i}" for i in count())

    def draw(figure: Figure) -> str:
        return figure_html(next(ids), figure)

    name, version = model.card.get("name", "model"), model.card.get("version", "")
    sections = [
        f"<h1>{escape(str(name))} <small>version {escape(str(version))}</small></h1>",
        f"<p>{_summary(model, fitted)}</p>",
        "<h2>How good it is</h2>",
        _metrics(judged),
        *_notes(fitted.notes),
        *(part for key, found in judged.items() for part in _diagnosis(model, part_name(key), found, draw)),
        "<h2>Search</h2><p>Every candidate is judged on rows that it has not seen; the best are trained longer, and "
        "the mean of those that go together best is the model.</p>",
        draw(search_chart(fitted.judged)),
        *_effects(model, effects, draw),
        *_promises(model),
        "<h2>Reproduce it</h2>",
        f"<pre>{escape(command)}</pre>",
        _provenance(model),
    ]
    return page(f"{name} {version}", sections)


def _summary(model: SpectralModel, fitted: Fitted) -> str:
    pencil = model.ensemble.pencil
    pairs = sum(len(term.features) == 2 for term in pencil.terms)
    members = len(model.ensemble.member_weights)
    classes = f" of {len(model.classes)} classes" if model.classes else ""
    rows = model.card["training"]["rows"]
    return escape(
        f"A {model.task} model{classes} of {model.target!r}, trained on {rows:,} rows with "
        f"{len(model.features)} features: {len(pencil.terms) - pairs} terms of one feature and {pairs} of a pair, "
        f"in the mean of {members} spectral neuron{'s' * (members != 1)} of size {pencil.dim}."
    )


def _metrics(judged: dict[str, Evaluation]) -> str:
    names = list(dict.fromkeys(name for found in judged.values() for name in found.metrics.values))
    header = ["", *(f"{part_name(key)} ({found.metrics.rows:,} rows)" for key, found in judged.items())]
    rows = [
        [name, *(interval_text(found.metrics.values.get(name), found.intervals.get(name)) for found in judged.values())]
        for name in names
    ]
    return table_html(header, rows) + (
        "<p>In brackets the 95% confidence interval over what other rows there might have been (bootstrap). "
        "Out of fold: each training row is judged by members that have not seen it.</p>"
    )


def _notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return ["<h2>About the data</h2><p>Nothing remarkable was found.</p>"]
    return ["<h2>About the data</h2>", f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"]


def _diagnosis(model: SpectralModel, part: str, found: Evaluation, draw: Any) -> list[str]:
    target, heading = found.target, f"<h2>{escape(part.capitalize())} rows</h2>"
    if not model.classes:
        predicted = model.values(found.scores)
        first, second = residual_charts(predicted, target.values, model.target)
        calibration = calibration_chart(
            [predicted], [target.values], ["mean"], found.weight, "mean prediction", f"mean {model.target}"
        )
        return [
            heading,
            "<h3>Residuals</h3>",
            draw(first),
            draw(second),
            "<h3>Calibration</h3><p>Rows in ten equal groups by their prediction.</p>",
            draw(calibration),
        ]
    probabilities = model.probabilities(found.scores)
    shown = [1] if len(model.classes) == 2 else range(min(MAX_CLASSES, len(model.classes)))
    scores = [probabilities[:, c] for c in shown]
    hits = [(target.values == c).astype(float) for c in shown]
    names = [str(model.classes[c]) for c in shown]
    calibration = calibration_chart(scores, hits, names, found.weight, "predicted probability", "share that it was")
    decisions = _decisions(model, scores[0], hits[0], found) if len(model.classes) == 2 else []
    return [
        heading,
        "<h3>ROC curve</h3>",
        draw(roc_chart(scores, hits, names)),
        "<h3>Calibration</h3><p>Rows in ten equal groups by the predicted probability.</p>",
        draw(calibration),
        *decisions,
    ]


def _decisions(model: SpectralModel, probability: FloatArray, hit: FloatArray, found: Evaluation) -> list[str]:
    ks, gain = (measure(probability, hit, found.weight) for measure in (kolmogorov_smirnov, lift))
    rows = [
        [
            f"{each.cutoff:.0%}",
            *(_share(value) for value in (each.flagged, each.precision, each.recall, each.false_alarms)),
        ]
        for each in cutoff_table(probability, hit, found.weight)
    ]
    label = escape(str(model.classes[1]))
    return [
        f"<h3>Decisions</h3><p>KS {_share(ks)}: the largest distance between the classes' distributions. "
        f"Lift {gain:.2f}: among the tenth of the rows with the highest probability, {label} is so many times as "
        "frequent as among all. Below, what flagging rows at a cutoff of the probability "
        f"of {label} does.</p>",
        table_html(["cutoff", "flagged", "of these right", "found of all", "false alarms"], rows),
    ]


def _share(value: float) -> str:
    return f"{value:.1%}" if value == value else "\u2013"


def _effects(model: SpectralModel, effects: Effects, draw: Any) -> list[str]:
    unit = "in the logarithm of the target" if model.log_link else UNITS[model.task].format(*model.classes[1:2])
    parts = [
        "<h2>Importance of terms</h2>",
        f"<p>Mean |contribution| over {effects.rows:,} training rows, {escape(unit)}. Contributions add up to the "
        "score exactly.</p>",
        draw(importance_chart(effects)),
        "<details><summary>All terms</summary>",
        table_html(["term", "mean |contribution|"], [[name, figure_text(v)] for name, v in effects.importance]),
        "</details>",
        "<h2>Effects</h2>",
        "<p>The mean contribution where the feature has a value, and the range of the middle 80% of rows there "
        "(they differ since the eigenvector depends on all features); in grey, how many rows. Of a pair, the mean "
        "contribution.</p>",
    ]
    for effect in effects.drawn:
        left_out = [
            f"{name}: {bins.left_out} rarer categories of {len(bins.labels) + bins.left_out} are left out."
            for name, bins in zip(effect.features, effect.bins, strict=True)
            if bins.left_out
        ]
        note = f"<p>{escape(' '.join(left_out))}</p>" if left_out else ""
        parts += [f"<h3>{escape(effect.term)}</h3>{note}", draw(effect_chart(effect, effects.classes))]
    if hidden := len(effects.importance) - len(effects.drawn):
        parts.append(f"<p>{hidden} less important terms are not drawn.</p>")
    return parts


def _promises(model: SpectralModel) -> list[str]:
    parts = []
    proved = model.card.get("certificates", {})
    words = {"+": "never falls", "-": "never rises"}
    rows = [[name, f"the score {words[direction]}"] for name, direction in proved.get("monotone", {}).items()]
    rows += [[name, f"the score is {shape}"] for name, shape in proved.get("curved", {}).items()]
    rows += [
        [name, f"the score changes by at most {figure_text(most)} per unit, or between categories"]
        for name, most in proved.get("max_strength", {}).items()
    ]
    if rows:
        parts += ["<h2>Certified</h2>", table_html(["along", "proved of the finished model"], rows)]
    radii = model.card.get("intervals", {})
    if radii:
        rows = [
            [f"{float(level):.0%}", f"prediction ± {figure_text(radius)}{_followed(model)}"]
            for level, radius in radii.items()
        ]
        parts += ["<h2>Prediction intervals</h2>", table_html(["holds the target in", "interval"], rows)]
    return parts


def _followed(model: SpectralModel) -> str:
    """Say by what intervals are multiplied where they follow the prediction."""
    scale = model.card.get("interval_scale")
    if scale is None:
        return ""
    low, high = min(scale["width"]), max(scale["width"])
    return f" times {figure_text(low)} to {figure_text(high)}, by the prediction"


def _provenance(model: SpectralModel) -> str:
    data, training = model.card.get("data", {}), model.card.get("training", {})
    rows = [["data", f"{data.get('rows', 0):,} rows, sha256 {data.get('sha256', '')}"]]
    rows += [[name, str(value)] for name, value in training.get("settings", {}).items() if value not in (None, (), [])]
    rows += [[name, str(value)] for name, value in model.card.get("libraries", {}).items()]
    return f"<details><summary>Data, settings and libraries</summary>{table_html(['', ''], rows)}</details>"
