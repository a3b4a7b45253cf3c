"""Watch whether what is predicted, and why, is still like training: over sliding windows, merged over workers."""

from eigenserve.app.observability.drift.monitor import DriftMonitor

__all__ = ["DriftMonitor"]
