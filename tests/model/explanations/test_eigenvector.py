"""Explanations add up, agree with the readable twin, and their sensitivities with central differences."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.twin import (
    CURVES,
    FEATURES,
    TERMS,
    dense,
    random_model,
    random_rows,
    slow_coordinates,
    slow_matrices,
    slow_scores,
)

TASKS = ("regression", "binary", "multiclass", "poisson")


def assert_adds_up(explanation):
    """The promise of the contract: within 1e-9 * max(1, |score|)."""
    total = explanation.baseline + explanation.contributions.sum(axis=1)
    miss = np.abs(total - explanation.score) / np.maximum(1.0, np.abs(explanation.score))
    assert miss.max() <= 1e-9


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("dim", "members"), [(1, 1), (2, 3), (7, 3), (15, 8)])
def test_baseline_and_contributions_add_up_to_the_score(task, dim, members):
    model = random_model(task, dim, members, seed=dim)
    assert_adds_up(model.explain(random_rows(300, seed=dim)))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_explanations_add_up_at_the_scale_of_any_target(scale):
    assert_adds_up(random_model(scale=scale).explain(random_rows(300)))


def test_the_score_of_an_explanation_is_the_score():
    for task in ("regression", "poisson"):
        model, rows = random_model(task), random_rows(100)
        # To the last bit: both ask the same solver for the same eigenvalue.
        assert np.array_equal(model.explain(rows).score, model.scores(FEATURES.encode(rows))[:, 0])


@pytest.mark.parametrize("task", TASKS)
def test_contributions_are_the_quadratic_forms_of_dense_eigenvectors(task):
    model, rows = random_model(task, dim=6, members=2), random_rows(60, seed=3)
    ensemble = model.ensemble
    found = model.explain(rows, method="eigenvector")
    outputs = ensemble.num_outputs
    for j, row in enumerate(rows):
        constant, parts = slow_matrices(ensemble.pencil, slow_coordinates(row))
        _, vectors = np.linalg.eigh(constant + sum(parts))
        v = vectors[:, :, ensemble.eig_idx]

        def forms(matrices, v=v):
            return np.einsum("hi,hij,hj->h", v, matrices, v).reshape(outputs, -1) @ ensemble.member_weights

        o = int(slow_scores(model, row).argmax()) if task == "multiclass" else 0
        # LAPACK's eigenvectors are good to eps ||T|| / gap, and forms of matrices as large as 30 to 60 times
        # that.
        tolerance = 1e-12 / found.gap[j]
        assert abs(found.baseline[j] - ensemble.offset[o] - forms(constant)[o]) <= tolerance
        for t, part in enumerate(parts):
            assert abs(found.contributions[j, t] - forms(part)[o]) <= tolerance


@pytest.mark.parametrize("task", TASKS)
def test_sensitivities_are_central_differences_away_from_kinks(task):
    model, rows = random_model(task, dim=7, members=2), random_rows(200, seed=4)
    classes = {"multiclass": "y"}.get(task)
    columns = FEATURES.encode(rows)
    found = model.explain(rows, target=classes)
    output = model.classes.index(classes) if classes else 0
    assert found.features == ("width", "price")
    checked = 0
    for place, feature in enumerate((0, 1)):
        # The step keeps the curvature, h^2 times the third derivative (~1/gap^2), below the tolerance.
        h = 1e-5 * np.maximum(np.abs(columns[:, feature]), 0.1)
        low, high = columns.copy(), columns.copy()
        low[:, feature] -= h
        high[:, feature] += h
        starts = [CURVES.walk(FEATURES.coordinates(c)).starts for c in (low, columns, high)]
        slopes = [CURVES.walk(FEATURES.coordinates(c)).slopes for c in (low, columns, high)]
        kinked = np.zeros(len(rows), bool)
        for other in (0, 2):
            kinked |= (starts[other] != starts[1]).any(axis=1) | (slopes[other] != slopes[1]).any(axis=1)
        if feature == 1:
            kinked |= columns[:, 1] <= 0.51  # below the range the logarithm is held
        usable = ~kinked & ~np.isnan(columns[:, feature]) & (found.gap > 0.05)
        numeric = (model.scores(high) - model.scores(low))[:, output] / (2 * h)
        np.testing.assert_allclose(found.sensitivities[usable, place], numeric[usable], rtol=1e-5, atol=1e-7)
        assert np.isnan(found.sensitivities[np.isnan(columns[:, feature]), place]).all()
        checked += usable.sum()
    assert checked > 150


def test_below_the_range_of_a_logarithm_nothing_is_sensitive():
    found = random_model().explain([{"width": 1.0, "price": price} for price in (-1.0, 0.0, 0.25)])
    assert found.sensitivities[:, 1].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("eig_idx", [0, 2, 4])
def test_the_gap_is_the_smallest_distance_to_a_neighbour_over_the_members(eig_idx):
    model, rows = random_model("multiclass", dim=5, members=2, eig_idx=eig_idx), random_rows(50)
    found = model.explain(rows)
    for j, row in enumerate(rows):
        constant, parts = slow_matrices(model.ensemble.pencil, slow_coordinates(row))
        distances = np.diff(np.linalg.eigvalsh(constant + sum(parts)), axis=1)
        # One part in 128 is what the gap promises.
        gap = distances[:, max(eig_idx - 1, 0) : eig_idx + 1].min()
        assert abs(found.gap[j] - gap) <= gap / 128


def test_a_matrix_of_one_number_has_no_neighbours():
    assert np.isinf(random_model(dim=1).explain(random_rows(5)).gap).all()


def test_every_term_has_one_contribution_under_its_own_name():
    found = random_model().explain(random_rows(5))
    assert found.terms == tuple(term.name for term in TERMS)
    assert found.contributions.shape == (5, len(TERMS))


def test_a_chosen_class_is_explained_and_the_first_of_two_by_the_opposite():
    rows = random_rows(50)
    several = random_model("multiclass")
    scores = several.scores(FEATURES.encode(rows))
    for k, label in enumerate(several.classes):
        found = several.explain(rows, target=label)
        assert_adds_up(found)
        assert np.array_equal(found.score, scores[:, k])
    assert np.array_equal(several.explain(rows).score, scores.max(axis=1))
    binary = random_model("binary")
    yes, no = binary.explain(rows, target="yes"), binary.explain(rows, target="no")
    assert np.array_equal(yes.contributions, -no.contributions)
    assert np.array_equal(yes.score, -no.score)
    assert np.array_equal(binary.explain(rows).score, yes.score)


def test_an_unknown_class_or_method_is_refused():
    with pytest.raises(ValueError, match="target must be one of 'no', 'yes'; got 'maybe'"):
        random_model("binary").explain([], target="maybe")
    with pytest.raises(ValueError, match="target must be left out: no classes; got 'yes'"):
        random_model().explain([], target="yes")
    with pytest.raises(ValueError, match=r"method must be one of .*eigenvector.*; got 'magic'"):
        random_model().explain([], method="magic")


def test_repeated_eigenvalues_still_add_up():
    model = random_model(dim=6, members=1)
    pencil = model.ensemble.pencil
    # Off-diagonals of zero and equal diagonals: every eigenvalue of the constant matrix is the same.
    flat = replace(
        pencil,
        constant_diag=np.full((1, 6), 2.0),
        constant_off_diag=np.zeros((1, 5)),
        diag=np.zeros_like(pencil.diag),
        off_diag=np.zeros_like(pencil.off_diag),
    )
    found = replace(model, ensemble=replace(model.ensemble, pencil=flat)).explain(random_rows(10))
    assert_adds_up(found)
    assert not found.gap.any()
    assert not dense(flat.constant_diag, flat.constant_off_diag)[0, 0, 1:].any()


def test_an_explanation_is_read_only():
    found = random_model().explain(random_rows(3))
    for name in ("score", "baseline", "contributions", "sensitivities", "gap"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(found, name)[0] = 0.0
