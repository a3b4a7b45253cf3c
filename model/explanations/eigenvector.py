"""Explain a score exactly by the eigenvector that belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers.cpu import solve_eigenpairs_and_gaps
from eigenserve.model.explanations.plots import draw_curves, draw_waterfall
from eigenserve.model.explanations.response_curves import ResponseCurve
from eigenserve.model.explanations.tables import ExplainedRows, to_frame, to_shap
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.ensemble import CHUNK_ROWS, SpectralEnsemble
from eigenserve.model.rows.features import FeatureSpace

#: Methods of ``explain``.
METHODS = ("eigenvector", "path", "shapley")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Hold scores of N rows and where they come from: score = baseline + contributions, exactly.

    With v the unit eigenvector of the predicted eigenvalue, v'T(x)v = v'Av + sum over terms of v'M_t(x_t)v
    (the Rayleigh quotient at an eigenvector is the eigenvalue). Contributions are relative to the average
    training row, seen through this row's eigenvector. Where ``gap`` is tiny the eigenvector, and with it
    the split, may turn under a small change of the row; the sum stays exact all the same.

    The methods "path" and "shapley" compare with a baseline row instead: their baseline is its score, and
    their contributions are the features' (see ``model.explanations.aumann_shapley``, ``model.explanations.shapley``).

    Attributes:
        method: how the split was made.
        terms: names of the T terms: a feature, or "a & b"; of all features for "path" and "shapley".
        features: names of the F' numeric features.
        score, baseline: (N,).
        contributions: (N, T).
        sensitivities: (N, F'), d(score)/dx in raw units; NaN where the value is missing, the derivative
            from the right at a knot.
        gap: (N,), the smallest distance of a member's eigenvalue to its neighbours, to one part in 128, or to a
            few roundings of the largest matrix entries where it is that small (infinite for dim 1).
        standard_error: (N, T) of sampled contributions; zero where they are exact, None where none is sampled.
        rows: the rows themselves, for ``to_shap`` and ``plot``.
        responses: position of a row -> its response curves and its prediction, for ``plot``.
    """

    method: str
    terms: tuple[str, ...]
    features: tuple[str, ...]
    score: FloatArray
    baseline: FloatArray
    contributions: FloatArray
    sensitivities: FloatArray
    gap: FloatArray
    standard_error: FloatArray | None = None
    rows: ExplainedRows | None = None
    responses: Callable[[int], tuple[dict[str, ResponseCurve], float]] | None = field(
        default=None, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for name in ("score", "baseline", "contributions", "sensitivities", "gap", "standard_error"):
            if getattr(self, name) is not None:
                getattr(self, name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.score)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each row: score, baseline and one column per term.

        Raises:
            ImportError: pandas is not installed.
        """
        return to_frame(self.terms, self.score, self.baseline, self.contributions, self.gap)

    def to_shap(self) -> Any:
        """Return a shap.Explanation, so that shap's plots work.

        Raises:
            ImportError: shap is not installed.
        """
        return to_shap(self.terms, self.baseline, self.contributions, self.rows)

    def plot(self, row: int = 0, kind: str = "waterfall", ax: Any = None) -> Any:
        """Draw one row's explanation with matplotlib.

        Args:
            row: its position.
            kind: "waterfall", from the baseline to the score; or "curves", how its prediction answers to each feature,
                with its own value (a dot), kinks (ticks), crossings (crosses) and what it would be if the feature were
                missing (a dotted line).
            ax: matplotlib axes for the waterfall; new ones by default.

        Returns:
            The axes of a waterfall, the figure of curves.

        Raises:
            ImportError: matplotlib is not installed.
            IndexError: there is no such row.
            ValueError: an unknown kind, or an explanation that was made without its rows.
        """
        if kind not in ("waterfall", "curves"):
            raise ValueError(f"kind must be waterfall or curves; got {kind!r}")
        if self.rows is None or self.responses is None:
            raise ValueError("plot() needs an explanation made by SpectralModel.explain, which keeps its rows")
        row = range(len(self))[row]
        if kind == "curves":
            curves, prediction = self.responses(row)
            return draw_curves(curves, self.rows.row(row), prediction)
        values = self.rows.texts(row)
        contributions = self.contributions[row].tolist()
        return draw_waterfall(self.terms, values, contributions, float(self.baseline[row]), float(self.score[row]), ax)


def explain(
    features: FeatureSpace, ensemble: SpectralEnsemble, columns: FloatArray, outputs: FloatArray
) -> Explanation:
    """Explain one linear combination of a row's scores, row by row, by the eigenvectors.

    Args:
        features: the features of the columns.
        ensemble: what gives the scores.
        columns: (N, F) as ``FeatureSpace.encode`` gives them.
        outputs: (N, O), the combination of outputs to explain: the unit vector of an output, or minus it.
    """
    coordinates = features.coordinates(columns)
    count, num_outputs = len(columns), ensemble.num_outputs
    scores = np.empty((count, num_outputs))
    constant = np.empty((count, num_outputs))
    terms = np.empty((count, len(ensemble.pencil.terms), num_outputs))
    slopes = np.zeros((count, len(features), num_outputs))
    gap = np.empty(count)

    def work(start: int, stop: int) -> None:
        for first in range(start, stop, CHUNK_ROWS):
            rows = slice(first, min(first + CHUNK_ROWS, stop))
            _explain_chunk(
                ensemble,
                coordinates[rows],
                scores[rows],
                constant[rows],
                terms[rows],
                slopes[rows],
                gap[rows],
            )

    for_ranges(count, CHUNK_ROWS, work)
    numeric = [i for i, feature in enumerate(features.features) if feature.kind == "numeric"]
    chain = [features.features[i].coordinate_slope(columns[:, i]) for i in numeric]
    return Explanation(
        method="eigenvector",
        terms=tuple(term.name for term in ensemble.pencil.terms),
        features=tuple(features.names[i] for i in numeric),
        score=_chosen(scores, outputs),
        baseline=_chosen(constant + ensemble.offset, outputs),
        contributions=_chosen(terms, outputs),
        sensitivities=_chosen(slopes[:, numeric], outputs) * np.array(chain).reshape(len(numeric), count).T,
        gap=gap,
        rows=ExplainedRows(features, columns, tuple(term.features for term in ensemble.pencil.terms)),
    )


def _chosen(values: FloatArray, outputs: FloatArray) -> FloatArray:
    """Select the chosen output of each row: (N, ..., O) and (N, O) -> (N, ...)."""
    if outputs.shape[1] == 1:
        return values[..., 0] * outputs[:, 0].reshape(-1, *(1,) * (values.ndim - 2))
    return np.einsum("n...o,no->n...", values, outputs)


def _explain_chunk(
    ensemble: SpectralEnsemble,
    coordinates: FloatArray,
    scores: FloatArray,
    constant: FloatArray,
    terms: FloatArray,
    slopes: FloatArray,
    gap: FloatArray,
) -> None:
    pencil, k = ensemble.pencil, ensemble.eig_idx
    walk = pencil.curves.walk(coordinates)
    diag, off_diag = pencil.matrices(walk)
    n = diag.shape[2]
    eigenvalues, eigenvectors, gaps = np.empty(diag.shape[:2]), np.empty(diag.shape), np.empty(diag.shape[:2])
    solve_eigenpairs_and_gaps(
        diag.reshape(-1, n),
        off_diag.reshape(eigenvalues.size, n - 1),
        k,
        eigenvalues.reshape(-1),
        eigenvectors.reshape(-1, n),
        gaps.reshape(-1),
    )
    gaps.min(axis=1, out=gap)
    ensemble.combine(eigenvalues, scores)
    weights = np.tile(ensemble.member_weights, (ensemble.num_outputs, 1))
    constant[:], terms[:], chunk_slopes = pencil.decompose(walk, eigenvectors, weights)
    slopes[:, : chunk_slopes.shape[1]] = chunk_slopes
