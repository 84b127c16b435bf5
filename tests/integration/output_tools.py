"""An attempt whose outputs are sent, with the service that takes them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.folder import AttemptFolder
from agent.output_plan import Limits, Rhythm
from agent.output_rounds import AttemptOutputs
from agent.output_sender import Sender
from bus import subjects
from bus.connection import Bus
from bus.errors import Refused
from bus.outputs import OutputStore
from bus.records import Records
from schemas.job import Attempt, Fact, Record, State
from schemas.outputs import AskStored, Manifest, StoredChunks
from schemas.spec import JobSpec
from schemas.worker import Grant
from services.outputs.config import OutputsConfig
from services.outputs.service import run

JOB = "00000001-0000"
QUICK = Rhythm(every=0.2, still=0.0, patience=2.0)


@dataclass
class Case:
    """One job, and one attempt of it at a time."""

    bus: Bus
    work: Path
    sequence: int = 0
    record: Record = field(init=False)

    @property
    def store(self) -> OutputStore:
        return OutputStore(self.bus)

    @property
    def root(self) -> Path:
        return self.folder.outputs

    @property
    def folder(self) -> AttemptFolder:
        folder = AttemptFolder(self.work / "attempts" / f"{JOB}.{self.record.attempt}")
        folder.outputs.mkdir(parents=True, exist_ok=True)
        return folder

    async def attempt(self, number: int, state: State = State.RUNNING) -> Grant:
        attempts = tuple(
            Attempt(number=n, worker="w1", claim=f"c{n}", nonce=f"n{n}", granted_at=1.0)
            for n in range(1, number + 1)
        )
        self.record = Record(
            id=JOB, owner="me", spec=JobSpec(), bundle="b", state=state, submitted_at=1.0,
            changed_at=time.time(), attempt=number, attempts=attempts,
        )  # fmt: skip
        fact = Fact.SUCCEEDED if state.ended else Fact.RUNNING
        self.sequence = await Records(self.bus).write(self.record, fact, self.sequence)
        return Grant(job=JOB, attempt=number, nonce=f"n{number}", spec=JobSpec(), bundle="b")

    def sender(self, grant: Grant, limits: Limits | None = None) -> Sender:
        return Sender(self.bus, "w1", grant, limits or Limits(), QUICK)

    def outputs(self, grant: Grant, rhythm: Rhythm = QUICK) -> AttemptOutputs:
        return AttemptOutputs(self.bus, "w1", grant, self.folder, rhythm)

    async def stored(self, attempt: int = 1) -> Manifest:
        found = await self.store.head(JOB, attempt)
        return await self.store.manifest(found.head) if found else Manifest()

    async def texts(self, attempt: int = 1) -> dict[str, bytes]:
        """Path to content, as a reader gets it."""
        return {
            file.path: b"".join([data async for data in self.store.read(JOB, file)])
            for file in (await self.stored(attempt)).files
        }

    async def chunks(self) -> int:
        return len(await self.store.all_stored(JOB))


@contextlib.asynccontextmanager
async def serving(
    bus: Bus, config: OutputsConfig | None = None, asker: Bus | None = None
) -> AsyncIterator[None]:
    """From when it answers."""
    task = asyncio.create_task(run(bus, config or OutputsConfig()))
    try:
        asked = AskStored(job="none", attempt=1, nonce="n")
        subject = subjects.request("outputs", "stored", "w1")
        with pytest.raises(Refused):
            await (asker or bus).request(subject, asked, StoredChunks, attempts=20)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
