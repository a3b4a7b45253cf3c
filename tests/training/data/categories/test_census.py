"""Categories are counted on all rows of a table: as its sample is read, exactly, and no row says where it stands."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.long_files import write_in_parts

from eigenserve.cli import main
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.rows.readings import PLAIN
from eigenserve.training.data.categories.census import TargetReader, take_census, take_vocabulary
from eigenserve.training.data.categories.grouping import group_categories
from eigenserve.training.data.sampling import read_sample
from eigenserve.training.data.schema import infer_features
from eigenserve.training.fit import fit, plan
from eigenserve.training.search.preparation.counted import census_of, on_scale, plan_census
from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

QUICK = {"members": 1, "dim": 5, "budget": 2.0, "reproducible": True, "pairs": "none"}
LEVELS, ROWS = 200, 20_000
EFFECTS = np.random.default_rng(99).standard_normal(LEVELS)


def visits(rows=ROWS, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    town, x = rng.integers(0, LEVELS, rows), rng.standard_normal(rows)
    y = EFFECTS[town] + 0.3 * x + noise * rng.standard_normal(rows)
    return pd.DataFrame({"town": [f"t{i:03}" for i in town], "x": x, "y": y})


def sampled(frame, folder, rows, settings, target="y", file="a.parquet"):
    found = read_sample(write_in_parts(frame, folder / file), rows, seed=0)
    return training_table(found.frame, target, settings, found.whole)


def counted(table, settings):
    space = infer_features(table.features, readings=table.readings)
    decided = plan_census(
        space, table.features, table.target, settings, table.beyond, len(table.features), slowness=1.0
    )
    taken = census_of(space, decided, table.target, table.features, table.beyond, settings)
    return taken.space, decided, taken.census and taken.census.standardised(0.0, 1.0)


@pytest.mark.parametrize("file", ["a.parquet", "a.arrow"])
def test_counts_and_sums_are_those_of_all_rows(tmp_path, file):
    frame = visits()
    frame.loc[::50, "town"] = None
    frame.loc[1::50, "y"] = np.nan
    frame["town"] = frame["town"].astype("category")
    space, _, census = counted(sampled(frame, tmp_path, 2_000, make_settings(QUICK), file=file), make_settings(QUICK))
    expected = frame.dropna().groupby("town", observed=True)["y"].agg(["size", "sum"])
    categories = list(space.features[0].categories)
    assert census.rows == int(frame["y"].notna().sum())
    np.testing.assert_array_equal(census.counts["town"][:-1], expected["size"][categories])
    np.testing.assert_allclose(census.sums["town"][:-1, 0], expected["sum"][categories])
    assert census.counts["town"][-1] == census.sums["town"][-1, 0] == 0.0


def test_classes_are_those_of_the_sample_and_cells_are_read_like_a_requests(tmp_path):
    frame = visits()
    frame["y"] = np.where(frame["y"] > 0, "Yes ", "no")
    frame.loc[::3, "town"] = frame["town"][::3].str.upper() + " "
    expected = frame.assign(town=frame["town"].str.strip().str.lower(), y=frame["y"] == "no")
    _, _, census = counted(sampled(frame, tmp_path, 4_000, make_settings(QUICK)), make_settings(QUICK))
    assert census.counts["town"].sum() == ROWS
    assert sorted(census.sums["town"][:-1, 0]) == sorted(expected.groupby("town")["y"].sum())


def test_a_target_that_no_row_at_hand_has_counts_as_missing():
    reader = TargetReader(codes={"a": 0.0, "b": 1.0})
    np.testing.assert_array_equal(reader.read(pd.Series(["b", "c", None, "a"])), [1.0, np.nan, np.nan, 0.0])
    read = TargetReader(PLAIN).read(pd.Series(["1.5", "x", None, "2"]))
    np.testing.assert_array_equal(read, [1.5, np.nan, np.nan, 2.0])


def test_no_row_is_in_a_group_by_its_own_target():
    """Pure noise, counted on all rows: the groups in which rows are trained on know nothing of it."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"c": [str(i) for i in rng.integers(0, LEVELS, 1_200)]})
    target = rng.standard_normal(1_200)
    feature = Feature("c", "categorical", "0", categories=tuple(sorted(set(frame["c"]))))
    space = FeatureSpace((feature,))
    census = take_census([feature], [(frame, target)])
    part = np.arange(0, 1_200, 2)
    fold = np.arange(len(part)) % 4
    codes = space.encode(frame.iloc[part])
    _, before = group_categories(space, codes, target[part][:, None], fold, census=census)
    changed = target.copy()
    held = part[fold == 0]
    for name in set(frame["c"]):
        here = held[(frame["c"].iloc[held] == name).to_numpy()]
        changed[here] = np.roll(changed[here], 1)
    census = take_census([feature], [(frame, changed)])
    _, after = group_categories(space, codes, changed[part][:, None], fold, census=census)
    np.testing.assert_array_equal(before[0][fold == 0], after[0][fold == 0])


def test_the_rows_that_are_not_trained_on_make_the_model_better(tmp_path):
    settings = make_settings(QUICK)
    table = sampled(visits(40_000), tmp_path, 1_000, settings)
    fresh = visits(10_000, seed=5)
    errors = {}
    for name, beyond in (("sample", None), ("all", table.beyond)):
        fitted = fit(replace(table, beyond=beyond), "y", settings)
        rows = fresh[["town", "x"]]
        errors[name] = np.square(fitted.model.predict(rows) - fresh["y"]).mean()
        notes = " ".join(fitted.notes)
        assert ("all 40,000 rows say what categories of 'town' are worth" in notes) == (name == "all")
        assert ("category_rows" in fitted.model.card["training"]) == (name == "all")
    # Five rows of a category leave a sixth of its variance unknown, two hundred next to nothing.
    assert errors["all"] < errors["sample"] - 0.08


def test_rows_at_hand_that_are_not_trained_on_are_counted_too():
    settings = make_settings(QUICK)
    table = training_table(visits(), "y", settings)
    space = infer_features(table.features, readings=table.readings)
    assert not plan_census(space, table.features, table.target, settings, None, ROWS, slowness=1.0).features
    decided = plan_census(space, table.features, table.target, settings, None, ROWS // 2, slowness=1.0)
    census = census_of(space, decided, table.target, table.features, None, settings).census
    assert census.rows == census.counts["town"].sum() == ROWS


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"groups": "x"}, "--groups"),
        ({"time": "x"}, "--time"),
        ({"budget": 0.01}, "raise --budget"),
        ({"exposure": "units", "task": "poisson"}, "without exposures"),
    ],
)
def test_what_keeps_the_others_from_being_counted_is_said(tmp_path, given, says):
    settings = make_settings({**QUICK, **given})
    frame = visits().assign(units=2.0)
    frame["y"] = frame["y"].abs().round()
    table = sampled(frame, tmp_path, 2_000, settings)
    _, decided, census = counted(table, settings)
    assert census is None
    assert says in decided.note
    assert decided.note in plan(table, "y", settings).notes


def test_copies_among_the_others_keep_them_from_being_counted(tmp_path):
    settings = make_settings(QUICK)
    frame = visits(5_000)
    table = sampled(pd.concat([frame, frame], ignore_index=True), tmp_path, 3_000, settings)
    _, decided, census = counted(table, settings)
    assert census is None
    assert "copies" in decided.note


def test_the_plan_names_the_rows_that_are_counted(tmp_path, capsys):
    pq.write_table(pa.Table.from_pandas(visits()), tmp_path / "a.parquet")
    main(["fit", str(tmp_path / "a.parquet"), "--target", "y", "--max-rows", "2000", "--plan"])
    assert "all 20,000 rows say what categories of 'town' are worth" in capsys.readouterr().out


def test_classes_are_counted_on_all_rows_though_the_rows_at_hand_are_mostly_of_one():
    rng = np.random.default_rng(4)
    level = rng.integers(0, LEVELS, 200_000)
    share = 0.02 / (1 + np.exp(-EFFECTS[level]))
    target = (rng.random(len(level)) < share).astype(float)
    feature = Feature("c", "categorical", "0", categories=tuple(f"t{i:03}" for i in range(LEVELS)))
    census = take_census([feature], [(pd.DataFrame({"c": [f"t{i:03}" for i in level]}), target)])
    # All of the rare class, and as many of the other.
    rare = np.flatnonzero(target == 1)
    part = np.concatenate([rare, rng.choice(np.flatnonzero(target == 0), len(rare), replace=False)])
    fold = np.arange(len(part)) % 4
    space, _ = group_categories(
        FeatureSpace((feature,)), level[part, None].astype(float), target[part][:, None], fold, census=census
    )
    groups = np.array(space.features[0].groups)
    assert np.corrcoef(np.argsort(np.argsort(EFFECTS)), groups[:-1])[0, 1] > 0.7
    # An unknown category is worth the mean of all rows, not the half that the rare class has here.
    assert 0.25 < (groups[:-1] < groups[-1]).mean() < 0.75


def test_what_is_known_are_the_categories_of_all_rows_so_judged_rows_are_known_no_more_often(tmp_path):
    """Of 3,000 levels a sample of 2,000 rows has half, and its own rows alone are sure to be of those it has."""
    rng = np.random.default_rng(7)
    effects = rng.standard_normal(3_000)

    def rows(count):
        level = rng.integers(0, 3_000, count)
        return pd.DataFrame({"k": [f"k{i}" for i in level], "y": effects[level] + rng.standard_normal(count)})

    frame, fresh = rows(60_000), rows(10_000)
    table = sampled(frame, tmp_path, 2_000, make_settings(QUICK))
    fitted = fit(table, "y", make_settings(QUICK))
    feature = fitted.model.features.features[0]
    assert set(feature.categories) == set(frame["k"])
    judged = np.sqrt(np.mean((fitted.scores[:, 0] - fitted.target.values) ** 2))
    error = np.sqrt(np.mean((fitted.model.predict(fresh[["k"]]) - fresh["y"]) ** 2))
    # The standard error of the first is .018.
    assert abs(judged - error) < 0.06
    assert not any("too few rows" in note for note in fitted.notes)


def test_notes_and_the_plan_count_the_rows_that_have_a_target(tmp_path):
    frame = visits()
    frame.loc[::4, "y"] = np.nan
    settings = make_settings(QUICK)
    table = sampled(frame, tmp_path, 2_000, settings)
    said = "all 15,000 rows with a 'y', of 20,000, say what categories of 'town' are worth"
    assert said in plan(table, "y", settings).notes
    assert said in fit(table, "y", settings).notes


def test_a_note_on_few_rows_for_each_category_counts_all_rows(tmp_path):
    settings = make_settings(QUICK)
    table = sampled(visits(1_500), tmp_path, 1_000, settings)
    (note,) = (note for note in fit(table, "y", settings).notes if "too few rows" in note)
    assert f"{LEVELS} categories in 1,500 rows" in note


def test_categories_that_no_row_at_hand_has_are_read_as_those_at_hand_are():
    feature = Feature("c", "categorical", "a", categories=("a", "b"))
    cells = ["A ", "b", "a ", "New", "NEW", "new ", "x", "X", None, "aA", "AA", "n/a", 3, 3.0]
    frame = pd.DataFrame({"c": cells})
    target = np.where(np.arange(len(cells)) == 1, np.nan, 1.0)
    (named,), census = take_vocabulary([feature], lambda: [(frame[:5], target[:5]), (frame[5:], target[5:])])
    # "b" has no target; single letters and genes differ by their case.
    assert named.categories == ("3", "A", "AA", "New", "X", "a", "aA", "x")
    np.testing.assert_array_equal(census.counts["c"], [2, 1, 1, 3, 1, 1, 1, 1, 0])
    (apart,), _ = take_vocabulary([feature], lambda: [(frame[3:6], target[3:6])], apart=["c"])
    assert apart.categories == ("NEW", "New", "new")
    (ordered,), _ = take_vocabulary([feature], lambda: [(frame[2:4], target[2:4])], orders={"c": ["New", "b", "a"]})
    assert ordered.categories == ("New", "a")


def test_of_more_categories_than_are_kept_those_of_most_rows_are_known_and_counted_exactly():
    rng = np.random.default_rng(8)
    level = np.minimum(rng.geometric(0.02, 30_000), 5_000)
    level = np.where(rng.random(30_000) < 0.5, level, rng.integers(10_000, 10**6, 30_000))
    frame, target = pd.DataFrame({"c": [f"k{i}" for i in level]}), rng.standard_normal(30_000)
    batches = [(frame[i : i + 1_000], target[i : i + 1_000]) for i in range(0, 30_000, 1_000)]
    feature = Feature("c", "categorical", "k1", categories=("k1", "k2"))
    (named,), census = take_vocabulary([feature], lambda: batches, most=100)
    counts = frame["c"].value_counts()
    assert len(named.categories) == 100
    assert set(counts.index[:60]) <= set(named.categories)
    np.testing.assert_array_equal(census.counts["c"][:-1], counts[list(named.categories)])
    assert census.least == {"c": census.counts["c"][:-1].min()}
    known = frame["c"].isin(named.categories).to_numpy()
    assert census.squares["c"][0] == pytest.approx(np.square(target[known]).sum())


def test_a_row_is_judged_as_unknown_where_its_category_is_known_by_its_own_fold_alone():
    feature = Feature("c", "categorical", "a", categories=tuple(f"k{i:02}" for i in range(80)))
    codes = np.repeat(np.arange(80.0), 10)
    target = np.repeat(np.linspace(-3, 3, 80), 10) + np.random.default_rng(0).standard_normal(800) / 10
    frame, fold = pd.DataFrame({"c": [feature.categories[int(code)] for code in codes]}), np.arange(800) % 5
    census = take_census([feature], [(frame, target)])
    given = (FeatureSpace((feature,)), codes[:, None], target[:, None], fold, ())
    _, known = group_categories(*given, census)
    space, unknown = group_categories(*given, replace(census, least={"c": 9.0}))
    assert len(set(known[0])) > 10
    assert set(unknown[0]) == {space.features[0].groups[-1]}


def test_counts_have_the_scale_of_the_targets_that_are_trained_on():
    frame = visits().assign(y=lambda table: np.random.default_rng(3).poisson(0.2, len(table)))
    table = training_table(frame, "y", make_settings({**QUICK, "task": "poisson"}))
    feature = infer_features(table.features).features[0]
    census = take_census([feature], [(frame, table.target.values)])
    scaled = on_scale(census, table.target, shift=float(np.log(0.2)), scale=1.0, log=False)
    np.testing.assert_allclose(scaled.sums["town"], census.sums["town"] / 0.2)
    np.testing.assert_allclose(scaled.squares["town"], census.squares["town"] / 0.04)


def test_columns_of_which_most_rows_have_a_new_category_take_longer_to_count(tmp_path):
    rng = np.random.default_rng(0)
    common = [f"t{i:03}" for i in rng.integers(0, LEVELS, ROWS)]
    seconds = {}
    for name, share in (("often", 0.0), ("rarely", 0.5)):
        town = np.where(rng.random(ROWS) < share, [f"id{i}" for i in range(ROWS)], common)
        settings = make_settings(QUICK)
        (tmp_path / name).mkdir()
        table = sampled(visits().assign(town=town), tmp_path / name, 2_000, settings)
        seconds[name] = counted(table, settings)[1].seconds
    assert 5 * seconds["often"] < seconds["rarely"]


def test_rows_drawn_by_their_class_stand_where_fresh_ones_of_their_category_do():
    """A fold of all rows of the rare class has more of them than of others: the rest would seem to be worth less."""
    rng = np.random.default_rng(4)
    level = rng.integers(0, LEVELS, 200_000)
    target = (rng.random(len(level)) < 0.02 / (1 + np.exp(-EFFECTS[level]))).astype(float)
    feature = Feature("c", "categorical", "0", categories=tuple(f"t{i:03}" for i in range(LEVELS)))
    census = take_census([feature], [(pd.DataFrame({"c": [f"t{i:03}" for i in level]}), target)])
    rare = np.flatnonzero(target == 1)
    part = np.concatenate([rare, rng.choice(np.flatnonzero(target == 0), 9 * len(rare), replace=False)])
    codes, fold = level[part, None].astype(float), np.arange(len(part)) % 4
    space, of_rows = group_categories(FeatureSpace((feature,)), codes, target[part][:, None], fold, census=census)
    groups = np.array(space.features[0].groups)[level[part]]
    # Of 32 groups; rows stood 4 below.
    assert abs((of_rows[0] - groups).mean()) < 0.3
