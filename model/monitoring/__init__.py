"""Keep what the training rows looked like, count what comes in later in the same bins, and compare the two."""

from eigenserve.model.monitoring.accuracy import Accuracy, AccuracySums
from eigenserve.model.monitoring.channels import Counts
from eigenserve.model.monitoring.drift import LEVEL, ChannelDrift, measure_drift
from eigenserve.model.monitoring.sketch import (
    CARD_KEY,
    EXPLAINED_ROWS,
    SKETCHED_ROWS,
    Counting,
    Sketch,
    make_sketch,
    read_sketch,
    sketch_document,
    spread,
)

__all__ = [
    "CARD_KEY",
    "EXPLAINED_ROWS",
    "LEVEL",
    "SKETCHED_ROWS",
    "Accuracy",
    "AccuracySums",
    "ChannelDrift",
    "Counting",
    "Counts",
    "Sketch",
    "make_sketch",
    "measure_drift",
    "read_sketch",
    "sketch_document",
    "spread",
]
