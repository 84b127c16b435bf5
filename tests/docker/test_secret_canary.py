"""A secret's value is looked for everywhere but in the container that it was given to.

One whole ``stoker up``, a job that uses a variable and a file, and an agent that is killed in the
middle of it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.redact import written
from bus.connection import Bus
from bus.link import BusConfig
from tests.docker.conftest import BASE, PATIENCE
from tests.plugins.running import Up, running_up

pytestmark = pytest.mark.docker

TOKEN, HIDDEN = f"canary-{secrets.token_hex(8)}", f"canary-{secrets.token_hex(8)}"
KEY = b"\0%s\xff\n" % HIDDEN.encode() + bytes(range(64))
FORMS = sorted({*written(TOKEN), *written(HIDDEN)}, key=len)
MAIN = """\
import base64, hashlib, os, pathlib, sys, time
token, key = os.environ["TOKEN"], pathlib.Path("/run/secrets/key").read_bytes()
print("used", hashlib.sha256(token.encode()).hexdigest(), hashlib.sha256(key).hexdigest())
print(token, base64.b64encode(token.encode()).decode(), token.encode().hex(), file=sys.stderr)
print("ready", flush=True)
while not os.path.exists("/outputs/go"):
    time.sleep(0.05)
sys.exit("failed on purpose with " + token)
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STOKER_BASE_IMAGE", BASE)
        with running_up(tmp_path_factory.mktemp("canary"), "--runtime", "docker") as running:
            yield running


class Ear(threading.Thread):
    """All that the debugging user can hear."""

    def __init__(self, up: Up) -> None:
        super().__init__(daemon=True)
        credentials = str(up.data / "identities" / "debug.creds")
        self._config = BusConfig((up.nats,), "debug", credentials=credentials)
        self.heard = bytearray()
        self.ready = threading.Event()

    def run(self) -> None:
        asyncio.run(self.listen())

    async def listen(self) -> None:
        async with Bus.connect(self._config) as bus:
            subscription = await bus.nc.subscribe(">")
            await bus.nc.flush()
            self.ready.set()
            async for message in subscription.messages:
                self.heard += message.subject.encode() + message.data
                self.heard += json.dumps(dict(message.headers or {})).encode()


def test_a_value_is_nowhere_but_in_its_container(up: Up, tmp_path: Path) -> None:
    ear = Ear(up)
    ear.start()
    assert ear.ready.wait(PATIENCE)
    said = set_secret(up, "TOKEN", TOKEN.encode()) + set_secret(up, "KEY", KEY)
    (tmp_path / "main.py").write_text(MAIN)
    uses = ("--secret", "TOKEN", "--secret", "KEY:/run/secrets/key")
    sent = up.stoker("submit", str(tmp_path), "--cpus", "0.5", *uses)
    assert sent.returncode == 0, sent.stderr
    job = sent.stdout.strip()
    try:
        until(lambda: b"ready" in printed(up, job))
        everywhere(up, ear, job, said + sent.stdout + sent.stderr)
    finally:
        up.stoker("cancel", job)


def everywhere(up: Up, ear: Ear, job: str, said: str) -> None:
    killed = agent_of(up)
    os.kill(killed, signal.SIGKILL)
    container = f"stoker-{job}-1"
    inside = processes_of(container)
    assert any(TOKEN.encode() in environ(pid) for pid in inside), "it is not where it has to be"
    said += shown_by_the_engine(container)
    nothing_found(up, ear, job, inside, said)
    until(lambda: agent_of(up, 0) not in (0, killed))

    (up.data / "work" / "attempts" / f"{job}.1" / "outputs" / "go").touch()
    ended = up.stoker("wait", job)
    record = up.client.job(job)
    assert (record.state, record.raw["attempt"], record.exit_code) == ("failed", 1, 1), ended
    assert f"used {digest(TOKEN.encode())} {digest(KEY)}".encode() in printed(up, job)
    assert b"[redacted TOKEN]" in printed(up, job)
    nothing_found(up, ear, job, set(), said + ended.stdout + ended.stderr)
    assert not found(run("docker", "image", "save", BASE))
    assert (b"stoker.audit.secrets.secret-set" in ear.heard, b"TOKEN" in ear.heard) == (True, True)


def test_a_secret_that_was_removed_ends_the_attempt_with_the_reason(up: Up, tmp_path: Path) -> None:
    set_secret(up, "PASSING", b"soon removed")
    (tmp_path / "main.py").write_text("print(1)\n")
    up.stoker("worker", "drain", up.client.workers()[0].name)
    sent = up.stoker("submit", str(tmp_path), "--secret", "PASSING")
    assert sent.returncode == 0, sent.stderr
    up.stoker("secret", "remove", "PASSING")
    up.stoker("worker", "drain", "--off", up.client.workers()[0].name)
    job = sent.stdout.strip()
    up.stoker("wait", job)
    record = up.client.job(job).raw
    assert (record["reason"], record["attempt"]) == ("secret_unavailable", 1)
    assert record["detail"] == "there is no secret PASSING any more"


def test_a_refused_value_is_not_told_back(up: Up) -> None:
    for name, body in (
        ("BAD-NAME", {"value": TOKEN}),
        ("TOKEN", {"value": TOKEN, "base64": TOKEN}),
        ("TOKEN", {"value": {"deep": TOKEN}}),
        ("TOKEN", {"base64": TOKEN}),
        ("TOKEN", {"value": TOKEN * 5000}),
    ):
        assert not found(answer(up, f"/secrets/{name}", "PUT", body))
    assert not found((up.data / "stoker.log").read_bytes())


# Where it is looked for.


def nothing_found(up: Up, ear: Ear, job: str, inside: set[int], said: str) -> None:
    assert not found(said.encode()), "in what was printed, or shown by the engine"
    assert not found(bytes(ear.heard)), "on the bus"
    for path in (*up.data.rglob("*"), *Path("/dev/shm").rglob("*")):
        if path.is_file():
            assert not found(path.read_bytes()), path
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        # This process knows the value itself.
        assert not found(read(f"/proc/{pid}/cmdline")), pid
        assert pid in inside or not found(environ(pid)), pid
    for path in ("", "/log", "/log/rows", "/log/search?q=used"):
        assert not found(answer(up, f"/jobs/{job}{path}")), path
    for path in ("/secrets", "/jobs", "/workers", "/audit", "/openapi.json"):
        assert not found(answer(up, path)), path


def found(data: bytes) -> list[bytes]:
    return [form for form in FORMS if form in data]


def shown_by_the_engine(container: str) -> str:
    shown = run("docker", "inspect", container) + run("docker", "top", container)
    shown += run("docker", "diff", container) + run("docker", "ps", "--no-trunc")
    return shown.decode(errors="replace")


def processes_of(container: str) -> set[int]:
    listed = run("docker", "top", container, "-o", "pid").split()[1:]
    return {int(pid) for pid in listed}


def agent_of(up: Up, default: int = -1) -> int:
    """The agent's process; ``default`` where there is none at the moment."""
    children = run("ps", "--ppid", str(up.process.pid), "-wwo", "pid=,args=").decode().splitlines()
    agents = [line for line in children if "agent_process" in line]
    assert agents or default >= 0, children
    return int(agents[0].split()[0]) if agents else default


def environ(pid: int) -> bytes:
    return read(f"/proc/{pid}/environ")


def read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


# What is done.


def set_secret(up: Up, name: str, value: bytes) -> str:
    command = [sys.executable, "-m", "stoker", "secret", "set", name]
    told = subprocess.run(
        command, input=value, capture_output=True, env=up.environment, timeout=60, check=True
    )
    return (told.stdout + told.stderr).decode()


def answer(up: Up, path: str, method: str = "GET", body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{up.url}/api/v1{path}", data, method=method)
    request.add_header("Authorization", f"Bearer {up.token}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        return bytes(error.read())


def printed(up: Up, job: str) -> bytes:
    return answer(up, f"/jobs/{job}/log")


def run(*command: str) -> bytes:
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True).stdout


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.1)


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    for hidden in (TOKEN.encode(), base64.b64encode(b"xx" + TOKEN.encode()), b"a" + KEY):
        assert found(b"..." + hidden + b"...")
