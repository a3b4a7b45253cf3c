"""Explanations as pandas' and shap's objects."""

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
from tests.support.twin import FEATURES, TERMS, random_model, random_rows

from eigenserve.model.explanations import plots
from eigenserve.model.explanations.tables import ExplainedRows
from eigenserve.model.rows.features import Feature, FeatureSpace


def test_a_frame_has_a_column_for_each_term_and_its_rows_add_up():
    found = random_model().explain(random_rows(9))
    frame = found.to_frame()
    assert list(frame.columns) == ["score", "baseline", *(term.name for term in TERMS), "gap"]
    inside = frame.drop(columns=["score", "gap"]).sum(axis=1)
    np.testing.assert_allclose(inside, frame["score"], atol=1e-12)


@pytest.mark.parametrize("method", ["eigenvector", "path", "shapley"])
def test_shaps_own_explanation_holds_the_same_numbers_and_its_plots_draw_it(method):
    shap = pytest.importorskip("shap")
    found = random_model().explain(random_rows(9), method=method)
    theirs = found.to_shap()
    assert isinstance(theirs, shap.Explanation)
    assert np.array_equal(theirs.values, found.contributions)
    assert np.array_equal(theirs.base_values, found.baseline)
    assert tuple(theirs.feature_names) == found.terms
    assert theirs[0].shape == (len(found.terms),)


def test_the_rows_are_shown_as_their_writer_would():
    rows = [{"width": 1.0, "price": None, "sold": True, "town": 3, "kind": "zzz"}]
    by_feature = random_model().explain(rows, method="shapley").rows.values()
    assert by_feature[0].tolist()[0] == 1.0
    assert np.isnan(by_feature[0, 1])
    assert by_feature[0].tolist()[2:] == [1.0, "3", "(unseen)"]
    by_term = random_model().explain(rows).rows.values()
    assert by_term[0, 6] == "1.0, 3"
    assert by_term.shape == (1, len(TERMS))


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_frame"), ("shap", "to_shap")])
def test_a_package_that_is_not_there_is_named(monkeypatch, package, method):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"needs {package}, which is not installed: pip install {package}"):
        getattr(random_model().explain([{}]), method)()


@pytest.mark.parametrize("ask", ["explain", "response_curves"])
def test_plots_name_matplotlib_where_it_is_not_there(monkeypatch, ask):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"plot\(\) needs matplotlib, which is not installed: pip install matplotlib"):
        getattr(random_model(), ask)([{}] if ask == "explain" else {}).plot()


@pytest.mark.parametrize("method", ["eigenvector", "shapley"])
@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_a_waterfall_leads_from_the_baseline_to_the_score(method, task):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    found = random_model(task).explain(random_rows(4, seed=3), method=method)
    ax = found.plot(2)
    bars = sorted(ax.patches, key=lambda bar: bar.get_y())
    widths = [bar.get_width() for bar in bars]
    np.testing.assert_allclose(sorted(widths), np.sort(found.contributions[2]))
    np.testing.assert_allclose(np.abs(widths), np.sort(np.abs(found.contributions[2]))[::-1])
    assert abs(bars[0].get_x() - found.baseline[2]) <= 1e-12
    assert abs(bars[-1].get_x() + bars[-1].get_width() - found.score[2]) <= 1e-9
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert {label.split(" = ")[0] for label in labels} == set(found.terms)
    assert found.plot(-1, ax=ax) is ax
    pyplot.close("all")


def test_the_values_of_a_row_are_written_as_a_reader_writes_them():
    space = FeatureSpace(
        (
            Feature("size", "numeric", 1.0),
            Feature("when", "datetime", 0.0),
            Feature("sold", "boolean", True),
            Feature("town", "categorical", "a", categories=("Rome",)),
        )
    )
    columns = np.array([[1.23456789, 19846.0, 1.0, 0.0], [np.nan, 19846.75, 0.0, 1.0]])
    rows = ExplainedRows(space, columns, ((0,), (1,), (2,), (3, 1)))
    assert rows.texts(0) == ["1.23457", "2024-05-03", "true", "Rome, 2024-05-03"]
    assert rows.texts(1) == ["missing", "2024-05-03T18:00:00", "false", "(unseen), 2024-05-03T18:00:00"]


def test_many_terms_are_added_up():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    contributions = np.arange(1.0, 21.0).tolist()
    ax = plots.draw_waterfall([f"t{i}" for i in range(20)], ["1"] * 20, contributions, 5.0, 215.0, None)
    assert len(ax.patches) == plots.MOST_TERMS
    assert ax.get_yticklabels()[-1].get_text() == "9 other terms"
    assert sum(bar.get_width() for bar in ax.patches) == 210.0
    pyplot.close("all")


def test_curves_go_through_the_row():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    rows = [{"width": 1.0, "price": None, "sold": True, "town": "York", "kind": "zzz"}]
    model = random_model("poisson")
    figure = model.response_curves(rows[0]).plot()
    axes = {ax.get_title(): ax for ax in figure.axes if ax.get_visible()}
    assert tuple(axes) == FEATURES.names
    curve = model.response_curves(rows[0])["width"]
    np.testing.assert_array_equal(axes["width"].lines[0].get_ydata(), curve.predictions)
    (dot,) = [line for line in axes["width"].lines if line.get_marker() == "o"]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (1.0, model.predict(rows)[0])
    assert not [line for line in axes["price"].lines if line.get_marker() == "o"]
    assert len(axes["town"].patches) == 4
    figure.canvas.draw()
    pyplot.close("all")


def test_a_plot_of_nothing_is_refused():
    found = random_model().explain([{}])
    with pytest.raises(IndexError):
        found.plot(1)
    with pytest.raises(ValueError, match="keeps its rows"):
        replace(found, rows=None).plot()


def test_an_explanation_can_be_pickled():
    for task in ("regression", "multiclass"):
        found = random_model(task).explain(random_rows(2))
        again = pickle.loads(pickle.dumps(found))
        assert np.array_equal(again.contributions, found.contributions)


def test_feature_names_are_those_of_the_model():
    assert random_model().explain([{}], method="path").terms == FEATURES.names
