"""Does what came of a seed keep the guarantees? Each breach is one sentence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from schemas.job import Fact, JobFact, Reason, Record, State
from schemas.lifecycle import next_state
from tests.simulation.machine import Program
from tests.simulation.scenario import Fault
from tests.simulation.world import Outcome


def breaches(outcome: Outcome) -> list[str]:
    histories: defaultdict[str, list[JobFact]] = defaultdict(list)
    for written in outcome.broker.facts:
        histories[written.record.id].append(written)
    programs = [program for machine in outcome.machines for program in machine.ledger]
    found = [f"trouble: {one}" for one in outcome.trouble]
    for job in sorted(outcome.submitted):
        history = histories[job]
        mine = [program for program in programs if program.job == job]
        found += lost(job, history)
        found += broken_history(job, history)
        found += wrong_winner(outcome, history[-1].record, mine)
        found += overlaps(job, mine)
    found += not_submitted(outcome)
    found += still_running(programs)
    found += unrecorded(outcome, histories)
    found += judged_in_an_outage(outcome)
    found += leftovers(outcome)
    found += beyond_the_limit(outcome)
    return found


def lost(job: str, history: list[JobFact]) -> Iterator[str]:
    """G1."""
    if not history or not history[-1].record.state.ended:
        yield f"G1: {job} never ended: {history[-1].record.state if history else 'no fact'}"


def not_submitted(outcome: Outcome) -> Iterator[str]:
    for job in outcome.scenario.jobs:
        if job.id not in outcome.submitted:
            yield f"{job.id} was never submitted"


def broken_history(job: str, history: list[JobFact]) -> Iterator[str]:
    state: State | None = None
    highest = 0
    for written in history:
        record = written.record
        if next_state(state, written.fact) is not record.state:
            yield f"G2: {job}: {written.fact} led from {state} to {record.state}"
        if state is not None and state.ended and written.fact is not Fact.REFUSED:
            yield f"G2: {job} left its end by {written.fact}"
        if written.fact is Fact.STARTING:
            if record.attempt <= highest:
                yield f"G2: {job}: attempt {record.attempt} came after {highest}"
            highest = record.attempt
        state = record.state
    told = [entry.fact for entry in history[-1].record.timeline]
    if told != [written.fact for written in history]:
        yield f"{job}: the timeline tells {told}"


def wrong_winner(outcome: Outcome, record: Record, programs: list[Program]) -> Iterator[str]:
    """G2: the end is that of the current attempt's own program, or of a cancel that was asked."""
    job = record.id
    winners = [one.number for one in record.attempts if one.end and one.end.succeeded]
    wins = record.state is State.SUCCEEDED
    if winners != [record.attempt] * wins and record.state is not State.CANCELLED:
        yield f"G2: {job} is {record.state}, and attempts {winners} succeeded"
    if record.reason is Reason.EXIT:
        ends = [p.end for p in programs if p.attempt == record.attempt]
        codes = [end.exit_code for end in ends if end is not None]
        if codes != [record.exit_code]:
            yield f"G2: {job} ended with {record.exit_code}, its program with {codes}"
    if record.state is State.CANCELLED and job not in outcome.asked_to_cancel:
        yield f"{job} was cancelled by nobody"
    answered = outcome.cancelled.get(job)
    if answered in (State.CANCELLING, State.CANCELLED) and record.state is not State.CANCELLED:
        yield f"{job} is {record.state} although its cancel was answered with {answered}"


def overlaps(job: str, programs: list[Program]) -> Iterator[str]:
    """G2 of exclusive jobs."""
    before: Program | None = None
    for program in sorted(programs, key=lambda one: one.started_at):
        if before and program.exclusive and (before.ended_at or 1e12) > program.started_at:
            yield f"G2: the exclusive {job} ran as {before.attempt} and {program.attempt} at once"
        before = program


def still_running(programs: list[Program]) -> Iterator[str]:
    for program in programs:
        if program.ended_at is None:
            yield f"G2: {program.job}.{program.attempt} still runs on {program.machine}"


def unrecorded(outcome: Outcome, histories: dict[str, list[JobFact]]) -> Iterator[str]:
    """An end that was answered with yes is in the record at some time."""
    for machine in outcome.machines:
        for report in machine.confirmed:
            records = (written.record for written in histories[report.job])
            ends = [one.end for record in records if (one := record.find(report.attempt))]
            if report.end not in ends:
                yield f"{report.job}.{report.attempt}: its end was confirmed and is not recorded"


def judged_in_an_outage(outcome: Outcome) -> Iterator[str]:
    if outcome.scenario.faults != {Fault.OUTAGE} or outcome.scenario.weather.dropped:
        return
    for written in outcome.broker.facts:
        last = written.record.timeline[-1].text
        if written.fact is not Fact.REFUSED and "was silent" in last:
            yield f"{written.record.id}: {last}, but only the broker was away"


def beyond_the_limit(outcome: Outcome) -> Iterator[str]:
    """An owner's jobs that are handed out or run are never more than their limit allows, and one
    for each other replica, also of one that was killed while it handed out."""
    limit = outcome.scenario.running
    if limit is None:
        return
    killed = sum(one.fault is Fault.KILL_REPLICA for one in outcome.scenario.happenings)
    most = limit + outcome.scenario.replicas - 1 + killed
    placed: defaultdict[str, set[str]] = defaultdict(set)
    for written in outcome.broker.facts:
        record = written.record
        if record.state is State.QUEUED or record.state.held:
            placed[record.owner].add(record.id)
        else:
            placed[record.owner].discard(record.id)
        if len(placed[record.owner]) > most:
            yield f"{record.owner} has {len(placed[record.owner])} jobs out, at most {most} may be"


def leftovers(outcome: Outcome) -> Iterator[str]:
    for ticket in outcome.broker.tickets():
        yield f"a ticket is left: {ticket.subject}"
    for machine in outcome.machines:
        for job, attempt in () if machine.gone else machine.folders:
            yield f"{machine.name} still holds {job}.{attempt}"


def report(seed: int, outcome: Outcome, found: list[str], lines: int = 40) -> str:
    """For whoever has to find out why."""
    return "\n".join(
        (
            f"seed {seed} breaks what is promised:",
            *(f"  {one}" for one in found[:10]),
            *outcome.trace[-lines:],
            f"all of it: python -m tests.simulation --first {seed} --trace",
            f"again: SEED={seed} python -m pytest tests/simulation",
        )
    )
