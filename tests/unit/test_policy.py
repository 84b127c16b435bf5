"""Which jobs go, in which order, and what the others are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import job_id
from schemas.job import Attempt, AttemptEnd, Reason, Record, State
from schemas.spec import JobSpec
from schemas.worker import Beat, Capacity, Requirement, WorkerRecord
from services.scheduler import policy
from services.scheduler.policy import MARGIN, PoolView
from services.scheduler.retries import ANOTHER_FOR

GIBIBYTE = 1 << 30


def job(
    number: int, priority: int = 0, not_before: float | None = None, **resources: Any
) -> Record:
    return Record(
        id=job_id(1.8e9 + number, 0),
        owner="me",
        spec=JobSpec(priority=priority, resources=resources),
        bundle="b",
        state=State.WAITING,
        submitted_at=0.0,
        changed_at=0.0,
        not_before=not_before,
    )


def worker(name: str = "w1", drain: bool = False, aside: str = "", **capacity: Any) -> WorkerRecord:
    room = Capacity(**{"cpus": 4.0, "memory": 16 * GIBIBYTE, "gpus": 0, "slots": 4, **capacity})
    beat = Beat(worker=name, session="s", sent_at=0.0, capacity=room, free=room)
    return WorkerRecord(beat=beat, heard_at=0.0, drain=drain, aside=aside)


def view(
    *workers: WorkerRecord, held: tuple[Any, ...] = (), unclaimed: tuple[Any, ...] = ()
) -> PoolView:
    return PoolView({w.beat.worker: w for w in workers}, held, unclaimed)


ONE = Requirement(cpus=1.0, memory=2 * GIBIBYTE)


def lines(jobs: list[Record]) -> list[list[Record]]:
    """As the fold keeps them: one line for each requirement, in order."""
    found: dict[Requirement, list[Record]] = {}
    for record in sorted(jobs, key=policy.order):
        found.setdefault(policy.requirement(record), []).append(record)
    return list(found.values())


def names(records: list[Record], jobs: list[Record]) -> list[int]:
    return [jobs.index(record) for record in records]


def test_priority_goes_before_age() -> None:
    jobs = [job(0), job(1), job(2, priority=5)]
    assert names(policy.release(lines(jobs), view(worker())), jobs) == [2, 0, 1]


def test_priority_and_age_hold_over_jobs_of_different_sizes() -> None:
    jobs = [job(0), job(1, cpus=0.5), job(2), job(3, cpus=0.5, priority=5)]
    assert names(policy.release(lines(jobs), view(worker())), jobs) == [3, 0, 1, 2]


def test_nobody_behind_a_job_that_does_not_fit_is_looked_at() -> None:
    def line() -> Iterator[Record]:
        yield job(0, gpus=1)
        raise AssertionError("looked further")

    assert policy.release([line()], view(worker())) == []


def test_no_more_goes_than_there_is_room_for_and_the_margin() -> None:
    jobs = [job(n) for n in range(20)]
    assert len(policy.release(lines(jobs), view(worker()))) == 4 + MARGIN


def test_what_records_and_tickets_hold_is_not_given_again() -> None:
    jobs = [job(n) for n in range(20)]
    held = (("w1", ONE), ("w1", ONE))
    assert len(policy.release(lines(jobs), view(worker(), held=held))) == 2 + MARGIN
    busy = view(worker(), held=held, unclaimed=(ONE, ONE))
    assert len(policy.release(lines(jobs), busy)) == MARGIN
    full = view(worker(), held=held, unclaimed=(ONE, ONE, ONE, ONE))
    assert policy.release(lines(jobs), full) == []


def test_a_big_job_does_not_stop_the_small_ones_behind_it() -> None:
    jobs = [job(0, cpus=64), job(1)]
    assert names(policy.release(lines(jobs), view(worker())), jobs) == [1]


@pytest.mark.parametrize("workers", [(), (worker(drain=True),)])
def test_nothing_goes_where_nobody_takes_it(workers: tuple[WorkerRecord, ...]) -> None:
    assert policy.release(lines([job(0)]), view(*workers)) == []


@pytest.mark.parametrize(
    ("record", "seen", "ahead", "words"),
    [
        (job(0), view(), 0, "no worker of pool default is online"),
        (job(0), view(worker(drain=True)), 0, "all workers of pool default are draining"),
        (
            job(0),
            view(worker(aside="is set aside until 12:00:00 UTC"), worker("w2", drain=True)),
            0,
            "takes work now: w1 is set aside until 12:00:00 UTC (1 more rest, too)",
        ),
        (job(0, gpus=2), view(worker()), 0, "closest is w1: needs 2 GPUs, has 0 in all"),
        (job(0, memory="64g"), view(worker()), 0, "needs 64.0 GiB of memory, has 16.0 in all"),
        (job(0), view(worker()), 1, "1 job is ahead of it in pool default"),
        (job(0), view(worker()), 7, "7 jobs are ahead of it in pool default"),
        (job(0), view(worker()), 0, "all workers that it fits on are busy"),
        (job(0, not_before=30.0), view(worker()), 0, "it is tried again in 30 s"),
    ],
)
def test_a_waiting_job_is_told_why(record: Record, seen: PoolView, ahead: int, words: str) -> None:
    text, _ = policy.explain(record, seen, ahead, 0.0)
    assert words in text


def test_the_closest_worker_is_the_one_that_lacks_least() -> None:
    near, far = worker("near", gpus=1, cpus=64.0), worker("far", gpus=0, cpus=1.0)
    text, reasons = policy.explain(job(0, gpus=2, cpus=32), view(far, near), 0, 0.0)
    assert "closest is near: needs 2 GPUs, has 1" in text
    assert reasons["far"] == "needs 2 GPUs, has 0 in all; needs 32 cpus, has 1 in all"


def test_each_worker_says_what_it_has_left() -> None:
    busy = view(worker(slots=1), held=(("w1", ONE),))
    assert policy.explain(job(0), busy, 0, 0.0)[1] == {"w1": "all 1 slots are taken"}


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (Requirement(cpus=1, memory=2 * GIBIBYTE), "c1-m2048-g0"),
        (Requirement(cpus=1.5, memory=512 << 20, gpus=2), "c1500m-m512-g2"),
        (Requirement(cpus=0.1, memory=(16 << 20) + 1), "c100m-m17-g0"),
    ],
)
def test_a_class_is_named_by_what_it_asks(asked: Requirement, name: str) -> None:
    assert policy.class_name(asked) == name


@given(
    st.floats(min_value=0.01, max_value=1000),
    st.integers(min_value=16 << 20, max_value=1 << 45),
    st.integers(min_value=0, max_value=64),
)
def test_rounding_never_asks_for_less(cpus: float, memory: int, gpus: int) -> None:
    asked = Requirement(cpus=cpus, memory=memory, gpus=gpus)
    up = policy.rounded(asked)
    assert (up.cpus >= cpus, up.memory >= memory, up.gpus >= gpus) == (True, True, True)
    assert policy.rounded(up) == up


def test_a_class_is_not_widened_beyond_the_worker_that_takes_it() -> None:
    asked = Requirement(cpus=3.0, memory=40 * GIBIBYTE, gpus=0)
    small = Capacity(cpus=6.0, memory=48 * GIBIBYTE, gpus=0, slots=8)
    big = Capacity(cpus=64.0, memory=256 * GIBIBYTE, gpus=8, slots=64)
    assert policy.widened(asked, [small]).memory == 48 * GIBIBYTE
    assert policy.widened(asked, [small, big]) == policy.rounded(asked)
    assert policy.widened(asked, []) == policy.rounded(asked)


@given(
    st.lists(st.integers(min_value=1, max_value=8), max_size=6),
    st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), max_size=40),
)
def test_released_jobs_fit_into_the_room_but_for_the_margin(
    slots: list[int], cpus: list[float]
) -> None:
    workers = [worker(f"w{n}", slots=s, cpus=float(s)) for n, s in enumerate(slots)]
    jobs = [job(n, cpus=c, memory="16m") for n, c in enumerate(cpus)]
    going = policy.release(lines(jobs), view(*workers))
    asked = sorted((r.spec.resources.cpus for r in going), reverse=True)
    assert sum(asked[MARGIN:]) <= sum(slots)
    assert len(going) <= sum(slots) + MARGIN


def test_a_ticket_is_kept_for_a_worker_that_has_not_failed_on_the_job_while_one_has_room() -> None:
    end = AttemptEnd(reason=Reason.AGENT_ERROR)
    attempt = Attempt(number=1, worker="w1", claim="c", nonce="n", granted_at=0.0, end=end)
    record = job(0).model_copy(update={"attempts": (attempt,), "attempt": 1})
    both = view(worker("w1"), worker("w2"))
    assert policy.keep_for_another(record, "w1", both, 1.0)
    assert not policy.keep_for_another(record, "w2", both, 1.0)
    assert not policy.keep_for_another(record, "w1", both, ANOTHER_FOR + 1)
    assert not policy.keep_for_another(record, "w1", view(worker("w1")), 1.0)
    busy = view(worker("w1"), worker("w2"), held=(("w2", ONE),) * 4)
    assert not policy.keep_for_another(record, "w1", busy, 1.0)


def test_an_attempt_that_failed_by_itself_may_be_repeated_where_it_was() -> None:
    end = AttemptEnd(reason=Reason.EXIT, exit_code=1)
    attempt = Attempt(number=1, worker="w1", claim="c", nonce="n", granted_at=0.0, end=end)
    record = job(0).model_copy(update={"attempts": (attempt,), "attempt": 1})
    assert not policy.keep_for_another(record, "w1", view(worker("w1"), worker("w2")), 1.0)
