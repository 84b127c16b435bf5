"""What a replica keeps of live jobs: lines of those that may go, and retries until they are due."""

from __future__ import annotations

from typing import Any

from schemas.ids import job_id
from schemas.job import Attempt, Fact, Record, State
from schemas.spec import JobSpec
from services.scheduler.fold import Fold


def job(number: int, state: State = State.WAITING, **changes: Any) -> Record:
    asked = {k: changes.pop(k) for k in ("resources", "priority", "queue_timeout") if k in changes}
    spec = JobSpec(**asked)
    return Record(
        id=job_id(1.8e9 + number, 0), owner="me", spec=spec, bundle="b", state=state,
        submitted_at=0.0, changed_at=0.0, **changes,
    )  # fmt: skip


def waiting(fold: Fold) -> list[list[str]]:
    return [[record.id for record in line] for line in fold.lines("default")]


def test_jobs_of_one_requirement_stand_in_one_line_in_order() -> None:
    fold = Fold()
    jobs = [job(0), job(1, priority=3), job(2, resources={"cpus": 2}), job(3)]
    for sequence, record in enumerate(jobs, 1):
        fold.apply(record, sequence, Fact.SUBMITTED)
    assert waiting(fold) == [[jobs[1].id, jobs[0].id, jobs[3].id], [jobs[2].id]]
    assert [fold.ahead(record) for record in jobs] == [1, 0, 2, 3]


def test_a_line_goes_with_its_last_job() -> None:
    fold, one = Fold(), job(0)
    fold.apply(one, 1, Fact.SUBMITTED)
    fold.apply(one.model_copy(update={"state": State.QUEUED}), 2, Fact.QUEUED)
    assert fold.pools["default"].lines == {}
    assert [record.id for record in fold.queued()] == [one.id]


def test_an_older_fact_changes_nothing() -> None:
    fold, one = Fold(), job(0)
    assert fold.apply(one.model_copy(update={"state": State.QUEUED}), 2, Fact.QUEUED)
    assert not fold.apply(one, 1, Fact.SUBMITTED)
    assert waiting(fold) == []


def test_a_retry_stands_aside_until_its_time() -> None:
    fold = Fold()
    first, second = job(0, not_before=50.0), job(1, not_before=60.0)
    for sequence, record in enumerate((second, first), 1):
        fold.apply(record, sequence, Fact.RETRYING)
    assert (fold.come_due("default", 49.0), waiting(fold)) == (50.0, [])
    assert (fold.come_due("default", 50.0), waiting(fold)) == (60.0, [[first.id]])
    assert (fold.come_due("default", 99.0), waiting(fold)) == (None, [[first.id, second.id]])


def test_a_retry_that_is_cancelled_meanwhile_never_comes_due() -> None:
    fold, one = Fold(), job(0, not_before=50.0)
    fold.apply(one, 1, Fact.RETRYING)
    fold.apply(one.model_copy(update={"state": State.CANCELLED}), 2, Fact.CANCELLED)
    assert (fold.come_due("default", 49.0), waiting(fold)) == (None, [])


def test_a_retry_of_which_a_refusal_is_noted_stands_in_its_line_once() -> None:
    fold, one = Fold(), job(0, not_before=50.0)
    fold.apply(one, 1, Fact.RETRYING)
    fold.apply(one, 2, Fact.REFUSED)
    fold.come_due("default", 50.0)
    assert waiting(fold) == [[one.id]]
    fold.apply(one.model_copy(update={"state": State.FAILED}), 3, Fact.FAILED)
    assert waiting(fold) == []


def test_what_a_worker_holds_is_forgotten_when_it_ends() -> None:
    attempt = Attempt(number=1, worker="w1", claim="c", nonce="n", granted_at=0.0)
    fold, one = Fold(), job(0, State.RUNNING, attempt=1, attempts=(attempt,))
    fold.apply(one, 1, Fact.RUNNING)
    assert ([r.id for r in fold.held_by("w1")], fold.holders()) == ([one.id], ["w1"])
    fold.apply(one.model_copy(update={"state": State.SUCCEEDED}), 2, Fact.SUCCEEDED)
    assert (fold.held_by("w1"), fold.holders()) == ([], [])


def test_whoever_waits_for_a_deadline_hears_of_a_sooner_one_alone() -> None:
    fold = Fold()
    for number, (limit, sooner) in enumerate(((50.0, True), (90.0, False), (20.0, True))):
        fold.sooner.clear()
        fold.apply(job(number, queue_timeout=limit), number + 1, Fact.SUBMITTED)
        assert fold.sooner.is_set() == sooner
    assert fold.next_overdue == 20.0
    assert len(fold.overdue(60.0)) == 2
    assert fold.next_overdue == 90.0


def test_that_a_worker_is_given_something_is_told() -> None:
    attempt = Attempt(number=1, worker="w1", claim="c", nonce="n", granted_at=0.0)
    fold, one = Fold(), job(0)
    fold.apply(one, 1, Fact.SUBMITTED)
    assert not fold.holding.is_set()
    held = {"state": State.STARTING, "attempt": 1, "attempts": (attempt,)}
    fold.apply(one.model_copy(update=held), 2, Fact.STARTING)
    assert fold.holding.is_set()
