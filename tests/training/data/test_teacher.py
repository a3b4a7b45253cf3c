"""Teachers: soft targets from a column or a file, mixed with the labels as far as that helps."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from eigenserve.errors import UserError
from eigenserve.training.data.sampling import read_sample
from eigenserve.training.data.table import read_table
from eigenserve.training.data.teacher import attach_teacher
from eigenserve.training.fit import fit
from eigenserve.training.planning.clock import Clock
from eigenserve.training.settings import make_settings
from eigenserve.training.teachers import out_of_fold_targets
from eigenserve.training.training_table import training_table

#: On busy cores a search would end early.
UNHURRIED = Clock(1e6)
QUICK = {"budget": 1.0, "reproducible": True, "members": 2, "dim": 5, "pairs": "none"}


def noisy(rows, classes=2, seed=0):
    """Features, the true probabilities of classes, and one label drawn by them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    scores = x @ rng.normal(size=(2, classes))
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    label = np.array([rng.choice(classes, p=p) for p in chances])
    return pd.DataFrame(x, columns=["a", "b"]), chances, np.array(list("uvw"))[label]


@pytest.mark.parametrize("classes", [2, 3])
def test_a_teacher_that_knows_the_chances_makes_a_better_student(tmp_path, classes):
    features, chances, label = noisy(2000, classes)
    train, test = slice(0, 150), slice(150, None)
    frame = features.assign(y=label)[train]
    file = tmp_path / "teacher.csv"
    pd.DataFrame(chances[train], columns=list("uvw")[:classes]).to_csv(file, index=False)
    settings = {**QUICK, "teacher": str(file)}
    taught = fit(frame, "y", make_settings(settings), clock=UNHURRIED).model
    alone = fit(frame, "y", make_settings(QUICK), clock=UNHURRIED).model
    assert taught.features.names == alone.features.names
    misses = [np.abs(model.predict_proba(features[test]) - chances[test]).mean() for model in (taught, alone)]
    assert misses[0] < misses[1]
    used = [member["teacher"] for member in taught.card["training"]["members"] if member["kind"] == "spectral"]
    assert max(used) > 0


def test_a_column_of_predictions_is_a_teacher_and_not_a_feature():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.normal(size=300)})
    frame["truth"] = np.sin(2.0 * frame.x)
    frame["y"] = frame.truth + 2.0 * rng.normal(size=300)
    model = fit(frame, "y", make_settings({**QUICK, "teacher": "truth"}), clock=UNHURRIED).model
    assert model.features.names == ("x",)
    alone = fit(frame[["x", "y"]], "y", make_settings(QUICK), clock=UNHURRIED).model
    misses = [np.abs(m.predict(frame) - frame.truth).mean() for m in (model, alone)]
    assert misses[0] < misses[1]


@pytest.mark.parametrize(
    ("teacher", "rule"),
    [
        ("nowhere.csv", "teacher must be a column of the table or a file"),
        ({"u": [0.5] * 9}, "must have a row for each of the table's 60"),
        ({"u": [0.5] * 60, "v": [0.5] * 60}, "there is none for w"),
        ({"u": [0.5] * 60, "v": [0.5] * 60, "w": [0.5] * 60}, "must add up to 1"),
        ({"u": ["?"] * 60, "v": [0.5] * 60, "w": [0.5] * 60}, "must hold a number in every row"),
    ],
)
def test_a_teacher_that_makes_no_sense_is_refused(tmp_path, teacher, rule):
    features, _, label = noisy(60, 3)
    if isinstance(teacher, dict):
        pd.DataFrame(teacher).to_csv(tmp_path / "teacher.csv", index=False)
        teacher = str(tmp_path / "teacher.csv")
    with pytest.raises(UserError, match=rule):
        fit(features.assign(y=label), "y", make_settings({**QUICK, "teacher": teacher}))


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "parts"])
def test_a_teachers_file_is_sampled_with_the_table(tmp_path, name):
    """The teacher's column is a copy of the table's row number, so that a mistaken row would show."""
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=400), "y": np.arange(400.0)})
    if name == "rows.csv":
        frame.to_csv(tmp_path / name, index=False)
    else:
        parts = [frame] if name == "rows.parquet" else [frame[:150], frame[150:]]
        (tmp_path / "parts").mkdir()
        for i, part in enumerate(parts):
            part.to_parquet(tmp_path / (name if len(parts) == 1 else f"parts/{i}.parquet"))
    frame[["y"]].to_csv(tmp_path / "teacher.csv", index=False)
    sample = read_sample(tmp_path / name, 200, seed=0)
    settings = make_settings({"teacher": str(tmp_path / "teacher.csv")})
    attached, _ = attach_teacher(sample.frame, settings.teacher, sample.positions, sample.total)
    goal = training_table(attached, "y", settings).target
    np.testing.assert_array_equal(goal.teacher, goal.values)
    with pytest.raises(UserError, match=r"for each of the table's 401, in their order; .* has 400"):
        attach_teacher(sample.frame, settings.teacher, sample.positions, 401)


@pytest.mark.parametrize("role", ["exposure", "offset", "weight", "groups", "time", "teacher"])
def test_a_column_with_a_role_may_be_excluded(role):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=90), "r": rng.uniform(0.5, 2.0, 90).round(2)})
    frame["y"] = rng.poisson(2.0, 90)
    given = {"task": "poisson", role: "r"}
    excluded = training_table(frame, "y", make_settings({**given, "exclude": ["r"]}))
    assert list(excluded.features) == ["a"]
    usual = training_table(frame, "y", make_settings(given))
    for name in ("values", "teacher", "groups", "moments"):
        np.testing.assert_array_equal(getattr(excluded.target, name), getattr(usual.target, name))
    np.testing.assert_array_equal(excluded.weight, usual.weight)
    # What is named as a feature, too, is one.
    both = training_table(frame, "y", make_settings({**given, "features": ["a", "r"]}))
    assert list(both.features) == (["a"] if role == "teacher" else ["a", "r"])


def test_targets_of_any_estimator_are_out_of_fold():
    features, _, label = noisy(90, 3)
    chances = out_of_fold_targets(LogisticRegression(), features, label, folds=3)
    assert list(chances) == ["u", "v", "w"]
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    rng = np.random.default_rng(2)
    noise = rng.normal(size=90)
    # As many parameters as rows: what is seen is repeated, what is not is far off.
    wide = pd.DataFrame(rng.normal(size=(90, 89)))
    predicted = out_of_fold_targets(LinearRegression(), wide, noise, folds=3)["prediction"]
    assert np.abs(predicted - noise).mean() > 0.5
    groups = np.arange(90) // 10
    assert len(out_of_fold_targets(LinearRegression(), features, noise, folds=3, groups=groups)) == 90
    with pytest.raises(ValueError, match="each class must have at least 40 rows"):
        out_of_fold_targets(LogisticRegression(), features, label, folds=40)


@pytest.mark.parametrize(
    "labels", [(0.0, 1.0), (False, True), (0, 1), ("no", "Yes"), (np.int8(3), np.int8(7))], ids=str
)
def test_the_targets_of_a_classifier_are_a_teachers_file(tmp_path, labels):
    """Whatever type the labels have, in the table and in Python."""
    rng = np.random.default_rng(0)
    features = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    label = np.array(labels)[(features["a"] > 0).astype(int)]
    chances = out_of_fold_targets(LogisticRegression(), features, label, folds=3)
    chances.to_csv(tmp_path / "teacher.csv", index=False)
    features.assign(y=label).to_csv(tmp_path / "rows.csv", index=False)
    settings = make_settings({"teacher": str(tmp_path / "teacher.csv"), "task": "binary"})
    for frame in (features.assign(y=label), read_table(tmp_path / "rows.csv")):
        goal = training_table(frame, "y", settings).target
        np.testing.assert_allclose(goal.teacher, chances.iloc[:, 1])
        assert np.corrcoef(goal.teacher, goal.values)[0, 1] > 0.5


def test_a_file_whose_columns_write_whole_numbers_with_decimals_is_a_teachers(tmp_path):
    features, chances, _ = noisy(60, 3)
    pd.DataFrame(chances, columns=["0.0", "1.0", "2.0"]).to_csv(tmp_path / "teacher.csv", index=False)
    frame = features.assign(y=np.arange(60) % 3)
    goal = training_table(frame, "y", make_settings({"teacher": str(tmp_path / "teacher.csv")})).target
    np.testing.assert_allclose(goal.teacher, chances)


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        (np.zeros((30, 2)), r"one label or number for each of the 30 rows of features; its shape is \(30, 2\)"),
        (np.zeros(29), r"its shape is \(29,\)"),
        (["u", None, "v"] * 10, r"known of every row; row 2 has none \(10 in all\)"),
        ([1.0, 2.0, np.nan] * 10, "row 3 has none"),
    ],
)
@pytest.mark.parametrize("estimator", [LinearRegression(), LogisticRegression()], ids=["numbers", "classes"])
def test_a_target_of_another_shape_is_one_line(estimator, target, rule):
    with pytest.raises(ValueError, match=rule):
        out_of_fold_targets(estimator, pd.DataFrame({"a": np.arange(30.0)}), target)


def test_a_frame_of_one_column_is_a_target():
    features, _, label = noisy(60)
    for estimator, target in ((LogisticRegression(), label), (LinearRegression(), features["a"].to_numpy())):
        expected = out_of_fold_targets(estimator, features, target)
        pd.testing.assert_frame_equal(out_of_fold_targets(estimator, features, pd.DataFrame(target)), expected)


def test_a_weight_counts_when_the_estimator_is_fitted():
    features = pd.DataFrame({"a": np.zeros(40)})
    target, weight = np.tile([0.0, 1.0], 20), np.tile([1.0, 3.0], 20)
    predicted = out_of_fold_targets(LinearRegression(), features, target, sample_weight=weight)["prediction"]
    assert predicted.mean() == pytest.approx(0.75, abs=0.05)
