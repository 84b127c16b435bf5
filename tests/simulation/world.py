"""What happens under one seed, from the first submission until nothing more does?"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from bus import subjects
from bus.errors import BusError, Conflict
from bus.headers import EXPECTED, EXPECTED_SUBJECT
from schemas.job import Entry, Fact, JobFact, Record, State
from schemas.quota import Quota
from schemas.requests import Cancel, CancelAnswer
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import Scheduler
from tests.simulation.agent import Agent, Habits
from tests.simulation.broker import Broker
from tests.simulation.bus import SimulatedBus
from tests.simulation.loop import Node, VirtualLoop
from tests.simulation.machine import Machine
from tests.simulation.network import OUTSIDE, Network, Weather
from tests.simulation.scenario import (
    CALM,
    LOST_AFTER,
    REPLICA_FAULTS,
    Fault,
    Happening,
    Planned,
    Scenario,
    scenario,
)
from tests.simulation.seams import seams

EPOCH = 1_800_000_000.0
PATIENCE = 1000.0
"""Seconds after the last fault in which every job has to end."""
LATE = 4.0
"""Seconds after that for which all goes on in any case."""
SETTLE = 20.0
"""Seconds after that in which everything that should not run has to stop."""


@dataclass
class Process:
    """A part that dies and is started anew, each time as another node."""

    name: str
    skew: float
    begin: Callable[[Node], Coroutine[Any, Any, None]]
    node: Node | None = None
    task: asyncio.Task[None] | None = None


@dataclass
class Outcome:
    """What there is to judge."""

    scenario: Scenario
    broker: Broker
    machines: list[Machine]
    trace: list[str]
    trouble: list[str] = field(default_factory=list)
    submitted: set[str] = field(default_factory=set)
    """Jobs whose submission was answered."""
    cancelled: dict[str, State] = field(default_factory=dict)
    """Job to the state in which its cancel was answered."""
    asked_to_cancel: set[str] = field(default_factory=set)
    steps: int = 0

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


class World:
    """One seed."""

    def __init__(
        self, seed: int, habits: Habits | None = None, *, leases_are_kept: bool = True
    ) -> None:
        chance = random.Random(seed)
        self._scenario = scenario(chance)
        quota = Quota(running=self._scenario.running)
        self._config = SchedulerConfig(lost_after=LOST_AFTER, quota=quota)
        self._habits = habits or Habits()
        self._loop = VirtualLoop()
        self._broker = Broker(self._loop, EPOCH)
        self._broker.on_fact = self._on_fact
        self._network = Network(self._loop, chance, self._broker)
        self._trace: list[str] = []
        self._names = 0
        self._open: set[str] = {job.id for job in self._scenario.jobs}
        self._machines = [
            Machine(f"w{number}", slots, self._loop, self._tell)
            for number, slots in enumerate(self._scenario.slots)
        ]
        for machine in self._machines:
            machine.leases_are_kept = leases_are_kept
        self._plans = {job.id: job.plan for job in self._scenario.jobs}
        self.outcome = Outcome(self._scenario, self._broker, self._machines, self._trace)
        skews = iter(self._scenario.skews)
        self._replicas = [
            Process(f"s{number}", next(skews), self._scheduler)
            for number in range(self._scenario.replicas)
        ]
        self._agents = [
            Process(one.name, next(skews), self._agent_of(one)) for one in self._machines
        ]
        self._people = Process("people", 0.0, self._submit_all)

    def run(self) -> Outcome:
        loop = self._loop
        with seams(loop, EPOCH):
            self._network.weather = self._scenario.weather
            for process in (*self._replicas, *self._agents, self._people):
                self._start(process)
            for happening in self._scenario.happenings:
                self._at(happening.at, self._strike, happening)
            loop.run(CALM, self._over)
            self._calm_down()
            loop.run(CALM + PATIENCE, self._over)
            loop.run(loop.now + LATE)
            loop.run(loop.now + SETTLE, self._quiet)
            self._tell("over")
            for process in (*self._replicas, *self._agents, self._people):
                self._kill(process)
            loop.run(loop.now)
        self.outcome.trouble = loop.trouble
        self.outcome.steps = loop.steps
        return self.outcome

    def _over(self) -> bool:
        return not self._open and len(self.outcome.submitted) == len(self._scenario.jobs)

    def _quiet(self) -> bool:
        """Whether nothing runs, is held or is offered."""
        busy = any(machine.busy for machine in self._machines)
        return not busy and not self._broker.tickets()

    def _tell(self, text: str) -> None:
        self._trace.append(f"{self._loop.now:9.3f}  {text}")

    def _on_fact(self, written: JobFact) -> None:
        record = written.record
        worker = record.current.worker if record.current else "-"
        text = record.timeline[-1].text
        self._tell(f"{record.id}.{record.attempt} {written.fact} on {worker}: {text}")
        if record.state.ended:
            self._open.discard(record.id)

    def _name_it(self) -> str:
        self._names += 1
        return f"id{self._names}"

    def _bus(self, node: Node) -> SimulatedBus:
        return SimulatedBus(node, self._loop, self._network, self._broker)

    # Parts.

    async def _scheduler(self, node: Node) -> None:
        """Started again by its supervisor where it could not begin."""
        while not node.dead:
            try:
                await Scheduler(self._bus(node), self._config).run()  # type: ignore[arg-type]
            except* BusError:
                await asyncio.sleep(1.0)

    def _agent_of(self, machine: Machine) -> Callable[[Node], Coroutine[Any, Any, None]]:
        def begin(node: Node) -> Coroutine[Any, Any, None]:
            bus = self._bus(node)
            return Agent(bus, machine, self._plans, self._name_it, self._habits).run()

        return begin

    async def _submit_all(self, node: Node) -> None:
        bus = self._bus(node)
        async with asyncio.TaskGroup() as tasks:
            for job in self._scenario.jobs:
                tasks.create_task(self._submit(bus, job))
                if job.cancelled_at is not None:
                    tasks.create_task(self._cancel(bus, job.id, job.cancelled_at))

    async def _submit(self, bus: SimulatedBus, job: Planned) -> None:
        await asyncio.sleep(job.at)
        at = EPOCH + self._loop.now
        record = Record(
            id=job.id, owner=job.owner, spec=job.spec, bundle="b", state=State.WAITING,
            submitted_at=at, changed_at=at, timeline=(Entry(fact=Fact.SUBMITTED, at=at),),
        )  # fmt: skip
        headers = {EXPECTED: "0", EXPECTED_SUBJECT: subjects.job(job.id)}
        fact = JobFact(fact=Fact.SUBMITTED, record=record)
        while job.id not in self.outcome.submitted:
            try:
                await bus.append(subjects.job(job.id, "submitted"), fact, headers)
                self.outcome.submitted.add(job.id)
            except Conflict:
                self.outcome.submitted.add(job.id)
            except BusError:
                await asyncio.sleep(1.0)

    async def _cancel(self, bus: SimulatedBus, job: str, at: float) -> None:
        await asyncio.sleep(at)
        self.outcome.asked_to_cancel.add(job)
        asked = Cancel(job=job, by="somebody")
        while job not in self.outcome.cancelled:
            try:
                subject = subjects.request("scheduler", "cancel")
                answer = await bus.request(subject, asked, CancelAnswer)
                self.outcome.cancelled[job] = answer.record.state
            except BusError:
                await asyncio.sleep(1.0)

    # Faults.

    def _start(self, process: Process) -> None:
        if process.node is not None:
            return
        process.node = Node(process.name, process.skew)
        coroutine = process.begin(process.node)
        process.task = self._loop.create_task(coroutine, context=process.node.context)
        process.task.add_done_callback(self._loop.observe, context=process.node.context)

    def _kill(self, process: Process) -> None:
        node, task = process.node, process.task
        if node is None or task is None:
            return
        process.node = process.task = None
        node.dead = True
        task.cancel()
        self._loop.thaw(node)

    def _at(self, at: float, callback: Callable[..., None], *arguments: object) -> None:
        self._loop.call_at(at, callback, *arguments, context=OUTSIDE)

    def _strike(self, happening: Happening) -> None:
        fault, target = happening.fault, happening.target
        over = self._loop.now + happening.seconds
        self._tell(f"{fault} {target} for {happening.seconds:.1f} s")
        match fault:
            case Fault.OUTAGE:
                self._broker.go_down()
                self._at(over, self._come_up)
            case Fault.CUT_WORKER | Fault.CUT_REPLICA:
                process = self._part(happening)
                self._network.cut(process.name)
                self._at(over, self._network.heal, process.name)
            case Fault.FREEZE_AGENT | Fault.FREEZE_REPLICA:
                node = self._part(happening).node
                if node is not None:
                    self._loop.freeze(node)
                    self._at(over, self._loop.thaw, node)
            case Fault.KILL_AGENT | Fault.KILL_REPLICA:
                self._kill(self._part(happening))
                self._at(over, self._revive, happening)
            case Fault.KILL_MACHINE | Fault.LOSE_MACHINE:
                self._kill(self._part(happening))
                self._machines[target].die()
                self._machines[target].gone |= fault is Fault.LOSE_MACHINE
                self._at(over, self._revive, happening)

    def _part(self, happening: Happening) -> Process:
        ours = happening.fault in REPLICA_FAULTS
        return (self._replicas if ours else self._agents)[happening.target]

    def _revive(self, happening: Happening) -> None:
        process = self._part(happening)
        if happening.fault not in REPLICA_FAULTS:
            machine = self._machines[happening.target]
            machine.on |= happening.fault is Fault.KILL_MACHINE
            if machine.gone or not machine.on:
                return
        self._tell(f"{process.name} is back")
        self._start(process)

    def _come_up(self) -> None:
        self._tell("the broker is back")
        self._broker.come_up()
        self._network.heal_all()

    def _calm_down(self) -> None:
        """Whatever has not ended by itself ends now."""
        self._tell("calm")
        self._network.weather = Weather()
        self._broker.come_up()
        self._network.heal_all()
        for process in (*self._replicas, *self._agents):
            if process.node is not None:
                self._loop.thaw(process.node)
        for process in self._replicas:
            self._start(process)
        for machine, process in zip(self._machines, self._agents, strict=True):
            machine.on = not machine.gone
            if machine.on:
                self._start(process)
