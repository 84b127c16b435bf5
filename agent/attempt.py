"""How does one attempt go, from its grant to its confirmed end?"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.bundles import Bundles, NoBundle
from agent.checkpoint_rounds import AttemptCheckpoints
from agent.data import Data
from agent.data_rules import Place
from agent.flood import Bound
from agent.folder import AttemptFolder, read_if_there, write_atomic
from agent.handing import NONE
from agent.left_behind import LeftBehind
from agent.loop_intake import LoopIntake
from agent.mlflow.tracking import Tracking
from agent.opening import NoSecret, opened
from agent.output_plan import Rhythm
from agent.output_rounds import AttemptOutputs
from agent.packages import Kept, PackageList
from agent.quoting import with_quote
from agent.redact import Needles
from agent.reports import Reporter, end_report
from agent.runtimes.protocol import (
    CannotPrepare,
    Exit,
    Output,
    Preparation,
    Prepared,
    Runtime,
)
from agent.runtimes.shim_runtime import shim_died
from agent.ship import Shipper
from agent.spool import SpoolWriter
from agent.unpack import SMALL_TREE
from bus.codec import decode, encode
from bus.connection import Bus
from schemas.job import Environment, Fact
from schemas.reason import Reason
from schemas.stream import Stream
from schemas.worker import Grant, Report

log = logging.getLogger(__name__)

BUILDING_AFTER = 0.2
"""Seconds of preparation after which the record says that the job is building."""
RUNNING_AFTER = 0.1
"""Seconds after the start until ``running`` is reported: a job that is over by then skips it."""
TELL_AGAIN = 5.0
"""Seconds after which ``running`` is told again when nobody answered."""
FLUSH_SECONDS = 5.0
"""How long the end waits for the last output to be stored; afterwards it goes on being sent."""
NOT_STARTED = "before the program started"
BOTH_GONE = "what watched the program died together with the agent, and with both this attempt"
RESTARTED = b"[stoker] the agent was restarted: preparing once more\n"
NOTICE_AFTER = 0.1
"""Seconds after which Stoker's first line goes out, if the program has not printed by then."""


@dataclass(frozen=True)
class Machine:
    """What all attempts of an agent share."""

    bus: Bus
    worker: str
    runtime: Runtime
    bundles: Bundles
    data: Data
    rhythm: Rhythm = field(default_factory=Rhythm)
    """Of their outputs."""
    kept: Kept = field(default_factory=Kept)


class AttemptRun:
    """One attempt. ``run`` ends when its end is confirmed and its log is stored."""

    def __init__(
        self,
        machine: Machine,
        grant: Grant,
        folder: AttemptFolder,
        on_free: Callable[[], None],
        *,
        adopted: bool = False,
    ) -> None:
        self.grant = grant
        self.folder = folder
        self.phase = "preparing"
        self._machine = machine
        self._on_free = on_free
        self._adopted = adopted
        self._reporter = Reporter(machine.bus, machine.worker, grant)
        self._packages = PackageList(machine.bus, machine.worker, machine.kept, self._reporter)
        self._shipper = Shipper(
            machine.bus, grant.job, grant.attempt, machine.worker, folder.spool, resume=adopted
        )
        its = (machine.bus, machine.worker, grant, folder, machine.rhythm)
        self.left = LeftBehind(AttemptOutputs(*its), AttemptCheckpoints(*its, self._say))
        self._tracking = Tracking(machine, grant, folder, self._say)
        self._timers: list[asyncio.TimerHandle] = []
        self._preparing: asyncio.Task[Prepared | Exception] | None = None
        self._stop: tuple[float, Reason] | None = None
        self._running_told = False
        self._secrets = NONE
        self.log_end = 0
        self.superseded = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            shipping = tasks.create_task(self._shipper.run())
            report = await self._ended()
            self._on_free()
            self._tracking.stop()
            self._shipper.finish(self.log_end)
            report = await self._packages.named_in(await self.left.at_end(tasks, report))
            report = await with_quote(report, self.folder.spool)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._shipper.done.wait()
            self.superseded = not (await self._reporter.tell_end(report)).accepted
            if self.superseded:
                log.warning("%s.%d is superseded", self.grant.job, self.grant.attempt)
                shipping.cancel()
        await self._tidy()

    @property
    def environment(self) -> Environment | None:
        """What it was prepared in; None where it was not."""
        return self._reporter.environment

    @property
    def started_at(self) -> float | None:
        """Unix seconds at which its program started, None where it has not yet."""
        return self._machine.runtime.started_at(self.folder)

    def stop(self, grace: float, reason: Reason) -> None:
        """SIGTERM, grace, SIGKILL; a build is killed at once. Repeatable."""
        if self.phase == "reporting":
            self.left.hurry(reason, self._later)
            return
        first = self._stop is None
        self._stop = (grace, reason)
        if self._preparing is not None:
            self._preparing.cancel()
        elif first and self.phase == "running":
            self.phase = "stopping"
            self._tasks.create_task(self._machine.runtime.stop(self.folder, grace, reason))

    # From the grant to the exit.

    async def _ended(self) -> Report:
        """Whatever happens, there is an end to report; it is on disk when this returns."""
        before = read_if_there(self.folder.end)
        if before is not None:
            self.phase = "reporting"
            report = decode(Report, before, None)
            self.log_end = report.end.log_ends.get(0, 0) if report.end else 0
            return report
        exit = await self._exit()
        needles = Needles.of(self.grant.spec.environment, self._secrets.texts())
        exit = replace(exit, detail=needles.redacted(exit.detail))
        self.phase = "reporting"
        for timer in self._timers:
            timer.cancel()
        if exit.log_end == 0 and exit.started_at is None:
            exit = replace(exit, log_end=await self._last_words(exit))
        self.log_end = exit.log_end
        report = end_report(self._reporter.environment, self._reporter.base, exit)
        if exit.started_at is None or not self._machine.runtime.exits_are_kept:
            with contextlib.suppress(OSError):
                write_atomic(self.folder.end, encode(report)[0])
        return report

    async def _exit(self) -> Exit:
        try:
            return await (self._taken_up() if self._adopted else self._from_the_start())
        except (CannotPrepare, NoBundle) as error:
            return Exit(error.reason, detail=str(error))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            log.exception("%s.%d", self.grant.job, self.grant.attempt)
            return Exit(Reason.DISK_FULL if full else Reason.AGENT_ERROR, detail=str(error))
        except Exception as error:
            log.exception("%s.%d", self.grant.job, self.grant.attempt)
            return Exit(Reason.AGENT_ERROR, detail=f"{type(error).__name__}: {error}")

    async def _from_the_start(self) -> Exit:
        if self._stop is not None:
            return Exit(self._stop[1], detail=NOT_STARTED)
        self._preparing = self._tasks.create_task(self._prepared())
        await asyncio.wait((self._preparing,))
        preparing, self._preparing = self._preparing, None
        if self._stop is not None:
            return Exit(self._stop[1], detail=NOT_STARTED)
        prepared = preparing.result()
        if isinstance(prepared, Exception):
            raise prepared
        self._packages.begin(self._tasks, self.grant, prepared)
        self.phase = "running"
        await self._machine.runtime.start(
            self.folder, prepared.launch, self._on_news, self._secrets
        )
        self._later(NOTICE_AFTER, self._shipper.news)
        self.left.look(self._tasks, self._later)
        return await self._machine.runtime.wait(self.folder)

    async def _taken_up(self) -> Exit:
        runtime = self._machine.runtime
        if runtime.exits_are_kept and not self.folder.launched():
            return await self._once_more()
        if not await runtime.adopt(self.folder, self._on_news):
            return shim_died(self.folder, BOTH_GONE)
        log.info("%s.%d goes on", self.grant.job, self.grant.attempt)
        self.phase = "running"
        await self._hand_over_again()
        self._on_news(True)
        self.left.look(self._tasks, self._later)
        return await self._machine.runtime.wait(self.folder)

    async def _hand_over_again(self) -> None:
        """The agent before this one may have gone before its shim had taken the secrets."""
        started = self.started_at is not None or self.folder.exit() is not None
        if started or not self.grant.spec.secrets:
            return
        try:
            self._secrets = await opened(self._machine.bus, self._machine.worker, self.grant)
        except NoSecret as error:
            log.warning("%s may wait in vain: %s", self.folder.name, error)
            return
        await self._machine.runtime.hand_over(self.folder, self._secrets)

    async def _once_more(self) -> Exit:
        """Nothing of it had been started: its preparation begins anew."""
        log.info("%s.%d is prepared once more", self.grant.job, self.grant.attempt)
        with contextlib.closing(SpoolWriter(self.folder.spool)) as spool:
            spool.append(Stream.STOKER, RESTARTED)
        await asyncio.to_thread(shutil.rmtree, self.folder.job, ignore_errors=True)
        self.folder.outputs.mkdir(mode=0o755, exist_ok=True)
        return await self._from_the_start()

    async def _prepared(self) -> Prepared | Exception:
        """A failure is given back, not raised: it must not end the group's other tasks."""
        building = self._later(BUILDING_AFTER, self._tell_building)
        intake: LoopIntake | None = None

        def output(stream: Stream, data: bytes) -> None:
            assert intake is not None
            intake.append(stream, data)
            if stream is Stream.BUILD:
                self._shipper.news()

        try:
            # Before anything prints, and although builds are given none: a build may know one.
            self._secrets = await opened(self._machine.bus, self._machine.worker, self.grant)
            bound = Bound(self.grant.log_rate, self.grant.log_total)
            intake = LoopIntake(
                SpoolWriter(self.folder.spool),
                self.grant.spec.environment,
                bound,
                self._shipper.news,
                self._secrets.texts(),
            )
            await self._machine.bundles.copy(self.grant, self.folder.job)
            resumes = await self.left.checkpoints.restored(output)
            login = self._secrets.image_login
            preparation = Preparation(self.grant, self.folder, self._machine.worker, resumes, login)
            preparation = replace(preparation, data=await self._data(output))
            return await self._machine.runtime.prepare(preparation, output)
        except Exception as error:
            return error
        finally:
            building.cancel()
            if intake is not None:
                intake.close()

    async def _data(self, output: Output) -> tuple[Place, ...]:
        """What comes of it is in the log while it comes: some take an hour."""

        def say(text: str) -> None:
            output(Stream.STOKER, f"[stoker] {text}\n".encode())
            self._shipper.news()

        known = {**self.grant.spec.environment, **self._secrets.texts_by_variable()}
        return await self._machine.data.places(self.folder.name, self.grant, known, say)

    async def _last_words(self, exit: Exit) -> int:
        """Why nothing ran, as the log's last line; the offset at which the log ends."""
        try:
            spool = SpoolWriter(self.folder.spool)
        except OSError as error:
            log.error("%s has no log: %s", self.folder.name, error)
            return 0
        if exit.detail and exit.reason is not Reason.CANCELLED:
            spool.append(Stream.STOKER, f"[stoker] {exit.detail}\n".encode())
        spool.close()
        return spool.offset

    # What is said meanwhile.

    def _say(self, words: str) -> None:
        self._tasks.create_task(self._machine.runtime.say(self.folder, words))

    def _on_news(self, printed: bool) -> None:
        if printed:
            self._shipper.news()
        if self._running_told or self.phase == "reporting":
            return
        started_at = self.started_at
        if started_at is not None:
            self._running_told = True
            self._tasks.create_task(self._tracking.run(self._secrets))
            self._later(RUNNING_AFTER, lambda: self._tell(Fact.RUNNING, started_at))

    def _tell_building(self) -> None:
        self._tell(Fact.BUILDING, None)

    def _tell(self, fact: Fact, started_at: float | None) -> None:
        self._tasks.create_task(self._told(fact, started_at))

    async def _told(self, fact: Fact, started_at: float | None) -> None:
        answer = await self._reporter.tell(fact, time.time(), started_at)
        if answer is not None and answer.stop:
            self.stop(self.grant.spec.grace, Reason.CANCELLED)
        elif answer is None and fact is Fact.RUNNING and self.phase != "reporting":
            self._later(TELL_AGAIN, lambda: self._tell(fact, started_at))

    def _later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        timer = asyncio.get_running_loop().call_later(seconds, call)
        self._timers.append(timer)
        return timer

    async def _tidy(self) -> None:
        """Removes big files at once; the rest is the keeper's."""
        await self._machine.runtime.discard(self.folder)
        if self.superseded:
            await asyncio.to_thread(shutil.rmtree, self.folder.path, ignore_errors=True)
        elif self.grant.bundle_size > SMALL_TREE:
            await asyncio.to_thread(shutil.rmtree, self.folder.job, ignore_errors=True)
