"""A fit learns every task from the demo data, reports what it did, and gives the same bytes every time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eigenserve.errors import UserError
from eigenserve.model.checkpoints.files import DOCUMENT, WEIGHTS, read_checkpoint, write_checkpoint
from eigenserve.model.kernels import threads
from eigenserve.training.curves.pair_curves import Resolution, pair_curves
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.table import read_table
from eigenserve.training.evaluation.evaluate import evaluate
from eigenserve.training.fit import fit
from eigenserve.training.planning.clock import Clock
from eigenserve.training.settings import make_settings

DATA = Path(__file__).parents[2] / "examples" / "data"
ADULT = ["Age", "EducationNum", "MaritalStatus", "HoursPerWeek"]
#: Small and quick, for tests of anything but quality.
QUICK = {"members": 2, "dim": 5, "budget": 0.3, "reproducible": True}


def table(name, rows=None, seed=0):
    frame = read_table(DATA / name)
    return frame if rows is None else frame.sample(rows, random_state=seed, ignore_index=True)


def quick(frame, target, **options):
    return fit(frame, target, make_settings({**QUICK, **options})).model


def simple(rows=200, seed=0, **columns):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(rows)
    return pd.DataFrame({"x": x, "y": 2.0 * x + rng.standard_normal(rows), **columns})


def assert_explains(model, frame):
    found = model.explain(frame)
    total = found.baseline + found.contributions.sum(axis=1)
    assert (np.abs(total - found.score) <= 1e-9 * np.maximum(1.0, np.abs(found.score))).all()
    return found


# A test set is worth having only if the model has not seen it: each fit gets half of a slice. The bounds lie
# halfway between knowing nothing and what the fit reaches.
@pytest.mark.parametrize(
    ("name", "rows", "target", "options", "task", "metric", "bound"),
    [
        ("california_housing_train.csv", 2000, "median_house_value", {}, "regression", "r2", 0.6),
        ("titanic.csv", None, "survived", {"exclude": ["alive"]}, "binary", "auc", 0.8),
        ("adult.csv.gz", 1000, "Income", {"features": ADULT, "pairs": "none"}, "binary", "auc", 0.75),
        ("penguins.csv", None, "species", {}, "multiclass", "accuracy", 0.95),
        (
            *("titanic.csv", None, "sibsp"),
            *({"task": "poisson", "exclude": ["alone"]}, "poisson", "d2", 0.1),
        ),
    ],
    ids=["housing", "titanic", "adult", "penguins", "siblings"],
)
def test_every_task_is_learnt_from_a_slice_of_the_demo_data(name, rows, target, options, task, metric, bound):
    frame = table(name, rows)
    train = frame.sample(frac=0.5, random_state=1)
    test = frame.drop(train.index)
    fitted = fit(train, target, make_settings({"members": 2, "budget": 1.0, "reproducible": True, **options}))
    assert fitted.model.task == task
    metrics = evaluate(fitted.model, test).metrics
    assert metrics.rows == len(test)
    assert metrics.values[metric] > bound
    assert fitted.model.card["metrics"]["out_of_fold"][metric] > bound
    found = assert_explains(fitted.model, test)
    # Every feature that varies, a categorical one too, has one contribution under its own name.
    chosen = options.get("features", train.columns)
    varying = [c for c in chosen if c != target and c not in options.get("exclude", ())]
    single = [term for term in found.terms if " & " not in term]
    assert set(single) <= set(varying)
    assert len(found.terms) == len(set(found.terms))
    assert len(single) >= len(varying) - 2


def test_a_fit_gives_the_same_bytes_on_any_number_of_threads(tmp_path):
    frame = table("penguins.csv")
    try:
        for number in (1, 2, 3, 7):
            threads.set_num_threads(number)
            folder = tmp_path / str(number)
            folder.mkdir()
            settings = make_settings({**QUICK, "members": 3, "pairs": "bill_length_mm:island"})
            # The plan decides, not the clock, which is only a brake for machines that are too busy to keep it.
            write_checkpoint(folder, fit(frame, "species", settings, clock=Clock(1e6)).model)
    finally:
        threads._threads = None
    for name in (DOCUMENT, WEIGHTS):
        assert len({(tmp_path / str(number) / name).read_bytes() for number in (1, 2, 3, 7)}) == 1


def test_a_fit_leaves_the_ambient_generators_alone():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    quick(simple(), "y")
    assert np.random.random() == expected  # noqa: NPY002


def test_another_seed_gives_another_model():
    # Linear curves: where an additive model is the best, no random number is left in it.
    frame = simple()
    one, other = (quick(frame, "y", seed=seed, curves="linear").predict(frame) for seed in (0, 1))
    assert not np.array_equal(one, other)
    # Both learn the same line, whose noise is 1.
    assert np.abs(one - other).mean() < 1.0


@pytest.mark.parametrize(("dim", "members"), [(1, 1), (2, 1), (17, 2), (33, 1)])
@pytest.mark.parametrize("curves", ["piecewise", "linear"])
def test_any_size_is_trained_saved_and_explained(tmp_path, dim, members, curves):
    frame = simple()
    model = quick(frame, "y", dim=dim, members=members, curves=curves)
    write_checkpoint(tmp_path, model)
    back = read_checkpoint(tmp_path)
    assert np.array_equal(back.predict(frame), model.predict(frame))
    assert_explains(back, frame)
    assert back.ensemble.pencil.dim == dim
    assert np.corrcoef(model.predict(frame), frame["y"])[0, 1] > 0.8


def test_pairs_of_every_kind_get_a_term_of_their_own():
    frame = table("titanic.csv").drop(columns="alive")
    pairs = ("age & fare", "sex & age", "sex & embarked", "alone & age")
    model = quick(frame, "survived", pairs="age:fare,sex:age,sex:embarked,alone:age")
    assert assert_explains(model, frame).terms[-4:] == pairs


def test_knots_on_the_diagonals_of_a_grid_stand_apart():
    """Sums of the same two coordinates differ by rounding: 1 + 3 and 3 + 1, each by its own direction."""
    a, b = np.meshgrid(np.arange(20.0), np.arange(20.0))
    frame = pd.DataFrame({"a": a.ravel(), "b": b.ravel()})
    space = infer_features(frame)
    curves = pair_curves(0, space, space.coordinates(space.encode(frame)), 0, 1, Resolution(16, 64, ramps=False))
    assert min(basis.curve.least_distance for basis in curves) > 1e-3


def test_a_pair_learns_what_two_single_features_cannot():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((2000, 2)), columns=["a", "b"])
    frame["y"] = frame.a * frame.b
    settings = make_settings({"members": 1, "dim": 1, "pairs": "none", "budget": 0.3, "reproducible": True})
    alone = fit(frame, "y", settings).model
    settings = make_settings({"members": 1, "dim": 1, "pairs": "a:b", "budget": 0.3, "reproducible": True})
    paired = fit(frame, "y", settings).model
    assert alone.card["metrics"]["out_of_fold"]["r2"] < 0.2
    assert paired.card["metrics"]["out_of_fold"]["r2"] > 0.8


def test_terms_have_mean_zero_so_that_the_baseline_is_the_average_rows():
    frame = table("penguins.csv")
    pencil = quick(frame, "species").ensemble.pencil
    model = quick(frame, "species")
    walk = pencil.curves.walk(model.features.coordinates(model.features.encode(frame.dropna(subset=["species"]))))
    for first, last, place in zip(
        pencil.curves.offsets[:-1], pencil.curves.offsets[1:], range(len(pencil.curves.curves)), strict=True
    ):
        shares = np.zeros(last - first + 1)
        np.add.at(shares, walk.starts[:, place] - first, 1 - walk.weights[:, place])
        np.add.at(shares, walk.starts[:, place] - first + 1, walk.weights[:, place])
        mean = np.tensordot(shares[:-1] / len(walk.starts), pencil.diag[first:last], axes=1)
        # Weights are held in float32 while training, the mean row's among them.
        np.testing.assert_allclose(mean, 0.0, atol=1e-6)


def test_missing_values_unknown_categories_and_numbers_beyond_training_are_answered():
    model = quick(table("titanic.csv").drop(columns="alive"), "survived")
    rows = [{}, {"deck": "Z", "sex": "x", "age": -1e300, "fare": 1e300}, {"embarked": None, "age": None}]
    assert np.isfinite(model.predict_proba(rows)).all()
    assert_explains(model, rows)


def test_uninformative_columns_do_not_have_a_term():
    frame = simple(same=1.0, empty=np.nan, none=None, ident=[f"id{i}" for i in range(200)])
    model = quick(frame, "y")
    assert assert_explains(model, frame).terms == ("x",)
    assert np.isfinite(model.predict([{"x": 1.0, "same": 7, "empty": 3, "none": "c"}])).all()


@pytest.fixture(scope="module")
def simple_r2():
    return quick(simple(), "y").card["metrics"]["out_of_fold"]["r2"]


@pytest.mark.parametrize("scale", [1e-99, 1e-12, 1e-3, 1e6, 1e12, 1e96])
@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_a_target_or_feature_of_any_scale_is_learnt_as_well(simple_r2, scale, shift):
    scaled = (simple() + shift) * scale
    model = quick(scaled, "y")
    # The rounding of the shifted numbers, and with it another path of the optimiser.
    assert abs(model.card["metrics"]["out_of_fold"]["r2"] - simple_r2) < 0.05
    found = model.explain(scaled)
    total = found.baseline + found.contributions.sum(axis=1)
    # Summing numbers as large as the target rounds by eps times their size.
    assert np.abs(total - found.score).max() <= 1e-13 * np.abs(scaled["y"]).max()


@pytest.mark.parametrize("options", [{"curves": "linear"}, {"pairs": "none"}], ids=["one-candidate", "several"])
def test_a_fit_of_given_length_is_judged_on_a_fourth_of_many_rows(options):
    frame = simple(6000)
    fitted = fit(frame, "y", make_settings({**QUICK, "epochs": 5, **options}))
    card = fitted.model.card
    assert (card["training"]["rows"], card["metrics"]["out_of_fold"]["rows"]) == (6000, 1500)
    assert len(fitted.scores) == len(fitted.target.values) == len(fitted.weight) == 1500
    assert len(fitted.columns) == 6000
    # The noise is 1; what was held out is predicted by members like those of the model, but not by these.
    assert 0.9 < card["metrics"]["out_of_fold"]["rmse"] < 1.2
    held = fitted.model.predict(frame)[:, None]
    assert not np.isin(fitted.scores, held).any()
    assert abs(fitted.model.card["intervals"]["0.9"] - 1.645) < 0.2


def test_rows_without_a_target_are_left_out_and_reported():
    frame = simple()
    frame.loc[:9, "y"] = np.nan
    fitted = fit(frame, "y", make_settings(QUICK))
    assert any("10 rows without a 'y' were left out" in note for note in fitted.notes)
    assert fitted.model.card["training"]["rows"] == 190


def test_the_card_says_how_the_model_was_made():
    card = quick(simple(), "y", seed=7).card
    assert card["training"]["settings"]["seed"] == 7
    assert card["metrics"]["out_of_fold"]["rows"] == card["training"]["rows"] == 200
    assert len(card["data"]["sha256"]) == 64
    assert {"eigenserve", "numpy", "numba"} <= set(card["libraries"])


def test_labels_of_classes_keep_their_types():
    for labels in ([0, 1], [False, True], ["no", "yes"], [0.5, 2.5]):
        frame = simple()
        frame["y"] = [labels[int(y > 0)] for y in frame.y]
        model = quick(frame, "y")
        assert (model.task, list(model.classes)) == ("binary", labels)
        assert set(model.predict(frame).tolist()) <= set(labels)


@pytest.mark.parametrize(
    ("frame", "target", "options", "message"),
    [
        (simple(), "z", {}, "no column 'z'; the columns are x, y"),
        (simple(10), "y", {}, "at least 20 rows are needed; got 10"),
        (simple(y=1.0), "y", {}, "target 'y' must vary; it is 1.0 in every row"),
        (simple(y=np.nan), "y", {}, "target 'y' must vary; it is missing in every row"),
        (simple(x=1.0), "y", {}, "at least one feature must vary"),
        (simple(y=["a", "b"] * 100), "y", {"task": "regression"}, "must be a number; 'y' has 'a'"),
        (simple(), "y", {"task": "poisson"}, "a poisson target must be at least 0; 'y' has -"),
        (simple(), "y", {"task": "binary"}, "a binary target must have 2 classes; 'y' has 200"),
        (simple(), "y", {"task": "multiclass"}, "200 classes in 200 rows"),
        (simple(y=[np.inf, 1.0] * 100), "y", {"task": "regression"}, "must be finite"),
        (simple(y=pd.to_datetime(["2024-01-01", "2024-02-01"] * 100)), "y", {}, "it holds dates such as 2024-01-01"),
        (simple() * 1e200, "y", {}, r"'y' must .* between 1e-100 and 1e\+100; got .*e\+200: rescale"),
        (simple() * 1e-200, "y", {}, "'y' must .* absolute value .*e-200: rescale the target"),
        (simple(), "y", {"features": ["z"]}, "no column 'z'"),
        (simple(), "y", {"exclude": ["z"]}, "no column 'z'"),
        (simple(), "y", {"exclude": ["x"]}, "at least one feature must vary"),
        (simple(), "y", {"pairs": "x:z"}, "pairs: no feature 'z'"),
        (simple(), "y", {"pairs": "x:y"}, "pairs: no feature 'y'"),
    ],
)
def test_what_cannot_be_trained_on_is_reported(frame, target, options, message):
    with pytest.raises(UserError, match=message) as caught:
        quick(frame, target, **options)
    assert "\n" not in str(caught.value)


def test_an_infinity_among_the_rows_is_reported_with_its_place_and_counts_as_missing():
    frame = simple()
    frame.loc[7, "x"] = -np.inf
    fitted = fit(frame, "y", make_settings(QUICK))
    assert "in 'x' 1 cell that is not a finite number counts as missing: -inf in row 8" in fitted.notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be at least 1; got 0"),
        ({"dim": 1000}, "dim must be at most 512; got 1000"),
        ({"dim": 2.5}, "dim must be"),
        ({"dim": True}, "dim must be"),
        ({"members": 0}, "members must be at least 1"),
        ({"batch": -1}, "batch must be at least 1"),
        ({"budget": 0}, "budget must be"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"class_weight": "heavy"}, "class_weight must be"),
        ({"monotone": "x"}, "monotone must be like"),
        ({"monotone": "x=up"}, "monotone must be like"),
        ({"monotone": 7}, "monotone must be like"),
        ({"monotone": [7]}, "monotone must be like f=.,g=-; got '7'"),
        ({"monotone": ["x=+"]}, r"monotone must be like f=\+,g=-; got 'x=\+'"),
        ({"monotone": "x=+,x=-"}, "monotone must name each feature once; got x, x"),
        ({"max_strength": [7]}, "max_strength must be like"),
        ({"max_strength": "x=1,x=2"}, "max_strength must name each feature once"),
        ({"seed": -1}, "seed must be"),
        ({"task": "ranking"}, "task must be one of"),
        ({"curves": "round"}, "curves must be one of"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"learning_rate": float("nan")}, "learning_rate must be"),
        ({"pairs": "a"}, "a pair must be two different features"),
        ({"pairs": "a:a"}, "a pair must be two different features"),
        ({"pairs": "a:b:c"}, "a pair must be two different features"),
        ({"pairs": 7}, "pairs must be like"),
        ({"pairs": [7]}, "pair"),
        ({"features": 7}, "features must be"),
        ({"features": "x"}, "features must be"),
        ({"exclude": [7]}, "exclude must be"),
        ({"colour": 1}, "colour"),
    ],
    ids=str,
)
def test_an_impossible_setting_is_reported(options, message):
    with pytest.raises(UserError, match=message) as caught:
        make_settings(options)
    assert "\n" not in str(caught.value)
