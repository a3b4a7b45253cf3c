"""Attacks on a certificate: rows within radii of a row that try to drive one of its scores up or down."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.eigenvector import explain_by_eigenvector
from eigenserve.model.spectral import SpectralModel

STARTS = 8
STEPS = 25
SWEEPS = 3
STOPS = 9


class Attack(NamedTuple):
    """What was tried on one row.

    Attributes:
        low, high: (O,), the extreme scores of all rows tried.
        best_is: the outputs that had the largest score in some row.
        random, adversarial: how many rows were tried at random, and by gradients and corners.
    """

    low: FloatArray
    high: FloatArray
    best_is: frozenset[int]
    random: int
    adversarial: int


def attack(
    model: SpectralModel, columns: FloatArray, radii: Mapping[str, float], rng: np.random.Generator, random: int
) -> Attack:
    """Try ``random`` rows within the radii of a row (F,) of columns, then climb from the best of them.

    Numbers move; half of the random rows have most of theirs at an end of the reach. Climbing goes up and down the
    score of the class with the largest one: by gradients with shrinking steps, then one feature at a time.
    """
    widths = np.array([radii.get(name, 0.0) for name in model.features.names])
    widths[[bool(feature.num_codes) for feature in model.features.features]] = 0.0
    widths[np.isnan(columns)] = 0.0
    shares = rng.uniform(-1.0, 1.0, (random, len(columns)))
    at_ends = rng.random((random, 1)) < 0.5
    shares = np.where(at_ends & (rng.random(shares.shape) < 0.8), np.sign(shares), shares)
    output = int(model.scores(columns[None])[0].argmax())
    tried = _Tried(model, columns, widths)
    scores = tried.scores(shares)[:, output]
    tried.count = 0
    for sign in (1.0, -1.0):
        starts = shares[np.argsort(-sign * scores)[:STARTS]]
        starts[-1] = 0.0
        best = _climb(tried, starts, sign, output)
        _sweep(tried, best, sign, output)
    return Attack(tried.low, tried.high, frozenset(tried.best_is), random, tried.count)


class _Tried:
    """Scores rows by their shares of the radii, and remembers the extreme ones."""

    def __init__(self, model: SpectralModel, columns: FloatArray, widths: FloatArray) -> None:
        self.model, self.columns, self.widths = model, columns, widths
        self.low = self.high = model.scores(columns[None])[0]
        self.count = 0
        self.best_is: set[int] = set()

    def rows(self, shares: FloatArray) -> FloatArray:
        """Columns (N, F), within the radii to the last digit."""
        return np.where(self.widths > 0.0, self.columns + shares * self.widths, self.columns)

    def scores(self, shares: FloatArray) -> FloatArray:
        """(N, F) -> (N, O)."""
        scores = self.model.scores(self.rows(shares))
        self.low = np.minimum(self.low, scores.min(axis=0))
        self.high = np.maximum(self.high, scores.max(axis=0))
        self.count += len(shares)
        self.best_is |= set(scores.argmax(axis=1).tolist())
        return scores


def _climb(tried: _Tried, shares: FloatArray, sign: float, output: int) -> FloatArray:
    """The best shares (F,) of gradient steps from some, along the signs of the slopes."""
    model = tried.model
    numeric = [i for i, feature in enumerate(model.features.features) if feature.kind == "numeric"]
    target = model.classes[output] if model.task == "multiclass" else None
    best, at = -np.inf, shares[0]
    for step in np.geomspace(1.0, 0.01, STEPS):
        scores = sign * tried.scores(shares)[:, output]
        if scores.max() > best:
            best, at = scores.max(), shares[scores.argmax()]
        slopes = np.zeros(shares.shape)
        slopes[:, numeric] = explain_by_eigenvector(model, tried.rows(shares), target).sensitivities
        shares = np.clip(shares + step * sign * np.sign(np.nan_to_num(slopes)), -1.0, 1.0)
    return at


def _sweep(tried: _Tried, shares: FloatArray, sign: float, output: int) -> None:
    """One feature after the other to the best of some places, until none helps."""
    for _ in range(SWEEPS):
        moved = False
        for i in np.flatnonzero(tried.widths > 0.0):
            trial = np.tile(shares, (STOPS + 1, 1))
            trial[:STOPS, i] = np.linspace(-1.0, 1.0, STOPS)
            scores = sign * tried.scores(trial)[:, output]
            if scores.max() > scores[-1]:
                shares, moved = trial[scores.argmax()], True
        if not moved:
            return
