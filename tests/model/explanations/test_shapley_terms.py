"""Shapley values of terms: those of a readable count of coalitions, exact sums, and what integrated is near to."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from tests.support.twin import FEATURES, random_model, random_rows

from eigenserve.model.eigensolvers import eigvalsh_tridiagonal
from eigenserve.model.explanations.reference import TRAINING
from eigenserve.model.explanations.shapley import coalitions, terms


def counted(model, columns, reference, outputs):
    """Shapley values (T,) of one row's terms by their definition, one coalition at a time."""
    ensemble, pencil = model.ensemble, model.ensemble.pencil
    output = int(np.abs(outputs).argmax())
    heads, count = ensemble.heads(output), len(pencil.terms)
    own, means = pencil.terms_at(FEATURES.coordinates(columns[None])[0]), reference.term_matrices(pencil)

    def score(members):
        inside = np.isin(np.arange(count), list(members))[:, None, None]
        parts = [np.where(inside, a, b).sum(axis=0)[heads] for a, b in zip(own, means, strict=True)]
        diag, off_diag = pencil.constant_diag[heads] + parts[0], pencil.constant_off_diag[heads] + parts[1]
        return ensemble.member_weights @ eigvalsh_tridiagonal(diag, off_diag, eig_idx=ensemble.eig_idx)

    scores = {s: score(s) for size in range(count + 1) for s in combinations(range(count), size)}
    values = np.zeros(count)
    for s, value in scores.items():
        for i in set(range(count)) - set(s):
            share = factorial(len(s)) * factorial(count - len(s) - 1) / factorial(count)
            values[i] += share * (scores[tuple(sorted((*s, i)))] - value)
    return outputs[output] * values


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_values_are_those_of_a_count_of_coalitions(task):
    model, rows = random_model(task, seed=3), random_rows(5, seed=2)
    population = model.reference(random_rows(9, seed=4))
    found = model.explain(rows, method="shapley_terms", reference=population)
    assert found.reference == "given rows"
    assert not found.standard_error.any()
    for row, values, outputs in zip(FEATURES.encode(rows), found.contributions, found.outputs, strict=True):
        expected = counted(model, row, population, outputs)
        np.testing.assert_allclose(values, expected, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_values_add_up_from_the_baseline_of_integrated_and_are_near_to_it(task):
    model, rows = random_model(task, seed=3), random_rows(40, seed=1)
    target = "z" if task == "multiclass" else None
    found, near = model.explain(rows, "shapley_terms", target), model.explain(rows, "integrated", target)
    assert found.reference == TRAINING
    np.testing.assert_allclose(found.baseline, near.baseline, rtol=1e-13)
    total = found.baseline + found.contributions.sum(axis=1)
    np.testing.assert_allclose(total, found.score, rtol=0, atol=1e-12 * np.abs(found.score).max())
    # Random matrices turn far more on the way than those of trained models, where it is .97 and above.
    assert np.corrcoef(found.contributions.ravel(), near.contributions.ravel())[0, 1] >= 0.85


def test_a_sample_of_permutations_adds_up_and_is_within_its_errors(monkeypatch):
    model, rows = random_model(seed=5), random_rows(6, seed=8)
    exact = model.explain(rows, method="shapley_terms")
    for file in (coalitions, terms):
        monkeypatch.setattr(file, "EXACT_PLAYERS", 3)
    found = model.explain(rows, method="shapley_terms", seed=1)
    assert (found.standard_error > 0.0).any(axis=1).all()
    np.testing.assert_allclose(found.contributions.sum(axis=1), exact.contributions.sum(axis=1), atol=1e-12)
    # Five standard errors of 48 values.
    assert (np.abs(found.contributions - exact.contributions) <= 5.0 * found.standard_error + 1e-12).all()
