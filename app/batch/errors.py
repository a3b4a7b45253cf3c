"""Define ScoreError: what a user can correct before scoring again."""

from eigenserve.errors import EigenserveError


class ScoreError(EigenserveError):
    """Report a file, a row or an option that cannot be scored; the message says which and why."""
