"""What does the next agent make of what a killed one left?"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from agent.folder import AttemptFolder
from bus.connection import Bus
from bus.server import EmbeddedServer
from schemas.job import Reason, Record, State
from tests.integration.house import House, open_house
from tests.integration.test_leaving import UNTIL_TOLD, Agent, agent

SLOW_BACKEND = """
import pathlib, time

def build_wheel(folder, config_settings=None, metadata_directory=None):
    pathlib.Path("%(begun)s").touch()
    while not pathlib.Path("%(done)s").exists():
        time.sleep(0.02)
    raise SystemExit("built by the second")
"""
PROJECT = (
    '[project]\nname="tiny"\nversion="1"\n'
    '[build-system]\nrequires=[]\nbuild-backend="backend"\nbackend-path=["."]\n'
)


@pytest.fixture
async def house(server: EmbeddedServer, bus: Bus, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(server.url, bus, tmp_path) as opened:
        yield opened


async def killed(running: Agent) -> None:
    running.process.send_signal(signal.SIGKILL)
    await running.gone()


def folder_of(house: House, record: Record) -> AttemptFolder:
    return AttemptFolder(house.folder / "w1" / "attempts" / f"{record.id}.{record.attempt}")


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(20):
        while lives(pid):  # noqa: ASYNC110 - its end is told to its parent alone
            await asyncio.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def program_of(folder: AttemptFolder) -> psutil.Process:
    started = folder.started()
    assert started is not None
    return psutil.Process(int(started["identity"].split("@")[0]))


def numbers(log: bytes) -> list[int]:
    return [int(line[5:]) for line in log.splitlines() if line.startswith(b"line ")]


async def test_the_log_goes_on_at_the_exact_byte_after_each_kill(house: House) -> None:
    done = house.folder / "done"
    async with agent(house) as first:
        job = await house.submit({"main.py": UNTIL_TOLD % done})
        record = await house.running(job)
        await house.printed(record, b"line 20\n")
        await killed(first)
    async with agent(house) as second:
        await house.printed(record, b"line 60\n")
        await killed(second)
    async with agent(house):
        await house.printed(record, b"line 100\n")
        done.touch()
        over = await house.ended(job)
        assert (over.state, over.attempt) == (State.SUCCEEDED, 1)
    found = numbers(await house.log(over))
    assert found == list(range(len(found)))


async def test_an_end_between_two_agents_is_reported_with_its_last_line(house: House) -> None:
    done = house.folder / "done"
    async with agent(house) as first:
        job = await house.submit({"main.py": UNTIL_TOLD % done + "raise SystemExit(4)\n"})
        record = await house.running(job)
        await killed(first)
    folder = folder_of(house, record)
    program = program_of(folder).pid
    done.touch()
    await until_gone(program)
    async with agent(house):
        over = await house.ended(job)
    assert (over.state, over.exit_code, over.attempt) == (State.FAILED, 4, 1)
    found = numbers(await house.log(over))
    assert found == list(range(len(found)))


async def test_a_preparation_that_was_cut_short_begins_anew(house: House) -> None:
    begun, done = house.folder / "begun", house.folder / "done"
    backend = SLOW_BACKEND % {"begun": begun, "done": done}
    files = {
        "main.py": "print(1)",
        "requirements.txt": "./tiny\n",
        "tiny/pyproject.toml": PROJECT,
        "tiny/backend.py": backend,
    }
    async with agent(house) as first:
        job = await house.submit(files)
        await until_there(begun)
        left = builds(house)
        assert left
        await killed(first)
    begun.unlink()
    async with agent(house) as second:
        await second.says("killing a build that was left")
        for process in left:
            await until_gone(process.pid)
        await until_there(begun)
        done.touch()
        over = await house.ended(job)
    assert (over.attempt, over.reason) == (1, Reason.BUILD_FAILED)
    log = await house.log(over)
    assert log.count(b"[stoker] the agent was restarted: preparing once more\n") == 1
    assert b"built by the second" in log


async def test_a_shim_that_died_with_its_agent_leaves_no_program(house: House) -> None:
    async with agent(house) as first:
        job = await house.submit({"main.py": UNTIL_TOLD % "never"}, retries=0)
        record = await house.running(job)
        program = program_of(folder_of(house, record))
        await killed(first)
    shim = program.parent()
    assert shim is not None
    os.kill(shim.pid, signal.SIGKILL)
    async with agent(house):
        over = await house.ended(job)
    assert (over.state, over.reason, over.attempt) == (State.FAILED, Reason.AGENT_ERROR, 1)
    await until_gone(program.pid)
    assert b"[stoker] what watched the program died" in (await house.log(over)).splitlines()[-1]


async def test_a_shim_that_died_alone_is_told_in_the_log(house: House) -> None:
    async with agent(house):
        job = await house.submit({"main.py": UNTIL_TOLD % "never"}, retries=0)
        record = await house.running(job)
        program = program_of(folder_of(house, record))
        shim = program.parent()
        assert shim is not None
        os.kill(shim.pid, signal.SIGKILL)
        over = await house.ended(job)
    assert (over.state, over.reason) == (State.FAILED, Reason.AGENT_ERROR)
    await until_gone(program.pid)
    assert b"[stoker] the shim died" in (await house.log(over)).splitlines()[-1]


async def until_there(path: Path) -> None:
    async with asyncio.timeout(30):
        while not path.exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)


def builds(house: House) -> list[psutil.Process]:
    """What works in the folder of environments."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(house.folder / "w1" / "environments"):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
