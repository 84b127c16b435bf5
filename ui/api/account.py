"""What can somebody do about their own account: password, sessions, tokens?"""

from __future__ import annotations

from aiohttp import web

from schemas.message import Empty
from schemas.people import Way
from schemas.people_requests import (
    EndSessions,
    ListSessions,
    ListTokens,
    MadeToken,
    MakeToken,
    RevokeToken,
    SessionList,
    SetPassword,
    TokenList,
)
from ui.admission import who
from ui.api.common import ask, json_answer, json_body
from ui.api.people import asked, nothing, request_id
from ui.keys import PRINCIPALS
from ui.people_views import PasswordBody, TokenBody
from ui.problems import HttpProblem, refuse


async def set_password(request: web.Request) -> web.Response:
    body = PasswordBody.model_validate(await json_body(request))
    message = asked(request, SetPassword, **body.model_dump())
    await ask(request.app, "people", "set_password", message, Empty)
    request.app[PRINCIPALS].forget_all()
    return nothing()


async def list_sessions(request: web.Request) -> web.Response:
    message = asked(request, ListSessions)
    return json_answer(await ask(request.app, "people", "sessions", message, SessionList))


async def end_sessions(request: web.Request) -> web.Response:
    """All but the one that asks."""
    message = asked(request, EndSessions)
    await ask(request.app, "people", "end_sessions", message, Empty)
    request.app[PRINCIPALS].forget_all()
    return nothing()


async def list_tokens(request: web.Request) -> web.Response:
    message = asked(request, ListTokens, every=request.query.get("every") == "1")
    return json_answer(await ask(request.app, "people", "tokens", message, TokenList))


async def make_token(request: web.Request) -> web.Response:
    body = TokenBody.model_validate(await json_body(request))
    asker = who(request)
    if body.scope.rank > asker.role.rank:
        raise too_wide(asker.way)
    message = asked(
        request,
        MakeToken,
        name=body.name,
        scope=body.scope,
        life=body.seconds,
        user=body.user,
        request=request_id(request),
    )
    return json_answer(await ask(request.app, "people", "make_token", message, MadeToken), 201)


async def revoke_token(request: web.Request) -> web.Response:
    message = asked(request, RevokeToken, id=request.match_info["token"][:64])
    await ask(request.app, "people", "revoke_token", message, Empty)
    request.app[PRINCIPALS].forget_all()
    return nothing()


def too_wide(way: Way) -> HttpProblem:
    """A token that may only look must not make one that may more."""
    mine = "this token" if way is Way.TOKEN else "you"
    return refuse(
        403, "scope_too_wide", "The scope is too wide", f"A token may do no more than {mine} may."
    )
