"""How late does a line reach very many viewers, in a process of their own? Its last word is JSON.

``python -m benchmarks.logs.viewers PORT PATH VIEWERS SECONDS``. Each viewer is a WebSocket that
does no more than it must, so that the server is measured and not its viewers. Who they are stands
in ``STOKER_TOKEN``, where somebody asks.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

from benchmarks.logs.lines import STAMPED
from benchmarks.table import percentile

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{who}\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
SETTLE = 2.0
"""Seconds between the last viewer's opening and the first line that counts."""
OPENING = 64
"""Connections that are opened at one time."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of all of them, in the seconds that count."""

    viewers: int
    frames: int
    p50: float
    p99: float
    """Seconds from when a frame's first line was printed until it was here."""
    worst: float
    skipped: int
    """Lines that did not come where they were next."""
    least: int
    """Lines that the viewer with the fewest got."""
    anew: int
    """Times that a viewer was given all anew, after it had been left behind."""
    closed: int
    processor: float
    """Share of a core that the viewers took themselves."""


@dataclass(slots=True)
class Tally:
    """What one viewer has seen."""

    ages: list[float] = field(default_factory=list)
    lines: int = 0
    skipped: int = 0
    hellos: int = 0
    next: int = -1

    def add(self, body: bytes, now: float, since: float) -> None:
        first = STAMPED.search(body)
        if first is None or float(first[2]) < since:
            return
        count = body.count(b"\n", first.start()) + (not body.endswith(b"\n"))
        number = int(first[1])
        if self.next >= 0 and number > self.next:
            self.skipped += number - self.next
        self.next = number + count
        self.lines += count
        self.ages.append(now - float(first[2]))


class Viewer(asyncio.Protocol):
    """One WebSocket, from its handshake to its end."""

    def __init__(self, path: str) -> None:
        self.tally = Tally()
        self.since = float("inf")
        self.until = float("inf")
        self.open = asyncio.get_running_loop().create_future()
        self.closed = False
        self._path = path
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        token = os.environ.get("STOKER_TOKEN")
        who = f"Authorization: Bearer {token}\r\n" if token else ""
        self._transport.write(HANDSHAKE.format(path=self._path, key=key, who=who).encode())

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self.open.done() and not self._answered():
            return
        now = time.time()
        for kind, body in self._frames():
            if kind == BINARY and now < self.until:
                self.tally.add(body, now, self.since)
            elif kind == TEXT:
                self.tally.hellos += body.startswith(b'{"type":"hello"')
            elif kind == PING:
                self._transport.write(bytes((0x80 | PONG, 0x80)) + bytes(4))
            elif kind == CLOSE:
                self._transport.close()

    def _answered(self) -> bool:
        """Whether the handshake's answer is here, and says yes."""
        head, separator, rest = self._data.partition(b"\r\n\r\n")
        if not separator:
            return False
        if b" 101 " not in head.partition(b"\r\n")[0]:
            self.open.set_exception(ConnectionError(head.decode(errors="replace")))
            return False
        self._data = rest
        self.open.set_result(None)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if not self.open.done():
            self.open.set_exception(error or ConnectionError("closed"))

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """The whole ones that are here; a server's frames are not masked."""
        data, place = self._data, 0
        while len(data) - place >= 2:
            start, size = place + 2, data[place + 1]
            if size == 126:
                start, size = place + 4, int.from_bytes(data[place + 2 : place + 4], "big")
            elif size == 127:
                start, size = place + 10, int.from_bytes(data[place + 2 : place + 10], "big")
            if start + size > len(data) or start > len(data):
                break
            yield data[place] & 15, data[start : start + size]
            place = start + size
        self._data = data[place:]


async def watch(port: int, path: str, count: int, seconds: float) -> Seen:
    viewers = await opened(port, path, count)
    since = time.time() + SETTLE
    for viewer in viewers:
        viewer.since, viewer.until = since, since + seconds
    before = time.process_time()
    await asyncio.sleep(SETTLE + seconds)
    spent = (time.process_time() - before) / (SETTLE + seconds)
    return told(viewers, spent)


async def opened(port: int, path: str, count: int) -> list[Viewer]:
    viewers: list[Viewer] = []
    loop = asyncio.get_running_loop()
    while len(viewers) < count:
        some = [Viewer(path) for _ in range(min(OPENING, count - len(viewers)))]
        async with asyncio.timeout(30):
            for viewer in some:
                await loop.create_connection(lambda viewer=viewer: viewer, "127.0.0.1", port)  # type: ignore[misc]
            await asyncio.gather(*(viewer.open for viewer in some))
        viewers += some
    return viewers


def told(viewers: list[Viewer], spent: float) -> Seen:
    tallies = [viewer.tally for viewer in viewers]
    ages = [age for tally in tallies for age in tally.ages] or [float("inf")]
    return Seen(
        viewers=len(viewers),
        frames=len(ages),
        p50=percentile(ages, 0.5),
        p99=percentile(ages, 0.99),
        worst=max(ages),
        skipped=sum(tally.skipped for tally in tallies),
        least=min(tally.lines for tally in tallies),
        anew=sum(max(0, tally.hellos - 1) for tally in tallies),
        closed=sum(viewer.closed for viewer in viewers),
        processor=spent,
    )


async def watch_in_process(
    port: int, path: str, count: int, seconds: float, token: str = ""
) -> Seen:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.logs.viewers", str(port), path, str(count)),
        str(seconds),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "STOKER_TOKEN": token},
    )
    try:
        async with asyncio.timeout(seconds + 90):
            out, _ = await process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"the viewers ended with {process.returncode}")
    return Seen(**json.loads(out))


if __name__ == "__main__":
    place, where, many, long = sys.argv[1:]
    print(json.dumps(asdict(uvloop.run(watch(int(place), where, int(many), float(long))))))
