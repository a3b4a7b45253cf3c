"""Rank stability: the sampled share is what a count of the same rows says, and a row's own whatever the others are."""

import numpy as np
import pytest
from tests.support.twin import FEATURES, random_model, random_rows

from eigenserve.model.certificates.reach import default_radii
from eigenserve.model.explanations.explain import explain


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
    with pytest.raises(ValueError, match="no feature 'height'"):
        model.reasons_stable(rows, {"height": 1.0})
