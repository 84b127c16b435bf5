"""A nats-server that asks everybody who he is, and identities for tests."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from nats.aio.client import Client
from nats.aio.msg import Msg

from bus.connection import Bus
from bus.keyring import Keyring, open_keyring
from bus.keys import USER, Key, credentials, write_private
from bus.layout import declare
from bus.link import BusConfig
from bus.server import EmbeddedServer, ServerConfig, nats_server
from bus.tokens import Issuer, user_token

VIOLATION = re.compile(r"permissions violation for (\w+) to \"([^\"]+)\"", re.IGNORECASE)
STREAMS_SECONDS = 10.0


@dataclass
class Identified:
    """The server, its keys, and connections as whoever is asked for."""

    server: EmbeddedServer
    keyring: Keyring
    folder: Path

    @property
    def url(self) -> str:
        return self.server.url

    def config(self, role: str) -> BusConfig:
        return BusConfig((self.url,), role, credentials=str(self.keyring.issue(role)))

    def worker(self, name: str, pool: str = "default") -> BusConfig:
        """As if it had joined."""
        path = self.folder / f"{name}.worker.creds"
        key = Key.new(USER)
        token = user_token(
            self.keyring.issuer("worker"), name, key.public, int(time.time()),
            tags=[f"pool:{pool}"], life=3600,
        )  # fmt: skip
        write_private(path, credentials(token, key))
        return BusConfig((self.url,), name, credentials=str(path))

    def join_token(self, issuer: Issuer, name: str = "t1") -> str:
        """As an invitation holds it; the private half of its key is nobody's."""
        return user_token(issuer, name, Key.new(USER).public, int(time.time()), life=3600)

    def violations(self) -> list[str]:
        """What the server has refused so far, by its own log."""
        lines = (self.server.config.data / "nats-server.log").read_text().splitlines()
        return [line for line in lines if "Violation" in line]


@contextlib.asynccontextmanager
async def identified(folder: Path) -> AsyncIterator[Identified]:
    keys = folder / "identities"
    async with nats_server(ServerConfig(folder / "nats", keys=keys)) as server:
        made = Identified(server, open_keyring(keys), folder)
        async with Bus.connect(made.config("identity")) as bus:
            await declare(bus)
        yield made


@dataclass
class Probe:
    """A client that only tries what it may."""

    client: Client
    refused: set[tuple[str, str]] = field(default_factory=set)
    """``publish`` or ``subscription``, and the subject in small letters, as the client tells it."""
    heard: list[Msg] = field(default_factory=list)

    async def on_error(self, error: Exception) -> None:
        for kind, subject in VIOLATION.findall(str(error)):
            self.refused.add((kind.lower(), subject.lower()))

    async def on_message(self, message: Msg) -> None:
        self.heard.append(message)

    async def may_publish(self, subject: str, data: bytes = b"?", reply: str = "") -> bool:
        await self.client.publish(subject, data, reply=reply)
        await self.settle()
        return ("publish", subject.lower()) not in self.refused

    async def may_subscribe(self, subject: str, queue: str = "") -> bool:
        subscription = await self.client.subscribe(subject, queue=queue, cb=self.on_message)
        await self.settle()
        refused = ("subscription", subject.lower()) in self.refused
        if not refused:
            await subscription.unsubscribe()
        return not refused

    async def settle(self) -> None:
        """The server answers in order: what it refused has been told by then.

        Twice, because the client's ping overtakes what it still holds back.
        """
        await self.client.flush(5)
        await self.client.flush(5)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def probe(config: BusConfig) -> AsyncIterator[Probe]:
    async with Bus.connect(config) as bus:
        made = Probe(bus.nc)
        bus.nc._error_cb = made.on_error
        yield made
