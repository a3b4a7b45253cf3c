"""Write a model's card: what its checkpoint proves about itself, in the order that rules for model risk ask for.

The order is that of supervisory guidance on model risk (SR 11-7: purpose, data, method, outcomes, limits, monitoring,
governance), in which Annex IV of the EU's AI Act also finds its headings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any, NamedTuple

from eigenserve.model.monitoring import ChannelDrift, Sketch
from eigenserve.model.monitoring.accuracy import Accuracy
from eigenserve.model.monitoring.pages.blocks import Block, Heading, Items, Table, Text
from eigenserve.model.monitoring.pages.figures import figure_text
from eigenserve.model.rows.cells import iso_time
from eigenserve.model.rows.feature import Feature
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.evaluation.wording import interval_text, part_name

#: What a table does not list in full.
SHOWN_ROWS, SHOWN_CATEGORIES = 40, 8
#: Longest text of a licence that is its name and not all of it.
LICENCE_NAME = 40
NOT_RECORDED = "Not recorded in the checkpoint."


class Checked(NamedTuple):
    """Hold what was measured on a table for the card.

    Attributes:
        source: what the table is called.
        rows: how many it has.
        drift: every channel compared with training; None where the checkpoint keeps no sketch.
        metrics: by group of rows, "all rows" first; empty where the target is not known.
        note: that the model was trained on these rows; empty where it was not.
    """

    source: str
    rows: int
    drift: Sequence[ChannelDrift] | None
    metrics: Mapping[str, Mapping[str, Accuracy]]
    note: str


def card_blocks(
    model: SpectralModel,
    sketch: Sketch | None,
    digest: str,
    checked: Checked | None,
    served: Mapping[str, Any] | None,
) -> list[Block]:
    """Return the card.

    Args:
        model: with its checkpoint's card.
        sketch: of its training rows.
        digest: sha256 of its ``model.json``, which holds that of the weights.
        checked: what was measured on a table.
        served: a running service's answer to /models/NAME/drift.
    """
    card = model.card
    blocks: list[Block] = [Heading(f"Model card: {card.get('name', 'model')}, version {card.get('version', '?')}", 1)]
    for title, section in (
        ("1. Identity and purpose", _identity(model, digest)),
        ("2. Data", _data(model, sketch)),
        ("3. Method", _method(model)),
        ("4. Performance", _performance(model, checked)),
        ("5. Guarantees", _guarantees(model)),
        ("6. Explanations", _explanations(model)),
        ("7. Limits", _limits(model)),
        ("8. Monitoring", _monitoring(sketch, checked, served)),
        ("9. Versions and licences", _versions(model)),
    ):
        blocks += [Heading(title), *section]
    return blocks


def _identity(model: SpectralModel, digest: str) -> list[Block]:
    kind = f"{model.task}, classes {', '.join(map(str, model.classes))}" if model.classes else model.task
    purpose = str(model.card.get("purpose") or f"{NOT_RECORDED} Its owner has to state intended use and who decides.")
    rows = [["Predicts", model.target], ["Task", f"{kind}; link {model.link}"], ["sha256 of model.json", digest]]
    return [Table(["", ""], [*rows, ["Intended use", purpose]])]


def _data(model: SpectralModel, sketch: Sketch | None) -> list[Block]:
    data, training = model.card.get("data") or {}, model.card.get("training") or {}
    missing = {}
    if sketch is not None:
        missing = {c.name: f"{100 * c.counts[-1] / max(1, sum(c.counts)):.3g}%" for c in sketch.of("feature")}
    features = [feature for feature in model.features.features if not feature.cycle]
    rows = [[f.name, f.kind, _range(f), missing.get(f.name, "not recorded")] for f in features[:SHOWN_ROWS]]
    described = [
        f"Training rows: {figure_text(training.get('rows') or data.get('rows'))}"
        + (f", of a table of {data['rows_in_file']:,}" if data.get("rows_in_file") else ""),
        f"sha256 of the table: {data['sha256']}" if data.get("sha256") else f"Fingerprint: {NOT_RECORDED}",
    ]
    more = [Text(f"{len(features) - SHOWN_ROWS} more features.")] if len(features) > SHOWN_ROWS else []
    return [Items(described), Table(["Feature", "Kind", "In training", "Missing"], rows), *more]


def _method(model: SpectralModel) -> list[Block]:
    ensemble, settings = model.ensemble, (model.card.get("training") or {}).get("settings") or {}
    pairs = [term.name for term in ensemble.pencil.terms if len(term.features) > 1]
    lines = [
        f"Mean of {len(ensemble.member_weights)} spectral neurons: the prediction is an eigenvalue (number "
        f"{ensemble.eig_idx} in ascending order, from zero) of a symmetric tridiagonal matrix of size "
        f"{ensemble.pencil.dim}, to which each term adds a matrix that depends on one feature or on a pair.",
        f"Terms: {len(ensemble.pencil.terms)}; pairs: {', '.join(pairs[:SHOWN_ROWS]) or 'none'}.",
    ]
    given = [[name, str(value)] for name, value in settings.items() if value not in (None, (), [], False)]
    return [Items(lines), *([Table(["Setting of the fit", ""], given)] if given else [])]


def _performance(model: SpectralModel, checked: Checked | None) -> list[Block]:
    metrics, intervals = model.card.get("metrics") or {}, model.card.get("confidence_95") or {}
    blocks: list[Block] = []
    for part, values in metrics.items():
        rows = [
            [name, interval_text(value, intervals.get(part, {}).get(name))]
            for name, value in values.items()
            if name != "rows"
        ]
        title = f"Metric, {part_name(part)} ({figure_text(values.get('rows'))} rows)"
        blocks.append(Table([title, "Value [95% interval]"], rows))
    if not blocks:
        blocks.append(Text(NOT_RECORDED))
    if checked is not None and checked.metrics:
        names = list(next(iter(checked.metrics.values())))
        rows = [[group, *(_with_error(found.get(name)) for name in names)] for group, found in checked.metrics.items()]
        blocks += [Text(f"On {checked.source}, with standard errors:"), Table(["Rows", *names], rows)]
        blocks += [Text(f"Note: {checked.note}.")] if checked.note else []
    if checked is None or len(checked.metrics) < 2:
        blocks.append(Text("Groups of people or cases: not measured; give DATA and --by COLUMN."))
    if radii := model.card.get("intervals"):
        followed = ", on average: wider where errors are" if "interval_scale" in model.card else ""
        rows = [[f"{100 * float(level):g}%", f"± {figure_text(radius)}{followed}"] for level, radius in radii.items()]
        blocks.append(Table(["Prediction interval (split-conformal)", "Prediction"], rows))
    return blocks


def _guarantees(model: SpectralModel) -> list[Block]:
    proved = model.certificates()
    lines = [f"The score never falls as {name} rises." for name, sign in proved.monotone.items() if sign == "+"]
    lines += [f"The score never rises as {name} rises." for name, sign in proved.monotone.items() if sign == "-"]
    lines += [f"The score is {shape} in {name}." for name, shape in proved.curved.items()]
    strengths = sorted(model.strengths().items(), key=lambda item: -item[1])[:SHOWN_ROWS]
    return [
        Items(lines or ["No monotone, convex or concave feature is proved."]),
        Text("Proved, not sampled: no change of one unit, or between categories, moves the score further than this."),
        Table(["Feature", "At most"], [[name, figure_text(value)] for name, value in strengths]),
    ]


def _explanations(model: SpectralModel) -> list[Block]:
    lines = [
        "Every score is a baseline plus the contributions of terms, exactly (within 1e-9).",
        f"Populations to compare with: {', '.join(model.references)}.",
        f"Groups explained as one: {', '.join(model.groups) or 'none'}.",
        f"Wording of reasons for adverse decisions: {'kept' if model.card.get('reasons') else 'not kept'}.",
    ]
    return [Items(lines)]


def _limits(model: SpectralModel) -> list[Block]:
    treated = [feature.name for feature in model.features.features if feature.missing]
    lines = [
        f"Rows are refused (strict) for: {', '.join(sorted(model.strict)) or 'nothing'}; all else is answered with "
        "warnings: missing where training had none, unseen category, beyond the training range, unstable explanation.",
        f"A missing value has a separate effect for: {', '.join(treated) or 'no feature'}; elsewhere it counts as "
        "typical, and a missing category as unknown.",
        "Intervals and metrics hold for rows like those trained on. Contributions describe the model, not causes.",
    ]
    return [Items(lines)]


def _monitoring(sketch: Sketch | None, checked: Checked | None, served: Mapping[str, Any] | None) -> list[Block]:
    if sketch is None:
        return [Text("The checkpoint keeps no sketch of its training rows: drift cannot be measured. Fit it again.")]
    blocks: list[Block] = [
        Text(f"A sketch of {sketch.rows:,} training rows is kept, for {len(sketch.channels)} features, scores and "
             "contributions, with which tables and servers are compared.")
    ]  # fmt: skip
    if checked is not None and checked.drift is not None:
        alarms = [[d.kind, d.name, "; ".join(d.reasons)] for d in checked.drift if d.alarm]
        blocks.append(Text(f"{checked.source}, {checked.rows:,} rows: {len(alarms)} of {len(checked.drift)} differ."))
        blocks += [Table(["", "Name", "How it differs"], alarms)] if alarms else []
    for name, window in (served or {}).get("windows", {}).items():
        alarms = [[c["kind"], c["name"], "; ".join(c["reasons"])] for c in window["channels"] if c["alarm"]]
        blocks.append(Text(f"Service, window {name!r}, {window['rows']:,} rows: {len(alarms)} differ."))
        blocks += [Table(["", "Name", "How it differs"], alarms)] if alarms else []
    if served is not None and served["outcomes"]["rows"]:
        rows = [[name, figure_text(m["value"])] for name, m in served["outcomes"]["metrics"].items()]
        blocks.append(Table([f"Service, {served['outcomes']['rows']:,} rows with outcomes", ""], rows))
    if checked is None and served is None:
        blocks.append(Text("Drift so far: not measured; give DATA or --url."))
    return blocks


def _versions(model: SpectralModel) -> list[Block]:
    rows = [[name, str(release), _licence(name)] for name, release in (model.card.get("libraries") or {}).items()]
    return [Table(["Trained with", "Release", "Licence (as installed here)"], rows)]


def _range(feature: Feature) -> str:
    if feature.kind == "categorical":
        shown = ", ".join(feature.categories[:SHOWN_CATEGORIES])
        more = len(feature.categories) - SHOWN_CATEGORIES
        return f"{shown} and {more} more" if more > 0 else shown
    if feature.kind == "boolean":
        return "true, false"
    ends = (feature.low, feature.high)
    return " to ".join(iso_time(end) if feature.kind == "datetime" else figure_text(end) for end in ends)


def _with_error(metric: Accuracy | None) -> str:
    if metric is None:
        return "-"
    error = "" if metric.standard_error is None else f" ± {figure_text(metric.standard_error)}"
    return figure_text(metric.value) + error


def _licence(name: str) -> str:
    if name == "python":
        return "PSF-2.0"
    try:
        described = metadata(name)
    except PackageNotFoundError:
        return "not installed here"
    for key in ("License-Expression", "License"):
        text = str(described[key] or "").strip() if key in described else ""
        if text and len(text) <= LICENCE_NAME:
            return text
    classes = [entry for entry in described.get_all("Classifier") or () if entry.startswith("License ::")]
    return classes[0].rpartition(":: ")[2] if classes else "see the package"
