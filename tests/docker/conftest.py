"""A docker runtime, and attempts in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.folder import AttemptFolder
from agent.runtimes.bases import Bases
from agent.runtimes.docker_container import OWNER, owner_of
from agent.runtimes.docker_engine import Engine, EngineError
from agent.runtimes.docker_images import BuildLimits
from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime
from agent.runtimes.protocol import Exit, Preparation, Prepared
from agent.spool import SpoolReader
from schemas.spec import JobSpec
from schemas.stream import Stream
from schemas.worker import Grant

BASE = os.environ.get("STOKER_BASE_IMAGE", "stoker-base:local")
PATIENCE = 90.0


@dataclass
class Attempt:
    """One bundle in one runtime, with all that was said about it."""

    runtime: DockerRuntime
    folder: AttemptFolder
    grant: Grant
    said: list[tuple[Stream, bytes]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, stream: Stream, data: bytes) -> None:
        self.said.append((stream, data))
        self.news.set()

    def text(self, stream: Stream) -> str:
        return b"".join(data for of, data in self.said if of is stream).decode()

    async def prepare(self) -> Prepared:
        async with asyncio.timeout(PATIENCE):
            preparation = Preparation(self.grant, self.folder, "tester")
            return await self.runtime.prepare(preparation, self.hear)

    async def run(self) -> Exit:
        prepared = await self.prepare()
        await self.runtime.start(self.folder, prepared.launch, lambda _: self.news.set())
        async with asyncio.timeout(PATIENCE):
            return await self.runtime.wait(self.folder)

    async def until_said(self, stream: Stream, text: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while text not in self.text(stream):
                self.news.clear()
                await self.news.wait()

    @property
    def container(self) -> str:
        return f"stoker-{self.grant.job}-1"

    def printed(self) -> str:
        """All that lies in the spool."""
        reader = SpoolReader(self.folder.spool)
        pieces = []
        while piece := reader.read():
            pieces.append(piece.data)
        reader.close()
        return b"".join(pieces).decode()

    def output(self) -> str:
        """What the program wrote into its outputs folder."""
        return (self.folder.outputs / "said").read_text()


async def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Asks again and again what tells nobody that it changed: the engine, the machine."""

    def ask() -> None:
        give_up = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < give_up, "it did not come to be"
            time.sleep(0.05)

    await asyncio.to_thread(ask)


def shim_of(attempt: Attempt) -> int:
    """Who holds the lock of its notes; others may have them open at any time."""
    inode = os.stat(attempt.folder.notes).st_ino
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return next(int(lock[4]) for lock in locks if int(lock[5].split(":")[2]) == inode)


Bundle = Callable[..., Attempt]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    config = DockerConfig(bases=Bases(image=BASE), builds=BuildLimits(seconds=PATIENCE))
    made = DockerRuntime(tmp_path, "tester", config)
    await made.open()
    yield made
    await made.close()
    await asyncio.to_thread(remove_images, owner_of("tester", tmp_path))


def remove_images(owner: str) -> None:
    """No test leaves an environment on the machine."""
    engine = Engine()
    query = {"filters": json.dumps({"label": [f"{OWNER}={owner}"]})}
    for image in engine.call("GET", "/images/json", query):
        with contextlib.suppress(EngineError):
            engine.call("DELETE", f"/images/{image['Id']}", {"force": 1})


@pytest.fixture
async def bundle(runtime: DockerRuntime, tmp_path: Path) -> AsyncIterator[Bundle]:
    made: list[Attempt] = []

    def make(files: dict[str, str], **spec: Any) -> Attempt:
        folder = AttemptFolder(tmp_path / "attempts" / f"{uuid.uuid4().hex[:8]}.1")
        folder.outputs.mkdir(parents=True)
        for name, text in files.items():
            (folder.job / name).parent.mkdir(parents=True, exist_ok=True)
            (folder.job / name).write_text(text)
        grant = Grant(
            job=folder.name.split(".")[0],
            attempt=1,
            nonce="n",
            spec=JobSpec.model_validate(spec),
            bundle=uuid.uuid4().hex * 2,
        )
        made.append(Attempt(runtime, folder, grant))
        return made[-1]

    yield make
    for attempt in made:
        await runtime.discard(attempt.folder)
        await asyncio.to_thread(shutil.rmtree, attempt.folder.path, ignore_errors=True)
