"""What do people ask of the scheduler? Each deed is noted before it is done: what cannot be noted
is not done."""

from __future__ import annotations

import asyncio

from bus import subjects
from bus.audit import note
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import NotFound, Refused
from bus.quotas import QuotaTable
from bus.records import Records
from schemas.audit import AuditEntry, Deed
from schemas.job import Record, State
from schemas.message import Empty, Message
from schemas.problem import Problem
from schemas.quota import LONGEST_USER, MOST, ListQuotas, Quotas, SetQuota
from schemas.requests import Cancel, CancelAnswer, Drain
from schemas.worker import Command
from services.scheduler import transitions
from services.scheduler.fold import Fold
from services.scheduler.roster import Roster
from services.scheduler.steps import Steps


class Orders:
    """Answers ``cancel``, ``drain``, ``quotas`` and ``set-quota``."""

    def __init__(
        self,
        bus: Bus,
        clock: ServerClock,
        parts: tuple[Fold, Steps, Roster, QuotaTable],
        changed: asyncio.Event,
    ) -> None:
        """``changed`` is set where jobs of any pool may go now."""
        self._bus = bus
        self._clock = clock
        self._fold, self._steps, self._roster, self._quotas = parts
        self._records = Records(bus)
        self._changed = changed

    async def on_cancel(self, asked: Cancel, subject: str) -> CancelAnswer:
        try:
            record = await self._newest(asked.job)
            if not record.state.ended and record.state is not State.CANCELLING:
                await self._note(Deed.CANCEL, asked.by, asked.job, record.name, asked.address)
            _, record = await self._steps.take(
                asked.job, lambda newest, now: transitions.cancel(newest, asked.by, now)
            )
        except NotFound as error:
            raise Refused(no_job(asked.job)) from error
        return CancelAnswer(record=record)

    async def _newest(self, job: str) -> Record:
        stored = self._fold.get(job) or await self._records.get(job)
        return stored.record

    async def on_drain(self, asked: Drain, subject: str) -> Message:
        if asked.worker not in self._roster.online():
            raise Refused(no_worker(asked.worker))
        detail = "takes nothing new" if asked.drain else "takes jobs again"
        await self._note(Deed.DRAIN, asked.by, asked.worker, detail, asked.address)
        await self._roster.drain(asked.worker, asked.drain)
        await self._bus.publish(subjects.command(asked.worker, "drain"), Command(drain=asked.drain))
        self._changed.set()
        return Empty()

    async def on_quotas(self, asked: ListQuotas, subject: str) -> Quotas:
        return await self._quotas.read(asked.user)

    async def on_set_quota(self, asked: SetQuota, subject: str) -> Quotas:
        """What holds for the user then."""
        check(asked)
        await self._note(Deed.QUOTA_SET, asked.by, asked.user, told(asked), asked.address)
        await self._quotas.change(asked, self._clock.now())
        self._changed.set()
        return await self._quotas.read(asked.user)

    async def _note(self, deed: Deed, who: str, target: str, detail: str, address: str) -> None:
        entry = AuditEntry(
            at=self._clock.now(), deed=deed, who=who, target=target, detail=detail, address=address
        )
        await note(self._bus, "scheduler", entry)


def check(asked: SetQuota) -> None:
    if not 1 <= len(asked.user) <= LONGEST_USER:
        raise Refused(bad_quota(f"a user's name has 1 to {LONGEST_USER} characters"))
    if not asked.limits and not asked.clear:
        raise Refused(bad_quota("say what to set: running=4, for example"))
    for kind, limit in asked.limits.items():
        if limit is not None and not 0 <= limit <= MOST:
            raise Refused(bad_quota(f"{kind} must be from 0 to {MOST}"))


def told(asked: SetQuota) -> str:
    changes = [f"{kind}={show(limit)}" for kind, limit in sorted(asked.limits.items())]
    return " ".join([*changes, *(f"{kind}=default" for kind in asked.clear)])


def show(limit: int | None) -> str:
    return "none" if limit is None else str(limit)


def bad_quota(detail: str) -> Problem:
    return Problem(code="bad_quota", title="This is no quota", status=422, detail=detail)


def no_worker(worker: str) -> Problem:
    return Problem(
        code="no_such_worker",
        title="There is no such worker",
        status=404,
        detail=f"no worker named {worker} is online",
    )


def no_job(job: str) -> Problem:
    return Problem(
        code="no_such_job",
        title="There is no such job",
        status=404,
        detail=f"no job has the id {job}",
    )
