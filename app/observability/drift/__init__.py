"""Watch whether what is predicted, and why, is still like training: over sliding windows, merged over workers."""

from eigenserve.app.observability.drift.monitor import DriftMonitor
from eigenserve.app.observability.drift.outcomes import Outcome

__all__ = ["DriftMonitor", "Outcome"]
