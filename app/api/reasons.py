"""Answer POST /reasons: the principal adverse reasons of rows on the wrong side of a cutoff."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from eigenserve.app.api.counterfactuals import counterfactual_entries
from eigenserve.app.api.openapi import json_body, problems
from eigenserve.app.engine.calls import Call
from eigenserve.app.observability.records.answered import reasons_text
from eigenserve.app.problems import invalid
from eigenserve.app.wire.answers import PIECE_ROWS, answer_of, finite, head_of, listed, to_json
from eigenserve.app.wire.bodies import JSON
from eigenserve.app.wire.envelope import check_envelope
from eigenserve.app.wire.json_rows import parse_large
from eigenserve.app.wire.kept import kept_objects, kept_slices
from eigenserve.app.wire.requests import Asked, read_reference, read_rows
from eigenserve.app.wire.schemas.reasons import ReasonsRequest, ReasonsResponse
from eigenserve.model.explanations.reference import TRAINING
from eigenserve.model.reasons import RowReasons, find_reasons
from eigenserve.model.rows.warnings import RowWarnings

router = APIRouter()


class FindReasons(Call):
    """Read and answer requests of /reasons."""

    def read(self, body: bytes) -> Asked:
        """Return the rows of a body, and keep what is asked of them."""
        request = check_envelope(parse_large(body), ReasonsRequest)
        asked = read_rows(request, self.service.registry, self.service.settings.max_rows)
        served, model = asked.served, asked.served.model
        if model.task == "multiclass":
            raise invalid(("model",), f"must have one output; {served.name} has several classes")
        try:
            model.score_of(request.cutoff, "cutoff")
        except ValueError as error:
            raise invalid(("cutoff",), str(error).removeprefix("cutoff ")) from None
        try:
            self.rules = model.reason_rules
        except ValueError as error:
            raise invalid(("model",), f"keeps a reasons.toml that cannot be used: {error}") from None
        self.asked = request
        return replace(asked, reference=read_reference(served, "integrated", request.reference, self.most_work))

    async def respond(self, body: bytes) -> Response:
        """Read, find, write."""
        asked = await self.sized(body, lambda: self.read(body))
        return await self.heavy((asked.served.name, "reasons"), asked.count, lambda: self._find(asked))

    def _find(self, asked: Asked) -> Response:
        self.count(asked, "reasons")
        model, columns = asked.served.model, self.columns(asked)
        warnings = self.checked(asked, model.checks.warnings(columns))
        scores = finite(asked.served, model.scores(columns), asked.loc)
        found = find_reasons(
            model,
            columns,
            self.asked.cutoff,
            self.rules,
            adverse=self.asked.adverse or "above",
            most=self.asked.n or 4,
            reference=asked.reference,
            check=self.check,
        )
        if self.service.recorder is not None:
            texts = [reasons_text(row) for row in found]
            self.record(asked, columns, scores, warnings, options=self._how(asked), reasons=texts)
        reference = TRAINING if asked.reference is None else asked.reference.name
        return answer_of(self.counted(reasons_answer(asked, reference, found, warnings)), JSON)

    def _how(self, asked: Asked) -> str:
        """Write as JSON how reasons are found, so that it can be done again."""
        how: dict[str, Any] = orjson.loads(asked.how or "{}")
        how |= {"cutoff": self.asked.cutoff, "adverse": self.asked.adverse or "above", "n": self.asked.n or 4}
        if asked.reference is not None and asked.reference.name in asked.served.model.references:
            how["reference"] = asked.reference.name
        return orjson.dumps(how).decode()


@router.post(
    "/reasons",
    response_model=ReasonsResponse,
    responses=problems(404, 408, 413, 415, 422, 503, 504),
    openapi_extra=json_body(ReasonsRequest),
    summary="Give reasons for a decision",
    tags=["predictions"],
)
async def reasons(request: Request) -> Response:
    """Give the principal reasons why each row is on the wrong side of the cutoff."""
    return await FindReasons(request).answer()


def reasons_answer(asked: Asked, reference: str, found: list[RowReasons], warnings: RowWarnings) -> Iterator[bytes]:
    """Write the answer: for every row its decision and its reasons."""
    yield head_of(asked.served, reference=reference)
    yield from listed("reasons", _pieces(asked, found, warnings), b",")
    yield b"}"


def _pieces(asked: Asked, found: list[RowReasons], warnings: RowWarnings) -> Iterator[bytes]:
    """Write the entry of every row, as lists of some rows."""
    for rows in kept_slices(asked.kept, len(found), PIECE_ROWS):
        some = found[rows]
        changes = counterfactual_entries(asked.served, [[] if row.change is None else [row.change] for row in some])
        entries = [
            {**_entry(row, change), "warnings": warned}
            for row, change, warned in zip(some, changes, warnings[rows].lists(), strict=True)
        ]
        for entry, values in zip(entries if asked.kept else (), kept_objects(asked.kept, rows), strict=True):
            entry["kept"] = values
        yield to_json(entries)


def _entry(row: RowReasons, change: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "adverse": row.adverse,
        "prediction": row.prediction,
        "distance": row.distance,
        "reasons": [asdict(reason) for reason in row.reasons],
        "order_proved": row.order_proved,
        "withheld": row.withheld,
        "change": change[0] if change else None,
    }
