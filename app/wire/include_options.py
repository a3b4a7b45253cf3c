"""Read and check the further parts of an explanation that a request may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eigenserve.app.problems import Location, invalid_all
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.schemas.explanations import ExplainRequest

#: What ``include`` may name, in the order of the answer.
INCLUDES = ("certificate", "stability", "eigenvector", "curves", "interactions")
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
    return Include(
        names,
        radii,
        None if curves is None else tuple((one,) if isinstance(one, str) else tuple(one) for one in curves),
    )


def read_feature(served: ServedModel, loc: Location, name: Any, errors: list[tuple[Location, str]]) -> None:
    """Add a fault, if it is not a feature's name."""
    names = served.model.features.names
    if not isinstance(name, str) or name not in names:
        errors.append((loc, f"must be one of the model's features, {', '.join(names)}; got {describe(name)}"))


def describe(value: object) -> str:
    """Describe a received value in the words of JSON."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _curve_faults(served: ServedModel, curves: Any) -> list[tuple[Location, str]]:
    errors: list[tuple[Location, str]] = []
    if curves is None:
        return errors
    if not isinstance(curves, list):
        return [(("curves",), f"must be a list of features, or of pairs of them; got {describe(curves)}")]
    for i, one in enumerate(curves):
        if isinstance(one, list):
            if len(one) != 2 or one[0] == one[1]:
                errors.append((("curves", i), "a pair must be two different features"))
            for k, name in enumerate(one):
                read_feature(served, ("curves", i, k), name, errors)
        else:
            read_feature(served, ("curves", i), one, errors)
    return errors
