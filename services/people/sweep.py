"""What has run out, and goes?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TypeVar

from bus.errors import BusError
from schemas.message import Message
from services.people.book import Kept
from services.people.checking import session_ends
from services.people.desk import Desk
from services.people.kept import Link, Session, Share, Token, Tries, User
from services.people.throttle import FORGOTTEN

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)
KEPT = 86_400.0
"""Seconds for which what ended is remembered: a late repetition must not make it anew."""
SHOWN = 30 * 86_400.0
"""Seconds for which a token that has run out is still shown as such."""


async def sweep(desk: Desk) -> None:
    """For ever. Nothing depends on it but room: what has run out does not count."""
    while True:
        try:
            await tidy(desk)
        except BusError as error:
            log.warning("people cannot be swept: %s", error)
        except Exception:
            log.exception("the sweep of people failed")
        await asyncio.sleep(desk.config.sweep_every)


async def tidy(desk: Desk) -> None:
    now = desk.clock()
    ids = {one.value.name: one.value.id for one in (await read(desk, "user", User)).values()}

    def gone(key: str, user_id: str) -> bool:
        return ids.get(key.split(".")[1]) != user_id

    for key, session in (await read(desk, "session", Session)).items():
        late = now > session_ends(session.value, desk)
        await erase_if(desk, session, late or gone(key, session.value.user_id))
    for key, token in (await read(desk, "token", Token)).items():
        ended = now > (token.value.expires_at or now) + SHOWN
        revoked = token.value.revoked_at is not None and now > token.value.revoked_at + KEPT
        await erase_if(desk, token, ended or revoked or gone(key, token.value.user_id))
    for key, link in (await read(desk, "link", Link)).items():
        late = now > link.value.expires_at + KEPT
        await erase_if(desk, link, late or gone(key, link.value.user_id))
    for share in (await read(desk, "share", Share)).values():
        ended = now > share.value.expires_at + KEPT
        revoked = share.value.revoked_at is not None and now > share.value.revoked_at + KEPT
        await erase_if(desk, share, ended or revoked)
    for tries in (await read(desk, "tries", Tries)).values():
        await erase_if(desk, tries, now > tries.value.at + FORGOTTEN)


async def read(desk: Desk, below: str, kind: type[M]) -> Mapping[str, Kept[M]]:
    return await desk.book.all(below, kind)


async def erase_if(desk: Desk, kept: Kept[M], over: bool) -> None:
    if over:
        await desk.book.erase_at(kept.revision)
