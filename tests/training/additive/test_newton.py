"""The additive model's conjugate gradients find what a dense Newton method finds, in memory linear in parameters."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import expit, softmax

from eigenserve.model.matrices.curves import CurveSet
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.training.additive.design import Design
from eigenserve.training.additive.gam import MOST_LINE, fit_additive
from eigenserve.training.additive.gram import basis_matrix
from eigenserve.training.additive.newton import Problem
from eigenserve.training.curves.basis import main_curves
from eigenserve.training.kernels.layout import Rows
from eigenserve.training.kernels.losses import LOGISTIC, POISSON, SOFTMAX, SQUARED

LOSSES = {"squared": SQUARED, "logistic": LOGISTIC, "softmax": SOFTMAX, "poisson": POISSON}


def placed(rows=240, seed=0):
    """Curves of every kind (ramps, two levels, a missing value, categories) and where random rows stand on them."""
    rng = np.random.default_rng(seed)
    space = FeatureSpace(
        (
            Feature("wavy", "numeric", 0.0),
            Feature("gappy", "numeric", 0.0, missing=True),
            Feature("flag", "boolean", 0.0),
            Feature("town", "categorical", "a", categories=("a", "b", "c")),
        )
    )
    z = rng.standard_normal((rows, 4))
    z[::7, 1] = np.nan
    z[:, 2], z[:, 3] = rng.integers(0, 2, rows), rng.integers(0, 3, rows)
    _, bases = main_curves(space, z)
    walk = CurveSet(tuple(basis.curve for basis in bases)).walk(z)
    return z, bases, walk.starts, walk.weights.astype(np.float32)


def dense_design(bases, starts, weights):
    """Every row's coefficient of every parameter, with the offset's last."""
    table = basis_matrix(bases).toarray()
    rows = np.zeros((len(starts), len(table)))
    at, weights = np.arange(len(starts)), weights.astype(np.float64)
    for c in range(starts.shape[1]):
        np.add.at(rows, (at, starts[:, c]), 1.0 - weights[:, c])
        inside = weights[:, c] != 0
        np.add.at(rows, (at[inside], starts[inside, c] + 1), weights[inside, c])
    rows[:, -1] = 1.0
    return rows @ table


def dense_newton(design, target, weight, loss, outputs, penalty, steps=60):
    """The same minimum by full Newton steps with the Hessian of all outputs at once."""
    beta = np.zeros((design.shape[1], outputs))
    for _ in range(steps):
        scores = design @ beta
        if loss == SOFTMAX:
            p = softmax(scores, axis=1)
            slopes = p - np.eye(outputs)[target.astype(int)]
            bend = np.einsum("no,oq->noq", p, np.eye(outputs)) - p[:, :, None] * p[:, None]
        else:
            first = scores[:, 0]
            p = {SQUARED: first, LOGISTIC: expit(first), POISSON: np.exp(np.minimum(first, 30.0))}[loss]
            curvature = {SQUARED: np.ones_like(p), LOGISTIC: p * (1 - p), POISSON: p}[loss]
            slopes, bend = (p - target)[:, None], curvature[:, None, None]
        gradient = design.T @ (weight[:, None] * slopes) + penalty[:, None] * beta
        hessian = np.einsum("np,n,noq,nr->porq", design, weight, bend, design, optimize=True)
        hessian = hessian.reshape(beta.size, beta.size) + np.diag(np.repeat(penalty, outputs))
        step = np.linalg.solve(hessian, gradient.ravel()).reshape(beta.shape)
        beta -= step / max(1.0, np.abs(design @ step).max() / 2.0)
    return beta


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_all_folds_at_once_reach_the_minimum_of_a_dense_newton_method(loss):
    _, bases, starts, weights = placed()
    rng = np.random.default_rng(1)
    outputs = 3 if loss == SOFTMAX else 1
    signal = np.sin(2 * starts[:, 0]) + starts[:, 3] % 3
    target = {
        SQUARED: signal,
        LOGISTIC: (signal > 1).astype(float),
        SOFTMAX: rng.integers(0, 3, len(starts)).astype(float),
        POISSON: rng.poisson(np.exp(0.5 * signal)).astype(float),
    }[loss]
    fold = rng.integers(0, 2, len(starts))
    row_weight = rng.uniform(0.5, 2.0, len(starts))
    weight = row_weight[:, None] * (fold[:, None] != [0, 1, -1])
    problem = Problem(Design(bases, starts, weights, 3 * outputs), target, weight, loss, outputs)
    penalty = np.append(rng.uniform(0.3, 4.0, problem.design.params - 1), 1e-6)
    solved = problem.solve(penalty, tolerance=1e-9)
    full = dense_design(bases, starts, weights)
    for g in range(3):
        expected = dense_newton(full, target, weight[:, g], loss, outputs, penalty)
        # Of softmax all offsets may move together for next to nothing, so scores are compared, less their mean.
        got, want = full @ solved[:, g], full @ expected
        if loss == SOFTMAX:
            got, want = got - got.mean(axis=1, keepdims=True), want - want.mean(axis=1, keepdims=True)
        # Steps end where the loss can fall by a ten-billionth: scores are then right to the root of that.
        np.testing.assert_allclose(got, want, atol=1e-4)


def test_the_design_and_its_adjoint_are_those_of_the_dense_matrix():
    _, bases, starts, weights = placed()
    rng = np.random.default_rng(2)
    full = dense_design(bases, starts, weights)
    for lanes in (1, 5, 40):
        design = Design(bases, starts, weights, lanes)
        params, slopes = rng.standard_normal((full.shape[1], lanes)), rng.standard_normal((len(full), lanes))
        bend = rng.uniform(0.1, 1.0, (len(full), lanes))
        # float32 weights of rows, and sums of 240 numbers of size one.
        np.testing.assert_allclose(design.scores(params), full @ params, atol=1e-9)
        np.testing.assert_allclose(design.pull(slopes), full.T @ slopes, atol=1e-9)
        product = design.product(params, design.padded(bend), 0, bend)
        np.testing.assert_allclose(product, full.T @ (bend * (full @ params)), atol=1e-9)


def test_memory_is_linear_in_the_categories():
    levels, rows = 30_000, 40_000
    rng = np.random.default_rng(0)
    space = FeatureSpace(
        (Feature("id", "categorical", "0", categories=tuple(map(str, range(levels)))), Feature("x", "numeric", 0.0))
    )
    z = np.stack([rng.integers(0, levels, rows), rng.standard_normal(rows)], axis=1)
    tracemalloc.start()
    try:
        _, bases = main_curves(space, z)
        walk = CurveSet(tuple(basis.curve for basis in bases)).walk(z)
        placed_rows = Rows(
            walk.starts, walk.weights.astype(np.float32), z[:, 1].astype(np.float32), np.ones(rows, np.float32)
        )
        model = fit_additive(bases, placed_rows, (SQUARED, 0.0), 1, rng.integers(0, 4, rows))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A matrix of all parameters by all would take 7.2 GB; lanes of 16 numbers for parameters and rows take some 10 MB.
    assert peak < 300e6
    assert np.abs(model.out_of_fold[:, 0] - z[:, 1]).mean() < 0.2


def test_penalties_end_where_no_feature_helps():
    """Each stronger penalty gains a trifle on noise: a search that goes on while anything is gained has no end."""
    rng = np.random.default_rng(0)
    _, bases, starts, weights = placed(120)
    labels = rng.integers(0, 2, 120)
    rare = np.where(labels == 1, 1e-7, 1.0).astype(np.float32)
    rows = Rows(starts, weights, labels.astype(np.float32), rare)
    model = fit_additive(bases, rows, (LOGISTIC, 0.0), 1, rng.integers(0, 4, 120))
    assert np.isfinite(model.out_of_fold).all()
    assert model.penalties[0] <= MOST_LINE


def test_penalties_end_at_a_loss_of_zero():
    """No penalty gains anything there, nor loses."""
    _, bases, starts, weights = placed(120)
    rows = Rows(starts, weights, np.zeros(120, np.float32), np.ones(120, np.float32))
    looks = iter(range(10_000))
    model = fit_additive(bases, rows, (SQUARED, 0.0), 1, np.arange(120) % 4, late=lambda: next(looks) < 0)
    assert not model.out_of_fold.any()
