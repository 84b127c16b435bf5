"""What can a bundle do while its packages are installed, and what is left of that?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from agent.runtimes.bases import Bases
from agent.runtimes.build_context import files_context
from agent.runtimes.docker_container import INSTALLS, owner_of
from agent.runtimes.docker_engine import Engine, json_lines
from agent.runtimes.docker_images import BuildLimits
from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime
from agent.runtimes.protocol import CannotPrepare
from schemas.reason import Reason
from schemas.stream import Stream

from .conftest import BASE, Attempt, Bundle, until

pytestmark = pytest.mark.docker

LIMITS = BuildLimits(seconds=60, memory=256 << 20, disk=96 << 20)
SETUP = """
import os, pathlib, signal, subprocess, sys, time
{code}
from setuptools import setup
setup(name="harm", version="1", py_modules=[])
"""
LOOK = """
status = dict(l.split(":\\t") for l in open("/proc/self/status").read().splitlines() if ":\\t" in l)
def refused(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError:
        return True
    return False
print("LOOK", os.getuid(), int(status["CapEff"].strip(), 16), status["NoNewPrivs"].strip(),
      refused("/etc/x"), refused("/usr/bin/x"), refused("/var/x"),
      os.path.exists("/var/run/docker.sock"), file=sys.stderr)
sys.exit("looked around")
"""
FORK_BOMB = """
made = 0
try:
    while made < 5000:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
except BlockingIOError:
    sys.exit("no more than so many processes")
sys.exit("5000 processes")
"""
MEMORY_BOMB = "held = []\nwhile True: held.append(bytearray(b'x') * (8 << 20))"
DISK_FILLER = """
for number in range(4000):
    with open(f"/opt/stoker/{number}.bin", "wb") as file:
        file.write(os.urandom(1 << 20))
    time.sleep(0.01)
"""
STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("HERE", file=sys.stderr, flush=True)
time.sleep(600)
"""


@pytest.fixture
async def runtime(tmp_path: Path) -> Any:
    """With narrow limits of its installations."""
    made = DockerRuntime(tmp_path, "tester", DockerConfig(bases=Bases(image=BASE), builds=LIMITS))
    await made.open()
    yield made
    await made.close()


def harmful(bundle: Bundle, code: str) -> Attempt:
    """A package of the bundle's own whose ``setup.py`` does it, however it is installed."""
    files = {
        "main.py": "print(1)",
        "requirements.txt": f"# {uuid.uuid4()}\n./harm\n",
        "harm/setup.py": SETUP.format(code=code),
    }
    return bundle(files)


async def refused(attempt: Attempt) -> CannotPrepare:
    with pytest.raises(CannotPrepare) as caught:
        await attempt.prepare()
    assert caught.value.reason is Reason.BUILD_FAILED
    return caught.value


async def test_what_a_package_runs_while_it_is_installed_has_no_rights(bundle: Bundle) -> None:
    attempt = harmful(bundle, LOOK)
    await refused(attempt)
    assert "LOOK 10001 0 1 True True True False" in attempt.text(Stream.BUILD)


async def test_it_gets_no_more_processes_than_others(bundle: Bundle) -> None:
    attempt = harmful(bundle, FORK_BOMB)
    await refused(attempt)
    assert "5000 processes" not in attempt.text(Stream.BUILD)


async def test_it_gets_no_more_memory(bundle: Bundle) -> None:
    assert "256 MiB" in str(await refused(harmful(bundle, MEMORY_BOMB)))


async def test_it_gets_no_more_disk(bundle: Bundle) -> None:
    assert "96 MiB" in str(await refused(harmful(bundle, DISK_FILLER)))


async def test_a_stubborn_one_is_gone_when_its_job_is_cancelled(
    bundle: Bundle, engine: Engine, tmp_path: Path
) -> None:
    attempt = harmful(bundle, STUBBORN)
    installing = asyncio.ensure_future(attempt.prepare())
    await until(lambda: len(installers(engine, tmp_path)) == 1)
    installing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await installing
    await until(lambda: not installers(engine, tmp_path))


async def test_one_whose_agent_died_is_removed_by_the_next(
    bundle: Bundle, engine: Engine, tmp_path: Path
) -> None:
    owner = owner_of("tester", tmp_path)
    body = {
        "Image": BASE,
        "Cmd": ["sleep", "600"],
        "Labels": {INSTALLS: owner, "stoker.owner": owner},
    }
    made = await asyncio.to_thread(engine.call, "POST", "/containers/create", None, body)
    await asyncio.to_thread(engine.call, "POST", f"/containers/{made['Id']}/start")
    assert len(installers(engine, tmp_path)) == 1
    await bundle({"main.py": ""}).runtime.open()
    assert not installers(engine, tmp_path)


async def test_the_image_holds_the_packages_and_nothing_of_the_way_there(
    bundle: Bundle, engine: Engine
) -> None:
    code = (
        "import json, os, pathlib, sys, six\n"
        "seen = {'tmp': os.path.exists('/opt/stoker/tmp'), 'home': os.environ['HOME'],\n"
        "        'prefix': sys.prefix, 'six': six.__file__,\n"
        "        'pip': [n for n in os.environ if n.startswith('PIP_') or n == 'TMPDIR']}\n"
        "pathlib.Path(os.environ['STOKER_OUTPUTS'], 'said').write_text(json.dumps(seen))\n"
    )
    attempt = bundle({"main.py": code, "requirements.txt": f"# {uuid.uuid4()}\nsix\n"})
    prepared = await attempt.prepare()
    assert (await attempt.run()).code == 0
    seen = json.loads(attempt.output())
    assert (seen["tmp"], seen["home"], seen["pip"]) == (False, "/tmp", [])
    assert seen["prefix"] == "/opt/stoker/env"
    assert seen["six"].startswith("/opt/stoker/env/")
    image = await asyncio.to_thread(engine.image, f"stoker-env:{prepared.environment.key}")
    assert image is not None
    assert not image["Config"]["Labels"].get(INSTALLS)


async def test_a_base_image_that_is_a_virtual_environment_itself_is_seen_through(
    bundle: Bundle, engine: Engine
) -> None:
    name = f"stoker-test-venv:{uuid.uuid4().hex[:8]}"
    dockerfile = (
        f"FROM {BASE}\nRUN python -m venv --system-site-packages /venv\n"
        "RUN echo 'here = 1' > $(/venv/bin/python -c "
        "\"import sysconfig; print(sysconfig.get_path('purelib'))\")/of_the_base.py\n"
        "ENV PATH=/venv/bin:$PATH\n"
    )
    await asyncio.to_thread(build, engine, name, dockerfile)
    try:
        files = {"main.py": "import of_the_base, six", "requirements.txt": f"# {name}\nsix\n"}
        assert (await bundle(files, image=name).run()).code == 0
    finally:
        await asyncio.to_thread(engine.call, "DELETE", f"/images/{name}", {"force": 1})


async def test_a_pool_may_build_no_dockerfiles(tmp_path: Path, bundle: Bundle) -> None:
    bases = Bases(image=BASE, dockerfiles=False)
    strict = DockerRuntime(tmp_path, "tester", DockerConfig(bases=bases))
    attempt = bundle({"main.py": "", "Dockerfile": f"FROM {BASE}\n"})
    attempt.runtime, open_one = strict, attempt.runtime
    try:
        assert "builds none" in str(await refused(attempt))
    finally:
        attempt.runtime = open_one
        await strict.close()


def installers(engine: Engine, work: Path) -> list[Any]:
    filters = json.dumps({"label": [f"{INSTALLS}={owner_of('tester', work)}"]})
    found: list[Any] = engine.call("GET", "/containers/json", {"all": 1, "filters": filters})
    return found


def build(engine: Engine, name: str, dockerfile: str) -> None:
    context = files_context({"Dockerfile": dockerfile.encode()})
    with contextlib.closing(engine.link(120.0)) as link:
        link.send_request("POST", "/build", {"t": name, "rm": 1}, context)
        for batch in json_lines(link.answer()):
            assert not any("error" in message for message in batch), batch
