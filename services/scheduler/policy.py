"""Which waiting jobs may go now, and why do the others wait? Pure: state and time come in."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from schemas.job import Record, State
from schemas.worker import Capacity, Requirement, WorkerRecord
from services.scheduler import holders
from services.scheduler.retries import ANOTHER_FOR, failed_on
from services.scheduler.transitions import returnable

MARGIN = 2
"""Tickets beyond what is free in a pool: a slot never idles for want of one."""
CLASSES = 64
"""Most classes of a pool; beyond them requirements are rounded up to powers of two."""
GIBIBYTE = 1 << 30
DRAINING = "is draining"


def requirement(record: Record) -> Requirement:
    resources = record.spec.resources
    return Requirement(cpus=resources.cpus, memory=resources.memory, gpus=resources.gpus)


def class_name(asked: Requirement) -> str:
    """A subject's token: ``c1-m2048-g0``, or with thousandths of a core ``c1500m-m512-g0``."""
    milli = round(asked.cpus * 1000)
    cpus = str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"
    return f"c{cpus}-m{-(-asked.memory // (1 << 20))}-g{asked.gpus}"


def rounded(asked: Requirement) -> Requirement:
    """Up to powers of two: few classes, whatever people ask for."""
    return Requirement(
        cpus=float(power_of_two(asked.cpus)),
        memory=power_of_two(asked.memory / (1 << 20)) << 20,
        gpus=power_of_two(asked.gpus) if asked.gpus else 0,
    )


def widened(asked: Requirement, rooms: Iterable[Capacity]) -> Requirement:
    """Rounded, but not beyond the smallest worker that takes it: one that nobody has is no use."""
    up = rounded(asked)
    fitting = [room for room in rooms if fits(asked, room)]
    if not fitting or any(fits(up, room) for room in fitting):
        return up
    room = min(fitting, key=lambda one: (one.gpus, one.memory, one.cpus))
    return Requirement(
        cpus=min(up.cpus, room.cpus),
        memory=min(up.memory, room.memory),
        gpus=min(up.gpus, room.gpus),
    )


def power_of_two(amount: float) -> int:
    power = 1
    while power < amount:
        power *= 2
    return power


def fits(asked: Requirement, room: Capacity) -> bool:
    return (
        room.slots > 0
        and asked.cpus <= room.cpus + 1e-9
        and asked.memory <= room.memory
        and asked.gpus <= room.gpus
    )


def less(room: Capacity, asked: Requirement) -> Capacity:
    return Capacity(
        cpus=room.cpus - asked.cpus,
        memory=room.memory - asked.memory,
        gpus=room.gpus - asked.gpus,
        slots=room.slots - 1,
    )


@dataclass
class Room:
    """What one pool's workers have free, after what records and tickets hold of it."""

    workers: dict[str, Capacity]
    margin: int = MARGIN

    @property
    def full(self) -> bool:
        return self.margin <= 0 and not any(room.slots > 0 for room in self.workers.values())

    def take(self, asked: Requirement) -> bool:
        """Takes a place for it, the tightest that fits; else one of the margin."""
        fitting = [(room.slots, name) for name, room in self.workers.items() if fits(asked, room)]
        if fitting:
            _, name = min(fitting)
            self.workers[name] = less(self.workers[name], asked)
            return True
        if self.margin > 0 and self.workers:
            self.margin -= 1
            return True
        return False


@dataclass(frozen=True)
class PoolView:
    """What the policy knows of one pool at one moment."""

    workers: dict[str, WorkerRecord] = field(default_factory=dict)
    """Those heard of lately."""
    held: tuple[tuple[str, Requirement], ...] = ()
    """Worker and requirement of every attempt that a record gives to it."""
    unclaimed: tuple[Requirement, ...] = ()
    """Of the tickets that lie in the work stream."""


def room_of(view: PoolView) -> Room:
    """Capacity announced, less what records hold, less what unclaimed tickets will take."""
    room = Room(free_of(view))
    for asked in view.unclaimed:
        room.take(asked)
    return room


def free_of(view: PoolView) -> dict[str, Capacity]:
    free = {name: w.beat.capacity for name, w in view.workers.items() if not resting(w)}
    for worker, asked in view.held:
        if worker in free:
            free[worker] = less(free[worker], asked)
    return free


def resting(worker: WorkerRecord) -> bool:
    return worker.drain or worker.beat.draining or worker.beat.leaving or bool(worker.aside)


def another_has_room(record: Record, view: PoolView) -> bool:
    """Whether a worker that the job has not failed on could take it now."""
    asked, avoided = requirement(record), failed_on(record)
    return any(fits(asked, room) for name, room in free_of(view).items() if name not in avoided)


def keep_for_another(record: Record, worker: str, view: PoolView, now: float) -> bool:
    """Whether ``worker`` is to leave the ticket to one that the job has not failed on."""
    return (
        worker in failed_on(record)
        and 0 <= now - record.changed_at < ANOTHER_FOR
        and another_has_room(record, view)
    )


def keep_for_holder(
    record: Record, worker: str, environment: str, view: PoolView, now: float
) -> bool:
    """Whether ``worker`` is to leave the ticket to one that has the job's data or environment.

    ``environment``: the start of the key of what it is going to run in, where that is known.
    """
    wanted = holders.needs(record, environment)
    if not wanted:
        return False
    asked = requirement(record)
    fitting = {name: room for name, room in free_of(view).items() if fits(asked, room)}
    holds = {name: one.beat.holds for name, one in view.workers.items()}
    return holders.keep_for_holder(record, worker, wanted, holds, fitting, now)


def release(
    lines: Iterable[Iterable[Record]], view: PoolView, places: Mapping[str, int] | None = None
) -> list[Record]:
    """Those that go now. A line holds jobs of one owner and one requirement, in the order in which
    they go; ``places`` says how many more of an owner may go, where that is limited.

    A line whose first job does not fit anywhere now does not stop those of another requirement, one
    whose owner is at their limit stops nobody else, and nothing behind either is looked at: the
    work grows with what goes and with the lines, not with who waits.
    """
    room, left = room_of(view), dict(places or {})
    stuck: set[Requirement] = set()
    going: list[Record] = []
    heads: list[tuple[tuple[int, str], Record, Iterator[Record]]] = []
    for line in map(iter, lines):
        push(heads, line)
    while heads and not room.full:
        _, record, line = heapq.heappop(heads)
        asked = requirement(record)
        takes = 0 if keeps_place(record) else 1
        if asked in stuck or left.get(record.owner, takes) < takes:
            continue
        if could_ever(asked, view) and room.take(asked):
            going.append(record)
            push(heads, line)
            if record.owner in left:
                left[record.owner] -= takes
        else:
            stuck.add(asked)
    return going


def counts(record: Record) -> bool:
    """Whether it takes one of the places that its owner may have at one time: from when it is
    handed out until its end."""
    return record.state is State.QUEUED or record.state.held or keeps_place(record)


def keeps_place(record: Record) -> bool:
    """Whether it waits and has a place all the same: its lost attempt may come back and go on."""
    return record.state is State.WAITING and returnable(record) is not None


def limit_text(held: int, handed_out: int, limit: int) -> str:
    """Why an owner's jobs wait; empty where they have a place left."""
    if held + handed_out < limit:
        return ""
    if limit == 0:
        return "your limit is that no job of yours runs"
    jobs = "1 running job is" if held == 1 else f"{held} running jobs are"
    if handed_out:
        both = held + handed_out
        jobs = f"{both} jobs that run or are about to are" if both > 1 else "job that is next is"
    return f"your {jobs} your limit"


def push(
    heads: list[tuple[tuple[int, str], Record, Iterator[Record]]], line: Iterator[Record]
) -> None:
    record = next(line, None)
    if record is not None:
        heapq.heappush(heads, (order(record), record, line))


def order(record: Record) -> tuple[int, str]:
    return -record.spec.priority, record.id


def could_ever(asked: Requirement, view: PoolView) -> bool:
    return any(fits(asked, w.beat.capacity) for w in view.workers.values() if not resting(w))


def explain(
    record: Record, view: PoolView, ahead: int, now: float, limit: str = ""
) -> tuple[str, dict[str, str]]:
    """One sentence on why the job does not run yet, and each worker's own reason.

    ``limit`` is that of its owner's running jobs, where they are at it.
    """
    pool = record.spec.pool
    asked = requirement(record)
    reasons = {name: worker_reason(asked, w, view) for name, w in sorted(view.workers.items())}
    if record.not_before is not None and record.not_before > now:
        return f"it is tried again in {record.not_before - now:.0f} s", reasons
    if limit and record.state is State.WAITING and not keeps_place(record):
        return limit, reasons
    if not view.workers:
        return f"no worker of pool {pool} is online", reasons
    if all(resting(w) for w in view.workers.values()):
        return nobody_takes_it(pool, reasons), reasons
    if not could_ever(asked, view):
        return too_big(asked, view), reasons
    if ahead:
        jobs = "1 job is" if ahead == 1 else f"{ahead} jobs are"
        return f"{jobs} ahead of it in pool {pool}", reasons
    return "all workers that it fits on are busy", reasons


def nobody_takes_it(pool: str, reasons: dict[str, str]) -> str:
    if set(reasons.values()) == {DRAINING}:
        return f"all workers of pool {pool} are draining"
    name, reason = next((n, r) for n, r in reasons.items() if r != DRAINING)
    others = f" ({len(reasons) - 1} more rest, too)" if len(reasons) > 1 else ""
    return f"no worker of pool {pool} takes work now: {name} {reason}{others}"


def worker_reason(asked: Requirement, worker: WorkerRecord, view: PoolView) -> str:
    if resting(worker):
        return worker.aside or ("is being restarted" if worker.beat.leaving else DRAINING)
    lacks = lacking(asked, worker.beat.capacity)
    if lacks:
        return "; ".join(lacks)
    free = worker.beat.capacity
    for name, held in view.held:
        if name == worker.beat.worker:
            free = less(free, held)
    if free.slots <= 0:
        return f"all {worker.beat.capacity.slots} slots are taken"
    return "; ".join(lacking(asked, free, "free")) or "takes it next"


def lacking(asked: Requirement, room: Capacity, word: str = "in all") -> list[str]:
    lacks = []
    if asked.gpus > room.gpus:
        lacks.append(f"needs {asked.gpus} GPUs, has {room.gpus} {word}")
    if asked.memory > room.memory:
        need, has = asked.memory / GIBIBYTE, max(room.memory, 0) / GIBIBYTE
        lacks.append(f"needs {need:.1f} GiB of memory, has {has:.1f} {word}")
    if asked.cpus > room.cpus + 1e-9:
        lacks.append(f"needs {asked.cpus:g} cpus, has {max(room.cpus, 0):g} {word}")
    return lacks


def too_big(asked: Requirement, view: PoolView) -> str:
    """Names the worker that comes closest: the smallest change that would make it run."""
    best = min(
        (
            (lacking(asked, w.beat.capacity), name)
            for name, w in view.workers.items()
            if not resting(w)
        ),
        key=lambda pair: len(pair[0]),
    )
    return f"no worker is big enough; closest is {best[1]}: {'; '.join(best[0])}"
