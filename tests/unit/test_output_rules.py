"""Who may write outputs, and what of them can go?"""

from __future__ import annotations

import pytest

from schemas.job import Attempt, Record, State
from schemas.outputs import Manifest, OutputFile, OutputsHead, OutputsKey
from schemas.spec import JobSpec
from services.outputs.config import OutputsConfig
from services.outputs.rules import collectable, excess, expired, refusal, unnamed

HOUR, DAY = 3600.0, 86_400.0
CONFIG = OutputsConfig()


def record(state: State = State.RUNNING, attempts: int = 1) -> Record:
    return Record(
        id="j", owner="me", spec=JobSpec(), bundle="b", state=state, submitted_at=0.0,
        changed_at=0.0, attempt=attempts,
        attempts=tuple(
            Attempt(number=n, worker=f"w{n}", claim="c", nonce=f"n{n}", granted_at=0.0)
            for n in range(1, attempts + 1)
        ),
    )  # fmt: skip


def key(attempt: int = 1, nonce: str = "n1") -> OutputsKey:
    return OutputsKey(job="j", attempt=attempt, nonce=nonce)


@pytest.mark.parametrize(
    ("record", "asked", "worker", "now", "allowed"),
    [
        (record(), key(), "w1", HOUR, True),
        (record(), key(nonce="n2"), "w1", HOUR, False),
        (record(), key(), "w2", HOUR, False),
        (record(), key(2, "n2"), "w2", HOUR, False),
        (record(attempts=2), key(), "w1", HOUR, False),
        (record(attempts=2), key(2, "n2"), "w2", HOUR, True),
        (record(State.WAITING), key(), "w1", HOUR, True),
        (record(State.SUCCEEDED), key(), "w1", 6 * DAY, True),
        (record(State.SUCCEEDED), key(), "w1", 8 * DAY, False),
        (record(State.RUNNING), key(), "w1", 80 * DAY, True),
        (None, key(), "w1", HOUR, False),
    ],
    ids=[
        "its own", "wrong nonce", "other worker", "no such attempt", "superseded", "the newest",
        "between attempts", "a late end", "too late", "a long run", "no job",
    ],
)  # fmt: skip
def test_only_the_current_attempt_writes(
    record: Record | None, asked: OutputsKey, worker: str, now: float, allowed: bool
) -> None:
    assert (refusal(record, asked, worker, now, CONFIG.late) is None) is allowed


def head(attempt: int = 1, *, final: bool = True, chunks: bytes = b"") -> OutputsHead:
    return OutputsHead(job="j", attempt=attempt, worker="w", at=0.0, final=final, chunks=chunks)


@pytest.mark.parametrize(
    ("state", "heads", "now", "can"),
    [
        (State.RUNNING, [head()], 30 * DAY, False),
        (State.SUCCEEDED, [head()], HOUR / 2, False),
        (State.SUCCEEDED, [head()], 2 * HOUR, True),
        (State.SUCCEEDED, [head(final=False)], 2 * HOUR, False),
        (State.SUCCEEDED, [], 2 * HOUR, False),
        (State.SUCCEEDED, [], 8 * DAY, True),
    ],
    ids=["running", "grace", "told", "still coming", "nothing yet", "nothing comes any more"],
)
def test_nothing_is_collected_while_something_may_come(
    state: State, heads: list[OutputsHead], now: float, can: bool
) -> None:
    assert collectable(record(state), heads, now, CONFIG) is can


def test_only_what_nobody_names_is_collected() -> None:
    a, b, c, d = (bytes([n]) * 32 for n in range(4))
    file = OutputFile("x", 1, 0o644, 0.0, a, a + b)
    assert unnamed({a, b, c, d}, [head(chunks=c)], [Manifest((file,))]) == {d}


@pytest.mark.parametrize(
    ("keep", "state", "now", "gone"),
    [
        (None, State.SUCCEEDED, 1000 * DAY, False),
        (DAY, State.SUCCEEDED, 2 * DAY, True),
        (DAY, State.SUCCEEDED, DAY / 2, False),
        (DAY, State.RUNNING, 2 * DAY, False),
    ],
    ids=["for ever", "over", "not yet", "running"],
)
def test_outputs_are_kept_as_long_as_is_said(
    keep: float | None, state: State, now: float, gone: bool
) -> None:
    assert expired(record(state), now, OutputsConfig(keep=keep)) is gone


def test_a_manifest_beyond_the_houses_limits_is_refused() -> None:
    file = OutputFile("x", 100, 0o644, 0.0, b"", b"")
    for config in (OutputsConfig(most_bytes=99), OutputsConfig(most_files=0)):
        problem = excess(Manifest((file,)), config)
        assert problem is not None
        assert problem.code == "outputs_too_large"
    assert excess(Manifest((file,)), OutputsConfig()) is None
