"""Services and agents around a real nats-server, and jobs put into them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import uuid
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config import AgentConfig
from agent.leaving import Leaving
from agent.main import run_agent
from agent.output_plan import Rhythm
from bus import subjects
from bus.codec import decode
from bus.connection import Bus
from bus.follow import follow
from bus.link import BusConfig
from bus.logs import LogGap, read_attempt
from bus.objects import Objects
from schemas.job import JobFact, Record, State
from schemas.log import Cursor
from schemas.message import Empty
from schemas.requests import Cancel, CancelAnswer, Drain, Submit, Submitted
from schemas.spec import JobSpec
from schemas.worker import Capacity
from services.archive.config import ArchiveConfig
from services.archive.service import run as run_archive
from services.outputs.config import OutputsConfig
from services.outputs.service import run as run_outputs
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload

PATIENCE = 40.0
SMALL = {"cpus": 0.1, "memory": "64m"}


@dataclass
class House:
    """All parts but the ui, in this process; agents come and go."""

    bus: Bus
    config: BusConfig
    folder: Path
    tasks: asyncio.TaskGroup
    agents: list[asyncio.Task[None]] = field(default_factory=list)

    def agent(
        self,
        runtime: str = "dummy",
        *,
        name: str = "w1",
        slots: int = 8,
        leaving: Leaving | None = None,
        rhythm: Rhythm | None = None,
    ) -> asyncio.Task[None]:
        config = AgentConfig(
            rhythm=rhythm or Rhythm(),
            name=name,
            work=self.folder / name,
            runtime=runtime,
            capacity=Capacity(cpus=8, memory=1 << 40, slots=slots),
        )
        task = self.tasks.create_task(run_agent(self.config, config, leaving))
        self.agents.append(task)
        return task

    async def end(self, agent: asyncio.Task[None]) -> None:
        """As a restart ends it: what runs goes on."""
        agent.cancel()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait((agent,))

    async def submit(self, files: dict[str, str] | None = None, **spec: Any) -> str:
        upload = uuid.uuid4().hex
        await Objects(self.bus).put("uploads", upload, once(zipped(files or {"main.py": ""})))
        asked = Submit(
            owner="tester",
            key=upload,
            spec=JobSpec.model_validate({"resources": SMALL, **spec}),
            upload=upload,
        )
        subject = subjects.request("upload", "submit")
        return (await self.bus.request(subject, asked, Submitted)).record.id

    async def until(self, job: str, holds: Callable[[Record], bool]) -> Record:
        """The first record of the job that ``holds``."""
        async with asyncio.timeout(PATIENCE):
            stream = follow(self.bus, "JOBS", subjects.job(job))
            async with contextlib.aclosing(stream) as deliveries:
                async for delivery in deliveries:
                    record = decode(JobFact, delivery.data, delivery.headers).record
                    if holds(record):
                        return record
        raise AssertionError("the stream of facts ended")

    async def ended(self, job: str) -> Record:
        return await self.until(job, lambda record: record.state.ended)

    async def running(self, job: str) -> Record:
        return await self.until(job, lambda record: record.state is State.RUNNING)

    async def cancel(self, job: str) -> Record:
        asked = Cancel(job=job, by="tester")
        return (
            await self.bus.request(subjects.request("scheduler", "cancel"), asked, CancelAnswer)
        ).record

    async def drain(self, worker: str, drain: bool) -> None:
        asked = Drain(worker=worker, drain=drain)
        await self.bus.request(subjects.request("scheduler", "drain"), asked, Empty)

    async def log(self, record: Record, attempt: int | None = None) -> bytes:
        """All of an ended attempt's log; a gap in it is a failure."""
        data = b""
        cursor = Cursor(attempt or record.attempt)
        async with asyncio.timeout(PATIENCE):
            async for piece in read_attempt(self.bus, record, cursor, wait=True):
                assert not isinstance(piece, LogGap), piece
                assert piece.offset == len(data)
                data += piece.data
        return data

    async def printed(self, record: Record, text: bytes) -> None:
        """Waits until a running attempt's log holds ``text``."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            stream = read_attempt(self.bus, record, Cursor(record.attempt), wait=True)
            async with contextlib.aclosing(stream) as pieces:
                async for piece in pieces:
                    data += b"" if isinstance(piece, LogGap) else piece.data
                    if text in data:
                        return


@contextlib.asynccontextmanager
async def open_house(
    url: str, bus: Bus, folder: Path, scheduler: SchedulerConfig | None = None
) -> AsyncIterator[House]:
    config = BusConfig(servers=(url,), name="house")
    async with asyncio.TaskGroup() as tasks:
        parts = [
            tasks.create_task(run_scheduler(bus, scheduler or SchedulerConfig())),
            tasks.create_task(run_upload(bus, UploadConfig())),
            tasks.create_task(run_archive(bus, ArchiveConfig())),
            tasks.create_task(run_outputs(bus, OutputsConfig())),
        ]
        house = House(bus, config, folder, tasks)
        yield house
        for task in (*house.agents, *parts):
            task.cancel()


def zipped(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def dummy(**wishes: str | float) -> dict[str, str]:
    return {f"STOKER_DUMMY_{name}": str(value) for name, value in wishes.items()}
