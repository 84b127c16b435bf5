"""How does one attempt's program track, from its start to its end?

Whatever goes wrong here is no matter of the job's: it loses curves, never its run.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from agent.folder import AttemptFolder, Note, read_if_there, write_atomic
from agent.handing import Secrets
from agent.mlflow.address import artifacts_of, token_of
from agent.mlflow.queue import SampleQueue
from agent.opening import NoSecret, opened
from agent.redact import Needles
from agent.runtimes.protocol import Launch
from bus.connection import Bus
from bus.metrics import MetricWriter
from schemas.metrics import Source
from schemas.worker import Grant

if TYPE_CHECKING:
    from agent.mlflow.api import Answer
    from agent.mlflow.book import Book

log = logging.getLogger(__name__)

BEGIN_AFTER = 0.2
"""Seconds after the start of a program: it takes longer to load the client, and a short job should
not pay for what it does not use. Who connects earlier waits, or tries again."""
SAVE_EVERY = 2.0
"""Seconds between two times that the book is written down, for an agent that is started anew."""
DROPPED = "(withheld: the job's secrets could not be looked for in it)"


class Listening(Protocol):
    """What is asked of a runtime."""

    async def listen(self, folder: AttemptFolder) -> socket.socket | None: ...


class Machine(Protocol):
    @property
    def bus(self) -> Bus: ...
    @property
    def worker(self) -> str: ...
    @property
    def runtime(self) -> Listening: ...


class Tracking:
    """Of one attempt. ``run`` ends soon after ``stop``, when what was measured is sent."""

    def __init__(
        self,
        machine: Machine,
        grant: Grant,
        folder: AttemptFolder,
        say: Callable[[str], None],
    ) -> None:
        """``say`` puts a line of Stoker's own into the job's log."""
        self._machine = machine
        self._grant = grant
        self._folder = folder
        self._say = say
        self._over = asyncio.Event()

    def stop(self) -> None:
        self._over.set()

    async def run(self, secrets: Secrets) -> None:
        """``secrets``: what the agent gave to the program, as far as this agent knows."""
        try:
            if await self._is_over(BEGIN_AFTER):
                return
            listener = await self._machine.runtime.listen(self._folder)
            if listener is not None:
                with listener:
                    if await self._is_asked(listener):
                        await self._serve(listener, await self._needles(secrets))
        except Exception:
            log.exception("the tracking of %s", self._folder.name)

    async def _is_over(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        return self._over.is_set()

    async def _is_asked(self, listener: socket.socket) -> bool:
        """Whether anybody has connected; most programs never do."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        loop.add_reader(listener, event.set)
        asked, over = (asyncio.ensure_future(one.wait()) for one in (event, self._over))
        try:
            await asyncio.wait((asked, over), return_when=asyncio.FIRST_COMPLETED)
            return not self._over.is_set()
        finally:
            loop.remove_reader(listener)
            asked.cancel()
            over.cancel()

    async def _needles(self, secrets: Secrets) -> Needles | None:
        """None where secrets are in play that this agent cannot know."""
        if self._grant.spec.secrets and not secrets:
            try:
                secrets = await opened(self._machine.bus, self._machine.worker, self._grant)
            except NoSecret as error:
                log.warning("%s: its parameters are withheld: %s", self._folder.name, error)
                return None
        return Needles.of(self._grant.spec.environment, secrets.texts())

    async def _serve(self, listener: socket.socket, needles: Needles | None) -> None:
        # What most agents never need is loaded with the first that is asked.
        from agent.mlflow.http import HttpServer

        writer = MetricWriter(
            self._machine.bus, self._grant.job, self._grant.attempt, self._machine.worker
        )
        queue = SampleQueue(writer, self._folder.name, Source.MLFLOW, self._say)
        desk = Desk(self._grant, self._folder, RedactedQueue(queue, needles))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run())
            others = (
                tasks.create_task(HttpServer(desk.answer).serve(listener)),
                tasks.create_task(desk.save_now_and_then()),
            )
            await self._over.wait()
            for task in others:
                task.cancel()
            queue.finish()


class Desk:
    """Knows the attempt's own token, and keeps its book on the disk."""

    def __init__(self, grant: Grant, folder: AttemptFolder, sink: RedactedQueue) -> None:
        self._path = f"{folder.path}/mlflow.book"
        self._token = token_of(grant)
        self._sink = sink
        self._book = open_book(grant, folder, self._path)
        self._changed = asyncio.Event()

    def answer(self, method: str, target: str, body: bytes) -> Answer:
        from agent.mlflow.api import answer, refused
        from agent.mlflow.book import Refusal

        _, token, rest = (*target.split("/", 2), "", "")[:3]
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            words = "this address is another job's, or nobody's"
            return refused(Refusal(words, "PERMISSION_DENIED", 403))
        given = answer(self._book, self._sink, method, f"/{rest}", body, time.time())
        self._changed.set()
        if given.changed:
            self._save()
        return given

    async def save_now_and_then(self) -> None:
        try:
            while True:
                await self._changed.wait()
                await asyncio.sleep(SAVE_EVERY)
                self._changed.clear()
                self._save()
        finally:
            self._save()

    def _save(self) -> None:
        with contextlib.suppress(OSError):
            write_atomic(self._path, self._book.pack())


def open_book(grant: Grant, folder: AttemptFolder, path: str) -> Book:
    from agent.mlflow.book import Book

    launch = Launch.unpack(folder.read_notes()[Note.LAUNCH])
    artifacts = artifacts_of(launch.environment.get("STOKER_OUTPUTS", str(folder.outputs)))
    earlier = grant.attempt > 1 or "STOKER_RESUME" in launch.environment
    book = Book(artifacts, earlier=earlier)
    before = read_if_there(path)
    if before is not None:
        try:
            book.restore(before)
        except ValueError as error:
            log.warning("%s: its runs of MLflow are forgotten: %s", folder.name, error)
    return book


class RedactedQueue:
    """No secret of the job's leaves the worker as a name or a parameter."""

    def __init__(self, queue: SampleQueue, needles: Needles | None) -> None:
        self._queue = queue
        self._needles = needles
        self._names: dict[str, str] = {}

    def add(self, name: str, step: int, time: float, value: float) -> None:
        shown = self._names.get(name)
        if shown is None:
            shown = self._names[name] = self._redacted(name) or name
        self._queue.add(shown, step, time, value)

    def left_out(self, points: int) -> None:
        self._queue.left_out(points)

    def set(self, name: str, value: str) -> None:
        if self._needles is None:
            self._queue.set("mlflow", DROPPED)
        else:
            self._queue.set(self._redacted(name), self._redacted(value))

    def _redacted(self, text: str) -> str:
        return text if self._needles is None else self._needles.redacted(text)
