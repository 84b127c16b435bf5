"""What is measured without agents: a nats-server, one job whose log is written here, a page."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from benchmarks.chaos.supervised import Part
from benchmarks.stack import free_port
from benchmarks.table import RESULTS
from bus.connection import Bus
from bus.errors import BusError, NotFound
from bus.layout import declare
from bus.link import BusConfig
from bus.logs import LogWriter
from bus.records import Records
from bus.server import ServerConfig, nats_server
from schemas.job import Attempt, AttemptEnd, Fact, Reason, Record, State
from schemas.log import LogChunk, Span, Stream
from schemas.requests import LogEnd
from schemas.spec import JobSpec
from services.archive.sealing import Rank, last_message

JOB = "00000001-0000"
WORKER = "bench"
READY = 30.0
"""Seconds."""


@dataclass
class Store:
    """A bus with one running job on it."""

    bus: Bus
    nats: str
    folder: Path
    offset: int = 0
    """Where its log ends."""
    writer: LogWriter = field(init=False)

    def __post_init__(self) -> None:
        self.writer = LogWriter(self.bus, JOB, 1, 0, WORKER)

    async def print(self, data: bytes) -> None:
        """One message of the log, as an agent would send it."""
        spans = (Span(Stream.STDOUT, len(data)),)
        chunk = LogChunk(1, 0, self.offset, time.time(), spans, data)
        self.offset += len(data)
        while True:
            try:
                await self.writer.publish(chunk)
                return
            except BusError as error:  # as long as others make the disk wait
                print(f"published again: {error}", flush=True)
            last = await last_message(self.bus, Rank(JOB, 1, 0, WORKER))
            if last is not None:
                self.writer.resume(LogEnd(offset=last.end, sequence=last.sequence, sealed=0))
                if last.end >= chunk.end:
                    return

    async def write(self, *, ended: bool) -> None:
        """The job's record: its attempt runs, or has ended where the log does now."""
        records = Records(self.bus)
        try:
            expected = (await records.get(JOB)).sequence
        except NotFound:
            expected = 0
        fact = Fact.SUCCEEDED if ended else Fact.RUNNING
        await records.write(record_of(self.offset if ended else None), fact, expected)


def record_of(log_end: int | None) -> Record:
    now = time.time()
    end = None
    if log_end is not None:
        end = AttemptEnd(reason=Reason.EXIT, exit_code=0, log_ends={0: log_end})
    attempt = Attempt(
        number=1, worker=WORKER, claim="c", nonce="n", granted_at=now, end=end,
        ended_at=now if end else None,
    )  # fmt: skip
    state = State.SUCCEEDED if end else State.RUNNING
    return Record(
        id=JOB, owner="bench", spec=JobSpec(), bundle="b", state=state, submitted_at=now,
        changed_at=now, attempt=1, attempts=(attempt,),
    )  # fmt: skip


@asynccontextmanager
async def open_store() -> AsyncIterator[Store]:
    """With the job running and its log empty."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="logs-", dir=RESULTS.absolute()))
    try:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(nats_server(ServerConfig(folder / "nats")))
            config = BusConfig(servers=(server.url,), name="bench")
            bus = await stack.enter_async_context(Bus.connect(config))
            await declare(bus)
            store = Store(bus, server.url, folder)
            await store.write(ended=False)
            yield store
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Page:
    """A ``stoker serve ui`` in a process of its own."""

    url: str
    pid: int
    http: aiohttp.ClientSession


@asynccontextmanager
async def open_page(store: Store) -> AsyncIterator[Page]:
    """From when it knows the job."""
    port = free_port()
    stoker = (sys.executable, "-m", "stoker")
    command = (*stoker, "serve", "ui", "--nats", store.nats, "--port", str(port), "--no-sign-in")
    part = Part("ui", command, store.folder / "ui.log")
    keeping = asyncio.create_task(part.keep())
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as http:
            url = f"http://127.0.0.1:{port}"
            async with asyncio.timeout(READY):
                while not await answers(http, f"{url}/api/v1/jobs/{JOB}"):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            yield Page(url, part.pid, http)
    finally:
        keeping.cancel()
        await asyncio.wait((keeping,))


async def answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
