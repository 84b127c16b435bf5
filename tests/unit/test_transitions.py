"""What becomes of a record: claims, reports, cancels and losses, decided without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.job import AttemptEnd, Entry, Environment, Fact, Pin, Reason, Record, State
from schemas.spec import JobSpec
from schemas.worker import Claim, Report
from services.scheduler import transitions
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import grant
from services.scheduler.transitions import Already, Refusal, Step

NOW = 1000.0


def record(state: State = State.WAITING, **spec: Any) -> Record:
    return Record(
        id="00000000-0000",
        owner="me",
        spec=JobSpec(**spec),
        bundle="b",
        state=state,
        submitted_at=1.0,
        changed_at=1.0,
        timeline=(Entry(fact=Fact.SUBMITTED, at=1.0),),
    )


def step(decision: object) -> Record:
    assert isinstance(decision, Step), decision
    return decision.record


def claim(worker: str = "w1", claim_id: str = "c1") -> Claim:
    return Claim(id=claim_id, worker=worker, job="00000000-0000", runtime="dummy")


def started(worker: str = "w1", claim_id: str = "c1", **spec: Any) -> Record:
    queued = step(transitions.queue(record(**spec), "c1-m2048-g0", NOW))
    return step(transitions.claim(queued, claim(worker, claim_id), "secret", NOW))


def again(after: Record, claim_id: str) -> Record:
    queued = step(transitions.queue(after, "c", NOW))
    return step(transitions.claim(queued, claim("w2", claim_id), "secret", NOW))


def told(fact: Fact, attempt: int = 1, **changes: Any) -> Report:
    values: dict[str, Any] = {"worker": "w1", "job": "j", "attempt": attempt, "nonce": "secret"}
    return Report(fact=fact, at=NOW + 5, **{**values, **changes})


def end(reason: Reason = Reason.EXIT, code: int | None = 0) -> AttemptEnd:
    return AttemptEnd(reason=reason, exit_code=code, log_ends={0: 12})


def test_a_claim_begins_an_attempt_and_the_timeline_says_where() -> None:
    after = started()
    assert (after.state, after.attempt) == (State.STARTING, 1)
    assert after.timeline[-1].text == "on w1"


def test_the_same_claim_again_changes_nothing() -> None:
    assert isinstance(transitions.claim(started(), claim(), "other", NOW), Already)


@pytest.mark.parametrize("state", [s for s in State if s is not State.QUEUED])
def test_only_a_queued_job_can_be_claimed(state: State) -> None:
    assert isinstance(transitions.claim(record(state), claim(), "n", NOW), Refusal)


def test_a_claim_of_what_is_being_cancelled_is_refused() -> None:
    cancelling = step(transitions.cancel(started(), "me", NOW))
    decision = transitions.claim(cancelling, claim(), "n", NOW)
    assert isinstance(decision, Refusal)
    assert decision.stop


@pytest.mark.parametrize(
    "wrong", [{"attempt": 2}, {"attempt": 0}, {"worker": "w2"}, {"nonce": "x"}]
)
def test_a_report_that_is_not_the_owners_is_refused_and_told_to_stop(wrong: dict[str, Any]) -> None:
    decision = transitions.report(started(), told(Fact.RUNNING, **wrong), NOW)
    assert isinstance(decision, Refusal)
    assert decision.stop


def test_what_a_superseded_attempt_says_changes_nothing() -> None:
    lost = step(transitions.lost(started(), "silent", NOW))
    second = again(lost, "c2")
    running = told(Fact.RUNNING, attempt=2, worker="w2", started_at=NOW)
    second = step(transitions.report(second, running, NOW))
    for report in (told(Fact.RUNNING), told(Fact.SUCCEEDED, end=end())):
        assert isinstance(transitions.report(second, report, NOW), Refusal)


def test_a_report_told_twice_changes_nothing_the_second_time() -> None:
    running = step(transitions.report(started(), told(Fact.RUNNING, started_at=NOW), NOW))
    assert isinstance(transitions.report(running, told(Fact.RUNNING), NOW), Already)
    over = step(transitions.report(running, told(Fact.SUCCEEDED, end=end()), NOW))
    assert isinstance(transitions.report(over, told(Fact.SUCCEEDED, end=end()), NOW), Already)


def test_an_end_may_come_before_running_was_told() -> None:
    over = step(transitions.report(started(), told(Fact.SUCCEEDED, end=end(), started_at=3.0), NOW))
    assert (over.state, over.exit_code, over.attempts[0].started_at) == (State.SUCCEEDED, 0, 3.0)


def test_the_base_image_that_an_attempt_finds_first_is_that_of_all_later_ones() -> None:
    def found(digest: str) -> Environment:
        return Environment(source="python", base="python:3.12-slim", key="k", digest=digest)

    nothing = step(transitions.report(started(), told(Fact.RUNNING, environment=found("")), NOW))
    assert nothing.pin is None
    lost = end(Reason.AGENT_ERROR, None)
    over = told(Fact.FAILED, end=lost, environment=found("sha256:1"))
    after = again(step(transitions.report(nothing, over, NOW)), "c2")
    assert after.pin == Pin(name="python:3.12-slim", digest="sha256:1")
    later = told(Fact.RUNNING, 2, worker="w2", environment=found("sha256:2"))
    assert step(transitions.report(after, later, NOW)).pin == after.pin
    given = grant(after, SchedulerConfig(images={"": "a", "default": "b"}, gpu_images={"": "c"}))
    assert (given.pin, given.image, given.gpu_image) == (after.pin, "b", "c")


def test_a_user_failure_is_not_retried_and_says_why() -> None:
    over = step(transitions.report(started(), told(Fact.FAILED, end=end(code=3)), NOW))
    assert (over.state, over.reason, over.exit_code) == (State.FAILED, Reason.EXIT, 3)


@pytest.mark.parametrize("reason", list(Reason))
def test_only_infrastructure_is_retried_by_default(reason: Reason) -> None:
    over = step(transitions.report(started(), told(Fact.FAILED, end=end(reason, 1)), NOW))
    expected = State.WAITING if reason.kind == "infrastructure" else State.FAILED
    assert over.state is expected


def test_infrastructure_is_retried_three_times_with_backoff() -> None:
    after = started()
    waits = []
    for number in range(2, 5):
        after = step(transitions.lost(after, "gone", NOW))
        assert after.not_before is not None
        waits.append(after.not_before - NOW)
        after = again(after, f"c{number}")
    after = step(transitions.lost(after, "gone", NOW))
    assert waits == [0.0, 2.0, 4.0]
    assert (after.state, after.reason, len(after.attempts)) == (State.FAILED, Reason.WORKER_LOST, 4)


def test_retries_of_the_spec_count_for_whatever_reason() -> None:
    once = step(transitions.report(started(retries=1), told(Fact.FAILED, end=end(code=1)), NOW))
    assert once.state is State.WAITING
    none = step(transitions.lost(started(retries=0), "gone", NOW))
    assert none.state is State.FAILED


@pytest.mark.parametrize("reason", list(Reason))
def test_whatever_ends_a_cancelled_attempt_the_job_is_cancelled(reason: Reason) -> None:
    cancelling = step(transitions.cancel(started(retries=5), "ada", NOW))
    over = step(transitions.report(cancelling, told(Fact.FAILED, end=end(reason, 1)), NOW))
    assert (over.state, over.detail) == (State.CANCELLED, "by ada")


def test_a_lost_worker_ends_a_cancelled_job() -> None:
    cancelling = step(transitions.cancel(started(), "ada", NOW))
    assert step(transitions.lost(cancelling, "gone", NOW)).state is State.CANCELLED


def test_an_end_that_was_recorded_first_wins_over_a_cancel() -> None:
    over = step(transitions.report(started(), told(Fact.SUCCEEDED, end=end()), NOW))
    assert isinstance(transitions.cancel(over, "ada", NOW), Already)


def test_running_told_while_cancelling_changes_nothing() -> None:
    cancelling = step(transitions.cancel(started(), "ada", NOW))
    assert isinstance(transitions.report(cancelling, told(Fact.RUNNING), NOW), Already)


@pytest.mark.parametrize("state", [State.WAITING, State.QUEUED])
def test_what_nobody_holds_is_cancelled_at_once(state: State) -> None:
    over = step(transitions.cancel(record(state), "ada", NOW))
    assert (over.state, over.cancelled_by, over.reason) == (
        State.CANCELLED,
        "ada",
        Reason.CANCELLED,
    )


def test_a_job_that_nobody_holds_cannot_be_lost() -> None:
    assert isinstance(transitions.lost(record(), "gone", NOW), Already)
