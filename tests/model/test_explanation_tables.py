"""Explanations as pandas' and shap's objects."""

import sys

import numpy as np
import pytest

from tests.model.twin import FEATURES, TERMS, random_model, random_rows


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
    assert by_feature[0].tolist()[2:] == [1.0, "3", None]
    by_term = random_model().explain(rows).rows.values()
    assert by_term[0, 6] == "1.0, 3"
    assert by_term.shape == (1, len(TERMS))


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_frame"), ("shap", "to_shap")])
def test_a_package_that_is_not_there_is_named(monkeypatch, package, method):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"needs {package}, which is not installed: pip install {package}"):
        getattr(random_model().explain([{}]), method)()


def test_feature_names_are_those_of_the_model():
    assert random_model().explain([{}], method="path").terms == FEATURES.names
