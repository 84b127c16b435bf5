"""A real nats-server for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.layout import declare
from bus.link import BusConfig
from bus.server import EmbeddedServer, ServerConfig, nats_server
from tests.plugins.machine import pytest_collection_modifyitems, pytest_terminal_summary

__all__ = ("pytest_collection_modifyitems", "pytest_terminal_summary")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    async with nats_server(ServerConfig(tmp_path / "nats")) as running:
        yield running


@pytest.fixture
async def bus(server: EmbeddedServer) -> AsyncIterator[Bus]:
    """Connected, with every stream and bucket declared."""
    async with Bus.connect(BusConfig(servers=(server.url,), name="test")) as connected:
        await declare(connected)
        yield connected
