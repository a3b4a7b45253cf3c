"""Arrow columns are encoded as `FeatureSpace.encode` encodes the same rows, cell by cell."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest
from tests.support.made_models import FEATURES, make_rows

from eigenserve.model.rows.features import Feature, FeatureSpace

pa = pytest.importorskip("pyarrow")

from eigenserve.app.batch.encoding import encode_table  # noqa: E402

SPACE = FeatureSpace(FEATURES)
MOMENT = Feature("moment", "datetime", typical=0.0)


def encoded(space: FeatureSpace, columns: dict):
    found, faults = encode_table(space, pa.table(columns))
    return found, {(row, space.names[j]): message for (row, j), message in faults.items()}


def test_numbers_booleans_and_categories_are_encoded_as_rows_are():
    rows = make_rows(500, seed=1)
    columns = {name: pa.array([row.get(name) for row in rows]) for name in SPACE.names}
    found, faults = encoded(SPACE, columns)
    assert not faults
    np.testing.assert_array_equal(found, SPACE.encode([{n: row.get(n) for n in SPACE.names} for row in rows]))


def test_text_is_encoded_as_the_values_it_stands_for():
    rows = make_rows(200, seed=2)
    texts = {n: pa.array([None if r.get(n) is None else str(r[n]) for r in rows], pa.string()) for n in SPACE.names}
    found, faults = encoded(SPACE, texts)
    assert not faults
    np.testing.assert_array_equal(found, SPACE.encode([{n: row.get(n) for n in SPACE.names} for row in rows]))


def test_dictionaries_decimals_and_numbers_as_categories_are_understood():
    columns = {
        "age": pa.array([Decimal("31.5"), None]),
        "income": pa.array([1, None], pa.int64()),
        "member": pa.array([1, 0], pa.int8()),
        "city": pa.array([3.0, 4.0]),
        "rate": pa.array([0.5, None], pa.float32()),
    }
    found, faults = encoded(SPACE, columns)
    assert not faults
    np.testing.assert_array_equal(found, [[31.5, 1.0, 1.0, 2.0, 0.5], [np.nan, np.nan, 0.0, 3.0, np.nan]])
    columns["city"] = pa.array(["Rome", None]).dictionary_encode()
    assert encoded(SPACE, columns)[0][:, 3].tolist()[0] == 1.0


@pytest.mark.parametrize(
    "values",
    [
        pa.array([datetime(2001, 2, 3, 4, 5, 6, 789), None, datetime(1905, 1, 1, 23)], pa.timestamp("us")),
        pa.array([datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC), None], pa.timestamp("ms", "UTC")),
        pa.array([date(2024, 2, 29), None], pa.date32()),
        pa.array(["2024-02-29T12:00:00+02:00", None]),
    ],
    ids=["local", "zone", "date", "text"],
)
def test_moments_are_encoded_to_the_last_bit_as_cells_are(values):
    space = FeatureSpace((MOMENT,))
    found, faults = encoded(space, {"moment": values})
    assert not faults
    np.testing.assert_array_equal(found, space.encode([{"moment": value} for value in values.to_pylist()]))


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("age", pa.array([1.0, np.inf]), "finite"),
        ("age", pa.array(["1", "west"]), "must be a number"),
        ("age", pa.array([True, False]), "must be a number"),
        ("member", pa.array(["true", "maybe"]), "'maybe'"),
        ("city", pa.array([["a"], ["b"]]), "an array"),
    ],
)
def test_a_wrong_cell_is_reported_with_its_row_and_feature(name, values, says):
    columns = {other: pa.nulls(2) for other in SPACE.names} | {name: values}
    faults = encoded(SPACE, columns)[1]
    assert (1, name) in faults
    assert says in faults[1, name]


def test_text_that_only_python_reads_as_a_number_is_none_and_neither_is_infinity():
    columns = {name: pa.nulls(3, pa.string()) for name in SPACE.names}
    columns["rate"] = pa.array(["1_000", " 2 ", "-inf"])
    found, faults = encoded(SPACE, columns)
    assert found[1, 4] == 2.0
    assert list(faults) == [(0, "rate"), (2, "rate")]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 10**12], pa.timestamp("s")),
        pa.array([0, -(2**62)], pa.timestamp("us")),
        pa.array([0, 2**31 - 1], pa.int32()).cast(pa.date32()),
    ],
    ids=["seconds", "microseconds", "days"],
)
def test_a_time_beyond_the_calendar_is_a_fault_and_no_crash(column):
    found, faults = encoded(FeatureSpace((MOMENT,)), {"moment": column})
    assert np.array_equal(found, [[0.0], [np.nan]], equal_nan=True)
    assert faults == {(1, "moment"): "must be a date or time of the years 1 to 9999, or null"}
    _, faults = encoded(FeatureSpace((Feature("moment", "numeric", typical=0.0),)), {"moment": column})
    assert set(faults) == {(0, "moment"), (1, "moment")}
    town = FeatureSpace((Feature("moment", "categorical", "a", categories=("a",)),))
    assert encoded(town, {"moment": column})[0].tolist() == [[1.0], [1.0]]


def test_the_first_and_the_last_day_are_none_beyond():
    column = pa.array([date(1, 1, 1), date(9999, 12, 31)])
    found, faults = encoded(FeatureSpace((MOMENT,)), {"moment": column})
    assert not faults
    np.testing.assert_array_equal(found[:, 0], [-719_162, 2_932_896])
