"""The integrated explanation: one baseline, exact sums, and contributions that brute force agrees with."""

from dataclasses import replace
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from tests.support.twin import FEATURES, dense, random_model, random_rows, slow_coordinates, slow_matrices

from eigenserve.model.explanations.averaged_forms import Lines, averaged_forms
from eigenserve.model.explanations.explain import explain
from eigenserve.model.explanations.reference import TRAINING

TASKS = ["regression", "binary", "multiclass", "poisson"]


def brute_force(model, row, output, cells=400):
    """Contributions (T,) of one row by Gauss' rule on many cells, with dense solvers."""
    ensemble = model.ensemble
    constant, parts = slow_matrices(ensemble.pencil, slow_coordinates(row))
    whole, members = constant + sum(parts), len(ensemble.member_weights)
    x, w = np.polynomial.legendre.leggauss(8)
    shares = ((np.arange(cells)[:, None] + 0.5 * (1.0 + x)) / cells).ravel()
    weights = np.tile(0.5 * w / cells, cells)
    contributions = np.zeros(len(parts))
    for g, weight in enumerate(ensemble.member_weights):
        h = output * members + g
        _, vectors = np.linalg.eigh(constant[h] + shares[:, None, None] * (whole - constant)[h])
        v = vectors[:, :, ensemble.eig_idx]
        form = np.einsum("s,si,sj->ij", weights, v, v)
        contributions += [weight * (form * part[h]).sum() for part in parts]
    return contributions


@pytest.mark.parametrize("task", TASKS)
def test_contributions_add_up_to_the_score_from_one_baseline(task):
    model, rows = random_model(task, seed=3), random_rows(400, seed=1)
    target = "z" if task == "multiclass" else None
    found = model.explain(rows, target=target)
    assert (found.method, found.reference) == ("integrated", TRAINING)
    np.testing.assert_array_equal(found.scores, model.scores(FEATURES.encode(rows)))
    assert len(set(found.baseline.tolist())) == 1
    total = found.baseline + found.contributions.sum(axis=1)
    assert (np.abs(total - found.score) <= 1e-12 * np.maximum(1.0, np.abs(found.score))).all()


@pytest.mark.parametrize("method", ["integrated", "shapley_terms", "shapley", "path"])
def test_of_several_classes_the_baseline_is_one_number_for_each_explained_class(method):
    found = random_model("multiclass", seed=7).explain(random_rows(12, seed=1), method=method)
    of = found.outputs.argmax(axis=1)
    assert set(of) == {0, 1, 2}
    baselines = [set(found.baseline[of == output].tolist()) for output in range(3)]
    assert [len(numbers) for numbers in baselines] == [1, 1, 1]
    assert len(set.union(*baselines)) == 3


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_brute_force_agrees_within_a_ten_thousandth_of_the_largest(task):
    model, rows = random_model(task, seed=5), random_rows(40, seed=2)
    found = model.explain(rows)
    for row, outputs, contributions in zip(rows, found.outputs, found.contributions, strict=True):
        expected = brute_force(model, row, int(outputs.argmax()))
        assert np.abs(contributions - expected).max() <= 1e-4 * np.abs(expected).max()


def test_slopes_and_gaps_are_those_of_the_eigenvector():
    model, rows = random_model("multiclass", seed=1), random_rows(30)
    found, local = model.explain(rows), model.explain(rows, method="eigenvector")
    for name in ("score", "sensitivities", "gap", "outputs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(local, name))


def test_a_row_has_the_same_bits_in_every_batch():
    model, rows = random_model(seed=2), random_rows(600, seed=3)
    whole = model.explain(rows)
    for start, stop in ((0, 1), (5, 70), (255, 258), (511, 600)):
        part = model.explain(rows[start:stop])
        np.testing.assert_array_equal(part.contributions, whole.contributions[start:stop])


def test_a_population_is_the_reference_of_its_mean_matrix():
    model, rows = random_model("binary", seed=4), random_rows(50, seed=4)
    columns = FEATURES.encode(rows)
    found = model.explain(rows, reference=rows)
    diag, off_diag = (part.mean(axis=0) for part in model.matrices(columns))
    values = np.linalg.eigvalsh(dense(diag, off_diag))[:, model.ensemble.eig_idx]
    expected = model.ensemble.offset[0] + values @ model.ensemble.member_weights
    np.testing.assert_allclose(found.baseline, expected, rtol=1e-12)
    assert len(set(found.baseline.tolist())) == 1
    np.testing.assert_allclose(found.baseline + found.contributions.sum(axis=1), found.score, rtol=1e-12)
    alone = model.explain(rows[:1], reference=rows[:1])
    np.testing.assert_allclose(alone.baseline, alone.score, rtol=1e-12)
    assert np.abs(alone.contributions).max() <= 1e-12


def test_what_is_missing_from_the_model_gets_nothing_and_equal_terms_get_the_same():
    model = random_model(seed=6)
    pencil = model.ensemble.pencil
    diag, off_diag = pencil.diag.copy(), pencil.off_diag.copy()
    own = [slice(*pencil.curves.offsets[[c, c + 1]]) for c in range(len(pencil.curves.curves))]
    diag[own[3]] = off_diag[own[3]] = 0.0  # the term "sold"
    empty = replace(model, ensemble=replace(model.ensemble, pencil=replace(pencil, diag=diag, off_diag=off_diag)))
    assert not explain(empty, FEATURES.encode(random_rows(20))).contributions[:, 2].any()


@pytest.mark.parametrize("delta", [0.3, 1e-2, 1e-4, 1e-8, 0.0])
def test_a_near_crossing_on_the_way_is_found_however_narrow(delta):
    # T(s) = [[s - 0.37, d], [d, 0.37 - s]]: v turns by a right angle within about d of s = 0.37.
    middle, count = 0.37, 3
    start_diag, start_off = np.array([[-middle, middle]]), np.array([[delta]])
    diag, off_diag = np.tile([1.0 - middle, middle - 1.0], (count, 1)), np.full((count, 1), delta)

    def lowest(d, e):
        values, vectors = np.linalg.eigh(dense(d, e))
        return values[:, 0], np.ascontiguousarray(vectors[:, :, 0])

    lines = Lines(
        np.zeros(count, np.int64),
        *(start_diag, start_off, *lowest(start_diag, start_off)),
        *(diag, off_diag, *lowest(diag, off_diag)),
    )
    forms = averaged_forms(lines, 0, np.ones(count))
    # The mean of v_1^2 = (1 - x / r) / 2 with x = s - middle, r^2 = x^2 + d^2; of 2 v_1 v_2 = -d / r.
    ends = np.hypot([middle, 1.0 - middle], delta)
    square = 0.5 * (1.0 - (ends[1] - ends[0]))
    twice = -delta * (np.arcsinh((1.0 - middle) / delta) + np.arcsinh(middle / delta)) if delta else 0.0
    # A contribution of one line may be off by about 1e-4; those of a row are means over its members' lines.
    np.testing.assert_allclose(forms, np.tile([square, 1.0 - square, twice], (count, 1)), atol=2e-4)


def exact_shapley(model, columns):
    """Shapley values (N, T) with the terms' matrices as players, absent ones being zero, of a model of one output."""
    pencil, ensemble = model.ensemble.pencil, model.ensemble
    count = len(pencil.terms)
    matrices = [slow_matrices(pencil, z) for z in model.features.coordinates(columns)]
    parts = np.stack([np.stack(terms) for _, terms in matrices])
    scores = np.empty((len(columns), 1 << count))
    for coalition in range(1 << count):
        own = [t for t in range(count) if coalition >> t & 1]
        whole = matrices[0][0] + parts[:, own].sum(axis=1)
        scores[:, coalition] = np.linalg.eigvalsh(whole)[..., ensemble.eig_idx] @ ensemble.member_weights
    values = np.zeros((len(columns), count))
    for t in range(count):
        others = [u for u in range(count) if u != t]
        for size in range(count):
            share = factorial(size) * factorial(count - size - 1) / factorial(count)
            for some in combinations(others, size):
                coalition = sum(1 << u for u in some)
                values[:, t] += share * (scores[:, coalition | 1 << t] - scores[:, coalition])
    return values


def test_contributions_are_nearly_shapley_values_of_the_terms():
    # Trained models reach .97 and more (benchmarks); random matrices with as much strength in a pair as alone, .9.
    model, rows = random_model(seed=8, scale=1.0), random_rows(40, seed=6)
    columns = FEATURES.encode(rows)
    expected, found = exact_shapley(model, columns), model.explain(rows)
    np.testing.assert_allclose(expected.sum(axis=1), found.score - found.baseline, atol=1e-9)
    local = model.explain(rows, method="eigenvector").contributions
    agreement = np.corrcoef(found.contributions.ravel(), expected.ravel())[0, 1]
    assert agreement > 0.85
    assert agreement > np.corrcoef(local.ravel(), expected.ravel())[0, 1]


def test_references_and_baselines_are_refused_where_they_mean_nothing():
    model, rows = random_model(), random_rows(2)
    for method in ("eigenvector", "shapley", "path"):
        with pytest.raises(ValueError, match=f'reference must be left out for the method "{method}"'):
            model.explain(rows, method=method, reference=rows)
    for method in ("integrated", "eigenvector"):
        with pytest.raises(ValueError, match=f'baseline must be left out for the method "{method}"'):
            model.explain(rows, method=method, baseline=rows[0])
    with pytest.raises(ValueError, match="reference must be one of 'training average'; got 'approved'"):
        model.explain(rows, reference="approved")
