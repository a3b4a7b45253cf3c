"""Describe the answers of /models/NAME/drift."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, SkipValidation

from eigenserve.app.wire.kept_values import MAX_TEXT
from eigenserve.app.wire.schemas.predictions import HOUSE, Row


class ChangedBin(BaseModel):
    """Name the bin whose share changed most surely."""

    bin: str = Field(description="A category, missing, or beyond the training range.")
    training: float = Field(description="Its share of the training rows.")
    now: float = Field(description="Its share of the window.")


class Channel(BaseModel):
    """Compare one feature, score or contribution of a window with training."""

    kind: Literal["feature", "score", "contribution"]
    name: str
    rows: int = Field(description="Of the window; contributions are counted for a sample of them.")
    psi: float | None = Field(description="Population stability index; null without rows.")
    psi_limit: float | None = Field(description="What it exceeds by chance at the level.")
    ks: float | None = Field(description="Kolmogorov distance; null for what has no order.")
    ks_limit: float | None = Field(description="What it exceeds by chance at the level.")
    missing: float | None = Field(description="Share of missing values.")
    missing_training: float | None
    outside: float | None = Field(description="Share beyond the training range, or of unseen categories.")
    changed: ChangedBin | None = None
    reasons: list[str] = Field(description="Why there is an alarm.")
    alarm: bool


class Window(BaseModel):
    """Compare the rows of one window with training."""

    rows: int
    since: float | None = Field(description="When its first rows came, in Unix time.")
    until: float | None
    alarms: int = Field(description="How many channels differ beyond chance.")
    channels: list[Channel]


class Windows(BaseModel):
    """Hold both windows."""

    recent: Window = Field(description="The newest rows, EIGENSERVE_DRIFT_ROWS of them.")
    day: Window = Field(description="Those of the last 24 hours.")


class Metric(BaseModel):
    """Give a metric of rows with an outcome."""

    value: float
    standard_error: float | None
    training: float | None = Field(description="The same in training, out of fold, or an interval's level.")
    beyond: bool = Field(description="Whether they differ by over four standard errors.")


class CalibrationBin(BaseModel):
    """Compare probabilities of about one size with what came true."""

    rows: int
    predicted: float
    observed: float


class OutcomesReport(BaseModel):
    """Say how good predictions were whose outcomes came, within 30 days."""

    rows: int
    metrics: dict[str, Metric]
    calibration: list[CalibrationBin]


class DriftResponse(BaseModel):
    """Answer with what came in lately, compared with training."""

    model: str
    version: str
    level: float = Field(description="The chance that a window has any alarm where nothing has drifted.")
    windows: Windows
    outcomes: OutcomesReport


class OutcomeOf(BaseModel):
    """Give the label of one row of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: str = Field(max_length=128, description="The X-Request-ID of the answer that predicted it.")
    row: int = Field(default=0, ge=0, lt=2**31, description="Which row of that request.")
    outcome: float | Annotated[str, Field(max_length=MAX_TEXT)] | bool


class OutcomesRequest(BaseModel):
    """Give labels that came later, by request id, or with the rows that they are of."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"instances": [HOUSE], "outcomes": [452600]}]}
    )

    outcomes: Annotated[list[OutcomeOf | float | str | bool], FailFast()] = Field(
        description="With instances one label for each row."
    )
    instances: SkipValidation[list[Row] | None] = Field(
        default=None, description="The rows: they are predicted again, to the same bits."
    )
    model: str | None = Field(default=None, description="Of the rows; not needed where one is the default.")
    version: str | int | None = Field(default=None, description="That predicted the rows; the newest by default.")


class OutcomesResponse(BaseModel):
    """Count what became of outcomes."""

    counted: int = Field(description="A later outcome of a row takes the place of an earlier one.")
    refused: int = Field(description="Not a label of the model that predicted the row, or of no row of the request.")
    forwarded: int = Field(description="Left to the other workers, one of which may know their requests.")
    unknown: int = Field(description="Their requests are too old, or were never answered here.")


class PromoteRequest(BaseModel):
    """Name the version that answers by default."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"version": "1"}]})

    version: str | int | None = Field(description="One that is served; null for the newest again.")


class PromoteResponse(BaseModel):
    """Name the version that answers by default now."""

    model: str
    version: str
    ended_canary: str | None = Field(
        description="The version that answered a share of the requests until now; null where there was none."
    )


class FeatureShare(BaseModel):
    """Compare a feature's share of all contributions."""

    name: str
    first: float | None = Field(description="By the version that answers; null where it does not have the feature.")
    second: float | None = Field(description="By the shadow.")


class DifferentRow(BaseModel):
    """Show a row on which the versions differ."""

    row: int
    first: float
    second: float
    feature: str = Field(description="Whose contribution differs most.")


class ShadowResponse(BaseModel):
    """Compare a shadow with the version that answers (first), on rows that were answered lately."""

    model: str
    version: str
    shadow: str
    rows: int
    unit: str = Field(description="What predictions are.")
    spread: float = Field(description="Standard deviation of the first's predictions.")
    mean: float = Field(description="Of the shadow's prediction minus the first's.")
    quantiles: dict[str, float] = Field(description="Of the size of the difference.")
    correlation: float | None
    cutoff: float | None = Field(description="Where sides are taken: 0.5, or the median; null for several classes.")
    sides: list[int] = Field(description="Rows above by both, the first alone, the shadow alone, neither.")
    changed_sides: float = Field(description="Share of rows that are decided differently.")
    explained: int
    same_leading: float = Field(description="Share of rows whose largest contribution is the same feature's.")
    shares: list[FeatureShare]
    only_first: list[str] = Field(description="Features that the shadow was trained without.")
    only_second: list[str] = Field(description="Features that only the shadow has; they are missing in every row.")
    unused_first: list[str]
    unused_second: list[str] = Field(description="Features of both that the shadow makes no use of.")
    different: list[DifferentRow]
