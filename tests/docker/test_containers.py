"""What can a job do in its container, and what becomes of it when something dies?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from agent.runtimes.docker_engine import Engine, EngineError
from schemas.reason import Reason

from .conftest import Attempt, Bundle, shim_of, until

pytestmark = pytest.mark.docker

LOOK = """
import json, os, pathlib, resource, shutil, socket
def refused(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError as error:
        return error.strerror
    return "written"
lines = open("/proc/self/status").read().splitlines()
status = dict(line.split(":\\t") for line in lines if ":\\t" in line)
print(json.dumps({
    "user": os.getuid(), "group": os.getgid(),
    "capabilities": int(status["CapEff"].strip(), 16), "no_new_privs": status["NoNewPrivs"].strip(),
    "root": refused("/etc/x"), "tmp": refused("/tmp/x"),
    "shm": shutil.disk_usage("/dev/shm").total,
    "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
    "interfaces": sorted(name for _, name in socket.if_nameindex() if name in ("lo", "eth0")),
}), file=open(os.environ["STOKER_OUTPUTS"] + "/said", "w"))
"""


async def look(bundle: Bundle, **spec: Any) -> dict[str, Any]:
    attempt = bundle({"main.py": LOOK}, **spec)
    exit = await attempt.run()
    assert exit.code == 0, exit
    seen: dict[str, Any] = json.loads(attempt.output())
    return seen


async def test_a_job_has_no_rights_beyond_its_own_folders(bundle: Bundle) -> None:
    seen = await look(bundle, resources={"shm": "32m"})
    own = 10001 if os.getuid() == 0 else os.getuid()
    assert (seen["user"], seen["capabilities"], seen["no_new_privs"]) == (own, 0, "1")
    assert (seen["root"], seen["tmp"]) == ("Read-only file system", "written")
    assert (seen["shm"], seen["core"]) == (32 << 20, 0)
    assert seen["interfaces"] == ["lo"]


async def test_a_job_that_asks_for_the_network_gets_it(bundle: Bundle) -> None:
    assert (await look(bundle, network="full"))["interfaces"] == ["eth0", "lo"]


async def test_processes_are_limited(bundle: Bundle) -> None:
    code = (
        "import os, time\n"
        "made = 0\n"
        "try:\n"
        "    while made < 300:\n"
        "        if os.fork() == 0:\n            time.sleep(30)\n            os._exit(0)\n"
        "        made += 1\n"
        "except BlockingIOError:\n    pass\n"
        "open(os.environ['STOKER_OUTPUTS'] + '/said', 'w').write(str(made))\n"
    )
    attempt = bundle({"main.py": code}, resources={"pids": 64})
    assert (await attempt.run()).code == 0
    assert 32 < int(attempt.output()) < 64


async def test_a_child_that_ran_out_of_memory_is_named(bundle: Bundle) -> None:
    code = (
        "import subprocess, sys\n"
        "child = 'x = []\\nwhile True: x.append(bytearray(b\"x\") * (8 << 20))'\n"
        "sys.exit(3 if subprocess.run([sys.executable, '-c', child]).returncode else 0)\n"
    )
    exit = await bundle({"main.py": code}, resources={"memory": "96m"}).run()
    assert (exit.reason, exit.code) == (Reason.OOM, 3)
    assert "a process of the program" in exit.detail


async def test_the_container_is_gone_after_the_end(bundle: Bundle, engine: Engine) -> None:
    attempt = bundle({"main.py": "print(1)"})
    await attempt.run()
    await until_gone(engine, attempt)


async def test_a_container_whose_shim_died_is_stopped_and_told(
    bundle: Bundle, engine: Engine
) -> None:
    attempt = await running(bundle)
    os.kill(shim_of(attempt), signal.SIGKILL)
    async with asyncio.timeout(30):
        exit = await attempt.runtime.wait(attempt.folder)
    assert exit.reason is Reason.AGENT_ERROR
    await until_gone(engine, attempt)


async def test_a_container_that_somebody_removed_ends_the_attempt(
    bundle: Bundle, engine: Engine
) -> None:
    attempt = await running(bundle)
    await asyncio.to_thread(engine.remove, attempt.container)
    async with asyncio.timeout(30):
        exit = await attempt.runtime.wait(attempt.folder)
    assert (exit.reason, exit.signal) != (Reason.EXIT, None)


async def test_a_program_that_the_image_does_not_have_says_so(bundle: Bundle) -> None:
    dockerfile = 'ARG BASE\nFROM ${BASE}\nRUN rm /usr/bin/python\nENTRYPOINT ["python"]\n'
    attempt = bundle({"tool.py": "", "Dockerfile": dockerfile})
    exit = await attempt.run()
    assert (exit.reason, exit.code) == (Reason.EXIT, 127)
    assert "python" in attempt.printed()
    as_python3 = bundle({"main.py": "", "Dockerfile": dockerfile})
    assert (await as_python3.run()).code == 0


async def test_containers_of_forgotten_attempts_are_removed_at_the_start(
    bundle: Bundle, engine: Engine, tmp_path: Path
) -> None:
    attempt = await running(bundle)
    attempt.folder.path.rename(tmp_path / "elsewhere")
    await attempt.runtime.open()
    await until_gone(engine, attempt)


async def test_an_engine_that_is_silent_is_a_reason_not_to_use_docker(tmp_path: Path) -> None:
    from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime

    runtime = DockerRuntime(tmp_path, "tester", DockerConfig(engine=str(tmp_path / "no.sock")))
    reason = await runtime.check()
    assert reason is not None
    assert "no.sock does not answer" in reason


async def test_gpus_that_are_not_there_are_said(bundle: Bundle) -> None:
    exit = await bundle({"main.py": "print(1)"}, resources={"gpus": 1}).run()
    if exit.code == 0:
        pytest.skip("this machine has a GPU")
    assert exit.reason is Reason.AGENT_ERROR
    assert "gpu" in exit.detail


async def running(bundle: Bundle) -> Attempt:
    attempt = bundle({"main.py": "import time\ntime.sleep(120)"})
    prepared = await attempt.prepare()
    await attempt.runtime.start(attempt.folder, prepared.launch, lambda _: attempt.news.set())
    async with asyncio.timeout(30):
        while attempt.runtime.started_at(attempt.folder) is None:
            attempt.news.clear()
            await attempt.news.wait()
    return attempt


async def until_gone(engine: Engine, attempt: Attempt) -> None:
    await until(lambda: not is_there(engine, attempt.container))


def is_there(engine: Engine, container: str) -> bool:
    try:
        engine.container_state(container)
    except EngineError as error:
        return error.status != 404
    return True
