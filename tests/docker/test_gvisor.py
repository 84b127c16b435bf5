"""Does a job run under gVisor where the engine has it?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.handing import Secrets
from agent.runtimes.bases import Bases
from agent.runtimes.docker_engine import Engine
from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime

from .conftest import BASE, PATIENCE, Bundle
from .hostile import HOSTILE, PREFIX

pytestmark = pytest.mark.docker

LINES = "import sys\nsys.stdout.writelines(f'line {i}\\n' for i in range(20_000))"
KERNEL = "print(open('/proc/version').read())"


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    told = await asyncio.to_thread(Engine().call, "GET", "/info")
    if "runsc" not in told["Runtimes"]:
        pytest.skip("the engine has no gVisor")
    made = DockerRuntime(tmp_path, "tester", DockerConfig(bases=Bases(image=BASE), sandbox="runsc"))
    await made.open()
    yield made
    await made.close()


async def test_a_job_has_a_kernel_of_its_own(bundle: Bundle) -> None:
    attempt = bundle({"main.py": KERNEL})
    assert (await attempt.run()).code == 0
    assert attempt.printed().strip() != Path("/proc/version").read_text().strip()
    assert "4.4.0" in attempt.printed()


async def test_all_that_it_prints_is_kept(bundle: Bundle) -> None:
    attempt = bundle({"main.py": LINES})
    assert (await attempt.run()).code == 0
    assert attempt.printed().splitlines() == [f"line {i}" for i in range(20_000)]


async def test_a_job_gets_its_secrets(bundle: Bundle) -> None:
    code = "import os\nprint(len(os.environ['TOKEN']), len(open('/run/secrets/key', 'rb').read()))"
    attempt = bundle({"main.py": code}, secrets=["TOKEN", "KEY:/run/secrets/key"])
    values = {"TOKEN": b"a value", "KEY": bytes(99)}
    given = Secrets(values, {"TOKEN": "TOKEN"}, {"/run/secrets/key": "KEY"})
    prepared = await attempt.prepare()
    news = attempt.news.set
    await attempt.runtime.start(attempt.folder, prepared.launch, lambda _: news(), given)
    async with asyncio.timeout(PATIENCE):
        assert (await attempt.runtime.wait(attempt.folder)).code == 0, attempt.printed()
    assert attempt.printed() == "7 99\n"


@pytest.mark.parametrize("kind", ["memory bomb", "ignores every signal", "socket searcher"])
async def test_a_hostile_job_ends_as_it_must(bundle: Bundle, kind: str) -> None:
    harm = HOSTILE[kind]
    attempt = bundle({"main.py": PREFIX + harm.code}, **harm.spec)
    exit = await attempt.run()
    assert exit.reason is harm.reason, (exit, attempt.printed()[-500:])


async def test_an_engine_without_it_is_no_runtime(tmp_path: Path) -> None:
    config = DockerConfig(bases=Bases(image=BASE), sandbox="kata-of-nowhere")
    reason = await DockerRuntime(tmp_path, "tester", config).check()
    assert reason is not None
    assert "no runtime kata-of-nowhere" in reason
