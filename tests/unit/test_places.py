"""Who may go where owners have limits: nobody beyond theirs, and nobody waits for a stranger's."""

from __future__ import annotations

from typing import Any

import pytest

from bus.errors import NotFound, Unanswered
from bus.follow import Delivery
from schemas.job import Attempt, AttemptEnd, Fact, Reason, Record, State
from schemas.quota import Quota
from schemas.spec import JobSpec
from schemas.worker import Beat, Capacity, WorkerRecord
from services.scheduler import policy
from services.scheduler.fold import Fold
from services.scheduler.places import Places
from services.scheduler.policy import PoolView

GIBIBYTE = 1 << 30


def job(number: int, owner: str, state: State = State.WAITING, **changes: Any) -> Record:
    spec = JobSpec(**{k: changes.pop(k) for k in ("priority", "pool") if k in changes})
    return Record(
        id=f"job{number}", owner=owner, spec=spec, bundle="b", state=state,
        submitted_at=0.0, changed_at=0.0, **changes,
    )  # fmt: skip


def lost(number: int, owner: str) -> Record:
    """One that is tried again, and whose lost attempt may come back."""
    end = AttemptEnd(reason=Reason.WORKER_LOST)
    attempt = Attempt(number=1, worker="w1", claim="c", nonce="n", granted_at=0.0, end=end)
    return job(number, owner, attempt=1, attempts=(attempt,))


def view(slots: int = 10) -> PoolView:
    room = Capacity(cpus=64.0, memory=512 * GIBIBYTE, gpus=0, slots=slots)
    beat = Beat(worker="w1", session="s", sent_at=0.0, capacity=room, free=room)
    return PoolView({"w1": WorkerRecord(beat=beat, heard_at=0.0)})


def fold_of(*records: Record) -> Fold:
    fold = Fold()
    for sequence, record in enumerate(records, 1):
        fold.apply(record, sequence, Fact.SUBMITTED)
    return fold


def going(fold: Fold, places: dict[str, int], slots: int = 10) -> list[str]:
    return [one.id for one in policy.release(fold.lines("default"), view(slots), places)]


def test_jobs_of_others_pass_those_of_an_owner_at_the_limit() -> None:
    fold = fold_of(job(0, "ann"), job(1, "ann"), job(2, "ben"), job(3, "ann"), job(4, "ben"))
    assert going(fold, {"ann": 1}) == ["job0", "job2", "job4"]
    assert going(fold, {"ann": 0}) == ["job2", "job4"]
    assert going(fold, {}) == ["job0", "job1", "job2", "job3", "job4"]


def test_priority_and_age_hold_among_owners() -> None:
    fold = fold_of(job(0, "ann"), job(1, "ben", priority=5), job(2, "cid"), job(3, "ann"))
    assert going(fold, {}, slots=1) == ["job1", "job0", "job2"]


def test_a_lost_job_keeps_its_place_and_goes_although_the_limit_is_reached() -> None:
    fold = fold_of(job(0, "ann"), lost(1, "ann"))
    assert [record.id for record in fold.placed("ann")] == ["job1"]
    assert going(fold, {"ann": 0}) == ["job1"]


@pytest.mark.parametrize(
    ("held", "handed_out", "limit", "text"),
    [
        (3, 0, 4, ""),
        (4, 0, 4, "your 4 running jobs are your limit"),
        (1, 0, 1, "your 1 running job is your limit"),
        (3, 1, 4, "your 4 jobs that run or are about to are your limit"),
        (0, 1, 1, "your job that is next is your limit"),
        (0, 0, 0, "your limit is that no job of yours runs"),
        (5, 0, 2, "your 5 running jobs are your limit"),
    ],
)
def test_the_limit_is_told_in_words(held: int, handed_out: int, limit: int, text: str) -> None:
    assert policy.limit_text(held, handed_out, limit) == text


def test_a_waiting_job_is_told_of_the_limit_before_anything_else() -> None:
    text, _ = policy.explain(job(0, "ann"), view(), 3, 0.0, "your 4 running jobs are your limit")
    assert text == "your 4 running jobs are your limit"
    text, _ = policy.explain(lost(0, "ann"), view(), 3, 0.0, "your 4 running jobs are your limit")
    assert text == "3 jobs are ahead of it in pool default"


class Info:
    """The one question that is asked of the bus: where does the stream end?"""

    def __init__(self, last: int) -> None:
        self.last = last

    async def api(self, verb: str) -> dict[str, Any]:
        assert verb == "STREAM.INFO.JOBS"
        return {"state": {"last_seq": self.last, "messages": self.last}}


async def places_of(fold: Fold, last: int = 0) -> Places:
    places = Places(Info(last), fold)  # type: ignore[arg-type]
    await places.load()
    return places


def read(job: str, sequence: int, pending: int = 0) -> Delivery:
    return Delivery(f"stoker.job.{job}.queued", sequence, {}, b"", pending, 0.0)


TWO = {"ann": Quota(running=2), "ben": Quota()}


async def test_only_who_has_a_limit_is_counted() -> None:
    fold = fold_of(job(0, "ann", State.RUNNING), job(1, "ben", State.RUNNING))
    places = await places_of(fold)
    assert places.left(("ann", "ben"), TWO) == {"ann": 1}


async def test_one_goes_at_a_time_until_its_own_step_was_read() -> None:
    fold = fold_of(job(0, "ann"), job(1, "ann"), job(2, "ann"))
    places = await places_of(fold)
    assert places.left(("ann",), TWO) == {"ann": 1}
    places.take(fold.lines("default")[0].__next__())
    assert places.left(("ann",), TWO) == {"ann": 0}
    assert not places.read(read("job1", 2))
    assert not places.read(read("job0", 1))
    fold.apply(job(0, "ann", State.QUEUED), 4, Fact.QUEUED)
    assert places.read(read("job0", 4))
    assert places.left(("ann",), TWO) == {"ann": 1}


async def test_a_step_that_was_not_answered_is_tried_again_before_another_goes() -> None:
    fold = fold_of(job(0, "ann"), job(1, "ann"))
    places = await places_of(fold)
    places.take(job(0, "ann"))
    assert places.again("default") == []
    places.failed("job0", Unanswered("stoker.job.job0.queued", 5.0))
    assert places.left(("ann",), TWO) == {"ann": 0}
    assert [record.id for record in places.again("other")] == []
    assert [record.id for record in places.again("default")] == ["job0"]
    assert places.again("default") == []
    places.failed("job0", NotFound("there is no job job0"))
    assert places.left(("ann",), TWO) == {"ann": 1}


async def test_nobody_with_a_limit_goes_before_all_was_read_that_was_stored() -> None:
    fold = fold_of(job(0, "ann"))
    places = await places_of(fold, last=7)
    assert places.left(("ann",), TWO) == {"ann": 0}
    assert not places.read(read("other", 6, pending=1))
    assert places.read(read("other", 7, pending=3))
    assert places.left(("ann",), TWO) == {"ann": 1}


def test_a_place_is_free_again_when_its_job_ends() -> None:
    fold = fold_of(job(0, "ann", State.RUNNING))
    assert not fold.freed.is_set()
    fold.apply(job(0, "ann", State.FAILED), 2, Fact.FAILED)
    assert fold.freed.is_set()
    assert fold.placed("ann") == []
