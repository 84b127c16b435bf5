"""How does somebody come in and go out?"""

from __future__ import annotations

from bus.errors import Conflict
from schemas.audit import Deed
from schemas.ids import USER_NAME
from schemas.message import Empty
from schemas.people import Way
from schemas.people_requests import (
    EndSessions,
    ListSessions,
    SessionList,
    SessionView,
    SetPassword,
    SignedIn,
    SignIn,
    SignOut,
)
from services.people.book import Kept
from services.people.checking import Checking, session_ends
from services.people.desk import Desk, refused, until_won
from services.people.kept import Link, Session, User, link_key, session_key, user_key
from services.people.passes import Pass, read_plain
from services.people.passwords import LONGEST, weakness

MOST_SESSIONS = 50
"""Of one user at a time; the one that was not used for longest goes."""
FRESH_LINK = 3600.0
"""Seconds for which a session that began by a link may set a password without the old one."""


class Signing:
    def __init__(self, desk: Desk, checking: Checking) -> None:
        self._desk = desk
        self._checking = checking

    async def on_sign_in(self, asked: SignIn, subject: str) -> SignedIn:
        if asked.link:
            return await self._by_link(asked)
        return await self._by_password(asked)

    async def on_sign_out(self, asked: SignOut, subject: str) -> Empty:
        one = self._desk.maker.read_cookie(asked.cookie)
        if one is not None and await self._desk.book.erase(session_key(one.name, one.id)):
            await self._desk.note(Deed.SIGN_OUT, one.name, address=asked.address)
        return Empty()

    async def on_sessions(self, asked: ListSessions, subject: str) -> SessionList:
        who = await self._desk.asker(asked)
        kept = await self._kept(who.name)
        views = [self._view(key, one.value) for key, one in kept.items()]
        now = self._desk.clock()
        current = (view for view in views if view.expires_at > now)
        return SessionList(
            sessions=tuple(sorted(current, key=lambda view: view.seen_at, reverse=True))
        )

    async def on_end_sessions(self, asked: EndSessions, subject: str) -> Empty:
        who = await self._desk.asker(asked)
        if await self.end_sessions(who.name, but=who.key if who.way is Way.SESSION else ""):
            await self._desk.note(
                Deed.SIGN_OUT, who.name, who.name, "all other sessions", asked.address
            )
        return Empty()

    async def on_set_password(self, asked: SetPassword, subject: str) -> Empty:
        who = await self._desk.asker(asked)
        if who.way is not Way.SESSION:
            raise refused("not_allowed", "a password is set from a page that has signed in", 403)
        if why := weakness(asked.new, who.name):
            raise refused("weak_password", why, field="new")
        await self._check_old(asked)
        fresh = await self._desk.passwords.hash(asked.new)

        async def change() -> None:
            found = await self._desk.book.get(user_key(who.name), User)
            if found is not None:
                user = found.value.model_copy(update={"password": fresh})
                await self._desk.book.write(user_key(who.name), user, found.revision)

        await until_won(change)
        await self.end_sessions(who.name, but=who.key)
        await self._desk.note(Deed.USER_PUT, who.name, who.name, "password", asked.address)
        return Empty()

    async def begin(self, user: User, one: Pass, way: str, address: str) -> SignedIn:
        """A session with that secret; the same again where it has begun already."""
        now = self._desk.clock()
        session = Session(
            user_id=user.id, digest=one.digest, by_link=way == "link", address=address,
            created_at=now, seen_at=now,
        )  # fmt: skip
        try:
            await self._make_room(user.name)
            await self._desk.book.write(session_key(user.name, one.id), session, 0)
        except Conflict:
            pass  # The request was repeated.
        else:
            await self._seen(user.name, now)
            await self._desk.note(Deed.SIGN_IN, user.name, user.name, f"by {way}", address)
        who = await self._checking.principal(
            user, Way.SESSION, one, session_ends(session, self._desk)
        )
        cookie = self._desk.maker.cookie(one)
        return SignedIn(cookie=cookie, principal=who, password=bool(user.password))

    async def end_sessions(self, name: str, but: str = "") -> int:
        """How many there were, but the one of that id."""
        others = [key for key in await self._kept(name) if key != session_key(name, but)]
        for key in others:
            await self._desk.book.erase(key)
        return len(others)

    async def _kept(self, name: str) -> dict[str, Kept[Session]]:
        return await self._desk.book.all(f"session.{name}", Session) if name else {}

    def _view(self, key: str, session: Session) -> SessionView:
        return SessionView(
            id=key.rpartition(".")[2],
            created_at=session.created_at,
            seen_at=session.seen_at,
            expires_at=session_ends(session, self._desk),
            address=session.address,
        )

    async def _by_password(self, asked: SignIn) -> SignedIn:
        good = USER_NAME.fullmatch(asked.name) and len(asked.password) <= LONGEST
        name = asked.name if good else ""
        await self._desk.throttle.begin(name, asked.address)
        user = await self._desk.user(name) if name else None
        known = user.password if user else ""
        if not await self._desk.passwords.fits(asked.password[:LONGEST], known) or user is None:
            await self._refuse(name, "password", asked.address)
            raise refused("wrong_sign_in", "that name and password do not belong together", 401)
        await self._desk.throttle.right(name, asked.address)
        one = self._desk.maker.derive("session", user.name, asked.request)
        return await self.begin(user, one, "password", asked.address)

    async def _by_link(self, asked: SignIn) -> SignedIn:
        await self._desk.throttle.begin("", asked.address)
        link = read_plain(asked.link)
        user = await self._desk.user(link.name) if link else None
        one = self._desk.maker.derive("session", link.name if link else "", asked.request)
        if link is None or user is None or not await self._used(link, user, one):
            await self._refuse(link.name if link else "", "link", asked.address)
            raise refused(
                "wrong_link", "that link has been used, or has run out; ask for a new one", 401
            )
        await self._desk.throttle.right("", asked.address)
        return await self.begin(user, one, "link", asked.address)

    async def _used(self, link: Pass, user: User, session: Pass) -> bool:
        """Whether the link begins that session: one wins, however many hold it."""

        async def use() -> bool:
            found = await self._desk.book.get(link_key(link.name), Link)
            if found is None or not link.proves(found.value.digest):
                return False
            kept = found.value
            if kept.user_id != user.id or self._desk.clock() >= kept.expires_at:
                return False
            if kept.used_by:
                return session.proves(kept.used_by)
            used = kept.model_copy(update={"used_by": session.digest})
            await self._desk.book.write(link_key(link.name), used, found.revision)
            return True

        return await until_won(use)

    async def _refuse(self, name: str, way: str, address: str) -> None:
        await self._desk.note(Deed.SIGN_IN_REFUSED, name, name, f"by {way}", address)

    async def _check_old(self, asked: SetPassword) -> None:
        """Whoever just came by a link has shown enough; the name's tries count here, too."""
        who = asked.who
        user = await self._desk.user(who.name)
        session = await self._desk.book.get(session_key(who.name, who.key), Session)
        if user is None or not user.password:
            return
        recent = session and self._desk.clock() - session.value.created_at < FRESH_LINK
        if session and session.value.by_link and recent:
            return
        await self._desk.throttle.begin(who.name, asked.address)
        if not await self._desk.passwords.fits(asked.old[:LONGEST], user.password):
            raise refused("wrong_password", "that is not the password so far", 403, "old")
        await self._desk.throttle.right(who.name, asked.address)

    async def _make_room(self, name: str) -> None:
        kept = await self._kept(name)
        oldest = sorted(kept, key=lambda key: kept[key].value.seen_at)
        for key in oldest[: max(0, len(oldest) - MOST_SESSIONS + 1)]:
            await self._desk.book.erase(key)

    async def _seen(self, name: str, now: float) -> None:
        async def change() -> None:
            found = await self._desk.book.get(user_key(name), User)
            if found is not None:
                user = found.value.model_copy(update={"seen_at": now})
                await self._desk.book.write(user_key(name), user, found.revision)

        await until_won(change)
