"""How do many crash points run side by side? Each in an account of its own of one nats-server.

Nothing is shared between accounts: every one has its own streams, buckets and subjects.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from bus import layout
from bus.connection import Bus
from bus.errors import NotFound
from bus.link import BusConfig
from bus.server import ServerConfig, find_binary
from schemas.message import Message

ACCOUNTS = 1500
PASSWORD = "world"
START_SECONDS = 15.0
REDELIVERED = 0.5
"""Seconds after which the messages of services come again, instead of thirty."""
CONFIG = """\
listen: "127.0.0.1:-1"
ports_file_dir: {folder}
feature_flags {{ js_ack_fc_v2: false }}
jetstream {{ store_dir: {store}, max_file_store: {most}, max_memory_store: 268435456 }}
accounts {{
{accounts}
}}
"""
T = TypeVar("T", bound=Message)


@dataclass
class Server:
    """One nats-server and the accounts that nobody used yet."""

    url: str
    users: Iterator[str]

    def bus(self) -> BusConfig:
        """For a world in which nothing has happened."""
        user = next(self.users)
        return BusConfig(servers=(self.url,), name=user, user=user, password=PASSWORD)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    users = [f"world{n}" for n in range(ACCOUNTS)]
    accounts = "\n".join(
        f"{user} {{ jetstream: enabled, users: [{{user: {user}, password: {PASSWORD}}}] }}"
        for user in users
    )
    config = folder / "nats.conf"
    config.write_text(
        CONFIG.format(
            folder=json.dumps(str(folder)), store=json.dumps(str(folder / "store")), most=1 << 60,
            accounts=accounts,
        )
    )  # fmt: skip
    binary = find_binary(ServerConfig(folder))
    with open(folder / "nats-server.log", "wb") as output:
        process = subprocess.Popen([binary, "-c", config], stdout=output, stderr=output)
        try:
            yield Server(listening(process, folder), iter(users))
        finally:
            process.kill()
            process.wait()


def listening(process: subprocess.Popen[bytes], folder: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for file in folder.glob("*.ports"):
            with contextlib.suppress(ValueError, KeyError, IndexError):
                return str(json.loads(file.read_text())["nats"][0])
        time.sleep(0.01)
    raise AssertionError((folder / "nats-server.log").read_text()[-2000:])


@dataclass
class World:
    """One account, one service in processes of its own, and the test that plays with it."""

    bus: Bus
    config: BusConfig
    folder: Path
    deaths: int = 0

    async def ask(self, subject: str, message: Message, answer: type[T]) -> T:
        """Until somebody answers: what died with the request does not, and nobody says so."""
        return await self.bus.request(subject, message, answer, timeout=0.5, attempts=60)

    async def messages(self, stream: str) -> int:
        try:
            info = await self.bus.api(f"STREAM.INFO.{stream}")
        except NotFound:
            return 0
        return int(info["state"]["messages"])

    async def until_messages(self, stream: str, number: int) -> None:
        while await self.messages(stream) != number:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def subjects(self, stream: str) -> list[str]:
        """Of all that lies in the stream, sorted."""
        info = await self.bus.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
        return sorted(info["state"].get("subjects") or {})


@contextlib.asynccontextmanager
async def world(config: BusConfig, folder: Path, declared: bool) -> AsyncIterator[World]:
    folder.mkdir()
    async with Bus.connect(config) as bus:
        if declared:
            await layout.declare(bus)
            for durable in layout.DURABLES:
                await layout.declare_durable(bus, replace(durable, ack_wait=REDELIVERED))
        yield World(bus, config, folder)
