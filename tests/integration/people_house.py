"""The service ``people`` on a real nats-server, with a clock that tests turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import pytest

from bus import subjects
from bus.codec import decode
from bus.connection import Bus
from bus.errors import Refused
from bus.follow import follow
from bus.kv import Bucket
from schemas.audit import AuditEntry
from schemas.message import Empty, Message
from schemas.people import Principal, Role, Way
from schemas.people_requests import (
    Check,
    First,
    FirstAdmin,
    MadeLink,
    MadeToken,
    MakeLink,
    MakeToken,
    PutUser,
    SetPassword,
    SignedIn,
    SignIn,
    UserView,
)
from services.people.config import PeopleConfig
from services.people.service import run

M = TypeVar("M", bound=Message)
PASSWORD = "four words that fit"
HERE = "192.0.2.7"
LOCAL = Principal(name="local", role=Role.ADMIN, sees=None, way=Way.LOCAL)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class People:
    """Asks as the page does."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self.bus = bus
        self.clock = clock
        self.bucket = Bucket(bus, "people")

    async def ask(self, verb: str, message: Message, answer: type[M]) -> M:
        return await self.bus.request(subjects.request("people", verb), message, answer)

    async def refused(self, verb: str, message: Message) -> Refused:
        with pytest.raises(Refused) as caught:
            await self.ask(verb, message, Empty)
        return caught.value

    async def add(self, name: str, role: Role = Role.MEMBER, **more: Any) -> UserView:
        asked = PutUser(who=LOCAL, user=name, role=role, **more)
        return await self.ask("put_user", asked, UserView)

    async def link(self, name: str, **more: Any) -> str:
        asked = MakeLink(who=LOCAL, user=name, **more)
        return (await self.ask("link", asked, MadeLink)).link

    async def enter(self, name: str) -> SignedIn:
        """By a one-time link."""
        asked = SignIn(link=await self.link(name), address=HERE)
        return await self.ask("sign_in", asked, SignedIn)

    async def with_password(self, name: str, role: Role = Role.MEMBER) -> SignedIn:
        """A user with a password; signed in."""
        await self.add(name, role)
        entered = await self.enter(name)
        asked = SetPassword(who=entered.principal, new=PASSWORD)
        await self.ask("set_password", asked, Empty)
        return entered

    async def check(self, value: str, kind: Way = Way.SESSION) -> Principal | None:
        """None where it does not count."""
        try:
            return await self.ask("check", Check(kind=kind, value=value), Principal)
        except Refused as error:
            if error.problem.code != "not_signed_in":
                raise
            return None

    async def token(self, who: Principal, scope: Role = Role.MEMBER, **more: Any) -> MadeToken:
        asked = MakeToken(who=who, name="laptop", scope=scope, **more)
        return await self.ask("make_token", asked, MadeToken)

    async def first(self, name: str = "ada") -> FirstAdmin:
        return await self.ask("first", First(name=name), FirstAdmin)

    async def audit(self) -> list[AuditEntry]:
        entries = follow(self.bus, "AUDIT", subjects.AUDIT_ALL, stop_at_end=True)
        return [decode(AuditEntry, one.data, one.headers) async for one in entries]


@contextlib.asynccontextmanager
async def people_house(
    bus: Bus, config: PeopleConfig | None = None, replicas: int = 1
) -> AsyncIterator[People]:
    clock = Clock()
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(run(bus, config or PeopleConfig(), clock)) for _ in range(replicas)
        ]
        yield People(bus, clock)
        for task in running:
            task.cancel()
