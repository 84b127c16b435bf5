"""What does a provider of OpenID Connect say of itself, and of who came back from it?

Asked for at the first sign-in, kept for an hour. Its keys are fetched anew when a token names one
that is not among them, and not more often than once in a while.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from ui.config import OidcConfig
from ui.id_tokens import BadToken, read_keys, read_token
from ui.oidc_answers import (
    BASIC,
    Endpoints,
    Identity,
    ProviderAway,
    identity_of,
    read_answer,
    read_endpoints,
)

log = logging.getLogger(__name__)

KEPT_SECONDS = 3600.0
KEYS_SECONDS = 30.0
"""Between two looks for a key that was not there."""
AWAY_SECONDS = 5.0
"""Before one that did not answer is asked again for what it says of itself."""
PATIENCE = 10.0
"""Seconds of one request to the provider."""
LARGEST = 1 << 20
"""Bytes of one answer."""
WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Began:
    """What a sign-in was begun with; it lies in a cookie of the browser that began it."""

    state: str
    nonce: str
    verifier: str
    """Of PKCE: whoever steals the code has not got it."""


class Provider:
    """One provider, over a session that ``async with`` opens and closes."""

    def __init__(self, config: OidcConfig) -> None:
        self.config = config
        self._session: aiohttp.ClientSession | None = None
        self._going = asyncio.Lock()
        self._endpoints: tuple[Endpoints, float] | None = None
        self._keys: tuple[Any, float] | None = None
        self._away: tuple[str, float] = ("", 0.0)

    async def __aenter__(self) -> Provider:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def address(self, began: Began, back: str) -> str:
        """Where the browser is sent; it returns to ``back``. Raises ``ProviderAway``."""
        query = {
            "response_type": "code",
            "client_id": self.config.client_id,
            "redirect_uri": back,
            "scope": " ".join(self.config.scopes),
            "state": began.state,
            "nonce": began.nonce,
            "code_challenge": challenge_of(began.verifier),
            "code_challenge_method": "S256",
        }
        authorize = (await self.endpoints()).authorize
        return f"{authorize}{'&' if '?' in authorize else '?'}{urlencode(query)}"

    async def identity(self, code: str, began: Began, back: str) -> Identity:
        """Who it was. Raises ``ProviderAway`` or ``BadToken``."""
        endpoints = await self.endpoints()
        answer = await self._exchange(endpoints, code, began, back)
        claims = await self._claims(endpoints, str(answer.get("id_token", "")), began.nonce)
        if self.config.groups_claim not in claims and endpoints.userinfo:
            claims = {**await self._userinfo(endpoints, answer, claims["sub"]), **claims}
        return identity_of(claims, self.config.groups_claim)

    async def endpoints(self) -> Endpoints:
        async with self._going:
            if self._endpoints is None or self._endpoints[1] < time.monotonic():
                found = read_endpoints(
                    await self._get(self.config.issuer.rstrip("/") + WELL_KNOWN), self.config.issuer
                )
                self._endpoints = (found, time.monotonic() + KEPT_SECONDS)
            return self._endpoints[0]

    async def _exchange(
        self, endpoints: Endpoints, code: str, began: Began, back: str
    ) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": began.verifier,
        }
        headers = {"Accept": "application/json"}
        if self.config.client_secret and BASIC in endpoints.auth_methods:
            headers["Authorization"] = basic(self.config.client_id, self.config.client_secret)
        else:
            form["client_id"] = self.config.client_id
            if self.config.client_secret:
                form["client_secret"] = self.config.client_secret
        return await self._send("POST", endpoints.token, headers, form)

    async def _claims(self, endpoints: Endpoints, token: str, nonce: str) -> dict[str, Any]:
        read = (token, self.config.issuer, self.config.client_id, nonce)
        try:
            return read_token(await self._known_keys(endpoints, 0.0), *read)
        except BadToken as error:
            if not error.unknown_key:
                raise
        # It may have changed its keys since; a token that was made up costs no more than this.
        return read_token(await self._known_keys(endpoints, KEPT_SECONDS - KEYS_SECONDS), *read)

    async def _known_keys(self, endpoints: Endpoints, left: float) -> Any:
        """The keys, fetched anew where they are kept for no longer than ``left`` seconds more."""
        async with self._going:
            if self._keys is None or self._keys[1] < time.monotonic() + left:
                keys = read_keys(await self._get(endpoints.keys))
                self._keys = (keys, time.monotonic() + KEPT_SECONDS)
            return self._keys[0]

    async def _userinfo(
        self, endpoints: Endpoints, answer: Mapping[str, Any], subject: str
    ) -> dict[str, Any]:
        bearer = {"Authorization": f"Bearer {answer.get('access_token', '')}"}
        told = await self._send("GET", endpoints.userinfo, bearer)
        if told.get("sub") != subject:
            raise BadToken("what it says of the user is about somebody else")
        return told

    async def _get(self, address: str) -> dict[str, Any]:
        """Those who wait for the same do not wait for a provider that is away in turn."""
        why, until = self._away
        if time.monotonic() < until:
            raise ProviderAway(why)
        try:
            return await self._send("GET", address, {"Accept": "application/json"})
        except ProviderAway as error:
            self._away = (str(error), time.monotonic() + AWAY_SECONDS)
            raise

    async def _send(
        self, method: str, address: str, headers: dict[str, str], form: object = None
    ) -> dict[str, Any]:
        assert self._session is not None, "it was opened"
        try:
            async with self._session.request(
                method, address, headers=headers, data=form, allow_redirects=False
            ) as answer:
                return read_answer(answer.status, await bounded(answer), address)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ProviderAway(f"{address}: {error!r}") from error


async def bounded(answer: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        data += chunk
        if len(data) > LARGEST:
            raise ProviderAway(f"{answer.url} says more than {LARGEST} bytes")
    return bytes(data)


def challenge_of(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def basic(client: str, secret: str) -> str:
    """RFC 6749, 2.3.1: both are encoded as in a form."""
    pair = f"{quote(client, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
