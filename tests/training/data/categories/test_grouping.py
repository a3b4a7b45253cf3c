"""Many categories are grouped by their effect without the target's leak, and the groups serve wherever codes do."""

import numpy as np
import pandas as pd
import pytest

from eigenserve.model.checkpoints.files import read_checkpoint, write_checkpoint
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.training.data.categories.grouping import group_categories
from eigenserve.training.evaluation.evaluate import evaluate
from eigenserve.training.fit import fit
from eigenserve.training.settings import make_settings

QUICK = {"members": 1, "dim": 5, "budget": 0.3, "reproducible": True, "pairs": "none"}
LEVELS = 300


def visits(rows, seed=0, noise=0.5):
    """Three hundred towns, each with an effect of its own, and a number."""
    rng = np.random.default_rng(seed)
    effects = np.random.default_rng(99).standard_normal(LEVELS)
    town = rng.integers(0, LEVELS, rows)
    x = rng.standard_normal(rows)
    y = effects[town] + x + noise * rng.standard_normal(rows)
    return pd.DataFrame({"town": [f"t{i:03}" for i in town], "x": x, "y": y})


def grouped(codes, target, folds=4, levels=LEVELS):
    space = FeatureSpace((Feature("c", "categorical", "0", categories=tuple(map(str, range(levels)))),))
    fold = np.arange(len(codes)) % folds
    return (*group_categories(space, codes[:, None].astype(float), target[:, None], fold), fold)


def test_groups_ascend_with_the_effects_of_their_categories():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, LEVELS, 20_000)
    effects = rng.standard_normal(LEVELS)
    space, _, _ = grouped(codes, effects[codes] + 0.1 * rng.standard_normal(len(codes)))
    groups = np.array(space.features[0].groups)
    assert space.features[0].num_paths <= 32
    assert np.corrcoef(np.argsort(np.argsort(effects)), groups[:-1])[0, 1] > 0.99
    # An unknown category has the effect of none.
    assert abs(effects[groups[:-1] == groups[-1]].mean()) < 0.2


def test_a_target_of_noise_leaves_nothing_in_the_rows_groups():
    """In-sample means of 300 categories would correlate with the noise that they average by 0.5."""
    rng = np.random.default_rng(1)
    codes, target = rng.integers(0, LEVELS, 1200), rng.standard_normal(1200)
    _, rows, _ = grouped(codes, target)
    assert np.std(rows[0]) == 0.0 or abs(np.corrcoef(rows[0], target)[0, 1]) < 0.1


def test_no_row_is_in_a_group_by_its_own_target():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, LEVELS, 3000)
    target = rng.standard_normal(LEVELS)[codes] + rng.standard_normal(3000)
    _, before, fold = grouped(codes, target)
    changed = target.copy()
    # Rows of one fold trade targets within their category: the other folds' groups may move, theirs may not.
    held = np.flatnonzero(fold == 0)
    for level in range(LEVELS):
        here = held[codes[held] == level]
        changed[here] = target[np.roll(here, 1)]
    space, after, _ = grouped(codes, changed)
    assert space.features[0].groups
    np.testing.assert_array_equal(before[0][held], after[0][held])


def test_few_categories_keep_a_matrix_each():
    rng = np.random.default_rng(3)
    space, rows, _ = grouped(rng.integers(0, 12, 500), rng.standard_normal(500), levels=12)
    assert space.features[0].groups == ()
    assert rows == {}


@pytest.fixture(scope="module")
def model():
    return fit(visits(6000), "y", make_settings(QUICK)).model


def test_grouped_categories_are_learnt_and_explained_by_name(model, tmp_path):
    town = model.features.features[0]
    assert len(town.categories) == LEVELS
    assert town.num_paths <= 32
    test = visits(2000, seed=1)
    # The towns explain half of the variance, x as much, and noise a tenth.
    assert evaluate(model, test).metrics.values["r2"] > 0.8
    found = model.explain(test)
    total = found.baseline + found.contributions.sum(axis=1)
    assert np.abs(total - found.score).max() < 1e-9 * max(1.0, np.abs(found.score).max())
    effects = np.random.default_rng(99).standard_normal(LEVELS)
    contributions = found.contributions[:, found.terms.index("town")]
    codes = [int(name[1:]) for name in test.town]
    assert np.corrcoef(effects[codes], contributions)[0, 1] > 0.95
    write_checkpoint(tmp_path, model)
    np.testing.assert_array_equal(read_checkpoint(tmp_path).predict(test), model.predict(test))


def test_an_unknown_and_a_missing_category_are_answered_between_the_others(model):
    rows = [{"town": "elsewhere", "x": 0.0}, {"town": None, "x": 0.0}, {"x": 0.0}]
    answers = model.predict(rows)
    every = model.predict([{"town": f"t{i:03}", "x": 0.0} for i in range(LEVELS)])
    assert np.ptp(answers) == 0.0
    assert np.quantile(every, 0.2) < answers[0] < np.quantile(every, 0.8)


def test_a_groups_onnx_graph_agrees(model):
    pytest.importorskip("onnxruntime")
    from eigenserve.model.onnx.agreement import check_agreement, onnx_bytes
    from eigenserve.model.onnx.export import ExportSettings

    settings = ExportSettings()
    check_agreement(model, onnx_bytes(model, settings), settings)
