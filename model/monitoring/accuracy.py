"""AccuracySums: how good predictions were, once labels are known, as sums that add up over windows and workers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import category_key
from eigenserve.model.spectral import SpectralModel

#: Bins of predicted probabilities for calibration.
CALIBRATION_BINS = 10
#: Probabilities are no smaller in a logarithm.
_TINY = 1e-15


@dataclass(frozen=True)
class Accuracy:
    """Hold a metric of labelled rows.

    Attributes:
        value: of these rows.
        standard_error: of the value, by the spread of its parts; None where it is not a mean.
        training: the same from training's held-out rows, or the level an interval was made for; None where unknown.
    """

    value: float
    standard_error: float | None = None
    training: float | None = None

    @property
    def beyond(self) -> bool:
        """Return whether it differs from training by over four standard errors."""
        if self.training is None or not self.standard_error:
            return False
        return bool(abs(self.value - self.training) > 4.0 * self.standard_error)


@dataclass(frozen=True)
class AccuracySums:
    """Add up what the accuracy of a model's predictions is made of.

    Attributes:
        model: whose predictions they are.
    """

    model: SpectralModel

    @property
    def size(self) -> int:
        """Count the sums."""
        return 7 + len(self.model.interval_levels) + 3 * CALIBRATION_BINS

    def labels(self, values: Any) -> FloatArray:
        """Return labels as numbers, or as positions of classes.

        Raises:
            ValueError: naming the first that is not a label of this model.
        """
        out = np.array([self.label(value) for value in values], np.float64)
        bad = np.flatnonzero(~np.isfinite(out))
        if len(bad):
            raise ValueError(f"outcome {bad[0]} must be {self.rule}; got {values[bad[0]]!r}")
        return out

    def label(self, value: Any) -> float:
        """Return a label as a number, or as the position of its class; NaN for what is not one of this model."""
        if self._positions:
            return self._positions.get(category_key(value), math.nan)
        if not isinstance(value, int | float | np.number) or isinstance(value, bool):
            return math.nan
        try:
            return float(value) if math.isfinite(value) else math.nan
        except OverflowError:  # a whole number beyond float64
            return math.nan

    @property
    def rule(self) -> str:
        """Say what a label must be."""
        classes = self.model.classes
        return f"one of {', '.join(map(repr, classes))}" if classes else "a finite number"

    @cached_property
    def _positions(self) -> dict[str, float]:
        return {category_key(label): float(i) for i, label in enumerate(self.model.classes)}

    def of(self, scores: FloatArray, labels: FloatArray, weight: FloatArray | None = None) -> FloatArray:
        """Return the sums (``size``,) of rows with these scores (N, O) and labels (N,).

        weight: (N,), positive: how much each row counts, in any unit; None where all count the same.
        """
        count = np.ones(len(labels)) if weight is None else weight / weight.mean()
        out = np.zeros(self.size)
        out[0], out[5] = len(labels), count @ count
        if self.model.classes:
            probabilities, codes = self.model.probabilities(scores), labels.astype(np.int64)
            loss = -np.log(np.maximum(probabilities[np.arange(len(codes)), codes], _TINY))
            right = probabilities.argmax(axis=1) == codes
            if self.model.task == "binary":
                stated, met = probabilities[:, 1], codes == 1
            else:
                stated, met = probabilities.max(axis=1), right
            out[1:4] = count @ loss, count @ loss**2, count @ right
            out[-3 * CALIBRATION_BINS :] = _calibration(stated, met, count)
            return out
        errors = labels - self.model.values(scores)
        out[1:5] = [count @ errors**k for k in (1, 2, 4)] + [count @ np.abs(errors)]
        for i, level in enumerate(self.model.interval_levels):
            bounds = self.model.intervals(scores, level)
            out[7 + i] = count @ ((bounds[:, 0] <= labels) & (labels <= bounds[:, 1]))
        return out

    def metrics(self, sums: FloatArray) -> dict[str, Accuracy]:
        """Return the metrics of added sums; none for no rows."""
        n = sums[0]
        if not n:
            return {}
        # As many rows of equal weights as these say (Kish, Survey sampling, 1965).
        like = n**2 / sums[5]
        if self.model.classes:
            loss, share = sums[1] / n, sums[3] / n
            spread = math.sqrt(max(0.0, sums[2] / n - loss**2) / like)
            shares = sums[-3 * CALIBRATION_BINS :].reshape(3, -1)
            gap = float(np.abs(shares[1] - shares[2]).sum() / n)
            return {
                "log_loss": Accuracy(loss, spread, self._trained("log_loss")),
                "accuracy": Accuracy(
                    share, math.sqrt(max(0.0, share * (1.0 - share)) / like), self._trained("accuracy")
                ),
                "ece": Accuracy(gap, None, self._trained("ece")),
            }
        # Of outcomes that were replaced a rounding error may be left.
        mean, square = sums[1] / n, max(0.0, sums[2] / n)
        rmse = math.sqrt(square)
        # Of a square root: half the standard error of the mean square, divided by the root.
        rmse_error = math.sqrt(max(0.0, sums[3] / n - square**2) / like) / (2.0 * rmse) if rmse else 0.0
        found = {
            "rmse": Accuracy(rmse, rmse_error, self._trained("rmse")),
            "mae": Accuracy(sums[4] / n, math.sqrt(max(0.0, square - (sums[4] / n) ** 2) / like), self._trained("mae")),
            "bias": Accuracy(mean, math.sqrt(max(0.0, square - mean**2) / like), 0.0),
        }
        for i, level in enumerate(self.model.interval_levels):
            share = sums[7 + i] / n
            found[f"coverage_{100 * level:g}"] = Accuracy(share, math.sqrt(level * (1.0 - level) / like), level)
        return found

    def calibration(self, sums: FloatArray) -> list[dict[str, float]]:
        """Return by bin of predicted probability: rows, mean probability and share of those that came true."""
        if not self.model.classes:
            return []
        counts, stated, met = sums[-3 * CALIBRATION_BINS :].reshape(3, -1)
        return [
            {"rows": round(n), "predicted": p / n, "observed": y / n}
            for n, p, y in zip(counts.tolist(), stated.tolist(), met.tolist(), strict=True)
            if n
        ]

    def document(self, sums: FloatArray) -> dict[str, Any]:
        """Return the JSON form of added sums."""
        shown = {name: {**vars(metric), "beyond": metric.beyond} for name, metric in self.metrics(sums).items()}
        return {"rows": int(sums[0]), "metrics": shown, "calibration": self.calibration(sums)}

    def _trained(self, name: str) -> float | None:
        metrics = self.model.card.get("metrics") or {}
        value = (metrics.get("out_of_fold") or {}).get(name)
        return float(value) if isinstance(value, int | float) else None


def _calibration(stated: FloatArray, met: NDArray[np.bool_], count: FloatArray) -> FloatArray:
    bins = np.minimum((stated * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    parts = [np.bincount(bins, weights, CALIBRATION_BINS) for weights in (count, count * stated, count * met)]
    return np.concatenate(parts)
