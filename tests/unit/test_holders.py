"""Which worker is a job's ticket kept for: who has its data, or its environment?"""

from __future__ import annotations

from typing import Any

import pytest

from schemas.data import DataMount
from schemas.job import Attempt, AttemptEnd, Environment, Reason, Record, State
from schemas.placing import data_key, key_start
from schemas.spec import JobSpec
from schemas.worker import Beat, Capacity, Requirement, WorkerRecord
from services.scheduler import policy
from services.scheduler.holders import HOLDER_FOR, REMEMBERED, WORTH, Habits, needs
from services.scheduler.policy import PoolView

TREE, OTHER = "a" * 64, "b" * 64
BIG = DataMount(name="big", owner="ana", version=1, path="/data/big", tree=TREE, size=WORTH)
SMALL = DataMount(name="small", owner="ana", version=1, path="/data/s", tree=OTHER, size=WORTH - 1)
SOURCE = DataMount(source="s3://bucket/x", path="/data/x")
HOST = DataMount(source="host:/mnt/x", path="/data/y")
KEY = "k" * 32
ROOM = Capacity(cpus=4.0, memory=8 << 30, slots=4)


def job(*data: DataMount, **changes: Any) -> Record:
    spec = JobSpec(name="train", data=data)
    record = Record(
        id="0d4k8q2m-7xv3", owner="ana", spec=spec, bundle="b", state=State.QUEUED,
        submitted_at=0.0, changed_at=100.0,
    )  # fmt: skip
    return record.model_copy(update=changes)


def ran(source: str = "requirements.txt", worker: str = "w9") -> dict[str, Any]:
    environment = Environment(source=source, base="python", key=KEY)
    end = AttemptEnd(reason=Reason.EXIT, exit_code=0)
    one = Attempt(
        number=1, worker=worker, claim="c", nonce="n", granted_at=0.0, environment=environment,
        end=end,
    )  # fmt: skip
    return {"attempts": (one,), "attempt": 1}


def worker(name: str, *holds: str, drain: bool = False) -> WorkerRecord:
    beat = Beat(worker=name, session="s", sent_at=0.0, capacity=ROOM, free=ROOM, holds=holds)
    return WorkerRecord(beat=beat, heard_at=0.0, drain=drain)


def view(*workers: WorkerRecord, held: tuple[tuple[str, Requirement], ...] = ()) -> PoolView:
    return PoolView({one.beat.worker: one for one in workers}, held)


HELD = key_start(data_key(BIG, "ana"))
ALL_TAKEN = (("w2", Requirement(cpus=4.0, memory=1)),)


@pytest.mark.parametrize(
    ("asker", "workers", "held", "now", "kept"),
    [
        ("w1", (worker("w1"), worker("w2", HELD)), (), 101.0, True),
        ("w2", (worker("w1"), worker("w2", HELD)), (), 101.0, False),
        ("w1", (worker("w1", HELD), worker("w2", HELD)), (), 101.0, False),
        ("w1", (worker("w1"), worker("w2")), (), 101.0, False),
        ("w1", (worker("w1"), worker("w2", HELD, drain=True)), (), 101.0, False),
        ("w1", (worker("w1"), worker("w2", HELD)), ALL_TAKEN, 101.0, False),
        ("w1", (worker("w1"), worker("w2", HELD)), (), 100.0 + HOLDER_FOR, False),
        ("w1", (worker("w1"), worker("w2", HELD)), (), 99.0, False),
    ],
    ids=[
        "another-has-it",
        "has-it",
        "both",
        "nobody",
        "rests",
        "no-room",
        "too-long",
        "clock-back",
    ],
)
def test_a_ticket_is_kept_for_a_worker_with_the_data_while_it_has_room(
    asker: str,
    workers: tuple[WorkerRecord, ...],
    held: tuple[tuple[str, Requirement], ...],
    now: float,
    kept: bool,
) -> None:
    assert policy.keep_for_holder(job(BIG), asker, "", view(*workers, held=held), now) is kept


def test_of_two_holders_the_one_with_more_of_it_goes_first() -> None:
    bigger = BIG.model_copy(update={"tree": OTHER, "size": 9 * WORTH, "path": "/data/c"})
    both = view(worker("w1", HELD), worker("w2", key_start(data_key(bigger, "ana"))))
    assert policy.keep_for_holder(job(BIG, bigger), "w1", "", both, 101.0)
    assert not policy.keep_for_holder(job(BIG, bigger), "w2", "", both, 101.0)


def test_nobody_waits_for_what_is_small_or_on_the_machine_itself() -> None:
    assert needs(job(SMALL, HOST), "") == {}
    source = key_start(data_key(SOURCE, "ana"))
    assert needs(job(BIG, SOURCE), "e") == {HELD: WORTH, source: WORTH, "e": WORTH}
    assert source not in needs(job(SOURCE, owner="ben"), "")


def test_a_job_goes_where_one_of_its_name_left_its_environment() -> None:
    habits = Habits()
    habits.note(job(**ran()))
    assert habits.key(job()) == key_start(KEY)
    assert habits.key(job(owner="ben")) == ""
    both = view(worker("w1"), worker("w2", key_start(KEY)))
    assert policy.keep_for_holder(job(), "w1", habits.key(job()), both, 101.0)
    habits.note(job(**ran(source="python")))
    assert habits.key(job()) == ""


def test_what_is_remembered_of_environments_is_bounded() -> None:
    habits = Habits()
    for number in range(REMEMBERED + 1):
        habits.note(job(owner=f"u{number}", **ran()))
    assert habits.key(job(owner="u0")) == ""
    assert habits.key(job(owner="u1")) == key_start(KEY)


def test_a_holder_that_the_job_failed_on_is_not_waited_for() -> None:
    end = AttemptEnd(reason=Reason.DISK_FULL)
    failed = Attempt(number=1, worker="w2", claim="c", nonce="n", granted_at=0.0, end=end)
    record = job(BIG, attempts=(failed,), attempt=1)
    both = view(worker("w1"), worker("w2", HELD))
    assert not policy.keep_for_holder(record, "w1", "", both, 101.0)
