"""Integrate a score's slope along the straight line from the baseline to the row: its Aumann-Shapley values.

z(t) = z0 + t (z1 - z0) in coordinates.  phi_i = integral over t in [0, 1] of  d s(z(t)) / d z_i  (z1 - z0)_i

The derivative is the eigenvector's, v' (dT/dz_i) v: it exists wherever the line crosses no kink and no repeated
eigenvalue. The integral is complete: s is continuous and piecewise smooth in t, so the values add up to
s(z1) - s(z0).

A feature through which no line leads is switched instead (see ``model.explanations.line``). That keeps the axioms: the
path is one for all features (symmetry), a feature that is equal in both rows or in no curve gets zero (dummy), and the
ends of the path are the two rows (completeness).
"""

from __future__ import annotations

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.line import Line
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.predictor import Predictor

# Kronrod's seven nodes about Gauss' three on [-1, 1] (QUADPACK's construction; abscissae and weights of G3K7).
_NODES = np.array([0.0, 0.4342437493468026, 0.7745966692414834, 0.9604912687080203])
_KRONROD = np.array([0.4509165386584741, 0.4013974147759622, 0.2684880898683334, 0.1046562260264673])
_GAUSS = np.array([8.0 / 9.0, 0.0, 5.0 / 9.0, 0.0])
NODES = np.concatenate([-_NODES[:0:-1], _NODES])
KRONROD = np.concatenate([_KRONROD[:0:-1], _KRONROD])
GAUSS = np.concatenate([_GAUSS[:0:-1], _GAUSS])

#: A segment is split while three nodes and seven differ by more than this share of the score's scale. Where the slope
#: is smooth, seven nodes err by far less than that: about the difference's square.
TOLERANCE = 1e-7
#: How far the sum of a segment's values may be from the change of the score along it, which is known.
SUM_TOLERANCE = 1e-11
# The eigenvalue is Lipschitz in t: beyond this depth a segment holds 2^-40 of the path, less than 1e-12 of the change.
_SMALLEST = 2.0**-40
# A row some 10^7 standard deviations away crosses the training range in less of the path than a time can resolve: there
# splitting leads nowhere. Of what is left then, the sum is known and its parts are not. Ordinary rows
# need hundreds.
_MOST_PIECES = 2**13


def path_values(
    predictor: Predictor,
    coordinates: FloatArray,
    baseline: FloatArray,
    outputs: FloatArray,
) -> FloatArray:
    """Compute Aumann-Shapley values (N, F) of N rows.

    They add up to the change of the score to rounding: what the quadrature leaves over (at most SUM_TOLERANCE of
    the scale for each segment, unless a row is millions of standard deviations away) is shared out in proportion to
    the values of that segment.

    Args:
        predictor: what scores.
        coordinates: (N, F).
        baseline: (F,), coordinates of the row to start from.
        outputs: (N, O), for each row the unit vector of the output to explain, or minus it.
    """
    walkable = np.array([feature.kind in ("numeric", "datetime") for feature in predictor.features.features], bool)
    values, ensemble = np.zeros(coordinates.shape), predictor.ensemble
    pencil = ensemble.pencil
    chosen = np.abs(outputs).argmax(axis=1)
    tables = {}
    for output in np.unique(chosen).tolist():
        heads = ensemble.heads(output)
        tables[output] = (
            np.concatenate([part[heads].ravel() for part in (pencil.constant_diag, pencil.constant_off_diag)]),
            np.concatenate([part[:, heads].reshape(len(part), -1) for part in (pencil.diag, pencil.off_diag)], axis=1),
        )

    def work(start: int, stop: int) -> None:
        for j in range(start, stop):
            output = int(chosen[j])
            line = Line(ensemble, walkable, baseline, coordinates[j], tables[output])
            values[j, line.moving] = outputs[j, output] * _integrate(line)

    for_ranges(len(coordinates), 1, work)
    return values


def _integrate(line: Line) -> FloatArray:
    """Integrate the values of the features that move, (A,)."""
    segments = line.segments()
    ends = segments.ends
    edge = np.arange(len(ends))
    edge_scores = line.solve(segments, np.maximum(edge - 1, 0), (edge > 0).astype(np.float64))[0]
    scale = max(float(np.abs(edge_scores).max()), float(np.ptp(edge_scores)), np.finfo(float).tiny)
    total = np.zeros(len(line.moving))
    # Pieces: of which segment, from and to which share of it, the score where they begin and its change along them.
    of, low, high = edge[:-1], np.zeros(len(edge) - 1), np.ones(len(edge) - 1)
    low_scores, change = edge_scores[:-1], np.diff(edge_scores)
    tried = 0
    while len(of):
        tried += len(of)
        half = 0.5 * (high - low)
        nodes = (low + half)[:, None] + half[:, None] * NODES
        slopes = line.solve(segments, np.repeat(of, len(NODES)), nodes.ravel())[1].reshape(len(of), len(NODES), -1)
        slopes *= (half * (ends[of + 1] - ends[of]))[:, None, None]
        found = np.einsum("k,skf->sf", KRONROD, slopes)
        doubt = np.abs(np.einsum("k,skf->sf", KRONROD - GAUSS, slopes)).max(axis=1, initial=0.0)
        left = change - found.sum(axis=1)
        good = (doubt <= TOLERANCE * scale) & (np.abs(left) <= SUM_TOLERANCE * scale)
        good |= (half * (ends[of + 1] - ends[of]) <= _SMALLEST) | (tried > _MOST_PIECES)
        size = np.abs(found).sum(axis=1)
        found += np.abs(found) * np.divide(left, size, out=np.zeros_like(left), where=size > 0.0)[:, None]
        total += found[good].sum(axis=0)
        of, low, high, change, low_scores = (part[~good] for part in (of, low, high, change, low_scores))
        if len(of):
            middle = 0.5 * (low + high)
            middle_scores = line.solve(segments, of, middle)[0]
            first = middle_scores - low_scores
            of, low, high = np.tile(of, 2), np.concatenate([low, middle]), np.concatenate([middle, high])
            change = np.concatenate([first, change - first])
            low_scores = np.concatenate([low_scores, middle_scores])
    # What the last pieces' parts gave no proportion for.
    left_over, size = edge_scores[-1] - edge_scores[0] - total.sum(), np.abs(total)
    return total + left_over * (size / size.sum() if size.any() else np.full(len(total), 1.0 / max(1, len(total))))
