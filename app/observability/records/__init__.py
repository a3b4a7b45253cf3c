"""Record every decision: what went in, what was answered and why, so that it can be proved and computed again."""

from eigenserve.app.observability.records.opening import check_records, open_recorder

__all__ = ["check_records", "open_recorder"]
