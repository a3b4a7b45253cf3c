"""Of a long table with a rare class all of its rows are used, and fewer of the others, each for those it stands for."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.long_files import write_in_parts

from eigenserve.cli import main
from eigenserve.training.data.sampling import read_sample
from eigenserve.training.fit import fit
from eigenserve.training.search.preparation.rare_class import Drawn, as_if_uniform, draw_by_class
from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

QUICK = {"members": 1, "dim": 5, "budget": 2.0, "reproducible": True, "pairs": "none"}
ROWS = 40_000


def alarms(rows=ROWS, seed=0, base=-5.5):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 3))
    odds = base + 1.2 * x[:, 0] + np.sin(2 * x[:, 1])
    hit = rng.random(rows) < 1 / (1 + np.exp(-odds))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": np.where(hit, "Alarm", "fine")})
    return frame, 1 / (1 + np.exp(-odds))


def drawn(frame, folder, rows=4_000, least_rows=2_000, file="a.parquet", **given):
    settings = make_settings({**QUICK, **given})
    sample = read_sample(write_in_parts(frame, folder / file), rows, seed=0)
    table = training_table(sample.frame, "y", settings, sample.whole)
    return draw_by_class(sample, table.target, table.beyond, settings, least_rows), sample, settings


@pytest.mark.parametrize("file", ["a.parquet", "a.arrow"])
def test_all_rows_of_the_rare_class_are_kept_and_the_others_stand_for_all(tmp_path, file):
    frame, _ = alarms()
    frame.loc[::100, "y"] = None
    found, sample, _ = drawn(frame, tmp_path, file=file)
    rare, others = (frame["y"] == "Alarm"), (frame["y"] == "fine")
    kept = found.frame[found.frame["y"] == "Alarm"].reset_index(drop=True)
    count = min(len(sample.frame) // 10, int(rare.sum()))
    assert abs(len(kept) - count) < 5 * np.sqrt(count)
    assert set(kept["a"]) <= set(frame["a"][rare])
    for label, whole in (("Alarm", rare), ("fine", others)):
        here = (found.frame["y"] == label).to_numpy()
        assert found.stands_for[here].sum() == pytest.approx(whole.sum())
    assert f"of the {rare.sum():,} rows of the rare class 'Alarm'" in found.note
    assert list(found.frame.columns) == list(sample.frame.columns)


def test_the_model_is_better_and_its_probabilities_are_those_of_the_table(tmp_path):
    frame, _ = alarms(200_000, base=-7.0)
    fresh, truth = alarms(50_000, seed=9, base=-7.0)
    found, sample, settings = drawn(frame, tmp_path, rows=10_000, least_rows=10_000)
    uniform = fit(training_table(sample.frame, "y", settings), "y", settings).model
    table = training_table(found.frame, "y", settings, sample.whole, found.stands_for)
    fitted = fit(table, "y", settings)
    alarm = fitted.model.classes.index("Alarm")

    def loss(model):
        p = model.predict_proba(fresh[["a", "b", "c"]])[:, alarm]
        return -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean(), p.mean()

    (before, _), (after, mean) = loss(uniform), loss(fitted.model)
    assert after < before
    assert mean == pytest.approx(truth.mean(), rel=0.15)
    # What is monitored, and shown, is a uniform sample: not a row in ten is an alarm.
    assert len(fitted.columns) < 1.05 * (found.frame["y"] == "fine").sum()


def test_rows_as_if_drawn_uniformly_have_the_tables_share_of_the_rare_class():
    stands_for = np.repeat([20.0, 1.0], [9_000, 2_000])
    chosen = as_if_uniform(stands_for, len(stands_for), seed=0)
    assert chosen[:9_000].all()
    assert chosen[9_000:].mean() == pytest.approx(0.05, abs=0.02)
    assert as_if_uniform(None, 5, seed=0).all()


def test_the_same_table_gives_the_same_rows(tmp_path):
    frame, _ = alarms()
    first, second = (drawn(frame, tmp_path)[0] for _ in range(2))
    pd.testing.assert_frame_equal(first.frame, second.frame)


@pytest.mark.parametrize(
    ("given", "says"), [({"budget": 1e-3}, "raise --budget"), ({"base": 0.0}, ""), ({"rows": 39_000}, "")]
)
def test_a_uniform_sample_is_kept_where_it_will_do_and_otherwise_with_the_reason(tmp_path, given, says):
    frame, _ = alarms(base=given.pop("base", -5.5))
    found, _, _ = drawn(frame, tmp_path, **given)
    assert not isinstance(found, Drawn)
    assert says in found
    assert bool(says) == bool(found)


def test_the_plan_says_which_rows_are_used(tmp_path, capsys):
    pq.write_table(pa.Table.from_pandas(alarms()[0]), tmp_path / "a.parquet")
    main(["fit", str(tmp_path / "a.parquet"), "--target", "y", "--max-rows", "4000", "--plan"])
    out = capsys.readouterr().out
    assert "rows of the rare class 'Alarm'" in out
    assert "a uniform sample" not in out


def test_rows_without_a_class_are_counted_among_all_rows_of_the_file(tmp_path, capsys):
    frame, _ = alarms()
    frame.loc[::10, "y"] = None
    path = write_in_parts(frame, tmp_path / "a.parquet")
    main(["fit", str(path), "--target", "y", "--max-rows", "4000", "--plan"])
    assert "4,000 rows without a 'y' that is one of the two were left out" in capsys.readouterr().out
    whole, _, _ = drawn(alarms()[0], tmp_path)
    assert "without" not in whole.note


@pytest.mark.parametrize("least_rows", [2_000, 200_000])
def test_no_more_rows_are_drawn_than_a_sample_may_have(tmp_path, least_rows):
    found, sample, _ = drawn(alarms()[0], tmp_path, least_rows=least_rows)
    assert len(found.frame) <= len(sample.frame) == 4_000
    assert found.stands_for.sum() == pytest.approx(ROWS)
