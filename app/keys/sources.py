"""Find out who sends a request, and whether its owner may send it now."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import Scope as AsgiScope

from eigenserve.app.keys.file import KeysFile
from eigenserve.app.keys.grants import Grant, digest_of, grants_of_lists, scope_of
from eigenserve.app.keys.limits import Limits
from eigenserve.app.problems import ProblemError
from eigenserve.app.settings import Settings

if TYPE_CHECKING:
    from eigenserve.app.keys.jwt import Tokens

#: What each scope lets its owner do, for those who lack it.
_MEANINGS = {
    "predict": "predict",
    "explain": "explain predictions",
    "files": "get files of models",
    "admin": "load or unload models",
}
_WHERE = "send Authorization: Bearer KEY"


class Quota:
    """Let a request account for what is computed for it."""

    def __init__(self, grant: Grant, limits: Limits) -> None:
        self._grant, self._limits = grant, limits

    def charge(self, rows: int) -> None:
        """Account for rows."""
        self._limits.charge(self._grant, rows)

    def heavy(self) -> AbstractContextManager[None]:
        """Hold a place for heavy work; raises ProblemError 429 when all of the owner's are taken."""
        return self._limits.heavy(self._grant)


class Keys:
    """Hold all keys that there are: those of the settings, of a file, and tokens.

    A key comes as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``. Only hashes are kept, and keys are looked up by
    their hash: how long that takes says nothing of any key.

    Attributes:
        needed: whether requests need a key.
        limits: on what owners may have computed.
    """

    def __init__(self, settings: Settings) -> None:
        self._listed = grants_of_lists(settings.api_keys, settings.admin_keys)
        self._file = KeysFile(settings.keys_file) if settings.keys_file is not None else None
        self._tokens = _tokens(settings)
        self.limits = Limits()
        self.needed = bool(self._listed) or self._file is not None or self._tokens is not None

    def share(self, folder: Path) -> None:
        """Have what all workers of a server need in a folder that they share; set before ``start``."""
        self.limits.share(folder)
        if self._file is not None:
            self._file.copy = folder / "keys.toml"

    def start(self) -> None:
        """Read the file, and begin to watch it.

        Raises:
            KeysFileError: it cannot be read.
        """
        if self._file is not None:
            self._file.start()

    def stop(self) -> None:
        """Watch the file no longer."""
        if self._file is not None:
            self._file.stop()

    async def grant(self, key: bytes | None) -> Grant:
        """Return what the owner of a request's key may do.

        Raises:
            ProblemError: 401 no key, or one that is not known or has expired.
        """
        if not key:
            raise _unauthorised(f"a key is needed: {_WHERE}")
        digest = digest_of(key)
        grant = self._listed.get(digest) or (self._file.grants.get(digest) if self._file is not None else None)
        if grant is None:
            grant = await self._of_token(key)
        if grant.has_expired():
            raise _unauthorised("the key has expired")
        return grant

    def check(self, grant: Grant, path: str) -> None:
        """Refuse what an owner may not do, or not now.

        Raises:
            ProblemError: 403 outside of the scopes; 429 too many rows of late.
        """
        scope = scope_of(path)
        if scope not in grant.scopes:
            allowed = ", ".join(_MEANINGS[scope] for scope in _MEANINGS if scope in grant.scopes) or "do nothing"
            raise ProblemError(403, f"this key may {allowed}, but not {_MEANINGS[scope]}")
        problem = self.limits.check(grant)
        if problem is not None:
            raise problem

    async def _of_token(self, key: bytes) -> Grant:
        if self._tokens is None or key.count(b".") != 2:
            raise _unauthorised("the key is not known")
        from eigenserve.app.keys.jwt import TokenError

        try:
            return await self._tokens.grant(key.decode("latin-1"))
        except TokenError as error:
            raise _unauthorised(str(error)) from None


def key_of(scope: AsgiScope) -> bytes | None:
    """Return the key that a request brings; None without one."""
    bearer = header = None
    for name, value in scope["headers"]:
        if name == b"authorization" and bearer is None:
            kind, _, rest = value.partition(b" ")
            bearer = rest.strip() if kind.lower() == b"bearer" else None
        elif name == b"x-api-key" and header is None:
            header = value
    return bearer or header or None


def _unauthorised(detail: str) -> ProblemError:
    return ProblemError(401, detail, headers={"WWW-Authenticate": "Bearer"})


def _tokens(settings: Settings) -> Tokens | None:
    if settings.jwt_jwks_url is None or settings.jwt_audience is None:
        return None
    # Imported late: it is an extra, `jwt`.
    from eigenserve.app.keys.jwt import Tokens

    return Tokens(settings.jwt_jwks_url, settings.jwt_audience, settings.jwt_issuer)
