"""ScoreError: what a user can mend, told in one line."""

from __future__ import annotations


class ScoreError(Exception):
    """A file, a row or an option that cannot be scored with; the message says which and why."""
