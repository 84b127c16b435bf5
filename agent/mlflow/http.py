"""How does an endpoint speak HTTP to a program that may do anything?

Few connections, short heads, bounded bodies, time for each: whoever breaks a bound gets one clear
answer, and the connection ends. One request after the other is answered, and what they cost is
followed by a pause, so that no program takes more than its share of the agent.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import h11

from agent.mlflow.api import Answer, refused
from agent.mlflow.book import Refusal

log = logging.getLogger(__name__)

CONNECTIONS_MOST = 32
TURNED_AWAY_MOST = 8
"""Beyond those, so many are told that there are too many; the others are closed at once."""
HEAD_MOST = 16 << 10
BODY_MOST = 2 << 20
"""Bytes; MLflow's own client keeps a request below one MiB."""
IDLE_SECONDS = 120.0
"""How long a connection may wait for its next request."""
REQUEST_SECONDS = 20.0
"""How long a request may take to come, and its answer to go."""
READ_BYTES = 64 << 10
SHARE = 3
"""Times as long as a request took the agent, the next one waits: a quarter of a core at most."""
OVERHEAD = 0.0003
"""Seconds that a request costs beside its answer."""
ACCEPT_AGAIN = 0.2
TURNED_AWAY = 0.01
"""Seconds until the next connection after one that was closed at once."""

Handler = Callable[[str, str, bytes], Answer]
"""Method, target and body of a request to its answer."""
TOO_MANY = Refusal(
    f"a job may have {CONNECTIONS_MOST} connections to its tracking", "REQUEST_LIMIT_EXCEEDED", 503
)
BROKEN = Refusal("the agent could not make sense of it", "INTERNAL_ERROR")
"""No 5xx: clients repeat those for minutes."""
AT_ONCE = 4
"""Requests whose bodies and answers are held at one time."""
LINGER_SECONDS = 1.0
"""How long what is still sent is read and forgotten: an answer is lost with bytes that nobody read.
"""


class TooLong(Refusal):
    def __init__(self) -> None:
        words = f"a request may have {BODY_MOST >> 20} MiB: log in smaller batches"
        super().__init__(words, "BAD_REQUEST", 413)


class TooSlow(Refusal):
    def __init__(self) -> None:
        super().__init__("the request did not come in time", "BAD_REQUEST", 408)


@dataclass(slots=True)
class Request:
    method: str
    target: str
    body: bytes


class HttpServer:
    """Answers on one listening socket."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._turn = asyncio.Lock()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._next_at = 0.0
        self._open = 0

    async def serve(self, listener: socket.socket) -> None:
        """Until cancelled; the caller closes the socket."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError as error:
                    log.warning("no connection to the tracking: %s", error)
                    await asyncio.sleep(ACCEPT_AGAIN)
                    continue
                if self._open >= CONNECTIONS_MOST + TURNED_AWAY_MOST:
                    connection.close()
                    await asyncio.sleep(TURNED_AWAY)
                    continue
                connection.setblocking(False)
                self._open += 1
                tasks.create_task(self._talk(connection))

    async def _talk(self, connection: socket.socket) -> None:
        """One connection, to its end; what goes wrong there is its own."""
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MOST)
        with connection:
            try:
                if self._open > CONNECTIONS_MOST:
                    await say(connection, http, refused(TOO_MANY), last=True)
                while http.our_state is h11.IDLE and http.their_state is h11.IDLE:
                    await self._exchange(connection, http)
            except (OSError, TimeoutError, h11.LocalProtocolError):
                pass
            except Exception:
                log.exception("the tracking of a job")
            finally:
                self._open -= 1

    async def _exchange(self, connection: socket.socket, http: h11.Connection) -> None:
        try:
            first = await hear(connection, http, IDLE_SECONDS)
            if not isinstance(first, h11.Request):
                http.send_failed()
                return
            async with self._at_once:
                request = await whole(connection, http, first)
                await say(connection, http, await self._answered(request))
        except h11.RemoteProtocolError as error:
            why = Refusal(str(error), "BAD_REQUEST", error.error_status_hint)
            await say(connection, http, refused(why), last=True)
            return
        except Refusal as why:
            await say(connection, http, refused(why), last=True)
            return
        if http.our_state is h11.DONE and http.their_state is h11.DONE:
            http.start_next_cycle()

    async def _answered(self, request: Request) -> Answer:
        async with self._turn:
            await asyncio.sleep(max(0.0, self._next_at - time.monotonic()))
            begun = time.thread_time()
            try:
                return self._handler(request.method, request.target, request.body)
            except Exception:
                log.exception("a request to the tracking of a job")
                return refused(BROKEN)
            finally:
                took = time.thread_time() - begun + OVERHEAD
                self._next_at = time.monotonic() + SHARE * took


async def hear(connection: socket.socket, http: h11.Connection, seconds: float) -> object:
    """The next event. Raises ``TimeoutError``, and ``RemoteProtocolError``."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        while (event := http.next_event()) is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await loop.sock_sendall(connection, http.send(go_on) or b"")
            http.receive_data(await loop.sock_recv(connection, READ_BYTES))
    return event


async def whole(connection: socket.socket, http: h11.Connection, head: h11.Request) -> Request:
    """With its body. Raises ``Refusal``."""
    told = dict(head.headers).get(b"content-length", b"0")
    if len(told) > len(str(BODY_MOST)) or int(told) > BODY_MOST:
        raise TooLong
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            body = await body_of(connection, http)
    except TimeoutError:
        raise TooSlow from None
    return Request(head.method.decode("latin-1"), head.target.decode("latin-1"), body)


async def body_of(connection: socket.socket, http: h11.Connection) -> bytes:
    body = bytearray()
    while isinstance(event := await hear(connection, http, REQUEST_SECONDS), h11.Data):
        body += event.data
        if len(body) > BODY_MOST:
            raise TooLong
    if not isinstance(event, h11.EndOfMessage):
        raise ConnectionResetError
    return bytes(body)


async def say(
    connection: socket.socket, http: h11.Connection, answer: Answer, *, last: bool = False
) -> None:
    if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    headers = [
        ("content-type", "application/json"),
        ("content-length", str(len(answer.body))),
        *([("connection", "close")] if last else []),
    ]
    data = http.send(h11.Response(status_code=answer.status, headers=headers)) or b""
    data += http.send(h11.Data(data=answer.body)) or b""
    data += http.send(h11.EndOfMessage()) or b""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(REQUEST_SECONDS):
        await loop.sock_sendall(connection, data)
    if last:
        connection.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(LINGER_SECONDS):
            while await loop.sock_recv(connection, READ_BYTES):
                pass
