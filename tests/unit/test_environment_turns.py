"""Who builds an environment, who waits, and what of it is kept?"""

from __future__ import annotations

from typing import Any

import pytest

from schemas.environments import (
    Ask,
    Asked,
    Blob,
    EnvironmentEntry,
    LeaseBeat,
    LeaseKey,
    Phase,
    SharedImage,
    StoredBlob,
    Turn,
)
from schemas.reason import Reason
from services.environments.config import EnvironmentsConfig
from services.environments.keeping import orphans, surplus, unnamed
from services.environments.rules import (
    Asker,
    Decision,
    Desk,
    Fresh,
    holds,
    renewed,
)

CONFIG = EnvironmentsConfig()
NOW = 1000.0
KEY = "ab" * 16
ONE, TWO = "11" * 32, "22" * 32
IMAGE = SharedImage(
    id="sha256:1", config=Blob(digest=ONE, size=10), layers=(Blob(digest=TWO, size=90),)
)


def entry(phase: Phase = Phase.BUILDING, **values: Any) -> EnvironmentEntry:
    told: dict[str, Any] = {
        "number": 3,
        "token": "t3",
        "upload": "u3",
        "worker": "w1",
        "job": "j1",
        "attempt": 1,
        "until": NOW + 10,
        "used_at": NOW,
    }
    return EnvironmentEntry(phase=phase, **{**told, **values})


def decide(
    before: EnvironmentEntry | None, worker: str = "w2", now: float = NOW, **values: Any
) -> Decision:
    asked = Ask(**{"job": "j2", "attempt": 1, "nonce": "n", "key": KEY, **values})
    desk = Desk(asked, Asker(worker, "default"), now, Fresh("new", "up"), CONFIG)
    return desk.decide(before)


def builds(decision: Decision, number: int) -> bool:
    """Whether a new lease with that number was given."""
    lease = LeaseKey(pool="default", key=KEY, number=number, token="new")
    made = decision.entry
    return (
        decision.answer.turn is Turn.BUILD
        and decision.answer.lease == lease
        and made is not None
        and (made.phase, made.token, made.upload) == (Phase.BUILDING, "new", "up")
        and made.until == pytest.approx(NOW + CONFIG.lease, abs=1000)
        and made.image is None
    )


def test_whoever_needs_it_first_builds() -> None:
    decision = decide(None)
    assert builds(decision, 1)
    assert decision.entry is not None
    assert (decision.entry.worker, decision.entry.job) == ("w2", "j2")


def test_the_others_wait_and_are_counted_on() -> None:
    decision = decide(entry())
    assert decision.answer.turn is Turn.WAIT
    assert decision.answer.builder == "w1"
    assert decision.answer.lease is None
    assert decision.entry is not None
    assert decision.entry.wanted
    again = decide(entry(wanted=True))
    assert (again.answer.turn, again.entry) == (Turn.WAIT, None)


@pytest.mark.parametrize("phase", [Phase.BUILDING, Phase.SHARING])
def test_a_builder_that_fell_silent_is_taken_over_with_a_higher_number(phase: Phase) -> None:
    decision = decide(entry(phase), now=NOW + 11)
    assert builds(decision, 4)
    assert "fell silent" in decision.answer.because


def test_an_answer_that_was_lost_is_given_again() -> None:
    decision = decide(entry(), worker="w1", job="j1")
    assert decision.answer.lease == LeaseKey(pool="default", key=KEY, number=3, token="t3")


@pytest.mark.parametrize("phase", [Phase.BUILDING, Phase.BUILT, Phase.SHARING])
def test_a_worker_does_not_wait_for_itself(phase: Phase) -> None:
    assert builds(decide(entry(phase), worker="w1"), 4)


def test_what_is_built_is_shared_when_somebody_wants_it() -> None:
    first = decide(entry(Phase.BUILT, until=0.0))
    assert (first.answer.turn, first.nudge) == (Turn.WAIT, True)
    assert first.entry is not None
    assert first.entry.until == NOW + CONFIG.share_begins
    soon = decide(first.entry, now=NOW + 1)
    assert (soon.answer.turn, soon.nudge) == (Turn.WAIT, False)
    later = decide(first.entry, now=NOW + 6)
    assert (later.answer.turn, later.nudge) == (Turn.WAIT, True)
    assert builds(decide(first.entry, now=NOW + 21), 4)


def test_what_is_shared_is_fetched() -> None:
    decision = decide(entry(Phase.READY, image=IMAGE))
    assert (decision.answer.turn, decision.answer.image) == (Turn.FETCH, IMAGE)
    assert decision.entry is None
    used = decide(entry(Phase.READY, image=IMAGE, used_at=NOW - 601))
    assert used.entry is not None
    assert used.entry.used_at == NOW


@pytest.mark.parametrize(
    ("lost", "waited", "anew"),
    [(TWO, 3, True), (ONE, 3, True), ("33" * 32, 3, False), (TWO, 2, False)],
    ids=["layer", "config", "not of it", "an earlier one"],
)
def test_what_is_damaged_is_built_anew(lost: str, waited: int, anew: bool) -> None:
    decision = decide(entry(Phase.READY, image=IMAGE), lost=lost, waited=waited)
    assert builds(decision, 4) is anew


def test_a_failure_is_told_to_those_who_waited_for_it() -> None:
    failed = entry(Phase.FAILED, reason=Reason.BUILD_FAILED, detail="no such package")
    told = decide(failed, waited=3)
    assert told.answer.turn is Turn.FAIL
    assert (told.answer.reason, told.answer.detail) == (Reason.BUILD_FAILED, "no such package")
    assert builds(decide(failed), 4)
    assert builds(decide(failed, waited=2), 4)


def test_a_build_that_was_given_up_is_tried_by_the_next_one() -> None:
    decision = decide(entry(Phase.FREE), waited=3)
    assert builds(decision, 4)
    assert decision.answer.because == "w1 gave it up"


def test_what_cannot_be_shared_is_built_by_each_for_a_while() -> None:
    lone = entry(Phase.ALONE, detail="it is too large")
    assert decide(lone).answer.turn is Turn.ALONE
    assert "it is too large" in decide(lone).answer.because
    assert builds(decide(lone, now=NOW + 11), 4)


@pytest.mark.parametrize(
    ("waited", "heard", "printed"),
    [(0, 0, b"cdef"), (3, 2, b"cdef"), (3, 5, b"f"), (3, 6, b""), (2, 5, b"cdef")],
    ids=["at first", "behind", "one more", "all heard", "of an earlier one"],
)
def test_one_who_waits_hears_what_is_new(waited: int, heard: int, printed: bytes) -> None:
    building = entry(tail=b"cdef", printed=6, wanted=True)
    answer: Asked = decide(building, waited=waited, heard=heard).answer
    assert (answer.printed, answer.heard) == (printed, 6)


def test_what_was_missed_is_said_to_be_missing() -> None:
    building = entry(tail=b"yz", printed=26, wanted=True)
    answer = decide(building, waited=3, heard=5).answer
    assert answer.printed.startswith(b"[stoker]")
    assert answer.printed.endswith(b"yz")


@pytest.mark.parametrize(
    ("changes", "worker", "held"),
    [
        ({}, "w1", True),
        ({}, "w2", False),
        ({"number": 2}, "w1", False),
        ({"number": 4}, "w1", False),
        ({"token": "guessed"}, "w1", False),
    ],
    ids=["its holder", "another worker", "an earlier one", "a later one", "a guess"],
)
def test_only_the_holder_of_the_lease_speaks_for_it(
    changes: dict[str, Any], worker: str, held: bool
) -> None:
    told = {"pool": "default", "key": KEY, "number": 3, "token": "t3", **changes}
    assert holds(entry(), LeaseKey(**told), worker) is held


@pytest.mark.parametrize("phase", [Phase.READY, Phase.FAILED, Phase.FREE, Phase.ALONE])
def test_a_lease_that_is_over_counts_for_nothing(phase: Phase) -> None:
    lease = LeaseKey(pool="default", key=KEY, number=3, token="t3")
    assert not holds(entry(phase), lease, "w1")
    assert not holds(None, lease, "w1")


def test_a_beat_renews_and_an_older_one_takes_nothing_back() -> None:
    def beat(tail: bytes, printed: int) -> LeaseBeat:
        return LeaseBeat(pool="default", key=KEY, number=3, token="t3", tail=tail, printed=printed)

    newer = renewed(entry(tail=b"a", printed=1), beat(b"ab", 2), NOW + 30)
    assert newer is not None
    assert (newer.tail, newer.until) == (b"ab", NOW + 30)
    older = renewed(newer, beat(b"a", 1), NOW + 31)
    assert older is not None
    assert (older.tail, older.until) == (b"ab", NOW + 31)
    assert renewed(entry(Phase.BUILT), beat(b"", 0), NOW) is None


def shared(used_at: float, *digests: str, **values: Any) -> EnvironmentEntry:
    blobs = tuple(Blob(digest=digest, size=40) for digest in digests)
    image = SharedImage(id="i", config=blobs[0], layers=blobs[1:])
    return entry(Phase.READY, image=image, used_at=used_at, **values)


def test_the_longest_unused_go_until_the_rest_fits_and_layers_count_once() -> None:
    config = EnvironmentsConfig(most_bytes=120)
    at = NOW - 2 * config.spared
    entries = {
        "p.a": shared(at + 1, ONE, TWO),
        "p.b": shared(at, "33" * 32, TWO),
        "p.c": shared(at + 2, "44" * 32),
    }
    sizes = {f"p.{digest}": 40 for digest in (ONE, TWO, "33" * 32, "44" * 32)}
    assert surplus(entries, sizes, NOW, config) == ["p.b"]


def test_what_a_registry_has_takes_no_room_and_can_be_lost() -> None:
    config = EnvironmentsConfig(most_bytes=39)
    manifest = Blob(digest=ONE, size=0)
    there = SharedImage(
        id="i", config=manifest, layers=(), reference=f"registry.example/env/p@sha256:{ONE}"
    )
    old = NOW - 2 * config.spared
    entries = {
        "p.a": entry(Phase.READY, image=there, used_at=old),
        "p.b": shared(old + 1, TWO),
    }
    assert surplus(entries, {f"p.{TWO}": 40}, NOW, config) == ["p.b"]
    lost = entry(Phase.READY, image=there)
    assert builds(decide(lost, lost=ONE, waited=3), 4)
    assert decide(lost, lost=TWO, waited=3).answer.turn is Turn.FETCH


def test_more_than_can_be_remembered_go_the_longest_unused_first() -> None:
    config = EnvironmentsConfig(most_entries=1)
    old = NOW - 2 * config.spared
    entries = {
        "p.a": entry(Phase.FAILED, used_at=old + 1),
        "p.b": entry(Phase.FAILED, used_at=old),
        "p.c": entry(Phase.FAILED, used_at=NOW),
    }
    assert surplus(entries, {}, NOW, config) == ["p.b", "p.a"]


def test_what_was_used_just_now_stays_although_it_is_too_much() -> None:
    config = EnvironmentsConfig(most_bytes=10)
    assert surplus({"p.a": shared(NOW - 10, ONE)}, {f"p.{ONE}": 40}, NOW, config) == []


@pytest.mark.parametrize(
    ("one", "goes"),
    [
        (entry(Phase.FAILED, used_at=NOW - 2 * 86_400), True),
        (entry(Phase.FAILED, used_at=NOW - 60), False),
        (entry(Phase.BUILDING, used_at=NOW - 2 * 86_400), False),
        (entry(Phase.BUILDING, used_at=NOW - 2 * 86_400, until=NOW - 1), True),
        (shared(NOW - 29 * 86_400, ONE), False),
        (shared(NOW - 31 * 86_400, ONE), True),
    ],
    ids=["failed", "failed now", "building", "given up", "unused", "long unused"],
)
def test_what_is_old_goes(one: EnvironmentEntry, goes: bool) -> None:
    assert (surplus({"p.a": one}, {}, NOW, CONFIG) == ["p.a"]) is goes


def test_a_layer_goes_that_no_image_needs_and_nobody_counts_on() -> None:
    old, new = NOW - 2 * CONFIG.spared, NOW - 1
    blobs = {
        f"p.{ONE}": StoredBlob(size=1, upload="u", at=old),
        f"p.{TWO}": StoredBlob(size=1, upload="u", at=new),
        f"q.{ONE}": StoredBlob(size=1, upload="v", at=old),
    }
    assert unnamed(blobs, {"p.a": shared(NOW, ONE)}, NOW, CONFIG) == [f"q.{ONE}"]


def test_what_a_builder_left_half_stored_goes_once_its_lease_is_over() -> None:
    stored = [("u1", ONE), ("u2", ONE), ("u3", TWO)]
    blobs = {f"p.{ONE}": StoredBlob(size=1, upload="u1", at=NOW)}
    left = orphans(stored, blobs, [entry(Phase.SHARING, upload="u3")])
    assert left == [("u2", ONE)]
    assert orphans(stored, blobs, []) == [("u2", ONE), ("u3", TWO)]
