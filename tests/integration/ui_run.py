"""A job of which the tests of the ui play the services' and the agent's part."""

from __future__ import annotations

from typing import Any

from bus.connection import Bus
from bus.logs import LogWriter
from bus.records import Records
from schemas.job import Attempt, AttemptEnd, Fact, Reason, Record, State
from schemas.log import LogChunk, Span, Stream
from schemas.spec import JobSpec

JOB = "0d4k8q2m-7xv3"


class Run:
    """Plays the services' and the agent's part of one job."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.records = Records(bus)
        self.sequence = 0
        self.offset = 0
        self.text = b""
        self.record = Record(
            id=JOB,
            owner="local",
            spec=JobSpec(name="a job"),
            bundle="ab" * 32,
            state=State.WAITING,
            submitted_at=1000.0,
            changed_at=1000.0,
        )

    async def step(self, fact: Fact, **changes: Any) -> None:
        self.record = self.record.model_copy(update=changes)
        self.sequence = await self.records.write(self.record, fact, self.sequence)

    async def begin(self, worker: str = "w1") -> None:
        number = self.record.attempt + 1
        attempt = Attempt(
            number=number, worker=worker, claim="secret-claim", nonce="secret-nonce", granted_at=1.0
        )
        self.writer = LogWriter(self.bus, JOB, number, 0, worker)
        self.offset = 0
        await self.step(
            Fact.RUNNING,
            state=State.RUNNING,
            attempt=number,
            attempts=(*self.record.attempts, attempt),
        )

    async def write(self, data: bytes, stream: Stream = Stream.STDOUT, time: float = 2.0) -> None:
        spans = (Span(stream, len(data)),)
        number = self.record.attempt
        await self.writer.publish(LogChunk(number, 0, self.offset, time, spans, data))
        self.offset += len(data)
        self.text += data

    async def end(self, fact: Fact = Fact.SUCCEEDED, state: State = State.SUCCEEDED) -> None:
        end = AttemptEnd(reason=Reason.EXIT, exit_code=0, log_ends={0: self.offset})
        newest = self.record.attempts[-1].model_copy(update={"end": end, "ended_at": 3.0})
        await self.step(fact, state=state, attempts=(*self.record.attempts[:-1], newest))
