"""ScoreError: what a user can mend before scoring again."""

from eigenserve.errors import EigenserveError


class ScoreError(EigenserveError):
    """A file, a row or an option that cannot be scored; the message says which and why."""
