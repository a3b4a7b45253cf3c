"""The proved order of contributions holds in every row within its radius that random draws and attacks try."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.order_attacks import attack_order
from tests.support.twin import FEATURES, random_model, random_rows

from eigenserve.model.certificates.contribution_order import largest_share
from eigenserve.model.certificates.reach import default_radii
from eigenserve.model.explanations.explain import explain
from eigenserve.model.explanations.groups import part_sums, term_parts
from eigenserve.model.explanations.rank_stability import proof_of
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel


@pytest.mark.parametrize("method", ["integrated", "eigenvector"])
@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_no_row_within_the_proved_radius_has_another_order(task, method):
    model, rng = random_model(task, seed=4), np.random.default_rng(0)
    rows = random_rows(12, seed=5)
    columns, found = FEATURES.encode(rows), model.reasons_stable(rows, method=method)
    assert (found.proved <= found.sampled).all()
    assert (found.proved > 0.0).sum() >= 8
    attacks = 0
    for row, share in zip(columns, found.proved, strict=True):
        radii = {name: share * radius for name, radius in default_radii(FEATURES, row).items()}
        tried = attack_order(model, row, radii, rng, 300, method)
        assert tried.violations == 0
        attacks += tried.adversarial
    assert attacks >= 200


@pytest.mark.parametrize("method", ["integrated", "eigenvector"])
def test_sums_of_contributions_are_bounded_and_within_a_small_radius_closely(method):
    model, rng = random_model(seed=6), np.random.default_rng(2)
    claims = np.vstack([np.eye(8), -np.eye(8), rng.standard_normal((4, 8))])
    for row in FEATURES.encode(random_rows(6, seed=7)):
        here = explain(model, row[None], method).contributions[0]
        largest = np.abs(here).max()
        proof = proof_of(model, row, np.ones(1), method, None, claims, largest, lambda: None)
        for share in (0.01, 0.3, 1.0):
            radii = {name: share * radius for name, radius in default_radii(FEATURES, row).items()}
            widths = np.array([radii.get(name, 0.0) for name in FEATURES.names])
            moved = row + widths * rng.choice([-1.0, 0.0, 1.0], (200, 5))
            reached = (explain(model, moved, method).contributions @ claims.T).min(axis=0)
            least = proof.least(radii)
            # Contributions are within 1e-4 of the largest.
            assert (least <= reached + 1e-4 * largest * np.abs(claims).sum(axis=1)).all()
            if share == 0.01:  # but for what the cells lose
                slack = 0.03 * largest * np.abs(claims).sum(axis=1)
                assert (claims @ here - least <= 1.5 * (claims @ here - reached) + slack).all()


def linear(slopes, constant=0.0):
    """A model of matrices of size 1, whose contributions are slopes times values."""
    names = [f"x{i}" for i in range(len(slopes))]
    pencil = TridiagonalPencil(
        terms=tuple(Term(name, (i,)) for i, name in enumerate(names)),
        curves=CurveSet(tuple(Curve(i, (i,), (1.0,), knots=(0.0, 1.0), extend=True) for i in range(len(slopes)))),
        constant_diag=np.array([[constant]]),
        constant_off_diag=np.empty((1, 0)),
        diag=np.array([value for slope in slopes for value in (0.0, slope)]).reshape(-1, 1, 1),
        off_diag=np.empty((2 * len(slopes), 1, 0)),
    )
    features = FeatureSpace(tuple(Feature(name, "numeric", 0.0, low=-9.0, high=9.0) for name in names))
    return SpectralModel("regression", "y", features, SpectralEnsemble(pencil, 0, np.ones(1), np.zeros(1)))


def test_the_radius_of_a_linear_model_is_the_largest_of_the_ladder_that_is_true():
    model = linear([1.0, 1.0, 1.0, 0.0])
    # Contributions 3, 2 and 0.6: the order of the first two holds within 0.5, the sign of the third within 0.6, its
    # place within 0.7.
    found = model.reasons_stable([[3.0, 2.0, 0.6, 1.0]], dict.fromkeys(("x0", "x1", "x2"), 1.0))
    assert found.leading == (("x0", "x1", "x2"),)
    assert found.proved[0] == 2.0**-1.5
    assert model.reasons_stable([[3.0, 2.0, 0.6, 1.0]], {"x1": 1.0}).proved[0] == 2.0**-0.5
    assert model.reasons_stable([[3.0, 2.0, 0.6, 1.0]], {"x3": 1.0}).proved[0] == 1.0


def test_equal_contributions_have_no_proved_order():
    assert linear([1.0, 1.0]).reasons_stable([[2.0, 2.0]]).proved[0] == 0.0


def test_a_method_of_coalitions_has_no_proof_but_samples():
    found = random_model(seed=4).reasons_stable(random_rows(2, seed=5), method="shapley")
    assert np.isnan(found.proved).all()
    assert (found.sampled >= 0.0).all()


@pytest.mark.parametrize("limit", [0.0, 0.0005, 0.01, 0.3, 0.7, 1.0])
def test_the_largest_share_is_that_of_a_walk_down_the_ladder(limit):
    walked = next((2.0 ** (-j / 2) for j in range(21) if 2.0 ** (-j / 2) <= limit), 0.0)
    assert largest_share(lambda share: share <= limit) == walked


def test_what_is_proved_is_of_the_contributions_that_are_explained():
    model, rows = random_model(seed=3), random_rows(6, seed=1)
    grouped = replace(model, card={"groups": {"size": ["width", "price"]}})
    for row, contributions in zip(FEATURES.encode(rows), grouped.explain(rows).contributions, strict=True):
        claims = np.eye(len(contributions)) @ part_sums(term_parts(model.ensemble.pencil, grouped.groups)).T
        proof = proof_of(model, row, np.ones(1), "integrated", None, claims, np.abs(contributions).max(), lambda: None)
        cells = proof.cells
        forms = (proof.weights[cells.head] * cells.width) @ cells.forms
        # The rule of midpoints misses by a percent of the largest: that is what its cells may lose.
        np.testing.assert_allclose(forms, contributions, atol=0.01 * np.abs(contributions).max())
