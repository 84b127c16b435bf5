"""By what does a request show who asks: a token, a session's cookie, the links that it opened?"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from schemas.people import Way
from ui.security import is_secure

SESSION_COOKIE = "stoker"
SHARES_COOKIE = "stoker-shares"
SESSION_SECONDS = 7 * 86_400
SHARES_SECONDS = 30 * 86_400
"""How long the browser keeps a cookie at most; the service ends what it stands for sooner."""
MOST_SHARES = 8
"""Links that one browser has open; the oldest goes."""
LONGEST = 512
"""Characters of a cookie or a token."""
BEARER = "bearer"
BETWEEN = "~"
"""Stands in no secret, and needs no quotes in a cookie."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What the service ``people`` is asked about."""

    kind: Way
    value: str


@dataclass(frozen=True, slots=True)
class Shown:
    """All that came with one request."""

    person: Credential | None = None
    shares: tuple[Credential, ...] = ()
    """Newest first."""

    @property
    def anything(self) -> bool:
        return self.person is not None or bool(self.shares)


def shown_by(request: web.Request) -> Shown:
    """A token counts alone: no cookie makes it more than it is."""
    token = bearer_of(request)
    if token is not None:
        return Shown(Credential(Way.TOKEN, token))
    session = request.cookies.get(cookie_name(request, SESSION_COOKIE), "")
    person = Credential(Way.SESSION, session) if fits(session) else None
    return Shown(person, tuple(Credential(Way.SHARE, value) for value in shares_of(request)))


def bearer_of(request: web.Request) -> str | None:
    """Empty where the header is there and holds no token."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != BEARER:
        return None
    value = value.strip()
    return value if fits(value) else ""


def shares_of(request: web.Request) -> list[str]:
    text = request.cookies.get(cookie_name(request, SHARES_COOKIE), "")
    return [value for value in text.split(BETWEEN)[:MOST_SHARES] if fits(value)]


def fits(value: str) -> bool:
    return bool(value) and len(value) <= LONGEST and value.isascii() and value.isprintable()


def has_cookie(request: web.Request) -> bool:
    """Whether the browser sent something by itself that says who asks."""
    names = (SESSION_COOKIE, SHARES_COOKIE)
    return any(cookie_name(request, name) in request.cookies for name in names)


def cookie_name(request: web.Request, name: str) -> str:
    """Over HTTPS the browser takes it from this very host alone, and from no plain page."""
    return f"__Host-{name}" if is_secure(request) else name


def keep_session(request: web.Request, response: web.StreamResponse, value: str) -> None:
    keep(request, response, SESSION_COOKIE, value, SESSION_SECONDS)


def keep_share(request: web.Request, response: web.StreamResponse, value: str) -> None:
    kept = [value, *(other for other in shares_of(request) if other != value)]
    keep(request, response, SHARES_COOKIE, BETWEEN.join(kept[:MOST_SHARES]), SHARES_SECONDS)


def keep(
    request: web.Request, response: web.StreamResponse, name: str, value: str, seconds: int
) -> None:
    response.set_cookie(
        cookie_name(request, name),
        value,
        max_age=seconds,
        path="/",
        secure=is_secure(request),
        httponly=True,
        samesite="Lax",
    )


def forget(request: web.Request, response: web.StreamResponse, name: str = SESSION_COOKIE) -> None:
    response.del_cookie(
        cookie_name(request, name),
        path="/",
        secure=is_secure(request),
        httponly=True,
        samesite="Lax",
    )
