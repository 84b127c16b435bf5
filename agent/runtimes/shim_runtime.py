"""How does the agent start, follow, stop and adopt programs that run under shims?"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Protocol

from agent.folder import ENDED, PRINTED, AttemptFolder, Note
from agent.handing import NONE, Secrets, make_fifo, open_to_hand
from agent.mlflow.listening import listen_here
from agent.runtimes.launchers import launcher
from agent.runtimes.protocol import Exit, Launch, News
from agent.runtimes.usage import Meter
from agent.surplus import HOUR
from bus.connection import Bus
from schemas.reason import Reason

log = logging.getLogger(__name__)

SHIM_SECONDS = 15.0
"""How long a requested shim may take to show up."""
SWEEP = 30.0
"""Seconds between two looks whether a silent shim still lives: its death is heard, normally."""
WAKE_BYTES = 65536
SAID_BYTES = 1024
"""Longest line for a log: a FIFO takes what is short whole."""
HAND_SECONDS, HAND_AGAIN = 10.0, 0.01
"""How long a shim may take to take what is more than fits into its FIFO, and how often it is tried.
"""
DYING_SECONDS = 2.0
"""How long a killed process may take to let go of its lock."""
VANISHED = "the shim died, and with it the sight of the program"

BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    "from agent.shim_host import main; main(sys.argv[2], sys.argv[3:])"
)


class HostProcess(Protocol):
    """A shim host that was started."""

    def alive(self) -> bool: ...


StartHost = Callable[[Path, str], Awaitable[HostProcess]]
"""Starts a shim host that reads the FIFO and launches for the runtime of that name."""


@dataclass
class Watched:
    """One attempt as the agent sees it."""

    folder: AttemptFolder
    news: News
    wake: int
    control: int
    handing: int
    """Keeps the secrets in their FIFO until the shim has taken them; -1 where there are none."""
    asked_at: float | None
    """Monotonic seconds at which its shim was asked for; None where it was adopted."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    started_at: float | None = None


class ShimRuntime:
    """start, adopt, wait, stop: the same for every runtime whose programs run under shims."""

    name = ""
    exits_are_kept = True

    def __init__(self, work: Path, start_host: StartHost | None = None) -> None:
        self._hosts = work / "hosts"
        self._start_host = start_host or start_local_host
        self._fifo = -1
        self._path = self._hosts
        """Of that FIFO."""
        self._host: HostProcess | None = None
        self._host_lock = asyncio.Lock()
        self._watched: dict[str, Watched] = {}

    async def open(self) -> None:
        self._hosts.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._need_host()

    def shared(self, bus: Bus) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    async def start(
        self, folder: AttemptFolder, launch: Launch, news: News, secrets: Secrets = NONE
    ) -> None:
        if launch.secrets:
            make_fifo(folder.secrets)
        folder.add_note(Note.LAUNCH, launch.pack())
        for fifo in (folder.control, folder.wake):
            with contextlib.suppress(FileExistsError):
                os.mkfifo(fifo, 0o600)
        self._watch(folder, news, time.monotonic())
        await self._need_host()
        os.write(self._fifo, os.fsencode(folder.path) + b"\n")
        if launch.secrets:
            await self.hand_over(folder, secrets)

    async def hand_over(self, folder: AttemptFolder, secrets: Secrets) -> None:
        watched = self._watched.get(folder.name)
        if watched is None:
            return
        if watched.handing < 0:
            watched.handing = open_to_hand(folder.secrets)
        data = secrets.pack()
        give_up = time.monotonic() + HAND_SECONDS
        while data and watched.handing >= 0 and time.monotonic() < give_up:
            try:
                data = data[os.write(watched.handing, data) :]
            except BlockingIOError:
                await asyncio.sleep(HAND_AGAIN)
        if data:
            log.warning("%s did not take its secrets", folder.name)

    async def adopt(self, folder: AttemptFolder, news: News) -> bool:
        if folder.exit() is not None:
            return True
        if await voided(folder):
            await self._recover(folder)
            return folder.exit() is not None
        self._watch(folder, news, None)
        return True

    def started_at(self, folder: AttemptFolder) -> float | None:
        watched = self._watched.get(folder.name)
        if watched is not None and watched.started_at is not None:
            return watched.started_at
        started = folder.started()
        at: float | None = started["at"] if started else None
        if watched is not None:
            watched.started_at = at
        return at

    async def listen(self, folder: AttemptFolder) -> socket | None:
        data = folder.read_notes().get(Note.LAUNCH)
        port = Launch.unpack(data).details.get("tracking") if data else None
        return None if port is None else await self._listen(folder, port)

    async def _listen(self, folder: AttemptFolder, port: int) -> socket:
        return listen_here(port)

    async def wait(self, folder: AttemptFolder) -> Exit:
        watched = self._watched.get(folder.name)
        while (data := folder.exit()) is None:
            if watched is None or watched.ended.is_set() or self._overdue(watched):
                return await self._vanished(folder)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHIM_SECONDS if watched.asked_at else SWEEP):
                    await watched.ended.wait()
        return Exit.unpack(data)

    async def stop(self, folder: AttemptFolder, grace: float, reason: Reason) -> None:
        watched = self._watched.get(folder.name)
        if watched is not None:
            with contextlib.suppress(OSError):
                os.write(watched.control, f"stop {grace:g} {reason.value}\n".encode())

    async def say(self, folder: AttemptFolder, words: str) -> None:
        watched = self._watched.get(folder.name)
        if watched is not None:
            text = base64.b64encode(words.encode()[:SAID_BYTES])
            with contextlib.suppress(OSError):
                os.write(watched.control, b"say %s\n" % text)

    def meter(self, folder: AttemptFolder) -> Meter | None:
        started = folder.started()
        return self._meter_of(str(started["identity"])) if started else None

    def _meter_of(self, identity: str) -> Meter | None:
        """Of a program, by what its shim calls it."""
        return None

    async def discard(self, folder: AttemptFolder) -> None:
        watched = self._watched.pop(folder.name, None)
        if watched is not None:
            self._unwatch(watched)

    async def clean(self, wanted: int) -> int:
        """FIFOs of hosts that came before; those that still live have opened theirs."""
        return await asyncio.to_thread(remove_fifos, self._hosts, self._path, time.time())

    @property
    def disk(self) -> Path | None:
        return None

    async def close(self) -> None:
        for watched in self._watched.values():
            self._unwatch(watched)
        self._watched.clear()
        if self._fifo >= 0:
            os.close(self._fifo)
            self._fifo = -1

    # The wake FIFO: any byte is news, its end is the shim's end.

    def _watch(self, folder: AttemptFolder, news: News, asked_at: float | None) -> None:
        wake = os.open(folder.wake, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        control = os.open(folder.control, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        watched = Watched(folder, news, wake, control, -1, asked_at)
        self._watched[folder.name] = watched
        asyncio.get_running_loop().add_reader(wake, self._on_wake, watched)

    def _on_wake(self, watched: Watched) -> None:
        try:
            data = os.read(watched.wake, WAKE_BYTES)
        except BlockingIOError:
            return
        watched.asked_at = None
        close_handing(watched)
        if not data:
            asyncio.get_running_loop().remove_reader(watched.wake)
        if not data or ENDED in data:
            watched.ended.set()
        watched.news(PRINTED in data or ENDED in data)

    def _unwatch(self, watched: Watched) -> None:
        asyncio.get_running_loop().remove_reader(watched.wake)
        os.close(watched.wake)
        os.close(watched.control)
        close_handing(watched)

    def _overdue(self, watched: Watched) -> bool:
        """A shim that never came, or one that died unheard."""
        if watched.asked_at is None:
            return not watched.folder.shim_lives() and watched.folder.exit() is None
        return time.monotonic() - watched.asked_at > SHIM_SECONDS

    async def _vanished(self, folder: AttemptFolder) -> Exit:
        if await voided(folder):
            await self._recover(folder)
        data = folder.exit()
        return Exit.unpack(data) if data else shim_died(folder, VANISHED)

    async def _recover(self, folder: AttemptFolder) -> None:
        """Kills what a dead shim left."""
        data = folder.read_notes().get(Note.LAUNCH)
        if data is None:
            return
        try:
            launch = Launch.unpack(data)
        except (ValueError, KeyError, TypeError):
            return
        await asyncio.to_thread(launcher(self.name).recover, launch)

    # The host.

    async def _need_host(self) -> None:
        if self._host is not None and self._host.alive():
            return
        async with self._host_lock:
            if self._host is None or not self._host.alive():
                await self._new_host()

    async def _new_host(self) -> None:
        path = self._hosts / uuid.uuid4().hex
        os.mkfifo(path, 0o600)
        # Both ways, so that requests wait in it until the host reads; its end at close is heard.
        fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fifo >= 0:
            os.close(self._fifo)
        self._fifo, self._path = fifo, path
        self._host = await self._start_host(path, self.name)


def close_handing(watched: Watched) -> None:
    """A shim that has something to say has taken them, or will not."""
    if watched.handing >= 0:
        os.close(watched.handing)
        watched.handing = -1


def shim_died(folder: AttemptFolder, detail: str) -> Exit:
    """Its engine took it along where it had lost sight of the program; else nobody knows why."""
    unseen = folder.unseen()
    if unseen:
        return Exit(Reason.ENGINE_RESTARTED, detail=unseen)
    return Exit(Reason.AGENT_ERROR, detail=detail)


async def voided(folder: AttemptFolder) -> bool:
    """Whether no shim can start or hold the program any more.

    The kernel closes a killed shim's end of the wake FIFO before its lock: a moment's patience, or
    what the shim left would be taken for what a living one holds.
    """
    give_up = time.monotonic() + DYING_SECONDS
    while not folder.void():
        if folder.exit() is not None or time.monotonic() > give_up:
            return False
        await asyncio.sleep(0.02)
    return True


def remove_fifos(hosts: Path, own: Path, now: float) -> int:
    try:
        there = [path for path in hosts.iterdir() if path != own]
    except FileNotFoundError:
        return 0
    old = [path for path in there if now - path.lstat().st_mtime > HOUR]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


class LocalHost:
    """A shim host in a session of its own on this machine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def alive(self) -> bool:
        return self._process.poll() is None


def host_command(fifo: Path, runtime: str) -> list[str]:
    """Starts a shim host from where this code lies; ``-P``: nothing of the working directory."""
    root = Path(__file__).resolve().parents[2]
    return [sys.executable, "-P", "-c", BOOT, str(root), str(fifo), runtime]


async def start_local_host(fifo: Path, runtime: str) -> HostProcess:
    return LocalHost(spawn_host(host_command(fifo, runtime)))


def spawn_host(command: list[str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(
        command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True, cwd="/"
    )
