"""Who is let in where? Each address names its action; one that names none is an admin's."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import aiohttp_jinja2
from aiohttp import web
from aiohttp.typedefs import Handler

from schemas.access import Action, may
from schemas.job import Record
from schemas.people import Principal, Role, Way
from ui.credentials import bearer_of, has_cookie, shown_by
from ui.keys import ACTIONS, CONFIG, PAGES_OF, PRINCIPAL, PRINCIPALS
from ui.principals import local
from ui.problems import HttpProblem, refuse, unknown_job
from ui.security import SAFE_METHODS, is_own, is_websocket

Address = tuple[str, str]
"""Method and path, as in the table of routes."""
SIGN_IN = "/sign-in"
STATIC = "/static"
LONGEST_NEXT = 2000


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets the handler run where its action is allowed; who asks is in ``request[PRINCIPAL]``."""
    if request.match_info.http_exception is not None:
        return await handler(request)  # nothing is there: 404 or 405
    action = action_of(request)
    if request.app[CONFIG].sign_in:
        check_cookies_origin(request)
    asker = None if action is Action.OPEN else await principal_of(request)
    request[PRINCIPAL] = asker
    job = request.match_info.get("job", "")
    if not may(asker, action, job=job) or looks_only(asker, action, request.method):
        return not_admitted(request, asker)
    return await handler(request)


def check_cookies_origin(request: web.Request) -> None:
    """A browser sends cookies by itself, whoever's page asks: then the page has to be ours.

    Raises 403. Requests with a token are exempt: no page can make a browser add one.
    """
    if request.method in SAFE_METHODS and not is_websocket(request):
        return
    if bearer_of(request) is not None or not has_cookie(request):
        return
    origin = request.headers.get("Origin")
    if origin is None and request.headers.get("Sec-Fetch-Site") == "same-origin":
        return
    if origin is None or not is_own(request, origin):
        raise refuse(
            403,
            "foreign_origin",
            "With a cookie, only Stoker's own page may do this",
            "A program sends a token as Authorization: Bearer, and no cookie.",
        )


def action_of(request: web.Request) -> Action:
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else ""
    if path == STATIC:
        return Action.OPEN
    method = "GET" if request.method == "HEAD" else request.method
    actions: Mapping[Address, Action] = request.app[ACTIONS]
    return actions.get((method, path), Action.ADMIN)


async def principal_of(request: web.Request) -> Principal | None:
    """Who asks; None for nobody. Raises ``BusError`` where nobody can tell."""
    config = request.app[CONFIG]
    if not config.sign_in:
        return local(config.owner)
    shown = shown_by(request)
    return await request.app[PRINCIPALS].of(shown) if shown.anything else None


def looks_only(asker: Principal | None, action: Action, method: str) -> bool:
    """A token that may only look changes nothing, not even its user's own account."""
    token = asker is not None and asker.way is Way.TOKEN and asker.role is Role.VIEWER
    return token and action is not Action.OPEN and method not in SAFE_METHODS


def not_admitted(request: web.Request, asker: Principal | None) -> web.Response:
    """Raises what a program is told. A guest by a link is nobody anywhere else."""
    page = is_page(request)
    if asker is None or asker.way is Way.SHARE:
        if page:
            raise web.HTTPSeeOther(sign_in_address(request))
        raise not_signed_in()
    if not page:
        raise forbidden(asker)
    told = {"page": "forbidden", "who": asker, "guest": False}
    response = aiohttp_jinja2.render_template("forbidden.html", request, told)
    response.set_status(403)
    return response


def is_page(request: web.Request) -> bool:
    """Whether a person sees the answer: they are sent to where they sign in."""
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else ""
    return request.method == "GET" and (request.method, path) in request.app[PAGES_OF]


def not_signed_in() -> HttpProblem:
    return refuse(
        401,
        "not_signed_in",
        "You are not signed in",
        "Sign in on the page, or send a token as Authorization: Bearer.",
    )


def forbidden(asker: Principal) -> HttpProblem:
    detail = f"{asker.name} is {asker.role} here; an admin can change that."
    if asker.way is Way.TOKEN:
        detail = f"This token of {asker.name} counts as {asker.role}; make one with a wider scope."
    return refuse(403, "forbidden", "You may not do this", detail)


def sign_in_address(request: web.Request) -> str:
    wanted = own_path(request.path_qs)
    return SIGN_IN if wanted == "/" else f"{SIGN_IN}?next={quote(wanted, safe='/')}"


def own_path(text: str) -> str:
    """A path on this server, whatever was asked for: nobody is sent on to somewhere else."""
    strange = any(character <= " " or character in "\\\x7f" for character in text)
    if strange or not text.startswith("/") or text.startswith("//") or len(text) > LONGEST_NEXT:
        return "/"
    try:
        parts = urlsplit(text)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc or parts.path.startswith(SIGN_IN) else text


def who(request: web.Request) -> Principal:
    """Who asks, behind an action that needs somebody."""
    found = request[PRINCIPAL]
    if found is None:
        raise not_signed_in()
    return found


def check_job(request: web.Request, record: Record) -> None:
    """Raises 404 where they do not see it, as if it were not there, and 403 where they may not."""
    asker = who(request)
    if not may(asker, Action.SEE_JOB, record.owner, record.id):
        raise unknown_job(record.id)
    if not may(asker, action_of(request), record.owner, record.id):
        raise forbidden(asker)
