"""What does a seed stand for: which machines, which jobs, which faults?"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from schemas.spec import JobSpec, Resources
from tests.simulation.machine import LONG, Plan
from tests.simulation.network import Weather

STORM = 20.0
"""Seconds in which faults begin."""
CALM = 35.0
"""Seconds after which all of them are over."""


LOST_AFTER = 10.0


class Fault(StrEnum):
    CUT_WORKER = "cut worker"
    KILL_AGENT = "kill agent"
    FREEZE_AGENT = "freeze agent"
    KILL_MACHINE = "kill machine"
    LOSE_MACHINE = "lose machine"
    """For good; the first machine always stays."""
    CUT_REPLICA = "cut replica"
    KILL_REPLICA = "kill replica"
    FREEZE_REPLICA = "freeze replica"
    OUTAGE = "outage"


LASTS: dict[Fault, tuple[float, float]] = {
    Fault.CUT_WORKER: (1, 25),
    Fault.KILL_AGENT: (0.2, 20),
    Fault.FREEZE_AGENT: (1, 25),
    Fault.KILL_MACHINE: (1, 60),
    Fault.LOSE_MACHINE: (0, 0),
    Fault.CUT_REPLICA: (1, 25),
    Fault.KILL_REPLICA: (0.2, 15),
    Fault.FREEZE_REPLICA: (1, 25),
    Fault.OUTAGE: (0.5, 25),
}
REPLICA_FAULTS = (Fault.CUT_REPLICA, Fault.KILL_REPLICA, Fault.FREEZE_REPLICA)


@dataclass(frozen=True)
class Happening:
    at: float
    fault: Fault
    target: int
    seconds: float


@dataclass(frozen=True)
class Planned:
    """One job, and when somebody cancels it."""

    id: str
    at: float
    owner: str
    spec: JobSpec
    plan: Plan
    cancelled_at: float | None


@dataclass(frozen=True)
class Scenario:
    replicas: int
    slots: tuple[int, ...]
    """Of each machine."""
    jobs: tuple[Planned, ...]
    happenings: tuple[Happening, ...]
    weather: Weather
    skews: tuple[float, ...]
    """Seconds by which the clocks of replicas, then machines are off."""
    running: int | None
    """How many jobs of one owner may run."""

    @property
    def faults(self) -> set[Fault]:
        return {one.fault for one in self.happenings}


def scenario(chance: random.Random) -> Scenario:
    replicas = chance.choice((1, 1, 2, 2, 3))
    slots = tuple(chance.choice((1, 1, 2)) for _ in range(chance.randint(2, 4)))
    return Scenario(
        replicas=replicas,
        slots=slots,
        jobs=tuple(job(chance, number) for number in range(chance.randint(3, 8))),
        happenings=happenings(chance, replicas, len(slots)),
        weather=weather(chance),
        skews=tuple(chance.uniform(-3600, 3600) for _ in range(replicas + len(slots))),
        running=chance.choice((None, None, 1, 2)),
    )


def weather(chance: random.Random) -> Weather:
    if chance.random() < 0.4:
        return Weather()
    return Weather(
        dropped=chance.choice((0.0, 0.02, 0.15)),
        doubled=chance.choice((0.0, 0.05, 0.3)),
        slow=chance.choice((0.0, 0.02, 0.2)),
    )


def job(chance: random.Random, number: int) -> Planned:
    never_ends = chance.random() < 0.1
    at = chance.uniform(0, 15)
    cancelled = never_ends or chance.random() < 0.15
    return Planned(
        id=f"job{number}",
        at=at,
        owner="ben" if number % 3 == 2 else "ann",
        spec=JobSpec(
            resources=Resources(cpus=1, memory=1 << 30),
            grace=chance.choice((0.0, 1.0, 3.0)),
            retries=chance.choice((None, None, None, 1, 2)),
            exclusive=chance.random() < 0.35,
            queue_timeout=chance.choice((None, None, None, None, 30.0)),
            priority=chance.choice((0, 0, 5)),
        ),
        plan=Plan(
            seconds=LONG if never_ends else chance.choice((0.05, 1.0, 6.0, 15.0, 30.0)),
            code=chance.choice((0, 0, 0, 0, 1)),
            prepares=chance.choice((0.0, 0.05, 0.5, 3.0)),
            dies=chance.choice((0.0, 0.2, 1.0)),
        ),
        cancelled_at=at + chance.uniform(0, 30) if cancelled else None,
    )


def happenings(chance: random.Random, replicas: int, machines: int) -> tuple[Happening, ...]:
    kinds = chance.sample(list(Fault), chance.randint(1, 3))
    if chance.random() < 0.15:
        kinds = [Fault.OUTAGE]
    found = []
    for _ in range(chance.randint(1, 6)):
        fault = chance.choice(kinds)
        shortest, longest = LASTS[fault]
        targets = range(replicas if fault in REPLICA_FAULTS else machines)
        target = chance.choice(targets[1:] if fault is Fault.LOSE_MACHINE else targets)
        seconds = chance.uniform(shortest, longest) if chance.random() < 0.7 else shortest
        found.append(Happening(chance.uniform(0, STORM), fault, target, seconds))
    return tuple(sorted(found, key=lambda one: one.at))
