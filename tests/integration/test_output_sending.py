"""What a job wrote is stored once, whole, and by nobody but its current attempt."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent import output_sender
from agent.output_plan import Limits
from bus import subjects
from bus.connection import Bus
from bus.errors import NotFound, Refused
from schemas.job import State
from schemas.message import Empty
from schemas.outputs import CHUNK, AskStored, Commit, Committed, PutChunks, StoredChunks
from services.outputs.config import OutputsConfig
from services.outputs.service import Outputs
from tests.integration.output_tools import JOB, Case, serving


@pytest.fixture
async def case(bus: Bus, tmp_path: Path) -> AsyncIterator[Case]:
    """Two replicas take what is sent, in whatever order."""
    async with serving(bus), serving(bus):
        yield Case(bus, tmp_path)


async def test_files_arrive_as_they_were(case: Case) -> None:
    grant = await case.attempt(1)
    big = os.urandom(5 * CHUNK + 77)
    (case.root / "ckpt").mkdir()
    (case.root / "ckpt" / "model.pt").write_bytes(big)
    (case.root / "ckpt" / "model.pt").chmod(0o755)
    (case.root / "empty").touch()
    for number in range(300):
        (case.root / f"{number}.txt").write_text(f"text {number}")
    manifest = await case.sender(grant).round(str(case.root), final=True)
    assert len(manifest.files) == 302
    texts = await case.texts()
    assert texts["ckpt/model.pt"] == big
    assert texts["empty"] == b""
    assert all(texts[f"{n}.txt"] == f"text {n}".encode() for n in range(300))
    stored = {file.path: file for file in (await case.stored()).files}
    assert stored["ckpt/model.pt"].mode == 0o755
    head = await case.store.head(JOB, 1)
    assert head is not None
    assert (head.head.final, head.head.files, head.head.round) == (True, 302, 1)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (CHUNK - 1, CHUNK + 1), (CHUNK, 2 * CHUNK), (10, 3 * CHUNK), (3 * CHUNK, None)],
    ids=["first", "seam", "one", "many", "end"],
)
async def test_any_part_of_a_file_can_be_read(case: Case, start: int, stop: int | None) -> None:
    grant = await case.attempt(1)
    data = os.urandom(3 * CHUNK + 9)
    (case.root / "data").write_bytes(data)
    manifest = await case.sender(grant).round(str(case.root), final=True)
    parts = [p async for p in case.store.read(JOB, manifest.files[0], start, stop)]
    assert b"".join(parts) == data[start:stop]


async def test_what_a_job_has_already_is_not_sent_again(case: Case) -> None:
    data = os.urandom(4 * CHUNK)
    sender = case.sender(await case.attempt(1))
    (case.root / "epoch1.pt").write_bytes(data)
    await sender.round(str(case.root), final=False)
    assert await case.chunks() == 4 + 1
    (case.root / "copy.pt").write_bytes(data)
    (case.root / "longer.pt").write_bytes(data + b"more")
    await sender.round(str(case.root), final=False)
    assert await case.chunks() == 4 + 1 + 1, "the new end, and the new manifest"
    assert (await case.texts())["longer.pt"] == data + b"more"


@pytest.mark.parametrize(("name", "sent"), [("events.out.tfevents.1", True), ("log", False)])
async def test_of_what_is_appended_to_all_the_time_event_files_alone_are_sent(
    case: Case, monkeypatch: pytest.MonkeyPatch, name: str, sent: bool
) -> None:
    sender = case.sender(await case.attempt(1))
    path = case.root / name
    path.write_bytes(b"begin")
    read = output_sender.read

    def read_while_it_grows(file: int, size: int, whole: Any) -> output_sender.Piece:
        with path.open("ab") as writer:
            writer.write(b" and more")
        return read(file, size, whole)

    monkeypatch.setattr(output_sender, "read", read_while_it_grows)
    manifest = await sender.round(str(case.root), final=True)
    assert [file.path for file in manifest.files] == [name] * sent
    assert (await case.texts()).get(name) == (b"begin" if sent else None)


async def test_a_later_attempt_goes_on_with_what_an_earlier_one_sent(case: Case) -> None:
    first = await case.attempt(1)
    data = os.urandom(4 * CHUNK)
    (case.root / "model").write_bytes(data)
    await case.sender(first).round(str(case.root), final=False)
    before = await case.chunks()
    second = await case.attempt(2)
    (case.root / "model").write_bytes(data)
    await case.sender(second).round(str(case.root), final=True)
    assert await case.chunks() - before <= 1
    assert await case.texts(1) == await case.texts(2) == {"model": data}


async def test_a_superseded_attempt_is_refused(case: Case) -> None:
    first = await case.attempt(1)
    (case.root / "model").write_text("of the first")
    sender = case.sender(first)
    await sender.round(str(case.root), final=False)
    root = case.root
    second = await case.attempt(2)
    (case.root / "model").write_text("of the second")
    await case.sender(second).round(str(case.root), final=True)
    (root / "model").write_text("too late")
    with pytest.raises(Refused, match="superseded"):
        await case.sender(first).round(str(root), final=True)
    assert await case.texts(1) == {"model": b"of the first"}
    assert await case.texts(2) == {"model": b"of the second"}


async def test_replaced_checkpoints_do_not_pile_up(case: Case) -> None:
    sender = case.sender(await case.attempt(1))
    for _ in range(4):
        (case.root / "model").write_bytes(os.urandom(3 * CHUNK))
        await sender.round(str(case.root), final=False)
        assert await case.chunks() == 4


async def test_what_the_job_removed_is_gone_from_the_next_manifest(case: Case) -> None:
    sender = case.sender(await case.attempt(1))
    (case.root / "old").write_text("old")
    (case.root / "both").write_text("both")
    await sender.round(str(case.root), final=False)
    (case.root / "old").unlink()
    await sender.round(str(case.root), final=False)
    assert await case.texts() == {"both": b"both"}


async def test_of_too_much_what_fits_is_kept(case: Case) -> None:
    grant = await case.attempt(1)
    for number in range(20):
        (case.root / f"{number}").write_bytes(b"x" * (number + 1))
    manifest = await case.sender(grant, Limits(files=5)).round(str(case.root), final=True)
    assert "20 files with 210 bytes, where 5 files and 64 GiB are allowed" in manifest.over
    assert sorted(await case.texts()) == ["0", "1", "2", "3", "4"]
    with (case.root / "sparse").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    manifest = await case.sender(grant).round(str(case.root), final=True)
    assert "1 TiB" in manifest.over
    assert len((await case.stored()).files) == 20


async def test_a_hostile_folder_is_kept_without_what_is_no_file(case: Case) -> None:
    grant = await case.attempt(1)
    (case.root / "good").write_text("good")
    (case.root / "passwd").symlink_to("/etc/passwd")
    (case.root / "root").symlink_to("/")
    os.mkfifo(case.root / "fifo")
    with open(os.fsencode(case.root) + b"/\xff\xfe", "w"):
        pass
    manifest = await case.sender(grant).round(str(case.root), final=True)
    assert await case.texts() == {"good": b"good"}
    assert {note.path for note in (await case.stored()).notes} == {
        "passwd", "root", "fifo", "\\xff\\xfe",
    }  # fmt: skip
    assert manifest.left_out == 4


async def test_chunks_that_vanished_are_sent_again(case: Case) -> None:
    grant = await case.attempt(1)
    data = os.urandom(2 * CHUNK)
    (case.root / "model").write_bytes(data)
    sender = case.sender(grant)
    await sender.round(str(case.root), final=False)
    await case.store.remove(JOB, await case.store.all_stored(JOB))
    with pytest.raises(NotFound):
        await case.texts()
    (case.root / "other").write_text("new")
    await sender.round(str(case.root), final=True)
    assert await case.texts() == {"model": data, "other": b"new"}


async def ask(case: Case, verb: str, message: object, answer: type) -> object:
    subject = subjects.request("outputs", verb, "w1")
    return await case.bus.request(subject, message, answer, attempts=1)  # type: ignore[arg-type, type-var]


@pytest.mark.parametrize(
    ("digests", "chunks"),
    [
        (b"d" * 32, (b"not that",)),
        (b"", ()),
        (b"d" * 31, (b"x",)),
        (b"d" * 64, (b"x",)),
        (b"d" * 32, (b"",)),
        (b"d" * 32, (b"x" * (CHUNK + 1),)),
    ],
    ids=["wrong", "nothing", "torn", "too few", "empty", "too long"],
)
async def test_a_chunk_that_is_not_what_it_says_is_refused(
    case: Case, digests: bytes, chunks: tuple[bytes, ...]
) -> None:
    await case.attempt(1)
    put = PutChunks(job=JOB, attempt=1, nonce="n1", digests=digests, chunks=chunks)
    with pytest.raises(Refused) as refused:
        await ask(case, "put", put, Empty)
    assert refused.value.problem.code == "bad_chunk"
    assert await case.chunks() == 0


async def test_nobody_else_writes_for_an_attempt(case: Case) -> None:
    await case.attempt(1)
    asked = AskStored(job=JOB, attempt=1, nonce="guessed")
    with pytest.raises(Refused) as refused:
        await ask(case, "stored", asked, StoredChunks)
    assert refused.value.problem.code == "not_granted"
    unknown = AskStored(job="0000zzzz-0000", attempt=1, nonce="n1")
    with pytest.raises(Refused):
        await ask(case, "stored", unknown, StoredChunks)


async def test_an_older_manifest_that_comes_late_changes_nothing(case: Case) -> None:
    grant = await case.attempt(1)
    (case.root / "a").write_text("1")
    sender = case.sender(grant)
    await sender.round(str(case.root), final=False)
    first = await case.store.head(JOB, 1)
    (case.root / "a").write_text("2")
    await sender.round(str(case.root), final=False)
    assert first is not None
    late = Commit(
        job=JOB, attempt=1, nonce="n1", round=1, chunks=first.head.chunks, size=first.head.size
    )
    with pytest.raises(Refused):
        await ask(case, "commit", late, Committed)
    assert await case.texts() == {"a": b"2"}


async def test_an_attempt_cannot_fill_the_store_without_a_manifest(
    bus: Bus, tmp_path: Path
) -> None:
    case = Case(bus, tmp_path)
    async with serving(bus, OutputsConfig(most_bytes=4 * CHUNK)):
        grant = await case.attempt(1)
        (case.root / "big").write_bytes(os.urandom(6 * CHUNK))
        with pytest.raises(Refused) as refused:
            await case.sender(grant, Limits(0, 0)).round(str(case.root), final=True)
    assert refused.value.problem.code == "outputs_too_large"


async def test_the_sweep_frees_what_nobody_names(bus: Bus, tmp_path: Path) -> None:
    case = Case(bus, tmp_path)
    config = OutputsConfig(grace=0.0)
    async with serving(bus, config):
        sender = case.sender(await case.attempt(1))
        (case.root / "a").write_text("kept")
        await sender.round(str(case.root), final=True)
        before = await case.chunks()
        await case.store.put(JOB, b"o" * 32, b"orphan")
        sweeper = Outputs(bus, config)._sweeper
        await sweeper.round()
        assert await case.chunks() == before + 1, "the job has not ended"
        await case.attempt(1, State.SUCCEEDED)
        await sweeper.round()
        assert await case.chunks() == before
        assert await case.texts() == {"a": b"kept"}
        await Outputs(bus, OutputsConfig(keep=0.0))._sweeper.round()
        assert await case.chunks() == 0
        assert await case.store.jobs() == set()
