"""An endpoint that a program may say anything to answers 4xx, or nothing, and goes on answering."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator

import pytest

from agent.mlflow import http
from agent.mlflow.api import Answer
from agent.mlflow.http import BODY_MOST, CONNECTIONS_MOST, HttpServer
from agent.mlflow.listening import listen_here, listen_in

PATIENCE = 20.0
GOOD = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


def echo(method: str, target: str, body: bytes) -> Answer:
    if target == "/breaks":
        raise RuntimeError("on purpose")
    told = {"method": method, "target": target, "size": len(body)}
    return Answer(200, json.dumps(told).encode())


class Endpoint:
    def __init__(self, port: int) -> None:
        self._port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def say(self, *pieces: bytes) -> bytes:
        """All that is answered until the other end closes."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await self.connect()
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
            writer.write_eof()
            answer = await reader.read()
            writer.close()
        return answer


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    with listen_here() as listener:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(HttpServer(echo).serve(listener))
            yield Endpoint(listener.getsockname()[1])
            serving.cancel()


async def test_requests_of_one_connection_are_answered_in_order(endpoint: Endpoint) -> None:
    chunked = (
        b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    told = await endpoint.say(GOOD + GOOD[:20], GOOD[20:] + chunked)
    assert told.count(b"HTTP/1.1 200") == 3
    assert told.count(b'"target": "/a", "size": 2') == 2
    assert b'"method": "PUT", "target": "/b", "size": 3' in told


async def test_a_body_that_is_promised_is_asked_for(endpoint: Endpoint) -> None:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await endpoint.connect()
        writer.write(GOOD[:-4] + b"Expect: 100-continue\r\n\r\n")
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hi")
        assert b" 200 " in await reader.readline()
        writer.close()


HOSTILE = {
    "no-http": (b"\x16\x03\x01\x02\x00" * 20, b" 400 "),
    "no-host": (b"GET / HTTP/1.1\r\n\r\n", b" 400 "),
    "long-head": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * (1 << 17), b" 431 "),
    "told-too-long": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n" + b"x" * 1000,
        b" 413 ",
    ),
    "two-lengths": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b" 400 ",
    ),
    "bad-chunk": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b" 400 ",
    ),
    "endless-chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"100000\r\n" + b"x" * (1 << 20) + b"\r\n") * (BODY_MOST // (1 << 20) + 2),
        b" 413 ",
    ),
    "cut-short": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx", b" 400 "),
    "nothing": (b"", b""),
    "defect": (b"GET /breaks HTTP/1.1\r\nHost: x\r\n\r\n", b" 400 "),
}


@pytest.mark.parametrize(("said", "answer"), list(HOSTILE.values()), ids=list(HOSTILE))
async def test_what_is_no_request_gets_one_answer(
    endpoint: Endpoint, said: bytes, answer: bytes
) -> None:
    assert answer in (await endpoint.say(said))[:20]
    assert b" 200 " in await endpoint.say(GOOD)


async def test_a_slow_request_is_given_up(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.2)
    async with asyncio.timeout(PATIENCE):
        reader, writer = await endpoint.connect()
        writer.write(GOOD[:-1])
        assert b" 408 " in await reader.read()
        writer.close()


async def test_connections_beyond_the_bound_are_told_so(endpoint: Endpoint) -> None:
    async with asyncio.timeout(PATIENCE):
        idle = [await endpoint.connect() for _ in range(CONNECTIONS_MOST)]
        for reader, writer in idle:
            writer.write(GOOD)
            assert b" 200 " in await reader.readline()
        assert b" 503 " in await endpoint.say(GOOD)
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
    async with asyncio.timeout(PATIENCE):
        while b" 200 " not in await endpoint.say(GOOD):
            continue


def test_no_network_is_entered_that_is_this_agents_own() -> None:
    with pytest.raises(OSError, match="no network of its own"):
        listen_in(os.getpid())


def test_a_port_that_is_taken_is_told() -> None:
    with listen_here() as one, pytest.raises(OSError, match="in use"):
        listen_here(one.getsockname()[1])
