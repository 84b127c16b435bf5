"""Whose is this cookie, token or link?"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TypeVar

from bus.errors import BusError
from schemas.message import Message
from schemas.people import Principal, Role, Way
from schemas.people_requests import Check
from services.people.book import Kept
from services.people.desk import Desk, not_signed_in, role_of
from services.people.kept import Session, Share, Token, User, session_key, share_key, token_key
from services.people.passes import Pass, read_plain, read_token

M = TypeVar("M", bound=Message)
NOBODY = ""
"""The name of whoever has the link of a job."""


class Checking:
    """Refuses with 401 whatever does not count, and says no more about it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def on_check(self, asked: Check, subject: str) -> Principal:
        found: Principal | None = None
        match asked.kind:
            case Way.SESSION:
                found = await self.session(asked.value)
            case Way.TOKEN:
                found = await self.token(asked.value)
            case Way.SHARE:
                found = await self.share(asked.value)
        if found is None:
            raise not_signed_in()
        return found

    async def session(self, cookie: str) -> Principal | None:
        one = self._desk.maker.read_cookie(cookie)
        if one is None:
            return None
        kept, user = await asyncio.gather(
            self._desk.book.get(session_key(one.name, one.id), Session), self._desk.user(one.name)
        )
        if kept is None or user is None or not one.proves(kept.value.digest):
            return None
        session, now = kept.value, self._desk.clock()
        ends = session_ends(session, self._desk)
        if session.user_id != user.id or now >= ends:
            return None
        if now - session.seen_at > self._desk.config.seen_every:
            await self._touch(session_key(one.name, one.id), kept, {"seen_at": now})
        return await self.principal(user, Way.SESSION, one, ends)

    async def token(self, text: str) -> Principal | None:
        one = read_token(text)
        if one is None:
            return None
        kept, user = await asyncio.gather(
            self._desk.book.get(token_key(one.name, one.id), Token), self._desk.user(one.name)
        )
        if kept is None or user is None or not one.proves(kept.value.digest):
            return None
        token, now = kept.value, self._desk.clock()
        late = token.expires_at is not None and now >= token.expires_at
        if token.user_id != user.id or token.revoked_at or late:
            return None
        if now - (token.used_at or 0.0) > self._desk.config.used_every:
            await self._touch(token_key(one.name, one.id), kept, {"used_at": now})
        return await self.principal(user, Way.TOKEN, one, token.expires_at, token.scope)

    async def share(self, text: str) -> Principal | None:
        one = read_plain(text)
        kept = one and await self._desk.book.get(share_key(one.name, one.id), Share)
        if one is None or kept is None or not one.proves(kept.value.digest):
            return None
        share = kept.value
        if share.revoked_at or self._desk.clock() >= share.expires_at:
            return None
        if share.user_id:
            user = await self._desk.user(share.by)
            if user is None or user.id != share.user_id:
                return None
        return Principal(
            name=NOBODY, role=Role.VIEWER, jobs=(one.name,), way=Way.SHARE, key=one.id,
            expires_at=share.expires_at,
        )  # fmt: skip

    async def principal(
        self, user: User, way: Way, one: Pass, expires_at: float | None, scope: Role = Role.ADMIN
    ) -> Principal:
        role = role_of(user, await self._desk.admins()).capped(scope)
        sees = await self._desk.sees(user, role)
        return Principal(
            name=user.name, role=role, sees=sees, way=way, key=one.id, expires_at=expires_at
        )

    async def _touch(self, key: str, kept: Kept[M], noted: dict[str, float]) -> None:
        """Another request may have noted it in the same moment, or ended it: both are right."""
        with contextlib.suppress(BusError):
            fresh = kept.value.model_copy(update=noted)
            await self._desk.book.write(key, fresh, kept.revision)


def session_ends(session: Session, desk: Desk) -> float:
    return min(session.created_at + desk.config.life, session.seen_at + desk.config.idle)
