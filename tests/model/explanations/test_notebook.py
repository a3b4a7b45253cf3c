"""Models and explanations in a notebook: short texts, small tables, nothing that a page would run."""

from dataclasses import replace

import pytest
from tests.support.twin import FEATURES, random_model, random_rows

from eigenserve.model.rows.features import FeatureSpace


@pytest.mark.parametrize("method", ["integrated", "eigenvector", "shapley"])
def test_a_model_and_its_explanations_write_themselves_in_a_line(method):
    model = random_model(seed=1)
    assert len(repr(model)) < 200
    assert "regression of 'goal' from 5 features" in repr(model)
    found = model.explain(random_rows(20, seed=2), method)
    assert len(repr(found)) < 120
    assert method in repr(found)
    page = found._repr_html_()
    assert page.count("<tr>") == 6
    assert f"{found.score[0]:.6g}" in page
    assert len(page) < 4000


def test_html_escapes_names_and_leaves_zeros_out():
    features = (replace(FEATURES.features[0], name="<b>w"), *FEATURES.features[1:])
    model = replace(random_model(seed=1), features=FeatureSpace(features))
    assert "<b>w" not in model._repr_html_()
    assert "&lt;b&gt;w" in model._repr_html_()
    (row,) = random_rows(1, seed=3)
    found = model.explain([{"<b>w" if name == "width" else name: value for name, value in row.items()}])
    silent = replace(found, contributions=found.contributions * 0.0)
    assert "+0" not in silent._repr_html_()


def test_shap_gets_one_base_value_for_all_rows():
    shap = pytest.importorskip("shap")
    model = random_model(seed=2)
    found = model.explain(random_rows(10, seed=4)).to_shap()
    assert isinstance(found, shap.Explanation)
    assert len(set(found.base_values.tolist())) == 1
