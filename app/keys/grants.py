"""Describe keys: whose each is, what it may do, and how much of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

Scope = Literal["predict", "explain", "files", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
#: What a key may do unless its entry says otherwise: everything but load and unload models.
ORDINARY: frozenset[Scope] = frozenset({"predict", "explain", "files"})


@dataclass(frozen=True)
class Grant:
    """Hold what the owner of a key may do.

    Attributes:
        name: of the owner, for logs and metrics.
        scopes: what may be asked for.
        expires: when it ends; None for never.
        rows_per_s: rows that may be computed in a second, on average; None for any number.
        heavy: explanations and other heavy work at a time; None for any number.
        label: what metrics call the owner; by default the name. Owners of tokens share one.
    """

    name: str
    scopes: frozenset[Scope] = ORDINARY
    expires: datetime | None = None
    rows_per_s: float | None = None
    heavy: int | None = None
    label: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name)

    def has_expired(self) -> bool:
        """Return whether its time is over."""
        return self.expires is not None and datetime.now(UTC) >= self.expires


def digest_of(key: bytes) -> str:
    """Return the hash by which a key is known. Keys are random and long, so that one round is enough."""
    return hashlib.sha256(key).hexdigest()


def grants_of_lists(ordinary: Iterable[str], admin: Iterable[str]) -> Mapping[str, Grant]:
    """Return by digest the grants of keys without names; a part of the digest distinguishes owners."""
    scopes = {digest_of(key.encode()): ORDINARY for key in ordinary}
    scopes |= {digest_of(key.encode()): frozenset(SCOPES) for key in admin}
    return {digest: Grant(f"key-{digest[:8]}", allowed) for digest, allowed in scopes.items()}


def scope_of(path: str) -> Scope:
    """Return what a request for a path needs to be allowed to do."""
    if path.startswith("/v2/repository/models/") or (path.startswith("/models/") and path.endswith("/promote")):
        return "admin"
    if path in ("/explain", "/reasons", "/counterfactuals") or path.endswith(":explain"):
        return "explain"
    if path.startswith("/models/") and path.endswith(("/model.onnx", "/report")):
        return "files"
    return "predict"
