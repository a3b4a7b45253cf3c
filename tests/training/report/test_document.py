"""report.html shows what it should, to the byte the same each time, and asks no host for anything."""

import json
import re
from html import unescape

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from eigenserve.model.explanations.eigenvector import explain_by_eigenvector
from eigenserve.training.data.schema import infer_features
from eigenserve.training.evaluation.evaluate import evaluate, evaluate_scores
from eigenserve.training.fit import fit
from eigenserve.training.report.document import report_html
from eigenserve.training.report.effects import BINS, group_values, measure_effects
from eigenserve.training.settings import make_settings

QUICK = {"members": 1, "dim": 3, "budget": 0.01, "reproducible": True}
#: A name that must not end up as markup.
NASTY = "</script><b>age"
COMMAND = "eigenserve fit 'a & b.csv' --target y"


def rows(task):
    """300 rows of all kinds of features, and a target of the task."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            NASTY: rng.uniform(20, 60, 300),
            "income": np.exp(rng.normal(0, 1.5, 300)),
            "town": rng.choice(["Ulm", "Bonn", "Kiel"], 300),
            "member": rng.random(300) < 0.3,
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1500, 300), "D"),
            "same": 1,
        }
    )
    effect = frame[NASTY] / 20 + (frame["town"] == "Kiel") + rng.normal(0, 0.3, 300)
    frame.loc[::7, "income"] = np.nan
    target = {
        "regression": effect,
        "binary": np.where(effect > 2.3, "high", "low"),
        "multiclass": pd.cut(effect, 3, labels=["low", "middle", "high"]).astype(str),
        "poisson": rng.poisson(np.exp(effect - 2)),
    }[task]
    return frame.assign(y=target)


@pytest.fixture(scope="module", params=["regression", "binary", "multiclass", "poisson"])
def report(request):
    """(task, fitted, page) of a fit with a pair and test rows."""
    task, frame = request.param, rows(request.param)
    options = {"task": task, "pairs": [[NASTY, "town"], [NASTY, "income"]]}
    fitted = fit(frame.head(250), "y", make_settings({**QUICK, **options}))
    return task, fitted, written(fitted, frame)


def written(fitted, frame):
    model = fitted.model
    judged = {
        "out_of_fold": evaluate_scores(model, fitted.scores, fitted.target, fitted.weight),
        "test": evaluate(model, frame.tail(50)),
    }
    return report_html(model, fitted, judged, COMMAND)


def figures(page):
    found = re.findall(r'<script type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    return [json.loads(text) for text in found]


def test_every_figure_is_one_that_plotly_knows(report):
    found = figures(report[2])
    assert len(found) >= 10
    for figure in found:
        go.Figure(figure)  # raises ValueError for an unknown key or a wrong value
    assert all(figure["data"] for figure in found)


def test_every_part_is_there(report):
    task, fitted, page = report
    headings = [unescape(re.sub("<.*?>", "", h)) for h in re.findall(r"<h[23]>(.*?)</h[23]>", page)]
    expected = ["How good it is", "About the data", "Out of fold rows", "Test rows", "Calibration", "Search"]
    expected += ["ROC curve"] if fitted.model.classes else ["Residuals"]
    expected += [
        "Importance of terms",
        "Effects",
        "Reproduce it",
        *(t.name for t in fitted.model.ensemble.pencil.terms),
    ]
    assert set(expected) <= set(headings)
    assert ("Prediction intervals" in headings) == (task == "regression")
    text = unescape(page)
    assert COMMAND in text
    assert "'same' is the same in every row" in text
    assert "[" in re.search(r"<table>(.*?)</table>", page, flags=re.DOTALL).group(1)


def test_the_page_asks_no_host_and_fits_in_six_megabytes(report):
    page = report[2]
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", page)
    # Sizes of attachments that mail servers take begin at 10 MB; half of that leaves room.
    assert len(page.encode()) < 6_000_000


def test_names_cannot_become_markup(report):
    page = report[2]
    assert NASTY not in page
    assert "&lt;/script&gt;&lt;b&gt;age" in page


def test_the_same_fit_gives_the_same_bytes():
    frame = rows("regression")
    first, second = (
        written(fit(frame.head(250), "y", make_settings({**QUICK, "task": "regression", "epochs": 1})), frame)
        for _ in range(2)
    )
    assert first == second


def test_importance_is_the_mean_size_of_contributions(report):
    _, fitted, _ = report
    model, found = fitted.model, measure_effects(fitted.model, fitted.columns)
    labels = model.classes if model.task == "multiclass" else [None]
    sizes = [np.abs(explain_by_eigenvector(model, fitted.columns, k).contributions) for k in labels]
    expected = dict(zip((t.name for t in model.ensemble.pencil.terms), np.mean(sizes, axis=(0, 1)), strict=True))
    assert dict(found.importance) == pytest.approx(expected, rel=1e-12)  # sums in another order
    assert [v for _, v in found.importance] == sorted(expected.values(), reverse=True)


def test_an_effect_is_the_mean_of_its_rows(report):
    _, fitted, _ = report
    model, found = fitted.model, measure_effects(fitted.model, fitted.columns)
    effect = next(e for e in found.drawn if e.term == "town")
    label = model.classes[0] if model.task == "multiclass" else None
    explained = explain_by_eigenvector(model, fitted.columns, label)
    part = explained.contributions[:, explained.terms.index("town")]
    codes = fitted.columns[:, model.features.names.index("town")]
    for b, town in enumerate(effect.bins[0].labels):
        of_town = part[codes == model.features.features[2].categories.index(town)]
        assert effect.mean[0, b] == pytest.approx(of_town.mean(), rel=1e-12)  # sums in another order
        quantiles = [effect.low[0, b], effect.high[0, b]]
        assert quantiles == pytest.approx(np.quantile(of_town, [0.1, 0.9]), rel=1e-12)


def test_groups_have_equally_many_rows_and_keep_missing_ones_out():
    values = np.append(np.random.default_rng(0).normal(size=2400), np.nan)
    feature = infer_features(pd.DataFrame({"x": values})).features[0]
    bins = group_values(feature, values, BINS)
    assert np.bincount(bins.of_row[:-1]).tolist() == [100] * BINS
    assert bins.of_row[-1] == -1
    assert list(bins.labels) == sorted(bins.labels)


def test_dates_are_shown_as_dates(report):
    _, fitted, _ = report
    found = measure_effects(fitted.model, fitted.columns)
    bins = next(e for e in found.drawn if e.term == "since").bins[0]
    assert bins.axis == "date"
    assert all(re.fullmatch(r"202\d-\d\d-\d\dT\d\d:\d\d:\d\d", label) for label in bins.labels)
