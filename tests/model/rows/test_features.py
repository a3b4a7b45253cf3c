"""Raw rows of every shape become the same columns, and bad ones are expected by place and reason."""

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from tests.support.twin import FEATURES, random_rows, slow_coordinates

from eigenserve.model.rows.cells import category_key, days_since_epoch, iso_time
from eigenserve.model.rows.errors import MAX_REPORTED_ERRORS, InvalidRowsError
from eigenserve.model.rows.features import Feature, FeatureSpace

ROW = {"width": 1.5, "price": 20.0, "sold": True, "town": "York", "kind": "b"}
COLUMNS = [1.5, 20.0, 1.0, 2.0, 1.0]


def errors_of(rows, features=FEATURES):
    with pytest.raises(InvalidRowsError) as caught:
        features.encode(rows)
    return list(caught.value.errors)


def table_of(rows):
    return {name: np.array([row[name] for row in rows], object) for name in FEATURES.names}


@pytest.mark.parametrize(
    "rows",
    [
        [ROW],
        (ROW,),
        [list(ROW.values())],
        [tuple(ROW.values())],
        [np.array(list(ROW.values()), object)],
        np.array([list(ROW.values())], object),
        pd.DataFrame([ROW]),
        pd.DataFrame([ROW])[["kind", "town", "sold", "price", "width"]].assign(more=1),
        {name: [value] for name, value in ROW.items()},
        [dict(reversed(ROW.items()))],
    ],
    ids=[
        "objects",
        "tuple",
        "arrays",
        "tuples",
        "arrays-1-D",
        "2-D",
        "frame",
        "shuffled",
        "mapping",
        "reversed",
    ],
)
def test_every_shape_of_rows_gives_the_same_columns(rows):
    assert FEATURES.encode(rows).tolist() == [COLUMNS]


def test_rows_of_several_shapes_may_stand_in_one_list():
    assert FEATURES.encode([ROW, list(ROW.values()), tuple(ROW.values())]).tolist() == [COLUMNS] * 3


def test_an_empty_list_of_rows_gives_empty_columns():
    for rows in ([], (), np.empty((0, 5)), pd.DataFrame([ROW])[:0], {name: [] for name in ROW}):
        assert FEATURES.encode(rows).shape == (0, 5)


def test_null_nan_and_a_missing_key_are_missing_values():
    for missing in ({}, dict.fromkeys(ROW), dict.fromkeys(ROW, math.nan), dict.fromkeys(ROW, pd.NA)):
        assert np.isnan(FEATURES.encode([missing])).all()
    assert np.isnan(FEATURES.encode(pd.DataFrame([dict.fromkeys(ROW)]))).all()
    assert np.isnan(FEATURES.encode([dict.fromkeys(ROW, np.float32("nan"))])).all()


def test_frames_with_the_column_types_of_pandas_are_read():
    frame = pd.DataFrame(
        {
            "width": pd.array([1, None], "Int64"),
            "price": pd.Series([20, 30], dtype="float32"),
            "sold": pd.array([True, None], "boolean"),
            "town": pd.Series(["York", None], dtype="category"),
            "kind": pd.array(["b", None], "string"),
        }
    )
    expected = [[1.0, 20.0, 1.0, 2.0, 1.0], [np.nan, 30.0, np.nan, np.nan, np.nan]]
    assert np.array_equal(FEATURES.encode(frame), expected, equal_nan=True)


def test_integers_of_any_size_stand_for_numbers():
    for number in (2, np.int64(2), np.uint8(2), np.float32(2), 2**70):
        assert FEATURES.encode([{**ROW, "width": number}])[0, 0] == float(number)


def test_an_array_of_integers_is_read_as_numbers():
    two = FeatureSpace((Feature("a", "numeric", 0.0), Feature("b", "categorical", "1", categories=("1", "2"))))
    assert two.encode(np.array([[7, 2], [8, 9]])).tolist() == [[7.0, 1.0], [8.0, 2.0]]


def test_one_category_may_be_written_in_several_ways():
    assert [category_key(v) for v in (3, 3.0, "3", np.float32(3), np.int8(3))] == ["3"] * 5
    assert [category_key(v) for v in (True, np.True_, "true")] == ["true"] * 3
    assert category_key(0.5) == "0.5"
    rows = [{**ROW, "town": town} for town in (3, 3.0, "3", True, "true", "Rome", 4)]
    assert FEATURES.encode(rows)[:, 3].tolist() == [0.0, 0.0, 0.0, 3.0, 3.0, 4.0, 4.0]


def test_a_boolean_may_be_written_as_zero_or_one_or_text():
    rows = [{**ROW, "sold": sold} for sold in (True, 1, 1.0, "true", "True", False, 0, "FALSE")]
    assert FEATURES.encode(rows)[:, 2].tolist() == [1.0] * 5 + [0.0] * 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("width", "wide", "must be a number or null; got the text 'wide'"),
        ("width", "1,5", "must be a number or null; got the text '1,5'"),
        ("width", True, "must be a number or null; got true"),
        ("width", [1.5], "must be a number or null; got an array"),
        ("width", {"a": 1}, "must be a number or null; got an object"),
        ("width", math.inf, "must be a finite number; got an infinity or a number beyond float64"),
        ("width", -math.inf, "must be a finite number; got an infinity or a number beyond float64"),
        ("width", 10**400, "must be a finite number; got an infinity or a number beyond float64"),
        ("width", 1 + 2j, "must be a number or null; got (1+2j)"),
        ("sold", "maybe", "must be true, false or null; got the text 'maybe'"),
        ("sold", 2, "must be true, false or null; got 2"),
        ("sold", [True], "must be true, false or null; got an array"),
        ("town", ["Bath"], "must be a text, a number, a boolean or null; got an array"),
        ("town", {"Bath": 1}, "must be a text, a number, a boolean or null; got an object"),
    ],
)
def test_a_bad_value_is_reported_with_its_row_and_feature(name, value, message):
    place = list(ROW).index(name)
    assert errors_of([ROW, {**ROW, name: value}]) == [((1, name), message)]
    assert errors_of([list(ROW.values()), list({**ROW, name: value}.values())]) == [((1, place), message)]
    assert errors_of([ROW, list({**ROW, name: value}.values())]) == [((1, place), message)]
    assert errors_of(table_of([ROW, {**ROW, name: value}])) == [((1, name), message)]


def test_an_infinity_in_an_array_is_reported_with_its_place():
    space = FeatureSpace((Feature("a", "numeric", 0.0), Feature("b", "numeric", 0.0)))
    message = "must be a finite number; got an infinity or a number beyond float64"
    assert errors_of(np.array([[0.0, 1.0], [2.0, np.inf]]), space) == [((1, "b"), message)]


def test_an_unknown_feature_is_reported_with_the_known_ones():
    ((loc, message),) = errors_of([ROW, {**ROW, "hight": 1}])
    assert loc == (1, "hight")
    assert message == ("unknown feature; the model's features are width, price, sold, town, kind; got 'hight'")


@pytest.mark.parametrize("count", [0, 4, 6])
def test_the_wrong_number_of_values_is_reported(count):
    message = f"a row must have 5 values; got {count}"
    assert errors_of([list(ROW.values()), [1.0] * count]) == [((1,), message)]
    assert errors_of(np.ones((2, count))) == [((), message)]


@pytest.mark.parametrize(("row", "got"), [(1.5, "1.5"), (None, "null"), ("abc", "the text 'abc'"), (True, "true")])
def test_a_value_that_is_not_a_row_is_reported(row, got):
    message = f"a row must be an object by feature name or an array; got {got}"
    assert errors_of([ROW, row]) == [((1,), message)]


def test_a_table_without_a_column_is_reported():
    message = "the table must have the column 'town'"
    assert errors_of(pd.DataFrame([ROW]).drop(columns="town")) == [((), message)]


@pytest.mark.parametrize(
    ("one", "loc", "message"),
    [
        (ROW, ("width",), "a table's column must be a sequence, and a single row stand in a list; got 1.5"),
        (list(ROW.values()), (0,), "a row must be an object by feature name or an array; got 1.5"),
        (pd.Series(ROW), (0,), "a row must be an object by feature name or an array; got 1.5"),
        (5, (), "rows must be a list of rows; got 5"),
        (None, (), "rows must be a list of rows; got null"),
        (np.array(5.0), (), "rows must be a list of rows; got an array"),
    ],
    ids=["object", "array", "series", "number", "null", "0-D"],
)
def test_a_value_that_is_not_a_list_of_rows_is_reported(one, loc, message):
    assert errors_of(one)[0] == (loc, message)


def test_rows_may_come_one_after_another():
    assert FEATURES.encode(iter([ROW, ROW])).tolist() == [COLUMNS] * 2


def test_a_list_column_keeps_the_type_of_each_value():
    mixed = {**{name: [value] * 3 for name, value in ROW.items()}, "town": ["York", math.nan, 3]}
    assert np.array_equal(FEATURES.encode(mixed)[:, 3], [2.0, np.nan, 0.0], equal_nan=True)
    assert errors_of({**mixed, "width": [1.5, "wide", True]}) == [
        ((1, "width"), "must be a number or null; got the text 'wide'"),
        ((2, "width"), "must be a number or null; got true"),
    ]


def test_a_date_is_the_same_category_in_a_table_and_in_a_row():
    day = pd.Timestamp("2024-05-06")
    space = FeatureSpace((Feature("day", "categorical", None, categories=(category_key(day),)),))
    frame = pd.DataFrame({"day": pd.to_datetime(["2024-05-06", "2024-05-07", None])})
    assert np.array_equal(space.encode(frame)[:, 0], [0.0, 1.0, np.nan], equal_nan=True)
    assert space.encode([{"day": day}]).tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1969-12-31T23:59:59.25", "1969-12-31T23:59:59.250000+00:00"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999+00:00"),
    ],
)
def test_every_time_of_a_row_can_be_written(text, expected):
    assert iso_time(days_since_epoch(text)) == expected


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
def test_dates_of_numpy_are_dates(unit):
    space = FeatureSpace((Feature("day", "datetime", 0.0), Feature("x", "numeric", 0.0)))
    days = np.array(["1970-01-02", "NaT"], f"datetime64[{unit}]")
    for rows in ({"day": days, "x": [1.0, 2.0]}, [[days[0], 1.0], [days[1], 2.0]]):
        assert np.array_equal(space.encode(rows), [[1.0, 1.0], [np.nan, 2.0]], equal_nan=True)


@pytest.mark.parametrize("value", [np.timedelta64(1, "D"), Decimal("sNaN"), 1j, b"1"])
def test_a_value_that_is_not_a_number_is_reported(value):
    ((loc, message),) = errors_of([{**ROW, "width": value}])
    assert loc == (0, "width")
    assert message.startswith("must be a number or null; got ")


def test_an_array_is_not_a_category():
    message = "must be a text, a number, a boolean or null; got an array"
    assert errors_of([{**ROW, "town": np.array(["York"])}]) == [((0, "town"), message)]


def test_columns_of_different_lengths_are_reported():
    ((loc, message),) = errors_of({**{name: [value] for name, value in ROW.items()}, "price": [1.0, 2.0]})
    assert loc == ("price",)
    assert "length" in message


def test_many_errors_are_counted_but_not_all_listed():
    with pytest.raises(InvalidRowsError, match=r"rows\[0\]\['width'\]: must be .* \(and 99 more\)") as caught:
        FEATURES.encode([{**ROW, "width": "x"}] * 100)
    assert caught.value.total == 100
    assert len(caught.value.errors) == MAX_REPORTED_ERRORS


def test_a_long_text_is_cut_in_a_message():
    ((_, message),) = errors_of([{**ROW, "width": "x" * 100_000}])
    assert len(message) < 120


def test_coordinates_are_those_of_the_readable_twin():
    rows = random_rows(200, seed=1)
    found = FEATURES.coordinates(FEATURES.encode(rows))
    # One rounding of the logarithm and two of the standardisation.
    np.testing.assert_allclose(found, [slow_coordinates(row) for row in rows], rtol=1e-15, atol=1e-15)


def test_a_coordinate_slope_is_the_derivative_of_the_coordinate():
    for feature in FEATURES.features[:2]:
        x = np.array([0.75, 2.0, 30.0, 500.0])
        h = 1e-6 * x
        slope = (feature.coordinate(x + h) - feature.coordinate(x - h)) / (2 * h)
        # Central differences: rounding eps/1e-6 and curvature 1e-12.
        np.testing.assert_allclose(feature.coordinate_slope(x), slope, rtol=1e-8)
    price = FEATURES.features[1]
    assert price.coordinate_slope(np.array([0.1, 0.0, -3.0])).tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(price.coordinate_slope(np.array([np.nan]))).all()


def test_a_missing_number_without_a_matrix_counts_as_the_median_and_a_category_as_unknown():
    z = FEATURES.coordinates(FEATURES.encode([{}]))[0]
    assert z[0] == (2.0 - 1.5) / 2.5
    assert z[3] == 4.0
    assert np.isnan(z[[1, 2, 4]]).all()


def test_feature_names_must_differ():
    with pytest.raises(ValueError, match="must differ"):
        FeatureSpace((Feature("a", "numeric", 0.0), Feature("a", "numeric", 0.0)))


def test_coordinates_of_all_features_are_those_of_each():
    columns = FEATURES.encode(random_rows(200, seed=9))
    together = FEATURES.coordinates(columns)
    each = [feature.coordinate(columns[:, i]) for i, feature in enumerate(FEATURES.features)]
    assert np.array_equal(together, np.stack(each, axis=1), equal_nan=True)
