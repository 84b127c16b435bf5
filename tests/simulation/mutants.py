"""Which mistakes must the simulation find? Each is made on purpose, for as long as it lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from bus import subjects
from schemas.job import Fact, JobFact, Record, State
from schemas.reason import Reason
from schemas.worker import Report, ReportAnswer
from services.scheduler import fold, places, policy, roster, service, transitions

Mutant = Callable[[], AbstractContextManager[Any]]
SCHEDULER = "services.scheduler"


def a_superseded_attempt_may_end_its_job() -> AbstractContextManager[Any]:
    truly = transitions.report

    def report(record: Record, told: Report, now: float) -> object:
        said_by = record.find(told.attempt)
        if said_by and told.end and record.state.held and told.attempt != record.attempt:
            return transitions.ended(record, said_by, told, now)
        return truly(record, told, now)

    return mock.patch.object(transitions, "report", report)


def tickets_are_never_published_again() -> AbstractContextManager[Any]:
    async def nothing(self: object, record: Record) -> None:
        pass

    return mock.patch.object(service.Scheduler, "_repeat_ticket", nothing)


def silence_counts_in_an_outage() -> AbstractContextManager[Any]:
    async def grow_silent(self: Any, seconds: float, holders: list[str]) -> list[tuple[str, float]]:
        for known in self._known.values():
            known.silence += seconds
        here = [(name, self._known[name]) for name in holders if name in self._known]
        return [(name, 10.0) for name, known in here if known.silence >= 10.0]

    return mock.patch.object(roster.Roster, "grow_silent", grow_silent)


def nobody_is_judged_silent() -> AbstractContextManager[Any]:
    async def grow_silent(self: Any, seconds: float, holders: list[str]) -> list[object]:
        return []

    return mock.patch.object(roster.Roster, "grow_silent", grow_silent)


def attempts_that_nobody_holds_are_not_looked_for() -> AbstractContextManager[Any]:
    return mock.patch(f"{SCHEDULER}.missing.Missing.overdue", return_value=[])


def records_are_written_whatever_was_written_before() -> AbstractContextManager[Any]:
    async def write(self: Any, record: Record, fact: Fact, expected: int) -> int:
        data = JobFact(fact=fact, record=record)
        sequence: int = await self._bus.append(subjects.job(record.id, fact.value), data)
        return sequence

    return mock.patch("bus.records.Records.write", write)


def an_end_is_confirmed_before_it_is_written() -> AbstractContextManager[Any]:
    async def on_report(self: Any, report: Report, subject: str) -> ReportAnswer:
        self._tasks.create_task(self._truly_on_report(report, subject))
        return ReportAnswer(accepted=True)

    stack = contextlib.ExitStack()
    truly = service.Scheduler._on_report
    stack.enter_context(
        mock.patch.object(service.Scheduler, "_truly_on_report", truly, create=True)
    )
    stack.enter_context(mock.patch.object(service.Scheduler, "_on_report", on_report))
    return stack


def nobody_is_told_to_stop() -> AbstractContextManager[Any]:
    async def may_run(self: object, worker: str, key: object) -> bool:
        return True

    return mock.patch(f"{SCHEDULER}.beats.Beats._may_run", may_run)


def a_lost_attempt_is_not_tried_again() -> AbstractContextManager[Any]:
    truly = transitions.lost

    def lost(record: Record, detail: str, now: float) -> object:
        return transitions.Already() if record.spec.exclusive else truly(record, detail, now)

    return mock.patch.object(transitions, "lost", lost)


def a_cancel_is_forgotten_when_the_attempt_ends() -> AbstractContextManager[Any]:
    truly = transitions.close

    def close(record: Record, over: Any, end: Any, now: float) -> object:
        if record.state is State.CANCELLING and end.reason is Reason.WORKER_LOST:
            record = record.model_copy(update={"state": State.RUNNING})
        return truly(record, over, end, now)

    return mock.patch.object(transitions, "close", close)


def nobody_looks_at_the_limits_of_owners() -> AbstractContextManager[Any]:
    return mock.patch.object(places.Places, "left", return_value={})


def the_place_of_a_lost_attempt_is_given_away() -> AbstractContextManager[Any]:
    stack = contextlib.ExitStack()
    for module in (policy, fold):
        stack.enter_context(mock.patch.object(module, "keeps_place", return_value=False))
    return stack


def a_new_replica_hands_out_before_it_knows_what_is_out() -> AbstractContextManager[Any]:
    truly = places.Places.load

    async def load(self: Any) -> None:
        await truly(self)
        self._caught_up = True

    return mock.patch.object(places.Places, "load", load)


MUTANTS: tuple[Mutant, ...] = (
    a_superseded_attempt_may_end_its_job,
    tickets_are_never_published_again,
    silence_counts_in_an_outage,
    nobody_is_judged_silent,
    attempts_that_nobody_holds_are_not_looked_for,
    records_are_written_whatever_was_written_before,
    an_end_is_confirmed_before_it_is_written,
    nobody_is_told_to_stop,
    a_lost_attempt_is_not_tried_again,
    a_cancel_is_forgotten_when_the_attempt_ends,
    nobody_looks_at_the_limits_of_owners,
    the_place_of_a_lost_attempt_is_given_away,
)
