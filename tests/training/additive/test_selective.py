"""The selective additive model: curves that say little cost little, and penalties stay finite."""

import numpy as np
import pytest

from eigenserve.model.matrices.curves import CurveSet
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.training.additive.gam import LEAST_LINE, fit_additive
from eigenserve.training.additive.selective import LEAST_SPREAD, fit_selective, may_help, penalty_factors
from eigenserve.training.curves.basis import main_curves
from eigenserve.training.kernels.layout import Rows
from eigenserve.training.kernels.losses import LOGISTIC, losses

COUNT, SAYING = 40, 3


@pytest.fixture(scope="module")
def sparse():
    """400 rows of 40 flags of which three decide the odds; their curves, rows, folds and loss."""
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, (400, COUNT)).astype(float)
    target = (rng.random(400) < 1.0 / (1.0 + np.exp(-3.0 * (z[:, :SAYING].sum(axis=1) - 1.5)))).astype(float)
    space = FeatureSpace(tuple(Feature(f"f{i}", "boolean", 0.0) for i in range(COUNT)))
    _, bases = main_curves(space, z)
    walk = CurveSet(tuple(basis.curve for basis in bases)).walk(z)
    weights = walk.weights.astype(np.float32)
    rows = Rows(walk.starts, weights, target.astype(np.float32), np.ones(400, np.float32))
    return bases, rows, np.arange(400) % 4, lambda scores: float(losses(LOGISTIC, 0.0, scores, target).mean())


def test_curves_that_say_nothing_are_held_back_and_the_others_set_free(sparse):
    bases, rows, fold, loss = sparse
    plain = fit_additive(bases, rows, (LOGISTIC, 0.0), 1, fold)
    selective = fit_selective(bases, rows, (LOGISTIC, 0.0), 1, fold, plain, loss)
    assert loss(selective.out_of_fold) < loss(plain.out_of_fold) - 0.03
    factors = penalty_factors(bases, rows, selective)
    assert factors.shape == (5, COUNT)
    assert factors[:, :SAYING].max() < 1.0
    # Of LEAST_SPREAD's 50 at most: chance lets some of the others say a little.
    assert 10.0 < np.median(factors[:, SAYING:]) <= 1.0 / LEAST_SPREAD


def test_a_fold_chooses_its_factors_without_its_own_rows(sparse):
    bases, rows, fold, _ = sparse
    other = rows.target.copy()
    other[fold == 0] = 1.0 - other[fold == 0]
    changed = rows._replace(target=other)
    penalties = (3.0, 16.0)
    first, second = (
        fit_selective(
            bases,
            r,
            (LOGISTIC, 0.0),
            1,
            fold,
            fit_additive(bases, r, (LOGISTIC, 0.0), 1, fold, penalties=penalties),
            lambda scores: 0.0,
        )
        for r in (rows, changed)
    )
    held = fold == 0
    np.testing.assert_allclose(first.out_of_fold[held], second.out_of_fold[held], rtol=1e-5, atol=1e-5)
    assert np.abs(first.out_of_fold[~held] - second.out_of_fold[~held]).max() > 0.1


def test_penalties_stay_finite_where_classes_are_separable(sparse):
    bases, rows, fold, _ = sparse
    separable = rows._replace(target=(rows.starts[:, 0] == rows.starts[:, 0].max()).astype(np.float32))
    plain = fit_additive(bases, separable, (LOGISTIC, 0.0), 1, fold)
    assert plain.penalties[0] >= LEAST_LINE


def test_it_is_fitted_only_where_it_may_help():
    assert may_help(400, COUNT, COUNT, 5)
    assert not may_help(400, 1, 10, 5)
    assert not may_help(1_000_000, 50, 800, 5)  # penalties hardly matter
    assert not may_help(20_000, 20, 320, 300 * 5)  # half a dozen fits would take minutes
