"""How do people sign in and out, and how does an admin rule over them?"""

from __future__ import annotations

import logging
import re
from typing import Any, TypeVar

from aiohttp import web

from bus.errors import BusError
from schemas.ids import USER_NAME
from schemas.message import Empty
from schemas.people_requests import (
    AskedBy,
    ListUsers,
    MadeLink,
    MakeLink,
    PutUser,
    RemoveUser,
    SignedIn,
    SignIn,
    SignOut,
    UserList,
    UserView,
    fresh,
)
from schemas.secret import ForgetSecrets
from ui.admission import who
from ui.api.common import ask, json_answer, json_body
from ui.credentials import SESSION_COOKIE, cookie_name, forget, keep_session, shown_by
from ui.keys import CONFIG, PRINCIPALS
from ui.people_views import LifeBody, Me, SignInBody, SignInLink, UserBody
from ui.problems import refuse
from ui.security import client_address

log = logging.getLogger(__name__)

A = TypeVar("A", bound=AskedBy)
REQUEST = re.compile(r"^[A-Za-z0-9_-]{16,64}$")


async def sign_in(request: web.Request) -> web.Response:
    """The session goes into a cookie that no script can read, and nowhere else."""
    if not request.app[CONFIG].sign_in:
        raise refuse(404, "no_sign_in", "Nobody signs in here", "Sign-in is switched off.")
    body = SignInBody.model_validate(await json_body(request))
    message = SignIn(
        **body.model_dump(), address=client_address(request), request=request_id(request)
    )
    signed = await ask(request.app, "people", "sign_in", message, SignedIn)
    response = json_answer(Me(**signed.principal.model_dump(), password=signed.password))
    keep_session(request, response, signed.cookie)
    return response


async def sign_out(request: web.Request) -> web.Response:
    """Repeated, it is no error."""
    cookie = request.cookies.get(cookie_name(request, SESSION_COOKIE), "")
    person = shown_by(request).person
    if cookie and person is not None:
        message = SignOut(cookie=cookie, address=client_address(request))
        await ask(request.app, "people", "sign_out", message, Empty)
        request.app[PRINCIPALS].forget(person)
    response = nothing()
    forget(request, response)
    return response


async def show_me(request: web.Request) -> web.Response:
    return json_answer(who(request))


async def list_people(request: web.Request) -> web.Response:
    return json_answer(
        await ask(request.app, "people", "users", asked(request, ListUsers), UserList)
    )


async def put_person(request: web.Request) -> web.Response:
    body = UserBody.model_validate(await json_body(request))
    message = asked(
        request, PutUser, **body.model_dump(), user=user_of(request), request=request_id(request)
    )
    found = await ask(request.app, "people", "put_user", message, UserView)
    request.app[PRINCIPALS].forget_all()
    return json_answer(found)


async def remove_person(request: web.Request) -> web.Response:
    message = asked(request, RemoveUser, user=user_of(request))
    await ask(request.app, "people", "remove_user", message, Empty)
    request.app[PRINCIPALS].forget_all()
    await forget_secrets(request, message.user)
    return nothing()


async def forget_secrets(request: web.Request, user: str) -> None:
    """Somebody else may get the name one day."""
    try:
        await ask(request.app, "secrets", "forget", ForgetSecrets(owner=user), Empty)
    except BusError as error:
        log.error("the secrets of %s, who was removed, are still there: %s", user, error)


async def make_link(request: web.Request) -> web.Response:
    """The secret stands behind the ``#``: it reaches no server's log."""
    body = LifeBody.model_validate(await json_body(request))
    message = asked(
        request, MakeLink, **life(body), user=user_of(request), request=request_id(request)
    )
    made = await ask(request.app, "people", "link", message, MadeLink)
    return json_answer(SignInLink(link=f"/sign-in#link={made.link}", expires_at=made.expires_at))


def user_of(request: web.Request) -> str:
    user = request.match_info["user"]
    if not USER_NAME.match(user):
        raise refuse(
            422,
            "bad_name",
            "This is no user's name",
            "A name has small letters, digits, '-' and '_', and begins and ends with neither.",
        )
    return user


def asked(http: web.Request, kind: type[A], /, **values: Any) -> A:
    """A message that says who asks, and where from."""
    return kind(who=who(http), address=client_address(http), **values)


def life(body: LifeBody) -> dict[str, float]:
    return {} if body.seconds is None else {"life": body.seconds}


def request_id(request: web.Request) -> str:
    """Of the client where it names one: then a repeated request gets the same secret."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return fresh()
    if not REQUEST.match(given):
        raise refuse(
            422,
            "bad_key",
            "The Idempotency-Key is not valid",
            "Use 16 to 64 letters, digits, '-' and '_', at random.",
        )
    return given


def nothing() -> web.Response:
    return web.Response(status=204)
