"""Scores and predictions are the eigenvalues that LAPACK finds, in every task and every batch."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from scipy.special import expit, softmax
from tests.support.twin import FEATURES, random_model, random_rows, slow_scores

from eigenserve.model import InvalidRowsError
from eigenserve.model.kernels import threads
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import CHUNK_ROWS

TASKS = ("regression", "binary", "multiclass", "poisson")


@pytest.fixture
def any_threads():
    """A way to set the number of threads, which is undone after the test."""
    yield threads.set_num_threads
    threads._threads = None


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("dim", "members"), [(1, 1), (2, 3), (7, 3), (15, 8), (33, 1)])
def test_scores_are_weighted_means_of_dense_eigenvalues(task, dim, members):
    model = random_model(task, dim, members, seed=dim)
    rows = random_rows(30, seed=dim)
    expected = [slow_scores(model, row) for row in rows]
    # 8 eps ||T|| for our solver and LAPACK's, with ||T|| up to about 30.
    np.testing.assert_allclose(model.scores(model.features.encode(rows)), expected, atol=1e-13)


@pytest.mark.parametrize("eig_idx", [0, 3, 6])
def test_any_eigenvalue_may_be_the_score_and_agrees_with_lapack(eig_idx):
    model = random_model(dim=7, members=1, eig_idx=eig_idx)
    ensemble = model.ensemble
    columns = model.features.encode(random_rows(50))
    diag, off_diag = ensemble.pencil.matrices(ensemble.pencil.curves.walk(model.features.coordinates(columns)))
    expected = [
        scipy.linalg.eigh_tridiagonal(d, e, eigvals_only=True)[eig_idx]
        for d, e in zip(diag[:, 0], off_diag[:, 0], strict=True)
    ]
    # 8 eps ||T|| for each solver, with ||T|| up to about 30.
    np.testing.assert_allclose(model.scores(columns)[:, 0] - ensemble.offset, expected, atol=1e-13)


@pytest.mark.parametrize("task", TASKS)
def test_a_row_has_the_same_bits_in_every_batch_and_on_any_number_of_threads(task, any_threads):
    model = random_model(task, dim=9, members=2)
    columns = model.features.encode(random_rows(701))
    alone = np.concatenate([model.scores(columns[j : j + 1]) for j in range(len(columns))])
    counts = [*range(1, 70), 127, 128, 129, 255, 256, 257, 511, 512, 513, 700]
    for count in counts:
        assert np.array_equal(model.scores(columns[:count]), alone[:count]), count
        assert np.array_equal(model.scores(columns[701 - count :]), alone[701 - count :]), count
    for number in (1, 2, 3, 8):
        any_threads(number)
        assert np.array_equal(model.scores(columns), alone), number
    assert len(columns) > 2 * CHUNK_ROWS


@pytest.mark.parametrize("task", TASKS)
def test_an_explanation_has_the_same_bits_in_every_batch_and_on_any_number_of_threads(task, any_threads):
    model = random_model(task, dim=9, members=2)
    rows = random_rows(530)
    whole = model.explain(rows)
    for number in (1, 2, 3):
        any_threads(number)
        for part in (slice(0, 1), slice(5, 38), slice(200, 500), slice(0, 530)):
            found = model.explain(rows[part])
            for name in ("score", "baseline", "contributions", "sensitivities", "gap"):
                expected = getattr(whole, name)[part]
                assert np.array_equal(getattr(found, name), expected, equal_nan=True), (name, part)


def test_predictions_are_the_inverse_link_of_the_scores():
    rows = random_rows(60)
    columns = FEATURES.encode(rows)
    regression = random_model("regression")
    assert np.array_equal(regression.predict(rows), regression.scores(columns)[:, 0])
    counts = random_model("poisson")
    # exp of NumPy and of the C library differ by at most an ulp or two.
    expected = [math.exp(s) for s in counts.scores(columns)[:, 0]]
    np.testing.assert_allclose(counts.predict(rows), expected, rtol=1e-15)
    binary = random_model("binary")
    scores = binary.scores(columns)[:, 0]
    expected = np.array([[1 / (1 + math.exp(s)), 1 / (1 + math.exp(-s))] for s in scores])
    np.testing.assert_allclose(binary.predict_proba(rows), expected, rtol=1e-14)
    assert binary.predict(rows).tolist() == ["yes" if s > 0 else "no" for s in scores]
    several = random_model("multiclass")
    scores = several.scores(columns)
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(several.predict_proba(rows), expected, rtol=1e-13)
    assert several.predict(rows).tolist() == ["xyz"[k] for k in scores.argmax(axis=1)]


def test_a_rare_class_keeps_the_digits_of_its_probability():
    model = random_model("binary")
    high = replace(model, ensemble=replace(model.ensemble, offset=np.array([60.0])))
    no, yes = high.predict_proba(random_rows(1))[0]
    assert 0 < no < 1e-20
    assert yes == 1.0


def test_probabilities_are_those_of_scipy_at_every_size_of_score():
    scores = np.concatenate([np.linspace(-40, 40, 2001), [0.0, -0.0, 709.0, -709.0, 1e308, -1e308, np.nan]])
    binary, several = random_model("binary"), random_model("multiclass")
    expected = np.stack([expit(-scores), expit(scores)], axis=1)
    # Two roundings of ours, two of SciPy's; below the normal numbers digits are lost by both.
    np.testing.assert_allclose(binary.probabilities(scores[:, None]), expected, rtol=1e-15, atol=1e-307)
    wide = np.stack([scores, np.zeros_like(scores), scores[::-1]], axis=1)[1:-8]
    np.testing.assert_allclose(several.probabilities(wide), softmax(wide, axis=1), rtol=1e-15)


def test_intervals_are_as_wide_as_the_card_says():
    rows = random_rows(5)
    for task in ("regression", "poisson"):
        model = replace(random_model(task), card={"intervals": {"0.95": 2.5, "0.9": 1.5}})
        assert model.interval_levels == (0.9, 0.95)
        predicted = model.predict(rows)
        np.testing.assert_array_equal(
            model.predict_interval(rows), np.stack([predicted - 1.5, predicted + 1.5], axis=1)
        )
        assert model.predict_interval(rows[:0], 0.95).shape == (0, 2)
        with pytest.raises(ValueError, match=r"level must be one of 0\.9, 0\.95; got 0\.5"):
            model.predict_interval(rows, 0.5)
    for task in ("regression", "binary"):
        with pytest.raises(ValueError, match="none: no intervals are kept"):
            random_model(task).predict_interval(rows)


def test_a_model_without_classes_has_no_probabilities():
    with pytest.raises(ValueError, match="only classifiers have probabilities; this is a regression model"):
        random_model().predict_proba([])


def test_predictions_of_no_rows_are_none():
    for task in TASKS:
        model = random_model(task)
        assert model.predict([]).shape == (0,)
        assert len(model.explain([])) == 0


def test_bad_rows_are_refused_by_every_way_in():
    model = random_model("binary")
    for call in (model.predict, model.predict_proba, model.explain):
        with pytest.raises(InvalidRowsError, match=r"rows\[0\]\['width'\]"):
            call([{"width": "x"}])


def test_a_number_beyond_all_training_is_still_answered_with_a_number():
    for task in TASKS:
        model = random_model(task)
        for width in (1e15, -1e15, 1e100, -1e100):
            scores = model.scores(model.features.encode([{"width": width, "price": 1e300}]))
            assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("no",)}, "must have 2 classes"),
        ({"task": "regression"}, "must have no classes.*With classes the task is binary"),
        ({"task": "classification"}, "task must be regression, binary, multiclass or poisson; got 'classification'"),
        ({"task": "multiclass"}, "has 2 outputs; got 1"),
    ],
)
def test_a_task_its_classes_and_its_outputs_must_agree(change, message):
    with pytest.raises(ValueError, match=message):
        replace(random_model("binary"), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eig_idx": 7}, r"eig_idx must be in \[0, 7\); got 7"),
        ({"eig_idx": -1}, r"eig_idx must be in \[0, 7\); got -1"),
        ({"member_weights": np.array([0.5, 0.4, 0.2])}, "sum 1"),
        ({"member_weights": np.array([1.5, -0.25, -0.25])}, "at least 0"),
        ({"member_weights": np.array([np.nan, 0.5, 0.5])}, "sum 1"),
        ({"member_weights": np.array([0.5, 0.5])}, "1 outputs of 2 members need 2 heads; got 3"),
        ({"offset": np.array([np.nan])}, "offsets must be finite"),
    ],
)
def test_an_ensemble_that_does_not_fit_together_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(random_model(dim=7, members=3).ensemble, **change)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (Curve(0, (1,), (1.0,), knots=(0.0, 1.0), missing=True), "only features of its term 'width'"),
        (Curve(0, (0,), (1.0,), knots=(1.0, 1.0)), "ascending"),
        (Curve(0, (0,), (1.0,), knots=(0.0, math.nan)), "ascending"),
        (Curve(0, (0,), (1.0,), knots=(0.0, math.inf)), "finite"),
        (Curve(0, (0,), (1.0,), knots=()), "at least one knot"),
        (Curve(0, (0,), (), knots=(0.0, 1.0)), "a weight for each"),
        (Curve(0, (0,), (math.nan,), knots=(0.0, 1.0)), "finite"),
        (Curve(0, (0, 0, 0), (1.0, 1.0, 1.0), knots=(0.0, 1.0)), "at most two"),
        (Curve(1, (1,), (1.0,), knots=(0.0, 1.0)), "a matrix for missing values"),
        (Curve(2, categorical=(3,), num_codes=(4,)), "a path for each of 'town'"),
        (Curve(2, categorical=(3,), num_codes=()), "a path for each of 'town'"),
        (Curve(0, categorical=(0,), num_codes=(0,), missing=True), "choose its path by categories"),
        (Curve(2, (3,), (1.0,), knots=(0.0, 1.0)), "by numbers, not by categories"),
        (Curve(3), "term in"),
        (Curve(-1), "term in"),
    ],
)
def test_a_curve_that_could_lead_to_no_matrix_is_refused(curve, message):
    model = random_model(dim=2, members=1)
    terms = (Term("width", (0,)), Term("price", (1,)), Term("town", (3,)))
    count = curve.num_matrices
    pencil = replace(
        model.ensemble.pencil,
        terms=terms,
        curves=CurveSet((curve,)),
        diag=np.zeros((count, 1, 2)),
        off_diag=np.zeros((count, 1, 1)),
    )
    with pytest.raises(ValueError, match=message):
        replace(model, ensemble=replace(model.ensemble, pencil=pencil))


@pytest.mark.parametrize("features", [(), (5,), (-1,)])
def test_a_term_must_have_features_of_the_model(features):
    model = random_model(dim=2, members=1)
    pencil = replace(model.ensemble.pencil, terms=(Term("odd", features), *model.ensemble.pencil.terms[1:]))
    with pytest.raises(ValueError, match="term 'odd' must have features of the model"):
        replace(model, ensemble=replace(model.ensemble, pencil=pencil))
