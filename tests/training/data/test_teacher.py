"""Teachers: soft targets from a column or a file, mixed with the labels as far as that helps."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from eigenserve.errors import UserError
from eigenserve.training.fit import fit
from eigenserve.training.planning.clock import Clock
from eigenserve.training.settings import make_settings
from eigenserve.training.teachers import out_of_fold_targets

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
