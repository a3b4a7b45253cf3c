"""Read and check the further parts of an explanation that a request may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eigenserve.app.problems import MAX_FAULTS, Location, invalid_all
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.describe import describe
from eigenserve.app.wire.schemas.explanations import ExplainRequest

#: What ``include`` may name, in the order of the answer.
INCLUDES = ("certificate", "stability", "eigenvector", "curves", "interactions")
#: Features and pairs to draw for each row: a surface takes a thousand predictions.
MAX_CURVES = 200
#: Keys that belong to one of them.
OPTIONS = {"radii": "certificate", "curves": "curves"}


@dataclass(frozen=True, slots=True)
class Include:
    """Say what an answer shall hold in addition to the explanation.

    Attributes:
        names: some of ``INCLUDES``.
        radii: of the certificate, by feature; None for those of a small change.
        curves: features, or pairs of them, to draw; None for every feature.
    """

    names: frozenset[str] = frozenset()
    radii: Mapping[str, float] | None = None
    curves: tuple[tuple[str, ...], ...] | None = None


#: No further parts.
EXPLANATION_ALONE = Include()


def read_include(served: ServedModel, request: ExplainRequest) -> Include:
    """Return what the keys ``include``, ``radii`` and ``curves`` of a request ask for.

    Raises:
        ProblemError: 422 naming each fault.
    """
    names, radii, curves = frozenset(request.include or ()), request.radii, request.curves
    errors: list[tuple[Location, str]] = []
    for key, owner in OPTIONS.items():
        if getattr(request, key) is not None and owner not in names:
            errors.append(((key,), f'must be left out unless "include" has "{owner}"'))
    if not errors:
        for name in radii or ():
            read_feature(served, ("radii", name), name, errors)
        errors += _curve_faults(served, curves)
    if errors:
        raise invalid_all(errors)
    # One that is named again is drawn once.
    named = dict.fromkeys((one,) if isinstance(one, str) else tuple(one) for one in curves or ())
    return Include(names, radii, None if curves is None else tuple(named))


def read_feature(served: ServedModel, loc: Location, name: Any, errors: list[tuple[Location, str]]) -> None:
    """Add a fault, if it is not a feature's name; where there are enough, it names no features."""
    names = served.model.features
    if not isinstance(name, str) or not names.has(name):
        which = f", {', '.join(names.names)}" if len(errors) < MAX_FAULTS else ""
        errors.append((loc, f"must be one of the model's features{which}; got {describe(name)}"))


def _curve_faults(served: ServedModel, curves: Any) -> list[tuple[Location, str]]:
    errors: list[tuple[Location, str]] = []
    if curves is None:
        return errors
    if not isinstance(curves, list):
        return [(("curves",), f"must be a list of features, or of pairs of them; got {describe(curves)}")]
    if len(curves) > MAX_CURVES:
        return [(("curves",), f"must have at most {MAX_CURVES} features and pairs; got {len(curves)}")]
    for i, one in enumerate(curves):
        if isinstance(one, list):
            if len(one) != 2 or one[0] == one[1]:
                errors.append((("curves", i), "a pair must be two different features"))
            for k, name in enumerate(one):
                read_feature(served, ("curves", i, k), name, errors)
        else:
            read_feature(served, ("curves", i), one, errors)
    return errors
