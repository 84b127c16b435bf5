"""The next attempt finds the last whole checkpoint, on whichever worker, and never half of one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent import checkpoint_restore, checkpoint_sender
from agent.checkpoint_copy import copy_files
from agent.checkpoint_rounds import AttemptCheckpoints
from agent.folder import AttemptFolder
from agent.output_plan import Rhythm
from agent.output_scan import Found
from agent.runtimes.protocol import CannotPrepare
from bus import subjects
from bus.checkpoints import CheckpointStore
from bus.connection import Bus
from bus.errors import Refused
from bus.records import Records
from schemas.checkpoints import GetPiece, GotPiece
from schemas.job import Attempt, AttemptEnd, Fact, Reason, Record, State
from schemas.outputs import CHUNK
from schemas.spec import JobSpec
from schemas.stream import Stream
from schemas.worker import Grant, Report
from services.outputs.collecting import collect
from services.outputs.config import OutputsConfig
from services.outputs.service import Outputs
from tests.integration.output_tools import serving

JOB, OTHER = "00000001-0000", "00000002-0000"
QUICK = Rhythm(every=0.2, still=0.0, patience=2.0)
DONE = AttemptEnd(reason=Reason.EXIT, exit_code=0)
KILLED = AttemptEnd(reason=Reason.OOM, signal=9)


@dataclass
class Try:
    """One attempt on a worker of its own."""

    bus: Bus
    grant: Grant
    folder: AttemptFolder
    rounds: AttemptCheckpoints
    said: list[str]
    log: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder.checkpoints

    async def restored(self) -> bool:
        def output(stream: Stream, data: bytes) -> None:
            self.log.append(data.decode())

        return await self.rounds.restored(output)

    async def look(self) -> None:
        await self.rounds._look()

    async def ended(self, end: AttemptEnd = DONE, at: float | None = None) -> None:
        key = self.grant
        report = Report(
            worker="w1", job=key.job, attempt=key.attempt, nonce=key.nonce, fact=Fact.FAILED,
            at=at or time.time() + 1, started_at=1.0, end=end,
        )  # fmt: skip
        await self.rounds.at_end(report)

    def there(self) -> dict[str, bytes]:
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files}


@dataclass
class Case:
    bus: Bus
    work: Path
    sequences: dict[str, int] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)

    @property
    def store(self) -> CheckpointStore:
        return CheckpointStore(self.bus)

    async def attempt(
        self, number: int, job: str = JOB, resume: str | None = None, still: float = 0.0,
        state: State = State.RUNNING,
    ) -> Try:  # fmt: skip
        attempts = tuple(
            Attempt(number=n, worker="w1", claim=f"c{n}", nonce=f"n{n}", granted_at=1.0)
            for n in range(1, number + 1)
        )
        spec = JobSpec(resume=resume)
        record = Record(
            id=job, owner="me", spec=spec, bundle="b", state=state, submitted_at=1.0,
            changed_at=time.time(), attempt=number, attempts=attempts,
        )  # fmt: skip
        fact = Fact.SUCCEEDED if state.ended else Fact.RUNNING
        before = self.sequences.get(job, 0)
        self.sequences[job] = await Records(self.bus).write(record, fact, before)
        grant = Grant(job=job, attempt=number, nonce=f"n{number}", spec=spec, bundle="b")
        folder = AttemptFolder(self.work / f"machine{number}" / f"{job}.{number}")
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
        said: list[str] = []
        rhythm = Rhythm(every=0.2, still=still, patience=2.0)
        rounds = AttemptCheckpoints(self.bus, "w1", grant, folder, rhythm, said.append)
        return Try(self.bus, grant, folder, rounds, said)

    async def round(self, job: str = JOB) -> tuple[int, int]:
        found = await self.store.last(job)
        return (found.head.attempt, found.head.round) if found else (0, 0)


@pytest.fixture
async def case(bus: Bus, tmp_path: Path) -> AsyncIterator[Case]:
    """Two replicas take and give, in whatever order."""
    async with serving(bus), serving(bus):
        yield Case(bus, tmp_path)


async def test_the_next_attempt_finds_all_as_it_was(case: Case) -> None:
    first = await case.attempt(1)
    assert not await first.restored()
    big = os.urandom(5 * CHUNK + 77)
    (first.root / "epoch 3").mkdir()
    model = first.root / "epoch 3" / "modèle.pt"
    model.write_bytes(big)
    model.chmod(0o640)
    os.utime(model, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    (first.root / "empty").touch()
    (first.root / "last.ckpt").symlink_to("epoch 3/modèle.pt")
    (first.root / "host").symlink_to("/nowhere/shadow")
    os.mkfifo(first.root / "fifo")
    await first.look()
    assert await case.round() == (1, 1)
    assert first.said == ["fifo is no part of the checkpoint: a FIFO, not a file"]
    second = await case.attempt(2)
    (second.root / "left from before").write_text("by an agent that was killed")
    assert await second.restored()
    assert second.there() == {"epoch 3/modèle.pt": big, "empty": b"", "last.ckpt": big}
    assert os.readlink(second.root / "last.ckpt") == "epoch 3/modèle.pt"
    assert os.readlink(second.root / "host") == "/nowhere/shadow"
    seen = (second.root / "epoch 3" / "modèle.pt").stat()
    assert seen.st_mode & 0o777 == 0o640
    assert abs(seen.st_mtime_ns - 1_700_000_000_123_456_789) < 10_000
    assert "restored the checkpoint of attempt 1: 2 files, 2.5 MiB\n" in second.log[-1]
    await second.look()
    assert await case.round() == (1, 1), "nothing of what was restored is sent again"


async def test_only_a_folder_that_keeps_still_is_taken(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await case.attempt(1)
    (first.root / "model").write_bytes(b"one")
    await first.look()
    (first.root / "model").write_bytes(b"two, first half")

    async def copied(root: str, files: list[Found], target: Path) -> None:
        await copy_files(root, files, target)
        (first.root / "model").write_bytes(b"two, first half and second")

    monkeypatch.setattr(checkpoint_sender, "copy_files", copied)
    await first.look()
    assert await case.round() == (1, 1)
    assert not (first.folder.path / "checkpoint.copy").exists()
    monkeypatch.setattr(checkpoint_sender, "copy_files", copy_files)
    monkeypatch.setattr(checkpoint_sender, "SPARE", 1 << 60)  # no room: read where it lies
    sent = first.rounds._taker._piecewise

    async def overtaken(source: str, one: Found) -> object:
        stored = await sent(source, one)
        (first.root / "another").write_bytes(b"while it was read")
        return stored

    monkeypatch.setattr(first.rounds._taker, "_piecewise", overtaken)
    await first.look()
    assert await case.round() == (1, 1)
    monkeypatch.undo()
    await first.look()
    assert await case.round() == (1, 2)
    second = await case.attempt(2)
    assert await second.restored()
    assert second.there() == {
        "model": b"two, first half and second", "another": b"while it was read",
    }  # fmt: skip


async def test_what_was_written_a_moment_ago_waits_while_the_program_runs(case: Case) -> None:
    first = await case.attempt(1, still=60.0)
    (first.root / "model").write_bytes(b"half")
    await first.look()
    assert await case.round() == (0, 0)
    os.utime(first.root / "model", (1.0, 1.0))
    await first.look()
    assert await case.round() == (0, 0), "changing its time is a change"
    await first.ended()
    assert await case.round() == (1, 1), "a program that ended by itself had its say"


async def test_what_a_killed_program_wrote_last_is_not_taken(case: Case) -> None:
    first = await case.attempt(1, still=5.0)
    (first.root / "model").write_bytes(b"half of i")
    await first.ended(KILLED)
    assert await case.round() == (0, 0)
    assert first.rounds.settled
    second = await case.attempt(2, still=5.0)
    assert not await second.restored()
    assert "no checkpoint yet: it begins anew\n" in second.log[-1]
    (second.root / "model").write_bytes(b"long ago")
    await second.ended(KILLED, at=time.time() + 3600)
    assert await case.round() == (2, 1)


async def test_an_empty_folder_replaces_nothing(case: Case) -> None:
    first = await case.attempt(1)
    (first.root / "model").write_bytes(b"kept")
    await first.look()
    (first.root / "model").unlink()
    await first.look()
    await first.ended()
    assert await case.round() == (1, 1)


async def test_replaced_checkpoints_do_not_pile_up_nor_lose_what_comes_back(case: Case) -> None:
    first = await case.attempt(1)
    old, new = os.urandom(3 * CHUNK), os.urandom(3 * CHUNK)
    for number, data in enumerate((old, new, old, new, old)):
        (first.root / "model").write_bytes(data)
        while (await case.round())[1] != number + 1:
            await first.look()
        assert len(await case.store.all_stored(JOB)) == 3 + 1
    second = await case.attempt(2)
    assert await second.restored()
    assert second.there() == {"model": old}


async def test_a_superseded_attempt_takes_and_gives_nothing(case: Case) -> None:
    first = await case.attempt(1)
    (first.root / "model").write_bytes(b"of the first")
    await first.look()
    second = await case.attempt(2)
    assert await second.restored()
    (second.root / "model").write_bytes(b"of the second")
    await second.look()
    (first.root / "model").write_bytes(b"too late")
    await first.ended()
    assert first.rounds.settled
    assert await case.round() == (2, 1)
    with pytest.raises(CannotPrepare, match="superseded"):
        await AttemptCheckpoints(
            case.bus,
            "w1",
            first.grant.model_copy(update={"attempt": 2, "nonce": "guessed"}),
            first.folder,
            QUICK,
            print,
        ).restored(lambda *_: None)


async def test_a_job_begins_from_the_checkpoint_of_the_one_that_it_resumes(case: Case) -> None:
    first = await case.attempt(1)
    (first.root / "model").write_bytes(b"of the old job")
    await first.ended()
    head = await case.store.last(JOB)
    assert head is not None
    piece = head.head.chunks[:32]
    stranger = await case.attempt(1, OTHER)
    asked = GetPiece(job=OTHER, attempt=1, nonce="n1", source=JOB, digest=piece)
    subject = subjects.request("outputs", "checkpoint-get", "w1")
    with pytest.raises(Refused, match="does not begin from"):
        await case.bus.request(subject, asked, GotPiece)
    assert not await stranger.restored()
    resumed = await case.attempt(2, "00000003-0000", resume=JOB)
    assert await resumed.restored()
    assert resumed.there() == {"model": b"of the old job"}
    assert f"attempt 1 of job {JOB}" in resumed.log[-1]
    (resumed.root / "model").write_bytes(b"its own")
    await resumed.look()
    again = await case.attempt(3, "00000003-0000", resume=JOB)
    assert await again.restored()
    assert again.there() == {"model": b"its own"}


async def test_what_cannot_be_had_whole_ends_the_attempt(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = await case.attempt(1, OTHER, resume=JOB)
    with pytest.raises(CannotPrepare, match=f"job {JOB} has none any more") as refused:
        await gone.restored()
    assert refused.value.reason is Reason.DATA_UNAVAILABLE
    first = await case.attempt(1)
    (first.root / "model").write_bytes(b"x" * CHUNK + b"y")
    await first.look()
    monkeypatch.setattr(checkpoint_restore, "SPARE", 1 << 63)
    second = await case.attempt(2)
    with pytest.raises(CannotPrepare, match="does not fit") as full:
        await second.restored()
    assert full.value.reason is Reason.DISK_FULL
    monkeypatch.undo()
    stored = await case.store.last(JOB)
    assert stored is not None
    checkpoint = await case.store.checkpoint(stored.head)
    await case.store.remove(JOB, [checkpoint.manifest.files[0].chunk(1)])
    with pytest.raises(CannotPrepare, match="its checkpoint cannot be had") as lost:
        await second.restored()
    assert lost.value.reason is Reason.DATA_UNAVAILABLE


async def test_too_much_is_said_once_and_the_one_before_stays(case: Case) -> None:
    first = await case.attempt(1)
    (first.root / "model").write_bytes(b"small")
    await first.look()
    with (first.root / "sparse").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    await first.look()
    await first.look()
    assert len(first.said) == 1
    assert first.said[0].startswith("no checkpoint is kept: its checkpoint is too large: 2 files")
    await first.ended()
    assert first.rounds.settled
    assert await case.round() == (1, 1)


async def test_an_agent_that_comes_back_goes_on_and_sends_nothing_twice(case: Case) -> None:
    first = await case.attempt(1)
    (first.root / "model").write_bytes(os.urandom(4 * CHUNK))
    await first.look()
    successor = AttemptCheckpoints(
        case.bus, "w1", first.grant, first.folder, QUICK, first.said.append
    )
    (first.root / "more").write_bytes(b"more")
    await successor._look()
    assert await case.round() == (1, 2)
    first.rounds = successor
    await first.ended()
    assert (successor.stored, successor.settled) == (True, True)
    third = AttemptCheckpoints(case.bus, "w1", first.grant, first.folder, QUICK, print)
    first.rounds = third
    await first.ended()
    assert third.stored
    assert await case.round() == (1, 2)


async def test_after_a_month_an_ended_jobs_checkpoint_is_removed(bus: Bus, tmp_path: Path) -> None:
    config = OutputsConfig(keep_checkpoints=0.0)
    async with serving(bus):
        case = Case(bus, tmp_path)
        first = await case.attempt(1)
        (first.root / "model").write_bytes(b"kept")
        await first.look()
        sweeper = Outputs(bus, config)._checkpoints
        await sweeper.round()
        assert await case.round() == (1, 1), "it still runs"
        await case.attempt(1, state=State.SUCCEEDED)
        async with asyncio.timeout(20):
            while await case.round() != (0, 0):
                await sweeper.round()
        assert await case.store.jobs() == set()


async def test_what_no_checkpoint_names_goes_once_nothing_more_can_come(case: Case) -> None:
    first = await case.attempt(1)
    (first.root / "model").write_bytes(b"kept")
    await first.look()
    named = await case.store.all_stored(JOB)
    pieces = {hashlib.sha256(bytes(n)).digest(): bytes(n) for n in range(1, 41)}
    await asyncio.gather(*(case.store.put(JOB, *pair) for pair in pieces.items()))
    service = Outputs(case.bus, OutputsConfig(late=0.0, grace=0.0))._checkpoints
    await service.round()
    assert await case.store.all_stored(JOB) == named | pieces.keys(), "it still runs"
    assert not await collect(case.store, JOB, pieces, seen=0), "another head came meanwhile"
    assert await case.store.all_stored(JOB) >= pieces.keys()
    await case.attempt(1, state=State.SUCCEEDED)
    async with asyncio.timeout(20):
        while await case.store.all_stored(JOB) != named:
            await service.round()
    assert await case.round() == (1, 1)


async def test_a_service_that_is_away_is_waited_for(bus: Bus, tmp_path: Path) -> None:
    case = Case(bus, tmp_path)
    async with serving(bus):
        first = await case.attempt(1)
        (first.root / "model").write_bytes(os.urandom(3 * CHUNK))
        await first.look()
    second = await case.attempt(2)
    restoring = asyncio.create_task(second.restored())
    async with serving(bus):
        assert await restoring
        assert second.there() == first.there()
