"""Convex and concave curves, and caps on strengths: kept while training, proved of the finished model."""

import numpy as np
import pandas as pd
import pytest

from eigenserve.cli import main
from eigenserve.errors import UserError
from eigenserve.model.certificates.shapes import curved_certificate
from eigenserve.model.certificates.strengths import feature_strengths
from eigenserve.training.evaluation.evaluate import evaluate
from eigenserve.training.fit import fit
from eigenserve.training.kernels.bends import bend_matrices, expand_bends, reduce_bends
from eigenserve.training.settings import make_settings

QUICK = {"members": 2, "dim": 5, "budget": 0.5, "reproducible": True, "pairs": "none"}


def bowl(rows=800, seed=0):
    rng = np.random.default_rng(seed)
    x, z, w = rng.uniform(-1.0, 1.0, (3, rows))
    town = rng.choice(["a", "b", "c"], rows)
    y = 3.0 * x**2 - 2.0 * z + np.sin(4.0 * w) + (town == "b") + 0.2 * rng.standard_normal(rows)
    gaps = np.where(rng.random(rows) < 0.1, np.nan, x)
    return pd.DataFrame({"x": x, "z": z, "w": w, "town": town, "gaps": gaps, "y": y})


SHAPES = [(bend, rise) for bend in (1, -1) for rise in (0, 1, -1)]


@pytest.mark.parametrize(("bend", "rise"), SHAPES)
@pytest.mark.parametrize(("n", "outputs", "paths"), [(1, 1, 1), (4, 2, 3)])
def test_bends_in_float32_are_those_in_float64_and_as_promised(bend, rise, n, outputs, paths):
    rng, width, first, p0 = np.random.default_rng(1), 8, 2, 1
    knots = np.array([-1.0, -0.5, 0.25, 2.0])
    shape = np.array([paths, len(knots), bend, rise])
    rows = paths * len(knots)
    params = np.zeros((p0 + rows, outputs, width), np.float32)
    params[p0:, :, : 2 * n - 1] = rng.standard_normal((rows, outputs, 2 * n - 1))
    table = np.zeros((first + rows, outputs, width), np.float32)
    expand_bends(params.ravel(), table.reshape(-1), p0, first, knots.astype(np.float32), shape, n, outputs, width)
    wide = bend_matrices(params[p0:, :, : 2 * n - 1].astype(np.float64), knots, bend, rise, 0.0)
    np.testing.assert_allclose(table[first:, :, : 2 * n - 1], wide, rtol=1e-5, atol=1e-5)
    dense = np.zeros((*wide.shape[:2], n, n))
    dense[..., np.arange(n), np.arange(n)] = wide[..., :n]
    dense[..., np.arange(n - 1), np.arange(1, n)] = dense[..., np.arange(1, n), np.arange(n - 1)] = wide[..., n:]
    slopes = np.diff(dense.reshape(paths, len(knots), outputs, n, n), axis=1) / np.diff(knots)[:, None, None, None]
    assert np.linalg.eigvalsh(bend * np.diff(slopes, axis=1)).min() >= -1e-12
    assert rise == 0 or np.linalg.eigvalsh(rise * slopes).min() >= -1e-12


@pytest.mark.parametrize(("bend", "rise"), SHAPES)
def test_slopes_of_bends_are_the_adjoint(bend, rise):
    rng, n, outputs, width = np.random.default_rng(2), 3, 2, 8
    knots = np.array([-1.0, -0.5, 0.25, 2.0, 2.5], np.float32)
    shape = np.array([2, len(knots), bend, rise])
    params = rng.standard_normal((10, outputs, width)).astype(np.float32)
    pull = rng.standard_normal((10, outputs, width)).astype(np.float32)
    inside = slice(None, 2 * n - 1)
    step, found = rng.standard_normal(params.shape), pull.copy()
    reduce_bends(params.ravel(), found.reshape(-1), 0, 0, knots, shape, n, outputs, width)
    wide, h = params[..., inside].astype(np.float64), 1e-5

    def moved(size):
        return bend_matrices(wide + size * step[..., inside], knots.astype(np.float64), bend, rise, 0.0)

    # Quadratic in the parameters, so central differences are exact up to rounding; float32 sums of tens of terms.
    along = ((moved(h) - moved(-h)) / (2.0 * h) * pull[..., inside]).sum()
    assert abs(along - (found[..., inside] * step[..., inside]).sum()) < 1e-4 * np.abs(found).sum()


@pytest.mark.parametrize(
    ("options", "eig_idx"),
    [
        ({"convex": ["x"]}, 4),
        ({"concave": ["x"]}, 0),
        ({"convex": ["x", "gaps"], "monotone": "z=-"}, 4),
        ({"convex": ["z"], "monotone": "z=-"}, 4),
        ({"concave": ["z"], "monotone": "z=-"}, 0),
    ],
)
def test_a_convex_or_concave_score_is_so_for_every_row(options, eig_idx):
    frame = bowl()
    model = fit(frame, "y", make_settings({**QUICK, **options})).model
    assert model.ensemble.eig_idx == eig_idx
    names, shape = (options["convex"], "convex") if "convex" in options else (options["concave"], "concave")
    proved = model.card["certificates"]["curved"]
    assert proved == dict.fromkeys(names, shape)
    assert curved_certificate(model, proved) == proved
    for name in names:
        low, high = frame[name].min(), frame[name].max()
        line = np.linspace(low, high, 101)
        for row in frame.head(20).to_dict("records"):
            scores = model.predict(pd.DataFrame([row] * 101).assign(**{name: line}))
            bends = np.diff(scores, 2)
            assert ((bends if shape == "convex" else -bends) > -1e-9).all()
            if options.get("monotone") == f"{name}=-":
                assert (np.diff(scores) < 1e-12).all()


def test_a_convex_effect_is_learnt_as_well():
    frame, options = bowl(2000), {**QUICK, "budget": 2.0}
    shaped = fit(frame.drop(columns="gaps"), "y", make_settings({**options, "convex": ["x"]})).model
    # The noise is 0.2; a straight line along x would leave 0.9.
    assert evaluate(shaped, bowl(1000, 1)).metrics.values["rmse"] < 0.3


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({}, {"x": 1.5, "town": 0.4}),
        ({"monotone": "z=-"}, {"z": 0.7}),
        ({"convex": ["x"]}, {"x": 2.0}),
        ({"convex": ["z"], "monotone": "z=-"}, {"z": 0.5}),
        ({"curves": "linear"}, {"x": 0.3, "z": 0.3}),
        ({}, {"gaps": 0.5}),
    ],
)
def test_no_row_moves_faster_than_its_cap(options, most):
    frame = bowl()
    settings = make_settings({**QUICK, **options, "max_strength": most})
    model = fit(frame, "y", settings).model
    assert model.card["certificates"]["max_strength"] == most
    strengths = feature_strengths(model)
    free = feature_strengths(fit(frame, "y", make_settings({**QUICK, **options})).model)
    for name, value in most.items():
        # Capped by what it was, and not by more than was asked.
        assert 0.5 * value < strengths[name] <= value < free[name]
    if "x" in most:
        line = np.linspace(frame["x"].min(), frame["x"].max(), 201)
        scores = model.predict(pd.DataFrame([frame.iloc[0]] * 201).assign(x=line))
        assert np.abs(np.diff(scores) / np.diff(line)).max() <= most["x"]


def test_a_line_along_a_logarithm_keeps_its_cap_where_it_is_steepest():
    """That is at the least number, far below the first knot, one standard deviation under the mean."""
    rng = np.random.default_rng(0)
    x = rng.lognormal(0.0, 1.5, 400)
    frame = pd.DataFrame({"x": x, "y": np.log(x) + 0.1 * rng.normal(size=400)})
    settings = make_settings({**QUICK, "curves": "linear", "max_strength": "x=0.5"})
    model = fit(frame, "y", settings).model
    assert model.features.features[0].transform == "log"
    assert 0.4 < feature_strengths(model)["x"] <= 0.5


def test_a_capped_classifier_keeps_its_cap():
    frame = bowl(1500).assign(y=lambda t: np.where(t["y"] > 1.0, "high", "low"))
    model = fit(frame, "y", make_settings({**QUICK, "max_strength": {"x": 1.0, "town": 0.3}})).model
    strengths = feature_strengths(model)
    assert strengths["x"] <= 1.0
    assert strengths["town"] <= 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"convex": ["x"], "concave": ["z"]}, "cannot be in one model"),
        ({"convex": ["x"], "eig_idx": 2}, "convex needs eig_idx 4; got 2"),
        ({"convex": ["town"]}, "'town' must be a number or a date"),
        ({"concave": ["q"]}, "concave: no feature 'q'"),
        ({"max_strength": "x=0"}, "above 0"),
        ({"max_strength": "x"}, "must be like f=0.5,g=2"),
        ({"max_strength": "q=1"}, "max_strength: no feature 'q'"),
        ({"convex": ["x"], "pairs": "x:z"}, "'x' must be convex, concave or capped"),
    ],
)
def test_impossible_shapes_are_reported(options, message):
    with pytest.raises(UserError, match=message):
        fit(bowl(100), "y", make_settings({**QUICK, **options}))


def test_the_command_line_takes_shapes(tmp_path, capsys):
    bowl(300).to_csv(tmp_path / "bowl.csv", index=False)
    quick = ["--members", "1", "--dim", "3", "--budget", "0.1", "--reproducible"]
    options = ["--convex", "x", "--max-strength", "z=1,town=0.5", *quick]
    folder = tmp_path / "store"
    assert main(["fit", str(tmp_path / "bowl.csv"), "--target", "y", "--store", str(folder), *options]) == 0
    report = (folder / "bowl" / "1" / "report.html").read_text()
    assert "the score is convex" in report
    assert "the score changes by at most" in report
