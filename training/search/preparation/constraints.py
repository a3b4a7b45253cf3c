"""Find the features that settings name: those with a shape, a limit or a pair."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from eigenserve.errors import UserError
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.settings import FitSettings


def monotone_signs(space: FeatureSpace, settings: FitSettings) -> Mapping[int, int]:
    """Map features along which the score must not fall to 1, and those along which it must not rise to -1.

    Raises:
        UserError: a feature that there is not, or that cannot have it.
    """
    signs = {}
    for name, direction in settings.monotone:
        if name not in space.names:
            raise UserError(f"monotone: no feature {name!r}; the features are {', '.join(space.names)}")
        index = space.names.index(name)
        if space.features[index].kind == "categorical":
            raise UserError(
                f"monotone: {name!r} is categorical; only numbers and booleans have a direction: write its "
                "categories as numbers in their order"
            )
        signs[index] = 1 if direction == "+" else -1
    if signs and settings.curves == "linear":
        raise UserError("monotone features need piecewise curves")
    return signs


def _numbers(space: FeatureSpace, setting: str, names: Collection[str]) -> dict[str, int]:
    """Return positions of features that must be numbers or dates."""
    for name in names:
        if name not in space.names:
            raise UserError(f"{setting}: no feature {name!r}; the features are {', '.join(space.names)}")
        if space.features[space.names.index(name)].kind not in ("numeric", "datetime"):
            raise UserError(f"{setting}: {name!r} must be a number or a date to have a shape")
    return {name: space.names.index(name) for name in names}


def bends_of(space: FeatureSpace, settings: FitSettings) -> Mapping[int, int]:
    """Map features along which the score must be convex to 1, and those along which it must be concave to -1.

    Raises:
        UserError: a feature that there is not, or that cannot have it.
    """
    convex, concave = (_numbers(space, name, getattr(settings, name)) for name in ("convex", "concave"))
    return dict.fromkeys(convex.values(), 1) | dict.fromkeys(concave.values(), -1)


def strengths_of(space: FeatureSpace, settings: FitSettings) -> Mapping[int, float]:
    """Map features to the most that the score may change by per unit of them.

    Raises:
        UserError: a feature that there is not, or that cannot have it.
    """
    for name, _ in settings.max_strength:
        if name not in space.names:
            raise UserError(f"max_strength: no feature {name!r}; the features are {', '.join(space.names)}")
    return {space.names.index(name): most for name, most in settings.max_strength}


def named_pairs(space: FeatureSpace, settings: FitSettings, single: Collection[int]) -> list[tuple[int, int]]:
    """List the pairs that the settings name; features in ``single`` may be in none.

    Raises:
        UserError: a feature that there is not, or that cannot have it.
    """
    named = settings.pairs or ()
    if named and settings.curves == "linear":
        raise UserError("pairs need piecewise curves: the plain affine pencil (curves linear) has none")
    for name in (name for pair in named for name in pair):
        if name not in space.names:
            raise UserError(f"pairs: no feature {name!r}; the features are {', '.join(space.names)}")
    pairs = [(space.names.index(a), space.names.index(b)) for a, b in named]
    for name in (space.names[i] for pair in pairs for i in pair if i in single):
        raise UserError(f"pairs: {name!r} must be convex, concave or capped, so it cannot be in a pair")
    if len({frozenset(pair) for pair in pairs}) < len(pairs):
        raise UserError("pairs must differ; got one twice")
    return pairs
