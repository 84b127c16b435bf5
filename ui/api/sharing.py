"""How is one job shown to somebody who has no account? By a link, which can be taken back."""

from __future__ import annotations

from aiohttp import web

from bus.errors import Refused
from schemas.message import Empty
from schemas.people import Principal, Way
from schemas.people_requests import Check, ListShares, MadeShare, ShareJob, ShareList, Unshare
from ui.api.common import ask, json_answer, json_body, stored_job
from ui.api.people import asked, life, nothing, request_id
from ui.credentials import fits, keep_share
from ui.keys import CONFIG, PRINCIPALS
from ui.pages import void_page
from ui.people_views import LifeBody, ShareLink


async def share_job(request: web.Request) -> web.Response:
    job = (await stored_job(request)).record.id
    body = LifeBody.model_validate(await json_body(request))
    message = asked(request, ShareJob, **life(body), job=job, request=request_id(request))
    made = await ask(request.app, "people", "share", message, MadeShare)
    return json_answer(ShareLink(link=f"/shared/{made.secret}", share=made.share), 201)


async def list_shares(request: web.Request) -> web.Response:
    job = (await stored_job(request)).record.id
    message = asked(request, ListShares, job=job)
    return json_answer(await ask(request.app, "people", "shares", message, ShareList))


async def unshare_job(request: web.Request) -> web.Response:
    job = (await stored_job(request)).record.id
    message = asked(request, Unshare, job=job, id=request.match_info["share"][:64])
    await ask(request.app, "people", "unshare", message, Empty)
    request.app[PRINCIPALS].forget_all()
    return nothing()


async def shared_page(request: web.Request) -> web.StreamResponse:
    """Opens the job of a link: the browser keeps the secret in a cookie, the address loses it."""
    secret = request.match_info["secret"]
    found = await shared(request, secret) if request.app[CONFIG].sign_in and fits(secret) else None
    if found is None or not found.jobs:
        return void_page(request)
    response = web.HTTPSeeOther(f"/jobs/{found.jobs[0]}")
    keep_share(request, response, secret)
    raise response


async def shared(request: web.Request, secret: str) -> Principal | None:
    try:
        message = Check(kind=Way.SHARE, value=secret)
        return await ask(request.app, "people", "check", message, Principal)
    except Refused:
        return None
