"""How are the requests about people answered?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from bus import subjects
from bus.connection import Bus
from bus.serve import Route, serve
from schemas.people_requests import (
    Check,
    EndSessions,
    First,
    ListSessions,
    ListShares,
    ListTokens,
    ListUsers,
    MakeLink,
    MakeToken,
    PutUser,
    RemoveUser,
    RevokeToken,
    SetPassword,
    ShareJob,
    SignIn,
    SignOut,
    Unshare,
    Vouched,
)
from services.people.checking import Checking
from services.people.config import PeopleConfig
from services.people.desk import Desk, open_desk
from services.people.first import welcome
from services.people.shares import Shares
from services.people.signing import Signing
from services.people.sweep import sweep
from services.people.tokens import Tokens
from services.people.users import Users
from services.people.vouching import Vouching

log = logging.getLogger(__name__)


async def run(
    bus: Bus, config: PeopleConfig | None = None, clock: Callable[[], float] = time.time
) -> None:
    """Until cancelled; any number of replicas. ``clock`` tells Unix seconds."""
    desk = await open_desk(bus, config or PeopleConfig(), clock)
    users = Users(desk)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sweep(desk))
        if desk.config.first:
            await welcome(desk, users)
        await serve(bus, routes(desk, users), "people")


def routes(desk: Desk, users: Users) -> dict[str, Route]:
    checking = Checking(desk)
    signing = Signing(desk, checking)
    vouching = Vouching(desk, users, signing)
    tokens, shares = Tokens(desk), Shares(desk)
    table = {
        "check": Route(Check, checking.on_check, 1024),
        "sign_in": Route(SignIn, signing.on_sign_in),
        "sign_out": Route(SignOut, signing.on_sign_out),
        "sessions": Route(ListSessions, signing.on_sessions),
        "end_sessions": Route(EndSessions, signing.on_end_sessions),
        "set_password": Route(SetPassword, signing.on_set_password),
        "vouched": Route(Vouched, vouching.on_vouched),
        "users": Route(ListUsers, users.on_users),
        "put_user": Route(PutUser, users.on_put),
        "remove_user": Route(RemoveUser, users.on_remove),
        "link": Route(MakeLink, users.on_link),
        "first": Route(First, users.on_first),
        "tokens": Route(ListTokens, tokens.on_tokens),
        "make_token": Route(MakeToken, tokens.on_make),
        "revoke_token": Route(RevokeToken, tokens.on_revoke),
        "shares": Route(ListShares, shares.on_shares),
        "share": Route(ShareJob, shares.on_share),
        "unshare": Route(Unshare, shares.on_unshare),
    }
    return {subjects.request("people", verb): route for verb, route in table.items()}
