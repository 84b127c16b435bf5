"""What becomes of jobs whose Docker engine restarts? An engine of the test's own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.handing import Secrets
from agent.runtimes.bases import Bases
from agent.runtimes.docker_engine import Engine, EngineError
from agent.runtimes.docker_images import BuildLimits
from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime
from agent.runtimes.protocol import Exit
from benchmarks.chaos.machines import PrivateEngine, private_engine
from schemas.reason import Reason

from .conftest import BASE, PATIENCE, Attempt, Bundle, shim_of, until

pytestmark = [pytest.mark.docker, pytest.mark.dockerd, pytest.mark.slow, pytest.mark.timeout(300)]

COUNT = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
for number in range(100_000):
    print(f"line {number}", flush=True)
    if pathlib.Path("go").exists():
        pathlib.Path("/outputs/said").write_text(str(number))
        sys.exit(5)
    time.sleep(0.02)
"""


@pytest.fixture
async def own() -> AsyncIterator[PrivateEngine]:
    """In a short path: that of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="stk", ignore_cleanup_errors=True) as folder:
        async with private_engine(Path(folder) / "e") as opened:
            yield opened


@pytest.fixture
async def runtime(own: PrivateEngine, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    bases, builds = Bases(image=BASE), BuildLimits(seconds=PATIENCE)
    made = DockerRuntime(tmp_path, "tester", DockerConfig(own.socket, bases, builds))
    await made.open()
    yield made
    await made.close()


async def begun(bundle: Bundle) -> Attempt:
    attempt = bundle({"main.py": COUNT})
    prepared = await attempt.prepare()
    await attempt.runtime.start(attempt.folder, prepared.launch, lambda _: attempt.news.set())
    await until_printed(attempt, "line 10\n")
    return attempt


async def until_printed(attempt: Attempt, text: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while text not in attempt.printed():
            attempt.news.clear()
            await attempt.news.wait()


async def ended(attempt: Attempt) -> Exit:
    async with asyncio.timeout(PATIENCE):
        return await attempt.runtime.wait(attempt.folder)


def is_there(engine: Engine, attempt: Attempt) -> bool:
    try:
        engine.container_state(attempt.container)
    except EngineError as error:
        return error.status != 404
    return True


def numbers(attempt: Attempt) -> list[int]:
    return [int(found) for found in re.findall(r"^line (\d+)$", attempt.printed(), re.MULTILINE)]


async def test_an_engine_that_takes_its_containers_along_is_the_reason_of_their_end(
    own: PrivateEngine, bundle: Bundle
) -> None:
    attempt, orphan = await begun(bundle), await begun(bundle)
    restarted = asyncio.ensure_future(own.restart(live_restore=False, pause=2))
    await until_printed(orphan, "[stoker] the Docker engine stopped")
    os.kill(shim_of(orphan), signal.SIGKILL)
    await restarted
    assert (await ended(orphan)).reason is Reason.ENGINE_RESTARTED
    exit = await ended(attempt)
    assert exit.reason is Reason.ENGINE_RESTARTED, exit
    assert f"[stoker] {exit.detail}" in attempt.printed().splitlines()[-1]
    assert numbers(attempt)[:11] == list(range(11))
    for one in (attempt, orphan):
        await until(lambda one=one: not is_there(Engine(own.socket), one))


async def test_an_engine_that_lets_its_containers_live_costs_no_line(
    own: PrivateEngine, runtime: DockerRuntime, bundle: Bundle
) -> None:
    through, meanwhile, stopped = [await begun(bundle) for _ in range(3)]
    runtime._shares_kernel = False
    engines = await begun(bundle)
    program = await asyncio.to_thread(Engine(own.socket).container_state, stopped.container)
    restarted = asyncio.ensure_future(own.restart(live_restore=True, pause=3))
    await until_printed(meanwhile, "[stoker] the Docker engine stopped")
    heard = len(numbers(meanwhile))
    await until_more(meanwhile, heard + 10)
    (meanwhile.folder.job / "go").touch()
    await stopped.runtime.stop(stopped.folder, 0, Reason.PREEMPTED)
    await until(lambda: not Path(f"/proc/{program['Pid']}").exists())
    assert not Path(own.socket.removeprefix("unix://")).exists(), "the engine is back"
    await restarted
    assert (await ended(stopped)).reason is Reason.PREEMPTED
    await ends_with_every_line(meanwhile)
    await until_printed(engines, "[stoker] the program is heard again")
    await until_more(engines, len(numbers(engines)) + 10)
    for one in (through, engines):
        (one.folder.job / "go").touch()
    await ends_with_every_line(through)
    exit = await ended(engines)
    assert (exit.reason, exit.code) == (Reason.EXIT, 5), exit
    tells_the_gap(engines)


async def until_more(attempt: Attempt, lines: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(numbers(attempt)) < lines:
            attempt.news.clear()
            await attempt.news.wait()


async def ends_with_every_line(attempt: Attempt) -> None:
    exit = await ended(attempt)
    assert (exit.reason, exit.code) == (Reason.EXIT, 5), exit
    assert numbers(attempt) == list(range(int(attempt.output()) + 1))
    assert "missing" not in attempt.printed()


def tells_the_gap(attempt: Attempt) -> None:
    """Of a program that prints through the engine: its lines are whole before and after it."""
    found = numbers(attempt)
    assert found == sorted(set(found))
    before, after = attempt.printed().split("[stoker] the Docker engine stopped")
    assert len(re.findall("line", before)) == int(before.split()[-1]) + 1
    after = after.split("[stoker] the program is heard again")[1]
    seen = [int(number) for number in re.findall(r"^line (\d+)$", after, re.MULTILINE)]
    assert seen == list(range(seen[0], seen[0] + len(seen)))


@pytest.mark.parametrize("pipes", [True, False], ids=["through pipes", "through the engine"])
async def test_a_job_with_secrets_goes_on_with_them(
    own: PrivateEngine, runtime: DockerRuntime, bundle: Bundle, pipes: bool
) -> None:
    runtime._shares_kernel = runtime._shares_kernel and pipes
    told = "import os\nassert os.environ['TOKEN'] == 'a value'\n"
    attempt = bundle({"main.py": told + COUNT}, secrets=["TOKEN"])
    prepared = await attempt.prepare()
    given = Secrets({"TOKEN": b"a value"}, {"TOKEN": "TOKEN"})
    news = attempt.news.set
    await runtime.start(attempt.folder, prepared.launch, lambda _: news(), given)
    await until_printed(attempt, "line 10\n")
    await own.restart(live_restore=True, pause=1)
    await until_more(attempt, len(numbers(attempt)) + 10)
    (attempt.folder.job / "go").touch()
    assert (await ended(attempt)).code == 5
