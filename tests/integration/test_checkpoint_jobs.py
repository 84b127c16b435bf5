"""A machine that dies leaves its checkpoint to another one."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from agent.folder import AttemptFolder
from agent.output_plan import Rhythm
from agent.runtimes.process_meter import parent_of
from bus.checkpoints import CheckpointStore
from bus.connection import Bus
from bus.server import EmbeddedServer
from schemas.job import State
from services.scheduler.config import SchedulerConfig
from tests.integration.house import PATIENCE, open_house

QUICK = Rhythm(every=0.2, still=0.3, patience=5.0)
PROGRAM = """
import os, pathlib, time
folder = pathlib.Path(os.environ["STOKER_CHECKPOINTS"])
if os.environ.get("STOKER_RESUME") == "1":
    print("goes on with", (folder / "deep" / "model").read_text(), flush=True)
else:
    (folder / "deep").mkdir()
    (folder / "deep" / "model").write_text("attempt " + os.environ["STOKER_ATTEMPT"])
    print("written", flush=True)
    while True:
        time.sleep(60)
"""


async def test_a_machine_that_dies_leaves_its_checkpoint_to_another(
    server: EmbeddedServer, bus: Bus, tmp_path: Path
) -> None:
    scheduler = SchedulerConfig(lost_after=2.0)
    async with open_house(server.url, bus, tmp_path, scheduler) as house:
        first = house.agent("process", name="w1", rhythm=QUICK)
        job = await house.submit({"main.py": PROGRAM})
        await house.printed(await house.running(job), b"written\n")
        async with asyncio.timeout(PATIENCE):
            while await CheckpointStore(bus).last(job) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await house.end(first)
        kill(AttemptFolder(tmp_path / "w1" / "attempts" / f"{job}.1"))
        house.agent("process", name="w2", rhythm=QUICK)
        record = await house.ended(job)
        assert (record.state, record.attempt) == (State.SUCCEEDED, 2)
        log = await house.log(record)
        assert b"restored the checkpoint of attempt 1: 1 file, 9 bytes\n" in log
        assert log.endswith(b"goes on with attempt 1\n")


def kill(folder: AttemptFolder) -> None:
    """The program and what watches it, as a power cut does."""
    started = folder.started()
    assert started is not None
    program = int(str(started["identity"]).partition("@")[0])
    for pid in (parent_of(program), program):
        os.kill(pid, signal.SIGKILL)
