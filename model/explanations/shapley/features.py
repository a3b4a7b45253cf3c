"""Compute Shapley values of features: every coalition of them takes the row's values, the others the baseline's.

p counts the features in which the row differs from the baseline: the others are dummies, and leaving them out
changes no value. T is a sum over terms of at most two features, so the matrix of a coalition is that of a smaller
one plus a few differences: a coalition costs two or three additions of a matrix and one eigenvalue.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.shapley.coalitions import (
    EXACT_PLAYERS,
    Spread,
    each_row,
    sampled,
    scores_of,
    values_of,
)
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.ensemble import SpectralEnsemble


def shapley_values(
    ensemble: SpectralEnsemble,
    coordinates: FloatArray,
    baseline: FloatArray,
    outputs: FloatArray,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> tuple[FloatArray, FloatArray]:
    """Compute Shapley values of N rows, and their standard errors.

    Args:
        ensemble: what scores.
        coordinates: (N, F).
        baseline: (F,), coordinates of the row to compare with.
        outputs: (N, O), for each row the unit vector of the output to explain, or minus it.
        seed: of the permutations; a row's values depend on it and on the row only.
        check: called before every row and permutation; it may raise, to give up.

    Returns:
        values (N, F), and standard errors (N, F): zero where the row differs from the baseline in at most
        ``EXACT_PLAYERS`` features and all coalitions were counted.
    """
    values = np.zeros(coordinates.shape)
    errors = np.zeros(coordinates.shape)
    players = [differing(ensemble, row, baseline) for row in coordinates]
    chosen = np.abs(outputs).argmax(axis=1)
    signs = outputs[np.arange(len(outputs)), chosen]

    def exact(j: int, spread: Spread) -> None:
        scores = coalition_scores(ensemble, coordinates[j], baseline, players[j], int(chosen[j]), spread)
        values[j, players[j]] = signs[j] * values_of(scores, len(players[j]))

    each_row([len(own) for own in players], exact, check)
    for j, own in enumerate(players):
        if len(own) > EXACT_PLAYERS:

            def scores(order: NDArray[np.int64], own: NDArray[np.int64] = own, j: int = j) -> FloatArray:
                steps = np.tile(baseline, (len(order) + 1, 1))
                for place, player in enumerate(own[order]):
                    steps[place + 1 :, player] = coordinates[j, player]
                return ensemble.scores(steps)[:, int(chosen[j])]

            mean, error = sampled(len(own), scores, seed, check)
            values[j, own], errors[j, own] = signs[j] * mean, error
    return values, errors


def differing(ensemble: SpectralEnsemble, row: FloatArray, baseline: FloatArray) -> NDArray[np.int64]:
    """Return positions of the features that the model looks at and that differ between two rows of coordinates (F,)."""
    used = {i for term in ensemble.pencil.terms for i in term.features}
    changed = ~((row == baseline) | (np.isnan(row) & np.isnan(baseline)))
    return np.array([i for i in np.flatnonzero(changed) if i in used], np.int64)


def coalition_scores(
    ensemble: SpectralEnsemble,
    row: FloatArray,
    baseline: FloatArray,
    players: NDArray[np.int64],
    output: int,
    spread: Spread = for_ranges,
) -> FloatArray:
    """Score, without offset, the coalition that a number's bits stand for: (2^p,)."""
    pencil, count = ensemble.pencil, len(players)
    place = {int(feature): bit for bit, feature in enumerate(players)}
    shared = {
        tuple(sorted((place[a], place[b])))
        for term in pencil.terms
        for a, b in combinations(term.features, 2)
        if a in place and b in place
    }
    pairs = np.array(sorted(shared), np.int64).reshape(-1, 2)
    corners = np.tile(baseline, (1 + count + len(pairs), 1))
    for bit, feature in enumerate(players):
        corners[1 + bit, feature] = row[feature]
    for p, (a, b) in enumerate(pairs):
        corners[1 + count + p, players[[a, b]]] = row[players[[a, b]]]
    heads = ensemble.heads(output)
    steps = []
    for at_corners in pencil.at(corners):
        flat = np.ascontiguousarray(at_corners[:, heads]).reshape(len(corners), -1)
        single = flat[1 : 1 + count] - flat[0]
        double = flat[1 + count :] - flat[0] - single[pairs[:, 0]] - single[pairs[:, 1]]
        steps.append((flat[0], single, double))
    return scores_of(ensemble, steps, pairs, count, spread)
