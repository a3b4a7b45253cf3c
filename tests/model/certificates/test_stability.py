"""Stability bounds hold against what rows within the radii do, and are attained where theory says so."""

from dataclasses import replace

import numpy as np
import pytest
from tests.oracles.test_shap import numeric_model
from tests.support.twin import FEATURES, dense, random_model, random_rows

from eigenserve.model.certificates.reach import default_radii
from eigenserve.model.certificates.stability import stability
from eigenserve.model.explanations.eigenvector import explain_by_eigenvector
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel


def angles(model, columns, moved):
    """Sines (M, H) of the angles between the eigenvectors of a row and of rows, by dense solvers."""
    pencil = model.ensemble.pencil
    rows = model.features.coordinates(np.vstack([columns, moved]))
    _, vectors = np.linalg.eigh(dense(*pencil.matrices(pencil.curves.walk(rows))))
    vectors = vectors[..., model.ensemble.eig_idx]
    cosines = np.abs((vectors[1:] * vectors[0]).sum(axis=2))
    return np.sqrt(np.maximum(0.0, 1.0 - cosines**2))


def moved_rows(rng, features, columns, radii, count=400):
    """Rows within radii of numbers, many of them at the ends."""
    out = np.tile(columns, (count, 1))
    for i, name in enumerate(features.names):
        share = np.where(rng.random(count) < 0.5, rng.choice([-1.0, 1.0], count), rng.uniform(-1, 1, count))
        out[:, i] += share * radii.get(name, 0.0)
    return out


@pytest.mark.parametrize("task", ["regression", "multiclass"])
@pytest.mark.parametrize("size", [1e-4, 1e-2, 0.3, 3.0])
def test_nothing_turns_or_moves_further_than_proved(task, size):
    model, rng = random_model(task, seed=4), np.random.default_rng(0)
    proved = 0
    for columns in FEATURES.encode(random_rows(12, seed=5)):
        radii = {name: size * radius for name, radius in default_radii(FEATURES, columns).items()}
        before = explain_by_eigenvector(model, columns[None])
        found = stability(model, columns[None], before.outputs, before.contributions, radii)
        moved = moved_rows(rng, FEATURES, columns, radii)
        target = None if task == "regression" else model.classes[int(model.scores(columns[None]).argmax())]
        after = explain_by_eigenvector(model, moved, target)
        assert (np.abs(after.contributions - before.contributions).max(axis=0) <= found.moves[0] + 1e-12).all()
        weights = np.outer(np.abs(model.outputs(columns[None], target)[0]), model.ensemble.member_weights).ravel()
        turned = angles(model, columns, moved)
        assert (turned @ weights).max() <= found.turn[0] + 1e-7  # 1e-7: what a cosine of almost 1 says of the sine
        proved += found.turn[0] < 0.5
    if size <= 1e-2:
        assert proved >= 6


def two_by_two(gap, slope):
    """One member, T(z) = diag(0, gap) + z * slope * (off-diagonal 1)."""
    pencil = TridiagonalPencil(
        terms=(Term("x", (0,)),),
        curves=CurveSet((Curve(0, (0,), (1.0,), knots=(-1.0, 1.0), extend=True),)),
        constant_diag=np.array([[0.0, gap]]),
        constant_off_diag=np.zeros((1, 1)),
        diag=np.zeros((2, 1, 2)),
        off_diag=np.array([[[-slope]], [[slope]]]),
    )
    features = FeatureSpace((Feature("x", "numeric", 0.0),))
    return SpectralModel("regression", "y", features, SpectralEnsemble(pencil, 0, np.ones(1), np.zeros(1)))


@pytest.mark.parametrize("radius", [0.01, 0.1, 0.4])
def test_the_turn_of_a_two_by_two_matrix_is_bounded_by_little_more_than_itself(radius):
    model = two_by_two(gap=1.0, slope=1.0)
    found = model.stability([[0.0]], {"x": radius})
    truth = np.sin(0.5 * np.arctan(2.0 * radius))
    assert truth <= found.turn[0] <= np.sin(0.5 * np.arcsin(2.0 * radius)) * (1 + 1e-9)
    assert found.gap[0] == pytest.approx(1.0)


def test_an_explanation_at_a_crossing_is_not_trusted():
    model = two_by_two(gap=1e-9, slope=1.0)
    found = model.stability([[0.0], [0.5]])
    assert found.trusted == (False, True)
    assert found.turn[0] == 1.0
    assert found.reasons[0].startswith("A contribution")
    assert found.reasons[1] == ""


def test_without_a_change_nothing_moves_and_every_row_is_answered():
    model = numeric_model(3, seed=2)
    rows = np.random.default_rng(1).normal(size=(5, 3))
    found = model.stability(rows, {})
    assert len(found) == 5
    assert found.moves.shape == (5, len(model.ensemble.pencil.terms))
    assert (found.turn < 1e-9).all()
    assert (found.moves < 1e-9).all()
    assert all(found.trusted)
    single = replace(found, trusted=(True,))
    assert not single.gap.flags.writeable


def test_a_single_row_may_be_a_mapping():
    model, row = random_model(), random_rows(1)[0]
    assert model.stability(row).moves.tolist() == model.stability([row]).moves.tolist()


def test_a_matrix_of_order_one_cannot_turn():
    found = random_model(dim=1).stability(random_rows(3))
    assert np.isinf(found.gap).all()
    assert (found.turn < 1e-12).all()


def test_a_wrong_radius_is_refused():
    model, row = random_model(), random_rows(1)[0]
    with pytest.raises(ValueError, match="no feature 'depth'"):
        model.stability([row], {"depth": 1.0})
    with pytest.raises(ValueError, match="a radius must be finite and at least 0"):
        model.stability([row], {"width": -1.0})
