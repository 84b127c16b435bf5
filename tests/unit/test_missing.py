"""When is an attempt that its worker does not list given up?"""

from __future__ import annotations

from schemas.ids import job_id
from schemas.job import Attempt, Record, State
from schemas.spec import JobSpec
from schemas.worker import Beat, Capacity, Held
from services.scheduler.missing import Missing

ATTEMPT = Attempt(number=1, worker="w1", claim="c", nonce="n", granted_at=0.0)
JOB = Record(
    id=job_id(1.8e9, 0), owner="me", spec=JobSpec(), bundle="b", state=State.RUNNING,
    submitted_at=0.0, changed_at=0.0, attempt=1, attempts=(ATTEMPT,),
)  # fmt: skip


def beat(listed: bool = False, session: str = "s") -> Beat:
    held = (Held(job=JOB.id, attempt=1),) if listed else ()
    empty = Capacity()
    return Beat(worker="w1", session=session, sent_at=0.0, capacity=empty, free=empty, held=held)


def test_a_claim_in_flight_has_its_time() -> None:
    missing = Missing(10.0)
    assert missing.overdue(beat(), [JOB], 0.0) == []
    assert missing.overdue(beat(), [JOB], 5.0) == []
    assert missing.overdue(beat(), [JOB], 10.0) == []
    assert missing.overdue(beat(), [JOB], 10.1) == [JOB]


def test_an_outage_between_two_beats_does_not_count_as_time_for_a_claim() -> None:
    missing = Missing(10.0)
    missing.overdue(beat(), [JOB], 0.0)
    assert missing.overdue(beat(), [JOB], 90.0) == []
    assert missing.overdue(beat(), [JOB], 95.0) == []
    assert missing.overdue(beat(), [JOB], 95.1) == [JOB]


def test_a_beat_that_lists_it_and_an_agent_that_starts_anew_begin_the_count_again() -> None:
    missing = Missing(10.0)
    missing.overdue(beat(), [JOB], 0.0)
    assert missing.overdue(beat(session="new"), [JOB], 11.0) == []
    assert missing.overdue(beat(session="new"), [JOB], 16.0) == []
    assert missing.overdue(beat(session="new"), [JOB], 21.5) == []
    assert missing.overdue(beat(session="new"), [JOB], 22.0) == [JOB]
    missing.overdue(beat(listed=True, session="new"), [JOB], 23.0)
    assert missing.overdue(beat(session="new"), [JOB], 24.0) == []


def test_nothing_is_kept_of_what_is_not_held_any_more() -> None:
    missing = Missing(10.0)
    missing.overdue(beat(), [JOB], 0.0)
    assert len(missing) == 1
    missing.overdue(beat(), [], 1.0)
    assert len(missing) == 0


def test_a_grant_stands_for_as_long_as_the_worker_asks_for_it() -> None:
    missing = Missing(10.0)
    asking = beat().model_copy(update={"claims": (JOB.id,)})
    for at in (0.0, 5.0, 10.0, 15.0, 20.0):
        assert missing.overdue(asking, [JOB], at) == []
    assert missing.overdue(beat(), [JOB], 25.0) == []
    assert missing.overdue(beat(), [JOB], 30.0) == []
    assert missing.overdue(beat(), [JOB], 36.0) == []
    assert missing.overdue(beat(), [JOB], 37.0) == [JOB]
