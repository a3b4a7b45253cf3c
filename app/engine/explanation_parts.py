"""Compute the further parts of explanations, ready for JSON."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
import orjson

from eigenserve.app.wire.answers import to_json
from eigenserve.app.wire.requests import Asked
from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.decision_radius import certified_radius
from eigenserve.model.certificates.intervals import score_interval
from eigenserve.model.certificates.reach import DEFAULT_SHARE, default_radii
from eigenserve.model.certificates.stability import stability
from eigenserve.model.explanations.eigenpairs import member_eigenpairs
from eigenserve.model.explanations.eigenvector import explain_by_eigenvector
from eigenserve.model.explanations.groups import Groups
from eigenserve.model.explanations.interactions import interactions
from eigenserve.model.explanations.rank_stability import PROVED, rank_stability
from eigenserve.model.explanations.response_curves import (
    ResponseCurve,
    ResponseSurface,
    response_curves,
    response_surface,
)
from eigenserve.model.rows.baseline import baseline_columns

#: Certificates are asked for while a value is dragged: measured, on a model with a map, half the time of an effort of 1
#: and intervals a third wider.
_EFFORT = 0.5


def groups_of(asked: Asked) -> Groups:
    """Return the groups of features that are explained as one: the request's, or else those that the model keeps."""
    return asked.served.model.groups if asked.groups is None else asked.groups


def included(
    asked: Asked,
    columns: FloatArray,
    check: Callable[[], None],
    grow: Callable[[int], None] = lambda size: None,
) -> list[dict[str, Any]]:
    """Compute the further keys of every row's explanation, as JSON: as Python objects they take ten times as much.

    Args:
        asked: how the rows are explained, and with which parts.
        columns: (N, F), the rows.
        check: called before every part, and in long ones; raises when nobody waits for the answer any more.
        grow: called with the bytes of every part; raises when there is no room for them.
    """
    parts = [(name, part) for name, part in _PARTS.items() if name in asked.include.names]
    found = []
    for row in columns:
        entry: dict[str, Any] = {}
        for name, part in parts:
            check()
            text = to_json(part(asked, row, check))
            grow(len(text))
            entry[name] = orjson.Fragment(text)
        found.append(entry)
    return found


def _certificate(asked: Asked, row: FloatArray, check: Callable[[], None]) -> dict[str, Any]:
    model, radii = asked.served.model, asked.include.radii
    radii = default_radii(model.features, row) if radii is None else radii
    interval = score_interval(model, row, radii, _EFFORT, check)
    output = model.output_of(row, asked.target)
    ends = output.sign * np.array([interval.low[output.index], interval.high[output.index]])
    radius = None
    if model.classes:
        scales = default_radii(model.features, row, share=1.0)
        proved = certified_radius(model, row, scales, effort=_EFFORT, check=check)
        radius = proved if np.isfinite(proved) else None
    return {"radii": radii, "low": float(ends.min()), "high": float(ends.max()), "decision_radius": radius}


def _stability(asked: Asked, row: FloatArray, check: Callable[[], None]) -> dict[str, Any]:
    model = asked.served.model
    explained = explain_by_eigenvector(model, row[None], asked.target)
    found = stability(model, row[None], explained.outputs, explained.contributions, check=check)
    ranks = rank_stability(
        model,
        row[None],
        lambda row: default_radii(model.features, row),
        method=asked.method,
        target=asked.target,
        baseline=asked.baseline,
        reference=asked.reference,
        groups=groups_of(asked),
        check=check,
    )
    return {
        "leading": list(ranks.leading[0]),
        "order_proved": DEFAULT_SHARE * float(ranks.proved[0]) if asked.method in PROVED else None,
        "order_sampled": DEFAULT_SHARE * float(ranks.sampled[0]),
        "order_holds": float(ranks.holds[0]),
        "moves": float(ranks.moves[0]),
        "samples": ranks.samples,
        "gap": float(found.gap[0]),
        "turn": float(found.turn[0]),
        "trusted": found.trusted[0],
        "reason": found.reasons[0] or None,
    }


def _eigenvector(asked: Asked, row: FloatArray, _: Callable[[], None]) -> list[dict[str, Any]]:
    model = asked.served.model
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
        for pair in member_eigenpairs(model, model.output_of(row, asked.target), row)
    ]


def _interactions(asked: Asked, row: FloatArray, check: Callable[[], None]) -> dict[str, Any]:
    model = asked.served.model
    start = baseline_columns(model.features, None) if asked.baseline is None else asked.baseline
    found = interactions(model, model.output_of(row, asked.target), row, start, check)
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


def _curves(asked: Asked, row: FloatArray, check: Callable[[], None]) -> dict[str, Any]:
    model, wanted = asked.served.model, asked.include.curves
    names = model.features.names if wanted is None else tuple(one[0] for one in wanted if len(one) == 1)
    look = (model, model.output_of(row, asked.target), row)
    which = [model.features.position(name) for name in dict.fromkeys(names)]
    found: dict[str, Any] = {}
    for position in which:
        check()
        found |= {name: _curve(curve) for name, curve in response_curves(*look, [position]).items()}
    for a, b in (one for one in wanted or () if len(one) == 2):
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
