"""Groups of features: one number each, in every method, and sums that stay exact."""

import numpy as np
import pytest
from tests.support.twin import random_model, random_rows

from eigenserve.model.explanations.explain import METHODS, OF_BASELINE


@pytest.mark.parametrize("task", ["regression", "multiclass"])
@pytest.mark.parametrize("method", METHODS)
def test_a_group_is_the_sum_of_its_terms_in_every_method(task, method):
    model, rows = random_model(task, seed=1), random_rows(10, seed=2)
    whole, found = model.explain(rows, method), model.explain(rows, method, groups={"size": ["width", "price"]})
    by_term = method not in OF_BASELINE
    inner = ("width", "price", "width & price") if by_term else ("width", "price")
    expected = sum(whole.contributions[:, whole.terms.index(term)] for term in inner)
    np.testing.assert_allclose(found.contributions[:, found.terms.index("size")], expected, rtol=1e-12, atol=1e-12)
    assert set(found.terms) == {"size", *whole.terms} - set(inner)
    # A pair of a group's feature and another one is shown.
    assert ("width & town" in found.terms) == by_term
    total = found.baseline + found.contributions.sum(axis=1)
    np.testing.assert_allclose(total, found.score, rtol=1e-9)


def test_a_group_shows_the_values_of_its_features_in_a_frame_and_a_plot():
    pytest.importorskip("matplotlib").use("agg")
    found = random_model().explain([{"width": 1.5, "price": 20}], groups={"size": ["width", "price"]})
    assert "size" in found.to_frame().columns
    labels = [label.get_text() for label in found.plot().get_yticklabels()]
    assert any(label.startswith("size = 1.5, 20") for label in labels)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"width": ["price"]}, "must not be called like a feature; got 'width'"),
        ({"a & b": ["price"]}, 'must not hold " & "'),
        ({"size": ["weight"]}, "no feature 'weight'; the features are"),
        ({"size": "price"}, "must be a list of features"),
        ({"size": []}, "must have at least one feature"),
        ({"size": ["price"], "cost": ["price"]}, "must be in one group; got 'size' and 'cost'"),
    ],
)
def test_groups_that_make_no_sense_are_refused(groups, words):
    with pytest.raises(ValueError, match=words):
        random_model().explain([{}], groups=groups)
