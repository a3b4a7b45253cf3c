"""A table with dates: their cycles are learnt, stored, explained, exported and scored from the date alone."""

import json

import numpy as np
import pandas as pd
import pytest

from eigenserve.model.checkpoints.files import read_checkpoint, write_checkpoint
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.table import read_table
from eigenserve.training.estimators.spectral import SpectralRegressor
from eigenserve.training.fit import fit
from eigenserve.training.settings import make_settings

WHEN = "when"
CYCLES = ["when (hour)", "when (weekday)", "when (day of year)"]


def _sales(rows: int = 3000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    when = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 3 * 365 * 1440, rows), unit="min")
    hour, weekday = when.hour + when.minute / 60, when.day_of_week
    sold = 3.0 * np.sin(np.pi * hour / 12) + 2.0 * (weekday >= 5) + np.cos(2 * np.pi * when.day_of_year / 365.25)
    return pd.DataFrame({WHEN: when, "size": rng.normal(size=rows), "sold": sold + 0.3 * rng.normal(size=rows)})


@pytest.fixture(scope="module")
def sales() -> pd.DataFrame:
    return _sales()


@pytest.fixture(scope="module")
def model(sales: pd.DataFrame) -> SpectralModel:
    return fit(sales, "sold", make_settings({"budget": 2.0, "reproducible": True, "members": 2})).model


def test_cycles_are_learnt(sales, model):
    fresh = _sales(1000, seed=1)
    rmse = float(np.sqrt(np.mean((model.predict(fresh) - fresh.sold) ** 2)))
    # The noise is 0.3; the target's spread 2.3, of which the date without its cycles explains next to nothing.
    assert rmse < 0.4
    assert list(model.features.names) == [WHEN, "size", *CYCLES]
    assert model.features.input_names == (WHEN, "size")


def test_only_cycles_that_dates_run_through_are_features():
    days = pd.date_range("2023-01-01", periods=200)
    assert infer_features(pd.DataFrame({"d": days})).names == ("d", "d (weekday)")
    assert infer_features(pd.DataFrame({"d": days[:10]})).names == ("d",)
    assert infer_features(pd.DataFrame({"d": days[0] + pd.to_timedelta([3, 4, 5], "h")})).names == ("d", "d (hour)")
    # Midnights of a place, or every Monday: nothing varies, and a date is not tied to what never counts.
    assert infer_features(pd.DataFrame({"d": days[:5] + pd.Timedelta(hours=22)})).names == ("d",)
    assert infer_features(pd.DataFrame({"d": days[::7]})).names == ("d",)
    assert infer_features(pd.DataFrame({"d": pd.to_datetime([None, None])})).names == ("d",)
    assert infer_features(pd.DataFrame({"d": days}), shaped=["d"]).names == ("d",)
    assert infer_features(pd.DataFrame({"d": days, "d (weekday)": 1.0})).names == ("d", "d (weekday)", "d (weekday)*")


def test_dates_of_parquet_are_dates(tmp_path):
    """pandas reads them as Python's own."""
    days = pd.date_range("1968-01-01", periods=900)
    pd.DataFrame({"d": days.date}).to_parquet(tmp_path / "days.parquet")
    space = infer_features(read_table(tmp_path / "days.parquet"))
    assert space == infer_features(pd.DataFrame({"d": days}))
    assert space.features[0].kind == "datetime"


def test_a_checkpoint_keeps_cycles(model, sales, tmp_path):
    write_checkpoint(tmp_path, model)
    again = read_checkpoint(tmp_path)
    assert again.features == model.features
    np.testing.assert_array_equal(again.predict(sales[:50]), model.predict(sales[:50]))


def test_contributions_name_the_cycles(model, sales):
    explained = model.explain(sales[:20])
    assert set(CYCLES) < set(explained.terms)
    np.testing.assert_allclose(explained.baseline + explained.contributions.sum(axis=1), explained.score, atol=1e-9)


def test_a_counterfactual_changes_a_date_by_whole_days_with_its_cycles(model, sales):
    row = sales.drop(columns="sold").iloc[0].to_dict()
    wanted = {"above": float(model.predict([row])[0]) + 0.01}
    for one in model.counterfactuals([row], wanted)[0]:
        assert set(one.changes) <= {"size", WHEN}
        if WHEN in one.changes:
            before, after = one.changes[WHEN]
            assert before[11:] == after[11:]
        changed = {**row, **{name: after for name, (_, after) in one.changes.items()}}
        assert model.predict([changed])[0] >= wanted["above"]
    for name, ends in ((WHEN, ("2021-01-01", "2021-02-01")), (CYCLES[0], (9.0, 17.0))):
        with pytest.raises(ValueError, match="has no range: a date and its cycles change together"):
            model.counterfactuals([row], wanted, ranges={name: ends})


def test_a_request_for_a_range_of_a_date_whose_cycles_count_is_refused(model):
    from eigenserve.app.api.counterfactuals import _Faults, _read_ranges
    from eigenserve.app.registry import ServedModel

    faults = _Faults([])
    ranges = {WHEN: ["2021-01-01", "2021-02-01"], CYCLES[0]: [9, 17], "size": [0, 1]}
    _read_ranges(ServedModel("sales", 1, model), ranges, faults)
    assert [loc for loc, _ in faults.found] == [("ranges", WHEN), ("ranges", CYCLES[0])]


def test_an_exported_graph_takes_the_date_alone(model, sales):
    onnxruntime = pytest.importorskip("onnxruntime")
    from eigenserve.model.onnx.export import ExportSettings, to_bytes, to_onnx

    content = to_bytes(to_onnx(model, ExportSettings(explain=True)))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == [WHEN, "size"]
    days = sales[WHEN].to_numpy("datetime64[us]").astype(np.int64) / 86_400e6
    found = session.run(None, {WHEN: days[:, None], "size": sales[["size"]].to_numpy()})
    np.testing.assert_allclose(found[0][:, 0], model.predict(sales), rtol=0, atol=1e-4)


def test_batches_are_scored_from_the_date_alone(model, sales):
    pa = pytest.importorskip("pyarrow")
    from eigenserve.app.batch.encoding import encode_table

    table = pa.Table.from_pandas(sales[[WHEN, "size"]])
    found, faults = encode_table(model.features, table)
    assert not faults
    np.testing.assert_allclose(found, model.features.encode(sales), atol=1e-8)


def test_an_estimator_counts_columns_not_cycles(model, sales, tmp_path):
    dated = SpectralRegressor(budget=1.0, members=1).fit(sales.drop(columns="sold"), sales.sold)
    assert dated.n_features_in_ == 2
    dated.save(tmp_path, "sales")
    again = SpectralRegressor.from_checkpoint(tmp_path / "sales")
    assert list(again.feature_names_in_) == [WHEN, "size"]
    rows = sales.drop(columns="sold")[:20]
    np.testing.assert_array_equal(again.predict(rows), dated.predict(rows))


def test_a_served_model_asks_for_the_date_alone(model, sales):
    from eigenserve.app.api.models import _feature

    card = _feature(model.features.features[0], model.features)
    assert card["cycles"] == CYCLES
    row = json.loads(sales.drop(columns="sold")[:1].to_json(orient="records", date_format="iso"))
    np.testing.assert_allclose(model.predict(row), model.predict(sales[:1]), rtol=1e-6)
