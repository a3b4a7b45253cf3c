"""Read which changes are possible, as a request or reasons.toml has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast, get_args

import numpy as np

from eigenserve.model.counterfactuals.allowed_changes import Direction, Steps, check_ranges, read_limit, read_range
from eigenserve.model.predictor import Predictor
from eigenserve.model.rows.cells import describe
from eigenserve.model.rows.features import Feature, FeatureSpace

#: Keys of the table [changes] of reasons.toml, and of what counterfactuals take.
KEYS = ("fixed", "ranges", "directions", "values", "orders")


class RuleError(ValueError):
    """Refuse a rule.

    Attributes:
        loc: where in the document: the key, then the feature or the place in a list.
    """

    def __init__(self, loc: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.loc = loc


class Rules(NamedTuple):
    """Hold rules as ``Steps`` has them."""

    fixed: list[int]
    ranges: dict[int, tuple[float, float]]
    directions: dict[int, Direction]
    values: dict[int, tuple[float, ...]]
    orders: dict[int, tuple[int, ...]]


def read_rules(predictor: Predictor, document: Mapping[str, Any]) -> Steps:
    """Read rules: {"fixed": [...], "ranges": {...}, "directions": {...}, "values": {...}, "orders": {...}}.

    Raises:
        RuleError: an unknown key or feature, or a rule that its feature cannot have.
    """
    return Steps(predictor, *parse_rules(predictor.features, document))


def parse_rules(space: FeatureSpace, document: Mapping[str, Any]) -> Rules:
    """Read rules of the features of a model, which need not exist yet; as ``read_rules`` does.

    Raises:
        RuleError: an unknown key or feature, or a rule that its feature cannot have.
    """
    if not isinstance(document, Mapping):
        raise RuleError((), f"rules of changes must be a table; got {describe(document)}")
    for key in document:
        if key not in KEYS:
            raise RuleError((key,), f"rules of changes have the keys {', '.join(KEYS)}; got {key!r}")

    def position(loc: tuple[str | int, ...], name: Any) -> int:
        if not isinstance(name, str):
            raise RuleError(loc, f"the name of a feature must be a text; got {describe(name)}")
        try:
            return space.position(name)
        except ValueError as error:
            raise RuleError(loc, str(error)) from None

    def by_feature(key: str) -> Iterable[tuple[int, Feature, Any]]:
        table = document.get(key) or {}
        if not isinstance(table, Mapping):
            raise RuleError((key,), f"{key} must be a table by feature; got {describe(table)}")
        for name, value in table.items():
            i = position((key, name), name)
            yield i, space.features[i], value

    fixed = document.get("fixed") or ()
    if isinstance(fixed, str | Mapping) or not isinstance(fixed, Iterable):
        raise RuleError(("fixed",), f"fixed must be a list of features; got {fixed!r}")
    positions = [position(("fixed", k), name) for k, name in enumerate(fixed)]
    ranges = {}
    for i, feature, ends in by_feature("ranges"):
        try:
            ranges[i] = read_range(feature, ends)
        except ValueError as error:
            raise RuleError(("ranges", feature.name), str(error)) from None
    orders = {i: _read_order(feature, value) for i, feature, value in by_feature("orders")}
    values = {i: _read_values(space, i, value) for i, _, value in by_feature("values")}
    directions: dict[int, Direction] = {}
    for i, feature, way in by_feature("directions"):
        loc = ("directions", feature.name)
        if way not in get_args(Direction):
            raise RuleError(loc, f'the direction of {feature.name!r} must be "up" or "down"; got {describe(way)}')
        if feature.kind == "categorical" and not feature.ordered and i not in orders:
            raise RuleError(loc, f"{feature.name!r} has no direction: its categories have no order; give one in orders")
        directions[i] = cast(Direction, way)
    try:
        check_ranges(space, ranges)
    except ValueError as error:
        raise RuleError(("ranges",), str(error)) from None
    return Rules(positions, ranges, directions, values, orders)


def _read_order(feature: Feature, order: Any) -> tuple[int, ...]:
    loc = ("orders", feature.name)
    if feature.kind != "categorical":
        raise RuleError(loc, f"{feature.name!r} has no order: only categories have one")
    if not isinstance(order, list | tuple) or len(order) < 2:
        raise RuleError(loc, f"the order of {feature.name!r} must be a list of its categories; got {describe(order)}")
    codes = tuple(_code(loc, feature, value) for value in order)
    if len(set(codes)) < len(codes):
        raise RuleError(loc, f"the order of {feature.name!r} names a category twice")
    return codes


def _read_values(space: FeatureSpace, index: int, values: Any) -> tuple[float, ...]:
    feature = space.features[index]
    loc = ("values", feature.name)
    if index in space.tied or feature.kind == "datetime":
        raise RuleError(loc, f"{feature.name!r} has no allowed values: dates have a range")
    if not isinstance(values, list | tuple | np.ndarray):
        raise RuleError(loc, f"the values of {feature.name!r} must be a list; got {describe(values)}")
    if feature.num_codes:
        return tuple(float(_code(loc, feature, value)) for value in values)
    try:
        return tuple(read_limit(feature, value) for value in values)
    except ValueError as error:
        raise RuleError(loc, f"the values of {feature.name!r} {error}") from None


def _code(loc: tuple[str, str], feature: Feature, value: Any) -> int:
    code, _ = feature.encode(value)
    known = len(feature.categories) if feature.kind == "categorical" else 2
    if np.isnan(code) or code >= known:
        options = ", ".join(map(repr, feature.categories)) or "true, false"
        raise RuleError(loc, f"{feature.name!r} must be one of {options}; got {describe(value)}")
    return int(code)
