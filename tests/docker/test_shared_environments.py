"""Two workers on one engine: is an environment built once, and does its image travel whole?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.folder import AttemptFolder
from agent.runtimes.bases import Bases
from agent.runtimes.docker_container import INSTALLS, owner_of
from agent.runtimes.docker_engine import Engine, json_lines
from agent.runtimes.docker_images import BuildLimits, image_name
from agent.runtimes.docker_leftovers import ENVIRONMENT
from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime
from agent.runtimes.protocol import CannotPrepare, Exit, Prepared
from bus.connection import Bus
from schemas.environments import Phase
from schemas.spec import JobSpec
from schemas.stream import Stream
from schemas.worker import Grant
from services.environments.config import EnvironmentsConfig
from services.environments.service import run
from services.environments.shelf import Shelf
from tests.integration.environment_tools import grant_of

from .conftest import BASE, PATIENCE, Attempt, remove_images, until

pytestmark = pytest.mark.docker

TEMPLATE = """#!/bin/sh
# {mark}
set -eu
cd /opt/stoker
mkdir -p env/bin
echo "installing {mark}"
while [ ! -e /opt/stoker/go ]; do [ -e wait.txt ] && sleep 0.1 || break; done
python -c 'open("env/made", "w").write("made " * 200000)'
[ ! -e fail.txt ] || {{ echo "ERROR: no such package as {mark}"; exit 1; }}
"""
CODE = (
    "import os, pathlib\n"
    "made = pathlib.Path('/opt/stoker/env/made').stat().st_size\n"
    "pathlib.Path(os.environ['STOKER_OUTPUTS'], 'said').write_text(f'{made}')\n"
)


@dataclass
class Machine:
    """One worker: a runtime with a folder of its own."""

    name: str
    runtime: DockerRuntime
    work: Path
    bus: Bus

    async def attempt(self, job: str, files: dict[str, str]) -> Attempt:
        granted = await grant_of(self.bus, job, self.name)
        folder = AttemptFolder(self.work / "attempts" / f"{job}.1")
        folder.outputs.mkdir(parents=True)
        folder.job.mkdir()
        for name, text in {"main.py": CODE, "requirements.txt": "six\n", **files}.items():
            (folder.job / name).write_text(text)
        grant = Grant(
            job=job, attempt=1, nonce=granted.nonce, spec=JobSpec(), bundle=uuid.uuid4().hex * 2
        )
        return Attempt(self.runtime, folder, grant)


Join = Callable[[str], Any]


@pytest.fixture
async def join(bus: Bus, tmp_path: Path) -> AsyncIterator[Join]:
    """Makes machines, with the same script that installs packages."""
    template = tmp_path / "install.sh"
    template.write_text(TEMPLATE.format(mark=uuid.uuid4()))
    serving = [
        asyncio.ensure_future(run(bus, EnvironmentsConfig(nudge_every=0.5))) for _ in range(2)
    ]
    async with contextlib.AsyncExitStack() as stack:

        async def make(name: str) -> Machine:
            work = tmp_path / name
            work.mkdir()
            config = DockerConfig(
                bases=Bases(image=BASE, template=template), builds=BuildLimits(seconds=PATIENCE)
            )
            runtime = DockerRuntime(work, name, config)
            await runtime.open()
            stack.push_async_callback(runtime.close)
            stack.push_async_callback(asyncio.to_thread, remove_images, owner_of(name, work))
            await stack.enter_async_context(runtime.shared(bus))
            return Machine(name, runtime, work, bus)

        yield make
    for one in serving:
        one.cancel()
    await asyncio.wait(serving)


def builds(engine: Engine, key: str, since: float) -> int:
    """Containers of it that became an image, by the engine's own record."""
    query: dict[str, str | int] = {
        "since": int(since),
        "until": int(time.time()) + 1,
        "filters": json.dumps({"event": ["commit"], "label": [f"{ENVIRONMENT}={key}"]}),
    }
    with contextlib.closing(engine.link()) as link:
        link.send_request("GET", "/events", query)
        return sum(len(batch) for batch in json_lines(link.answer()))


def remove(engine: Engine, key: str) -> None:
    engine.call("DELETE", f"/images/{image_name(key)}", {"force": 1})


async def ran(attempt: Attempt, prepared: Prepared) -> Exit:
    await attempt.runtime.start(attempt.folder, prepared.launch, lambda _: None)
    async with asyncio.timeout(PATIENCE):
        return await attempt.runtime.wait(attempt.folder)


async def until_phase(bus: Bus, key: str, phase: Phase) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            entry = await Shelf(bus).entry("default", key)
            if entry and entry.phase is phase:
                return
            await asyncio.sleep(0.1)


async def test_two_that_need_it_at_once_build_it_once(join: Join, engine: Engine) -> None:
    since = time.time()
    one, two = await join("m1"), await join("m2")
    attempts = [await one.attempt("j1", {}), await two.attempt("j2", {})]
    prepared = await asyncio.gather(*(each.prepare() for each in attempts))
    keys = {each.environment.key for each in prepared}
    assert len(keys) == 1
    assert await asyncio.to_thread(builds, engine, keys.pop(), since) == 1
    assert len({each.environment.image for each in prepared}) == 1


async def test_an_engine_that_lacks_the_image_gets_it_from_the_other_worker(
    join: Join, engine: Engine, bus: Bus
) -> None:
    since = time.time()
    one, two = await join("m1"), await join("m2")
    first = await (await one.attempt("j1", {})).prepare()
    key = first.environment.key
    one.runtime._sharing.fleet.shares.want(key)
    await until_phase(bus, key, Phase.READY)
    await asyncio.to_thread(remove, engine, key)
    attempt = await two.attempt("j2", {})
    prepared = await attempt.prepare()
    assert "fetching it: m1 built it" in attempt.text(Stream.STOKER)
    assert prepared.environment.image == first.environment.image
    assert (await ran(attempt, prepared)).code == 0
    assert attempt.output() == "1000000"
    assert await asyncio.to_thread(builds, engine, key, since) == 1
    await two.runtime.discard(attempt.folder)
    things = await asyncio.to_thread(two.runtime._leftovers._images)
    assert [thing.name for thing in things] == [prepared.environment.image]
    assert not list((two.work / "shares").iterdir())
    entry = await Shelf(bus).entry("default", key)
    assert entry is not None
    assert entry.image is not None
    assert entry.image.size < 3 << 20, "the base image's layers have travelled, too"
    await asyncio.to_thread(remove, engine, key)


async def test_what_is_here_is_asked_of_nobody(join: Join, bus: Bus) -> None:
    one = await join("m1")
    first = await (await one.attempt("j1", {})).prepare()
    before = await Shelf(bus).entry("default", first.environment.key)
    second = await one.attempt("j2", {"main.py": "print('another line')"})
    one.runtime._sharing.fleet = None
    prepared = await second.prepare()
    assert prepared.environment.cached
    assert f"environment {prepared.environment.key[:8]}… cached" in second.text(Stream.STOKER)
    assert await Shelf(bus).entry("default", first.environment.key) == before


async def test_why_it_is_built_anew_is_said(join: Join) -> None:
    one = await join("m1")
    await (await one.attempt("j1", {})).prepare()
    second = await one.attempt("j2", {"requirements.txt": "six\n# more\n"})
    await second.prepare()
    said = second.text(Stream.STOKER)
    assert "is not here yet (requirements.txt changed since the last one)" in said


async def test_a_job_beside_it_shows_what_the_build_prints(join: Join) -> None:
    one = await join("m1")
    first, second = await one.attempt("j1", {}), await one.attempt("j2", {})
    await asyncio.gather(first.prepare(), second.prepare())
    assert "installing" in first.text(Stream.BUILD)
    assert "installing" in second.text(Stream.BUILD)


async def test_a_failure_is_that_of_all_who_waited(join: Join, engine: Engine) -> None:
    one, two = await join("m1"), await join("m2")
    files = {"requirements.txt": "-r fail.txt\n", "fail.txt": "six\n"}
    attempts = [
        await one.attempt("j1", files),
        await one.attempt("j2", files),
        await two.attempt("j3", files),
    ]
    results = await asyncio.gather(*(each.prepare() for each in attempts), return_exceptions=True)
    assert all(isinstance(each, CannotPrepare) for each in results), results
    assert len({str(each) for each in results}) == 1
    assert "no such package as" in str(results[0])
    said = "".join(each.text(Stream.STOKER) for each in attempts)
    assert "waiting for it" in said
    keys = {line.split("environment ")[1][:8] for line in said.splitlines() if "not here" in line}
    assert len(keys) == 1
    query = {"filters": json.dumps({"label": [ENVIRONMENT]})}
    key = keys.pop()
    images = await asyncio.to_thread(engine.call, "GET", "/images/json", query)
    assert not [one for one in images if one["Labels"][ENVIRONMENT].startswith(key)]


async def test_a_worker_that_waits_can_be_cancelled(join: Join, engine: Engine) -> None:
    one, two = await join("m1"), await join("m2")
    files = {"requirements.txt": "-r wait.txt\n", "wait.txt": "six\n"}
    first, second = await one.attempt("j1", files), await two.attempt("j2", files)
    building = asyncio.ensure_future(first.prepare())
    await first.until_said(Stream.BUILD, "installing")
    waiting = asyncio.ensure_future(second.prepare())
    await second.until_said(Stream.STOKER, "m1 is building it: waiting for it")
    await second.until_said(Stream.BUILD, "installing")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    label = f"{INSTALLS}={owner_of('m1', one.work)}"
    query = {"filters": json.dumps({"label": [label]})}
    await until(lambda: not engine.call("GET", "/containers/json", query))
