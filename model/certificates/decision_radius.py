"""Certify how far a row's features may move together before its decision could change."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.intervals import score_moves
from eigenserve.model.certificates.reach import EPS
from eigenserve.model.predictor import Predictor

#: Of the search for a radius: how many proofs are tried, and the shares at which it ends.
_MAX_PROOFS = 16
MAX_SHARE, _LEAST_SHARE = 2.0**20, 2.0**-20


def certified_radius(
    predictor: Predictor,
    columns: FloatArray,
    scales: Mapping[str, float],
    threshold: float = 0.0,
    effort: float = 1.0,
    check: Callable[[], None] = lambda: None,
) -> float:
    """Return a share r such that no row within radii r * scales of the row is on the other side of the threshold.

    One output: the score stays on its side. Several: the class with the largest score stays so (no threshold); then
    what the best class loses and another gains is bounded together. What is proved for r holds for every smaller one,
    whose rows are among those of r. The largest r found by interpolation, until 97% of the way to another decision are
    used or an r 3% larger fails; 0 where none was proved, and infinite from MAX_SHARE on: no limit was found.
    ``check`` is called throughout; it may raise, to give up.
    """

    def used(share: float) -> float:
        """Return the share of the distance to another decision that scores can move: less than 1 proves."""
        within = {name: share * scale for name, scale in scales.items()}
        if any(np.isinf(within[name]) and np.isfinite(scale) for name, scale in scales.items()):
            return np.inf  # beyond float64 nothing is known
        found = score_moves(predictor, columns, within, effort, check)
        if len(found.score) == 1:
            above = found.score[0] > threshold
            most = sum((m.max() for m in (found.down if above else found.up)), start=found.slack[0])
            margin = np.abs(found.score - threshold)
        else:
            best = int(found.score.argmax())
            closer = [up + down[:, [best]] for up, down in zip(found.up, found.down, strict=True)]
            most = np.delete(sum((m.max(axis=0) for m in closer), start=found.slack + found.slack[best]), best)
            margin = np.delete(found.score[best] - found.score, best)
        if not (margin > 0.0).all():
            return np.inf
        # Moves that are not numbers prove nothing either.
        return float(np.nan_to_num(most * (1.0 + 8.0 * EPS) / margin, nan=np.inf).max())

    # What is used grows about like the share to some power: interpolate between the last that proves and the last
    # that does not, and never leave their middle half (of logarithms) for long.
    low, high, share = 0.0, np.inf, 1.0
    used_low, used_high = 0.0, np.inf
    for step in range(_MAX_PROOFS):
        now = used(float(share))
        if now < 1.0:
            low, used_low = share, now
        else:
            high, used_high = share, now
        if low >= MAX_SHARE or high <= _LEAST_SHARE or high <= 1.03 * low or used_low >= 0.97:
            break
        if low == 0.0:
            share = high * max(0.5 / used_high, 2.0**-6)
        elif np.isinf(high):
            share = min(low * min(1.5 / max(used_low, 1e-6), 2.0**6), MAX_SHARE)
        elif step % 3 == 2 or np.isinf(used_high) or used_low <= 0.0:
            share = np.sqrt(low * high)
        else:
            way = np.log(0.985 / used_low) / np.log(used_high / used_low)
            share = low * (high / low) ** min(max(way, 0.05), 0.95)
    return float(low) if low < MAX_SHARE else np.inf
