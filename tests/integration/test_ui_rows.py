"""Do the rows of a log reach the browser as a terminal would show them: stored, live, found?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from bus.connection import Bus
from bus.row_search import Hits, Query
from bus.rows import RowLog
from bus.sealed import LogArchive, StoredIndex
from schemas.job import Fact, State
from schemas.log import LogIndex, Stream
from tests.integration.ui_run import JOB, Run
from ui import searches
from ui.app import serving
from ui.config import UiConfig

LOG = f"/api/v1/jobs/{JOB}/log"
SOCKET = f"{LOG}/rows/ws"
BAR = b"".join(b"\rEpoch 1: %3d%%" % percent for percent in range(101)) + b"\n"
Session = aiohttp.ClientSession


def read_frame(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    length = int.from_bytes(data[:4], "big")
    header = json.loads(data[4 : 4 + length])
    lines = data[4 + length :].split(b"\n") if header["count"] else []
    assert len(lines) == header["count"] == sum(span[1] for span in header["spans"])
    return header, lines


@dataclass
class Page:
    """What a browser knows of a log by one socket."""

    rows: dict[int, bytes] = field(default_factory=dict)
    hello: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    types: list[str] = field(default_factory=list)
    controls: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0
    frames: int = 0

    def take(self, message: aiohttp.WSMessage) -> None:
        if message.type is aiohttp.WSMsgType.TEXT:
            control = json.loads(message.data)
            self.controls.append(control)
            self.types.append(control["type"])
            if control["type"] == "hello":
                settled = self.hello.get("settled", 0)
                self.rows = {n: row for n, row in self.rows.items() if n <= settled}
                self.hello = control
            return
        assert message.type is aiohttp.WSMsgType.BINARY, message
        self.size += len(message.data)
        self.frames += 1
        self.header, lines = read_frame(message.data)
        for number, line in enumerate(lines, self.header["first"]):
            goes_on = self.header["append"] and number == self.header["first"]
            self.rows[number] = (self.rows.get(number, b"") if goes_on else b"") + line

    @property
    def text(self) -> list[bytes]:
        return [row for _, row in sorted(self.rows.items())]


async def watch(ws: aiohttp.ClientWebSocketResponse, page: Page, last: bytes | None = None) -> Page:
    """Until the end frame, or until the last row is that one."""
    async with asyncio.timeout(20):
        while "end" not in page.types if last is None else page.text[-1:] != [last]:
            page.take(await ws.receive())
    return page


async def take_all(ws: aiohttp.ClientWebSocketResponse, page: Page, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            page.take(await ws.receive())


async def rows(http: Session, **query: str | int) -> tuple[dict[str, Any], list[bytes]]:
    async with http.get(f"{LOG}/rows", params=query) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "application/octet-stream"
        return read_frame(await answer.read())


@pytest.fixture
async def run(bus: Bus) -> Run:
    run = Run(bus)
    await run.step(Fact.SUBMITTED)
    return run


@pytest.fixture
async def http(bus: Bus) -> AsyncIterator[Session]:
    async with serving(bus, UiConfig(port=0)) as address, Session(address) as session:
        yield session


async def lines(run: Run, first: int, last: int) -> None:
    await run.write(b"".join(b"line %d\n" % number for number in range(first, last + 1)))


async def test_rows_are_read_from_any_place(http: Session, run: Run) -> None:
    await run.begin()
    await run.write(b"built\n", Stream.BUILD, 10.0)
    await lines(run, 2, 2000)
    await run.write(b"oh\n", Stream.STDERR, 50.0)
    await run.end()
    header, found = await rows(http, first=11, count=3)
    assert found == [b"line 11", b"line 12", b"line 13"]
    assert (header["first"], header["count"], header["append"]) == (11, 3, False)
    assert (header["total"], header["settled"], header["build"]) == (2001, 2001, 1)
    assert (header["end"], header["complete"]) == (len(run.text), True)
    assert (await rows(http, tail=2))[1] == [b"line 2000", b"oh"]
    assert (await rows(http))[0]["count"] == 500
    offset = run.text.index(b"line 1234") + 3
    header, found = await rows(http, offset=offset, count=1)
    assert (header["first"], found) == (1234, [b"line 1234"])
    header, found = await rows(http, time="1970-01-01T00:00:50", count=5)
    assert (header["first"], found, header["spans"]) == (2001, [b"oh"], [["e", 1, 50.0]])
    header, found = await rows(http, first=5000)
    assert (header["first"], header["count"], found) == (5000, 0, [])


async def test_a_bar_is_one_row(http: Session, run: Run) -> None:
    await run.begin()
    await run.write(b"start\n" + BAR + b"done\n")
    await run.end()
    assert (await rows(http))[1] == [b"start", b"Epoch 1: 100%", b"done"]


async def test_the_rows_that_can_change_come_first_and_then_every_change(
    http: Session, run: Run
) -> None:
    await run.begin()
    await lines(run, 1, 1000)
    async with http.ws_connect(SOCKET) as ws:
        page = await watch(ws, Page(), b"line 1000")
        assert page.types == ["job", "attempt", "hello"]
        assert page.hello["total"] == 1000
        settled = page.hello["settled"]
        assert 0 < settled < 1000
        assert sorted(page.rows) == list(range(settled + 1, 1001))
        await run.write(b"step 1")
        await watch(ws, page, b"step 1")
        await run.write(b"\rstep 2")
        await watch(ws, page, b"step 2")
        await run.write(b", the same line\nnext\n")
        await watch(ws, page, b"next")
        assert page.rows[1001] == b"step 2, the same line"
        await run.end()
        await watch(ws, page)
    assert page.header["complete"]
    assert page.types[-2:] == ["job", "end"]
    assert (await rows(http, first=settled + 1, count=5000))[1] == page.text


async def test_a_flood_of_changes_is_few_frames(http: Session, run: Run) -> None:
    await run.begin()
    async with http.ws_connect(SOCKET) as ws:
        page = Page()
        for percent in range(300):
            await run.write(b"\rEpoch 1: %3d%%" % percent)
        await run.write(b"\ndone\n")
        await watch(ws, page, b"done")
        await run.end()
        await watch(ws, page)
    assert page.text == [b"Epoch 1: 299%", b"done"]
    assert page.frames < 150


async def test_all_who_watch_see_the_same(http: Session, run: Run) -> None:
    await run.begin()

    async def look() -> list[bytes]:
        async with http.ws_connect(SOCKET) as ws:
            return (await watch(ws, Page())).text[-50:]

    async with asyncio.TaskGroup() as group:
        lookers = [group.create_task(look()) for _ in range(30)]
        for number in range(20):
            await lines(run, number * 10 + 1, number * 10 + 10)
        await run.end()
    assert len({tuple(looker.result()) for looker in lookers}) == 1
    assert lookers[0].result()[-1] == b"line 200"


async def test_one_that_falls_behind_is_given_the_newest_rows(http: Session, run: Run) -> None:
    await run.begin()
    async with http.ws_connect(f"{SOCKET}?window=2000") as ws, http.ws_connect(SOCKET) as other:
        page, quick = Page(), Page()
        for number in range(60):
            await lines(run, number * 100 + 1, number * 100 + 100)
            await watch(other, quick, b"line %d" % (number * 100 + 100))
        with pytest.raises(TimeoutError):
            await take_all(ws, page, 0.5)
        assert page.size < 40_000
        await ws.send_json({"seen": page.size})
        await watch(ws, page, b"line 6000")
        assert page.types.count("hello") == 2
        assert page.hello["total"] == 6000
        await run.end()
        async with asyncio.timeout(20):
            while "end" not in page.types:
                await ws.send_json({"seen": page.size})
                page.take(await ws.receive())
    assert page.header["complete"]


async def test_the_next_attempt_begins_with_a_hello(http: Session, run: Run) -> None:
    await run.begin("w1")
    async with http.ws_connect(SOCKET) as ws:
        await run.write(b"first try\n")
        page = await watch(ws, Page(), b"first try")
        await run.end(Fact.RETRYING, State.WAITING)
        await run.begin("w2")
        await run.write(b"second try\n")
        await watch(ws, page, b"second try")
        await run.end()
        await watch(ws, page)
    told = [kind for kind in page.types if kind != "job"]
    assert told == ["attempt", "hello", "attempt", "hello", "end"]
    assert page.hello["attempt"] == 2
    assert (await rows(http, attempt=1))[1] == [b"first try"]


async def test_rows_of_a_log_that_is_watched_are_as_new_as_what_was_seen(
    http: Session, run: Run
) -> None:
    await run.begin()
    async with http.ws_connect(SOCKET) as ws:
        page = Page()
        for number in range(1, 2000, 200):
            await lines(run, number, number + 199)
            await watch(ws, page, b"line %d" % (number + 199))
            header, found = await rows(http, tail=300)
            assert header["total"] == number + 199
            assert found[-1] == b"line %d" % (number + 199)


async def test_a_search_counts_and_numbers_rows(http: Session, run: Run) -> None:
    await run.begin()
    for number in range(10):
        await run.write(b"Loss: %d\n" % number, time=number)
        await run.write(b"\x1b[31mwar\x1b[0mning %d\n" % number, Stream.STDERR, number + 0.5)
    url = f"{LOG}/search"
    async with http.get(url, params={"q": "loss"}) as answer:
        found = await answer.json()
    assert found["rows"] == list(range(1, 20, 2))
    assert (found["count"], found["more"], found["total"]) == (10, False, 20)
    async with http.get(url, params={"q": "loss", "case": "1"}) as answer:
        assert (await answer.json())["count"] == 0
    async with http.get(url, params={"q": "warning", "stream": "e"}) as answer:
        assert (await answer.json())["rows"] == list(range(2, 21, 2))
    header, lines = await rows(http, q="loss", first=3, count=2)
    assert lines == [b"Loss: 2", b"Loss: 3"]
    assert (header["numbers"], header["matches"], header["first"]) == ([5, 7], 10, 3)
    header, lines = await rows(http, stream="e", tail=1)
    assert (header["numbers"], header["first"]) == ([20], 10)
    header, lines = await rows(http, q="loss", offset=run.text.index(b"Loss: 5") + 8, count=1)
    assert lines == [b"Loss: 6"]
    await run.write(b"Loss: 10\n")
    await run.end()
    async with asyncio.timeout(10):
        while not found["complete"]:
            async with http.get(url, params={"q": "loss"}) as answer:
                found = await answer.json()
    assert found["rows"] == [*range(1, 20, 2), 21]


async def test_the_readable_log_is_plain_text(http: Session, run: Run) -> None:
    await run.begin()
    await run.write(b"\x1b[32mgreen\x1b[0m\n" + BAR, time=100.0)
    await lines(run, 3, 12_000)
    await run.write(b"the end", time=200.0)
    await run.end()
    url = f"{LOG}?view=readable"
    numbered = [b"line %d" % number for number in range(3, 12_001)]
    async with http.get(url) as answer:
        assert answer.content_type == "text/plain"
        first, *rest = (await answer.read()).split(b"\n")
    assert b"\x1b[32m" in first
    assert rest == [b"Epoch 1: 100%", *numbered, b"the end", b""]
    async with http.get(f"{url}&colour=0&lines=1-3") as answer:
        assert await answer.read() == b"green\nEpoch 1: 100%\nline 3\n"
    async with http.get(f"{url}&tail=2&download=1") as answer:
        assert answer.headers["Stoker-Line"] == "12000"
        assert answer.headers["Content-Disposition"].endswith('.1.0.txt"')
        assert await answer.read() == b"line 12000\nthe end\n"
    async with http.get(f"{url}&since=1970-01-01T00:03:00") as answer:
        assert await answer.read() == b"the end\n"
    async with http.get(f"{url}&since=2999-01-01") as answer:
        assert await answer.read() == b""
    async with http.head(f"{url}&lines=3") as answer:
        cursor = answer.headers["Stoker-Cursor"]
    assert cursor == f"1.0.{run.text.index(b'line 3')}"
    for query in ("view=nice", "view=readable&colour=x", "view=readable&lines=0"):
        async with http.get(f"{LOG}?{query}") as answer:
            assert answer.status == 422


async def test_one_that_reads_nothing_makes_nobody_wait_and_nothing_grow(
    http: Session, run: Run
) -> None:
    await run.begin()
    async with http.ws_connect(SOCKET) as deaf, http.ws_connect(SOCKET) as other:
        quick, page = Page(), Page()
        await lines(run, 1, 1)
        await watch(deaf, page, b"line 1")
        for number in range(100):
            wide = b"".join(b"%06d" % row + b"x" * 994 + b"\n" for row in range(300))
            await run.write(wide + b"written %d\n" % number)
            await watch(other, quick, b"written %d" % number)
        await watch(deaf, page, b"written 99")
        assert page.size < len(run.text) / 2
        assert page.types.count("hello") > 1
        assert (await rows(http, tail=100))[1] == page.text[-100:]


async def test_too_many_searches_are_told_to_come_back(
    http: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run.begin()
    await lines(run, 1, 10)
    go_on = asyncio.Event()

    async def slow(log: RowLog, query: Query, known: Hits | None = None) -> Hits:
        await go_on.wait()
        return Hits()

    monkeypatch.setattr(searches, "find", slow)

    async def ask(text: str) -> tuple[int, str]:
        async with http.get(f"{LOG}/search", params={"q": text}) as answer:
            return answer.status, answer.headers.get("Retry-After", "")

    async with asyncio.TaskGroup() as group:
        most = searches.AT_ONCE + searches.WAITING
        asked = [group.create_task(ask(f"text {number}")) for number in range(most + 3)]
        async with asyncio.timeout(10):
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        async with http.get("/healthz") as answer:
            assert answer.status == 200
        go_on.set()
    answers = sorted(task.result() for task in asked)
    assert answers == [(200, "")] * most + [(503, "2")] * 3


async def test_before_the_first_attempt_there_are_no_rows(http: Session, run: Run) -> None:
    header, found = await rows(http)
    assert (header["attempt"], header["count"], header["complete"], found) == (0, 0, False, [])
    async with http.get(f"{LOG}/search", params={"q": "x"}) as answer:
        assert (await answer.json())["count"] == 0
    async with http.ws_connect(SOCKET) as ws:
        await run.step(Fact.CANCELLED, state=State.CANCELLED)
        page = await watch(ws, Page())
    assert page.types[-1] == "end"
    assert not page.rows


async def test_a_gap_is_a_row_of_its_own(http: Session, run: Run) -> None:
    await run.begin()
    await run.write(b"before\n")
    run.offset += 1000
    await run.write(b"after\n")
    await run.end()
    async with http.ws_connect(SOCKET) as ws:
        page = await watch(ws, Page())
    header, found = await rows(http)
    assert (found[0], found[-1]) == (b"before", b"after")
    assert b"1000" in found[1].replace(b",", b"")
    assert header["spans"][1][0] == "s"
    assert page.hello["total"] == len(found)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("rows?first=0", "bad_query"),
        ("rows?first=x", "bad_query"),
        ("rows?count=0", "bad_query"),
        ("rows?count=5001", "bad_query"),
        ("rows?tail=-1", "bad_query"),
        ("rows?first=1&tail=5", "bad_query"),
        ("rows?offset=-1", "bad_query"),
        ("rows?time=soon", "bad_query"),
        ("rows?stream=x", "bad_query"),
        ("rows?q=a&case=yes", "bad_query"),
        ("rows?rank=x", "bad_query"),
        ("search", "bad_query"),
        ("search?q=a%0Ab", "bad_query"),
        (f"search?q={'x' * 1001}", "bad_query"),
    ],
)
async def test_what_cannot_be_asked_is_a_problem(
    http: Session, run: Run, path: str, code: str
) -> None:
    async with http.get(f"{LOG}/{path}") as answer:
        assert answer.status == 422
        assert answer.content_type == "application/problem+json"
        problem = await answer.json(content_type=None)
    assert problem["code"] == code
    assert problem["detail"].endswith(".")


async def test_an_attempt_or_a_job_that_is_not_there_is_a_problem(http: Session, run: Run) -> None:
    await run.begin()
    for address in (f"{LOG}/rows?attempt=2", f"{LOG}/search?q=x&attempt=2"):
        async with http.get(address) as answer:
            assert answer.status == 404
            assert (await answer.json(content_type=None))["code"] == "unknown_attempt"
    for address in ("rows", "search?q=x"):
        async with http.get(f"/api/v1/jobs/0d4k8q2m-7xv4/log/{address}") as answer:
            assert (await answer.json(content_type=None))["code"] == "unknown_job"
    for address in ("0d4k8q2m-7xv4/log/rows/ws", f"{JOB}/log/rows/ws?window=x"):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(f"/api/v1/jobs/{address}")


async def test_a_deleted_log_says_when_and_why(http: Session, run: Run, bus: Bus) -> None:
    await run.begin()
    await run.write(b"gone\n")
    await run.end()
    index = LogIndex(worker="w1", complete=True, final=5, deleted="deleted after 30 days")
    await LogArchive(bus).write_index(JOB, 1, 0, StoredIndex(index, 0))
    for path in ("", "?view=readable", "/rows", "/search?q=x"):
        async with http.get(f"{LOG}{path}") as answer:
            assert answer.status == 410
            problem = await answer.json(content_type=None)
        assert problem["code"] == "log_deleted"
        assert "deleted after 30 days" in problem["detail"]
    async with http.ws_connect(SOCKET) as ws:
        page = Page()
        async with asyncio.timeout(10):
            while "error" not in page.types:
                page.take(await ws.receive())
    assert page.controls[-1]["problem"]["status"] == 410
