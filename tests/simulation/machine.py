"""What runs on a worker's machine, whatever becomes of its agent? Programs, shims, the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.lease import SHARE
from schemas.job import AttemptEnd
from schemas.reason import Reason
from schemas.worker import Capacity, Grant, Report
from tests.simulation.bus import settle
from tests.simulation.loop import Node, VirtualLoop
from tests.simulation.network import OUTSIDE

Key = tuple[str, int]
LONG = 1e9
"""Seconds that a program runs which is only ever stopped."""


@dataclass(frozen=True)
class Plan:
    """What a job's program does."""

    seconds: float
    code: int = 0
    prepares: float = 0.0
    """Seconds until it starts."""
    dies: float = 0.0
    """Share of the grace that it takes to die."""


@dataclass
class Program:
    """One execution, in the ledger for ever."""

    job: str
    attempt: int
    machine: str
    exclusive: bool
    started_at: float
    ended_at: float | None = None
    end: AttemptEnd | None = None
    """As its shim wrote it down; None of one that died with its machine."""
    stopping: Reason | None = None
    waiting: list[tuple[Node, asyncio.Future[None]]] = field(default_factory=list)


@dataclass
class Folder:
    """What the disk holds of an attempt."""

    grant: Grant
    report: Report | None = None
    program: Program | None = None


class Machine:
    """Its programs go on by themselves; ``tell`` writes the trace."""

    def __init__(
        self, name: str, slots: int, loop: VirtualLoop, tell: Callable[[str], None]
    ) -> None:
        self.name = name
        self.capacity = Capacity(cpus=slots, memory=slots << 31, slots=slots)
        self.ledger: list[Program] = []
        self.folders: dict[Key, Folder] = {}
        self.confirmed: list[Report] = []
        """Ends of which the scheduler said that it has them, in the ledger for ever."""
        self.lease = -LONG
        """When a program of an exclusive job is killed, if no beat is answered until then."""
        self.leases_are_kept = True
        self.on = True
        self.gone = False
        """For good."""
        self._loop = loop
        self._tell = tell

    @property
    def busy(self) -> bool:
        return bool(self.folders and not self.gone) or any(
            one.ended_at is None for one in self.ledger
        )

    def renew(self, sent_at: float, lost_after: float) -> None:
        self.lease = sent_at + SHARE * lost_after

    def start(self, folder: Folder, plan: Plan) -> Program:
        grant = folder.grant
        program = Program(grant.job, grant.attempt, self.name, grant.spec.exclusive, self._loop.now)
        folder.program = program
        if program.exclusive and self.leases_are_kept:
            if self.lease <= self._loop.now:
                program.ended_at = self._loop.now
                program.end = AttemptEnd(reason=Reason.LEASE_EXPIRED)
                return program
            self._at(self.lease - self._loop.now, self._look_at_lease, program)
        self.ledger.append(program)
        self._tell(f"{self.name} starts {grant.job}.{grant.attempt}")
        end = AttemptEnd(reason=Reason.EXIT, exit_code=plan.code)
        self._at(plan.seconds, self._finish, program, end)
        return program

    def stop(self, program: Program, seconds: float, reason: Reason) -> None:
        if program.ended_at is None and program.stopping is None:
            program.stopping = reason
            self._at(seconds, self._finish, program, AttemptEnd(reason=reason))

    def die(self) -> None:
        """With all that runs on it. The disk stays."""
        self.on = False
        for program in self.ledger:
            if program.ended_at is None:
                program.ended_at = self._loop.now
                self._tell(f"{program.job}.{program.attempt} dies with {self.name}")

    def _at(self, seconds: float, callback: Callable[..., None], *arguments: object) -> None:
        self._loop.call_later(seconds, callback, *arguments, context=OUTSIDE)

    def _look_at_lease(self, program: Program) -> None:
        left = self.lease - self._loop.now
        if program.ended_at is None and left > 0:
            self._at(left, self._look_at_lease, program)
        else:
            self._finish(program, AttemptEnd(reason=Reason.LEASE_EXPIRED))

    def _finish(self, program: Program, end: AttemptEnd) -> None:
        if program.ended_at is not None:
            return
        if end.reason is Reason.EXIT and program.stopping is not None:
            end = AttemptEnd(reason=program.stopping)
        program.ended_at, program.end = self._loop.now, end
        self._tell(f"{self.name} ends {program.job}.{program.attempt}: {end.reason}")
        for node, future in program.waiting:
            self._loop.call_soon(settle, future, None, context=node.context)
