"""Fits of costs: gamma and Tweedie losses, exposures and offsets, against scikit-learn's generalised linear models."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import GammaRegressor, TweedieRegressor
from sklearn.metrics import mean_tweedie_deviance

from eigenserve.errors import UserError
from eigenserve.model.checkpoints.files import read_checkpoint, write_checkpoint
from eigenserve.training.estimators.spectral import SpectralRegressor
from eigenserve.training.evaluation.evaluate import evaluate
from eigenserve.training.fit import fit
from eigenserve.training.planning.clock import Clock
from eigenserve.training.settings import make_settings

#: On busy cores a search would end early, and elsewhere in two fits.
UNHURRIED = Clock(1e6)
QUICK = {"budget": 1.0, "reproducible": True, "members": 2, "dim": 5}


def claims(rows=3000, seed=0):
    """Claims whose number and size depend on age and region; exposure in years."""
    rng = np.random.default_rng(seed)
    age, region, years = rng.normal(size=rows), rng.choice(list("abc"), rows), rng.uniform(0.2, 3.0, rows)
    level = pd.Series(region).map({"a": 0.0, "b": 0.4, "c": -0.5}).to_numpy()
    count = rng.poisson(years * np.exp(-0.2 + 0.4 * age + level))
    mean = np.exp(6.0 + 0.5 * age - level)
    cost = np.array([rng.gamma(2.0, m / 2.0, n).sum() for m, n in zip(mean, count, strict=True)])
    return pd.DataFrame({"age": age, "region": region, "years": years, "count": count, "cost": cost})


def glm_deviance(model, train, test, target, weight, power):
    columns = [pd.get_dummies(part[["age", "region"]]).astype(float) for part in (train, test)]
    model.fit(columns[0], train[target], sample_weight=train[weight])
    predicted = model.predict(columns[1])
    return mean_tweedie_deviance(test[target], predicted, sample_weight=test[weight], power=power)


@pytest.mark.parametrize(
    ("loss", "power", "exposure", "glm"),
    [
        ("gamma", 2.0, "count", GammaRegressor(alpha=1e-4, max_iter=1000)),
        ("tweedie", 1.5, "years", TweedieRegressor(power=1.5, alpha=1e-4, link="log", max_iter=1000)),
    ],
)
def test_costs_are_predicted_as_well_as_by_the_glm_that_made_them(tmp_path, loss, power, exposure, glm):
    frame = claims()
    if loss == "gamma":  # the mean cost of a claim, by how many there were
        frame = frame[frame["count"] > 0].reset_index(drop=True)
    half = len(frame) // 2
    train, test = frame[:half], frame[half:]
    excluded = [name for name in ("count", "years") if name != exposure]
    settings = make_settings({**QUICK, "loss": loss, "exposure": exposure, "exclude": excluded})
    fitted = fit(train, "cost", settings, clock=UNHURRIED)
    assert fitted.model.link == "exp"
    assert list(fitted.model.card["metrics"]["out_of_fold"])[:3] == ["rows", "deviance", "d2"]
    rate = frame.assign(rate=frame["cost"] / frame[exposure])
    expected = glm_deviance(glm, rate[:half], rate[half:], "rate", exposure, power)
    write_checkpoint(tmp_path, fitted.model)
    found = evaluate(read_checkpoint(tmp_path), test).metrics.values["deviance"]
    predicted = fitted.model.predict(test)
    again = mean_tweedie_deviance(rate[half:]["rate"], predicted, sample_weight=test[exposure], power=power)
    assert found == pytest.approx(again, rel=1e-9)
    # The GLM is the model that made the data; half of some 1,500 rows show a deviance to about 2%.
    assert found < 1.02 * expected
    explained = fitted.model.explain(test[:20])
    np.testing.assert_allclose(np.exp(explained.score), predicted[:20], rtol=1e-12)


@pytest.mark.parametrize(("task", "power"), [("poisson", 1.0), ("tweedie", 1.7)])
def test_an_offset_is_a_weight_and_a_unit(task, power):
    """Deviance obeys d(y, m e^o) = e^(o (2 - p)) d(y e^-o, m), so both fits are the same."""
    frame = claims(400)
    target = "count" if task == "poisson" else "cost"
    offset = np.log(frame["years"])
    given = {**QUICK, "task": task, "features": ["age", "region"]} | ({"power": power} if task != "poisson" else {})
    by_offset = fit(frame.assign(offset=offset), target, make_settings({**given, "offset": "offset"}), clock=UNHURRIED)
    weighted = frame.assign(weight=np.exp((2.0 - power) * offset), unit=frame[target] / frame["years"])
    by_hand = fit(weighted, "unit", make_settings({**given, "weight": "weight"}), clock=UNHURRIED)
    np.testing.assert_allclose(by_offset.model.predict(frame), by_hand.model.predict(frame), rtol=1e-6)


@pytest.mark.parametrize("column", ["years", "offset"])
def test_the_unit_of_an_exposure_moves_the_intercept_alone(column):
    frame = claims(400).assign(offset=lambda rows: np.log(rows["years"]))
    role = "exposure" if column == "years" else "offset"
    settings = make_settings({**QUICK, "task": "poisson", "features": ["age", "region"], role: column})
    expected = fit(frame, "count", settings, clock=UNHURRIED).model
    assert expected.card["metrics"]["out_of_fold"]["d2"] > 0.1
    # Rates of 1e-10 of a count: below what exponentials of a score that starts at zero reach.
    other = frame.assign(years=1e10 * frame["years"], offset=frame["offset"] + np.log(1e10))
    found = fit(other, "count", settings, clock=UNHURRIED).model
    # Training in float32 leaves a difference in the last digits of a quotient.
    np.testing.assert_allclose(1e10 * found.predict(frame), expected.predict(frame), rtol=1e-3)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"loss": "gamma"}, "needs a target that is above 0 everywhere"),
        ({"loss": "tweedie", "target": "age"}, "at least 0 everywhere"),
        ({"loss": "gamma", "link": "identity"}, "loss gamma has the link log; got identity"),
        ({"power": 1.2}, "power 1.2 needs the loss tweedie; the loss is auto"),
        ({"loss": "tweedie", "power": 2.5}, "power must be between 1 and 2; got 2.5"),
        ({"task": "gamma", "loss": "squared"}, "the task gamma has the loss gamma; got loss squared"),
        ({"exposure": "years"}, "exposure needs counts or costs"),
        ({"loss": "tweedie", "offset": "region"}, "offset 'region' must hold the logarithm of a size"),
    ],
)
def test_costs_that_make_no_sense_are_refused(given, rule):
    given = {**QUICK, **given}
    target = given.pop("target", "cost")
    with pytest.raises(UserError, match=rule):
        fit(claims(100), target, make_settings(given))


def test_an_estimator_predicts_costs():
    frame = claims(300)
    model = SpectralRegressor(loss="tweedie", power=1.6, budget=0.2, members=1, dim=3)
    model.fit(frame[["age", "region"]], frame["cost"])
    assert model.model_.link == "exp"
    assert (model.predict(frame[["age", "region"]]) > 0).all()


@pytest.mark.parametrize(("loss", "power"), [("poisson", 1.0), ("tweedie", 1.5)])
def test_an_estimator_takes_exposures_and_offsets_as_targets_and_weights(loss, power):
    frame, columns = claims(300), ["age", "region"]
    target = "count" if loss == "poisson" else "cost"
    table = frame.assign(offset=np.log(frame["years"]), exposure=frame["years"])
    settings = {**QUICK, "task": loss, "features": columns}
    for role, unit, weight in (
        ("exposure", frame["years"], frame["years"]),
        ("offset", frame["years"], frame["years"] ** (2.0 - power)),
    ):
        by_column = fit(table, target, make_settings({**settings, role: role}), clock=UNHURRIED).model
        ours = SpectralRegressor(loss=loss, **QUICK).fit(frame[columns], frame[target] / unit, sample_weight=weight)
        # The estimators sort the rows, so folds differ: two fits of one truth on 300 rows.
        correlation = np.corrcoef(np.log(ours.predict(frame[columns])), np.log(by_column.predict(frame)))[0, 1]
        assert correlation > 0.95
