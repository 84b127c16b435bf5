"""Where does the page listen? Over HTTPS, and who knocks there by plain HTTP is told so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from bus.certificates import Shown
from ui.config import UiConfig

log = logging.getLogger(__name__)

BACKLOG = 1024
GREETINGS_MOST = 512
"""Connections that have not said yet what they speak; the next ones wait in the backlog."""
GREETING_SECONDS = 10.0
"""For the first byte, and for a handshake."""
PLAIN_SECONDS = 5.0
"""For the head of a plain request, and for its answer."""
HEAD_MOST = 16 << 10
"""Bytes."""
PAUSE = 0.5
"""Seconds after the process ran out of files."""
HANDSHAKE = b"\x16"
"""The first byte of TLS."""
HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")
TARGET = re.compile(r"/[!-~]*")


@contextlib.asynccontextmanager
async def listening(runner: web.AppRunner, config: UiConfig) -> AsyncIterator[int]:
    """For as long as the context lasts; gives the port."""
    if config.certificate is None:
        site = web.TCPSite(runner, config.host, config.port, reuse_address=True)
        await site.start()
        yield int(runner.addresses[0][1])
        return
    assert runner.server is not None
    shown = Shown(config.certificate, config.key)
    sockets = await bound(config.host, config.port)
    door = asyncio.create_task(Door(runner.server, shown).run(sockets))
    try:
        yield int(sockets[0].getsockname()[1])
    finally:
        door.cancel()
        await asyncio.gather(door, return_exceptions=True)
        for one in sockets:
            one.close()


async def bound(host: str, port: int) -> list[socket.socket]:
    """Listening on all addresses of that name, at one port."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    made: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            place = (address[0], port or (made[0].getsockname()[1] if made else 0))
            one = socket.create_server(place, family=family, backlog=BACKLOG)
            one.setblocking(False)
            made.append(one)
    except OSError:
        for one in made:
            one.close()
        raise
    return made


class Door:
    """Looks at the first byte of who comes: TLS goes to the application, plain text away."""

    def __init__(self, server: web.Server, shown: Shown) -> None:
        self._server = server
        self._shown = shown
        self._room = asyncio.Semaphore(GREETINGS_MOST)

    async def run(self, listeners: Iterable[socket.socket]) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._shown.keep_fresh())
            for one in listeners:
                tasks.create_task(self._accept(one, tasks))

    async def _accept(self, listener: socket.socket, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as error:
                self._room.release()
                log.warning("nobody can be let in for a moment: %s", error)
                await asyncio.sleep(PAUSE)
                continue
            task = tasks.create_task(self._greet(sock))
            task.add_done_callback(lambda _: self._room.release())

    async def _greet(self, sock: socket.socket) -> None:
        handed = False
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first = await first_byte(sock)
            handed = bool(first)
            if first == HANDSHAKE:
                loop = asyncio.get_running_loop()
                await loop.connect_accepted_socket(
                    self._server,
                    sock,
                    ssl=self._shown.context,
                    ssl_handshake_timeout=GREETING_SECONDS,
                )
            elif first:
                await tell_plain(sock)
        except (OSError, TimeoutError) as error:  # TLS's own errors are such, too.
            log.debug("a connection came to nothing: %s", error)
        except Exception:
            log.exception("a connection broke")
        finally:
            if not handed:
                sock.close()


async def first_byte(sock: socket.socket) -> bytes:
    """It stays there to be read; empty where nothing comes any more. Raises ``TimeoutError``."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            await ready.wait()
    finally:
        loop.remove_reader(sock)
    return sock.recv(1, socket.MSG_PEEK)


async def tell_plain(sock: socket.socket) -> None:
    """One answer to one request that came without TLS."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=HEAD_MOST)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    try:
        async with asyncio.timeout(PLAIN_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(plain_answer(head))
            await writer.drain()
            writer.write_eof()
            while await reader.read(HEAD_MOST):  # Closed at once, the answer would be lost.
                pass
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


def plain_answer(head: bytes) -> bytes:
    """A browser's reader is led to HTTPS; a program is told, as it may have sent a secret."""
    lines = head.decode("latin-1").split("\r\n")
    method, _, rest = lines[0].partition(" ")
    target = rest.partition(" ")[0]
    fields = dict(split_field(line) for line in lines[1:])
    host = fields.get("host", "")
    sane = bool(HOST.fullmatch(host) and TARGET.fullmatch(target))
    where = f"https://{host}" if sane else "https://"
    if sane and method in ("GET", "HEAD") and "text/html" in fields.get("accept", ""):
        return answer("307 Temporary Redirect", b"", (f"Location: {where}{target}",))
    problem = {
        "type": "urn:stoker:problem:https_only",
        "code": "https_only",
        "title": "This port speaks HTTPS",
        "status": 400,
        "detail": f"this port speaks HTTPS alone: write {where}",
    }
    kind = "Content-Type: application/problem+json"
    return answer("400 Bad Request", json.dumps(problem).encode(), (kind,))


def split_field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def answer(status: str, body: bytes, fields: Iterable[str]) -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        *fields,
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body
