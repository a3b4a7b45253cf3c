"""Turn named raw features into the coordinates that walk the curves of a model."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.date_cycles import CycleName, cycle_values
from eigenserve.model.rows.encoding import Encoder
from eigenserve.model.rows.feature import Feature, Transform


@dataclass(frozen=True)
class FeatureSpace:
    """Hold the features of a model in training column order, and after them the cycles of dates."""

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError(f"feature names must differ; got {names}")
        dates = {feature.name for feature in self.features if feature.kind == "datetime"}
        for feature in self.features[len(self.input_names) :]:
            if feature.source not in dates:
                raise ValueError(f"feature {feature.name!r} must stand behind all columns, as a cycle of a date does")

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return names in column order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Return names of the features that rows have to give: all but cycles."""
        return tuple(feature.name for feature in self.features if not feature.cycle)

    @cached_property
    def _cycles(self) -> list[tuple[int, int, CycleName]]:
        """Return positions of each cycle and of its date, and which it is."""
        return [(i, self.position(f.source), f.cycle) for i, f in enumerate(self.features) if f.cycle]

    @cached_property
    def tied(self) -> frozenset[int]:
        """Return positions of cycles and of their dates: none of them changes alone in a real row."""
        return frozenset(i for cycle, date, _ in self._cycles for i in (cycle, date))

    def position(self, name: str) -> int:
        """Return where a feature stands.

        Raises:
            ValueError: naming the features there are.
        """
        place = self._places.get(name)
        if place is None:
            raise ValueError(f"no feature {name!r}; the features are {', '.join(self.names)}")
        return place

    def has(self, name: str) -> bool:
        """Return whether a feature is called so."""
        return name in self._places

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def pair_name(self, *positions: int) -> str:
        """Return what two features together are called: "a & b", which is neither a feature's name nor another pair's.

        Where a feature's name holds such a sign itself, there are more of them than in any name.
        """
        return self._together.join(self.names[i] for i in positions)

    @cached_property
    def _together(self) -> str:
        # Padded, so that a name that begins or ends with the sign counts too.
        if not any(" & " in f" {name} " for name in self.names):
            return " & "
        longest = max(len(run) for name in self.names for run in re.findall("&+", name) or [""])
        return f" {'&' * (longest + 1)} "

    def encode(self, rows: Any) -> FloatArray:
        """Encode raw rows as columns.

        Args:
            rows: a list of rows, each a mapping by feature name (a missing key is a missing value) or a
                sequence in column order; or a table with named columns (a pandas DataFrame, or a mapping of
                name -> values), whose further columns are ignored; or a 2-D array in column order. Cycles of
                dates may be left out everywhere; of tables they are never read, where a column of such a name may
                be anything.

        Returns:
            (N, F) float64: numbers in raw units, 0/1 for booleans, codes for categories, NaN for missing.

        Raises:
            InvalidRowsError: naming each bad row and feature (the first ``MAX_REPORTED_ERRORS`` of them).
        """
        columns = self._encoder.encode(rows)
        self.fill_cycles(columns)
        return columns

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self.features, len(self.input_names))

    def fill_cycles(self, columns: FloatArray) -> None:
        """Compute cycles that are missing in columns (N, F) from their dates, in place."""
        for i, source, cycle in self._cycles:
            absent = np.isnan(columns[:, i])
            columns[absent, i] = cycle_values(cycle, columns[absent, source])

    def coordinates(self, columns: FloatArray) -> FloatArray:
        """Turn columns (N, F), as ``encode`` gives them, into what the curves are walked by, (N, F) float64."""
        stand_ins, centers, scales, logarithms = self._maps
        out = np.where(np.isnan(columns), stand_ins, columns)
        for i, low in logarithms:
            out[:, i] = np.log(np.maximum(out[:, i], low))
        out -= centers
        out /= scales
        for i in self._grouped:
            out[:, i] = self.features[i].grouped(out[:, i])
        return out

    @cached_property
    def _grouped(self) -> list[int]:
        return [i for i, feature in enumerate(self.features) if feature.groups]

    @cached_property
    def _maps(self) -> tuple[FloatArray, FloatArray, FloatArray, list[tuple[int, float]]]:
        """Stack ``Feature.coordinate`` of all features; measured on a single row of 8: a third of the time."""
        numbers = [feature.kind != "categorical" for feature in self.features]
        return (
            np.array([math.nan if f.missing else f.stand_in for f in self.features], np.float64),
            np.array([f.center if number else 0.0 for f, number in zip(self.features, numbers, strict=True)]),
            np.array([f.scale if number else 1.0 for f, number in zip(self.features, numbers, strict=True)]),
            [(i, f.low) for i, f in enumerate(self.features) if numbers[i] and f.transform == "log"],
        )


__all__ = ["Feature", "FeatureSpace", "Transform"]
