"""Describe the bodies of explanations, of the parts they may include, and of counterfactuals."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from eigenserve.app.wire.schemas.predictions import HOUSE, Cell, Prediction, Row, RowsRequest, RowWarning


class ExplainRequest(RowsRequest):
    """Ask for explanations of rows."""

    method: Literal["integrated", "eigenvector", "shapley", "shapley_terms", "path"] | None = Field(
        default=None,
        description="How to decompose the score: by term against one reference for all rows (integrated, the default); "
        "over all coalitions of terms against the same (shapley_terms); by term with the row's own eigenvector; or by "
        "feature against a baseline row: over all coalitions of features (shapley), or along the straight line from it "
        "(path).",
    )
    reference: SkipValidation[str | list[Row] | None] = Field(
        default=None,
        description="The population that integrated and shapley_terms compare with: the name of one kept with the "
        "model, or rows, whose mean is taken; the training average by default. Only for these.",
    )
    baseline: SkipValidation[Row | list[Row] | None] = Field(
        default=None,
        description="The row that path and shapley compare with, or up to 100 rows, to be compared with each, on "
        "average; the training medians and modes by default. Only for these.",
    )
    groups: dict[str, list[str]] | None = Field(
        default=None,
        description="Features whose contributions are to be one number, by a name for them; those of the model by "
        "default.",
    )
    target: str | float | bool | None = Field(
        default=None, description="The class whose score to explain; the predicted one by default."
    )
    include: list[Literal["certificate", "stability", "eigenvector", "curves", "interactions"]] | None = Field(
        default=None, description="Further parts of every explanation, under these names. Only in JSON."
    )
    radii: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = Field(
        default=None,
        description="Of the certificate, by feature in its own unit: how far it may move; for a category or a boolean, "
        "anything above 0 means any value. By default a tenth of each number's standard deviation in training.",
    )
    curves: SkipValidation[list[str | tuple[str, str]] | None] = Field(
        default=None, description="Which response curves, and surfaces of pairs, to return; all curves by default."
    )


class Certificate(BaseModel):
    """Bound the score of every row within the radii: proved from the matrices, not sampled."""

    radii: dict[str, float]
    low: float = Field(description="No score within the radii is below it.")
    high: float = Field(description="No score within the radii is above it.")
    decision_radius: float | None = Field(
        description="Only for classifiers: as long as every number stays within so many of its standard deviations, "
        "the predicted class is proved to stay; null also where no limit was found."
    )


class StabilityPart(BaseModel):
    """Say how far numbers can move while the answer's largest contributions stay, and how far eigenvectors can turn.

    The contributions are those of the same answer: its method, reference or baseline, and groups. gap, turn, trusted
    and reason are about the row's eigenvectors, and what the method eigenvector gives to every term.
    """

    leading: list[str] = Field(description="The three largest of this explanation's contributions, in order.")
    order_proved: float | None = Field(
        description="Proved: while every number stays within so many of its standard deviations, at most a tenth, "
        "these are the largest, in this order and with these signs; 0 where nothing is proved; null for shapley, "
        "shapley_terms and path, for which there is no proof."
    )
    order_sampled: float = Field(description="The same of all rows that were drawn: sampled, not proved.")
    order_holds: float = Field(
        description="In which share of rows nearby (sampled, not proved; every number within a tenth of its standard "
        "deviation) these are the largest, in this order and with these signs."
    )
    moves: float = Field(description="The largest change of a contribution among them, as a share of the largest one.")
    samples: int = Field(description="How many rows were drawn.")
    gap: float | None = Field(description="Smallest distance to a neighbouring eigenvalue; null for size 1.")
    turn: float = Field(
        description="Bound of the sine of the angle by which the eigenvectors turn, their mean, "
        "while every number stays within a ten-thousandth of its standard deviation."
    )
    trusted: bool = Field(
        description="Whether no term's contribution by the method eigenvector can move by more than half of the "
        "largest one, while every number stays within a ten-thousandth of its standard deviation."
    )
    reason: str | None = Field(description="Why the explanation by the method eigenvector is unreliable.")


class MemberPart(BaseModel):
    """Give a member's share of the score: weight times eigenvalue of the matrix with this diagonal and off-diagonal."""

    member: int
    weight: float
    eig_idx: int = Field(description="Which eigenvalue, in ascending order from zero.")
    eigenvalue: float
    eigenvector: list[float] = Field(description="Of unit norm; its sign means nothing.")
    diag: list[float]
    off_diag: list[float]


class NarrowPlace(BaseModel):
    """Mark where the gap between a member's eigenvalue and a neighbour is least and narrow."""

    value: float
    gap: float


class WithoutIt(BaseModel):
    """Give the row's score and prediction with this feature missing."""

    score: float
    prediction: float


class Response(BaseModel):
    """Give the row's score and prediction for other values of a feature; straight lines join the points."""

    values: list[float | str | bool] = Field(description="Ascending; days since 1970 for a date; or categories.")
    scores: list[float]
    predictions: list[float] = Field(description="On the target's scale; for classes, the explained one's probability.")
    kinks: list[float] = Field(description="Where the slope jumps.")
    crossings: list[NarrowPlace]
    missing: WithoutIt | None = Field(description="Only for features whose missing values the model treats separately.")


class InteractionsPart(BaseModel):
    """Measure how features act together, by pair "a & b"."""

    second_derivatives: dict[str, float | None] = Field(
        description="Of the score, by two numbers in their own units, or by one twice; null where undefined."
    )
    shapley: dict[str, float] | None = Field(
        description="Shapley interaction values against the baseline; null where too many features differ from it."
    )
    reason: str | None = Field(default=None, description="Why Shapley interaction values are omitted.")


class Surface(BaseModel):
    """Give a response curve of two features: a value for every pair of their values."""

    values: tuple[list[float | str | bool], list[float | str | bool]]
    scores: list[list[float]]
    predictions: list[list[float]]


class RowExplanation(BaseModel):
    """Decompose one score: baseline + the sum of the contributions = score."""

    prediction: Prediction
    score: float
    baseline: float = Field(
        description="The score of what is compared with: one number for all rows that are explained for the same "
        "class, or for the only output; each row's own by the method eigenvector."
    )
    contributions: dict[str, float] = Field(
        description='By term: a feature, or a pair "a & b"; by feature for path and shapley.'
    )
    sensitivities: dict[str, float | None] = Field(
        description="d score / d x of every numeric feature, in its own unit; null where x is missing."
    )
    gap: float | None = Field(
        description="Smallest distance to a neighbouring eigenvalue; null for matrices of size 1."
    )
    warnings: list[RowWarning] = Field(description="Of this row.")
    kept: dict[str, Any] | None = Field(default=None, description="What is handed through; only where something is.")
    remainder: float | None = Field(
        default=None,
        description="Only for integrated: what quadrature left of the score, spread over the contributions.",
    )
    standard_error: dict[str, float] | None = Field(
        default=None,
        description="Only for shapley: of each contribution; zero where all coalitions were counted.",
    )
    certificate: Certificate | None = Field(default=None, description="Only if included.")
    stability: StabilityPart | None = Field(default=None, description="Only if included.")
    eigenvector: list[MemberPart] | None = Field(default=None, description="Only if included: of every member.")
    curves: dict[str, Response | Surface] | None = Field(
        default=None, description='Only if included: by feature, or by pair "a & b".'
    )
    interactions: InteractionsPart | None = Field(default=None, description="Only if included.")


class ExplainResponse(BaseModel):
    """Answer with an explanation for every row, in their order."""

    model: str
    version: str
    method: str = Field(description="The method that was used, also where none was asked for.")
    reference: str | None = Field(default=None, description="Only for integrated: the population compared with.")
    explanations: list[RowExplanation]


class Above(BaseModel):
    """Require at least this value: of the target, or for two classes of the second class's probability."""

    model_config = ConfigDict(extra="forbid")

    above: float


class Below(BaseModel):
    """Require at most this value."""

    model_config = ConfigDict(extra="forbid")

    below: float


class OfClass(BaseModel):
    """Require a class."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    label: str | float | bool = Field(alias="class")


class CounterfactualsRequest(RowsRequest):
    """Ask for changes that give rows another prediction."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"instances": [HOUSE], "wanted": {"above": 450000}, "fixed": ["latitude"]}]}
    )

    wanted: SkipValidation[Above | Below | OfClass] = Field(description="The wanted prediction.")
    fixed: list[str] | None = Field(default=None, description="Features that may not change.")
    ranges: SkipValidation[dict[str, tuple[float | str, float | str]] | None] = Field(
        default=None,
        description="[low, high] of what numbers, or times in ISO 8601, may become; within their training range by "
        "default. Dates whose cycles are features, and these, can have none.",
    )
    directions: dict[str, Literal["up", "down"]] | None = Field(
        default=None, description="Which way numbers, ordered categories and booleans may go; both by default."
    )
    values: dict[str, list[float | str | bool]] | None = Field(
        default=None, description="The only values that features may take; those of training where they are few."
    )
    orders: dict[str, list[str | float | bool]] | None = Field(
        default=None, description="Categories in their order: a change counts how many places it moves."
    )
    max_features: int | None = Field(
        default=None, ge=1, le=4, description="How many features may change at once; 2 by default."
    )
    radius: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Only changes for which all rows within so many training standard deviations of every number are "
        "proved to reach the goal, too.",
    )


class Change(BaseModel):
    """Give a value and the value it changes to."""

    from_: Cell = Field(alias="from", description='"(unseen)" for a category that training did not know.')
    to: Cell


class Counterfactual(BaseModel):
    """Describe a change that gives the wanted prediction."""

    changes: dict[str, Change] = Field(description="By feature; empty if the row is predicted so already.")
    prediction: Prediction
    score: float = Field(description="Of the wanted class, or the only one.")
    distance: float = Field(
        description="Sum over changed features: of a number, by how many training standard deviations (of its "
        "logarithm, where the model takes it); of an ordered category, by how many places; 1 for another one or a "
        "boolean."
    )
    plausibility: float | None = Field(
        description="Share of the training rows that are at least as unusual as the changed row; null in older models."
    )
    radius: float | None = Field(description="Within which all rows are proved to reach the goal, if asked for.")


class CounterfactualsResponse(BaseModel):
    """Answer with the nearest changes for every row, in their order: plausible ones first, then the nearest."""

    model: str
    version: str
    counterfactuals: list[list[Counterfactual]]
    warnings: list[list[RowWarning]] = Field(description="Of every row.")
    kept: list[dict[str, Any]] | None = Field(
        default=None, description="Of every row what is handed through; only where something is."
    )
