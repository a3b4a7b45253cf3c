"""Report rows that do not fit a model, and texts that are not CSV, and where."""

from __future__ import annotations

from collections.abc import Sequence

from eigenserve.errors import EigenserveError

Location = tuple[int | str, ...]

#: A request with a thousand bad cells is explained well enough by its first ones.
MAX_REPORTED_ERRORS = 20


class CsvError(EigenserveError, ValueError):
    """Report a text that is not CSV of one width; ``row`` is the first bad row, from zero, where there is one."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


class InvalidRowsError(EigenserveError, ValueError):
    """Report rows that do not fit the model: where, and what would be right.

    ``errors`` holds ``(loc, msg)`` pairs; ``loc`` is (row,) or (row, feature name or position).
    """

    def __init__(self, errors: Sequence[tuple[Location, str]], total: int | None = None) -> None:
        self.errors = tuple(errors)
        self.total = len(self.errors) if total is None else total
        loc, msg = self.errors[0]
        where = "".join(f"[{part!r}]" for part in loc)
        more = f" (and {self.total - 1} more)" if self.total > 1 else ""
        super().__init__(f"rows{where}: {msg}{more}")
