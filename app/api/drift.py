"""Answer /models/NAME/drift and /outcomes: what came in lately, and how good the predictions were."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from eigenserve.app.api.openapi import json_body, problems
from eigenserve.app.engine.calls import Call
from eigenserve.app.engine.service import held, service_of
from eigenserve.app.observability.drift import Outcome
from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.wire.accept import accepted
from eigenserve.app.wire.answers import answer_of, json_response
from eigenserve.app.wire.bodies import JSON, parse_json
from eigenserve.app.wire.describe import describe
from eigenserve.app.wire.envelope import check_envelope
from eigenserve.app.wire.json_rows import check_parsed_size, parse_large
from eigenserve.app.wire.limits import check_rows
from eigenserve.app.wire.query import check_query
from eigenserve.app.wire.requests import Asked
from eigenserve.app.wire.schemas.drift import (
    DriftResponse,
    OutcomeOf,
    OutcomesRequest,
    OutcomesResponse,
    PromoteRequest,
    PromoteResponse,
    ShadowResponse,
)
from eigenserve.model.monitoring import AccuracySums
from eigenserve.model.monitoring.pages.blocks import POLICY, to_html, to_markdown
from eigenserve.model.monitoring.pages.comparison import comparison_blocks

router = APIRouter()

HTML, MARKDOWN = "text/html", "text/markdown"

_BY_REQUEST = 'must be objects such as {"request_id": ID, "row": 0, "outcome": VALUE}, or come with "instances"'


@router.get(
    "/models/{name}/drift",
    response_model=DriftResponse,
    responses=problems(404, 422, 503),
    summary="Compare what was predicted lately with training",
    dependencies=[Depends(check_query)],
    tags=["models"],
)
async def drift(
    request: Request, name: str, version: Annotated[str | None, Query(description="By default the newest.")] = None
) -> Response:
    """Compare features, scores and contributions, over all workers: the recent rows, and those of the day."""
    service = service_of(request)
    served = service.registry.find(name, version)
    if not service.drift.enabled:
        raise ProblemError(404, "drift is not watched: EIGENSERVE_DRIFT is false")
    reports = await asyncio.to_thread(service.drift.reports, served)
    if reports is None:
        raise ProblemError(
            404, f"version {served.version} of model {name!r} keeps no sketch of its training rows: fit it again"
        )
    document = {
        "model": served.name,
        "version": str(served.version),
        "level": service.drift.level,
        "windows": {report.window: report.document() for report in reports},
        "outcomes": AccuracySums(served.model).document(await asyncio.to_thread(service.drift.accuracy, served)),
    }
    return held(request, json_response(document))


@router.post(
    "/outcomes",
    response_model=OutcomesResponse,
    responses=problems(404, 408, 413, 415, 422, 503, 504),
    openapi_extra=json_body(OutcomesRequest),
    summary="Give the outcomes of predictions",
    tags=["models"],
)
async def outcomes(request: Request) -> Response:
    """Add labels that came later to the live accuracy, calibration and coverage."""
    return await OutcomesCall(request).answer()


@router.get(
    "/models/{name}/shadow",
    response_model=ShadowResponse,
    responses=problems(404, 409, 503),
    summary="Compare a model's shadow with the version that answers",
    tags=["models"],
)
async def shadow(request: Request, name: str) -> Response:
    """Compare predictions, decisions and reasons on the rows that were answered lately, over all workers.

    As JSON, or for people as one page: HTML or Markdown, as ``Accept`` says.
    """
    service = service_of(request)
    wanted = accepted(request.headers.get("accept", ""), (JSON, HTML, MARKDOWN), JSON)
    service.registry.find(name)
    served = service.registry.defaults([name])[name]
    against, comparison = await asyncio.to_thread(service.shadow.comparison, name, served)
    if wanted == JSON:
        head = {"model": name, "version": str(served.version), "shadow": str(against.version)}
        return held(request, json_response({**head, **comparison.document()}))
    names = f"{name}/{served.version}", f"{name}/{against.version}"
    blocks = comparison_blocks(names, comparison, ({}, {}))
    text = to_html(f"{names[1]} compared with {names[0]}", blocks) if wanted == HTML else to_markdown(blocks)
    return held(request, answer_of([text.encode()], wanted, {"Content-Security-Policy": POLICY}))


@router.post(
    "/models/{name}/promote",
    response_model=PromoteResponse,
    responses=problems(403, 404, 408, 413, 415, 422, 503),
    openapi_extra=json_body(PromoteRequest),
    summary="Let a version answer by default",
    tags=["models"],
)
async def promote(request: Request, name: str) -> Response:
    """Let a version answer requests that name none, in all workers at once; an earlier one to roll back.

    The model's canary ends.
    """
    return await PromoteCall(request).answer()


class PromoteCall(Call):
    """Read and answer requests of /models/NAME/promote."""

    async def respond(self, body: bytes) -> Response:
        """Promote the version, and wait until all workers have followed."""
        promotion = await self.sized(body, lambda: check_envelope(parse_large(body), PromoteRequest))
        name = self.request.path_params["name"]
        canary = self.service.registry.canary(name)
        served = await self.service.store.promote(name, promotion.version)
        ended = None if canary is None else str(canary.version)
        return json_response({"model": name, "version": str(served.version), "ended_canary": ended})


class OutcomesCall(Call):
    """Read and answer requests of /outcomes."""

    async def respond(self, body: bytes) -> Response:
        """Join outcomes with predictions: by request id, or by predicting their rows again."""
        return await self.sized(body, lambda: self._settle(self._request(body)))

    def _request(self, body: bytes) -> OutcomesRequest:
        check_parsed_size(body)
        return check_envelope(parse_json(body), OutcomesRequest)

    def _settle(self, request: OutcomesRequest) -> Response:
        values = request.outcomes
        if not values or len(values) > self.service.settings.max_rows:
            raise invalid(("outcomes",), f"must have 1 to {self.service.settings.max_rows} outcomes; got {len(values)}")
        self.charge(len(values))
        if request.instances is not None:
            return self._settle_rows(request, request.instances)
        if not all(isinstance(value, OutcomeOf) for value in values):
            raise invalid(("outcomes",), _BY_REQUEST)
        joined = [Outcome(v.request_id, v.row, v.outcome) for v in values if isinstance(v, OutcomeOf)]
        self._check_labels(joined)
        return json_response(self.service.drift.settle(joined))

    def _check_labels(self, outcomes: list[Outcome]) -> None:
        """Refuse labels of no model that is served, before one is counted: any worker answers that alike."""
        served = [served for versions in self.service.registry.served.values() for served in versions.values()]
        kinds = list({sums.rule: sums for sums in (AccuracySums(each.model) for each in served)}.values())
        for i, outcome in enumerate(outcomes):
            if not any(math.isfinite(sums.label(outcome.value)) for sums in kinds):
                rule = kinds[0].rule if len(kinds) == 1 else "a label of a model that is served"
                raise invalid(("outcomes", i, "outcome"), f"must be {rule}; got {describe(outcome.value)}")

    def _settle_rows(self, request: OutcomesRequest, rows: Any) -> Response:
        served = self.service.registry.find(request.model, request.version)
        rows = check_rows(rows, self.service.settings.max_rows, ("instances",))
        if len(rows) != len(request.outcomes):
            raise invalid(("outcomes",), f"must be one for each row, {len(rows)}; got {len(request.outcomes)}")
        asked = Asked(served, rows)
        try:
            labels = AccuracySums(served.model).labels(request.outcomes)
        except ValueError as error:
            raise invalid(("outcomes",), str(error)) from None
        self.service.drift.add_outcomes(served, served.model.scores(self.columns(asked)), labels)
        return json_response({"counted": len(rows), "refused": 0, "forwarded": 0, "unknown": 0})
