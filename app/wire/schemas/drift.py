"""Describe the answers of /models/NAME/drift."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


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


class DriftResponse(BaseModel):
    """Answer with what came in lately, compared with training."""

    model: str
    version: str
    level: float = Field(description="The chance that a window has any alarm where nothing has drifted.")
    windows: Windows
