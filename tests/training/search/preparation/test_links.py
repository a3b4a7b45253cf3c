"""The link of a regression: the logarithm where it fits better, asked for, and refused."""

import numpy as np
import pandas as pd
import pytest

from eigenserve.errors import UserError
from eigenserve.model.checkpoints.files import read_checkpoint, write_checkpoint
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.estimators.spectral import SpectralRegressor
from eigenserve.training.fit import fit
from eigenserve.training.search.workbench import Workbench
from eigenserve.training.settings import make_settings

QUICK = {"budget": 1.0, "reproducible": True, "members": 2}


def _products(rows: int = 1500, noise: float = 0.1) -> pd.DataFrame:
    """A price that is a product of one function per feature."""
    rng = np.random.default_rng(0)
    size, grade = rng.normal(size=rows), rng.choice(list("abcd"), rows)
    factor = pd.Series(grade).map({"a": 0.3, "b": 0.8, "c": 1.5, "d": 4.0}).to_numpy()
    price = 50.0 * np.exp(0.8 * size) * factor * np.exp(noise * rng.normal(size=rows))
    return pd.DataFrame({"size": size, "grade": grade, "price": price})


def test_a_product_is_predicted_through_its_logarithm(tmp_path):
    frame = _products()
    fitted = fit(frame, "price", make_settings(QUICK))
    model = fitted.model
    assert model.link == "exp"
    explained = model.explain(frame[:50])
    np.testing.assert_allclose(np.exp(explained.score), model.predict(frame[:50]), rtol=1e-12)
    np.testing.assert_allclose(explained.contributions.sum(axis=1) + explained.baseline, explained.score, atol=1e-9)
    plain = fit(frame, "price", make_settings({**QUICK, "link": "identity"}))
    assert plain.model.link == "identity"
    ours, theirs = (f.model.card["metrics"]["out_of_fold"]["rmse"] for f in (fitted, plain))
    # Without a logarithm a pair learns the product, too, but not as well.
    assert ours < 0.95 * theirs
    write_checkpoint(tmp_path, model)
    again = read_checkpoint(tmp_path)
    assert again.link == "exp"
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))


def test_intervals_are_on_the_scale_of_the_target():
    frame = _products()
    model = fit(frame[:1000], "price", make_settings(QUICK)).model
    low, high = model.predict_interval(frame[1000:], 0.8).T
    held = ((low <= frame.price[1000:]) & (frame.price[1000:] <= high)).mean()
    # 500 rows: three standard errors of a share of 0.8.
    assert held == pytest.approx(0.8, abs=0.055)


def test_a_skewed_sum_keeps_its_own_scale():
    rng = np.random.default_rng(1)
    a = rng.uniform(size=1500)
    frame = pd.DataFrame({"a": a, "y": 3.0 * a + rng.exponential(size=1500)})
    assert fit(frame, "y", make_settings(QUICK)).model.link == "identity"


def test_the_logarithm_is_taken_where_it_is_asked_for():
    frame = pd.DataFrame({"x": np.linspace(0.0, 1.0, 200)}).assign(y=lambda f: 1.0 + f.x)
    assert fit(frame, "y", make_settings({**QUICK, "link": "log"})).model.link == "exp"


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"link": "log"}, "at least 0 everywhere"),
        ({"link": "log", "task": "poisson"}, "link log needs the task regression; the task is poisson"),
        ({"link": "identity", "task": "poisson"}, "link identity needs the task regression"),
        ({"loss": "absolute", "task": "poisson"}, "loss absolute needs the task regression"),
        ({"quantile": 0.9}, "quantile 0.9 needs the loss quantile; the loss is auto"),
        ({"link": "root"}, "link must be one of"),
        ({"link": "log", "loss": "absolute"}, "requires the loss auto"),
        ({"link": "log", "concave": ["x"]}, "excludes concave and capped"),
    ],
)
def test_a_link_or_loss_that_makes_no_sense_is_refused(options, rule):
    frame = pd.DataFrame({"x": np.linspace(0.0, 1.0, 100)}).assign(y=lambda f: f.x.round(1) - 0.5)
    if options.get("task") == "poisson":
        frame["y"] += 1.0
    with pytest.raises(UserError, match=rule):
        fit(frame, "y", make_settings({**QUICK, **options}))


def test_an_estimator_takes_its_link(tmp_path):
    frame = _products(300)
    priced = SpectralRegressor(link="log", budget=0.2, members=1, dim=4).fit(frame[["size"]], frame.price)
    assert priced.model_.link == "exp"
    priced.save(tmp_path, "price")
    assert SpectralRegressor.from_checkpoint(tmp_path / "price").link == "log"
    plain = SpectralRegressor(link="identity", budget=0.2, members=1, dim=4).fit(frame[["size"]], frame.price)
    assert plain.model_.link == "identity"
    with pytest.raises(ValueError, match="at least 0 everywhere"):
        SpectralRegressor(link="log").fit(frame[["size"]], -frame.price)


def test_an_interrupt_while_links_are_compared_ends_the_fit(monkeypatch):
    """Nothing is known yet that a fit could go on with."""
    trained, train = [], Workbench.train

    def interrupted(*given, **more):
        trained.append(given)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return train(*given, **more)

    monkeypatch.setattr(Workbench, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(_products(200), "price", make_settings(QUICK))


def test_only_a_regression_has_a_link_to_choose():
    model = fit(_products(200), "price", make_settings({**QUICK, "link": "identity"})).model
    with pytest.raises(ValueError, match="log_link is only valid for regression"):
        SpectralModel("poisson", "y", model.features, model.ensemble, log_link=True)
