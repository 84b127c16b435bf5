"""What must a runtime be able to do, in the agent and in the shim?

The shim's half imports nothing heavy at run time: it is loaded into the shim host.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

import msgpack

from agent.handing import NONE, Secrets
from schemas.reason import Reason
from schemas.stream import Stream

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from socket import socket

    from agent.data_rules import Place
    from agent.folder import AttemptFolder
    from agent.runtimes.usage import Meter
    from bus.connection import Bus
    from schemas.job import Environment
    from schemas.worker import Grant

Output = Callable[[Stream, bytes], None]
"""Takes what a build prints (``BUILD``) and Stoker's own lines (``STOKER``) into the log."""

News = Callable[[bool], None]
"""Hears that there is news of an attempt, and whether the spool may have grown."""


# Both sides: what passes between agent and shim as files of the attempt's folder.


@dataclass(frozen=True, slots=True)
class Limits:
    """What the program may use."""

    cpus: float = 1.0
    memory: int = 2 << 30
    """Bytes; swap is not on top of it."""
    gpus: int = 0
    shm: int = 64 << 20
    pids: int = 512
    disk: int = 64 << 30
    """Bytes in its own folders, its copy of the bundle included. The shim looks after it."""
    timeout: float | None = None
    """Seconds that the program may run. The shim enforces it, not the launcher."""
    idle_timeout: float | None = None
    """Seconds that it may run without printing anything. The shim enforces it too."""
    exclusive: bool = False
    """It dies with the worker's lease (``agent/lease.py``). The shim enforces it too."""
    grace: float = 10.0
    """Seconds between SIGTERM and SIGKILL when the time is up."""
    log_rate: int = 0
    """Bytes a second that its log may get, on average; 0 for no limit. Enforced by the shim."""
    log_total: int = 0
    """Bytes that its log may get, likewise."""


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a shim needs to start one attempt's program; a note of the attempt's folder."""

    runtime: str
    job: str
    attempt: int
    worker: str
    folder: str
    """The attempt's folder, absolute; the same path for agent and shim."""
    command: tuple[str, ...]
    environment: dict[str, str]
    """Complete: Stoker's own variables with the user's on top."""
    limits: Limits = Limits()
    network: str = "none"
    details: dict[str, Any] = field(default_factory=dict)
    """What the runtime's agent side tells its own launcher (image, devices); plain values."""
    secrets: bool = False
    """Whether the agent hands some over; they stand in no file, and so not here."""

    def pack(self) -> bytes:
        return pack_fields(self, limits=fields_of(self.limits))

    @classmethod
    def unpack(cls, data: bytes) -> Launch:
        values = msgpack.unpackb(data)
        values["limits"] = Limits(**values["limits"])
        values["command"] = tuple(values["command"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Exit:
    """How the program ended; a note of the shim. A program that fails is a value, not an error."""

    reason: Reason = Reason.EXIT
    code: int | None = None
    """None where a signal ended it, or where it never ran."""
    signal: int | None = None
    detail: str = ""
    peak_memory: int | None = None
    """Bytes."""
    log_end: int = 0
    """Offset at which the attempt's log ends."""
    started_at: float | None = None
    """Unix seconds; None where it never started."""
    ended_at: float = 0.0

    def pack(self) -> bytes:
        return pack_fields(self)

    @classmethod
    def unpack(cls, data: bytes) -> Exit:
        values = msgpack.unpackb(data)
        values["reason"] = Reason(values["reason"])
        return cls(**values)


def fields_of(value: Launch | Limits | Exit) -> dict[str, Any]:
    """Shallow: ``asdict`` copies everything in it, which costs a short job a millisecond."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def pack_fields(value: Launch | Exit, **changed: Any) -> bytes:
    data: bytes = msgpack.packb({**fields_of(value), **changed}, use_bin_type=True)
    return data


# In the shim.


@dataclass(frozen=True, slots=True)
class Use:
    """What a program uses at this moment; 0 for what the runtime limits by itself."""

    memory: int = 0
    """Bytes."""
    processes: int = 0
    """Threads count too."""
    peak: int = 0
    """Bytes that it is known to have used at most."""


class Source(Protocol):
    """One descriptor that the shim drains."""

    @property
    def lasting(self) -> bool:
        """Whether it goes on although the program is out of sight."""

    def fileno(self) -> int: ...

    def read(self) -> Sequence[tuple[Stream, bytes]] | None:
        """What is there now, without blocking; empty for nothing yet, None for the end.

        Called when the descriptor is readable. Reads at most about a MiB at a time.
        """


class Launched(Protocol):
    """A program that runs. The shim calls from one thread only."""

    @property
    def identity(self) -> str:
        """Process or container id, for a person who looks."""

    @property
    def sources(self) -> Sequence[Source]:
        """Already attached when ``launch`` returns: no byte is missed."""

    @property
    def exited(self) -> int:
        """A descriptor that becomes readable when the program has ended."""

    def exit(self) -> Exit | None:
        """How it ended, None while it runs. Code, signal, ``oom``, peak memory are filled in.

        Raises ``OutOfSight`` where that cannot be known: ``exited`` is void then, and those of
        ``sources`` that are not ``lasting``.
        """

    def regain(self) -> Exit | None:
        """Out of sight: how it ended meanwhile, or None, a new ``exited``, and new ``sources`` for
        those that were not ``lasting``.

        Raises ``OutOfSight`` as long as that cannot be known yet. Blocks for seconds at most.
        """

    def use(self) -> Use | None:
        """A look, which does not block; None where there is nothing (more) to look at."""

    def signal(self, number: int) -> None:
        """To the whole program; nothing where it has ended."""

    def kill(self) -> None:
        """SIGKILL to all of it, children included.

        Called once more after the end, for what may have been left behind.
        """

    def close(self) -> None:
        """Leaves nothing behind: descriptors, the container. Called once, after the end."""


class OutOfSight(Exception):
    """What runs the program went away; the program itself may run on."""


class CannotLaunch(Exception):
    """The program did not start. ``reason`` and the message go into the attempt's end."""

    def __init__(self, detail: str, reason: Reason = Reason.AGENT_ERROR) -> None:
        super().__init__(detail)
        self.reason = reason


class Launcher(Protocol):
    """The shim's half of a runtime. Named ``LAUNCHER`` in the module of ``launchers.py``."""

    def launch(self, launch: Launch, secrets: Secrets = NONE) -> Launched:
        """Attaches before it starts. Blocking. Raises ``CannotLaunch``, and cleans up then."""

    def recover(self, launch: Launch) -> None:
        """Called by the agent where the shim died: kills what may still run. Blocking."""


# In the agent.


class CannotPrepare(Exception):
    """The environment cannot be had. ``reason`` and the message go into the attempt's end."""

    def __init__(self, detail: str, reason: Reason = Reason.BUILD_FAILED) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Preparation:
    """What an environment is prepared for. The bundle lies in ``folder.job`` already."""

    grant: Grant
    folder: AttemptFolder
    worker: str
    resumes: bool = False
    """Whether the folder of checkpoints holds what an attempt before it left."""
    image_login: str = field(default="", repr=False)
    """``USER:PASSWORD`` at the registry of the job's image."""
    data: tuple[Place, ...] = ()
    """What the job is to find, where it lies on this machine."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An environment that is ready, and how to start the program in it."""

    environment: Environment
    launch: Launch
    packages: Callable[[], Awaitable[str]] | None = None
    """Tells later what is installed in it, as ``pip freeze`` would; empty where nobody can say."""


class Runtime(Protocol):
    """The agent's half."""

    name: str
    exits_are_kept: bool
    """An exit lies in the attempt's folder before ``wait`` tells it."""

    async def check(self) -> str | None:
        """Why the runtime cannot be used here; None where it can."""

    async def open(self) -> None:
        """Called once, before anything else but ``check``."""

    def shared(self, bus: Bus) -> AbstractAsyncContextManager[None]:
        """For as long as it lasts, environments come from other workers too, and go to them."""

    async def prepare(self, preparation: Preparation, output: Output) -> Prepared:
        """Builds, or finds built, what the bundle asks for; its output goes to ``output``.

        Two jobs with the same key wait for one build. Cancelled, it kills the build and leaves
        nothing half made. Raises ``CannotPrepare``.
        """

    async def start(
        self, folder: AttemptFolder, launch: Launch, news: News, secrets: Secrets = NONE
    ) -> None:
        """Starts the program; it outlives the agent unless the runtime says otherwise.

        ``news`` is called whenever it started, the spool grew, or it ended.
        """

    async def adopt(self, folder: AttemptFolder, news: News) -> bool:
        """Takes up what an earlier agent started. False where nothing runs and nothing ended."""

    async def hand_over(self, folder: AttemptFolder, secrets: Secrets) -> None:
        """Once more, to what an earlier agent started: its program may wait for them."""

    def started_at(self, folder: AttemptFolder) -> float | None:
        """Unix seconds at which the program started, None where it has not yet."""

    async def listen(self, folder: AttemptFolder) -> socket | None:
        """On the address that its environment names for what it tracks; the caller closes it.

        None where it names none. Called once, after the start. Raises ``OSError``.
        """

    async def wait(self, folder: AttemptFolder) -> Exit:
        """Cancellable, repeatable. An exit whose program or shim vanished is ``agent_error``."""

    async def stop(self, folder: AttemptFolder, grace: float, reason: Reason) -> None:
        """Asks: SIGTERM, ``grace`` seconds, SIGKILL. Returns at once; ``wait`` tells the end."""

    async def say(self, folder: AttemptFolder, words: str) -> None:
        """A line of Stoker's own in the log of a program that runs; lost where it does not."""

    def meter(self, folder: AttemptFolder) -> Meter | None:
        """Of the attempt's program while it runs; None where it cannot be measured. Blocking."""

    async def discard(self, folder: AttemptFolder) -> None:
        """Removes what the attempt left outside of its folder."""

    async def clean(self, wanted: int) -> int:
        """Removes what belongs to no live attempt, and ``wanted`` bytes that can be had again.

        How many things were removed. Never what something else than this agent made.
        """

    @property
    def disk(self) -> Path | None:
        """Where it keeps what it makes, if that is another place than the work directory."""

    async def close(self) -> None:
        """Leaves what runs running, where the runtime can."""
