"""Decide whether a request is sent again, and when: what the service says in Retry-After, else a growing pause."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from eigenserve.client.errors import ServiceError

#: Overloaded or not ready, and over a key's limit; 502 and 504 are a proxy's while a server is replaced.
AGAIN = frozenset({429, 502, 503})
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0


@dataclass(frozen=True)
class Retries:
    """Say how often a request is sent again. Predictions change nothing, so that sending one twice does no harm.

    Attributes:
        count: at most so many times.
        patience_s: a longer pause is not waited for: the error is raised at once.
    """

    count: int = 5
    patience_s: float = 30.0

    def pause(self, attempt: int, response: httpx.Response | None) -> float | None:
        """Return the seconds to wait before attempt + 1, counted from zero; None for no further attempt.

        Args:
            attempt: how many were made, less one.
            response: the answer; None where there was no connection or it broke.
        """
        if attempt >= self.count or (response is not None and response.status_code not in AGAIN):
            return None
        pause = None if response is None else retry_after(response.headers.get("retry-after", ""))
        if pause is None:
            # Spread, so that clients that failed together do not come back together.
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt) * random.uniform(0.5, 1.0)
        return pause if pause <= self.patience_s else None


def retry_after(text: str) -> float | None:
    """Return the seconds that Retry-After asks for, given as a number or as a date; None for anything else."""
    if text.strip().isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def checked(response: httpx.Response) -> httpx.Response:
    """Return a good answer.

    Raises:
        ServiceError: it is an error.
    """
    if response.is_success:
        return response
    request_id = response.headers.get("x-request-id", "")
    try:
        body = response.json()
        detail, errors = str(body["detail"]), body.get("errors") or ()
    except (ValueError, KeyError, TypeError, AttributeError):  # of a proxy, which has no such body
        detail, errors = response.text[:200] or response.reason_phrase, ()
    raise ServiceError(response.status_code, detail, errors, request_id)
