"""Answer POST /counterfactuals: the smallest changes that give rows the wanted prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from eigenserve.app.api.openapi import json_body, problems
from eigenserve.app.engine.calls import Call
from eigenserve.app.problems import Location, invalid, invalid_all
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.answers import (
    PIECE_ROWS,
    answer_of,
    finite,
    head_of,
    kept_pieces,
    listed,
    predictions,
    to_json,
    warning_pieces,
)
from eigenserve.app.wire.bodies import JSON
from eigenserve.app.wire.describe import describe
from eigenserve.app.wire.envelope import check_envelope
from eigenserve.app.wire.include_options import read_feature
from eigenserve.app.wire.json_rows import parse_large
from eigenserve.app.wire.requests import Asked, read_rows, read_target
from eigenserve.app.wire.schemas.explanations import CounterfactualsRequest, CounterfactualsResponse
from eigenserve.model.arrays import FloatArray
from eigenserve.model.counterfactuals.allowed_changes import TIED, read_limit
from eigenserve.model.counterfactuals.goals import Goal, read_goal
from eigenserve.model.counterfactuals.rules import RuleError, read_rules
from eigenserve.model.counterfactuals.search import Counterfactual, find_counterfactuals
from eigenserve.model.rows.warnings import RowWarnings

router = APIRouter()


class FindCounterfactuals(Call):
    """Read and answer requests of /counterfactuals."""

    def read(self, body: bytes) -> Asked:
        """Return the rows of a body, and keep what may change, what is wanted and how many may change at once."""
        request = check_envelope(parse_large(body), CounterfactualsRequest)
        asked = read_rows(request, self.service.registry, self.service.settings.max_rows)
        served = asked.served
        errors = _Faults([])
        for i, name in enumerate(request.fixed or ()):
            read_feature(served, ("fixed", i), name, errors.found)
        limits = _read_ranges(served, request.ranges or {}, errors)
        if errors.found:
            raise invalid_all(errors.found)
        positions, model = served.model.features.position, served.model
        try:
            rules = read_rules(model, {key: getattr(request, key) or {} for key in ("directions", "values", "orders")})
        except RuleError as error:
            raise invalid(error.loc, str(error)) from None
        asked_for = replace(rules, fixed=[positions(name) for name in request.fixed or ()], ranges=limits)
        self.steps = model.possible_changes.joined(asked_for)
        self.goal, self.most, self.radius = (
            _read_wanted(served, request.wanted),
            request.max_features or 2,
            request.radius,
        )
        return asked

    async def respond(self, body: bytes) -> Response:
        """Read, search, write."""
        asked = await self.sized(body, lambda: self.read(body))
        kind = (asked.served.name, "counterfactuals", self.most)
        return await self.heavy(kind, asked.count, lambda: self._search(asked))

    def _search(self, asked: Asked) -> Response:
        self.count(asked, "counterfactuals")
        columns = self.columns(asked)
        warnings = self.checked(asked, asked.served.model.checks.warnings(columns))
        return answer_of(self.counted(counterfactuals_answer(asked, self._found(asked, columns), warnings)), JSON)

    def _found(self, asked: Asked, columns: FloatArray) -> Iterator[bytes]:
        """Search, and write the entries of some rows at a time."""
        steps, typical = replace(self.steps, check=self.check), asked.served.model.typicality
        for start in range(0, len(columns), PIECE_ROWS):
            some = columns[start : start + PIECE_ROWS]
            found = [find_counterfactuals(steps, self.goal, row, self.most, self.radius, typical) for row in some]
            yield to_json(counterfactual_entries(asked.served, found))


@router.post(
    "/counterfactuals",
    response_model=CounterfactualsResponse,
    responses=problems(404, 408, 413, 415, 422, 503, 504),
    openapi_extra=json_body(CounterfactualsRequest),
    summary="Find what to change",
    tags=["predictions"],
)
async def counterfactuals(request: Request) -> Response:
    """Find the smallest changes of a few features that give each row the wanted prediction."""
    return await FindCounterfactuals(request).answer()


def counterfactuals_answer(asked: Asked, entries: Iterator[bytes], warnings: RowWarnings) -> Iterator[bytes]:
    """Write the answer: for every row its counterfactuals, which are lists of some rows."""
    yield head_of(asked.served)
    yield from listed("counterfactuals", entries, b",")
    yield from listed("warnings", warning_pieces(warnings), b",")
    if asked.kept:
        yield from listed("kept", kept_pieces(asked.kept, warnings.count), b",")
    yield b"}"


def counterfactual_entries(served: ServedModel, found: list[list[Counterfactual]]) -> list[list[dict[str, Any]]]:
    """Return the contract's entries of every row's counterfactuals."""
    every = [one for row in found for one in row]
    changed = np.array([one.columns for one in every]).reshape(len(every), len(served.model.features))
    predicted = iter(predictions(served, finite(served, served.model.scores(changed))) if every else ())
    return [[_entry(one, next(predicted)) for one in row] for row in found]


def _entry(found: Counterfactual, prediction: Any) -> dict[str, Any]:
    return {
        "changes": {name: {"from": before, "to": after} for name, (before, after) in found.changes.items()},
        "prediction": prediction,
        "score": found.score,
        "distance": found.distance,
        "plausibility": found.plausibility,
        "radius": found.radius,
    }


@dataclass(frozen=True)
class _Faults:
    found: list[tuple[Location, str]]

    def add(self, loc: Location, message: str) -> None:
        self.found.append((loc, message))


def _read_ranges(served: ServedModel, ranges: Any, errors: _Faults) -> dict[int, tuple[float, float]]:
    limits: dict[int, tuple[float, float]] = {}
    if not isinstance(ranges, dict):
        errors.add(("ranges",), f"must be an object of [low, high] by feature; got {describe(ranges)}")
        return limits
    space = served.model.features
    for name, given in ranges.items():
        loc: Location = ("ranges", name)
        before = len(errors.found)
        read_feature(served, loc, name, errors.found)
        if len(errors.found) > before:
            continue
        feature = space.features[space.position(name)]
        if feature.num_codes:
            errors.add(loc, "must be left out: it is not a number")
        elif space.position(name) in space.tied:
            errors.add(loc, f"must be left out: {TIED}")
        elif not isinstance(given, list) or len(given) != 2:
            errors.add(loc, f"must be [low, high]; got {describe(given)}")
        else:
            ends = []
            for k, end in enumerate(given):
                try:
                    ends.append(read_limit(feature, end))
                except ValueError as error:
                    errors.add((*loc, k), str(error))
            if len(ends) == 2 and ends[0] > ends[1]:
                errors.add(loc, f"must be [low, high] with low <= high; got {given}")
            elif len(ends) == 2:
                limits[space.position(name)] = (ends[0], ends[1])
    return limits


def _read_wanted(served: ServedModel, wanted: Any) -> Goal:
    if not isinstance(wanted, dict):
        example = '{"above": 0.5}, {"below": 0.5} or {"class": "yes"}'
        raise invalid(("wanted",), f"must be an object such as {example}; got {describe(wanted)}")
    if set(wanted) == {"class"} and wanted["class"] is not None:
        wanted = {"class": read_target(served, wanted["class"], ("wanted", "class"))}
    try:
        return read_goal(served.model, wanted)
    except ValueError as error:
        raise invalid(("wanted",), str(error)) from None
