"""What is a checkpoint, and when is what lies there whole?"""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from agent.checkpoint_rounds import had_its_say
from agent.checkpoint_sender import newest, quiet, untouched
from agent.output_scan import Found, Scan
from bus import manifests
from bus.checkpoints import pack, unpack
from bus.errors import Corrupt
from schemas.checkpoints import Checkpoint
from schemas.job import AttemptEnd, Reason, Record, State
from schemas.outputs import Commit, Manifest, OutputFile, OutputsHead
from schemas.spec import JobSpec
from services.outputs.config import DAY, OutputsConfig
from services.outputs.rules import forgotten, replaces

FILE = OutputFile("epoch/model", 3, 0o644, 100.5, b"d" * 32, b"c" * 32)
NOW = 1000.0


def scanned(*times: tuple[float, float]) -> Scan:
    """Modified and changed, for each file."""
    files = [
        Found(str(n), 1, 0o644, (n, int(modified * 1e9), int(changed * 1e9)))
        for n, (modified, changed) in enumerate(times)
    ]
    return Scan(10, files=files, links={})


def test_files_and_links_are_read_as_they_were_written() -> None:
    whole = Checkpoint(Manifest((FILE,)), (("last", "epoch/model"), ("out", "/checkpoints/x")))
    assert unpack(pack(whole)) == whole
    assert unpack(pack(Checkpoint())) == Checkpoint()


@pytest.mark.parametrize(
    "links",
    [
        [("../up", "x")], [("/etc/cron.d/x", "x")], [("a//b", "x")], [("", "x")],
        [("epoch", "x")], [("epoch/model/x", "x")], [("epoch/model", "x")],
        [("a", "x"), ("a", "y")], [("a", "x"), ("a/b", "y")],
        [("a", "")], [("a", "x\0y")], [("a", 3)], [("a", "x" * 5000)], [("a",)],
    ],
    ids=[
        "up", "absolute", "empty part", "no name", "a folder", "below a file", "a file", "twice",
        "below a link", "no target", "a NUL", "a number", "a long one", "half",
    ],
)  # fmt: skip
def test_a_link_that_leads_out_or_hides_a_file_is_refused(links: list[tuple[Any, ...]]) -> None:
    packed = msgpack.packb((1, manifests.pack(Manifest((FILE,))), links))
    with pytest.raises(Corrupt):
        unpack(packed)


@pytest.mark.parametrize("data", [b"", b"x", msgpack.packb((2, b"", [])), msgpack.packb(7)])
def test_what_is_no_checkpoint_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(data)


@pytest.mark.parametrize(
    ("times", "still"),
    [
        ([(900.0, 900.0)], True),
        ([(900.0, 900.0), (996.0, 996.0)], False),
        ([(900.0, 997.0)], False),
        ([(995.0, 995.0)], True),
        ([(2000.0, 900.0)], True),
        ([], True),
    ],
    ids=["long ago", "one of them", "renamed just now", "five seconds", "a clock ahead", "none"],
)
def test_a_folder_is_quiet_when_nothing_in_it_changed_lately(
    times: list[tuple[float, float]], still: bool
) -> None:
    assert quiet(scanned(*times), NOW, 5.0) is still


def test_the_newest_change_counts_whatever_it_was() -> None:
    assert newest(scanned((900.0, 950.0), (940.0, 940.0), (3000.0, 10.0)), NOW) == 950.0


def test_what_was_restored_is_known_until_it_is_written_to() -> None:
    marks = (1, int(100.5 * 1e9), 7)
    assert untouched(Found("epoch/model", 3, 0o644, marks), FILE)
    assert not untouched(Found("epoch/model", 4, 0o644, marks), FILE)
    assert not untouched(Found("epoch/model", 3, 0o644, (1, int(100.6 * 1e9), 7)), FILE)


@pytest.mark.parametrize(
    ("end", "had"),
    [
        (AttemptEnd(reason=Reason.EXIT, exit_code=0), True),
        (AttemptEnd(reason=Reason.EXIT, exit_code=1), True),
        (AttemptEnd(reason=Reason.TIMEOUT, exit_code=0), True),
        (AttemptEnd(reason=Reason.TIMEOUT, signal=9), False),
        (AttemptEnd(reason=Reason.OOM, signal=9), False),
        (AttemptEnd(reason=Reason.DISK_FULL, exit_code=1), False),
        (AttemptEnd(reason=Reason.ENGINE_RESTARTED), False),
    ],
    ids=["done", "failed", "in its grace", "killed", "oom", "disk full", "engine"],
)
def test_a_program_that_was_killed_may_have_been_in_the_middle(end: AttemptEnd, had: bool) -> None:
    assert had_its_say(end) is had


@pytest.mark.parametrize(
    ("attempt", "round", "newer"),
    [(2, 3, False), (2, 4, True), (2, 2, False), (3, 1, True), (1, 9, False)],
)
def test_a_later_attempt_replaces_whatever_round_it_begins_with(
    attempt: int, round: int, newer: bool
) -> None:
    asked = Commit(job="j", attempt=attempt, nonce="n", round=round, chunks=b"", size=1)
    assert replaces(asked, OutputsHead(job="j", attempt=2, worker="w", at=1.0, round=3)) is newer


def test_a_checkpoint_goes_when_nobody_resumed_it_in_all_that_time() -> None:
    ended = Record(
        id="j", owner="me", spec=JobSpec(), bundle="b", state=State.FAILED, submitted_at=0.0,
        changed_at=0.0,
    )  # fmt: skip
    config = OutputsConfig()
    assert not forgotten(ended, 29 * DAY, config)
    assert forgotten(ended, 31 * DAY, config)
    assert not forgotten(ended, 31 * DAY, OutputsConfig(keep_checkpoints=None))
    running = ended.model_copy(update={"state": State.RUNNING})
    assert not forgotten(running, 300 * DAY, config)
