"""Reasons against hand-worked examples: which, in which order and words, and what is never cited."""

import numpy as np
import pytest
from tests.support.twin import random_model, random_rows

from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

#: score = -1 - 2 income + 3 use + 1 late + 0.01 age + 0.5 use late, all standardised.
SLOPES = {"income": -2.0, "use": 3.0, "late": 1.0, "age": 0.01}


def lender(card=None, task="binary", step=0.0):
    """Matrices of size 1: a linear model with one pair, whose contributions can be written down."""
    features = FeatureSpace(tuple(Feature(name, "numeric", 0.0, low=-5.0, high=5.0, step=step) for name in SLOPES))
    curves = [Curve(i, (i,), (1.0,), knots=(0.0, 1.0), extend=True) for i in range(4)]
    # u = use + late and use - late, squared at knots: 0.125 ((use + late)^2 - (use - late)^2) = 0.5 use late.
    knots = tuple(np.arange(-4.0, 5.0))
    curves += [Curve(4, (1, 2), (1.0, sign), knots=knots) for sign in (1.0, -1.0)]
    table = [value for slope in SLOPES.values() for value in (0.0, slope)]
    table += [sign * 0.125 * u**2 for sign in (1.0, -1.0) for u in knots]
    terms = (*(Term(name, (i,)) for i, name in enumerate(SLOPES)), Term("use & late", (1, 2)))
    pencil = TridiagonalPencil(
        terms,
        CurveSet(tuple(curves)),
        *(np.array([[-1.0]]), np.empty((1, 0)), np.reshape(table, (-1, 1, 1)), np.empty((len(table), 1, 0))),
    )
    ensemble = SpectralEnsemble(pencil, 0, np.ones(1), np.zeros(1))
    classes = ("no", "yes") if task == "binary" else ()
    return SpectralModel(task, "default", features, ensemble, classes, card or {})


ROW = {"income": -1.0, "use": 1.0, "late": 2.0, "age": 1.0}


def test_a_hand_worked_applicant():
    # Score: -1 + 2 + 3 + 2 + 0.01 + 1 = 7.01; the cutoff of a probability of 0.2 is a score of log(0.25) = -1.386.
    (found,) = lender().reasons([ROW], cutoff=0.2)
    assert found.adverse
    assert found.distance == pytest.approx(7.01 - np.log(0.25))
    named = [(reason.name, reason.contribution) for reason in found.reasons]
    # The pair's 1 goes in halves to use and late; age is a trifle, though adverse.
    assert [name for name, _ in named] == ["use", "late", "income"]
    np.testing.assert_allclose([value for _, value in named], [3.5, 2.5, 2.0], rtol=1e-9)
    np.testing.assert_allclose([r.share for r in found.reasons], np.array([3.5, 2.5, 2.0]) / found.distance)
    assert [reason.text for reason in found.reasons] == ["use", "late", "income"]
    assert found.reasons[0].value == 1.0
    assert all(reason.rank_holds == 1.0 for reason in found.reasons)


def test_a_row_on_the_right_side_has_no_reasons_and_the_other_side_may_be_the_wrong_one():
    good = {"income": 2.0, "use": -1.0, "late": 0.0, "age": 0.0}
    (found,) = lender().reasons([good], cutoff=0.2)
    assert (found.adverse, found.reasons, found.change) == (False, (), None)
    (found,) = lender().reasons([good], cutoff=0.2, adverse="below")
    assert [reason.name for reason in found.reasons] == ["income", "use"]
    assert all(reason.contribution < 0.0 for reason in found.reasons)


def test_the_smallest_change_reverses_the_decision():
    model = lender()
    row = {"income": 0.0, "use": 0.5, "late": 0.0, "age": 0.0}
    (found,) = model.reasons([row], cutoff=0.3)
    changed = {**row, **{name: after for name, (_, after) in found.change.changes.items()}}
    assert model.predict_proba([changed])[0, 1] <= 0.3


def test_words_are_the_lenders_and_what_is_never_cited_is_counted_only():
    words = {
        "never": ["use"],
        "text": {
            "late": [{"below": 1, "text": "paid late"}, {"text": "paid late {value} times"}],
            "income": {"high": "income", "low": "income too low"},
        },
    }
    (found,) = lender().reasons([ROW], cutoff=0.2, n=2, wording=words)
    assert [reason.text for reason in found.reasons] == ["paid late 2 times", "income too low"]
    assert found.withheld == 1
    (kept,) = lender({"reasons": words}).reasons([ROW], cutoff=0.2, n=2)
    assert kept.reasons == found.reasons


def test_a_group_is_one_reason():
    model = lender({"groups": {"conduct": ["use", "late"]}})
    (found,) = model.reasons([ROW], cutoff=0.2)
    assert [reason.name for reason in found.reasons] == ["conduct", "income"]
    assert found.reasons[0].contribution == pytest.approx(6.0)
    assert found.reasons[0].value == {"use": 1.0, "late": 2.0}


def test_ties_are_marked_and_ordered_by_column():
    (found,) = lender().reasons([{"income": -1.5, "use": 1.0, "late": 0.0, "age": 0.0}], cutoff=0.2)
    assert [(reason.name, reason.tied) for reason in found.reasons] == [("income", True), ("use", False)]


def test_ties_are_ordered_by_column_though_the_first_is_smaller_and_marked_where_the_next_is_left_out():
    row = {"income": -1.5, "use": 1.00001, "late": 0.0, "age": 0.0}
    (found,) = lender().reasons([row], cutoff=0.2)
    assert [(reason.name, reason.tied) for reason in found.reasons] == [("income", True), ("use", False)]
    assert found.reasons[0].contribution < found.reasons[1].contribution
    (one,) = lender().reasons([row], cutoff=0.2, n=1)
    assert [(reason.name, reason.tied) for reason in one.reasons] == [("income", True)]


@pytest.mark.parametrize("adverse", ["above", "below"])
@pytest.mark.parametrize("task", ["regression", "binary", "poisson"])
def test_a_row_at_the_cutoff_is_adverse_and_has_no_distance(task, adverse):
    model, changed = random_model(task, seed=2), 0
    for row in random_rows(20, seed=2):
        (at,) = model.predict_proba([row])[:, 1] if model.classes else model.predict([row])
        (found,) = model.reasons([row], float(at), adverse=adverse)
        assert (found.adverse, found.prediction, found.distance) == (True, at, 0.0)
        assert all(reason.share is None for reason in found.reasons)
        if found.change is not None:
            after = {**row, **{name: to for name, (_, to) in found.change.changes.items()}}
            assert not model.reasons([after], float(at), adverse=adverse)[0].adverse
            changed += 1
    assert changed >= 10


def test_a_change_that_lands_on_the_cutoff_is_not_enough():
    row = {"income": 0.0, "use": 1.0, "late": 2.0, "age": 0.0}
    model = lender(task="regression", step=1.0)
    (found,) = model.reasons([row], cutoff=4.0)
    assert found.adverse
    assert model.predict([{**row, "income": 1.0}])[0] == found.prediction - 2.0
    after = {**row, **{name: to for name, (_, to) in found.change.changes.items()}}
    assert model.predict([after])[0] < 4.0
    (at,) = model.reasons([after], cutoff=float(model.predict([after])[0]))
    assert at.adverse


def test_reasons_of_a_row_do_not_depend_on_the_rows_with_it():
    model, rows = random_model("binary", seed=3), random_rows(12, seed=3)
    together = model.reasons(rows, 0.2)
    alone = [model.reasons([row], 0.2)[0] for row in rows]
    assert [found.reasons for found in together] == [found.reasons for found in alone]
    assert any(0.0 < reason.rank_holds < 1.0 for found in together for reason in found.reasons)


def test_against_another_population_other_reasons_count():
    population = [{**ROW, "use": 3.0}]
    (found,) = lender().reasons([ROW], cutoff=0.2, reference=population)
    assert "use" not in [reason.name for reason in found.reasons]


def test_reasons_add_up_to_the_distance_from_the_reference_in_models_with_eigenvalues():
    model, rows = random_model("binary", seed=1), random_rows(20, seed=1)
    for found, row in zip(model.reasons(rows, 0.4, n=5), rows, strict=True):
        explained = model.explain([row])
        if found.adverse:
            adverse = sum(reason.contribution for reason in found.reasons)
            assert adverse >= explained.contributions.sum() - 1e-9 - 0.02 * 5 * abs(adverse)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cutoff": 1.5}, "cutoff must be above 0 and below 1"),
        ({"cutoff": 0.5, "n": 0}, "n must be a whole number of at least 1; got 0"),
        ({"cutoff": 0.5, "adverse": "left"}, 'adverse must be "above" or "below"'),
    ],
)
def test_questions_without_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        lender().reasons([ROW], **options)
    with pytest.raises(ValueError, match="one output"):
        random_model("multiclass").reasons(random_rows(1), 0.5)
