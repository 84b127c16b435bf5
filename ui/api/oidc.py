"""How does somebody sign in at a provider of OpenID Connect, and come back as a user?

The browser is sent there, and returns with a code that is worth something to us alone (PKCE). What
the sign-in was begun with lies in a cookie of that browser: any replica can end what another began,
and an answer that somebody else's browser began is worth nothing.
"""

from __future__ import annotations

import hmac
import logging
import secrets

from aiohttp import web

from bus.errors import BusError, Refused
from schemas.people_requests import SignedIn, Vouched
from ui.admission import SIGN_IN, own_path
from ui.api.common import ask
from ui.credentials import cookie_name, forget, keep, keep_session
from ui.id_tokens import BadToken
from ui.keys import OIDC, OIDC_GATE
from ui.oidc import Began, Provider
from ui.oidc_answers import Identity, ProviderAway
from ui.problems import refuse
from ui.security import client_address, host_of, is_secure

log = logging.getLogger(__name__)

COOKIE = "stoker-oidc"
COOKIE_SECONDS = 600
LONGEST_CODE = 4096
BACK = f"{SIGN_IN}/oidc/callback"


async def begin_oidc(request: web.Request) -> web.StreamResponse:
    provider = provider_of(request)
    began = Began(*(secrets.token_urlsafe(32) for _ in range(3)))
    try:
        async with request.app[OIDC_GATE].passed():
            address = await provider.address(began, back_of(request))
    except ProviderAway as error:
        log.error("the provider does not answer: %s", error)
        raise to_sign_in("away") from error
    response = web.HTTPSeeOther(address)
    wanted = own_path(request.query.get("next", "/"))
    value = "~".join((began.state, began.nonce, began.verifier, wanted.encode().hex()))
    keep(request, response, COOKIE, value, COOKIE_SECONDS)
    raise response


async def end_oidc(request: web.Request) -> web.StreamResponse:
    """Whatever goes wrong leads back to the page where one signs in, with a word about it."""
    provider = provider_of(request)
    began, wanted = begun(request)
    if began is None or not same(request.query.get("state", ""), began.state):
        raise to_sign_in("stale", request)
    code = request.query.get("code", "")
    if "error" in request.query or not 0 < len(code) <= LONGEST_CODE:
        log.info("the provider let nobody in: %s", request.query.get("error", "no code")[:100])
        raise to_sign_in("provider", request)
    found = await identity(request, provider, code, began)
    signed = await vouch(request, provider, found)
    response = web.HTTPSeeOther(wanted)
    keep_session(request, response, signed.cookie)
    forget(request, response, COOKIE)
    raise response


async def identity(request: web.Request, provider: Provider, code: str, began: Began) -> Identity:
    try:
        async with request.app[OIDC_GATE].passed():
            endpoints = await provider.endpoints()
            issuer = request.query.get("iss")
            if issuer != provider.config.issuer and (issuer or endpoints.tells_issuer):
                raise BadToken("the answer is another provider's")
            return await provider.identity(code, began, back_of(request))
    except ProviderAway as error:
        log.error("the provider does not answer: %s", error)
        raise to_sign_in("away", request) from error
    except BadToken as error:
        log.warning("what came back from the provider is refused: %s", error)
        raise to_sign_in("provider", request) from error


async def vouch(request: web.Request, provider: Provider, found: Identity) -> SignedIn:
    message = Vouched(
        issuer=provider.config.issuer,
        subject=found.subject,
        name=found.name,
        email=found.email,
        groups=found.groups,
        address=client_address(request),
    )
    try:
        return await ask(request.app, "people", "vouched", message, SignedIn)
    except Refused as refusal:
        log.warning("%s is not let in: %s", found.name, refusal)
        raise to_sign_in("refused", request) from refusal
    except BusError as error:
        log.error("nobody can tell whether %s may come in: %s", found.name, error)
        raise to_sign_in("away", request) from error


def provider_of(request: web.Request) -> Provider:
    provider = request.app.get(OIDC)
    if provider is None:
        raise refuse(404, "no_provider", "There is no sign-in provider", "Sign in by password.")
    return provider


def begun(request: web.Request) -> tuple[Began | None, str]:
    parts = request.cookies.get(cookie_name(request, COOKIE), "").split("~")
    if len(parts) != 4 or not all(parts):
        return None, "/"
    try:
        wanted = bytes.fromhex(parts[3]).decode()
    except ValueError:
        return None, "/"
    return Began(*parts[:3]), own_path(wanted)


def same(told: str, known: str) -> bool:
    return hmac.compare_digest(told.encode(), known.encode())


def back_of(request: web.Request) -> str:
    """Must be registered at the provider; ``Host`` was looked at before."""
    return f"{'https' if is_secure(request) else 'http'}://{host_of(request)}{BACK}"


def to_sign_in(trouble: str, request: web.Request | None = None) -> web.HTTPSeeOther:
    response = web.HTTPSeeOther(f"{SIGN_IN}?trouble={trouble}")
    if request is not None:
        forget(request, response, COOKIE)
    return response
