"""Groups: several features that are one to a reader, whose contributions are one number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import FeatureSpace

Groups = Mapping[str, tuple[int, ...]]


def read_groups(features: FeatureSpace, groups: Mapping[str, Iterable[str]]) -> Groups:
    """Return the positions of each group's features.

    Raises:
        ValueError: a name that a column or a pair has, an unknown feature, one in two groups, or a group of none.
    """
    read: dict[str, tuple[int, ...]] = {}
    taken: dict[int, str] = {}
    for group, names in groups.items():
        if group in features.names:
            raise ValueError(f"a group must not be called like a feature; got {group!r}")
        if " & " in group:
            raise ValueError(f'the name of a group must not hold " & ", which joins pairs; got {group!r}')
        if isinstance(names, str):
            raise ValueError(f"group {group!r} must be a list of features; got {names!r}")
        positions = tuple(dict.fromkeys(features.position(name) for name in names))
        if not positions:
            raise ValueError(f"group {group!r} must have at least one feature")
        for i in positions:
            if i in taken:
                raise ValueError(f"feature {features.names[i]!r} must be in one group; got {taken[i]!r} and {group!r}")
            taken[i] = group
        read[group] = positions
    return read


def grouped(explanation: Explanation, groups: Groups) -> Explanation:
    """Return an explanation in which each group is one term.

    A term whose features are all of one group belongs to it. A pair of two groups, or of a group and another feature,
    remains a term, named after the features: what it says is of both. The contributions of a group are the sum of its
    terms', and so are the bounds of its standard errors.

    Raises:
        ValueError: the explanation was made without its rows.
    """
    if not groups:
        return explanation
    if explanation.rows is None:
        raise ValueError("groups need an explanation that keeps its rows, as model.explain makes it")
    terms, own = explanation.terms, explanation.rows.terms
    parts = parts_of(terms, own, groups)
    sums = part_sums(parts)
    errors = explanation.standard_error
    return replace(
        explanation,
        terms=tuple(parts),
        contributions=explanation.contributions @ sums,
        standard_error=None if errors is None else errors @ sums,
        rows=replace(
            explanation.rows,
            terms=tuple(tuple(dict.fromkeys(i for t in part for i in own[t])) for part in parts.values()),
        ),
    )


def parts_of(names: tuple[str, ...], terms: tuple[tuple[int, ...], ...], groups: Groups) -> dict[str, list[int]]:
    """Return which terms, by their names and features, are one: the positions of each part's terms by its name."""
    home = {i: group for group, positions in groups.items() for i in positions}
    parts: dict[str, list[int]] = {}
    for t, features in enumerate(terms):
        homes = {home.get(i) for i in features}
        group = homes.pop() if len(homes) == 1 else None
        parts.setdefault(names[t] if group is None else group, []).append(t)
    return parts


def term_parts(pencil: TridiagonalPencil, groups: Groups) -> dict[str, list[int]]:
    """Return which terms of a model are one, as ``parts_of`` does."""
    return parts_of(tuple(term.name for term in pencil.terms), tuple(term.features for term in pencil.terms), groups)


def part_sums(parts: Mapping[str, list[int]]) -> FloatArray:
    """Return what adds the contributions of terms up to those of parts, (T, P)."""
    count = sum(map(len, parts.values()))
    return np.array([[t in part for part in parts.values()] for t in range(count)], np.float64)
