"""Keep what the training rows looked like, count what comes in later in the same bins, and compare the two."""

from eigenserve.model.monitoring.drift import ChannelDrift, measure_drift
from eigenserve.model.monitoring.sketch import Sketch, make_sketch, read_sketch, sketch_document

__all__ = ["ChannelDrift", "Sketch", "make_sketch", "measure_drift", "read_sketch", "sketch_document"]
