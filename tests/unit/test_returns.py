"""A worker that was taken for lost comes back: which attempt goes on?"""

from __future__ import annotations

import pytest

from schemas.job import Fact, Reason, Record, State
from schemas.lifecycle import Action
from schemas.worker import AttemptKey
from services.scheduler import transitions
from services.scheduler.transitions import Already, Refusal, Step
from tests.unit.test_transitions import NOW, claim, end, started, step, told

FIRST = AttemptKey(job="00000000-0000", attempt=1)


def lost(record: Record | None = None, **spec: object) -> Record:
    return step(transitions.lost(record or started(**spec), "silent", NOW))


def queued(**spec: object) -> Record:
    return step(transitions.queue(lost(**spec), "c", NOW))


def succeeded_by_w2(**spec: object) -> Record:
    return step(transitions.claim(queued(**spec), claim("w2", "c2"), "secret", NOW))


def back(record: Record, worker: str = "w1", key: AttemptKey = FIRST) -> Step | None:
    return transitions.reinstated(record, key, worker, NOW + 9)


@pytest.mark.parametrize("record", [lost(), queued(), succeeded_by_w2()])
def test_it_goes_on_while_no_successor_runs(record: Record) -> None:
    decision = back(record)
    assert decision is not None
    after = decision.record
    assert (after.state, after.attempt, after.not_before) == (State.STARTING, 1, None)
    assert after.current is not None
    assert (after.current.worker, after.current.end, after.current.ended_at) == ("w1", None, None)
    assert after.timeline[-1].text == "w1 is back"


def test_a_ticket_of_a_reinstated_job_is_withdrawn() -> None:
    decision = back(queued())
    assert decision is not None
    assert decision.actions == (Action.WITHDRAW_TICKET,)


def test_a_successor_that_does_not_run_yet_makes_room_and_is_told_to_stop() -> None:
    decision = back(succeeded_by_w2())
    assert decision is not None
    assert Action.STOP in decision.actions
    second = decision.record.find(2)
    assert second is not None
    assert second.end is not None
    assert second.end.reason is Reason.PREEMPTED
    late = told(Fact.RUNNING, attempt=2, worker="w2", started_at=NOW)
    assert isinstance(transitions.report(decision.record, late, NOW), Refusal)


def test_a_successor_that_runs_has_won() -> None:
    running = told(Fact.RUNNING, attempt=2, worker="w2", started_at=NOW)
    assert back(step(transitions.report(succeeded_by_w2(), running, NOW))) is None


def test_the_successor_of_an_exclusive_job_counts_from_its_grant_on() -> None:
    assert back(queued(exclusive=True)) is not None
    assert back(succeeded_by_w2(exclusive=True)) is None


@pytest.mark.parametrize(
    ("worker", "attempt"), [("w2", 1), ("w1", 2), ("w1", 0)], ids=["worker", "next", "none"]
)
def test_nobody_else_comes_back(worker: str, attempt: int) -> None:
    assert back(lost(), worker, AttemptKey(job=FIRST.job, attempt=attempt)) is None


def test_an_attempt_that_failed_does_not_come_back() -> None:
    failed = told(Fact.FAILED, end=end(Reason.AGENT_ERROR, None))
    assert back(step(transitions.report(started(), failed, NOW))) is None


@pytest.mark.parametrize("retries", [0, None])
def test_a_job_that_is_over_stays_over(retries: int | None) -> None:
    over = lost(retries=0) if retries == 0 else step(transitions.cancel(lost(), "me", NOW))
    assert over.state.ended
    assert back(over) is None


def test_its_report_brings_it_back_and_then_counts() -> None:
    report = told(Fact.SUCCEEDED, end=end())
    first = transitions.report(lost(), report, NOW)
    assert isinstance(first, Step)
    assert first.fact is Fact.REINSTATED
    assert step(transitions.report(first.record, report, NOW)).state is State.SUCCEEDED


def test_a_report_with_another_nonce_brings_nothing_back() -> None:
    assert isinstance(transitions.report(lost(), told(Fact.RUNNING, nonce="x"), NOW), Refusal)


def test_what_ran_before_the_cut_is_taken_for_running_after_it() -> None:
    running = step(transitions.report(started(), told(Fact.RUNNING, started_at=NOW), NOW))
    decision = back(lost(running))
    assert decision is not None
    assert step(transitions.resumed(decision.record, NOW)).state is State.RUNNING
    never = back(lost())
    assert never is not None
    assert isinstance(transitions.resumed(never.record, NOW), Already)


def test_no_attempt_number_is_given_twice() -> None:
    decision = back(succeeded_by_w2())
    assert decision is not None
    again = step(transitions.queue(lost(decision.record), "c", NOW))
    third = step(transitions.claim(again, claim("w3", "c3"), "secret", NOW))
    assert [one.number for one in third.attempts] == [1, 2, 3]
    assert third.current is not None
    assert (third.attempt, third.current.follows) == (3, 1)
    assert back(third) is not None


def test_one_that_had_to_make_room_does_not_count_as_a_try() -> None:
    record = succeeded_by_w2(retries=1)
    decision = back(record)
    assert decision is not None
    assert lost(decision.record).state is State.WAITING


def test_what_a_superseded_attempt_says_stands_in_the_timeline_once() -> None:
    running = told(Fact.RUNNING, attempt=2, worker="w2", started_at=NOW)
    record = step(transitions.report(succeeded_by_w2(), running, NOW))
    late = told(Fact.SUCCEEDED, end=end())
    after = step(transitions.refused(record, late, NOW))
    assert after.state is State.RUNNING
    assert after.timeline[-1].text == "w1 said succeeded of attempt 1 when it was superseded"
    assert isinstance(transitions.refused(after, late, NOW), Already)
    stranger = told(Fact.SUCCEEDED, end=end(), nonce="guessed")
    assert isinstance(transitions.refused(record, stranger, NOW), Already)


def test_an_end_is_confirmed_again_although_a_successor_is_there_already() -> None:
    failed = told(Fact.FAILED, end=end(Reason.AGENT_ERROR, None))
    waiting = step(transitions.report(started(), failed, NOW))
    again = step(transitions.queue(waiting, "c", NOW))
    second = step(transitions.claim(again, claim("w2", "c2"), "secret", NOW))
    assert isinstance(transitions.report(second, failed, NOW), Already)


def test_waiting_for_too_long_ends_a_job_and_each_attempt_waits_anew() -> None:
    record = queued(queue_timeout=60)
    assert isinstance(transitions.overdue(record, NOW + 59), Already)
    over = step(transitions.overdue(record, NOW + 60))
    assert (over.state, over.reason) == (State.FAILED, Reason.QUEUE_TIMEOUT)
    assert over.detail == "no worker took it within 60 s"
    assert isinstance(transitions.overdue(started(queue_timeout=60), NOW * 9), Already)


def test_what_comes_late_from_an_attempt_that_told_its_end_is_not_noted() -> None:
    over = step(transitions.report(started(), told(Fact.SUCCEEDED, end=end()), NOW))
    late = told(Fact.BUILDING)
    assert isinstance(transitions.report(over, late, NOW), Refusal)
    assert isinstance(transitions.refused(over, late, NOW), Already)
