"""Explanation: scores of rows, taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.plots import draw_waterfall
from eigenserve.model.explanations.tables import (
    MOST_ROWS,
    MOST_TERMS,
    ExplainedRows,
    html_table,
    signed,
    to_frame,
    to_shap,
)


@dataclass(frozen=True, eq=False, repr=False)
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
        scores: (N, O), of all outputs.
        outputs: (N, O), for each row the explained combination of them (see ``Predictor.outputs``).
        score, baseline: (N,), of the explained output. But for "eigenvector" the baseline is one number for each: of
            several classes, rows that are explained for different ones differ.
        contributions: (N, T).
        sensitivities: (N, F'), d(score)/dx in raw units; NaN where the value is missing, the derivative
            from the right at a knot.
        gap: (N,), the smallest distance of a member's eigenvalue to its neighbours, to one part in 128, or to a
            few roundings of the largest matrix entries where it is that small (infinite for dim 1).
        standard_error: (N, T) of sampled contributions; zero where they are exact, None where none is sampled.
        reference: what "integrated" and "shapley_terms" compare with; None for the other methods.
        remainder: (N,), what quadrature left of the score of "integrated", and was spread over the contributions.
        rows: the rows themselves, for ``to_shap`` and ``plot``.
    """

    method: str
    terms: tuple[str, ...]
    features: tuple[str, ...]
    scores: FloatArray
    outputs: FloatArray
    score: FloatArray
    baseline: FloatArray
    contributions: FloatArray
    sensitivities: FloatArray
    gap: FloatArray
    standard_error: FloatArray | None = None
    reference: str | None = None
    remainder: FloatArray | None = None
    rows: ExplainedRows | None = None

    def __post_init__(self) -> None:
        for values in vars(self).values():
            if isinstance(values, np.ndarray):
                values.flags.writeable = False

    def __len__(self) -> int:
        return len(self.score)

    def __repr__(self) -> str:
        """Write what it is in one line: its arrays have thousands of numbers."""
        against = f", against {self.reference}" if self.reference else ""
        return f"<Explanation of {len(self)} rows by {len(self.terms)} terms, {self.method}{against}>"

    def _repr_html_(self) -> str:
        """Show the first rows in a notebook: score, baseline and the largest contributions with their values."""
        shown = []
        for row in range(min(len(self), MOST_ROWS)):
            values = [""] * len(self.terms) if self.rows is None else self.rows.texts(row)
            order = np.argsort(-np.abs(self.contributions[row]), kind="stable")
            order = order[self.contributions[row, order] != 0.0]
            parts = [
                f"{self.terms[t]}{' = ' if values[t] else ''}{values[t]}: {signed(self.contributions[row, t])}"
                for t in order[:MOST_TERMS]
            ]
            if len(order) > MOST_TERMS:
                rest = float(self.contributions[row, order[MOST_TERMS:]].sum())
                parts.append(f"{len(order) - MOST_TERMS} others: {signed(rest)}")
            shown.append((str(row), f"{self.score[row]:.6g}", f"{self.baseline[row]:.6g}", "; ".join(parts)))
        note = f"{len(self)} rows, method {self.method}"
        note += f", against {self.reference}" if self.reference else ""
        return html_table(("row", "score", "baseline", "largest contributions"), shown, note)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each row: score, baseline and one column per term.

        Raises:
            ImportError: pandas is not installed.
        """
        return to_frame(self.terms, self.score, self.baseline, self.contributions, self.gap)

    def to_shap(self) -> Any:
        """Return a shap.Explanation, so that shap's plots work.

        Its base values are the baselines: where rows of several classes are explained for those that are predicted,
        one for each class. Plots of many rows take one: explain for one ``target`` then.

        Raises:
            ImportError: shap is not installed.
        """
        return to_shap(self.terms, self.baseline, self.contributions, self.rows)

    def plot(self, row: int = 0, ax: Any = None) -> Any:
        """Draw one row's waterfall with matplotlib, from the baseline to the score.

        Args:
            row: its position.
            ax: matplotlib axes; new ones by default.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is not installed.
            IndexError: there is no such row.
            ValueError: an explanation that was made without its rows.
        """
        if self.rows is None:
            raise ValueError("plot() needs an explanation that keeps its rows, as model.explain makes it")
        row = range(len(self))[row]
        values = self.rows.texts(row)
        contributions = self.contributions[row].tolist()
        return draw_waterfall(self.terms, values, contributions, float(self.baseline[row]), float(self.score[row]), ax)
