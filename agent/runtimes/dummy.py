"""How does a job run that only pretends? For tests and load; steered by the job's environment.

| variable | what the job does |
|---|---|
| ``STOKER_DUMMY_BUILD`` | prepares for so many seconds, and prints a line of build output |
| ``STOKER_DUMMY_BUILD_FAILS`` | ``1``: the preparation fails |
| ``STOKER_DUMMY_LINES`` | prints so many lines |
| ``STOKER_DUMMY_LINE_BYTES`` | each so long, newline included (default 32) |
| ``STOKER_DUMMY_OUT`` / ``STOKER_DUMMY_ERR`` | prints this text as it is to stdout / stderr |
| ``STOKER_DUMMY_SLEEP`` | runs for so many seconds after that |
| ``STOKER_DUMMY_IGNORE_TERM`` | ``1``: does not end at SIGTERM |
| ``STOKER_DUMMY_OOM`` | ``1``: is killed for want of memory |
| ``STOKER_DUMMY_SIGNAL`` | is ended by this signal |
| ``STOKER_DUMMY_EXIT`` | ends with this exit code (default 0) |

No process, no shim: an attempt ends with its agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from socket import socket

from agent.flood import Bound
from agent.folder import AttemptFolder
from agent.handing import NONE, Secrets
from agent.lease import RAN_OUT, boot_time, of_attempt
from agent.loop_intake import LoopIntake
from agent.runtimes.program import Places, limits_of, make_places, program_environment
from agent.runtimes.protocol import (
    CannotPrepare,
    Exit,
    Launch,
    Limits,
    News,
    Output,
    Preparation,
    Prepared,
)
from agent.runtimes.usage import Meter
from agent.spool import SpoolWriter
from agent.stopping import tell_why
from bus.connection import Bus
from schemas.job import Environment
from schemas.reason import Reason
from schemas.stream import Stream

log = logging.getLogger(__name__)

PREFIX = "STOKER_DUMMY_"
BATCH_BYTES = 64 << 10
"""Lines are appended to the spool in pieces of about this size."""


@dataclass
class Pretender:
    """One attempt that pretends to run."""

    launch: Launch
    news: News
    started_at: float
    secrets: Secrets
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    reason: Reason = Reason.CANCELLED
    grace: float = 0.0
    exit: Exit | None = None


class DummyRuntime:
    """In plain asyncio: the attempt runs inside of ``wait``."""

    name = "dummy"
    exits_are_kept = False

    def __init__(self) -> None:
        self._running: dict[str, Pretender] = {}

    async def check(self) -> str | None:
        return None

    async def open(self) -> None:
        pass

    def shared(self, bus: Bus) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    async def prepare(self, preparation: Preparation, output: Output) -> Prepared:
        grant, folder = preparation.grant, preparation.folder
        wishes = grant.spec.environment
        seconds = number(wishes, "BUILD")
        if seconds:
            output(Stream.BUILD, f"pretending to build for {seconds:g} s\n".encode())
            await asyncio.sleep(seconds)
        if wishes.get(PREFIX + "BUILD_FAILS") == "1":
            raise CannotPrepare("the build was told to fail")
        make_places(folder)
        launch = Launch(
            runtime=self.name,
            job=grant.job,
            attempt=grant.attempt,
            worker=preparation.worker,
            folder=str(folder.path),
            command=(grant.spec.entry, *grant.spec.arguments),
            environment=program_environment(preparation, {}, Places.here(folder, home="/")),
            limits=limits_of(grant),
            secrets=bool(grant.spec.secrets),
        )
        return Prepared(
            Environment(source="python", base="dummy", key="dummy", cached=True), launch
        )

    async def start(
        self, folder: AttemptFolder, launch: Launch, news: News, secrets: Secrets = NONE
    ) -> None:
        self._running[folder.name] = Pretender(launch, news, time.time(), secrets)
        news(False)

    async def adopt(self, folder: AttemptFolder, news: News) -> bool:
        return folder.name in self._running and news is not None

    async def hand_over(self, folder: AttemptFolder, secrets: Secrets) -> None:
        """Nothing of it outlives the agent."""

    async def listen(self, folder: AttemptFolder) -> socket | None:
        return None

    def started_at(self, folder: AttemptFolder) -> float | None:
        pretender = self._running.get(folder.name)
        return pretender.started_at if pretender else None

    async def wait(self, folder: AttemptFolder) -> Exit:
        pretender = self._running.get(folder.name)
        if pretender is None:
            return Exit(Reason.AGENT_ERROR, detail="the agent was restarted")
        async with pretender.lock:
            if pretender.exit is None:
                pretender.exit = await pretend(folder, pretender)
        return pretender.exit

    async def stop(self, folder: AttemptFolder, grace: float, reason: Reason) -> None:
        pretender = self._running.get(folder.name)
        if pretender is not None:
            tell_why(folder, reason, grace)
            pretender.grace, pretender.reason = grace, reason
            pretender.stopped.set()

    async def say(self, folder: AttemptFolder, words: str) -> None:
        log.info("%s: %s", folder.name, words)

    def meter(self, folder: AttemptFolder) -> Meter | None:
        return None

    async def discard(self, folder: AttemptFolder) -> None:
        self._running.pop(folder.name, None)

    async def clean(self, wanted: int) -> int:
        return 0

    @property
    def disk(self) -> Path | None:
        return None

    async def close(self) -> None:
        self._running.clear()


async def pretend(folder: AttemptFolder, pretender: Pretender) -> Exit:
    wishes, limits = pretender.launch.environment, pretender.launch.limits
    spool = SpoolWriter(folder.spool)
    bound = Bound(limits.log_rate, limits.log_total)
    secrets = pretender.secrets
    intake = LoopIntake(spool, wishes, bound, lambda: pretender.news(True), secrets.texts())
    try:
        if not await leased(pretender, 0.0):
            return Exit(Reason.LEASE_EXPIRED, detail=RAN_OUT)
        await talk(intake, wishes, pretender.news)
        end = await sleep(pretender, number(wishes, "SLEEP"))
    finally:
        intake.close()
    end = end or own_end(wishes)
    return replace(end, started_at=pretender.started_at, ended_at=time.time(), log_end=spool.offset)


async def talk(intake: LoopIntake, wishes: Mapping[str, str], news: News) -> None:
    for stream, name in ((Stream.STDOUT, "OUT"), (Stream.STDERR, "ERR")):
        if text := wishes.get(PREFIX + name):
            intake.append(stream, text.encode("utf-8", "surrogateescape"))
    lines, width = int(number(wishes, "LINES")), int(number(wishes, "LINE_BYTES", 32))
    batch = max(1, BATCH_BYTES // width)
    for start in range(0, lines, batch):
        numbers = range(start, min(lines, start + batch))
        text = "".join(
            f"line {index} ".ljust(width - 1, ".")[: width - 1] + "\n" for index in numbers
        )
        intake.append(Stream.STDOUT, text.encode())
        news(True)
        await asyncio.sleep(0)
    news(True)


async def sleep(pretender: Pretender, seconds: float) -> Exit | None:
    """How the attempt was ended from outside; None where it ended by itself."""
    limits, stopped = pretender.launch.limits, pretender.stopped
    over = first_over(limits, seconds)
    allowed = over[0] if over else seconds
    if not await leased(pretender, allowed):
        return Exit(Reason.LEASE_EXPIRED, signal=signal.SIGKILL, detail=RAN_OUT)
    if stopped.is_set():
        return await stop_it(pretender, pretender.grace, pretender.reason, "")
    return await stop_it(pretender, limits.grace, *over[1:]) if over else None


async def leased(pretender: Pretender, seconds: float) -> bool:
    """Waits until it is stopped, for so long at most; False where its lease ran out before."""
    give_up = time.monotonic() + seconds
    lease = of_attempt(Path(pretender.launch.folder))
    while True:
        end = lease.ends_in(boot_time())[1] if pretender.launch.limits.exclusive else seconds
        if pretender.launch.limits.exclusive and end <= 0:
            return False
        left = give_up - time.monotonic()
        if left <= 0 or pretender.stopped.is_set():
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, end)):
                await pretender.stopped.wait()


def first_over(limits: Limits, seconds: float) -> tuple[float, Reason, str] | None:
    """The limit that a silence of so many seconds reaches first: when, and how it is told."""
    run, idle = limits.timeout, limits.idle_timeout
    reached = []
    if run is not None and run < seconds:
        reached.append((run, Reason.TIMEOUT, f"the time limit of {run:g} s was reached"))
    if idle is not None and idle < seconds:
        told = f"nothing was printed for {idle:g} s, its limit"
        reached.append((idle, Reason.IDLE_TIMEOUT, told))
    return min(reached, default=None)


async def stop_it(pretender: Pretender, grace: float, reason: Reason, detail: str) -> Exit:
    if grace > 0 and pretender.launch.environment.get(PREFIX + "IGNORE_TERM") != "1":
        return Exit(reason, signal=signal.SIGTERM, detail=detail)
    await asyncio.sleep(grace)
    return Exit(reason, signal=signal.SIGKILL, detail=detail)


def own_end(wishes: Mapping[str, str]) -> Exit:
    if wishes.get(PREFIX + "OOM") == "1":
        return Exit(Reason.OOM, signal=signal.SIGKILL, detail="the memory limit was exceeded")
    if ended_by := int(number(wishes, "SIGNAL")):
        return Exit(signal=ended_by, detail=f"ended by signal {ended_by}")
    return Exit(code=int(number(wishes, "EXIT")))


def number(wishes: Mapping[str, str], name: str, default: float = 0.0) -> float:
    """A number of the job's; what is not one counts as the default."""
    try:
        return max(0.0, float(wishes.get(PREFIX + name, default)))
    except ValueError:
        return default
