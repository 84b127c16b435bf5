"""What do all requests of ``people`` share: the book, who asks, what is written down?"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from bus.audit import note_late
from bus.connection import Bus
from bus.errors import BusError, Conflict, Refused
from schemas.audit import AuditEntry, Deed
from schemas.ids import USER_NAME
from schemas.people import Principal, Role, Way
from schemas.people_requests import AskedBy
from schemas.problem import Problem
from services.people.book import Book
from services.people.config import PeopleConfig
from services.people.kept import (
    ADMINS,
    KEY,
    Admins,
    Session,
    SigningKey,
    Token,
    User,
    session_key,
    token_key,
    user_key,
)
from services.people.passes import Maker
from services.people.passwords import Passwords
from services.people.throttle import Throttle

T = TypeVar("T")
RACES = 50
"""Lost ones before the asker is told to come back."""
TEAMS_AGE = 5.0
"""Seconds for which it is believed who is in which team."""


@dataclass
class Desk:
    """One replica. All that it knows lies in the bucket; what it remembers is soon read again."""

    bus: Bus
    config: PeopleConfig
    maker: Maker
    clock: Callable[[], float] = time.time
    book: Book = field(init=False)
    passwords: Passwords = field(init=False)
    throttle: Throttle = field(init=False)
    _teams: dict[str, frozenset[str]] = field(init=False, default_factory=dict)
    _teams_at: float = field(init=False, default=-TEAMS_AGE)

    def __post_init__(self) -> None:
        self.book = Book(self.bus)
        self.passwords = Passwords(self.config.hashes_at_once, self.config.hashes_waiting)
        self.throttle = Throttle(self.book, self.clock)

    async def user(self, name: str) -> User | None:
        found = await self.book.get(user_key(name), User)
        return found.value if found else None

    async def admins(self) -> Admins:
        found = await self.book.get(ADMINS, Admins)
        return found.value if found else Admins(first="")

    async def sees(self, user: User, role: Role) -> tuple[str, ...] | None:
        """Whose jobs: their own and those of everybody who shares a team with them."""
        if role is Role.ADMIN:
            return None
        if not user.teams:
            return (user.name,)
        if time.monotonic() - self._teams_at > TEAMS_AGE:
            await self._read_teams()
        others = (self._teams.get(team, frozenset()) for team in user.teams)
        return tuple(sorted({user.name}.union(*others)))

    async def _read_teams(self) -> None:
        teams: dict[str, set[str]] = {}
        for kept in (await self.book.all("user", User)).values():
            for team in kept.value.teams:
                teams.setdefault(team, set()).add(kept.value.name)
        self._teams = {team: frozenset(names) for team, names in teams.items()}
        self._teams_at = time.monotonic()

    def forget_teams(self) -> None:
        self._teams_at = -TEAMS_AGE

    async def asker(self, asked: AskedBy, least: Role = Role.VIEWER) -> Principal:
        """Who asks, as they are now: the page may have known them a moment ago.

        Refused with 401 where they are nobody any more, with 403 where they are less than that.
        """
        who = asked.who if asked.who.way is Way.LOCAL else await self._now(asked.who)
        if who.role.rank < least.rank:
            raise refused("not_allowed", f"that needs a user of the role {least}", 403)
        return who

    async def _now(self, who: Principal) -> Principal:
        user = await self.user(who.name) if USER_NAME.fullmatch(who.name) else None
        if user is None or not await self._holds(user, who):
            raise not_signed_in()
        role = role_of(user, await self.admins()).capped(who.role)
        return who.model_copy(update={"role": role, "sees": await self.sees(user, role)})

    async def _holds(self, user: User, who: Principal) -> bool:
        """Whether the session or the token that they came with still counts."""
        if not who.key.isalnum():
            return False
        match who.way:
            case Way.SESSION:
                session = await self.book.get(session_key(user.name, who.key), Session)
                return session is not None and session.value.user_id == user.id
            case Way.TOKEN:
                token = await self.book.get(token_key(user.name, who.key), Token)
                if token is None or token.value.revoked_at:
                    return False
                return token.value.user_id == user.id
        return False

    async def note(
        self, deed: Deed, who: str, target: str = "", detail: str = "", address: str = ""
    ) -> None:
        entry = AuditEntry(
            at=self.clock(), deed=deed, who=who, target=target, detail=detail, address=address
        )
        await note_late(self.bus, "people", entry)


def role_of(user: User, admins: Admins) -> Role:
    return Role.ADMIN if admins.ids.get(user.name) == user.id else user.role


async def until_won(change: Callable[[], Awaitable[T]]) -> T:
    """Repeats a change that reads and writes for as long as somebody else is faster."""
    for _ in range(RACES):
        try:
            return await change()
        except Conflict:
            continue
    raise BusError(f"{RACES} others were faster")


async def open_desk(bus: Bus, config: PeopleConfig, clock: Callable[[], float] = time.time) -> Desk:
    """With the key that all replicas share; the first of them makes it."""
    book = Book(bus)

    async def shared() -> bytes:
        found = await book.get(KEY, SigningKey)
        if found is None:
            made = SigningKey(key=secrets.token_bytes(32))
            await book.write(KEY, made, 0)
            return made.key
        return found.value.key

    return Desk(bus, config, Maker(await until_won(shared)), clock)


def refused(code: str, detail: str, status: int = 422, field: str | None = None) -> Refused:
    title = detail[:1].upper() + detail[1:]
    return Refused(Problem(code=code, title=title, detail=detail, status=status, field=field))


def not_signed_in() -> Refused:
    return refused("not_signed_in", "sign in first", 401)


def life(seconds: float, longest: float, what: str) -> float:
    if not 1 <= seconds <= longest:
        raise refused("bad_life", f"{what} counts for 1 second to {longest / 86_400:g} days")
    return seconds
