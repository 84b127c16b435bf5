"""With NATS's own command line a person can see everything, and logs read like a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.objects import Objects
from bus.records import Records
from bus.server import EmbeddedServer
from schemas.job import Fact
from schemas.log import LogChunk, Span, Stream, log_headers
from tests.unit.test_codec import a_fact

pytestmark = pytest.mark.nats_cli
ROOT = Path(__file__).resolve().parents[2]
DECODE = f"{sys.executable} -m stoker decode"
PRINTED = "epoch 1: 40%\nepoch 2: 80% é\n".encode()


@pytest.fixture
async def url(bus: Bus, server: EmbeddedServer) -> str:
    chunk = LogChunk(1, 0, 0, 1.5, (Span(Stream("o"), len(PRINTED)),), PRINTED)
    await bus.append("stoker.log.j1.1.0.box", PRINTED, log_headers(chunk))
    await Records(bus).write(a_fact().record, Fact.QUEUED, 0)
    return server.url


async def run(*command: str, home: Path) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=os.environ | {"XDG_CONFIG_HOME": str(home)},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode == 0, errors
    return output


async def test_a_log_reads_as_text(url: str, tmp_path: Path) -> None:
    output = await run(
        "nats", "-s", url, "sub", "--raw", "--stream", "LOGS", "--all", "--count", "1",
        "stoker.log.j1.>", home=tmp_path,
    )  # fmt: skip
    assert output.strip() == PRINTED.strip()


async def test_facts_read_as_json(url: str, tmp_path: Path) -> None:
    output = await run(
        "nats", "-s", url, "sub", "--raw", "--stream", "JOBS", "--all", "--count", "1",
        "--translate", DECODE, "stoker.job.>", home=tmp_path,
    )  # fmt: skip
    assert b'"state": "queued"' in output


async def test_streams_are_listed(url: str, tmp_path: Path) -> None:
    output = await run("nats", "-s", url, "stream", "ls", "-n", home=tmp_path)
    assert {b"JOBS", b"LOGS", b"METRICS"} <= set(output.split())


async def test_an_object_is_listed_and_read_whole(bus: Bus, url: str, tmp_path: Path) -> None:
    data = os.urandom(1_500_000)

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    await Objects(bus).put("bundles", "abc", chunks())
    assert b"abc" in await run("nats", "-s", url, "object", "ls", "bundles", home=tmp_path)
    file = tmp_path / "abc"
    await run(
        "nats", "-s", url, "object", "get", "bundles", "abc", "--output", str(file),
        "--force", "--no-progress", home=tmp_path,
    )  # fmt: skip
    assert file.read_bytes() == data


async def test_the_context_that_stoker_writes_works(url: str, tmp_path: Path) -> None:
    await run(sys.executable, "-m", "stoker", "nats-context", "--nats", url, home=tmp_path)
    output = await run("nats", "--context", "stoker", "stream", "ls", "-n", home=tmp_path)
    assert b"JOBS" in output.split()
