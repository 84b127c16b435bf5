"""Does a log reach the browser whole: late, after a break, over attempts, by ranges?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from bus.connection import Bus
from schemas.job import Fact, State
from schemas.log import Stream
from tests.integration.ui_run import JOB, Run
from ui.app import serving
from ui.config import UiConfig

SOCKET = f"/api/v1/jobs/{JOB}/log/ws"
Session = aiohttp.ClientSession


@dataclass
class Seen:
    """What one socket has brought so far."""

    text: bytes = b""
    streams: str = ""
    controls: list[dict[str, Any]] = field(default_factory=list)
    place: str = ""
    size: int = 0
    """Bytes of binary frames."""

    def take(self, message: aiohttp.WSMessage) -> None:
        if message.type is aiohttp.WSMsgType.TEXT:
            self.controls.append(json.loads(message.data))
            return
        assert message.type is aiohttp.WSMsgType.BINARY, message
        self.size += len(message.data)
        length = int.from_bytes(message.data[:4], "big")
        header = json.loads(message.data[4 : 4 + length])
        body = message.data[4 + length :]
        assert sum(size for _, size in header["spans"]) == len(body)
        self.streams += "".join(stream for stream, _ in header["spans"])
        self.text += body
        self.place = f"{header['attempt']}.{header['rank']}.{header['offset'] + len(body)}"

    @property
    def types(self) -> list[str]:
        return [control["type"] for control in self.controls]


async def watch(ws: aiohttp.ClientWebSocketResponse, seen: Seen, text: bytes | None = None) -> Seen:
    """Until the end frame, or until that text has come."""
    async with asyncio.timeout(20):
        while (text is None and "end" not in seen.types) or (text and not seen.text.endswith(text)):
            seen.take(await ws.receive())
    return seen


@pytest.fixture
async def run(bus: Bus) -> Run:
    run = Run(bus)
    await run.step(Fact.SUBMITTED)
    return run


@pytest.fixture
async def http(bus: Bus) -> AsyncIterator[Session]:
    async with serving(bus, UiConfig(port=0)) as address, Session(address) as session:
        yield session


async def test_one_who_comes_late_gets_everything_and_then_the_tail(
    http: Session, run: Run
) -> None:
    await run.begin()
    for number in range(200):
        await run.write(b"line %d\n" % number)
    async with http.ws_connect(SOCKET) as ws:
        seen = await watch(ws, Seen(), b"line 199\n")
        await run.write(b"a late line\n", Stream.STDERR)
        await watch(ws, seen, b"a late line\n")
        await run.end()
        await watch(ws, seen)
    assert seen.text == run.text
    assert seen.streams.endswith("e")
    assert seen.types[0] == "job"
    assert seen.types[-2:] == ["job", "end"]
    assert seen.controls[-2]["job"]["state"] == "succeeded"
    assert seen.controls[-1]["cursor"] == f"1.0.{len(run.text)}"


async def test_one_who_watches_from_the_beginning_sees_each_state(http: Session, run: Run) -> None:
    async with http.ws_connect(SOCKET) as ws:
        seen = Seen()
        async with asyncio.timeout(10):
            seen.take(await ws.receive())
        await run.begin()
        await run.write(b"hello\n", Stream.BUILD)
        await watch(ws, seen, b"hello\n")
        await run.end()
        await watch(ws, seen)
    assert seen.text == b"hello\n"
    states = [control["job"]["state"] for control in seen.controls if control["type"] == "job"]
    assert states == ["waiting", "running", "succeeded"]
    assert "secret-" not in json.dumps(seen.controls)


@pytest.mark.parametrize("cut", [0, 1, 500, 999, 1000, 4999, 5000])
async def test_a_cursor_goes_on_with_the_next_byte(http: Session, run: Run, cut: int) -> None:
    await run.begin()
    for letter in b"abcde":
        await run.write(bytes([letter]) * 1000)
    await run.end()
    async with http.ws_connect(f"{SOCKET}?after=1.0.{cut}") as ws:
        seen = await watch(ws, Seen())
    assert seen.text == run.text[cut:]


async def test_a_page_that_was_away_catches_up_without_a_gap_or_a_repeat(
    http: Session, run: Run
) -> None:
    await run.begin()
    seen = Seen()
    place = "0.0.0"
    for part in range(5):
        async with http.ws_connect(f"{SOCKET}?after={place}") as ws:
            await run.write(b"while it looks %d\n" % part)
            await watch(ws, seen, b"while it looks %d\n" % part)
            place = seen.place
        await run.write(b"while it is away %d\n" % part)
    await run.end()
    async with http.ws_connect(f"{SOCKET}?after={place}") as ws:
        await watch(ws, seen)
    assert seen.text == run.text


async def test_the_next_attempt_follows_the_one_that_was_lost(http: Session, run: Run) -> None:
    await run.begin("w1")
    async with http.ws_connect(SOCKET) as ws:
        await run.write(b"first try\n")
        seen = await watch(ws, Seen(), b"first try\n")
        await run.end(Fact.RETRYING, State.WAITING)
        await run.begin("w2")
        await run.write(b"second try\n")
        await watch(ws, seen, b"second try\n")
        await run.end()
        await watch(ws, seen)
    assert seen.text == b"first try\nsecond try\n"
    attempts = [control["number"] for control in seen.controls if control["type"] == "attempt"]
    assert attempts == [1, 2]


async def test_one_attempt_alone_can_be_watched(http: Session, run: Run) -> None:
    for text in (b"first\n", b"second\n"):
        await run.begin()
        await run.write(text)
        last = text == b"second\n"
        await run.end(
            *((Fact.SUCCEEDED, State.SUCCEEDED) if last else (Fact.RETRYING, State.WAITING))
        )
    for number, text in ((1, b"first\n"), (2, b"second\n")):
        async with http.ws_connect(f"{SOCKET}?attempt={number}") as ws:
            assert (await watch(ws, Seen())).text == text
        async with http.get(f"/api/v1/jobs/{JOB}/log?attempt={number}") as answer:
            assert await answer.read() == text


async def test_a_job_that_never_ran_ends_at_once(http: Session, run: Run) -> None:
    async with http.ws_connect(SOCKET) as ws:
        await run.step(Fact.CANCELLED, state=State.CANCELLED)
        seen = await watch(ws, Seen())
    assert seen.text == b""
    async with http.get(f"/api/v1/jobs/{JOB}/log") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_a_window_bounds_what_is_on_the_way(http: Session, run: Run) -> None:
    await run.begin()
    for _ in range(40):
        await run.write(b"x" * 50_000)
    await run.end()
    seen = Seen()
    async with http.ws_connect(f"{SOCKET}?window=100000") as ws:
        with pytest.raises(TimeoutError):
            await take_bytes(ws, seen, 0.5)
        assert 100_000 <= seen.size < 400_000
        async with asyncio.timeout(20):
            while "end" not in seen.types:
                await ws.send_json({"seen": seen.size})
                seen.take(await ws.receive())
    assert seen.text == run.text


async def take_bytes(ws: aiohttp.ClientWebSocketResponse, seen: Seen, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            seen.take(await ws.receive())


async def test_many_viewers_get_the_same(http: Session, run: Run) -> None:
    await run.begin()

    async def look() -> bytes:
        async with http.ws_connect(SOCKET) as ws:
            return (await watch(ws, Seen())).text

    async with asyncio.TaskGroup() as group:
        lookers = [group.create_task(look()) for _ in range(50)]
        for number in range(100):
            await run.write(b"line %d\n" % number)
        await run.end()
    assert {looker.result() for looker in lookers} == {run.text}


async def test_the_text_takes_ranges(http: Session, run: Run) -> None:
    await run.begin()
    for number in range(1000):
        await run.write(b"%05d\n" % number)
    await run.end()
    url = f"/api/v1/jobs/{JOB}/log"
    async with http.get(url) as answer:
        assert answer.headers["Content-Length"] == "6000"
        assert answer.content_type == "text/plain"
        assert await answer.read() == run.text
    for header, start, stop in (("0-99", 0, 100), ("2999-3000", 2999, 3001), ("-7", 5993, 6000)):
        async with http.get(url, headers={"Range": f"bytes={header}"}) as answer:
            assert answer.status == 206
            assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/6000"
            assert await answer.read() == run.text[start:stop]
    async with http.get(url, headers={"Range": "bytes=6000-"}) as answer:
        assert answer.status == 416
    async with http.get(f"{url}?download=1") as answer:
        assert "attachment" in answer.headers["Content-Disposition"]
    async with http.head(url) as answer:
        assert answer.headers["Content-Length"] == "6000"
    async with http.get(f"{url}?attempt=2") as answer:
        assert answer.status == 404


async def test_bytes_pass_as_they_are(http: Session, run: Run) -> None:
    await run.begin()
    odd = bytes(range(256)) + "漢字 🚂".encode()
    for cut in (odd[:100], odd[100:258], odd[258:]):
        await run.write(cut)
    await run.end()
    async with http.ws_connect(SOCKET) as ws:
        assert (await watch(ws, Seen())).text == odd
    async with http.get(f"/api/v1/jobs/{JOB}/log") as answer:
        assert await answer.read() == odd
