"""Outputs arrive whole although the service, the agent or the way between them goes away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent import keeper
from agent.keeper import Keeper
from agent.output_plan import Rhythm
from agent.outputs import OutputBounds, Outputs
from bus.connection import Bus
from bus.server import EmbeddedServer
from schemas.outputs import CHUNK, Manifest
from schemas.worker import AttemptKey
from tests.integration.house import House, open_house
from tests.integration.output_tools import JOB, QUICK, Case, serving

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 40.0


@pytest.fixture
def case(bus: Bus, tmp_path: Path) -> Case:
    return Case(bus, tmp_path)


@contextlib.asynccontextmanager
async def replica(server: EmbeddedServer) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service as a process of its own, from when it answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stoker", "serve", "outputs", "--nats", server.url, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.02)


async def stored_chunks(case: Case, least: int) -> int:
    async with asyncio.timeout(PATIENCE):
        while (held := await case.chunks()) < least:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return held


async def test_a_killed_service_costs_nothing_but_time(case: Case, server: EmbeddedServer) -> None:
    grant = await case.attempt(1)
    data = os.urandom(64 * CHUNK)
    (case.root / "model").write_bytes(data)
    async with replica(server) as first:
        sending = asyncio.create_task(case.outputs(grant, Rhythm(patience=PATIENCE)).at_end())
        await stored_chunks(case, 8)
        first.send_signal(signal.SIGKILL)
        await first.wait()
    async with replica(server):
        end = await asyncio.wait_for(sending, PATIENCE)
    assert end is not None
    assert (end.stored, end.files, end.size) == (True, 1, len(data))
    assert await case.texts() == {"model": data}


async def test_an_agent_that_was_killed_sends_only_the_rest(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = await case.attempt(1)
    data = os.urandom(64 * CHUNK)
    (case.root / "model").write_bytes(data)
    async with serving(case.bus):
        sending = asyncio.create_task(case.sender(grant).round(str(case.root), final=True))
        held = await stored_chunks(case, 8)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        held = await case.chunks()
        second = case.sender(grant)
        sent: list[int] = []
        put = second._put

        async def counted(digests: list[bytes], chunks: list[bytes]) -> None:
            sent.append(len(chunks))
            await put(digests, chunks)

        second._window._send = counted
        await second.round(str(case.root), final=True)
    assert sum(sent) <= 64 - held + 1
    assert await case.texts() == {"model": data}


async def test_nobody_there_holds_an_end_up_for_ever_and_the_keeper_goes_on(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK_EVERY", 0.2)
    grant = await case.attempt(1)
    (case.root / "model").write_text("trained")
    outputs = case.outputs(grant)
    end = await asyncio.wait_for(outputs.at_end(), PATIENCE)
    assert end is not None
    assert not end.stored
    assert "its worker goes on sending them" in end.detail
    shelf = case.work / "outputs"
    shelf.mkdir()
    kept = Keeper(case.bus, "w1", Outputs(shelf, OutputBounds()))
    kept.keep(AttemptKey(job=JOB, attempt=1), case.folder, 0, outputs)
    looking = asyncio.create_task(kept.run())
    try:
        await kept.lighten()  # the disk is short: they move, and are sent from there
        assert (shelf / f"{JOB}.1" / "model").exists()
        async with serving(case.bus):
            await until(lambda: outputs.stored)
            await until(lambda: not kept.names)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    assert await case.texts() == {"model": b"trained"}
    assert not (case.work / "attempts" / f"{JOB}.1").exists()


async def test_what_is_stored_outlives_the_loss_of_the_folder(case: Case) -> None:
    """Neither the end nor the keeper takes a folder that is gone for an empty one."""
    grant = await case.attempt(1)
    outputs = case.outputs(grant)
    (case.root / "epoch1").write_text("1")
    folder = case.folder
    async with serving(case.bus):
        looking = asyncio.create_task(outputs.while_running())
        async with asyncio.timeout(PATIENCE):
            while "epoch1" not in await case.texts():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await until(lambda: Path(outputs._begun_mark).exists())
        (folder.outputs / "epoch1").unlink()
        folder.outputs.rmdir()
        assert await outputs.at_end() is None
        await asyncio.wait_for(looking, PATIENCE)
        assert not outputs.settled
        await outputs.again(case.work / "outputs")
    assert outputs.settled
    assert not outputs.stored
    assert await case.texts() == {"epoch1": b"1"}


async def test_trying_again_and_again_is_no_progress(case: Case) -> None:
    """More patience than the longest pause between two tries."""
    grant = await case.attempt(1)
    (case.root / "model").write_bytes(os.urandom(4 * CHUNK))
    outputs = case.outputs(grant, Rhythm(patience=7.0))
    end = await asyncio.wait_for(outputs.at_end(), PATIENCE)
    assert end is not None
    assert not end.stored
    async with serving(case.bus):  # It answers, and has no room.
        config = (await case.bus.api("STREAM.INFO.OBJ_outputs"))["config"]
        await case.bus.api("STREAM.UPDATE.OBJ_outputs", {**config, "max_bytes": 1024})
        outputs = case.outputs(grant, Rhythm(patience=7.0))
        end = await asyncio.wait_for(outputs.at_end(), PATIENCE)
        assert end is not None
        assert "has no room" in end.detail
        await case.bus.api("STREAM.UPDATE.OBJ_outputs", config)
        await outputs.again(case.work / "outputs")
    assert outputs.stored


async def test_a_cancelled_job_does_not_wait_for_its_outputs(case: Case) -> None:
    grant = await case.attempt(1)
    (case.root / "model").write_text("trained")
    outputs = case.outputs(grant, Rhythm(patience=PATIENCE))
    ending = asyncio.create_task(outputs.at_end())
    await asyncio.sleep(0)
    outputs.hurry.set()
    end = await asyncio.wait_for(ending, PATIENCE / 2)
    assert end is not None
    assert not end.stored
    assert not outputs.settled


async def test_what_is_refused_is_not_tried_for_ever(case: Case) -> None:
    first = await case.attempt(1)
    outputs = case.outputs(first, Rhythm(patience=PATIENCE))
    (case.root / "model").write_text("too late")
    await case.attempt(2)
    async with serving(case.bus):
        end = await asyncio.wait_for(outputs.at_end(), PATIENCE / 2)
    assert end is not None
    assert (end.stored, outputs.settled, outputs.stored) == (False, True, False)
    assert "superseded" in end.detail


async def test_an_end_that_was_told_is_not_sent_again(case: Case) -> None:
    grant = await case.attempt(1)
    (case.root / "model").write_text("trained")
    async with serving(case.bus):
        told = await case.outputs(grant).at_end()
    again = case.outputs(grant)
    assert await asyncio.wait_for(again.at_end(), PATIENCE) == told
    assert again.stored


async def test_an_attempt_that_wrote_nothing_asks_nobody(case: Case) -> None:
    grant = await case.attempt(1)
    assert case.root.is_dir()
    outputs = case.outputs(grant, Rhythm(patience=PATIENCE))
    assert await asyncio.wait_for(outputs.at_end(), 1.0) is None
    assert outputs.settled


async def test_what_is_still_goes_out_while_the_program_runs(case: Case) -> None:
    grant = await case.attempt(1)
    outputs = case.outputs(grant)

    async def has(name: str) -> Manifest:
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await case.stored()
                if name in {file.path for file in found.files}:
                    return found
                await asyncio.sleep(0.05)

    async with serving(case.bus):
        looking = asyncio.create_task(outputs.while_running())
        (case.root / "epoch1").write_text("1")
        await has("epoch1")
        (case.root / "epoch2").write_text("2")
        await has("epoch2")
        head = await case.store.head(JOB, 1)
        assert head is not None
        assert not head.head.final
        (case.root / "epoch1").unlink()
        (case.root / "epoch2").unlink()
        end = await outputs.at_end()
        await asyncio.wait_for(looking, PATIENCE)
    assert end is not None
    assert end.files == 0, "the last manifest says that nothing is left"
    head = await case.store.head(JOB, 1)
    assert head is not None
    assert (head.head.final, head.head.files) == (True, 0)


# ---- with the agent

WRITES = """
import os, pathlib, time
outputs = pathlib.Path(os.environ["STOKER_OUTPUTS"])
(outputs / "epoch1.pt").write_text("first")
print("saved", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.02)
(outputs / "model.pt").write_text("trained")
"""


@pytest.fixture
async def house(server: EmbeddedServer, bus: Bus, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(server.url, bus, tmp_path) as opened:
        yield opened


async def test_a_job_ends_with_its_outputs_stored(house: House) -> None:
    house.agent("process")
    code = 'import os; open(os.environ["STOKER_OUTPUTS"] + "/model.pt", "w").write("trained")'
    record = await house.ended(await house.submit({"main.py": code}))
    assert record.current is not None
    assert record.current.end is not None
    assert record.current.end.outputs is not None
    assert record.current.end.outputs.stored
    assert record.timeline[-1].text == "1 file of outputs, 7 bytes"
    store = Case(house.bus, house.folder).store
    head = await store.head(record.id, 1)
    assert head is not None
    file = (await store.manifest(head.head)).files[0]
    assert b"".join([part async for part in store.read(record.id, file)]) == b"trained"


async def test_checkpoints_of_a_machine_that_died_are_there(house: House) -> None:
    """Its agent goes while the program runs, and nothing of it ever comes back."""
    agent = house.agent("process", rhythm=QUICK)
    job = await house.submit({"main.py": WRITES})
    record = await house.running(job)
    store = Case(house.bus, house.folder).store
    async with asyncio.timeout(PATIENCE):
        while await store.head(job, 1) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await house.end(agent)
    head = await store.head(job, 1)
    assert head is not None
    assert [f.path for f in (await store.manifest(head.head)).files] == ["epoch1.pt"]
    folder = house.folder / "w1" / "attempts" / f"{job}.{record.attempt}"
    house.agent("process", rhythm=QUICK)
    (folder / "job" / "go").touch()
    ended = await house.ended(job)
    assert ended.attempt == 1
    head = await store.head(job, 1)
    assert head is not None
    assert {f.path for f in (await store.manifest(head.head)).files} == {"epoch1.pt", "model.pt"}
    assert head.head.final


async def test_too_much_fails_the_job_and_keeps_what_fits(
    server: EmbeddedServer, bus: Bus, tmp_path: Path
) -> None:
    from services.scheduler.config import SchedulerConfig

    config = SchedulerConfig(pools_outputs_size={"default": 1 << 20})
    async with open_house(server.url, bus, tmp_path, config) as house:
        house.agent("process")
        code = (
            "import os\nfor n in (1, 2, 3 << 20):\n"
            '    open(f"{os.environ[\'STOKER_OUTPUTS\']}/{n}", "wb").write(b"x" * n)\n'
        )
        record = await house.ended(await house.submit({"main.py": code}))
        assert str(record.reason) == "outputs_too_large"
        assert record.detail == (
            "its outputs are too large: 3 files with 3 MiB, where 20000 files and 1 MiB are"
            " allowed; 2 files with 3 bytes were kept, the smallest first"
        )
        head = await Case(bus, tmp_path).store.head(record.id, 1)
        assert head is not None
        assert (head.head.files, head.head.total) == (2, 3)
