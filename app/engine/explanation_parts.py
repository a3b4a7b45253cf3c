"""Compute the further parts of explanations, ready for JSON."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
import orjson

from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.answers import to_json
from eigenserve.app.wire.include_options import Include
from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.decision_radius import certified_radius
from eigenserve.model.certificates.intervals import score_interval
from eigenserve.model.certificates.reach import DEFAULT_SHARE, default_radii
from eigenserve.model.certificates.stability import stability
from eigenserve.model.explanations.eigenpairs import member_eigenpairs
from eigenserve.model.explanations.eigenvector import explain_by_eigenvector
from eigenserve.model.explanations.interactions import interactions
from eigenserve.model.explanations.rank_stability import rank_stability
from eigenserve.model.explanations.response_curves import (
    ResponseCurve,
    ResponseSurface,
    response_curves,
    response_surface,
)
from eigenserve.model.predictor import ClassLabel
from eigenserve.model.rows.baseline import baseline_columns

#: Certificates are asked for while a value is dragged: measured, on a model with a map, half the time of an effort of 1
#: and intervals a third wider.
_EFFORT = 0.5


def included(
    served: ServedModel,
    include: Include,
    columns: FloatArray,
    target: ClassLabel | None,
    baseline: FloatArray | None,
    check: Callable[[], None],
    grow: Callable[[int], None] = lambda size: None,
) -> list[dict[str, Any]]:
    """Compute the further keys of every row's explanation, as JSON: as Python objects they take ten times as much.

    Args:
        served: the model.
        include: which.
        columns: (N, F), the rows.
        target, baseline: of the explanation.
        check: called before every part, and in long ones; raises when nobody waits for the answer any more.
        grow: called with the bytes of every part; raises when there is no room for them.
    """
    parts = [(name, part) for name, part in _PARTS.items() if name in include.names]
    found = []
    for row in columns:
        entry: dict[str, Any] = {}
        for name, part in parts:
            check()
            text = to_json(part(served, include, row, target, baseline, check))
            grow(len(text))
            entry[name] = orjson.Fragment(text)
        found.append(entry)
    return found


def _certificate(
    served: ServedModel,
    include: Include,
    row: FloatArray,
    target: ClassLabel | None,
    _: FloatArray | None,
    check: Callable[[], None],
) -> dict[str, Any]:
    model = served.model
    radii = default_radii(model.features, row) if include.radii is None else include.radii
    interval = score_interval(model, row, radii, _EFFORT, check)
    output = model.output_of(row, target)
    ends = output.sign * np.array([interval.low[output.index], interval.high[output.index]])
    radius = None
    if model.classes:
        scales = default_radii(model.features, row, share=1.0)
        proved = certified_radius(model, row, scales, effort=_EFFORT, check=check)
        radius = proved if np.isfinite(proved) else None
    return {"radii": radii, "low": float(ends.min()), "high": float(ends.max()), "decision_radius": radius}


def _stability(
    served: ServedModel,
    _: Include,
    row: FloatArray,
    target: ClassLabel | None,
    __: FloatArray | None,
    check: Callable[[], None],
) -> dict[str, Any]:
    explained = explain_by_eigenvector(served.model, row[None], target)
    found = stability(served.model, row[None], explained.outputs, explained.contributions, check=check)
    ranks = rank_stability(
        served.model, row[None], lambda row: default_radii(served.model.features, row), target=target, check=check
    )
    return {
        "leading": list(ranks.leading[0]),
        "order_proved": DEFAULT_SHARE * float(ranks.proved[0]),
        "order_sampled": DEFAULT_SHARE * float(ranks.sampled[0]),
        "order_holds": float(ranks.holds[0]),
        "moves": float(ranks.moves[0]),
        "samples": ranks.samples,
        "gap": float(found.gap[0]),
        "turn": float(found.turn[0]),
        "trusted": found.trusted[0],
        "reason": found.reasons[0] or None,
    }


def _eigenvector(
    served: ServedModel,
    _: Include,
    row: FloatArray,
    target: ClassLabel | None,
    __: FloatArray | None,
    ___: Callable[[], None],
) -> list[dict[str, Any]]:
    model = served.model
    return [
        {
            "member": pair.member,
            "weight": pair.weight,
            "eig_idx": pair.eig_idx,
            "eigenvalue": pair.eigenvalue,
            "eigenvector": pair.eigenvector.tolist(),
            "diag": pair.diag.tolist(),
            "off_diag": pair.off_diag.tolist(),
        }
        for pair in member_eigenpairs(model, model.output_of(row, target), row)
    ]


def _interactions(
    served: ServedModel,
    _: Include,
    row: FloatArray,
    target: ClassLabel | None,
    baseline: FloatArray | None,
    check: Callable[[], None],
) -> dict[str, Any]:
    model = served.model
    start = baseline_columns(model.features, None) if baseline is None else baseline
    found = interactions(model, model.output_of(row, target), row, start, check)
    numbers = [i for i, feature in enumerate(model.features.features) if feature.kind in ("numeric", "datetime")]
    shapley = found.shapley
    entry: dict[str, Any] = {
        "second_derivatives": {
            model.features.pair_name(a, b): float(found.second_derivatives[a, b])
            for a, b in combinations_with_replacement(numbers, 2)
        },
        "shapley": None
        if shapley is None
        else {
            model.features.pair_name(a, b): float(shapley[a, b]) for a, b in combinations(range(len(found.features)), 2)
        },
    }
    if found.reason:
        entry["reason"] = found.reason
    return entry


def _curves(
    served: ServedModel,
    include: Include,
    row: FloatArray,
    target: ClassLabel | None,
    _: FloatArray | None,
    check: Callable[[], None],
) -> dict[str, Any]:
    model = served.model
    asked = include.curves
    names = model.features.names if asked is None else tuple(one[0] for one in asked if len(one) == 1)
    look = (model, model.output_of(row, target), row)
    which = [model.features.position(name) for name in dict.fromkeys(names)]
    found: dict[str, Any] = {}
    for position in which:
        check()
        found |= {name: _curve(curve) for name, curve in response_curves(*look, [position]).items()}
    for a, b in (one for one in asked or () if len(one) == 2):
        check()
        pair = model.features.position(a), model.features.position(b)
        found[model.features.pair_name(*pair)] = _surface(response_surface(*look, pair))
    return found


def _curve(curve: ResponseCurve) -> dict[str, Any]:
    missing = curve.missing
    return {
        "values": curve.values.tolist(),
        "scores": curve.scores.tolist(),
        "predictions": curve.predictions.tolist(),
        "kinks": curve.kinks.tolist(),
        "crossings": [{"value": crossing.value, "gap": crossing.gap} for crossing in curve.crossings],
        "missing": None if missing is None else {"score": missing[0], "prediction": missing[1]},
    }


def _surface(surface: ResponseSurface) -> dict[str, Any]:
    return {
        "values": [axis.tolist() for axis in surface.values],
        "scores": surface.scores.tolist(),
        "predictions": surface.predictions.tolist(),
    }


_PARTS: dict[str, Callable[..., Any]] = {
    "certificate": _certificate,
    "stability": _stability,
    "eigenvector": _eigenvector,
    "curves": _curves,
    "interactions": _interactions,
}
