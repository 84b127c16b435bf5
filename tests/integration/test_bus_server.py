"""The embedded server keeps its data to itself, comes back, and leaves when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.layout import declare
from bus.link import BusConfig
from bus.records import Records
from bus.server import PID_FILE, EmbeddedServer, ServerConfig, ServerError, nats_server
from schemas.job import Fact
from tests.unit.test_codec import a_fact

ABANDON = """\
import asyncio, os, signal, sys
from pathlib import Path
from bus.server import ServerConfig, nats_server

async def main():
    async with nats_server(ServerConfig(Path(sys.argv[1]))):
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_second_server_on_the_same_data_is_refused_in_one_sentence(
    server: EmbeddedServer,
) -> None:
    with pytest.raises(ServerError) as caught:
        async with nats_server(ServerConfig(server.config.data)):
            pass
    sentence = str(caught.value)
    assert "another nats-server runs on" in sentence
    assert "\n" not in sentence


async def test_a_port_that_is_taken_is_told(server: EmbeddedServer, tmp_path: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(ServerError, match="in use"):
        async with nats_server(ServerConfig(tmp_path / "other", port=port)):
            pass


async def test_its_configuration_is_its_owners_alone(server: EmbeddedServer) -> None:
    mode = (server.config.data / "nats.conf").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


async def test_it_ends_with_its_context(tmp_path: Path) -> None:
    async with nats_server(ServerConfig(tmp_path)) as server:
        pid = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_what_was_acknowledged_outlives_a_kill(bus: Bus, server: EmbeddedServer) -> None:
    fact = a_fact()
    sequence = await Records(bus).write(fact.record, Fact.QUEUED, 0)
    killed = server.pid
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(15):
        while server.pid == killed or not bus.connected:  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.02)
    stored = await Records(bus).get("j1")
    assert (stored.record, stored.sequence) == (fact.record, sequence)


async def test_one_left_behind_by_a_killed_keeper_is_ended(tmp_path: Path) -> None:
    keeper = await asyncio.create_subprocess_exec(sys.executable, "-c", ABANDON, str(tmp_path))
    async with asyncio.timeout(20):
        await keeper.wait()
    orphan = int((tmp_path / PID_FILE).read_text())
    os.kill(orphan, 0)
    async with (
        nats_server(ServerConfig(tmp_path)) as server,
        Bus.connect(BusConfig(servers=(server.url,))) as bus,
    ):
        await declare(bus)
        assert server.pid != orphan
        assert int((tmp_path / PID_FILE).read_text()) == server.pid
