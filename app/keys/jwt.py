"""Accept JSON Web Tokens of an identity provider in place of keys, with PyJWT."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

import jwt

from eigenserve.app.keys.grants import SCOPES, Grant, Scope

log = logging.getLogger("eigenserve.keys")

#: Signatures with public keys only: with a shared secret, whoever can check a token can make one.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
#: Keys of the provider are fetched again so often, and at most so often for tokens signed by an unknown one.
REFRESH_S, UNKNOWN_S = 3600.0, 30.0
FETCH_TIMEOUT_S = 5.0
#: By how much clocks may differ.
LEEWAY_S = 30.0
#: The longest name of a token's owner in logs.
MAX_NAME = 100


class TokenError(Exception):
    """Report why a token is not accepted."""


class Tokens:
    """Check tokens against the provider's keys, its audience and its issuer.

    Args:
        jwks_url: where the provider publishes its keys.
        audience: that a token must be made for.
        issuer: that a token must come from; None for any.
    """

    def __init__(self, jwks_url: str, audience: str, issuer: str | None) -> None:
        self._client = jwt.PyJWKClient(jwks_url, cache_jwk_set=False, timeout=FETCH_TIMEOUT_S)
        self._audience, self._issuer = audience, issuer
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = -REFRESH_S
        self._fetching = asyncio.Lock()

    async def grant(self, token: str) -> Grant:
        """Return what the owner of a token may do: the scopes that it names, of those there are.

        Raises:
            TokenError: it is not valid.
        """
        try:
            kid = str(jwt.get_unverified_header(token).get("kid"))
            key = await self._key(kid)
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "sub"]},
            )
            expires = datetime.fromtimestamp(int(claims["exp"]) + LEEWAY_S, UTC)
        except (jwt.PyJWTError, ValueError, OverflowError, OSError, RecursionError, TypeError) as error:
            raise TokenError(f"the token is not valid: {error}") from None
        name = "".join(c if c.isprintable() else "?" for c in str(claims["sub"]))[:MAX_NAME]
        return Grant(name, _scopes(claims), expires, label="jwt")

    async def _key(self, kid: str) -> jwt.PyJWK:
        for pause_s in (REFRESH_S, UNKNOWN_S):
            if time.monotonic() - self._fetched >= pause_s:
                await self._fetch(pause_s)
            if kid in self._keys:
                return self._keys[kid]
        raise TokenError("the token is signed with a key that its provider does not publish")

    async def _fetch(self, pause_s: float) -> None:
        async with self._fetching:
            if time.monotonic() - self._fetched < pause_s:
                return  # another request has waited for it
            self._fetched = time.monotonic()
            try:
                published = await asyncio.to_thread(self._client.get_signing_keys)
            except (jwt.PyJWTError, OSError) as error:
                log.error("the token provider's keys cannot be fetched", extra={"reason": str(error)})
                return
            self._keys = {str(key.key_id): key for key in published}


def _scopes(claims: dict[str, Any]) -> frozenset[Scope]:
    """Return the scopes of a token: the words of ``scope`` (RFC 8693), or the list ``scp`` of some providers."""
    given = claims.get("scope", claims.get("scp", ""))
    words = given.split() if isinstance(given, str) else given
    return frozenset(scope for scope in SCOPES if scope in words) if isinstance(words, list) else frozenset()
