"""Describe the bodies of /reasons."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from eigenserve.app.wire.schemas.explanations import Counterfactual
from eigenserve.app.wire.schemas.predictions import HOUSE, Row, RowsRequest, RowWarning


class ReasonsRequest(RowsRequest):
    """Ask for the reasons of a decision at a cutoff."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"instances": [HOUSE], "cutoff": 450000, "adverse": "below"}]}
    )

    cutoff: float = Field(
        allow_inf_nan=False,
        description="On the prediction's scale: of the target, or for two classes the probability of the second.",
    )
    adverse: Literal["above", "below"] | None = Field(
        default=None, description="Which side of the cutoff is the wrong one, the cutoff included; above by default."
    )
    n: int | None = Field(default=None, ge=1, description="How many reasons to give at most; 4 by default.")
    reference: SkipValidation[str | list[Row] | None] = Field(
        default=None,
        description="The population compared with: the name of one kept with the model, or rows; the training average "
        "by default.",
    )


class Reason(BaseModel):
    """Name what moved a score to the wrong side."""

    name: str = Field(description="Of the feature, or of the group.")
    text: str = Field(description="In the words that the model keeps, or its name.")
    value: Any = Field(
        description='In the row, as a row has it, "(unseen)" for an unknown category; of a group an object by feature.'
    )
    contribution: float = Field(description="To the score, against the reference.")
    share: float | None = Field(description="Of the distance from the cutoff; null for a row that is at it.")
    rank_holds: float = Field(
        description="In which share of 64 rows nearby (sampled; every number within a tenth of its deviation) it is "
        "among the reasons given."
    )
    tied: bool = Field(
        description="Whether the next reason, given or not, is as large, to the accuracy of contributions."
    )


class RowReasons(BaseModel):
    """Give the decision on one row, and its reasons."""

    adverse: bool
    prediction: float
    distance: float = Field(description="Of the row's score from the cutoff's; 0 where the prediction is the cutoff.")
    reasons: list[Reason]
    order_proved: float = Field(
        description="While every number stays within so many of its standard deviations, at most a tenth, these are "
        "proved to be the reasons, in this order; 0 where nothing is proved."
    )
    withheld: int = Field(description="How many larger reasons may never be cited.")
    change: Counterfactual | None = Field(description="The smallest change found that would reverse the decision.")
    warnings: list[RowWarning] = Field(description="Of this row.")
    kept: dict[str, Any] | None = Field(default=None, description="What is handed through; only where something is.")


class ReasonsResponse(BaseModel):
    """Answer with the reasons of every row, in their order."""

    model: str
    version: str
    reference: str
    reasons: list[RowReasons]
