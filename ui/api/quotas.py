"""How much may somebody have, how much do they have now, and how does an admin change it?"""

from __future__ import annotations

import asyncio

from aiohttp import web

from schemas.ids import USER_NAME
from schemas.quota import GetUsage, ListQuotas, Quotas, SetQuota, Usage
from ui.admission import who
from ui.api.common import ask, json_answer, json_body
from ui.problems import refuse
from ui.quota_views import QuotaBody, QuotaList, QuotaView, Used
from ui.security import client_address


async def show_own_quota(request: web.Request) -> web.Response:
    return json_answer(await quota_of(request.app, who(request).name))


async def show_quota(request: web.Request) -> web.Response:
    return json_answer(await quota_of(request.app, user_of(request)))


async def list_quotas(request: web.Request) -> web.Response:
    quotas = await ask(request.app, "scheduler", "quotas", ListQuotas(), Quotas)
    return json_answer(QuotaList(everybody=quotas.everybody, users=quotas.users))


async def set_quota(request: web.Request) -> web.Response:
    """What is not named stays; repeated, it is the same."""
    user = user_of(request)
    body = QuotaBody.model_validate(await json_body(request))
    message = SetQuota(
        user=user,
        limits=body.limits,
        clear=body.clear,
        by=who(request).name,
        address=client_address(request),
    )
    await ask(request.app, "scheduler", "set-quota", message, Quotas)
    return json_answer(await quota_of(request.app, user))


async def quota_of(app: web.Application, user: str) -> QuotaView:
    quotas, usage = await asyncio.gather(
        ask(app, "scheduler", "quotas", ListQuotas(user=user), Quotas),
        ask(app, "catalog", "usage", GetUsage(user=user), Usage),
    )
    own = next((one for one in quotas.users if one.user == user), None)
    return QuotaView(
        user=user,
        limits=quotas.of(user),
        own=tuple(sorted(own.limits)) if own else (),
        used=Used(running=usage.running, queued=usage.queued, storage=usage.storage),
    )


def user_of(request: web.Request) -> str:
    user = request.match_info["user"]
    if not USER_NAME.match(user):
        raise refuse(404, "unknown_user", "There is no such user", f"{user[:64]!r} is no name.")
    return user
