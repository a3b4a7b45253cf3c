"""Compute Shapley values: every coalition of features takes the row's values, the others the baseline's.

phi_i = sum over coalitions S without i of  |S|! (p - |S| - 1)! / p!  (s(S + i) - s(S))      (Shapley 1953)

p counts the features in which the row differs from the baseline: the others are dummies, and leaving them out
changes no value. T is a sum over terms of at most two features, so the matrix of a coalition is that of a smaller
one plus a few differences: a coalition costs two or three additions of a matrix and one eigenvalue.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers.cpu import solve_eigenvalues
from eigenserve.model.kernels.compiled import kernel
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.ensemble import SpectralEnsemble

#: Features that may differ from the baseline for the values to be exact: 2^16 coalitions.
EXACT_FEATURES = 16
#: Permutations drawn above that: pairs of one and its reverse, which cancels what is odd in their order.
PERMUTATION_PAIRS = 128
# 2^8 coalitions at a time: their matrices stay in the second-level cache, as in CHUNK_ROWS.
_LOW_BITS = 8

Spread = Callable[[int, int, Callable[[int, int], None]], None]


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
        ``EXACT_FEATURES`` features and all coalitions were counted.
    """
    values = np.zeros(coordinates.shape)
    errors = np.zeros(coordinates.shape)
    players = [differing(ensemble, row, baseline) for row in coordinates]
    chosen = np.abs(outputs).argmax(axis=1)
    signs = outputs[np.arange(len(outputs)), chosen]
    exact = [j for j, own in enumerate(players) if 0 < len(own) <= EXACT_FEATURES]
    # Few coalitions: threads take rows. Many: they share a row's.
    many = [j for j in exact if len(exact) == 1 or len(players[j]) > _LOW_BITS]
    few = [j for j in exact if j not in set(many)]

    def work(start: int, stop: int) -> None:
        for j in few[start:stop]:
            check()
            values[j, players[j]] = signs[j] * _exact(
                ensemble, coordinates[j], baseline, players[j], int(chosen[j]), _in_turn
            )

    for_ranges(len(few), 1, work)
    for j in many:
        check()
        values[j, players[j]] = signs[j] * _exact(
            ensemble, coordinates[j], baseline, players[j], int(chosen[j]), for_ranges
        )
    for j, own in enumerate(players):
        if len(own) > EXACT_FEATURES:
            rng = np.random.default_rng(seed)
            sampled = _sampled(ensemble, coordinates[j], baseline, own, int(chosen[j]), rng, check)
            values[j, own], errors[j, own] = signs[j] * sampled[0], sampled[1]
    return values, errors


def _in_turn(count: int, grain: int, work: Callable[[int, int], None]) -> None:
    """Run as ``for_ranges``, which may not be called inside itself."""
    work(0, count)


def differing(ensemble: SpectralEnsemble, row: FloatArray, baseline: FloatArray) -> NDArray[np.int64]:
    """Return positions of the features that the model looks at and that differ between two rows of coordinates (F,)."""
    used = {i for term in ensemble.pencil.terms for i in term.features}
    changed = ~((row == baseline) | (np.isnan(row) & np.isnan(baseline)))
    return np.array([i for i in np.flatnonzero(changed) if i in used], np.int64)


def _exact(
    ensemble: SpectralEnsemble,
    row: FloatArray,
    baseline: FloatArray,
    players: NDArray[np.int64],
    output: int,
    spread: Spread,
) -> FloatArray:
    scores = coalition_scores(ensemble, row, baseline, players, output, spread)
    count = len(players)
    share = np.array([factorial(s) * factorial(count - s - 1) / factorial(count) for s in range(count)])
    return _weigh(scores, count, share)


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
    members, heads = len(ensemble.member_weights), ensemble.heads(output)
    steps = []
    for at_corners in pencil.at(corners):
        flat = np.ascontiguousarray(at_corners[:, heads]).reshape(len(corners), -1)
        single = flat[1 : 1 + count] - flat[0]
        double = flat[1 + count :] - flat[0] - single[pairs[:, 0]] - single[pairs[:, 1]]
        steps.append((flat[0], single, double))
    low = min(count, _LOW_BITS)
    scores = np.empty(1 << count)
    weights = ensemble.member_weights

    def work(start: int, stop: int) -> None:
        diag = np.empty((1 << low, members * pencil.dim))
        off_diag = np.empty((1 << low, members * (pencil.dim - 1)))
        found = np.empty((1 << low) * members)
        for high in range(start, stop):
            _coalitions(*steps[0], pairs, high << low, low, diag)
            _coalitions(*steps[1], pairs, high << low, low, off_diag)
            matrices = diag.reshape(-1, pencil.dim), off_diag.reshape(len(found), pencil.dim - 1)
            solve_eigenvalues(*matrices, ensemble.eig_idx, found)
            scores[high << low : (high + 1) << low] = found.reshape(-1, members) @ weights

    spread(1 << (count - low), 1, work)
    return scores


@kernel
def _coalitions(base: Any, single: Any, double: Any, pairs: Any, first: int, low: int, out: Any) -> None:
    """Write entries of the matrices of coalitions first ... first + 2^low - 1."""
    start = out[0]
    start[:] = base
    for i in range(low, len(single)):
        if first >> i & 1:
            start += single[i]
    for p in range(len(pairs)):
        if first >> pairs[p, 0] & 1 and first >> pairs[p, 1] & 1:
            start += double[p]
    for i in range(low):
        bit = 1 << i
        for s in range(bit):
            row = out[bit + s]
            from_row = out[s]
            step = single[i]
            for k in range(len(row)):
                row[k] = from_row[k] + step[k]
            for p in range(len(pairs)):
                a, b = pairs[p]
                other = b if a == i else a
                if (a == i or b == i) and (first + s) >> other & 1:
                    step = double[p]
                    for k in range(len(row)):
                        row[k] += step[k]


@kernel
def _weigh(scores: Any, count: int, share: Any) -> Any:
    values = np.zeros(count)
    for coalition in range(len(scores)):
        size = 0
        for i in range(count):
            size += coalition >> i & 1
        for i in range(count):
            if not coalition >> i & 1:
                values[i] += share[size] * (scores[coalition | 1 << i] - scores[coalition])
    return values


def _sampled(
    ensemble: SpectralEnsemble,
    row: FloatArray,
    baseline: FloatArray,
    players: NDArray[np.int64],
    output: int,
    rng: np.random.Generator,
    check: Callable[[], None],
) -> tuple[FloatArray, FloatArray]:
    """Estimate mean marginal contributions over permutations, and their standard errors (over independent pairs)."""
    count = len(players)
    means = np.empty((PERMUTATION_PAIRS, count))
    for pair in range(PERMUTATION_PAIRS):
        order = rng.permutation(count)
        gains = np.zeros(count)
        for one in (order, order[::-1]):
            check()
            steps = np.tile(baseline, (count + 1, 1))
            for place, player in enumerate(players[one]):
                steps[place + 1 :, player] = row[player]
            gains[one] += 0.5 * np.diff(ensemble.scores(steps)[:, output])
        means[pair] = gains
    return means.mean(axis=0), means.std(axis=0, ddof=1) / np.sqrt(PERMUTATION_PAIRS)
