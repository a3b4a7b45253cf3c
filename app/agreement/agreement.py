"""Agree on the versions that all workers answer with, so that no two of them answer the same request differently.

Every worker looks at the store by itself and offers what it has loaded. The arbiter, in the process that watches over
the workers, agrees on what all of them have, and publishes it under the next number. A worker looks at that number at
every request, so that all change at the same moment; until then each keeps what was agreed on before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

#: name -> version -> digests of the checkpoints that a worker has for it, the one it found last in the store first.
Offer = Mapping[str, Mapping[int, Sequence[str]]]
#: Name and version.
Key = tuple[str, int]
#: name -> version -> digest.
Table = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True)
class Agreement:
    """Hold what is served.

    Attributes:
        number: counts agreements.
        table: the versions that all members answer with.
        unloaded: models that are not served until they are loaded again.
        members: worker -> the number of its last offer that is considered here. Only members answer requests.
        looks: counts the occasions on which all workers shall look at the store at once.
        promoted: name -> the version that answers requests that name none, if it is served; None for the newest. Of a
            model that has an entry the canary has ended.
    """

    number: int = 0
    table: Table = field(default_factory=dict)
    unloaded: frozenset[str] = frozenset()
    members: Mapping[int, int] = field(default_factory=dict)
    looks: int = 0
    promoted: Mapping[str, int | None] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Write it for other processes."""
        return json.dumps({**vars(self), "unloaded": sorted(self.unloaded)}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Agreement:
        """Read what ``to_json`` wrote."""
        document = json.loads(content)
        return cls(
            number=document["number"],
            table={name: {int(v): d for v, d in versions.items()} for name, versions in document["table"].items()},
            unloaded=frozenset(document["unloaded"]),
            members={int(worker): number for worker, number in document["members"].items()},
            looks=document["looks"],
            promoted=document["promoted"],
        )


def agree(
    offers: Sequence[Offer], before: Table, keep_versions: int, unloaded: Container[str] = (), gone: Container[Key] = ()
) -> Table:
    """Choose what all workers can answer with: of each model the newest versions that all of them offer.

    Where they have read different checkpoints for a version, as while one is replaced, the one agreed on before stays.
    So does all of a model whose offers have no version in common. What a single worker no longer offers has left the
    store: it goes at once.

    Args:
        offers: of the members.
        before: what was agreed on before, which every member still has.
        keep_versions: how many versions of a model are served.
        unloaded: names left out.
        gone: versions left out.
    """
    table: dict[str, dict[int, str]] = {}
    names = set.intersection(*(set(offer) for offer in offers)) if offers else set()
    for name in sorted(names):
        if name in unloaded:
            continue
        agreed: dict[int, str] = {}
        had = {version: digest for version, digest in before.get(name, {}).items() if (name, version) not in gone}
        for version in sorted(set.intersection(*(set(offer[name]) for offer in offers)), reverse=True):
            if (name, version) in gone:
                continue
            found = {offer[name][version][0] for offer in offers}
            if len(found) == 1:
                agreed[version] = found.pop()
            elif version in had:
                agreed[version] = had[version]
            if len(agreed) == keep_versions:
                break
        if agreed or had:
            table[name] = dict(sorted((agreed or had).items()))
    return table


class Arbiter:
    """Consider the offers of workers, one at a time.

    A worker becomes a member once it has all that the members answer with.
    """

    def __init__(self, keep_versions: int, publish: Callable[[Agreement], None]) -> None:
        self.agreement = Agreement()
        self._keep_versions = keep_versions
        self._publish = publish
        self._offers: dict[int, tuple[int, Offer]] = {}
        self._members: set[int] = set()
        #: Versions that a worker found to have left the store. That others have not noticed must not bring them back
        #: when this worker dies; one that newly takes such a version does.
        self._gone: set[Key] = set()

    def offer(self, worker: int, number: int, offer: Offer) -> None:
        """Take a worker's offer in place of its earlier one."""
        before, after = (
            {(name, version): digests[0] for name, versions in each.items() for version, digests in versions.items()}
            for each in (self._offers[worker][1] if worker in self._offers else {}, offer)
        )
        # One that is lower than all it offers may just be one too many, and is needed until the others have followed.
        lowest = {name: min(versions) for name, versions in offer.items()}
        self._gone |= {(name, v) for name, v in before.keys() - after.keys() if v > lowest.get(name, 0)}
        self._gone -= {key for key, digest in after.items() if before.get(key) != digest}
        self._offers[worker] = number, offer
        if not self._members and not covers(offer, self.agreement.table):
            # Nobody answers by the agreement there was any longer, so that nobody can contradict this worker.
            self.agreement = replace(self.agreement, table={})
            self._gone.clear()
        if covers(offer, self.agreement.table):
            self._members.add(worker)
        self._consider()

    def leave(self, worker: int) -> None:
        """Forget a worker that has ended."""
        self._offers.pop(worker, None)
        if worker in self._members:
            self._members.remove(worker)
            if self._members:
                self._consider()

    def unload(self, name: str) -> None:
        """Leave a model out until it is loaded again."""
        self._consider(self.agreement.unloaded | {name})

    def load(self, name: str) -> None:
        """Take a model in again, and let all workers look for its versions."""
        self._consider(self.agreement.unloaded - {name}, self.agreement.looks + 1)

    def promote(self, name: str, version: int | None) -> None:
        """Let a version answer by default, None for the newest again, and end the model's canary."""
        self._consider(promoted={**self.agreement.promoted, name: version})

    def digests(self) -> set[str]:
        """Return the checkpoints that any worker has or shall have."""
        offered = (offer for _, offer in self._offers.values())
        agreed = {digest for versions in self.agreement.table.values() for digest in versions.values()}
        return agreed | {d for offer in offered for versions in offer.values() for ds in versions.values() for d in ds}

    def _consider(
        self,
        unloaded: frozenset[str] | None = None,
        looks: int | None = None,
        promoted: Mapping[str, int | None] | None = None,
    ) -> None:
        before = self.agreement
        unloaded = before.unloaded if unloaded is None else unloaded
        offers = [self._offers[worker][1] for worker in sorted(self._members)]
        self.agreement = Agreement(
            before.number + 1,
            agree(offers, before.table, self._keep_versions, unloaded, self._gone),
            unloaded,
            {worker: self._offers[worker][0] for worker in sorted(self._members)},
            before.looks if looks is None else looks,
            before.promoted if promoted is None else promoted,
        )
        self._publish(self.agreement)


def covers(offer: Offer, table: Table) -> bool:
    """Return whether a worker has all that is agreed on."""
    return all(
        digest in offer.get(name, {}).get(version, ())
        for name, versions in table.items()
        for version, digest in versions.items()
    )
