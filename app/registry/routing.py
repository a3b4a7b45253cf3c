"""Routing: which version of a model answers a request that names none."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Canary(NamedTuple):
    """Let a version answer a share of the requests."""

    version: int
    share: float


@dataclass(frozen=True)
class Routing:
    """Choose versions.

    Attributes:
        shadows: name -> the version that only runs along: it answers where it is named, or promoted.
        canaries: name -> the version that answers a share of the requests.
    """

    shadows: Mapping[str, int] = field(default_factory=dict)
    canaries: Mapping[str, Canary] = field(default_factory=dict)

    def default(self, name: str, versions: Collection[int], promoted: int | None = None) -> int:
        """Return the promoted version, or the newest that is neither shadow nor canary, or else the newest."""
        if promoted is not None and promoted in versions:
            return promoted
        canary = self.canaries.get(name)
        aside = {self.shadows.get(name), None if canary is None else canary.version}
        return max((version for version in versions if version not in aside), default=max(versions))

    def choose(self, name: str, versions: Collection[int], promoted: Mapping[str, int | None]) -> int:
        """Return the version that answers the next request: the default one, or by its share the canary.

        Args:
            name, versions: of the model.
            promoted: name -> the version that was promoted; None for the newest again. Both end the model's canary.
        """
        canary = None if name in promoted else self.canaries.get(name)
        # Not of a client's choosing, and of no use to guess.
        if canary is not None and canary.version in versions and random.random() < canary.share:
            return canary.version
        return self.default(name, versions, promoted.get(name))


def missing_versions(routing: Routing, served: Mapping[str, Collection[int]]) -> list[str]:
    """Name the settings whose version is not served, and what is."""
    named = [("EIGENSERVE_SHADOW", name, version) for name, version in routing.shadows.items()]
    named += [("EIGENSERVE_CANARY", name, canary.version) for name, canary in routing.canaries.items()]
    return [
        f"{setting} names version {version} of model {name!r}, which is not served: it has no effect until it is"
        for setting, name, version in named
        if version not in served.get(name, ())
    ]


def read_routing(shadow: str | None, canary: str | None) -> Routing:
    """Read the settings ``NAME:VERSION`` and ``NAME:VERSION:SHARE``, which are checked when they are read."""
    shadows, canaries = {}, {}
    if shadow is not None:
        name, version = shadow.split(":")
        shadows[name] = int(version)
    if canary is not None:
        name, version, share = canary.split(":")
        canaries[name] = Canary(int(version), float(share))
    return Routing(shadows, canaries)
