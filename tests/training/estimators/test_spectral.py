"""The scikit-learn estimators keep scikit-learn's contract, and give what the command line gives."""

import pickle
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from eigenserve.model import load_model
from eigenserve.training import SpectralClassifier, SpectralRegressor
from eigenserve.training.planning import plan

#: One small neuron and the first round of the search: the checks fit a hundred times, and ask for no accuracy.
QUICK = {"budget": 0.01, "reproducible": True, "members": 1, "dim": 3}


@parametrize_with_checks([SpectralRegressor(**QUICK), SpectralClassifier(**QUICK)])
def test_scikit_learn_finds_nothing_wrong(estimator, check, monkeypatch):
    # However small the budget, a plan grants a few seconds, which a hundred fits need not have.
    monkeypatch.setattr(plan, "GRACE_S", 0.2)
    check(estimator)


@pytest.fixture(scope="module")
def people():
    """400 rows with a number that is sometimes missing, a category, a text, a boolean and their effects' sum."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(20, 60, 400),
            "town": pd.Categorical(rng.choice(["Ulm", "Bonn", "Kiel"], 400)),
            "kind": rng.choice(["new", "old"], 400),
            "member": rng.random(400) < 0.3,
        }
    )
    target = frame["age"] / 10 + 2.0 * (frame["town"] == "Kiel") - (frame["kind"] == "old") + frame["member"]
    frame.loc[::9, "age"] = np.nan
    return frame, target.rename("worth")


@pytest.fixture(scope="module")
def regressor(people):
    return SpectralRegressor(**QUICK).fit(*people)


@pytest.fixture(scope="module")
def classifier():
    return SpectralClassifier(**QUICK).fit(*load_iris(return_X_y=True, as_frame=True))


def test_a_frame_of_mixed_columns_with_missing_values_is_learnt(regressor, people):
    frame, target = people
    assert list(regressor.feature_names_in_) == list(frame)
    # Age, the strongest part, is unknown in a ninth of the rows.
    assert regressor.score(frame, target) > 0.8


def test_explanations_add_up_to_predictions(regressor, people):
    explanation = regressor.explain(people[0])
    assert explanation.terms[:4] == ("age", "town", "kind", "member")
    total = explanation.baseline + explanation.contributions.sum(axis=1)
    np.testing.assert_allclose(total, regressor.predict(people[0]), rtol=1e-9)  # the contract's own tolerance


def test_an_identifier_is_left_out_as_on_the_command_line(people):
    frame, target = people
    frame = frame.assign(person_id=np.random.default_rng(1).permutation(np.arange(1000, 1400)))
    regressor = SpectralRegressor(**QUICK).fit(frame, target)
    assert regressor.model_.features.names == ("age", "town", "kind", "member")
    assert "'person_id' is different in every row, as an identifier is" in regressor.notes_[0]
    assert len(regressor.predict(frame)) == len(frame)


def test_labels_that_differ_by_their_spelling_alone_are_named(people):
    frame, _ = people
    labels = np.array(["yes", "Yes ", "no", "NO"] * 100, object)
    classifier = SpectralClassifier(**QUICK).fit(frame, labels)
    assert classifier.classes_.tolist() == np.unique(labels).tolist()
    assert "the labels 'NO', 'no' of y are 2 classes, though they differ by" in classifier.notes_[0]
    assert "'Yes ', 'yes'" in classifier.notes_[1]
    assert not any("classes" in note for note in SpectralClassifier(**QUICK).fit(frame, labels == "no").notes_)


def test_notes_name_parameters_and_not_options(people):
    frame, target = people
    rng = np.random.default_rng(1)
    frame = frame.assign(
        row_id=[None, *rng.permutation(np.arange(1001, 1400))],
        income=np.where(rng.random(400) < 0.1, -999, rng.integers(10, 90, 400)),
        code=[f"02{i % 7}21" for i in range(400)],
    )
    regressor = SpectralRegressor(**QUICK).fit(frame, target)
    notes = " ".join(regressor.notes_)
    assert "types={'row_id': 'number'}, or category, keeps it" in notes
    assert "'income' has -999 in" in notes
    assert "replace it by NaN" in notes
    assert "types={'code': 'number'} overrides it" in notes
    assert "--" not in notes
    with pytest.raises(ValueError, match=re.escape("types={'income': 'number'} (they count as missing)")):
        SpectralRegressor(**QUICK).fit(frame.assign(income=["x"] * 8 + ["12"] * 392), target)
    with pytest.raises(ValueError, match=r"convert it by pandas.to_datetime$"):
        SpectralRegressor(**QUICK).fit(frame.assign(day=["03/04/2024", "05/06/2024"] * 200), target)


def test_a_class_can_be_chosen_to_be_explained(classifier):
    X = load_iris(as_frame=True).data
    explained = [classifier.explain(X, target=label).score for label in classifier.classes_]
    scores = classifier.decision_function(X)
    np.testing.assert_allclose(np.stack(explained, axis=1), scores, atol=1e-9)  # scores of order 10, summed otherwise


def test_an_array_goes_by_position_where_a_frame_was_fitted(classifier):
    X = load_iris(as_frame=True).data
    with pytest.warns(UserWarning, match="valid feature names"):
        predicted = classifier.predict(X.to_numpy())
    np.testing.assert_array_equal(predicted, classifier.predict(X))


def test_intervals_hold_about_as_many_targets_as_they_promise():
    X, y = load_diabetes(return_X_y=True)
    model = SpectralRegressor(**QUICK).fit(X[:300], y[:300])
    interval = model.predict_interval(X[300:], level=0.8)
    held = np.mean((interval[:, 0] <= y[300:]) & (y[300:] <= interval[:, 1]))
    # 142 rows: a standard error of 0.034, three of them.
    assert abs(held - 0.8) < 0.1
    np.testing.assert_allclose(interval.mean(axis=1), model.predict(X[300:]), rtol=1e-12)  # two roundings
    with pytest.raises(ValueError, match=r"level must be one of 0\.5, .*; got 0\.7"):
        model.predict_interval(X, level=0.7)


@pytest.mark.parametrize("by_pickle", [True, False], ids=["pickle", "store"])
def test_a_saved_estimator_predicts_to_the_bit_as_before(regressor, people, tmp_path, by_pickle):
    if by_pickle:
        again = pickle.loads(pickle.dumps(regressor))
    else:
        folder = regressor.save(tmp_path, "worth")
        again = SpectralRegressor.from_checkpoint(folder)
        np.testing.assert_array_equal(load_model(tmp_path / "worth").predict(people[0]), again.predict(people[0]))
    assert again.get_params() == regressor.get_params()
    assert list(again.feature_names_in_) == list(regressor.feature_names_in_)
    np.testing.assert_array_equal(again.predict(people[0]), regressor.predict(people[0]))


def test_a_pickle_holds_the_checkpoint_and_no_class_of_ours_but_the_estimator(regressor):
    data = pickle.dumps(regressor)
    assert b'"format_version": 1' in data
    assert b"SpectralModel" not in data


def test_a_classifier_comes_back_with_its_labels(classifier, tmp_path):
    again = SpectralClassifier.from_checkpoint(classifier.save(tmp_path, "iris"))
    np.testing.assert_array_equal(again.classes_, classifier.classes_)
    with pytest.raises(ValueError, match="is for SpectralClassifier"):
        SpectralRegressor.from_checkpoint(tmp_path / "iris")


def test_rows_in_another_order_give_the_same_model(people):
    frame, target = people
    order = np.random.default_rng(1).permutation(len(frame))
    first, second = (
        clone(SpectralRegressor(**QUICK)).fit(frame.iloc[i], target.iloc[i]) for i in (np.arange(len(frame)), order)
    )
    np.testing.assert_array_equal(first.predict(frame), second.predict(frame))


def test_grid_search_tunes_a_pipeline_that_passes_frames(people):
    frame, target = people
    scale = make_column_transformer(
        (StandardScaler(), ["age"]), remainder="passthrough", verbose_feature_names_out=False
    )
    pipeline = make_pipeline(scale, SpectralRegressor(**QUICK)).set_output(transform="pandas")
    search = GridSearchCV(pipeline, {"spectralregressor__dim": [2, 3]}, cv=2).fit(frame, target)
    assert search.best_score_ > 0.7
    assert set(search.best_estimator_[-1].feature_names_in_) == set(frame)


def test_balanced_classes_find_more_of_the_rare_one():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 2))
    y = np.where(X[:, 0] + rng.standard_normal(600) > 2.0, "rare", "usual")
    plain, balanced = (SpectralClassifier(**QUICK, class_weight=w).fit(X, y) for w in (None, "balanced"))
    assert (balanced.predict(X) == "rare").sum() > 2 * (plain.predict(X) == "rare").sum()


def test_monotone_features_are_certified(people):
    frame, target = people
    model = SpectralRegressor(**QUICK, monotone={"age": "+"}).fit(frame, target)
    assert model.model_.card["certificates"] == {"monotone": {"age": "+"}}


def test_counts_are_learnt_by_their_deviance():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 2))
    counts = rng.poisson(np.exp(0.8 * X[:, 0]))
    model = SpectralRegressor(**QUICK, loss="poisson").fit(X, counts)
    assert model.model_.task == "poisson"
    assert (model.predict(X) > 0).all()
    with pytest.raises(ValueError, match="must be at least 0; got -1"):
        model.fit(X, counts - counts.min() - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 0}, "members must be at least 1; got 0"),
        ({"loss": "cubic"}, "loss must be one of"),
        ({"loss": "poisson", "link": "identity"}, "link identity needs the task regression; the task is poisson"),
        ({"pairs": [("x0", "x10")]}, "no feature 'x10'"),
        ({"monotone": {"x0": "up"}}, "monotone must be like"),
        ({"budget": -1.0}, "budget must be above 0"),
    ],
)
def test_a_wrong_parameter_is_refused_when_fitting(options, message):
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        SpectralRegressor(**{**QUICK, **options}).fit(X, y)


def test_a_column_of_decimals_is_one_of_numbers():
    x = np.linspace(-1.0, 1.0, 100).round(2)
    frame = pd.DataFrame({"x": [*map(Decimal, map(str, x[:-1])), None]})
    model = SpectralRegressor(**QUICK).fit(frame, x)
    assert model.model_.features.features[0].kind == "numeric"
    floats = pd.DataFrame({"x": [*x[:-1], np.nan]})
    np.testing.assert_array_equal(model.predict(frame), model.predict(floats))
    with pytest.raises(ValueError, match="infinity"):
        model.predict(pd.DataFrame({"x": [Decimal("Infinity")]}))


def test_a_column_with_an_infinity_is_refused():
    frame = pd.DataFrame({"a": [1.0, np.inf] * 20, "b": ["x", "y"] * 20})
    with pytest.raises(ValueError, match="infinity"):
        SpectralRegressor(**QUICK).fit(frame, np.arange(40.0))


@pytest.mark.parametrize(
    ("loss", "target"),
    [("auto", [0.0]), ("poisson", [0.0]), ("quantile", [7.0]), ("tweedie", [0.3, 0.1 + 0.2])],
)
def test_a_target_that_does_not_vary_is_refused(loss, target):
    """As on the command line; numbers that differ by rounding alone do not vary."""
    rows = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(ValueError, match=f"target 'y' must vary; it is {target[0]:g} in every row"):
        SpectralRegressor(**QUICK, loss=loss).fit(rows, np.resize(target, 50))


def test_a_target_that_varies_in_rows_without_a_weight_does_not_vary():
    rows, target = np.random.default_rng(0).normal(size=(50, 2)), np.eye(50)[0]
    with pytest.raises(ValueError, match="must vary; it is 0 in every row"):
        SpectralRegressor(**QUICK).fit(rows, target, sample_weight=1.0 - target)


def test_a_single_count_is_learnt():
    """All folds but one are trained on zeros alone."""
    rows = np.random.default_rng(0).normal(size=(50, 2))
    predicted = SpectralRegressor(**QUICK, loss="poisson").fit(rows, np.eye(50)[0]).predict(rows)
    assert (predicted > 0).all()
    assert predicted.mean() == pytest.approx(1 / 50, rel=0.5)
