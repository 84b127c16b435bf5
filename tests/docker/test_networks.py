"""What does a job reach in each of the networks that it may ask for?"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pip._internal.models.index import PyPI

from agent.runtimes.bases import Bases
from agent.runtimes.docker_engine import Engine
from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime
from agent.runtimes.protocol import CannotPrepare

from .conftest import BASE, Attempt, Bundle

pytestmark = pytest.mark.docker

REACH = """
import json, os, pathlib, socket, sys
def reach(target):
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError as error:
        return str(error)
    return "reached"
found = {target: reach(target) for target in sys.argv[1:]}
pathlib.Path(os.environ["STOKER_OUTPUTS"], "said").write_text(json.dumps(found))
"""
OUTSIDE = f"{PyPI.netloc}:443"
"""What pip asks by default: a worker has to reach it."""


@pytest.fixture
async def service() -> AsyncIterator[int]:
    """Something of this machine's own that listens on all of its addresses."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "0.0.0.0", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def addresses(engine: Engine) -> list[str]:
    """This machine's, as containers could name them."""
    told = subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, check=True, text=True)
    found = [one["local"] for link in json.loads(told.stdout) for one in link["addr_info"]]
    return [address for address in found if not address.startswith("127.")]


async def reached(attempt: Attempt) -> set[str]:
    assert (await attempt.run()).code == 0
    found: dict[str, str] = json.loads(attempt.output())
    return {target for target, said in found.items() if said == "reached"}


def outside_is_there() -> bool:
    host, port = OUTSIDE.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("iptables") is None, reason="needs root and iptables"
)
async def test_outbound_reaches_the_internet_and_nothing_of_this_machine(
    bundle: Bundle, engine: Engine, service: int
) -> None:
    neighbour = bundle({"main.py": "import time\ntime.sleep(60)"}, network="outbound")
    prepared = await neighbour.prepare()  # makes the bridge, whose address is asked for too
    await neighbour.runtime.start(neighbour.folder, prepared.launch, lambda _: None)
    own = [f"{address}:{service}" for address in addresses(engine)]
    metadata = ["169.254.169.254:80", "100.100.100.200:80", "10.0.0.1:80", "192.168.0.1:80"]
    asked = [*own, *metadata, OUTSIDE]
    assert len(own) >= 2
    full = await reached(bundle({"main.py": REACH}, network="full", arguments=own))
    assert full, "the engine's bridge reaches this machine: else the test shows nothing"
    found = await reached(bundle({"main.py": REACH}, network="outbound", arguments=asked))
    assert found == ({OUTSIDE} if outside_is_there() else set())


async def test_a_pool_may_give_less(tmp_path: Path, bundle: Bundle) -> None:
    config = DockerConfig(bases=Bases(image=BASE), networks=("none", "outbound"))
    strict = DockerRuntime(tmp_path, "tester", config)
    attempt = bundle({"main.py": ""}, network="full")
    given, attempt.runtime = attempt.runtime, strict
    try:
        with pytest.raises(CannotPrepare, match="gives no network full; it gives none, outbound"):
            await attempt.prepare()
    finally:
        attempt.runtime = given
        await strict.close()
