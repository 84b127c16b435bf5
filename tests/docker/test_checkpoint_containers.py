"""A container finds its checkpoint and why it is stopped, and is measured as the kernel counts."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import threading
from collections.abc import Iterator

import pytest

from agent.folder import AttemptFolder
from agent.runtimes.docker_runtime import DockerRuntime
from agent.runtimes.usage import Meter, Usage
from schemas.reason import Reason

from .conftest import PATIENCE, Attempt, Bundle

pytestmark = pytest.mark.docker

MIB = 1 << 20
CPU, MEMORY, WRITTEN, SENT, RECEIVED = 1.5, 150 * MIB, 48 * MIB, 24 * MIB, 12 * MIB
PROGRAM = f"""
import os, pathlib, signal, socket, sys, time
folder = pathlib.Path(os.environ["STOKER_CHECKPOINTS"])
assert str(folder) == "/checkpoints" and (folder / "model").read_text() == "restored"
(folder / "mine").write_text("written")

def stop(*_):
    why = pathlib.Path(os.environ["STOKER_STOP_FILE"])
    try:
        (why.parent / "forged").write_text("")
    except OSError as error:
        print("told", *why.read_text().split(), type(error).__name__, flush=True)
    sys.exit(7)

signal.signal(signal.SIGTERM, stop)
port = int(sys.argv[1])
routes = [line.split() for line in open("/proc/net/route").readlines()[1:]]
gateway = next(row[2] for row in routes if row[1] == "00000000")
host = ".".join(str(byte) for byte in reversed(bytes.fromhex(gateway)))
print("ready", flush=True)
until = time.process_time() + {CPU}
while time.process_time() < until:
    pass
held = bytearray(os.urandom({MIB})) * {MEMORY // MIB}
with open("/outputs/big", "wb") as file:
    for _ in range({WRITTEN // MIB}):
        file.write(os.urandom({MIB}))
    file.flush()
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
with open("/outputs/big", "rb", buffering=0) as file:
    while file.read({MIB}):
        pass
with socket.create_connection((host, port), timeout=30) as line:
    for _ in range({SENT // MIB}):
        line.sendall(bytes({MIB}))
    line.shutdown(socket.SHUT_WR)
    while line.recv({MIB}):
        pass
print(f"used {{time.process_time()}} s", flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture
def listener() -> Iterator[int]:
    """Takes all that comes on one connection, and then sends ``RECEIVED`` bytes."""
    with socket.create_server(("0.0.0.0", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                while line.recv(MIB):
                    pass
                for _ in range(RECEIVED // MIB):
                    line.sendall(bytes(MIB))

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


async def until_printed(attempt: Attempt, text: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while text not in attempt.printed():
            attempt.news.clear()
            if text not in attempt.printed():
                await attempt.news.wait()


def meter_of(runtime: DockerRuntime, folder: AttemptFolder) -> Meter:
    meter = runtime.meter(folder)
    assert meter is not None
    return meter


def read(meter: Meter) -> Usage:
    usage = meter.read()
    assert usage is not None
    return usage


async def test_a_container_is_told_why_it_is_stopped_and_measured_exactly(
    bundle: Bundle, runtime: DockerRuntime, listener: int
) -> None:
    attempt = bundle({"main.py": PROGRAM}, network="full", arguments=[str(listener)])
    attempt.folder.checkpoints.mkdir()
    (attempt.folder.checkpoints / "model").write_text("restored")
    prepared = await attempt.prepare()
    await runtime.start(attempt.folder, prepared.launch, lambda _: attempt.news.set())
    await until_printed(attempt, "ready")
    meter = meter_of(runtime, attempt.folder)
    before = read(meter)
    await until_printed(attempt, " s\n")
    after = read(meter)
    spent = re.search(r"used ([\d.]+)", attempt.printed())
    assert spent is not None
    used = {
        name: getattr(after, name) - getattr(before, name)
        for name in ("cpu", "memory", "read", "written", "received", "sent")
    }
    told = json.dumps(used)
    assert CPU - 0.1 <= used["cpu"] <= float(spent[1]) + 0.3, told
    assert MEMORY - 8 * MIB <= used["memory"] <= MEMORY + 16 * MIB, told
    assert WRITTEN <= used["written"] <= 1.1 * WRITTEN, told
    assert 0.9 * WRITTEN <= used["read"] <= 1.2 * WRITTEN, told
    assert SENT <= used["sent"] <= 1.1 * SENT, told
    assert RECEIVED <= used["received"] <= 1.1 * RECEIVED, told
    began = os.times()
    for _ in range(100):
        read(meter)
    ended = os.times()
    print("100 looks cost", ended.user + ended.system - began.user - began.system, "s", told)
    await runtime.stop(attempt.folder, 10.0, Reason.PREEMPTED)
    async with asyncio.timeout(PATIENCE):
        exit = await runtime.wait(attempt.folder)
    assert (exit.reason, exit.code) == (Reason.PREEMPTED, 7)
    assert "told preempted 10 OSError\n" in attempt.printed()
    assert (attempt.folder.checkpoints / "mine").read_text() == "written"
    assert meter.read() is None
