"""What becomes of a record when something is asked or reported? Pure: time comes in."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.job import Attempt, AttemptEnd, Entry, Fact, Pin, Reason, Record, State
from schemas.lifecycle import Action, move
from schemas.worker import AttemptKey, Claim, Report
from services.scheduler.retries import backoff, retries_left

SUPERSEDED = frozenset({Reason.WORKER_LOST, Reason.PREEMPTED})
"""What ends an attempt of which its worker did not say that it is over."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fact and the record after it."""

    fact: Fact
    record: Record
    actions: tuple[Action, ...] = ()
    """What follows from it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing changes, and why."""

    text: str
    stop: bool = False
    """The attempt should not run at all."""


@dataclass(frozen=True, slots=True)
class Already:
    """Nothing changes because it is so already."""


def step(record: Record, fact: Fact, now: float, text: str = "", **changes: object) -> Step:
    """The step that ``fact`` is, with a line in the timeline.

    Raises ``ValueError`` where the lifecycle does not allow it: the caller has to ask before.
    """
    after = move(record.state, fact)
    if after is None:
        raise ValueError(f"{fact} does not follow {record.state}")
    attempt = changes.get("attempt", record.attempt)
    entry = Entry(fact=fact, at=now, attempt=attempt, text=text)  # type: ignore[arg-type]
    update = {
        **changes, "state": after.state, "changed_at": now, "timeline": (*record.timeline, entry)
    }  # fmt: skip
    return Step(fact, record.model_copy(update=update), after.actions)


def with_attempt(record: Record, changed: Attempt) -> tuple[Attempt, ...]:
    return tuple(changed if one.number == changed.number else one for one in record.attempts)


def queue(record: Record, class_name: str, now: float) -> Step | Already:
    if record.state is not State.WAITING:
        return Already()
    return step(record, Fact.QUEUED, now, class_name=class_name)


def claim(record: Record, asked: Claim, nonce: str, now: float) -> Step | Already | Refusal:
    """A grant is a new attempt; the same claim again gets the grant that it got before."""
    current = record.current
    if current is not None and current.claim == asked.id and record.state.held:
        if record.state is State.CANCELLING:
            return Refusal("the job is being cancelled", stop=True)
        return Already()
    if record.state is not State.QUEUED:
        return Refusal(f"the job is {record.state}")
    number = max((one.number for one in record.attempts), default=0) + 1
    attempt = Attempt(
        number=number,
        worker=asked.worker,
        runtime=asked.runtime,
        claim=asked.id,
        nonce=nonce,
        granted_at=now,
        follows=record.attempt,
    )
    return step(
        record,
        Fact.STARTING,
        now,
        f"on {asked.worker}",
        attempt=number,
        attempts=(*record.attempts, attempt),
        not_before=None,
    )


def report(record: Record, told: Report, now: float) -> Step | Already | Refusal:
    """Accepted from the owner of the current attempt alone.

    A lost attempt that is heard of in time is reinstated: the report has to be decided again.
    """
    said_by = record.find(told.attempt)
    if said_by is None or told.worker != said_by.worker:
        return Refusal(f"attempt {told.attempt} is superseded", stop=True)
    if told.nonce != said_by.nonce:
        return Refusal("the nonce is not that of the grant", stop=True)
    if told.end is not None and told.end.same(said_by.end):
        return Already()
    back = reinstated(record, told, told.worker, now)
    if back is not None:
        return back
    if told.attempt != record.attempt:
        return Refusal(f"attempt {told.attempt} is superseded", stop=True)
    record = pinned(record, told)
    if told.end is not None:
        return ended(record, said_by, told, now)
    if not record.state.held:
        return Refusal(f"the job is {record.state}", stop=True)
    return progressed(record, said_by, told, now)


def pinned(record: Record, told: Report) -> Record:
    """What an attempt finds first under the name of its base image is that of all later ones."""
    found = told.environment
    if record.pin is not None or found is None or not found.digest:
        return record
    return record.model_copy(update={"pin": Pin(name=found.base, digest=found.digest)})


def progressed(record: Record, current: Attempt, told: Report, now: float) -> Step | Already:
    if move(record.state, told.fact) is None:
        return Already()
    if told.fact is Fact.BUILDING and current.building_at is not None:
        return Already()
    text = told.environment.source if told.environment else ""
    attempts = with_attempt(record, noted(current, told))
    return step(record, told.fact, now, text, attempts=attempts)


def noted(current: Attempt, told: Report) -> Attempt:
    changes: dict[str, object] = {}
    if told.environment is not None:
        changes["environment"] = told.environment
    if told.fact is Fact.BUILDING:
        changes["building_at"] = told.at
    if told.started_at is not None:
        changes["started_at"] = told.started_at
    return current.model_copy(update=changes)


def ended(record: Record, current: Attempt, told: Report, now: float) -> Step | Refusal:
    if not record.state.held:
        return Refusal(f"the job is {record.state}", stop=True)
    assert told.end is not None
    over = noted(current, told).model_copy(update={"end": told.end, "ended_at": told.at})
    return close(record, over, told.end, now)


def refused(record: Record, told: Report, now: float) -> Step | Already:
    """A line in the timeline for what a superseded attempt said; one for each attempt."""
    said_by = record.find(told.attempt)
    if said_by is None or (told.worker, told.nonce) != (said_by.worker, said_by.nonce):
        return Already()
    if said_by.refused or (said_by.number == record.attempt and said_by.end is None):
        return Already()
    if said_by.end is not None and said_by.end.reason not in SUPERSEDED:
        return Already()  # it told its end itself: this is only late
    said = f"{said_by.worker} said {told.fact} of attempt {said_by.number} when it was superseded"
    attempts = with_attempt(record, said_by.model_copy(update={"refused": True}))
    return step(record, Fact.REFUSED, now, said, attempts=attempts)


def lost(record: Record, detail: str, now: float) -> Step | Already:
    """The current attempt's worker is gone, or does not know of it."""
    current = record.current
    if current is None or not record.state.held:
        return Already()
    end = AttemptEnd(reason=Reason.WORKER_LOST, detail=detail)
    over = current.model_copy(update={"end": end, "ended_at": now})
    return close(record, over, end, now)


def returnable(record: Record) -> Attempt | None:
    """The lost attempt that may still win: the newest, while no successor of it runs.

    A successor of an exclusive job counts from its grant on: nobody can tell whether it runs.
    """
    if record.state in (State.WAITING, State.QUEUED):
        candidate = record.current
    elif record.state is State.STARTING and record.current and not record.spec.exclusive:
        candidate = record.find(record.current.follows)
    else:
        return None
    if candidate is None or candidate.end is None:
        return None
    return candidate if candidate.end.reason is Reason.WORKER_LOST else None


def reinstated(record: Record, key: AttemptKey | Report, worker: str, now: float) -> Step | None:
    """The lost attempt goes on, and a successor that has not begun to run is superseded by it."""
    back = returnable(record)
    if back is None or (back.number, back.worker) != (key.attempt, worker):
        return None
    attempts = with_attempt(record, back.model_copy(update={"end": None, "ended_at": None}))
    current = record.current
    if record.state is State.STARTING and current is not None:
        detail = f"{worker} came back with attempt {back.number}"
        end = AttemptEnd(reason=Reason.PREEMPTED, detail=detail)
        over = current.model_copy(update={"end": end, "ended_at": now})
        attempts = tuple(over if one.number == over.number else one for one in attempts)
    return step(
        record, Fact.REINSTATED, now, f"{worker} is back",
        attempts=attempts, attempt=back.number, not_before=None,
    )  # fmt: skip


def may_resume(record: Record) -> bool:
    """Whether it is taken for starting although its program is known to run."""
    current = record.current
    return record.state is State.STARTING and bool(current and current.started_at is not None)


def resumed(record: Record, now: float) -> Step | Already:
    return step(record, Fact.RUNNING, now) if may_resume(record) else Already()


def overdue(record: Record, now: float) -> Step | Already:
    """It waited for a worker for longer than it allows."""
    limit = record.spec.queue_timeout
    if limit is None or record.state not in (State.WAITING, State.QUEUED):
        return Already()
    if now < waits_since(record) + limit:
        return Already()
    detail = f"no worker took it within {limit:g} s"
    return finish(record, Fact.FAILED, Reason.QUEUE_TIMEOUT, detail, None, record.attempts, now)


def waits_since(record: Record) -> float:
    """Unix seconds at which the wait for its next attempt began."""
    begun = (Fact.SUBMITTED, Fact.RETRYING)
    return next((e.at for e in reversed(record.timeline) if e.fact in begun), record.submitted_at)


def close(record: Record, over: Attempt, end: AttemptEnd, now: float) -> Step:
    """The attempt is over: done, cancelled, tried again or failed."""
    attempts = with_attempt(record, over)
    if record.state is State.CANCELLING:
        return finish(
            record, Fact.CANCELLED, Reason.CANCELLED, cancelled_text(record), end, attempts, now
        )
    if end.succeeded:
        return finish(record, Fact.SUCCEEDED, end.reason, end.detail, end, attempts, now)
    if end.reason is not Reason.CANCELLED and retries_left(record.spec, attempts, end.reason):
        text = with_outputs(f"{end.reason}: {end.detail}" if end.detail else str(end.reason), end)
        not_before = now + backoff(attempts)
        return step(
            record, Fact.RETRYING, now, text, attempts=attempts, class_name=None,
            not_before=not_before,
        )  # fmt: skip
    return finish(record, Fact.FAILED, end.reason, end.detail, end, attempts, now)


def finish(
    record: Record,
    fact: Fact,
    reason: Reason,
    detail: str,
    end: AttemptEnd | None,
    attempts: tuple[Attempt, ...],
    now: float,
) -> Step:
    return step(
        record, fact, now, with_outputs(detail, end), attempts=attempts, reason=reason,
        detail=detail, exit_code=end.exit_code if end else None,
    )  # fmt: skip


def with_outputs(text: str, end: AttemptEnd | None) -> str:
    told = end.outputs.detail if end and end.outputs else ""
    return "; ".join(part for part in (text, told) if part)


def cancelled_text(record: Record) -> str:
    return f"by {record.cancelled_by}" if record.cancelled_by else ""


def cancel(record: Record, by: str, now: float) -> Step | Already:
    """At once where nobody holds it, else as an intent that outlives everything."""
    if record.state.ended or record.state is State.CANCELLING:
        return Already()
    asked = record.model_copy(update={"cancelled_by": by})
    if record.state.held:
        return step(asked, Fact.CANCELLING, now, cancelled_text(asked))
    return finish(
        asked, Fact.CANCELLED, Reason.CANCELLED, cancelled_text(asked), None, record.attempts, now
    )
