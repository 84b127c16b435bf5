"""A page at which people sign in, and some people: with the real service behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from bus import subjects
from bus.connection import Bus
from bus.records import Records
from schemas.job import Fact, Record, State
from schemas.message import Message
from schemas.people import Principal, Role, Way
from schemas.people_requests import (
    MadeLink,
    MadeShare,
    MadeToken,
    MakeLink,
    MakeToken,
    PutUser,
    ShareJob,
    SignedIn,
    SignIn,
    UserView,
)
from schemas.spec import JobSpec
from services.catalog.service import CatalogConfig
from services.catalog.service import run as run_catalog
from services.people.config import PeopleConfig
from services.people.service import run as run_people
from ui.app import build_app, served
from ui.config import UiConfig
from ui.keys import PRINCIPALS

RULER = Principal(name="local", role=Role.ADMIN, sees=None, way=Way.LOCAL)
A = TypeVar("A", bound=Message)
Headers = dict[str, str]


@dataclass
class Town:
    """The page's address, and how its people come in without it."""

    bus: Bus
    url: str
    http: aiohttp.ClientSession
    """Without a jar: each request says itself who asks."""
    app: web.Application
    services: list[asyncio.Task[None]]
    """Of people, and of the catalog."""

    def forget(self) -> None:
        """As after the seconds for which the page believes what it was told."""
        self.app[PRINCIPALS].forget_all()

    async def ask(self, verb: str, message: Message, answer: type[A]) -> A:
        return await self.bus.request(subjects.request("people", verb), message, answer)

    async def person(self, name: str, role: Role = Role.MEMBER, *teams: str) -> None:
        asked = PutUser(who=RULER, user=name, role=role, teams=teams)
        await self.ask("put_user", asked, UserView)

    async def link(self, name: str) -> str:
        return (await self.ask("link", MakeLink(who=RULER, user=name), MadeLink)).link

    async def session(self, name: str) -> str:
        """The value of a cookie."""
        return (await self.ask("sign_in", SignIn(link=await self.link(name)), SignedIn)).cookie

    async def cookie(self, name: str) -> Headers:
        return {"Cookie": f"stoker={await self.session(name)}", "Origin": self.url}

    async def token(self, name: str, scope: Role) -> Headers:
        asked = MakeToken(who=RULER, name="a test", scope=scope, user=name)
        made = await self.ask("make_token", asked, MadeToken)
        return {"Authorization": f"Bearer {made.secret}"}

    async def shared(self, job: str, by: str) -> str:
        """The secret of a link, made by somebody who signs in for it."""
        who = await self.who(await self.session(by))
        return (await self.ask("share", ShareJob(who=who, job=job), MadeShare)).secret

    async def who(self, cookie: str) -> Principal:
        async with self.http.get("/api/v1/me", headers={"Cookie": f"stoker={cookie}"}) as answer:
            return Principal.model_validate(await answer.json())

    async def job(self, id: str, owner: str, **more: Any) -> None:
        record = Record(
            id=id,
            owner=owner,
            spec=JobSpec(name=f"of {owner}", **more),
            bundle="ab" * 32,
            state=State.WAITING,
            submitted_at=1000.0,
            changed_at=1000.0,
        )
        await Records(self.bus).write(record, Fact.SUBMITTED, 0)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        return await self.send("GET", path, headers)

    async def send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: object = None
    ) -> tuple[int, Any]:
        """Status, and the answer as JSON where it is some."""
        async with self.http.request(
            method, path, headers=headers, json=body, allow_redirects=False
        ) as answer:
            text = await answer.read()
            return answer.status, (await answer.json(content_type=None) if is_json(text) else None)


def is_json(text: bytes) -> bool:
    return text[:1] in (b"{", b"[")


@contextlib.asynccontextmanager
async def town(bus: Bus, people: PeopleConfig | None = None, **config: Any) -> AsyncIterator[Town]:
    settings = UiConfig(**{"port": 0, "sign_in": True, "request_timeout": 5.0, **config})
    app = build_app(bus, settings)
    async with asyncio.TaskGroup() as tasks:
        services = [
            tasks.create_task(run_people(bus, people or PeopleConfig())),
            tasks.create_task(run_catalog(bus, CatalogConfig())),
        ]
        async with (
            served(app) as url,
            aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar()) as http,
        ):
            yield Town(bus, url, http, app, services)
        for service in services:
            service.cancel()
