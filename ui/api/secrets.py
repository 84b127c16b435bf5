"""How does somebody set, list and remove their own secrets? A value never comes back."""

from __future__ import annotations

from aiohttp import web

from bus.boxes import seal
from bus.codec import encode
from schemas.message import Empty
from schemas.secret import (
    SECRET_NAME,
    AskKey,
    ListSecrets,
    RemoveSecret,
    SealingKey,
    SecretList,
    SecretValue,
    SetSecret,
)
from ui.admission import who
from ui.api.common import ask, json_answer, json_body
from ui.problems import refuse
from ui.secret_views import SecretBody
from ui.security import client_address


async def list_secrets(request: web.Request) -> web.Response:
    message = ListSecrets(owner=who(request).name)
    return json_answer(await ask(request.app, "secrets", "list", message, SecretList))


async def set_secret(request: web.Request) -> web.Response:
    """Sealed here for the service: whoever listens on the bus hears nothing of it."""
    owner, name = who(request).name, name_of(request)
    value = SecretBody.model_validate(await json_body(request)).data()
    key = (await ask(request.app, "secrets", "key", AskKey(), SealingKey)).key
    told = SecretValue(owner=owner, name=name, value=value)
    message = SetSecret(
        owner=owner, name=name, sealed=seal(key, encode(told)[0]), address=client_address(request)
    )
    await ask(request.app, "secrets", "set", message, Empty)
    return web.Response(status=204)


async def remove_secret(request: web.Request) -> web.Response:
    owner, name = who(request).name, name_of(request)
    known = await ask(request.app, "secrets", "list", ListSecrets(owner=owner), SecretList)
    if name not in {one.name for one in known.secrets}:
        detail = f"You have no secret {name}."
        raise refuse(404, "no_such_secret", "There is no such secret", detail)
    message = RemoveSecret(owner=owner, name=name, address=client_address(request))
    await ask(request.app, "secrets", "remove", message, Empty)
    return web.Response(status=204)


def name_of(request: web.Request) -> str:
    name = request.match_info["name"]
    if not SECRET_NAME.match(name):
        raise refuse(
            422,
            "bad_name",
            "This is no secret's name",
            "A name has letters, digits and '_', and does not begin with a digit; at most 120.",
        )
    return name
