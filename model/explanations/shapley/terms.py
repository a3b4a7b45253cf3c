"""Compute Shapley values of terms: every coalition of them has the row's matrices, the others a reference's mean ones.

The matrix of a coalition is one sum. These are the values that the method ``integrated`` is near to, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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
from eigenserve.model.matrices.ensemble import SpectralEnsemble


def term_shapley_values(
    ensemble: SpectralEnsemble,
    coordinates: FloatArray,
    means: tuple[FloatArray, FloatArray],
    outputs: FloatArray,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> tuple[FloatArray, FloatArray]:
    """Compute Shapley values of the terms' matrices of N rows, and their standard errors: (N, T) each.

    Args:
        ensemble, coordinates, outputs, seed, check: as for ``shapley_values``.
        means: every term's mean matrix in the reference, (T, H, n) and (T, H, n - 1).
    """
    pencil, members = ensemble.pencil, len(ensemble.member_weights)
    values, errors = np.zeros((len(coordinates), len(pencil.terms))), np.zeros((len(coordinates), len(pencil.terms)))
    chosen = np.abs(outputs).argmax(axis=1)
    starts = pencil.constant_diag + means[0].sum(axis=0), pencil.constant_off_diag + means[1].sum(axis=0)
    games: list[_TermGame] = []
    for row, output in zip(coordinates, chosen, strict=True):
        heads = ensemble.heads(int(output))
        moved = [part - mean for part, mean in zip(pencil.terms_at(row), means, strict=True)]
        steps = [part[:, heads].reshape(len(part), -1) for part in moved]
        players = np.flatnonzero(np.any(steps[0] != 0.0, axis=1) | np.any(steps[1] != 0.0, axis=1))
        games.append(
            _TermGame(
                players, *((start[heads].ravel(), step[players]) for start, step in zip(starts, steps, strict=True))
            )
        )
    signs = outputs[np.arange(len(outputs)), chosen]
    none = np.empty((0, 2), np.int64)

    def exact(j: int, spread: Spread) -> None:
        game = games[j]
        parts = [(start, steps, steps[:0]) for start, steps in (game.diag, game.off_diag)]
        scores = scores_of(ensemble, parts, none, len(game.players), spread)
        values[j, game.players] = signs[j] * values_of(scores, len(game.players))

    each_row([len(game.players) for game in games], exact, check)
    for j, game in enumerate(games):
        count = len(game.players)
        if count > EXACT_PLAYERS:

            def scores(order: NDArray[np.int64], game: _TermGame = game, count: int = count) -> FloatArray:
                sums = [
                    start + np.vstack([np.zeros_like(start), np.cumsum(steps[order], axis=0)])
                    for start, steps in (game.diag, game.off_diag)
                ]
                shape = (count + 1, members)
                diag, off_diag = sums[0].reshape(*shape, pencil.dim), sums[1].reshape(*shape, pencil.dim - 1)
                return ensemble.eigenvalues(diag, off_diag, ensemble.eig_idx) @ ensemble.member_weights

            mean, error = sampled(count, scores, seed, check)
            values[j, game.players], errors[j, game.players] = signs[j] * mean, error
    return values, errors


class _TermGame(NamedTuple):
    """Hold which terms play, and of either part of the matrices the start and each player's step, flat."""

    players: NDArray[np.int64]
    diag: tuple[FloatArray, FloatArray]
    off_diag: tuple[FloatArray, FloatArray]
