"""Tokens of an identity provider: good ones are keys, others are not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from eigenserve.app.keys.jwt import LEEWAY_S, REFRESH_S, UNKNOWN_S, TokenError, Tokens

SIGNERS = {
    "rsa": (rsa.generate_private_key(65537, 2048), "RS256"),
    "ec": (ec.generate_private_key(ec.SECP256R1()), "ES256"),
}


class Provider:
    """Publishes the public keys of some signers over HTTP; none while it is away."""

    def __init__(self, *names: str) -> None:
        self.names: tuple[str, ...] = names
        self.fetches = 0
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetches += 1
                content = json.dumps({"keys": [jwk(name) for name in provider.names]}).encode()
                self.send_response(200 if provider.names else 503)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"


def jwk(name: str) -> dict[str, Any]:
    key, algorithm = SIGNERS[name]
    kind = jwt.algorithms.RSAAlgorithm if name == "rsa" else jwt.algorithms.ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": name, "use": "sig", "alg": algorithm}


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider("rsa", "ec")
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def token(name: str = "rsa", **claims: Any) -> str:
    key, algorithm = SIGNERS[name]
    good = {"sub": "ann", "aud": "eigenserve", "iss": "https://id", "exp": time.time() + 60, "scope": "predict files x"}
    payload = {key: value for key, value in (good | claims).items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers={"kid": name})


@pytest.fixture
def tokens(provider: Provider) -> Tokens:
    return Tokens(provider.url, "eigenserve", "https://id")


@pytest.mark.parametrize("name", ["rsa", "ec"])
def test_a_good_token_is_its_owners_grant(tokens: Tokens, name: str):
    grant = asyncio.run(tokens.grant(token(name)))
    assert (grant.name, grant.label, grant.scopes) == ("ann", "jwt", {"predict", "files"})
    assert grant.expires is not None
    assert not grant.has_expired()


def test_scopes_come_as_a_list_too(tokens: Tokens):
    assert asyncio.run(tokens.grant(token(scope=None, scp=["explain"]))).scopes == {"explain"}
    assert asyncio.run(tokens.grant(token(scope=None))).scopes == set()
    assert asyncio.run(tokens.grant(token(scope=None, scp={"explain": 1}))).scopes == set()


def test_a_name_for_the_log_stays_on_its_line(tokens: Tokens):
    assert asyncio.run(tokens.grant(token(sub="ann\nroot" + 1000 * "x"))).name == "ann?root" + 92 * "x"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"aud": None},
        {"iss": "https://evil"},
        {"iss": None},
        {"exp": time.time() - LEEWAY_S - 5},
        {"exp": None},
        {"sub": None},
        {"nbf": time.time() + LEEWAY_S + 86_400},
    ],
)
def test_a_token_for_another_purpose_or_time_is_refused(tokens: Tokens, claims: dict[str, Any]):
    with pytest.raises(TokenError):
        asyncio.run(tokens.grant(token(**claims)))


def test_forged_tokens_are_refused(tokens: Tokens):
    head, payload, signature = token().split(".")
    public = SIGNERS["rsa"][0].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = jwt.api_jws.base64url_encode(json.dumps({"sub": "a", "aud": "eigenserve", "exp": 9e9}).encode()).decode()
    none = jwt.api_jws.base64url_encode(b'{"alg":"none","kid":"rsa"}').decode()
    hmac_head = jwt.api_jws.base64url_encode(b'{"alg":"HS256","kid":"rsa"}').decode()
    signed = hmac.new(pem, f"{hmac_head}.{body}".encode(), hashlib.sha256).digest()
    forged = [
        f"{none}.{body}.",
        f"{hmac_head}.{body}.{jwt.api_jws.base64url_encode(signed).decode()}",
        f"{head}.{body}.{signature}",
        f"{head}.{payload}.",
        "a.b.c",
        "..",
        f"{head}.{payload}.é",
    ]
    for each in forged:
        with pytest.raises(TokenError):
            asyncio.run(tokens.grant(each))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1e6]
    monkeypatch.setattr("eigenserve.app.keys.jwt.time.monotonic", lambda: now[0])
    return now


def test_keys_that_the_provider_changes_are_fetched_now_and_then(provider: Provider, clock: list[float]):
    provider.names = ("rsa",)
    tokens = Tokens(provider.url, "eigenserve", None)
    asyncio.run(tokens.grant(token("rsa")))
    provider.names = ("ec",)
    for _ in range(50):
        with pytest.raises(TokenError, match="does not publish"):
            asyncio.run(tokens.grant(token("ec")))
    assert provider.fetches == 1
    clock[0] += UNKNOWN_S + 1
    asyncio.run(tokens.grant(token("ec")))
    with pytest.raises(TokenError, match="does not publish"):
        asyncio.run(tokens.grant(token("rsa")))
    assert provider.fetches == 2


def test_a_provider_that_is_away_costs_nobody_a_known_key(provider: Provider, clock: list[float]):
    tokens = Tokens(provider.url, "eigenserve", None)
    asyncio.run(tokens.grant(token()))
    provider.names = ()
    clock[0] += REFRESH_S + 1
    assert asyncio.run(tokens.grant(token())).name == "ann"
    assert provider.fetches == 2


@pytest.mark.parametrize(
    "header",
    [
        "[" * 20_000,
        "{" * 20_000,
        '{"alg": "RS256", "kid": ' + "[" * 20_000,
        '{"alg": ' + "9" * 5000 + "}",
        '"text"',
        "7",
    ],
)
def test_a_header_made_to_break_its_parser_is_not_a_token(tokens: Tokens, header: str):
    made = base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode()
    with pytest.raises(TokenError):
        asyncio.run(tokens.grant(f"{made}.e30.c2ln"))


@pytest.mark.parametrize("exp", [10**15, 10**30, "soon", [1], 1e300, {"x": 1}])
def test_a_time_that_no_clock_has_is_not_a_token(tokens: Tokens, exp: Any):
    with pytest.raises(TokenError):
        asyncio.run(tokens.grant(token(exp=exp)))
