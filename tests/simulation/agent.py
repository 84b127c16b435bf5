"""What does an agent do? A model of ``agent.worker`` and ``agent.attempt``, step by step."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent.reports import PAUSE_MOST, end_fact
from agent.slots import Slots, requirement_of
from agent.worker import (
    BACK_PAUSE,
    BEAT_AGAIN,
    BEATS,
    CLAIM_TRIES,
    FIRST_BEATS,
    OPEN_BEATS,
    read_reason,
)
from bus import subjects
from bus.errors import BusError
from schemas.job import AttemptEnd, Fact
from schemas.reason import Reason
from schemas.worker import (
    AttemptKey,
    Beat,
    BeatAnswer,
    Claim,
    ClaimAnswer,
    ClassRecord,
    Grant,
    Held,
    Report,
    ReportAnswer,
    Requirement,
    Stop,
)
from tests.simulation.broker import Ticket
from tests.simulation.bus import Parcel, SimulatedBus
from tests.simulation.machine import Folder, Key, Machine, Plan

BUILDING_AFTER, RUNNING_AFTER, TELL_AGAIN = 0.2, 0.1, 5.0


@dataclass(frozen=True)
class Habits:
    """Mistakes that an agent may be told to make."""

    ack_first: bool = False
    """The ticket goes before the claim is answered."""
    new_claim_ids: bool = False
    """A claim that is repeated is another claim."""
    deaf_to_stops: bool = False


class Agent:
    """One process of it. What it knows is gone when it dies; its machine's folders stay."""

    def __init__(
        self,
        bus: SimulatedBus,
        machine: Machine,
        plans: dict[str, Plan],
        name_it: Callable[[], str],
        habits: Habits,
    ) -> None:
        self._bus = bus
        self._machine = machine
        self._plans = plans
        self._name_it = name_it
        self._habits = habits
        self._session = name_it()
        self._slots = Slots(machine.capacity)
        self._room = asyncio.Event()
        self._claims: list[str] = []
        self._runs: dict[Key, Run] = {}
        self._classes: set[str] = set()
        self._beat_every = FIRST_BEATS
        self._resting = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            commands = subjects.command(self._machine.name)
            async with self._bus.subscribe(commands, self._on_command):
                tasks.create_task(self._beats())
                for folder in list(self._machine.folders.values()):
                    self._begin(folder, object())
                await self._bus.loop.create_future()

    # Beats.

    async def _on_command(self, parcel: Parcel) -> None:
        self._stop(parcel.data.stop)
        self._learn(parcel.data.classes)

    async def _beats(self) -> None:
        while True:
            answered = await self._beat()
            await asyncio.sleep(self._beat_every if answered else BEAT_AGAIN)

    async def _beat(self) -> bool:
        sent_at = self._bus.loop.now
        subject = subjects.beat(self._machine.name, "default")
        try:
            answer = await self._bus.request(subject, self._state(), BeatAnswer, attempts=1)
        except BusError:
            return False
        self._beat_every = answer.lost_after / BEATS
        self._stop(answer.stop)
        self._learn(answer.classes)
        if self._resting != bool(answer.drain or answer.aside):
            self._resting = not self._resting
            self._room.set()
        self._machine.renew(sent_at, answer.lost_after)
        return True

    def _state(self) -> Beat:
        runs = list(self._runs.values())
        return Beat(
            worker=self._machine.name,
            session=self._session,
            sent_at=self._bus.loop.now,
            runtime="dummy",
            capacity=self._machine.capacity,
            free=self._slots.free,
            held=tuple(Held(job=r.job, attempt=r.attempt, phase=r.phase) for r in runs),
            ends=tuple(
                AttemptKey(job=r.job, attempt=r.attempt) for r in runs if r.phase == "reporting"
            ),
            claims=tuple(self._claims),
        )

    def _stop(self, stops: Iterable[Stop]) -> None:
        for stop in stops:
            run = self._runs.get((stop.job, stop.attempt))
            if run is not None and not self._habits.deaf_to_stops:
                run.stop(stop.grace, read_reason(stop.reason))

    # Tickets.

    def _learn(self, classes: Iterable[ClassRecord]) -> None:
        for one in classes:
            if one.name not in self._classes:
                self._classes.add(one.name)
                self._tasks.create_task(self._take(one.name, one.requirement))

    async def _take(self, name: str, requirement: Requirement) -> None:
        while True:
            if self._resting or self._slots.how_many(requirement) < 1:
                self._room.clear()
                await self._room.wait()
                continue
            ticket = await self._bus.pull(name, OPEN_BEATS * self._beat_every)
            if ticket is None:
                continue
            if self._resting or self._slots.how_many(requirement) < 1:
                self._bus.back(ticket)
                continue
            holder = object()
            self._slots.take(holder, requirement)
            self._tasks.create_task(self._claim(ticket, holder))

    async def _claim(self, ticket: Ticket, holder: object) -> None:
        if self._habits.ack_first:
            self._bus.ack(ticket)
        self._claims.append(ticket.data.job)
        try:
            answer = await self._ask_to_claim(ticket.data.job)
        except BusError:
            self._free(holder)
            self._bus.back(ticket, BACK_PAUSE)
            return
        finally:
            self._claims.remove(ticket.data.job)
        if answer.grant is None:
            self._free(holder)
        else:
            self._accept(answer.grant, holder)
        if answer.back is None:
            self._bus.ack(ticket)
        else:
            self._bus.back(ticket, answer.back)

    async def _ask_to_claim(self, job: str) -> ClaimAnswer:
        subject = subjects.claim(self._machine.name, "default")
        for _ in range(CLAIM_TRIES if self._habits.new_claim_ids else 1):
            claim = Claim(id=self._name_it(), worker=self._machine.name, job=job, runtime="dummy")
            tries = 1 if self._habits.new_claim_ids else CLAIM_TRIES
            with contextlib.suppress(BusError):
                answer: ClaimAnswer = await self._bus.request(
                    subject, claim, ClaimAnswer, attempts=tries
                )
                return answer
        raise BusError("the claim was not answered")

    # Attempts.

    def _accept(self, grant: Grant, holder: object) -> None:
        if (grant.job, grant.attempt) in self._runs:
            self._free(holder)
            return
        folder = Folder(grant)
        self._machine.folders[grant.job, grant.attempt] = folder
        self._begin(folder, holder)

    def _begin(self, folder: Folder, holder: object) -> None:
        self._slots.take(holder, requirement_of(folder.grant.spec))
        run = Run(self._bus, self._machine, folder, self._plans[folder.grant.job])
        self._runs[run.job, run.attempt] = run
        self._tasks.create_task(self._run(run, holder))

    async def _run(self, run: Run, holder: object) -> None:
        try:
            report = await run.until_it_ends(self._tasks)
            self._free(holder)
            if (await run.tell_end(report)).accepted:
                self._machine.confirmed.append(report)
            self._machine.folders.pop((run.job, run.attempt), None)
        finally:
            del self._runs[run.job, run.attempt]

    def _free(self, holder: object) -> None:
        if self._slots.give_back(holder):
            self._room.set()


class Run:
    """One attempt, as the agent sees it."""

    def __init__(self, bus: SimulatedBus, machine: Machine, folder: Folder, plan: Plan) -> None:
        self.job, self.attempt = folder.grant.job, folder.grant.attempt
        self.phase = "preparing"
        self._bus = bus
        self._machine = machine
        self._folder = folder
        self._plan = plan
        self._stopped: Reason | None = None
        self._stop_now = asyncio.Event()
        self._subject = subjects.request("scheduler", "report", machine.name)

    def stop(self, grace: float, reason: Reason) -> None:
        if self.phase == "reporting":
            return
        self._stopped = self._stopped or reason
        self._stop_now.set()
        if self._folder.program is not None:
            self._machine.stop(self._folder.program, grace * self._plan.dies, reason)

    async def until_it_ends(self, tasks: asyncio.TaskGroup) -> Report:
        """Its end, on the disk."""
        if self._folder.report is None:
            end = await self._end(tasks)
            self._folder.report = self._report(end_fact(end), end)
        self.phase = "reporting"
        return self._folder.report

    async def _end(self, tasks: asyncio.TaskGroup) -> AttemptEnd:
        """One that is taken up goes on; where it had not been started, it is prepared anew."""
        program = self._folder.program
        if program is None:
            await self._prepare(tasks)
            if self._stopped is not None:
                return AttemptEnd(reason=self._stopped)
            program = self._machine.start(self._folder, self._plan)
        self.phase = "running"
        tasks.create_task(self._tell_running())
        if program.ended_at is None:
            ended = self._bus.loop.create_future()
            program.waiting.append((self._bus.node, ended))
            await ended
        return program.end or AttemptEnd(reason=Reason.AGENT_ERROR)

    async def _prepare(self, tasks: asyncio.TaskGroup) -> None:
        if self._plan.prepares > BUILDING_AFTER:
            tasks.create_task(self._tell(Fact.BUILDING))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._plan.prepares):
                await self._stop_now.wait()

    async def _tell_running(self) -> None:
        pause = RUNNING_AFTER
        while True:
            await asyncio.sleep(pause)
            if self.phase == "reporting" or await self._tell(Fact.RUNNING):
                return
            pause = TELL_AGAIN

    async def _tell(self, fact: Fact) -> bool:
        try:
            answer = await self._bus.request(self._subject, self._report(fact, None), ReportAnswer)
        except BusError:
            return False
        if answer.stop:
            self.stop(self._folder.grant.spec.grace, Reason.CANCELLED)
        return True

    async def tell_end(self, report: Report) -> ReportAnswer:
        failures = 0
        while True:
            try:
                answer: ReportAnswer = await self._bus.request(self._subject, report, ReportAnswer)
                return answer
            except BusError:
                failures += 1
            await asyncio.sleep(min(PAUSE_MOST, 0.1 * 2**failures))

    def _report(self, fact: Fact, end: AttemptEnd | None) -> Report:
        grant, program = self._folder.grant, self._folder.program
        clock = self._bus.loop.now + self._bus.node.skew
        return Report(
            worker=self._machine.name, job=self.job, attempt=self.attempt, nonce=grant.nonce,
            fact=fact, at=clock, started_at=program.started_at if program else None, end=end,
        )  # fmt: skip
