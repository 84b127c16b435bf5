"""Which packages are in an image? Asked once, of its own Python, with no more rights than a job."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

from agent.folder import write_atomic
from agent.runtimes.docker_container import INSTALLS, JOB_USER, OWNER, hardened
from agent.runtimes.docker_engine import Engine, EngineError
from agent.runtimes.docker_launch import READ_BYTES, Frames, listen
from agent.runtimes.docker_threads import Threads
from agent.runtimes.listing import LIST
from schemas.packages import MOST_BYTES, bounded
from schemas.stream import Stream

log = logging.getLogger(__name__)

SECONDS = 30.0
"""It takes a tenth of one; a machine that is busy takes longer."""
MEMORY = 256 << 20
PIDS = 32
REMEMBERED = 256
"""Images, in memory and as files."""


class Listings:
    """Of the images of one engine. What was found lies in ``folder``, by the image's id."""

    def __init__(self, engine: Engine, threads: Threads, owner: str, folder: Path) -> None:
        self._engine = engine
        self._threads = threads
        self._owner = owner
        self._folder = folder
        self._known: OrderedDict[str, str] = OrderedDict()
        self._one = asyncio.Lock()
        """One at a time: nobody waits for it but who built the image."""

    async def of(self, image: str, python: str) -> str:
        """``python``: the name of its program. Empty where it cannot be told."""
        if python and image not in self._known:
            async with self._one:
                if image not in self._known:
                    await self._learn(image, python)
        return self._known.get(image, "")

    async def _learn(self, image: str, python: str) -> None:
        path = self._folder / image.rpartition(":")[2]
        text = await asyncio.to_thread(read, path)
        if text is None:
            try:
                async with asyncio.timeout(SECONDS):
                    text = await self._asked(image, python)
            except (EngineError, TimeoutError) as error:
                log.info("the packages of %s are not known: %s", image[:19], error)
                return
            await asyncio.to_thread(write, path, text)
        self._known[image] = text
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def _asked(self, image: str, python: str) -> str:
        creating = asyncio.ensure_future(
            self._call("/containers/create", self._body(image, python))
        )
        try:
            container = str((await asyncio.shield(creating))["Id"])
            return bounded((await self._printed(container)).decode("utf-8", "replace"))
        finally:
            await asyncio.shield(self._drop(creating))

    def _body(self, image: str, python: str) -> dict[str, Any]:
        return {
            "Image": image,
            "User": f"{JOB_USER}:{JOB_USER}",
            "WorkingDir": "/",
            "Entrypoint": [python, "-c", LIST],
            "Cmd": [],
            "Labels": {OWNER: self._owner, INSTALLS: self._owner},
            "NetworkDisabled": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {**hardened(MEMORY, PIDS, 1.0), "ReadonlyRootfs": True},
        }

    async def _printed(self, container: str) -> bytes:
        attached, waiting = (self._engine.link(SECONDS) for _ in range(2))
        try:
            await self._threads.run(listen, attached, waiting, container, "next-exit")
            await self._call(f"/containers/{container}/start")
            frames, printed = Frames(), bytearray()
            while len(printed) <= MOST_BYTES:
                block = await self._threads.run(
                    attached.sock.recv, READ_BYTES, abort=attached.abort
                )
                if not block:
                    break
                for stream, data in frames.feed(block):
                    printed += data if stream is Stream.STDOUT else b""
            return bytes(printed)
        except OSError as error:
            raise EngineError(0, f"the Docker engine stopped answering: {error}") from error
        finally:
            attached.close()
            waiting.close()

    async def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return await self._threads.run(self._engine.call, "POST", path, None, body)

    async def _drop(self, creating: asyncio.Future[Any]) -> None:
        """What is being created is there only afterwards."""
        await asyncio.wait([creating])
        if creating.exception() is None:
            with contextlib.suppress(EngineError):
                await self._threads.run(self._engine.remove, str(creating.result()["Id"]))


def read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def write(path: Path, text: str) -> None:
    """The oldest of too many go."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomic(str(path), text.encode())
        old = sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime)[:-REMEMBERED]
        for one in old:
            one.unlink(missing_ok=True)
