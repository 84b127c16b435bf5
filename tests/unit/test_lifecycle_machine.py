"""Whatever is said of a job, how often and in what order: its record stays true."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from schemas.job import Attempt, AttemptEnd, Entry, Fact, Reason, Record, State
from schemas.lifecycle import move
from schemas.spec import JobSpec
from schemas.worker import AttemptKey, Claim, Report
from services.scheduler import transitions
from services.scheduler.transitions import Refusal, Step

WORKERS = ("w1", "w2", "w3")
UNTOLD = (Reason.EXIT, Reason.QUEUE_TIMEOUT)
"""The first comes with a code, below; the second no worker tells."""
ENDS_TOLD = (
    *(AttemptEnd(reason=reason) for reason in Reason if reason not in UNTOLD),
    AttemptEnd(reason=Reason.EXIT, exit_code=0),
    AttemptEnd(reason=Reason.EXIT, exit_code=3),
)
SPECS = st.builds(
    JobSpec,
    retries=st.sampled_from((None, 0, 1, 5)),
    exclusive=st.booleans(),
    queue_timeout=st.sampled_from((None, 20.0)),
)


class Talk(RuleBasedStateMachine):
    """One job. What is said lies in a bag; each message is taken out any number of times."""

    claims = Bundle("claims")
    reports = Bundle("reports")
    losses = Bundle("losses")

    @initialize(spec=SPECS)
    def submit(self, spec: JobSpec) -> None:
        self.now = 1000.0
        self.record = Record(
            id="job", owner="me", spec=spec, bundle="b", state=State.WAITING,
            submitted_at=self.now, changed_at=self.now,
            timeline=(Entry(fact=Fact.SUBMITTED, at=self.now),),
        )  # fmt: skip
        self.facts = [Fact.SUBMITTED]
        self.said: list[tuple[int, AttemptEnd]] = []
        self.judged_lost: set[int] = set()
        self.granted: dict[int, Attempt] = {}
        self.number_of_claims = 0
        self.cancel_asked = False

    # What is said, and may arrive now, later, twice or never.

    @rule(target=claims, worker=st.sampled_from(WORKERS))
    def ask_to_claim(self, worker: str) -> Claim:
        self.number_of_claims += 1
        return Claim(id=f"c{self.number_of_claims}", worker=worker, job="job")

    @rule(
        target=reports,
        data=st.data(),
        fact=st.sampled_from((Fact.BUILDING, Fact.RUNNING, Fact.SUCCEEDED)),
        end=st.sampled_from(ENDS_TOLD),
        liar=st.sampled_from(("", "", "", "nonce", "worker")),
    )
    def say(self, data: st.DataObject, fact: Fact, end: AttemptEnd, liar: str) -> object:
        if not self.granted:
            return multiple()
        by = self.granted[data.draw(st.sampled_from(sorted(self.granted)))]
        over = fact is Fact.SUCCEEDED
        if over and not liar:
            self.said.append((by.number, end))
        report = self.told(
            by, fact if not over or end.succeeded else Fact.FAILED, end if over else None
        )
        lies = {"worker": "stranger"} if liar == "worker" else {"nonce": "forged"} if liar else {}
        return report.model_copy(update=lies)

    def told(self, by: Attempt, fact: Fact, end: AttemptEnd | None) -> Report:
        return Report(
            worker=by.worker, job="job", attempt=by.number, nonce=by.nonce, fact=fact,
            at=self.now, started_at=self.now, end=end,
        )  # fmt: skip

    @rule(target=losses, data=st.data())
    def judge_lost(self, data: st.DataObject) -> object:
        if not self.granted:
            return multiple()
        number = data.draw(st.sampled_from(sorted(self.granted)))
        self.judged_lost.add(number)
        return number

    # What is heard.

    @rule(claim=claims)
    def hear_a_claim(self, claim: Claim) -> None:
        decision = transitions.claim(self.record, claim, f"secret of {claim.id}", self.now)
        self.take(decision)
        if not isinstance(decision, Refusal):
            current = self.record.current
            assert current is not None
            assert (current.claim, current.worker) == (claim.id, claim.worker)

    @rule(report=reports)
    def hear_a_report(self, report: Report) -> None:
        decision = self.take(transitions.report(self.record, report, self.now))
        if isinstance(decision, Step) and decision.fact is Fact.REINSTATED:
            decision = self.take(transitions.report(self.record, report, self.now))
        if isinstance(decision, Refusal):
            self.take(transitions.refused(self.record, report, self.now))

    @rule(number=losses)
    def hear_a_loss(self, number: int) -> None:
        if self.record.attempt == number:
            self.take(transitions.lost(self.record, "silent", self.now))

    @rule(number=consumes(losses))
    def hear_a_beat_of_one_that_was_lost(self, number: int) -> None:
        key = AttemptKey(job="job", attempt=number)
        self.take(transitions.reinstated(self.record, key, self.granted[number].worker, self.now))
        self.take(transitions.resumed(self.record, self.now))

    @rule(target=claims, worker=st.sampled_from(WORKERS))
    def let_a_worker_take_it(self, worker: str) -> Claim:
        """Heard at once, so that long lives are common; the claim may be heard again."""
        self.queue()
        claim = self.ask_to_claim(worker)
        self.hear_a_claim(claim)
        return claim

    @precondition(lambda self: self.record.state.held)
    @rule(target=losses)
    def lose_it(self) -> int:
        self.judged_lost.add(self.record.attempt)
        self.hear_a_loss(self.record.attempt)
        return self.record.attempt

    @precondition(lambda self: self.record.state.held)
    @rule(target=reports, fact=st.sampled_from((Fact.BUILDING, Fact.RUNNING)))
    def hear_how_it_goes(self, fact: Fact) -> Report:
        by = self.granted[self.record.attempt]
        report = self.told(by, fact, None)
        self.hear_a_report(report)
        return report

    @rule()
    def queue(self) -> None:
        self.take(transitions.queue(self.record, "c1-m2048-g0", self.now))

    @precondition(lambda self: self.now > 1030.0)
    @rule()
    def cancel(self) -> None:
        self.cancel_asked = True
        self.take(transitions.cancel(self.record, "somebody", self.now))

    @rule(seconds=st.sampled_from((0.1, 5.0, 30.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(transitions.overdue(self.record, self.now))

    # What must hold at each step.

    def take(self, decision: object) -> object:
        if not isinstance(decision, Step):
            return decision
        before, after = self.record, decision.record
        planned = move(before.state, decision.fact)
        assert planned is not None
        assert (planned.state, planned.actions) == (after.state, decision.actions)
        if before.state.ended:
            assert decision.fact is Fact.REFUSED
            assert but_for_the_note(after) == but_for_the_note(before)
        if before.state is State.CANCELLING:
            assert after.state in (State.CANCELLING, State.CANCELLED)
        assert after.timeline[:-1] == before.timeline
        if decision.fact is Fact.STARTING:
            assert after.attempt > max(self.granted, default=0)
            self.granted[after.attempt] = after.attempts[-1]
        self.record = after
        self.facts.append(decision.fact)
        return decision

    @invariant()
    def the_timeline_tells_every_fact(self) -> None:
        assert [entry.fact for entry in self.record.timeline] == self.facts

    @invariant()
    def attempts_are_what_was_granted(self) -> None:
        assert [one.number for one in self.record.attempts] == sorted(self.granted)
        for one in self.record.attempts:
            given = self.granted[one.number]
            assert (one.worker, one.claim, one.nonce) == (given.worker, given.claim, given.nonce)

    @invariant()
    def at_most_one_attempt_is_open_and_it_is_the_current_one(self) -> None:
        opened = [one.number for one in self.record.attempts if one.end is None]
        assert opened == ([self.record.attempt] if self.record.state.held else [])

    @invariant()
    def at_most_one_attempt_won_and_it_is_the_current_one(self) -> None:
        winners = [o.number for o in self.record.attempts if o.end and o.end.succeeded]
        if self.record.state is State.SUCCEEDED:
            assert winners == [self.record.attempt]
        elif self.record.state is not State.CANCELLED:  # it may have succeeded meanwhile
            assert winners == []

    @invariant()
    def every_end_is_justified(self) -> None:
        for one in self.record.attempts:
            if one.end is None or one.end.reason is Reason.PREEMPTED:
                continue
            lost = one.end.reason is Reason.WORKER_LOST and one.number in self.judged_lost
            assert lost or (one.number, one.end) in self.said
        state, reason = self.record.state, self.record.reason
        if state is State.CANCELLED:
            assert self.cancel_asked
        if state is State.FAILED and reason is Reason.QUEUE_TIMEOUT:
            assert self.record.spec.queue_timeout is not None
        elif state is State.FAILED:
            assert self.record.current is not None
            assert self.record.current.end is not None
            assert self.record.current.end.reason is reason


def but_for_the_note(record: Record) -> Record:
    """What a refusal changes of a record is left out: nobody decides by it."""
    attempts = tuple(one.model_copy(update={"refused": False}) for one in record.attempts)
    return record.model_copy(update={"timeline": (), "changed_at": 0.0, "attempts": attempts})


def test_the_record_stays_true_whatever_is_said_in_whatever_order() -> None:
    run_state_machine_as_test(
        Talk, settings=settings(max_examples=250, stateful_step_count=40, deadline=None)
    )
