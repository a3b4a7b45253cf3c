"""Answer requests that come while models cannot be served."""

from __future__ import annotations

from eigenserve.app.problems import ProblemError

LOADING = "the models are still being loaded"


def not_ready() -> ProblemError:
    """Answer while models are being loaded."""
    return unready(LOADING)


def unready(reason: str) -> ProblemError:
    """Answer while requests cannot be served, with the reason."""
    return ProblemError(503, reason, headers={"Retry-After": "1"})
