"""Score coalitions of players, whose matrices are sums of each player's part, and weigh them as Shapley does.

phi_i = sum over coalitions S without i of  |S|! (p - |S| - 1)! / p!  (s(S + i) - s(S))      (Shapley 1953)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers.cpu import solve_eigenvalues
from eigenserve.model.kernels.compiled import kernel
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.ensemble import SpectralEnsemble

#: Players of whom all coalitions are scored: 2^16.
EXACT_PLAYERS = 16
#: Permutations drawn above that: pairs of one and its reverse, which cancels what is odd in their order.
PERMUTATION_PAIRS = 128
# 2^8 coalitions at a time: their matrices stay in the second-level cache, as in CHUNK_ROWS.
_LOW_BITS = 8

Spread = Callable[[int, int, Callable[[int, int], None]], None]


def each_row(counts: list[int], exact: Callable[[int, Spread], None], check: Callable[[], None]) -> None:
    """Call ``exact`` for the rows with 1 to ``EXACT_PLAYERS`` players."""
    rows = [j for j, count in enumerate(counts) if 0 < count <= EXACT_PLAYERS]
    # Few coalitions: threads take rows. Many: they share a row's.
    many = [j for j in rows if len(rows) == 1 or counts[j] > _LOW_BITS]
    few = sorted(set(rows) - set(many))

    def work(start: int, stop: int) -> None:
        for j in few[start:stop]:
            check()
            exact(j, _in_turn)

    for_ranges(len(few), 1, work)
    for j in many:
        check()
        exact(j, for_ranges)


def _in_turn(count: int, grain: int, work: Callable[[int, int], None]) -> None:
    """Run as ``for_ranges``, which may not be called inside itself."""
    work(0, count)


def values_of(scores: FloatArray, count: int) -> FloatArray:
    """Return the Shapley values of ``count`` players from the scores of all coalitions, (2^count,)."""
    share = np.array([factorial(s) * factorial(count - s - 1) / factorial(count) for s in range(count)])
    return np.asarray(_weigh(scores, count, share))


def scores_of(
    ensemble: SpectralEnsemble,
    steps: Sequence[tuple[FloatArray, FloatArray, FloatArray]],
    pairs: NDArray[np.int64],
    count: int,
    spread: Spread,
) -> FloatArray:
    """Score all coalitions of ``count`` players, (2^count,).

    ``steps``: of diagonals and off-diagonals, flat, what there is without players, what each adds, and what each of the
    ``pairs`` (P, 2) adds where both are in.
    """
    pencil, members = ensemble.pencil, len(ensemble.member_weights)
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


def sampled(
    count: int, scores: Callable[[NDArray[np.int64]], FloatArray], seed: int, check: Callable[[], None]
) -> tuple[FloatArray, FloatArray]:
    """Estimate mean marginal contributions over permutations, and their standard errors (over independent pairs).

    ``scores``: an order of the players -> the scores as one after the other comes in, (count + 1,).
    """
    rng = np.random.default_rng(seed)
    means = np.empty((PERMUTATION_PAIRS, count))
    for pair in range(PERMUTATION_PAIRS):
        order = rng.permutation(count)
        gains = np.zeros(count)
        for one in (order, order[::-1]):
            check()
            gains[one] += 0.5 * np.diff(scores(one))
        means[pair] = gains
    return means.mean(axis=0), means.std(axis=0, ddof=1) / np.sqrt(PERMUTATION_PAIRS)
