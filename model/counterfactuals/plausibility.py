"""Plausibility: how unusual a row is among the training rows, by their means, covariance and frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.features import FeatureSpace

#: Changed rows as usual as one training row in twenty, or as the row itself, come first.
PLAUSIBLE = 0.05
#: Quantiles of the training rows' unusualness that are kept.
_QUANTILES = 101
#: Beyond so many rows a product by BLAS, whose last bits depend on how many rows there are, takes a thirtieth of the
#: time: 24 s for 20,000 rows of 1,000 numbers. Those of a request are fewer.
MANY_ROWS = 1_000


@dataclass(frozen=True, eq=False)
class Typicality:
    """Judge rows by how unusual they are: numbers by Mahalanobis' squared distance, codes by their rarity.

    The rarity of a code is -2 log of its frequency as a share of the most frequent one's, so that both are twice a
    negative logarithm of a density. What is missing counts as the mean. It holds no training row, only their moments.

    Attributes:
        features: of the model.
        mean: (K,), of the coordinates of the K numbers that are not cycles of dates.
        precision: (K, K), the inverse of their covariance.
        rarity: by position, (codes,).
        quantiles: of the training rows' unusualness, ascending.
    """

    features: FeatureSpace
    mean: FloatArray
    precision: FloatArray
    rarity: Mapping[int, FloatArray]
    quantiles: FloatArray

    def unusualness(self, columns: FloatArray) -> FloatArray:
        """Return how unusual columns (N, F) are, (N,); zero for the most usual."""
        away = np.nan_to_num(self.features.coordinates(columns)[:, _numbers(self.features)] - self.mean)
        if len(away) > MANY_ROWS:
            total = np.einsum("ni,ni->n", away @ self.precision, away)
        else:
            total = np.einsum("ni,ij,nj->n", away, self.precision, away)
        for i, rarity in self.rarity.items():
            codes = columns[:, i]
            known = ~np.isnan(codes)
            total[known] += rarity[codes[known].astype(np.int64)]
        return np.asarray(total)

    def plausibility(self, columns: FloatArray) -> FloatArray:
        """Return which share of the training rows is at least as unusual as columns (N, F)."""
        shares = np.linspace(0.0, 1.0, len(self.quantiles))
        # Where quantiles are tied, the least share counts: those rows are just as unusual.
        level, first = np.unique(self.quantiles, return_index=True)
        return np.asarray(1.0 - np.interp(self.unusualness(columns), level, shares[first]))

    def document(self) -> dict[str, Any]:
        """Return what a checkpoint's card keeps."""
        return {
            "mean": self.mean.tolist(),
            "precision": self.precision.tolist(),
            "rarity": {self.features.names[i]: rarity.tolist() for i, rarity in self.rarity.items()},
            "quantiles": self.quantiles.tolist(),
        }


def _numbers(features: FeatureSpace) -> list[int]:
    return [i for i, feature in enumerate(features.features) if not feature.num_codes and not feature.cycle]


def measure_typicality(features: FeatureSpace, columns: FloatArray) -> Typicality:
    """Measure what judges plausibility by training rows (N, F) of columns."""
    coordinates = features.coordinates(columns)[:, _numbers(features)]
    known = ~np.isnan(coordinates)
    mean = np.where(known, coordinates, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1).astype(np.float64)
    away = np.where(known, coordinates - mean, 0.0)
    covariance = away.T @ away / len(columns)
    # Columns that repeat each other, or never vary, would make it singular.
    covariance[np.diag_indices_from(covariance)] += 1e-3
    rarity = {}
    for i, feature in enumerate(features.features):
        if feature.num_codes:
            codes = columns[:, i][~np.isnan(columns[:, i])].astype(np.int64)
            # Half a row more each: a code that no row has is rare, not impossible.
            counts = np.bincount(codes, minlength=feature.num_codes) + 0.5
            rarity[i] = -2.0 * np.log(counts / counts.max())
    measured = Typicality(features, mean, np.asarray(np.linalg.inv(covariance), np.float64), rarity, np.empty(0))
    quantiles = np.quantile(measured.unusualness(columns), np.linspace(0.0, 1.0, _QUANTILES))
    return Typicality(features, mean, measured.precision, rarity, quantiles)


def example_row(features: FeatureSpace, columns: FloatArray, typical: Typicality) -> dict[str, Any]:
    """Return the most usual of rows (N, F) of columns that lacks as little as any, by feature, as rows write it."""
    lacking = np.isnan(columns[:, : len(features.input_names)]).sum(axis=1)
    fullest = np.flatnonzero(lacking == lacking.min())
    row = columns[fullest[typical.unusualness(columns[fullest]).argmin()]]
    return {
        feature.name: feature.written(value)
        for feature, value in zip(features.features, row.tolist(), strict=True)
        if not feature.cycle
    }


def read_typicality(features: FeatureSpace, document: Mapping[str, Any] | None) -> Typicality | None:
    """Return what a checkpoint's card keeps; None where it keeps nothing.

    Raises:
        ValueError: it does not fit the features.
    """
    if not document:
        return None
    mean, precision, quantiles = (np.array(document[key], np.float64) for key in ("mean", "precision", "quantiles"))
    rarity = {features.position(name): np.array(values, np.float64) for name, values in document["rarity"].items()}
    count = len(_numbers(features))
    if not count and not precision.size:
        precision = precision.reshape(0, 0)  # JSON keeps a matrix without rows as an empty list
    fits = mean.shape == (count,) and precision.shape == (count, count) and quantiles.ndim == 1 and len(quantiles)
    if not fits or any(len(values) != features.features[i].num_codes for i, values in rarity.items()):
        raise ValueError("the card's typicality does not fit the features")
    return Typicality(features, mean, precision, rarity, quantiles)
