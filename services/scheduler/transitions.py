"""What becomes of a record when something is asked or reported? Pure: time comes in."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.job import Attempt, AttemptEnd, Entry, Fact, Kind, Reason, Record, State
from schemas.lifecycle import next_state
from schemas.worker import Claim, Report

INFRASTRUCTURE_RETRIES = 3
"""Tries after the first where the machine was at fault and the job does not say otherwise."""
BACKOFF_FIRST = 2.0
"""Seconds before the second retry; the first goes at once, each later one doubles."""
BACKOFF_MOST = 300.0


@dataclass(frozen=True, slots=True)
class Step:
    """One fact and the record after it."""

    fact: Fact
    record: Record


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing changes, and why."""

    text: str
    stop: bool = False
    """The attempt should not run at all."""


@dataclass(frozen=True, slots=True)
class Already:
    """Nothing changes because it is so already."""


def moved(record: Record, fact: Fact, now: float, text: str = "", **changes: object) -> Record:
    """The record after ``fact``, with a line in its timeline.

    Raises ``ValueError`` where the lifecycle does not allow it: the caller has to ask before.
    """
    state = next_state(record.state, fact)
    if state is None:
        raise ValueError(f"{fact} does not follow {record.state}")
    attempt = changes.get("attempt", record.attempt)
    entry = Entry(fact=fact, at=now, attempt=attempt, text=text)  # type: ignore[arg-type]
    update = {**changes, "state": state, "changed_at": now, "timeline": (*record.timeline, entry)}
    return record.model_copy(update=update)


def queue(record: Record, class_name: str, now: float) -> Step | Already:
    if record.state is not State.WAITING:
        return Already()
    return Step(Fact.QUEUED, moved(record, Fact.QUEUED, now, class_name=class_name))


def claim(record: Record, asked: Claim, nonce: str, now: float) -> Step | Already | Refusal:
    """A grant is a new attempt; the same claim again gets the grant that it got before."""
    current = record.current
    if current is not None and current.claim == asked.id and record.state.held:
        if record.state is State.CANCELLING:
            return Refusal("the job is being cancelled", stop=True)
        return Already()
    if record.state is not State.QUEUED:
        return Refusal(f"the job is {record.state}")
    number = record.attempt + 1
    attempt = Attempt(
        number=number,
        worker=asked.worker,
        runtime=asked.runtime,
        claim=asked.id,
        nonce=nonce,
        granted_at=now,
    )
    after = moved(
        record,
        Fact.STARTING,
        now,
        f"on {asked.worker}",
        attempt=number,
        attempts=(*record.attempts, attempt),
        not_before=None,
    )
    return Step(Fact.STARTING, after)


def report(record: Record, told: Report, now: float) -> Step | Already | Refusal:
    """Accepted from the owner of the current attempt alone."""
    current = record.current
    if current is None or told.attempt != current.number or told.worker != current.worker:
        return Refusal(f"attempt {told.attempt} is superseded", stop=True)
    if told.nonce != current.nonce:
        return Refusal("the nonce is not that of the grant", stop=True)
    if told.end is not None:
        return ended(record, current, told, now)
    if not record.state.held:
        return Refusal(f"the job is {record.state}", stop=True)
    return progressed(record, current, told, now)


def progressed(record: Record, current: Attempt, told: Report, now: float) -> Step | Already:
    if next_state(record.state, told.fact) is None:
        return Already()
    if told.fact is Fact.BUILDING and current.building_at is not None:
        return Already()
    update = noted(current, told)
    text = told.environment.source if told.environment else ""
    after = moved(record, told.fact, now, text, attempts=(*record.attempts[:-1], update))
    return Step(told.fact, after)


def noted(current: Attempt, told: Report) -> Attempt:
    changes: dict[str, object] = {}
    if told.environment is not None:
        changes["environment"] = told.environment
    if told.fact is Fact.BUILDING:
        changes["building_at"] = told.at
    if told.started_at is not None:
        changes["started_at"] = told.started_at
    return current.model_copy(update=changes)


def ended(record: Record, current: Attempt, told: Report, now: float) -> Step | Already | Refusal:
    if current.end is not None:
        return Already()
    if not record.state.held:
        return Refusal(f"the job is {record.state}", stop=True)
    assert told.end is not None
    over = noted(current, told).model_copy(update={"end": told.end, "ended_at": told.at})
    return close(record, over, told.end, now)


def lost(record: Record, detail: str, now: float) -> Step | Already:
    """The current attempt's worker is gone, or does not know of it."""
    current = record.current
    if current is None or not record.state.held:
        return Already()
    end = AttemptEnd(reason=Reason.WORKER_LOST, detail=detail)
    over = current.model_copy(update={"end": end, "ended_at": now})
    return close(record, over, end, now)


def close(record: Record, over: Attempt, end: AttemptEnd, now: float) -> Step:
    """The attempt is over: done, cancelled, tried again or failed."""
    attempts = (*record.attempts[:-1], over)
    if record.state is State.CANCELLING:
        return finish(
            record, Fact.CANCELLED, Reason.CANCELLED, cancelled_text(record), end, attempts, now
        )
    if end.succeeded:
        return finish(record, Fact.SUCCEEDED, end.reason, end.detail, end, attempts, now)
    if end.reason is not Reason.CANCELLED and retries_left(record, end.reason):
        wait = backoff(len(attempts))
        text = f"{end.reason}: {end.detail}" if end.detail else str(end.reason)
        after = moved(
            record, Fact.RETRYING, now, text, attempts=attempts, class_name=None,
            not_before=now + wait,
        )  # fmt: skip
        return Step(Fact.RETRYING, after)
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
    after = moved(
        record, fact, now, detail, attempts=attempts, reason=reason, detail=detail,
        exit_code=end.exit_code if end else None,
    )  # fmt: skip
    return Step(fact, after)


def cancelled_text(record: Record) -> str:
    return f"by {record.cancelled_by}" if record.cancelled_by else ""


def cancel(record: Record, by: str, now: float) -> Step | Already:
    """At once where nobody holds it, else as an intent that outlives everything."""
    if record.state.ended or record.state is State.CANCELLING:
        return Already()
    asked = record.model_copy(update={"cancelled_by": by})
    if record.state.held:
        return Step(Fact.CANCELLING, moved(asked, Fact.CANCELLING, now, cancelled_text(asked)))
    return finish(
        asked, Fact.CANCELLED, Reason.CANCELLED, cancelled_text(asked), None, record.attempts, now
    )


def retries_left(record: Record, reason: Reason) -> bool:
    if record.spec.retries is not None:
        return record.attempt <= record.spec.retries
    return reason.kind is Kind.INFRASTRUCTURE and record.attempt <= INFRASTRUCTURE_RETRIES


def backoff(attempts: int) -> float:
    """Seconds before the next attempt after ``attempts`` of them: 0, 2, 4, 8 …"""
    return 0.0 if attempts <= 1 else min(BACKOFF_FIRST * 2.0 ** (attempts - 2), BACKOFF_MOST)
