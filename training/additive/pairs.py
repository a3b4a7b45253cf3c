"""Find pairs of features that interact: what each explains of an additive model's residuals, cross-fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.curves import Term
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.additive.gram import cross_fitted
from eigenserve.training.curves.basis import CurveBasis, main_curves
from eigenserve.training.curves.pair_curves import fine_resolution, gap_curves, pair_curves, probe_resolution

#: Rows that pairs are judged on.
MAX_ROWS = 20_000
#: A pair is worth a term if it explains this share of the residuals' variance, and this many standard errors.
MIN_GAIN = 0.001
MIN_STANDARD_ERRORS = 2.0
#: Above it a pair is worth a fine resolution (measured: longitude & latitude of California
#: housing reaches 0.06, its others stay below 0.02).
LARGE_GAIN = 0.03
#: Pairs that a fit gives terms to by itself, and those that stay in question after each choice.
MAX_PAIRS = 10
RECONSIDERED = 16
#: With more features, only pairs of the most important ones are tried.
MAX_FEATURES = 24
#: Matrices of one pair at most, and rows for each: beyond, a table of categories has too many parameters to learn.
MAX_PROBE_MATRICES, ROWS_PER_MATRIX = 300, 15


@dataclass(frozen=True)
class PairGain:
    """Measure what a pair of features explains.

    Attributes:
        pair: positions of the features.
        gain: share of the variance of the additive model's residuals, out of fold.
        standard_errors: the gain in units of its standard error.
        gaps_of: the one of both whose gaps give the other another meaning; None where their values act together.
    """

    pair: tuple[int, int]
    gain: float
    standard_errors: float
    gaps_of: int | None = None

    @property
    def worthwhile(self) -> bool:
        """Return whether it is large enough, and surely not chance."""
        return self.gain >= MIN_GAIN and self.standard_errors >= MIN_STANDARD_ERRORS

    @property
    def large(self) -> bool:
        """Return whether it is so large that it may deserve a fine resolution."""
        return self.gaps_of is None and self.gain >= LARGE_GAIN


#: A pair, and the feature whose gaps matter in it.
_Key = tuple[tuple[int, int], int | None]


def find_pairs(
    space: FeatureSpace,
    coordinates: FloatArray,
    residuals: FloatArray,
    fold: NDArray[np.int64],
    importance: FloatArray,
    rng: np.random.Generator,
    max_features: int = MAX_FEATURES,
    max_rows: int = MAX_ROWS,
    late: Callable[[], bool] = lambda: False,
) -> list[PairGain]:
    """Find pairs worth a term, one after the other: each by what it explains once those before it have.

    Without that order, a strong pair lends its gain to every other pair of one of its features.

    Args:
        space: the features.
        coordinates: (N, F).
        residuals: (N, O), target minus what an additive model that has not seen the row says.
        fold: (N,).
        importance: (F,), by which features are preferred where there are many.
        rng: chooses rows where there are many.
        max_features: of which pairs are tried, the most important ones.
        max_rows: that pairs are judged on.
        late: true once what was found must do.
    """
    part = np.sort(rng.permutation(len(fold))[:max_rows])
    z, fold = coordinates[part], fold[part]
    left = residuals[part] - residuals[part].mean(axis=0)
    variance = float((left**2).mean())
    if variance == 0.0:
        return []
    wanted = [i for i in np.argsort(-importance, kind="stable")[:max_features] if importance[i] > 0]
    probes = _probes(space, z, sorted(map(int, wanted)))
    found: list[PairGain] = []
    while probes and len(found) < MAX_PAIRS and not late():
        ranking = sorted(_gains(probes, z, left, fold, variance, late), key=lambda gain: -gain.gain)
        if not ranking or not (best := ranking[0]).worthwhile:
            break
        found.append(best)
        bases = probes[best.pair, best.gaps_of]
        finest = fine_resolution(len(fold))
        if best.large and finest is not None:
            bases = pair_curves(0, space, z, *best.pair, finest)
        left = left - cross_fitted(bases, z, left, fold)
        # Gains fall as others are taken, so pairs far down the list need no second look.
        again = [(gain.pair, gain.gaps_of) for gain in ranking[1:RECONSIDERED] if gain.gain > 0]
        probes = {key: probes[key] for key in again}
    return found


def _probes(space: FeatureSpace, z: FloatArray, features: Sequence[int]) -> dict[_Key, Sequence[CurveBasis]]:
    """Make curves to judge pairs by: of both values, and of one by gaps of the other, next to its separate curve."""
    probes: dict[_Key, Sequence[CurveBasis]] = {}
    most = min(MAX_PROBE_MATRICES, len(z) // ROWS_PER_MATRIX)
    for pair in combinations(features, 2):
        # A table of categories is counted before it is made: of two names of thousands it would fill the memory.
        if max(1, space.features[pair[0]].num_paths) * max(1, space.features[pair[1]].num_paths) <= most:
            probes[pair, None] = pair_curves(0, space, z, *pair, probe_resolution(len(z)))
    terms, mains = main_curves(space, z, kept=features, spikes=False)
    alone = {term.features[0]: basis for term, basis in zip(terms, mains, strict=True)}
    for missing, along in permutations(features, 2):
        bases = gap_curves(0, space, z, missing, along)
        if bases and along in alone:
            probes[(min(missing, along), max(missing, along)), missing] = [*bases, alone[along]]
    return {key: bases for key, bases in probes.items() if 0 < sum(basis.curve.num_matrices for basis in bases) <= most}


def _gains(
    probes: Mapping[_Key, Sequence[CurveBasis]],
    z: FloatArray,
    target: FloatArray,
    fold: NDArray[np.int64],
    variance: float,
    late: Callable[[], bool],
) -> list[PairGain]:
    listed = list(probes.items())
    found: list[PairGain | None] = [None] * len(listed)

    def work(start: int, stop: int) -> None:
        for i in range(start, stop):
            if late():
                return
            (pair, gaps_of), bases = listed[i]
            better = (target**2 - (target - cross_fitted(bases, z, target, fold)) ** 2).mean(axis=1) / variance
            gain, error = float(better.mean()), float(better.std()) / np.sqrt(len(better))
            found[i] = PairGain(pair, gain, gain / error if error > 0 else 0.0, gaps_of)

    for_ranges(len(listed), 1, work)
    return [gain for gain in found if gain is not None]


def pair_term(space: FeatureSpace, pair: tuple[int, int]) -> Term:
    """Make the term of a pair."""
    return Term(space.pair_name(*pair), pair)
