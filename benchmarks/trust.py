"""What does trust cost? ``make bench-trust``: with and without it in turns.

Identities, permissions and TLS on the bus in one; beside that, HTTPS to viewers. ROUNDS=1 in the
environment is for a look whether it runs: its figures say little.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import uvloop

from agent.config import AgentConfig
from agent.main import run_agent
from benchmarks import load, table
from benchmarks.dispatch import TINY
from benchmarks.table import Figure
from bus.authority import CA, server_certificate
from bus.connection import Bus
from bus.layout import declare
from bus.link import BusConfig
from bus.logs import MESSAGE_BYTES, LogWriter
from bus.objects import Objects
from bus.records import Records
from bus.server import ServerConfig, nats_server
from bus.server_tls import ServerTls, with_tls
from schemas.job import Attempt, AttemptEnd, Fact, Reason, Record, State
from schemas.log import LogChunk, Span
from schemas.requests import Submit, Submitted
from schemas.stream import Stream
from schemas.worker import Capacity
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from stoker import own_worker
from stoker.answers import LogPiece
from stoker.following import follow
from ui.app import serving
from ui.config import UiConfig

ROUNDS = int(os.environ.get("ROUNDS", "5"))
LOSS = 0.2
"""Share of dispatch and of batched logs that identities, permissions and TLS may cost in all."""
BATCH, BATCHES, WRITERS = MESSAGE_BYTES, 400, 8
PRINTERS, LINES, LINE = 8, 262_144, 100
"""Jobs that print at one time, how many lines each, and the bytes of a line."""
PRINTING = TINY.model_copy(
    update={
        "environment": {
            "STOKER_DUMMY_LINES": str(LINES), "STOKER_DUMMY_LINE_BYTES": str(LINE)
        }
    }
)  # fmt: skip
VIEWERS, VIEWED_BATCHES, VIEWED = 8, 64, "0d4k8q2m-7xv3"
CAPACITY = Capacity(cpus=64, memory=1 << 40, slots=50)


async def measured(guarded: bool) -> dict[str, float]:
    """``guarded``: everybody is asked who he is, over TLS."""
    with tempfile.TemporaryDirectory(prefix="stoker-trust-") as name:
        folder = Path(name)
        keys = folder / "keys" if guarded else None
        tls = server_tls(keys) if keys else None
        async with nats_server(ServerConfig(folder / "nats", keys=keys, tls=tls)) as server:
            made = {
                role: with_tls(
                    BusConfig(
                        (server.url,), role,
                        credentials=str(keys / f"{role}.creds") if keys else None,
                    ),
                    tls,
                )
                for role in ("admin", "scheduler", "upload", "identity")
            }  # fmt: skip
            return await figures(folder, made, keys)


def server_tls(keys: Path) -> ServerTls:
    shown = server_certificate(keys, ["127.0.0.1"], time.time())
    return ServerTls(shown, shown, keys / CA)


async def figures(folder: Path, users: dict[str, BusConfig], keys: Path | None) -> dict[str, float]:
    agent = AgentConfig("bench", folder / "work", runtime="dummy", capacity=CAPACITY)
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        buses = {
            role: await stack.enter_async_context(Bus.connect(config))
            for role, config in users.items()
        }
        await declare(buses["identity"])
        worker = users["admin"]
        if keys is not None:
            worker = await own_worker.admitted(buses["identity"], agent, keys)
        parts = [
            tasks.create_task(run_scheduler(buses["scheduler"], SchedulerConfig())),
            tasks.create_task(run_upload(buses["upload"], UploadConfig())),
            tasks.create_task(run_agent(worker, agent)),
        ]
        admin = buses["admin"]
        bundle = await stored(admin)
        times = await load.one_by_one(admin, bundle, TINY, 40)
        rate = await load.all_at_once(admin, bundle, TINY, 400, seconds=120)
        printed = await load.all_at_once(admin, bundle, PRINTING, PRINTERS, seconds=120)
        async with Bus.connect(worker) as writer:
            messages = await batched_logs(writer)
        for part in parts:
            part.cancel()
        return {
            "job": 1000 * statistics.median(times),
            "jobs": rate,
            "logs": printed * LINES * LINE / (1 << 20),
            "messages": messages,
        }


async def stored(bus: Bus) -> str:
    """The digest of a small bundle of which one job has run."""
    packed, upload = io.BytesIO(), uuid.uuid4().hex
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("main.py", "print(1)\n")
    await Objects(bus).put("uploads", upload, once(packed.getvalue()))
    asked = Submit(owner=load.OWNER, key=upload, spec=TINY, upload=upload)
    async with load.watched_ends(bus) as ends:
        record = (await bus.request(load.SUBMIT, asked, Submitted, timeout=10)).record
        await ends.of({record.id}, 60)
    return str(record.bundle)


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def batched_logs(bus: Bus) -> float:
    """Mebibytes a second of messages as the agent ships them, without what it does beside that."""
    data = b"x" * (BATCH - 1) + b"\n"
    left = iter(range(BATCHES))

    async def write(rank: int) -> None:
        writer, offset = LogWriter(bus, "bench", 1, rank, "bench"), 0
        for _ in left:
            spans = (Span(Stream.STDOUT, BATCH),)
            await writer.publish(LogChunk(1, rank, offset, time.time(), spans, data))
            offset += BATCH

    begun = time.perf_counter()
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        for rank in range(WRITERS):
            tasks.create_task(write(rank))
    return BATCHES * BATCH / (1 << 20) / (time.perf_counter() - begun)


async def all_rounds() -> list[Figure]:
    plain: list[dict[str, float]] = []
    known: list[dict[str, float]] = []
    for guarded in turns():
        (known if guarded else plain).append(await measured(guarded))
    return [
        figure("submit → recorded end, dummy, p50", "ms", plain, known, "job"),
        figure("400 dummy jobs", "jobs/s", plain, known, "jobs"),
        figure(f"{PRINTERS} jobs print 25 MiB each, to their ends", "MiB/s", plain, known, "logs"),
        figure("messages of 512 KiB alone", "MiB/s", plain, known, "messages", loss=None),
        await over_https(),
    ]


def turns() -> Iterator[bool]:
    """With and without, each first as often as the other."""
    for number in range(ROUNDS):
        yield from (False, True) if number % 2 else (True, False)


async def over_https() -> Figure:
    """A stored log to viewers by WebSocket; without a bar."""
    http: list[float] = []
    https: list[float] = []
    with tempfile.TemporaryDirectory(prefix="stoker-trust-") as name:
        folder = Path(name)
        shown = server_certificate(folder / "keys", ["127.0.0.1"], time.time())
        async with (
            nats_server(ServerConfig(folder / "nats")) as server,
            Bus.connect(BusConfig((server.url,))) as bus,
        ):
            await declare(bus)
            job = await logged_job(bus)
            for guarded in turns():
                config = UiConfig(port=0, certificate=shown if guarded else None)
                async with serving(bus, config) as url:
                    rate = await viewed(url, job, folder / "keys" / CA)
                (https if guarded else http).append(rate)
    return Figure(
        f"a stored log to {VIEWERS} viewers by WebSocket, HTTPS", statistics.median(https),
        "MiB/s", beside="plain HTTP", reference=statistics.median(http),
        note="page and viewers share one process",
    )  # fmt: skip


async def logged_job(bus: Bus) -> str:
    """One that has ended, with a log of lines."""
    line = b"x" * 99 + b"\n"
    data = line * (BATCH // len(line))
    now, writer = time.time(), LogWriter(bus, VIEWED, 1, 0, "bench")
    for number in range(VIEWED_BATCHES):
        spans = (Span(Stream.STDOUT, len(data)),)
        await writer.publish(LogChunk(1, 0, number * len(data), now, spans, data))
    end = AttemptEnd(reason=Reason.EXIT, exit_code=0, log_ends={0: VIEWED_BATCHES * len(data)})
    attempt = Attempt(
        number=1, worker="bench", claim="c", nonce="n", granted_at=now, ended_at=now, end=end
    )
    record = Record(
        id=VIEWED, owner="bench", spec=TINY, bundle="ab" * 32, state=State.SUCCEEDED,
        submitted_at=now, changed_at=now, attempt=1, attempts=(attempt,),
    )  # fmt: skip
    await Records(bus).write(record, Fact.SUCCEEDED, 0)
    return VIEWED


async def viewed(url: str, job: str, ca: Path) -> float:
    """Mebibytes a second, over all viewers."""

    async def read() -> int:
        size = 0
        async for event in follow(url, job, ca=ca):
            size += len(event.data) if isinstance(event, LogPiece) else 0
        return size

    begun = time.perf_counter()
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(read()) for _ in range(VIEWERS)]
    return sum(one.result() for one in readers) / (1 << 20) / (time.perf_counter() - begun)


def figure(
    name: str,
    unit: str,
    plain: list[dict[str, float]],
    known: list[dict[str, float]],
    key: str,
    loss: float | None = LOSS,
) -> Figure:
    """Without a ``loss`` that is allowed it has no bar."""
    before, value = (statistics.median(one[key] for one in some) for some in (plain, known))
    slower, bar = unit == "ms", None
    if loss is not None:
        bar = before / (1 - loss) if slower else before * (1 - loss)
    return Figure(
        f"{name}, with identities and TLS", value, unit, bar=bar, at_most=slower, beside="without",
        reference=before, note=f"medians of {ROUNDS} rounds in turns",
    )  # fmt: skip


def main() -> int:
    found = uvloop.run(all_rounds())
    table.show(found)
    sys.stdout.write(f"kept in {table.keep(found)}\n")
    return 0 if all(one.holds for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
