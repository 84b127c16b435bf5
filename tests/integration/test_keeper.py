"""An ended attempt's spool stays until the archive has its log, and fills what the broker lost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agent import keeper
from agent.folder import AttemptFolder
from agent.keeper import Keeper
from agent.outputs import OutputBounds, Outputs
from agent.ship import Shipper
from agent.spool import SpoolWriter
from bus import subjects
from bus.connection import Bus
from bus.logs import read_job
from bus.records import Records
from schemas.job import Attempt, AttemptEnd, Fact, Reason, Record, State
from schemas.spec import JobSpec
from schemas.stream import Stream
from schemas.worker import AttemptKey
from services.archive.config import ArchiveConfig
from services.archive.service import run

JOB = "00000001-0000"


async def until_gone(path: Path) -> None:
    while path.exists():  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def test_what_the_broker_lost_after_the_end_is_sent_again(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK_EVERY", 0.2)
    folder = AttemptFolder(tmp_path / f"{JOB}.1")
    folder.path.mkdir()
    folder.outputs.mkdir()
    (folder.outputs / "model").write_text("trained")
    (tmp_path / "outputs").mkdir()
    spool = SpoolWriter(folder.path)
    archive = asyncio.create_task(run(bus, ArchiveConfig(seal_after=2.0)))
    spool.append(Stream.STDOUT, b"kept\n")
    shipper = Shipper(bus, JOB, 1, "w1", folder.path, resume=False)
    shipper.finish(5)
    await shipper.run()
    spool.append(Stream.STDOUT, b"lost\n")
    spool.close()
    end = AttemptEnd(reason=Reason.EXIT, exit_code=0, log_ends={0: 10})
    attempt = Attempt(number=1, worker="w1", claim="c", nonce="n", granted_at=1.0, end=end)
    record = Record(
        id=JOB, owner="me", spec=JobSpec(), bundle="b", state=State.SUCCEEDED, submitted_at=1.0,
        changed_at=time.time(), attempt=1, attempts=(attempt,),
    )  # fmt: skip
    await Records(bus).write(record, Fact.SUCCEEDED, 0)
    kept = Keeper(bus, "w1", Outputs(tmp_path / "outputs", OutputBounds()))
    looking = asyncio.create_task(kept.run())
    kept.keep(AttemptKey(job=JOB, attempt=1), folder, 10)
    try:
        async with asyncio.timeout(20):
            await until_gone(folder.path)
        read = b"".join([piece.data async for piece in read_job(bus, JOB, wait=True)])  # type: ignore[union-attr]
        assert read == b"kept\nlost\n"
        assert (tmp_path / "outputs" / f"{JOB}.1" / "model").read_text() == "trained"
    finally:
        for task in (looking, archive):
            task.cancel()
        await asyncio.gather(looking, archive, return_exceptions=True)
    assert (await bus.api("STREAM.INFO.LOGS", {"subjects_filter": subjects.LOGS_ALL}))["state"][
        "messages"
    ] == 0
