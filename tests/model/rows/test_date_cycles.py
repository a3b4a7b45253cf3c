"""Cycles of dates: where a moment stands in its day, week and year, whoever sends it and however."""

import numpy as np
import pandas as pd
import pytest

from eigenserve.model.rows.date_cycles import cycle_values
from eigenserve.model.rows.errors import InvalidRowsError
from eigenserve.model.rows.features import Feature, FeatureSpace

MOMENTS = pd.date_range("1967-03-01 05:17", "2031-01-01", periods=997).round("s")
DAYS = MOMENTS.to_numpy("datetime64[s]").astype(np.int64) / 86_400
WHEN = Feature("when", "datetime", typical=0.0, missing=True)
SIZE = Feature("size", "numeric", typical=1.0)
HOUR = Feature("when (hour)", "numeric", typical=12.0, source="when", cycle="hour", missing=True)
WEEKDAY = Feature("when (weekday)", "numeric", typical=3.0, source="when", cycle="weekday", missing=True)
SPACE = FeatureSpace((WHEN, SIZE, HOUR, WEEKDAY))
FRIDAY = {"when": "2024-05-03T18:30:00", "size": 2.0}


def test_cycles_are_those_of_the_calendar():
    hours = MOMENTS.hour + MOMENTS.minute / 60 + MOMENTS.second / 3600
    # Moments are rounded to 2^-20 of an hour.
    np.testing.assert_allclose(cycle_values("hour", DAYS), hours, atol=1e-6)
    np.testing.assert_array_equal(cycle_values("weekday", DAYS), MOMENTS.day_of_week)
    # Leap years move the turn of the year by up to a day and a half.
    apart = np.abs(cycle_values("day of year", DAYS) - (MOMENTS.day_of_year - 1 + hours / 24))
    assert np.minimum(apart, 365.2425 - apart).max() < 2.0


def test_whole_days_never_fall_into_the_day_before():
    days = np.arange(-30_000.0, 30_000.0)
    np.testing.assert_array_equal(cycle_values("weekday", days), (days + 3) % 7)


def test_an_hour_is_one_number_on_all_days():
    """Doubles hold days before and after 1970, 1992 and 2014 on different grids."""
    hours = np.arange(-30_000 * 24, 30_000 * 24)
    np.testing.assert_array_equal(cycle_values("hour", hours / 24), hours % 24)


@pytest.mark.parametrize(
    "rows",
    [
        [FRIDAY],
        [list(FRIDAY.values())],
        [[*FRIDAY.values(), None, None]],
        [{**FRIDAY, "when (hour)": 18.5}],
        pd.DataFrame([FRIDAY]),
        {name: [value] for name, value in FRIDAY.items()},
        np.array([list(FRIDAY.values())], object),
    ],
    ids=["object", "array", "padded", "given", "frame", "columns", "matrix"],
)
def test_a_row_need_not_give_the_cycles_of_its_date(rows):
    (found,) = SPACE.encode(rows)
    np.testing.assert_allclose(found[1:], [2.0, 18.5, 4.0])


def test_rows_of_several_shapes_get_their_cycles_too():
    found = SPACE.encode([FRIDAY, list(FRIDAY.values()), {"size": 1.0}])
    np.testing.assert_allclose(found[:, 3], [4.0, 4.0, np.nan])


def test_a_cycle_that_is_given_goes_first():
    assert SPACE.encode([{**FRIDAY, "when (hour)": 3.0}])[0, 2] == 3.0


def test_a_table_column_with_the_name_of_a_cycle_is_none_of_the_model():
    """It may be a target, or a column that was left out of the training."""
    table = pd.DataFrame([{**FRIDAY, "when (hour)": 3.0}])
    assert SPACE.encode(table)[0, 2] == SPACE.encode(table.to_dict("list"))[0, 2] == 18.5


def test_rows_of_another_length_are_refused():
    with pytest.raises(InvalidRowsError, match="must have 2 or 4 values; got 3"):
        SPACE.encode([[*FRIDAY.values(), 1.0]])
    with pytest.raises(InvalidRowsError, match="must have the column 'when'"):
        SPACE.encode({"size": [1.0], "when (hour)": [2.0]})


@pytest.mark.parametrize(
    ("features", "rule"),
    [
        ((HOUR, WHEN), "behind all columns"),
        ((SIZE, HOUR), "behind all columns"),
        ((WHEN, HOUR, SIZE), "behind all columns"),
    ],
)
def test_a_cycle_stands_behind_its_date(features, rule):
    with pytest.raises(ValueError, match=rule):
        FeatureSpace(features)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"source": "when"}, "unknown date or cycle"),
        ({"source": "when", "cycle": "tide"}, "unknown date or cycle"),
        ({"source": "when", "cycle": "hour", "kind": "boolean"}, "must be numeric"),
    ],
)
def test_an_unknown_cycle_is_refused(options, rule):
    with pytest.raises(ValueError, match=rule):
        Feature(**{"name": "x", "kind": "numeric", "typical": 0.0, **options})
