"""Secrets in containers of a real engine: inside they are there, outside nobody is shown them."""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest

from agent.handing import Secrets
from agent.runtimes.docker_engine import Engine
from agent.runtimes.docker_programs import Programs
from agent.runtimes.protocol import CannotPrepare, Exit
from schemas.reason import Reason
from tests.docker.conftest import BASE, PATIENCE, Attempt, Bundle, until

pytestmark = pytest.mark.docker

VALUE = b"canary-7f3a'91\n $x `y` \xc3\xa9"
KEY = bytes(range(256)) * 8
MAIN = """\
import os, pathlib, stat, sys
key = pathlib.Path("/run/secrets/key")
print("token", os.environb[b"TOKEN"] == bytes.fromhex("HEX"))
print("key", key.read_bytes() == bytes(range(256)) * 8, oct(stat.S_IMODE(key.stat().st_mode)))
print("owner", key.stat().st_uid == os.getuid(), key.parent.stat().st_mode & 0o777 == 0o700)
print("folder", os.environ["STOKER_SECRETS"], os.listdir("/run/secrets"))
print("input", sys.stdin.read() == "", "arguments", sys.argv[1:])
for pid in filter(str.isdigit, os.listdir("/proc")):
    line = pathlib.Path("/proc", pid, "cmdline").read_bytes()
    assert b"canary" not in line, line
print(os.environ["TOKEN"].splitlines()[0])
if sys.argv[1:]:
    import time
    print("waiting")
    time.sleep(60)
""".replace("HEX", VALUE.hex())
USES = ["TOKEN", "KEY:/run/secrets/key"]
SECRETS = Secrets({"TOKEN": VALUE, "KEY": KEY}, {"TOKEN": "TOKEN"}, {"/run/secrets/key": "KEY"})


async def start(attempt: Attempt, secrets: Secrets = SECRETS) -> None:
    prepared = await attempt.prepare()
    news = attempt.news.set
    await attempt.runtime.start(attempt.folder, prepared.launch, lambda _: news(), secrets)


async def run(attempt: Attempt, secrets: Secrets = SECRETS) -> Exit:
    await start(attempt, secrets)
    async with asyncio.timeout(PATIENCE):
        return await attempt.runtime.wait(attempt.folder)


def command_lines() -> str:
    return subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout


async def test_a_program_gets_a_variable_and_a_file(bundle: Bundle) -> None:
    attempt = bundle({"main.py": MAIN}, secrets=USES)
    exit = await run(attempt)
    printed = attempt.printed()
    assert exit.code == 0, printed
    assert "token True" in printed
    assert "key True 0o600" in printed
    assert "owner True True" in printed
    assert "folder /run/secrets ['key']" in printed
    assert "input True arguments []" in printed
    assert "[redacted TOKEN]" in printed
    assert "canary" not in printed


async def test_whoever_looks_from_outside_sees_no_value(bundle: Bundle, engine: Engine) -> None:
    attempt = bundle({"main.py": MAIN}, secrets=USES, arguments=["wait"], grace=0)
    await start(attempt)
    await until(lambda: "waiting" in attempt.printed())
    shown = json.dumps(engine.call("GET", f"/containers/{attempt.container}/json"))
    shown += json.dumps(engine.call("GET", f"/containers/{attempt.container}/top"))
    shown += await asyncio.to_thread(command_lines)
    for path in attempt.folder.path.rglob("*"):
        shown += path.read_bytes().decode("latin-1") if path.is_file() else ""
    await attempt.runtime.stop(attempt.folder, 0, Reason.CANCELLED)
    async with asyncio.timeout(PATIENCE):
        await attempt.runtime.wait(attempt.folder)
    assert "7f3a" not in shown
    assert "/bin/sh" in shown


OWN = """\
FROM {base}
ENTRYPOINT ["python", "-c", "import os; print(len(os.environb[b'TOKEN']))"]
"""


async def test_an_images_own_command_gets_them_too(bundle: Bundle) -> None:
    attempt = bundle({"Dockerfile": OWN.format(base=BASE)}, secrets=["TOKEN"])
    exit = await run(attempt, Secrets({"TOKEN": VALUE}, {"TOKEN": "TOKEN"}))
    assert (exit.code, attempt.printed().strip()) == (0, str(len(VALUE)))


async def test_an_image_without_a_shell_is_refused_with_the_reason(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = bundle({"main.py": ""}, secrets=["TOKEN"])
    bare = Programs(shell=False, python="python")
    monkeypatch.setattr(attempt.runtime._programs, "of", lambda image: bare)
    with pytest.raises(CannotPrepare, match="no /bin/sh") as refused:
        await attempt.prepare()
    assert refused.value.reason is Reason.SECRET_UNAVAILABLE
