"""One agent with the services: from the ticket to the confirmed end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from agent.config import AgentConfig
from agent.folder import AttemptFolder
from agent.leaving import Leaving
from agent.main import AgentError, run_agent
from bus.connection import Bus
from bus.server import EmbeddedServer
from schemas.job import Reason, Record, State
from tests.integration.house import House, dummy, open_house


@pytest.fixture
async def house(server: EmbeddedServer, bus: Bus, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(server.url, bus, tmp_path) as opened:
        yield opened


def attempt_folder(house: House, record: Record) -> AttemptFolder:
    return AttemptFolder(house.folder / "w1" / "attempts" / f"{record.id}.{record.attempt}")


async def test_a_job_runs_and_its_log_is_whole(house: House) -> None:
    house.agent()
    job = await house.submit(environment=dummy(LINES=1000, LINE_BYTES=100))
    record = await house.ended(job)
    assert (record.state, record.exit_code) == (State.SUCCEEDED, 0)
    log = await house.log(record)
    assert len(log) == 100_000
    assert record.current is not None
    assert record.current.end is not None
    assert record.current.end.log_ends == {0: 100_000}


async def test_a_failing_job_tells_its_exit_code(house: House) -> None:
    house.agent()
    record = await house.ended(await house.submit(environment=dummy(EXIT=3)))
    assert (record.state, record.reason, record.exit_code) == (State.FAILED, Reason.EXIT, 3)


async def test_a_failing_job_quotes_the_lines_that_say_why(house: House) -> None:
    house.agent()
    said = "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'x'\n"
    job = await house.submit(environment=dummy(LINES=1000, ERR=said, EXIT=1))
    record = await house.ended(job)
    end = record.current.end if record.current else None
    assert end is not None
    assert end.quote is not None
    assert (end.quote.rule, end.quote.lines) == ("traceback", tuple(said.splitlines()))
    log = await house.log(record)
    assert log[end.quote.start : end.quote.end].decode() == said


async def test_a_long_enough_job_is_seen_running(house: House) -> None:
    house.agent()
    job = await house.submit(environment=dummy(SLEEP=0.3))
    running = await house.running(job)
    assert running.current is not None
    assert running.current.started_at is not None
    assert (await house.ended(job)).state is State.SUCCEEDED


async def test_a_running_job_is_cancelled(house: House) -> None:
    house.agent()
    job = await house.submit(environment=dummy(SLEEP=60))
    await house.running(job)
    assert (await house.cancel(job)).state is State.CANCELLING
    record = await house.ended(job)
    assert (record.state, record.reason) == (State.CANCELLED, Reason.CANCELLED)


async def test_a_building_job_is_cancelled(house: House) -> None:
    house.agent()
    job = await house.submit(environment=dummy(BUILD=60))
    await house.until(job, lambda r: r.current is not None and r.current.building_at is not None)
    await house.cancel(job)
    assert (await house.ended(job)).state is State.CANCELLED


async def test_a_failed_build_is_named_and_logged(house: House) -> None:
    house.agent()
    record = await house.ended(await house.submit(environment=dummy(BUILD_FAILS=1)))
    assert (record.state, record.reason) == (State.FAILED, Reason.BUILD_FAILED)
    assert b"[stoker] the build was told to fail" in await house.log(record)


async def test_no_more_jobs_run_than_there_are_slots(house: House) -> None:
    house.agent(slots=2)
    jobs = [await house.submit(environment=dummy(SLEEP=0.2)) for _ in range(6)]
    records = [await house.ended(job) for job in jobs]
    assert all(record.state is State.SUCCEEDED for record in records)
    spans = [(r.current.started_at or 0.0, r.current.ended_at or 0.0) for r in records if r.current]
    for start, _ in spans:
        assert sum(1 for begun, over in spans if begun <= start < over) <= 2


async def test_a_draining_worker_takes_nothing_new(house: House) -> None:
    house.agent()
    await house.ended(await house.submit())
    await house.drain("w1", True)
    job = await house.submit()
    other = house.agent(name="w2")
    record = await house.ended(job)
    assert record.current is not None
    assert record.current.worker == "w2"
    await house.end(other)
    await house.drain("w1", False)
    record = await house.ended(await house.submit())
    assert record.current is not None
    assert record.current.worker == "w1"


async def test_a_leaving_agent_finishes_what_runs(house: House) -> None:
    leaving = Leaving()
    agent = house.agent(leaving=leaving)
    job = await house.submit(environment=dummy(SLEEP=0.5, OUT="done"))
    await house.running(job)
    leaving.drain.set()
    async with asyncio.timeout(10):
        await agent
    record = await house.ended(job)
    assert record.state is State.SUCCEEDED
    assert await house.log(record) == b"done"


async def test_two_agents_do_not_share_a_work_directory(house: House) -> None:
    house.agent()
    await house.ended(await house.submit())
    config = AgentConfig(name="w9", work=house.folder / "w1", runtime="dummy")
    with pytest.raises(AgentError, match="another agent"):
        await run_agent(house.config, config)


async def test_a_runtime_that_is_not_there_is_refused(house: House) -> None:
    config = AgentConfig(name="w9", work=house.folder / "w9", runtime="magic")
    with pytest.raises(AgentError, match="docker, process, dummy"):
        await run_agent(house.config, config)


SLOW = """
import pathlib, time
print("begun", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.02)
print("went on")
"""


async def test_a_program_outlives_its_agent(house: House) -> None:
    first = house.agent("process")
    job = await house.submit({"main.py": SLOW})
    running = await house.running(job)
    await house.printed(running, b"begun")
    await house.end(first)
    folder = attempt_folder(house, running)
    assert folder.shim_lives()
    house.agent("process")
    (folder.job / "go").touch()
    record = await house.ended(job)
    assert (record.state, record.attempt) == (State.SUCCEEDED, 1)
    assert (await house.log(record)).endswith(b"begun\nwent on\n")


async def test_an_end_that_nobody_reported_is_reported_by_the_successor(house: House) -> None:
    first = house.agent("process")
    job = await house.submit({"main.py": SLOW + "raise SystemExit(4)"})
    running = await house.running(job)
    await house.printed(running, b"begun")
    await house.end(first)
    folder = attempt_folder(house, running)
    (folder.job / "go").touch()
    async with asyncio.timeout(20):
        while folder.shim_lives():  # noqa: ASYNC110 - a lock file tells nobody
            await asyncio.sleep(0.02)
    house.agent("process")
    record = await house.ended(job)
    assert (record.state, record.exit_code, record.attempt) == (State.FAILED, 4, 1)
    assert (await house.log(record)).endswith(b"went on\n")


async def test_a_killed_shim_takes_its_program_along(house: House) -> None:
    house.agent("process")
    job = await house.submit({"main.py": SLOW}, retries=0)
    running = await house.running(job)
    started = attempt_folder(house, running).started()
    assert started is not None
    program = int(started["identity"].split("@")[0])
    shim = int(Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(shim, signal.SIGKILL)
    record = await house.ended(job)
    assert (record.state, record.reason) == (State.FAILED, Reason.AGENT_ERROR)
    async with asyncio.timeout(20):
        while lives(program):  # noqa: ASYNC110 - it dies a moment after it was killed
            await asyncio.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_an_attempt_that_never_started_is_tried_again_by_the_successor(
    house: House,
) -> None:
    first = house.agent()
    job = await house.submit(environment=dummy(BUILD=60))
    await house.until(job, lambda r: r.current is not None and r.current.building_at is not None)
    await house.end(first)
    house.agent()
    record = await house.until(job, lambda r: bool(r.attempts) and r.attempts[0].end is not None)
    end = record.attempts[0].end
    assert end is not None
    assert end.reason is Reason.AGENT_ERROR
    await house.cancel(job)
    assert (await house.ended(job)).state is State.CANCELLED


async def test_five_megabytes_arrive_byte_for_byte(house: House) -> None:
    house.agent("process")
    code = (
        "import sys\nfor i in range(80_000):\n"
        "    sys.stdout.write(f'line {i} '.ljust(63, '.') + '\\n')\n"
    )
    record = await house.ended(await house.submit({"main.py": code}))
    log = await house.log(record)
    lines = log.splitlines()[-80_000:]
    assert all(line.startswith(b"line %d " % index) for index, line in enumerate(lines))


async def test_the_same_bundle_is_fetched_once(house: House) -> None:
    house.agent("process")
    files = {"main.py": "print(open('data/a').read())", "data/a": "x" * 300_000}
    for _ in range(2):
        record = await house.ended(await house.submit(files))
        assert record.state is State.SUCCEEDED
    assert len(list((house.folder / "w1" / "bundles").iterdir())) == 1


async def test_requirements_are_built_once_for_two_jobs(house: House) -> None:
    house.agent("process")
    files = {
        "main.py": "import tiny; print(tiny.WORD)",
        "requirements.txt": "./tiny\n",
        "tiny/pyproject.toml": '[project]\nname="tiny"\nversion="1"\n'
        '[build-system]\nrequires=[]\nbuild-backend="backend"\nbackend-path=["."]\n',
        "tiny/tiny.py": "WORD = 'small'",
        "tiny/backend.py": BACKEND,
    }
    records = []
    for _ in range(2):
        records.append(await house.ended(await house.submit(files)))
        assert b"small\n" in await house.log(records[-1])
    found = [record.current.environment for record in records if record.current]
    assert [e.cached for e in found if e] == [False, True]
    assert found[0] is not None
    assert found[0].source == "requirements.txt"


BACKEND = """
import zipfile

INFO = "tiny-1.dist-info/"


def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.write("tiny.py")
        wheel.writestr(INFO + "METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
        about = "Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\n"
        wheel.writestr(INFO + "WHEEL", about + "Tag: py3-none-any\\n")
        wheel.writestr(INFO + "RECORD", "")
    return name
"""
