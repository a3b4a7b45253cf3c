"""Curves as tensors of a state dict, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigenserve.model.matrices.curves import Curve

#: What `PiecewiseCurves` has in its state dict, besides ``ramps``.
NAMES = ("knots", "directions", "layout")


def packed(curves: Sequence[Curve]) -> dict[str, Any]:
    """Return curves as arrays: knots of all in turn (K,), directions (C, 2), layout (C, 10).

    A row of the layout is the term, the number of knots, extend, missing, two numeric features, two categorical ones
    and how many codes each has; -1 stands for a feature that there is not.
    """
    layout = [
        (
            curve.term,
            len(curve.knots),
            curve.extend,
            curve.missing,
            *padded(curve.numeric, -1),
            *padded(curve.categorical, -1),
            *padded(curve.num_codes, 1),
        )
        for curve in curves
    ]
    return {
        "knots": np.array([knot for curve in curves for knot in curve.knots], np.float64),
        "directions": np.array([padded(curve.direction, 0.0) for curve in curves], np.float64),
        "layout": np.array(layout, np.int64),
    }


def unpacked(state: Mapping[str, Any]) -> tuple[Curve, ...]:
    """Return the curves that `packed` made arrays, or tensors, of."""
    knots, made, first = state["knots"].tolist(), [], 0
    for row, direction in zip(state["layout"].tolist(), state["directions"].tolist(), strict=True):
        term, count, extend, missing, *features = row
        numeric, categorical = (tuple(i for i in pair if i >= 0) for pair in (features[:2], features[2:4]))
        made.append(
            Curve(
                term=term,
                numeric=numeric,
                direction=tuple(direction[: len(numeric)]),
                categorical=categorical,
                num_codes=tuple(features[4 : 4 + len(categorical)]),
                knots=tuple(knots[first : first + count]),
                extend=bool(extend),
                missing=bool(missing),
            )
        )
        first += count
    return tuple(made)


def padded(pair: Sequence[Any], fill: Any) -> tuple[Any, Any]:
    """Return up to two entries as two."""
    first, second = (*pair, fill, fill)[:2]
    return first, second
