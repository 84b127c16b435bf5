"""How does one machine take jobs: beats, tickets, claims, stops?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import shutil
import time
import uuid
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

from agent.attempt import AttemptRun, Machine
from agent.claims import Claims
from agent.config import AgentConfig
from agent.disk import Disks
from agent.folder import AttemptFolder, Note, spread
from agent.holdings import Environments
from agent.housekeeping import Housekeeper
from agent.keeper import Keeper
from agent.lease import Lease, boot_time
from agent.leaving import TELL_EVERY, Leaving, Left, Remaining, waits_for
from agent.load import machine_load
from agent.machine_samples import MachineSamples, Running
from agent.outputs import Outputs
from agent.slots import Slots, requirement_of
from bus import subjects
from bus.codec import decode, encode
from bus.errors import BusError, Corrupt
from bus.fetch import EXPIRES
from bus.pull import Pull, PulledTicket
from schemas.reason import Reason
from schemas.worker import (
    AttemptKey,
    Beat,
    BeatAnswer,
    Claim,
    ClaimAnswer,
    ClassRecord,
    Command,
    Grant,
    Held,
    Requirement,
    Stop,
)

log = logging.getLogger(__name__)

CLAIM_TRIES = 16
"""Tries of a claim, 2 s each at most: to leave a server that is cut off takes up to 12 s. The
ticket has come back to the queue long before the last; beats name the job until then, so that its
grant stands."""
BACK_PAUSE = 1.0
"""Seconds before a ticket that could not be claimed is given out again."""
BEATS = 6
"""Beats in the time after which silence is a loss."""
OPEN_BEATS = 2
"""Beats for which a request for tickets stands: a machine that is lost is not given any more."""
FIRST_BEATS = 5.0
"""Seconds between two beats until the scheduler has said how many it wants."""
BEAT_SECONDS = 2.0
"""How long the answer to a beat is waited for; to the last one shorter."""
LAST_BEAT = 1.0
BEAT_AGAIN = 1.0
"""Seconds after a beat that nobody answered."""


class Heard(Protocol):
    """What is used of a message of the bus."""

    @property
    def data(self) -> bytes: ...
    @property
    def headers(self) -> dict[str, str] | None: ...


class Worker:
    """One agent's view of itself; all state that outlives it lies in folders and records."""

    def __init__(self, machine: Machine, config: AgentConfig) -> None:
        self._machine = machine
        self._bus = machine.bus
        self._config = config
        self._slots = Slots(config.capacity)
        self._attempts_folder = config.work / "attempts"
        self._lease = Lease(config.work)
        self._environments = Environments()
        self._session = uuid.uuid4().hex
        self._runs: dict[tuple[str, int], AttemptRun] = {}
        self._claims = Claims()
        self._pulls: dict[str, tuple[Pull, Requirement]] = {}
        outputs = Outputs(config.work / "outputs", config.outputs)
        self._keeper = Keeper(self._bus, config.name, outputs)
        disks = Disks(config.work, machine.runtime.disk, config.disk)
        self._housekeeper = Housekeeper(config.work, machine, self._keeper, outputs, disks)
        self._samples = MachineSamples(self._bus, config.name, self._measured)
        self._beat_now = asyncio.Event()
        self._idle = asyncio.Event()
        self._asked_to_drain = False
        self._leaving = False
        self._going = False
        self._beat_every = FIRST_BEATS
        self._aside = ""
        """Why the scheduler gives it nothing."""

    @property
    def draining(self) -> bool:
        return self._asked_to_drain or self._leaving

    async def run(self, leaving: Leaving) -> None:
        """Until cancelled or asked to go; ``Leaving`` says what becomes of what runs."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._leave(leaving.leave))
                commands = subjects.command(self._config.name)
                async with self._bus.subscribe(commands, self._on_command):
                    tasks.create_task(self._beats())
                    tasks.create_task(self._keeper.run())
                    tasks.create_task(self._samples.run())
                    tasks.create_task(self._housekeeper.run(self._live))
                    self._adopt()
                    await leaving.drain.wait()
                    await self._finish()
                raise Left
        except* Left:
            log.info("gone; %s", waits_for(self._remaining(), time.time()))

    async def _leave(self, leave: asyncio.Event) -> None:
        """Says so before it goes: what it holds is not lost, a successor takes it up."""
        await leave.wait()
        self._going = self._leaving = True
        self._tune()
        await self._beat(timeout=LAST_BEAT)
        raise Left

    async def _finish(self) -> None:
        self._leaving = True
        self._tune()
        self._beat_now.set()
        while self._runs:
            log.info("takes nothing new; %s", waits_for(self._remaining(), time.time()))
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELL_EVERY):
                    await self._idle.wait()

    def _remaining(self) -> list[Remaining]:
        runs = self._runs.values()
        return [Remaining(run.grant.spec.timeout, run.started_at) for run in runs]

    # What an earlier agent left.

    def _adopt(self) -> None:
        for path in sorted(self._attempts_folder.iterdir()):
            folder = AttemptFolder(path)
            try:
                grant = decode(Grant, folder.read_notes().get(Note.GRANT, b""), None)
            except Corrupt:
                shutil.rmtree(path, ignore_errors=True)
                continue
            self._begin(grant, folder, object(), adopted=True)

    # What the scheduler says.

    async def _on_command(self, message: Heard) -> None:
        try:
            command = decode(Command, message.data, message.headers)
        except Corrupt as error:
            log.error("a command that is none: %s", error)
            return
        self._stop(command.stop)
        self._learn(command.classes)
        if command.drain is not None:
            self._drain(command.drain)

    async def _beats(self) -> None:
        while True:
            answered = await self._beat()
            self._beat_now.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._beat_every if answered else BEAT_AGAIN):
                    await self._beat_now.wait()

    async def _beat(self, timeout: float = BEAT_SECONDS) -> bool:
        sent_at = boot_time()
        try:
            answer = await self._bus.request(
                subjects.beat(self._config.name, self._config.pool),
                self._state(),
                BeatAnswer,
                timeout=timeout,
                attempts=1,
            )
        except BusError as error:
            log.info("no answer to a beat: %s", error)
            return False
        self._beat_every = answer.lost_after / BEATS
        self._stop(answer.stop)
        self._learn(answer.classes)
        self._drain(answer.drain)
        self._set_aside(answer.aside)
        self._lease.renew(sent_at, answer.lost_after)
        return True

    def _state(self) -> Beat:
        config = self._config
        load = machine_load(config.work)
        self._look_at_disk()
        runs = list(self._runs.values())
        return Beat(
            worker=config.name,
            session=self._session,
            sent_at=time.monotonic(),
            pool=config.pool,
            runtime=config.runtime,
            version=config.version,
            host=platform.node(),
            labels=config.labels,
            capacity=config.capacity,
            free=self._slots.free,
            load=load,
            draining=self._leaving or bool(self._housekeeper.shortage),
            shortage=self._housekeeper.shortage,
            leaving=self._going,
            held=tuple(
                Held(job=run.grant.job, attempt=run.grant.attempt, phase=run.phase) for run in runs
            ),
            ends=tuple(key_of(run.grant) for run in runs if run.phase == "reporting"),
            claims=self._claims.open,
            holds=(*self._machine.data.held, *self._environments.keys),
        )

    def _stop(self, stops: Iterable[Stop]) -> None:
        for stop in stops:
            run = self._runs.get((stop.job, stop.attempt))
            if run is not None:
                run.stop(stop.grace, read_reason(stop.reason))

    def _drain(self, drain: bool) -> None:
        if drain != self._asked_to_drain:
            log.info("asked to %s", "take nothing new" if drain else "take up work again")
            self._asked_to_drain = drain
            self._tune()

    def _set_aside(self, why: str) -> None:
        if why != self._aside:
            log.warning("%s %s", self._config.name, why or "may take work again")
            self._aside = why
            self._tune()

    def _look_at_disk(self) -> None:
        """Takes nothing new while it is short; the next beat says why."""
        if self._housekeeper.look():
            why = self._housekeeper.shortage
            log.warning("%s %s", self._config.name, why or "has room on its disk again")
            self._tune()
            self._beat_now.set()

    def _measured(self) -> list[Running]:
        runtime = self._machine.runtime
        return [
            Running(key, run.started_at, partial(runtime.meter, run.folder))
            for key, run in self._runs.items()
            if run.phase in ("running", "stopping") and run.started_at is not None
        ]

    def _live(self) -> set[str]:
        return {run.folder.name for run in self._runs.values()}

    # Tickets.

    def _learn(self, classes: Iterable[ClassRecord]) -> None:
        for one in classes:
            if one.pool == self._config.pool and one.name not in self._pulls:
                pull = Pull(self._bus, one.pool, one.name)
                self._pulls[one.name] = (pull, one.requirement)
                self._tasks.create_task(self._take(pull, one.requirement))
        self._tune()

    @property
    def _accepting(self) -> bool:
        return not (self.draining or self._housekeeper.shortage or self._aside)

    def _tune(self) -> None:
        """Asks for as many tickets of each class as there is room for at this moment."""
        for pull, requirement in self._pulls.values():
            pull.expires = min(EXPIRES, OPEN_BEATS * self._beat_every)
            pull.want(self._slots.how_many(requirement) if self._accepting else 0)

    async def _take(self, pull: Pull, requirement: Requirement) -> None:
        async for ticket in pull.tickets():
            self._look_at_disk()
            if not self._accepting or self._slots.how_many(requirement) < 1:
                await ticket.back()
                continue
            holder = object()
            self._slots.take(holder, requirement)
            self._tune()
            self._tasks.create_task(self._claim(ticket, holder))

    async def _claim(self, ticket: PulledTicket, holder: object) -> None:
        id = self._claims.begin(ticket.job)
        if id is None:
            self._free(holder)
            await ticket.back(BACK_PAUSE)
            return
        claim = Claim(
            id=id,
            worker=self._config.name,
            job=ticket.job,
            runtime=self._config.runtime,
        )
        subject = subjects.claim(self._config.name, self._config.pool)
        answer = None
        try:
            answer = await self._bus.request(subject, claim, ClaimAnswer, attempts=CLAIM_TRIES)
        except BusError as error:
            log.warning("the claim of %s was not answered: %s", ticket.job, error)
            self._free(holder)
            await ticket.back(BACK_PAUSE)
            return
        finally:
            self._claims.end(ticket.job, answered=answer is not None)
        if answer.grant is None:
            log.info("the claim of %s was refused: %s", ticket.job, answer.refusal)
            self._free(holder)
        else:
            self._accept(answer.grant, holder)
        if answer.back is None:
            await ticket.ack()
        else:
            await ticket.back(answer.back)

    # Attempts.

    def _accept(self, grant: Grant, holder: object) -> None:
        if (grant.job, grant.attempt) in self._runs:
            self._free(holder)
            return
        folder = AttemptFolder(self._attempts_folder / f"{grant.job}.{grant.attempt}")
        try:
            make_folder(folder, grant)
        except OSError as error:
            log.error("no folder for %s: %s", folder.name, error)
        self._begin(grant, folder, holder, adopted=False)

    def _begin(self, grant: Grant, folder: AttemptFolder, holder: object, *, adopted: bool) -> None:
        self._slots.take(holder, requirement_of(grant.spec))
        self._machine.data.use(folder.name, grant)
        run = AttemptRun(self._machine, grant, folder, lambda: self._free(holder), adopted=adopted)
        self._runs[grant.job, grant.attempt] = run
        self._tasks.create_task(self._run(run))

    async def _run(self, run: AttemptRun) -> None:
        try:
            await run.run()
        except Exception:
            log.exception("%s", run.folder.name)
        finally:
            del self._runs[run.grant.job, run.grant.attempt]
            self._machine.data.release(run.folder.name)
            self._environments.note(run.environment)
            self._idle.set()
            self._look_at_disk()
        if not run.superseded:
            left = (run.left.outputs, run.left.checkpoints)
            self._keeper.keep(key_of(run.grant), run.folder, run.log_end, *left)

    def _free(self, holder: object) -> None:
        if self._slots.give_back(holder):
            self._tune()


def key_of(grant: Grant) -> AttemptKey:
    return AttemptKey(job=grant.job, attempt=grant.attempt)


def read_reason(text: str) -> Reason:
    """Why an attempt is to end; a word that this agent does not know is a loss of the attempt."""
    try:
        return Reason(text)
    except ValueError:
        return Reason.WORKER_LOST


def make_folder(folder: AttemptFolder, grant: Grant) -> None:
    """Anew: what lies there under this name belongs to a claim that came to nothing."""
    try:
        folder.path.mkdir(mode=0o755)
    except FileExistsError:
        shutil.rmtree(folder.path, ignore_errors=True)
        folder.path.mkdir(mode=0o755)
    folder.add_note(Note.GRANT, encode(grant)[0])
    folder.outputs.mkdir(mode=0o755)


def make_folders(work: Path) -> None:
    for name in ("attempts", "bundles", "data", "environments", "hosts", "outputs"):
        (work / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    spread(work / "attempts")
