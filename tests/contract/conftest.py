"""One attempt after the other, in each runtime."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.folder import AttemptFolder
from agent.runtimes.bases import Bases
from agent.runtimes.docker_images import BuildLimits
from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime
from agent.runtimes.dummy import DummyRuntime
from agent.runtimes.process import ProcessRuntime
from agent.runtimes.protocol import Exit, Preparation, Prepared, Runtime
from agent.spool import SpoolReader, SpoolWriter
from schemas.spec import JobSpec
from schemas.stream import Stream
from schemas.worker import Grant

from .programs import Program

BASE = os.environ.get("STOKER_BASE_IMAGE", "stoker-base:local")
PATIENCE = 60.0


@dataclass
class Attempt:
    """One attempt of one program, driven by hand as the agent drives it."""

    runtime: Runtime
    folder: AttemptFolder
    grant: Grant
    news: asyncio.Event = field(default_factory=asyncio.Event)
    building: asyncio.Event = field(default_factory=asyncio.Event)
    prepared: Prepared | None = None

    async def prepare(self) -> Prepared:
        spool = SpoolWriter(self.folder.spool)

        def output(stream: Stream, data: bytes) -> None:
            spool.append(stream, data)
            if stream is Stream.BUILD:
                self.building.set()

        try:
            preparation = Preparation(self.grant, self.folder, "tester")
            self.prepared = await self.runtime.prepare(preparation, output)
        finally:
            spool.close()
        return self.prepared

    async def start(self) -> None:
        prepared = self.prepared or await self.prepare()
        await self.runtime.start(self.folder, prepared.launch, self.on_news)

    def on_news(self, printed: bool) -> None:
        self.news.set()

    async def wait(self) -> Exit:
        async with asyncio.timeout(PATIENCE):
            return await self.runtime.wait(self.folder)

    async def run(self) -> Exit:
        await self.start()
        return await self.wait()

    async def until_printed(self, text: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            while text not in self.output(Stream.STDOUT):
                self.news.clear()
                if text not in self.output(Stream.STDOUT):
                    await self.news.wait()

    def output(self, stream: Stream) -> bytes:
        """All that one stream holds so far."""
        reader = SpoolReader(self.folder.spool)
        found = []
        while piece := reader.read():
            position = 0
            for span, length in piece.spans:
                if span is stream:
                    found.append(piece.data[position : position + length])
                position += length
        reader.close()
        return b"".join(found)


Begin = Callable[..., Attempt]


def make_runtime(name: str, work: Path) -> Runtime:
    if name == "dummy":
        return DummyRuntime()
    if name == "process":
        return ProcessRuntime(work)
    config = DockerConfig(bases=Bases(image=BASE), builds=BuildLimits(seconds=PATIENCE))
    return DockerRuntime(work, "tester", config)


RUNTIMES = ["dummy", "process", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture(params=RUNTIMES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
async def runtime(kind: str, work: Path) -> AsyncIterator[Runtime]:
    made = make_runtime(kind, work)
    reason = await made.check()
    if reason:
        pytest.skip(reason)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def begin(runtime: Runtime, work: Path) -> AsyncIterator[Begin]:
    begun: list[Attempt] = []

    def attempt(program: Program, files: dict[str, str] | None = None, **spec: Any) -> Attempt:
        folder = AttemptFolder(work / "attempts" / f"{uuid.uuid4().hex[:8]}.1")
        folder.outputs.mkdir(parents=True)
        folder.job.mkdir()
        for name, text in {"main.py": program.code, **(files or {})}.items():
            (folder.job / name).write_text(text)
        environment = {**program.wishes, **spec.pop("environment", {})}
        bound = {name: spec.pop(name) for name in ("log_rate", "log_total") if name in spec}
        grant = Grant(
            job=folder.name.split(".")[0],
            attempt=1,
            nonce="n",
            spec=JobSpec.model_validate({"environment": environment, **spec}),
            bundle="b" * 64,
            **bound,
        )
        begun.append(Attempt(runtime, folder, grant))
        return begun[-1]

    yield attempt
    for one in begun:
        await runtime.discard(one.folder)
        await asyncio.to_thread(shutil.rmtree, one.folder.path, ignore_errors=True)
