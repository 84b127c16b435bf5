"""What if a provider lies, is slow, says too much, or changes its keys?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

from stoker.ports import any_free
from ui.config import OidcConfig
from ui.id_tokens import BadToken
from ui.oidc import KEYS_SECONDS, Began, Provider
from ui.oidc_answers import Identity, ProviderAway, identity_of, is_private, read_endpoints

BEGAN = Began("state", "nonce", "verifier")
BACK = "https://stoker.example/sign-in/oidc/callback"


class Liar:
    """Speaks the protocol, and whatever a test wants instead."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.keys_asked = 0
        self.claims: dict[str, Any] = {}
        self.told: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {"sub": "42", "groups": ["ml"]}
        self.instead: dict[str, Callable[[], web.StreamResponse]] = {}
        self.forms: list[dict[str, Any]] = []

    async def discovery(self, _: web.Request) -> web.StreamResponse:
        return self.say(
            "discovery",
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/auth?tenant=a",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/me",
                **self.told,
            },
        )

    async def token(self, request: web.Request) -> web.StreamResponse:
        self.forms.append(dict(await request.post()))
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "stoker",
            "sub": "42",
            "nonce": BEGAN.nonce,
            "iat": now,
            "exp": now + 60,
            **self.claims,
        }
        signed = jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)
        return self.say("token", {"id_token": signed, "access_token": "a"})

    async def keys(self, _: web.Request) -> web.StreamResponse:
        self.keys_asked += 1
        return self.say("keys", {"keys": [self.key.as_dict(private=False)]})

    async def me(self, _: web.Request) -> web.StreamResponse:
        return self.say("me", self.userinfo)

    def say(self, name: str, usual: dict[str, Any]) -> web.StreamResponse:
        return self.instead[name]() if name in self.instead else web.json_response(usual)


@pytest.fixture
async def liar() -> AsyncIterator[Liar]:
    port = any_free("127.0.0.1")
    made = Liar(port)
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", made.discovery)
    app.router.add_post("/token", made.token)
    app.router.add_get("/keys", made.keys)
    app.router.add_get("/me", made.me)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield made
    await runner.cleanup()


@pytest.fixture
async def provider(liar: Liar) -> AsyncIterator[Provider]:
    async with Provider(OidcConfig(liar.issuer, "stoker", "s3cret")) as made:
        yield made


def identity(provider: Provider) -> Awaitable[Identity]:
    return provider.identity("code", BEGAN, BACK)


async def test_the_way_there_says_what_it_must(provider: Provider) -> None:
    address = await provider.address(BEGAN, BACK)
    assert "/auth?tenant=a&response_type=code&client_id=stoker&" in address
    assert "code_challenge_method=S256" in address
    assert BEGAN.verifier not in address


async def test_groups_come_from_where_they_are_told(provider: Provider, liar: Liar) -> None:
    assert (await identity(provider)).groups == ("ml",)
    liar.claims = {"groups": ["token"]}
    assert (await identity(provider)).groups == ("token",)
    assert liar.forms[0]["code_verifier"] == BEGAN.verifier


async def test_keys_that_changed_are_fetched_once_in_a_while(
    provider: Provider, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    await identity(provider)
    liar.key = RSAKey.generate_key(2048, {"kid": "two"})
    for _ in range(5):
        with pytest.raises(BadToken):
            await identity(provider)
    assert liar.keys_asked == 1, "made-up tokens do not make us ask again and again"
    monkeypatch.setattr("ui.oidc.KEYS_SECONDS", -KEYS_SECONDS)
    assert (await identity(provider)).subject == "42"
    assert liar.keys_asked == 2


async def test_what_is_said_of_somebody_else_counts_for_nothing(
    provider: Provider, liar: Liar
) -> None:
    liar.userinfo = {"sub": "1", "groups": ["rulers"]}
    with pytest.raises(BadToken):
        await identity(provider)


@pytest.mark.parametrize("name", ["discovery", "token", "keys", "me"])
@pytest.mark.parametrize(
    "instead",
    [
        lambda: web.Response(text="<html>"),
        lambda: web.json_response([1]),
        lambda: web.json_response({"error": "x" * 5000}, status=400),
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        lambda: web.Response(body=b" " * (2 << 20)),
        lambda: web.Response(text="[" * 100_000),
    ],
    ids=["page", "list", "error", "redirect", "flood", "nest"],
)
async def test_an_answer_that_makes_no_sense_is_said_so(
    provider: Provider, liar: Liar, name: str, instead: Callable[[], web.StreamResponse]
) -> None:
    liar.instead[name] = instead
    with pytest.raises(ProviderAway):
        await identity(provider)


async def test_a_provider_that_is_away_is_not_waited_for_in_turn(
    provider: Provider, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def nothing() -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response(status=503)

    liar.instead["discovery"] = nothing
    told = await asyncio.gather(*(provider.endpoints() for _ in range(9)), return_exceptions=True)
    assert all(isinstance(one, ProviderAway) for one in told)
    assert asked == 1
    del liar.instead["discovery"]
    monkeypatch.setattr(provider, "_away", ("", 0.0))
    assert (await provider.endpoints()).keys


@pytest.mark.parametrize(
    "told",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"userinfo_endpoint": "http://169.254.169.254/"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": ""},
    ],
    ids=str,
)
async def test_a_provider_that_is_another_or_not_private_is_refused(
    provider: Provider, liar: Liar, told: dict[str, Any]
) -> None:
    liar.told = told
    with pytest.raises(ProviderAway):
        await provider.endpoints()


def test_addresses_are_private_by_https_or_on_this_machine() -> None:
    assert is_private("https://id.example/x")
    assert is_private("http://[::1]:5556/dex")
    for text in (
        "http://id.example",
        "http://localhost.evil.example",
        "https://",
        "//x",
        "http://[",
    ):
        assert not is_private(text)


def test_odd_claims_make_no_trouble() -> None:
    claims = {"sub": "1", "groups": "one", "email": "a@b", "name": "x" * 999}
    found = identity_of(claims, "groups")
    assert (found.groups, found.email, len(found.name)) == (("one",), "", 200)
    assert identity_of({"sub": "1", "groups": [1, None, "a"]}, "groups").groups == ("a",)
    assert identity_of({"sub": "1", "groups": 7}, "groups").groups == ()
    assert identity_of({"sub": "1", "email": "a@b", "email_verified": "true"}, "g").email == ""


def test_methods_that_are_not_told_are_the_usual_one() -> None:
    told = {
        "issuer": "https://i",
        "authorization_endpoint": "https://i/a",
        "token_endpoint": "https://i/t",
        "jwks_uri": "https://i/k",
        "token_endpoint_auth_methods_supported": "nonsense",
    }
    assert read_endpoints(told, "https://i").auth_methods
