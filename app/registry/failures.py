"""Remember versions that cannot be loaded, and when each is tried again."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from eigenserve.model.checkpoints.listing import Fingerprint

#: A version whose files have not changed is tried again after this time, then after twice as long, and so on: what
#: failed may have been the disk or the memory. One whose files have changed is tried at once.
FIRST_RETRY_S, LAST_RETRY_S = 2.0, 300.0

Key = tuple[str, int]


@dataclass(frozen=True)
class Failure:
    """Hold why a version is not served.

    Attributes:
        reason: for a person.
        fingerprint: of the files that failed.
        retry_at: when it is tried again even if they stay the same, on the monotonic clock.
        pause_s: from the last attempt to the next.
    """

    reason: str
    fingerprint: Fingerprint
    retry_at: float
    pause_s: float


@dataclass
class Failures:
    """Remember the failed versions of a store. ``known`` is replaced as a whole, so that any thread may read it."""

    known: Mapping[Key, Failure] = field(default_factory=dict)

    def rests(self, key: Key, fingerprint: Fingerprint, now: float) -> bool:
        """Return whether a version failed and need not be tried yet."""
        failure = self.known.get(key)
        return failure is not None and failure.fingerprint == fingerprint and now < failure.retry_at

    def add(self, key: Key, reason: str, fingerprint: Fingerprint, now: float) -> bool:
        """Note that a version failed; return whether that is news."""
        before = self.known.get(key)
        same_files = before is not None and before.fingerprint == fingerprint
        pause_s = min(2 * before.pause_s, LAST_RETRY_S) if before is not None and same_files else FIRST_RETRY_S
        self.known = MappingProxyType({**self.known, key: Failure(reason, fingerprint, now + pause_s, pause_s)})
        return before is None or before.reason != reason

    def forget(self, *keys: Key) -> None:
        """Forget versions that were loaded."""
        if any(key in self.known for key in keys):
            self.keep(self.known.keys() - set(keys))

    def keep(self, keys: Container[Key]) -> None:
        """Forget all versions but these."""
        self.known = MappingProxyType({key: failure for key, failure in self.known.items() if key in keys})
