"""Accept: which of the media types on offer a client wants (RFC 9110, 12.5.1)."""

from __future__ import annotations

from eigenserve.app.problems import ProblemError
from eigenserve.app.wire.describe import describe

#: Ranges of a header that are read; no client has a reason for more.
MAX_RANGES = 64


def accepted(header: str, offered: tuple[str, ...], default: str) -> str:
    """Return the media type of an answer: the one with the greatest weight, of equals the one named first.

    Args:
        header: the request's Accept; empty for anything.
        offered: what there is.
        default: one of ``offered``, for a client that does not prefer any.

    Raises:
        ProblemError: 406 none of those on offer.
    """
    ranges = [_range(part) for part in header.lower().split(",")[:MAX_RANGES] if part.strip()]
    if not ranges:
        return default
    best, chosen = (0.0, 0, -MAX_RANGES, False), ""
    for media_type in offered:
        matches = [
            (specificity, -order, weight)
            for order, (name, weight) in enumerate(ranges)
            if (specificity := _specificity(name, media_type)) is not None
        ]
        if matches:
            # The most specific range counts: "*/*, text/csv;q=0" is anything but CSV.
            specificity, order, weight = max(matches)
            rank = (weight, specificity, order, media_type == default)
            if weight and rank > best:
                best, chosen = rank, media_type
    if not chosen:
        raise ProblemError(406, f"answers are {' or '.join(offered)}; got Accept: {describe(header)}")
    return chosen


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (text.strip() for text in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 1.0
            return name, weight if 0.0 <= weight <= 1.0 else 1.0
    return name, 1.0


def _specificity(name: str, media_type: str) -> int | None:
    """Return 2 for the type itself, 1 for its family, 0 for anything; None for another type."""
    if name == media_type:
        return 2
    if name == f"{media_type.split('/')[0]}/*":
        return 1
    return 0 if name in ("*/*", "*") else None
