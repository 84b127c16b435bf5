"""How does the scheduler run: requests, beats, releases and sweeps over one fold?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import defaultdict

from bus import subjects
from bus.clock import LOOK_EVERY as CLOCK_SET
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import BusError, Corrupt, NotFound
from bus.follow import Delivery, follow
from bus.quotas import QuotaTable
from bus.records import read_change
from bus.serve import Route, serve
from schemas.job import Fact, Record, State
from schemas.quota import Kind, ListQuotas, SetQuota
from schemas.requests import Cancel, Drain, Explain, Explanation
from schemas.worker import (
    Beat,
    Claim,
    ClaimAnswer,
    Grant,
    Report,
    ReportAnswer,
)
from services.scheduler import policy, transitions
from services.scheduler.beats import Beats
from services.scheduler.classes import Classes
from services.scheduler.config import SchedulerConfig
from services.scheduler.effects import Effects
from services.scheduler.fold import Fold
from services.scheduler.orders import Orders
from services.scheduler.places import Places
from services.scheduler.retries import ANOTHER_AGAIN
from services.scheduler.roster import Roster
from services.scheduler.steps import Decision, Steps
from services.scheduler.transitions import Refusal, Step

log = logging.getLogger(__name__)

RELEASES = 32
"""Jobs that are released side by side."""
LOOK_AT_WAITS = 1.0
"""Least seconds between two looks for jobs whose wait is over."""
FOR_ANOTHER = "it is kept for another worker"
"""One that the job has not failed on, that is not set aside, or has what the job needs."""


async def run(bus: Bus, config: SchedulerConfig) -> None:
    """Until cancelled; replicas run side by side."""
    scheduler = Scheduler(bus, config)
    await scheduler.run()


class Scheduler:
    """One replica."""

    def __init__(self, bus: Bus, config: SchedulerConfig) -> None:
        self._bus = bus
        self._config = config
        self._fold = Fold()
        self._clock = ServerClock(bus)
        self._effects = Effects(bus, self._fold, self._wake)
        self._steps = Steps(bus, self._fold, self._clock, self._effects.follow)
        self._classes = Classes(bus, config.replicas)
        self._roster = Roster(bus, config, self._clock, self._fold.health.aside)
        self._quotas = QuotaTable(bus, config.quota)
        self._places = Places(bus, self._fold)
        self._dirty: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._releasing: set[str] = set()
        self._any = asyncio.Event()
        parts = (self._fold, self._steps, self._classes, self._roster)
        self._beats = Beats(bus, config, parts, self._wake)
        asked = (self._fold, self._steps, self._roster, self._quotas)
        self._orders = Orders(bus, self._clock, asked, self._any)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        await self._clock.look()
        await self._classes.load()
        await self._roster.load()
        await self._quotas.load()
        await self._places.load()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._follow_jobs())
            tasks.create_task(self._roster.listen(self._any))
            tasks.create_task(self._roster.listen_drains(self._any))
            tasks.create_task(self._classes.listen())
            tasks.create_task(self._quotas.listen())
            tasks.create_task(self._wake_all())
            tasks.create_task(self._pass_places_on())
            tasks.create_task(self._steps.trim())
            tasks.create_task(self._clock.keep())
            tasks.create_task(self._sweep())
            tasks.create_task(self._end_waits())
            tasks.create_task(self._beats.watch_silence())
            await serve(self._bus, self._routes(), "scheduler")

    def _routes(self) -> dict[str, Route]:
        orders = self._orders
        return {
            subjects.claim("*", "*"): Route(Claim, self._on_claim),
            subjects.request("scheduler", "report", "*"): Route(Report, self._on_report),
            subjects.request("scheduler", "cancel"): Route(Cancel, orders.on_cancel),
            subjects.request("scheduler", "drain"): Route(Drain, orders.on_drain),
            subjects.request("scheduler", "explain"): Route(Explain, self._on_explain),
            subjects.request("scheduler", "quotas"): Route(ListQuotas, orders.on_quotas),
            subjects.request("scheduler", "set-quota"): Route(SetQuota, orders.on_set_quota),
            subjects.BEATS_ALL: Route(Beat, self._beats.on_beat),
        }

    # ---- what jobs do

    async def _follow_jobs(self) -> None:
        async for delivery in follow(self._bus, "JOBS", subjects.JOBS_ALL):
            if not self._known(delivery):
                self._take_in(delivery)
            if self._places.read(delivery):
                self._any.set()

    def _known(self, delivery: Delivery) -> bool:
        """Our own step; but one that ended its job is taken in again after older facts of others.

        They come behind it where this follower lags: the fold had forgotten the job by then.
        """
        if not self._steps.wrote(delivery.sequence):
            return False
        job, _ = subjects.parse_job(delivery.subject)
        return not self._fold.behind(job, delivery.sequence)

    def _take_in(self, delivery: Delivery) -> None:
        try:
            change = read_change(delivery)
        except Corrupt as error:
            log.error("fact %d, %s, is left out: %s", delivery.sequence, delivery.subject, error)
            return
        before = self._fold.get(change.record.id)
        if self._fold.apply(change.record, change.sequence, change.fact):
            self._wake(change.record.spec.pool)
        if before is not None and change.record.state.ended:
            # Whoever wrote it may have died before it did what follows.
            self._steps.finish(change.record, before.record.state is State.QUEUED)

    def _wake(self, pool: str) -> None:
        self._dirty[pool].set()
        if self._tasks is not None and pool not in self._releasing:
            self._releasing.add(pool)
            self._tasks.create_task(self._release(pool, self._dirty[pool]))

    async def _wake_all(self) -> None:
        while True:
            await self._any.wait()
            self._any.clear()
            for pool in list(self._fold.pools):
                self._wake(pool)

    async def _pass_places_on(self) -> None:
        """What an owner's job leaves may be for one of another pool."""
        while True:
            await self._fold.freed.wait()
            self._fold.freed.clear()
            if self._quotas.limits_anybody(Kind.RUNNING):
                self._any.set()

    async def _release(self, pool: str, dirty: asyncio.Event) -> None:
        """Lets jobs go as room shows up; one pass takes in everything that happened before it."""
        while True:
            await dirty.wait()
            dirty.clear()
            try:
                await self._release_now(pool)
            except BusError as error:
                log.warning("releasing jobs of pool %s: %s", pool, error)

    async def _release_now(self, pool: str) -> None:
        self._wake_later(pool, self._fold.come_due(pool, self._clock.now()))
        places = self._left(pool)
        going = policy.release(self._fold.lines(pool), self._view(pool), places)
        for record in going:
            if record.owner in places:
                self._places.take(record)
        going += self._places.again(pool)
        for start in range(0, len(going), RELEASES):
            async with asyncio.TaskGroup() as tasks:
                for record in going[start : start + RELEASES]:
                    tasks.create_task(self._queue(record))

    def _left(self, pool: str) -> dict[str, int]:
        """How many more of each limited owner may go."""
        if not self._quotas.limits_anybody(Kind.RUNNING):
            return {}
        owners = self._fold.owners(pool)
        return self._places.left(owners, {owner: self._quotas.of(owner) for owner in owners})

    def _wake_later(self, pool: str, at: float | None) -> None:
        """One timer a pool: for the next retry whose time has not come."""
        timer = self._timers.pop(pool, None)
        if timer is not None:
            timer.cancel()
        if at is not None:
            wait = max(0.0, at - self._clock.now()) + 0.01
            loop = asyncio.get_running_loop()
            self._timers[pool] = loop.call_later(wait, self._dirty[pool].set)

    async def _queue(self, record: Record) -> None:
        """Writes ``queued``, from which the ticket follows."""
        pool = record.spec.pool
        try:
            name = await self._classes.ensure(
                pool, policy.requirement(record), self._roster.online(pool)
            )
            await self._steps.take(
                record.id, lambda newest, now: transitions.queue(newest, name, now)
            )
        except BusError as error:
            self._places.failed(record.id, error)
            log.warning("%s could not be queued yet: %s", record.id, error)

    def _view(self, pool: str) -> policy.PoolView:
        jobs = self._fold.pools[pool]
        return policy.PoolView(
            self._roster.online(pool), tuple(jobs.held.values()), tuple(jobs.queued.values())
        )

    # ---- what is asked

    async def _on_claim(self, claim: Claim, subject: str) -> ClaimAnswer:
        worker, pool = subjects.parse_claim(subject)
        if worker != claim.worker:
            return ClaimAnswer(refusal="a worker claims under its own name")
        nonce = secrets.token_urlsafe(16)

        def decide(newest: Record, now: float) -> Decision:
            if newest.spec.pool != pool:
                return Refusal(f"the job is not of pool {pool}")
            if newest.state is State.QUEUED and self._keeps(newest, claim.worker, now):
                return Refusal(FOR_ANOTHER)
            return transitions.claim(newest, claim, nonce, now)

        try:
            decision, record = await self._steps.take(claim.job, decide)
        except NotFound:
            return ClaimAnswer(refusal="there is no such job")
        if isinstance(decision, Refusal):
            back = ANOTHER_AGAIN if decision.text == FOR_ANOTHER else None
            return ClaimAnswer(refusal=decision.text, back=back)
        return ClaimAnswer(grant=grant(record, self._config))

    def _keeps(self, record: Record, worker: str, now: float) -> bool:
        """Whether the ticket is for another worker than this one."""
        view, environment = self._view(record.spec.pool), self._fold.habits.key(record)
        return (
            bool(self._roster.aside(worker))
            or policy.keep_for_another(record, worker, view, now)
            or policy.keep_for_holder(record, worker, environment, view, now)
        )

    async def _on_report(self, report: Report, subject: str) -> ReportAnswer:
        if not own(subject, report.worker):
            return ReportAnswer(accepted=False, refusal="a worker reports under its own name")

        def decide(newest: Record, now: float) -> Decision:
            return transitions.report(newest, report, now)

        try:
            decision, record = await self._steps.take(report.job, decide)
            # More than once where another replica takes it for lost again meanwhile.
            while isinstance(decision, Step) and decision.fact is Fact.REINSTATED:
                log.warning("%s attempt %d goes on: it reports", report.job, report.attempt)
                decision, record = await self._steps.take(report.job, decide)
        except NotFound:
            return ReportAnswer(accepted=False, stop=True, refusal="there is no such job")
        if isinstance(decision, Refusal):
            await self._note_refused(report)
            return ReportAnswer(accepted=False, stop=decision.stop, refusal=decision.text)
        return ReportAnswer(accepted=True, stop=record.state is State.CANCELLING)

    async def _note_refused(self, report: Report) -> None:
        try:
            await self._steps.take(
                report.job, lambda newest, now: transitions.refused(newest, report, now)
            )
        except BusError as error:
            log.info("%s: a refused report is not in the timeline: %s", report.job, error)

    async def _on_explain(self, asked: Explain, subject: str) -> Explanation:
        stored = self._fold.get(asked.job)
        if stored is None or stored.record.state not in (State.WAITING, State.QUEUED):
            return Explanation(text="")
        record = stored.record
        ahead = self._fold.ahead(record)
        view, now = self._view(record.spec.pool), self._clock.now()
        limit = self._places.limit_text(record.owner, self._quotas.of(record.owner))
        text, workers = policy.explain(record, view, ahead, now, limit)
        return Explanation(text=text, ahead=ahead, workers=workers)

    # ---- what time does

    async def _sweep(self) -> None:
        """Repeats what follows from the records and may not have happened."""
        while True:
            await asyncio.sleep(self._config.sweep_every)
            now = self._clock.now()
            for record in self._fold.queued():
                waits = now - record.changed_at
                # Below nothing: the server of a cluster that leads now has another clock.
                if record.class_name and not 0 <= waits <= self._config.sweep_every:
                    await self._repeat_ticket(record)
            self._any.set()

    async def _repeat_ticket(self, record: Record) -> None:
        try:
            if await self._effects.publish(record):
                log.info("%s: its ticket was missing and is published again", record.id)
        except BusError as error:
            log.warning("%s: %s", record.id, error)

    async def _end_waits(self) -> None:
        """Ends the jobs that waited for longer than they allow."""
        while True:
            await self._until_overdue()
            for job in self._fold.overdue(self._clock.now()):
                try:
                    await self._steps.take(job, transitions.overdue)
                except BusError as error:
                    log.warning("%s waits on although its time is up: %s", job, error)
                    self._fold.look_at_wait(job, self._clock.now() + self._config.sweep_every)

    async def _until_overdue(self) -> None:
        """Or until a job that has to end sooner comes, or the clock may have been set."""
        await asyncio.sleep(LOOK_AT_WAITS)
        self._fold.sooner.clear()
        at = self._fold.next_overdue
        wait = CLOCK_SET if at is None else min(at - self._clock.now(), CLOCK_SET)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._fold.sooner.wait()


def own(subject: str, worker: str) -> bool:
    """An agent's request ends in its own name: that is what its rights are tied to."""
    return subjects.asker(subject) == worker


def grant(record: Record, config: SchedulerConfig) -> Grant:
    current = record.current
    assert current is not None
    log_bound = config.log_bound(record.spec.pool)
    outputs_bound = config.outputs_bound(record.spec.pool)
    image, gpu_image = config.base_images(record.spec.pool)
    return Grant(
        job=record.id,
        attempt=current.number,
        nonce=current.nonce,
        owner=record.owner,
        spec=record.spec,
        bundle=record.bundle,
        bundle_size=record.bundle_size,
        bundle_scope=record.bundle_scope,
        log_rate=log_bound[0],
        log_total=log_bound[1],
        outputs_size=outputs_bound[0],
        outputs_files=outputs_bound[1],
        image=image,
        gpu_image=gpu_image,
        pin=record.pin,
    )
