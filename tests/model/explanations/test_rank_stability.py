"""Rank stability: the sampled share is what a count of the same rows says, and a row's own whatever the others are."""

import numpy as np
import pytest
from tests.support import made_models
from tests.support.twin import FEATURES, random_model, random_rows

from eigenserve.model.certificates.reach import default_radii
from eigenserve.model.explanations.explain import explain
from eigenserve.model.explanations.rank_stability import Neighbours


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_the_share_is_a_count_of_rows_that_keep_order_and_sign(task):
    model, rows = random_model(task, seed=2), random_rows(4, seed=3)
    found = model.reasons_stable(rows)
    for j, row in enumerate(FEATURES.encode(rows)):
        radii = default_radii(FEATURES, row)
        kept = 0
        target = model.classes[int(model.scores(row[None]).argmax())] if task == "multiclass" else None
        here = explain(model, row[None], target=target).contributions[0]
        leading = sorted(range(len(here)), key=lambda t: -abs(here[t]))[:3]
        for draw in np.random.default_rng(0).uniform(-1.0, 1.0, (found.samples, len(row))):
            moved = row + draw * [radii.get(name, 0.0) for name in FEATURES.names]
            there = explain(model, moved[None], target=target).contributions[0]
            order = sorted(range(len(there)), key=lambda t: -abs(there[t]))[:3]
            kept += order == leading and all(here[t] * there[t] > 0.0 for t in leading)
        assert found.holds[j] == kept / found.samples
        assert found.leading[j] == tuple(model.ensemble.pencil.terms[t].name for t in leading)


def test_nothing_moves_within_radii_of_zero_and_a_row_does_not_depend_on_the_others():
    model, rows = random_model(seed=4), random_rows(5, seed=1)
    still = model.reasons_stable(rows, {"width": 0.0})
    assert (still.holds == 1.0).all()
    assert not still.moves.any()
    together, alone = model.reasons_stable(rows), model.reasons_stable(rows[2:3])
    assert (together.holds[2], together.moves[2]) == (alone.holds[0], alone.moves[0])
    for radii, words in (({"height": 1.0}, "no feature 'height'"), ({"width": np.inf}, "must be finite")):
        with pytest.raises(ValueError, match=words):
            model.reasons_stable(rows, radii, method="shapley")


@pytest.mark.parametrize("method", ["integrated", "shapley_terms"])
def test_what_is_sampled_of_a_category_that_may_vary_holds_for_every_value_of_it(method):
    model, rows = made_models.make_model(seed=1), made_models.make_rows(12, seed=2)
    columns, position = model.features.encode(rows), model.features.position("city")
    found = model.reasons_stable(rows, {"city": 1.0}, method=method)
    changed = 0
    for j, row in enumerate(columns):
        others = np.repeat(row[None], 4, axis=0)
        if not np.isnan(row[position]):  # what is missing stays so
            others[:, position] = np.arange(4)
        there, here = explain(model, others, method).contributions, explain(model, row[None], method).contributions[0]
        leading = np.argsort(-np.abs(here))[:3]
        same = (np.argsort(-np.abs(there), axis=1)[:, :3] == leading).all(axis=1)
        same &= (np.sign(there[:, leading]) == np.sign(here[leading])).all(axis=1)
        assert (found.holds[j] == 1.0) == (found.sampled[j] == 1.0) == same.all()
        assert found.sampled[j] in (0.0, 1.0)
        changed += not same.all()
        np.testing.assert_allclose(
            found.moves[j], np.abs(there - here).max() / np.abs(here).max(), rtol=1e-3, atol=1e-9
        )
    assert changed >= 3


def test_neighbours_take_every_code_and_keep_what_has_no_radius():
    features = made_models.make_model().features
    row = features.encode([made_models.ROW])[0]
    draws = np.random.default_rng(0).uniform(-1.0, 1.0, (400, len(row)))
    near = Neighbours(features, row, {"age": 2.0, "city": 1.0, "member": 0.0}, draws).within(0.5)
    assert np.ptp(near[:, 0]) == pytest.approx(2.0, rel=0.05)
    np.testing.assert_array_equal(near[:, [1, 2, 4]], np.repeat(row[None, [1, 2, 4]], 400, axis=0))
    assert np.bincount(near[:, 3].astype(int)).min() > 60
