"""A bundle in pieces: each is stored once, nothing that a job needs goes, nobody gets others'."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.bundles import Bundles, NoBundle
from bus import chunk_sweep, subjects, trees
from bus.chunk_sweep import ChunkSweep
from bus.chunks import ChunkStore
from bus.connection import Bus
from bus.errors import Corrupt, NotFound, Refused, Unanswered
from bus.trees import BUNDLE, DATA, Trees
from schemas.requests import FetchPieces, FetchTree, Pieces, TreePart
from schemas.tree import PIECE_BYTES
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.integration.piece_tools import Sender
from tests.unit.trees import tree_of

BIG = random.Random(3).randbytes(3 << 20)
FILES = {"big": BIG, "empty": b"", "main.py": b"print(1)\n", "requirements.txt": b"numpy\n"}


@contextlib.asynccontextmanager
async def service(bus: Bus, config: UploadConfig | None = None) -> AsyncIterator[None]:
    task = asyncio.create_task(run_upload(bus, config or UploadConfig()))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def ann(bus: Bus) -> AsyncIterator[Sender]:
    async with service(bus):
        yield Sender(bus)


async def test_pieces_are_stored_once_within_one_scope_and_only_as_what_they_are(bus: Bus) -> None:
    store = ChunkStore(bus)
    digests = [hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(700)]
    for n in range(0, 700, 7):
        assert await store.put("a1", digests[n], bytes([n % 256, n // 256]))
    assert not await store.put("a1", digests[0], bytes(2))
    assert await store.missing("a1", digests) == [d for n, d in enumerate(digests) if n % 7]
    assert await store.missing("a1", [digests[7], digests[8], digests[8]]) == [digests[8]]
    assert await store.missing("b2", digests[:3]) == digests[:3]
    wanted = [digests[14], digests[0], digests[14]]
    assert [data async for data in store.read("a1", wanted)] == [b"\x0e\0", b"\0\0", b"\x0e\0"]
    for data in (b"other", b"", bytes(PIECE_BYTES + 1)):
        with pytest.raises(Corrupt):
            await store.put("a1", digests[1], data)
    with pytest.raises(NotFound):
        await store.chunk("b2", digests[0])


async def test_a_sweep_takes_what_no_tree_names_and_nothing_else(bus: Bus) -> None:
    ann, ben, kept = Sender(bus), Sender(bus, "ben"), Trees(bus)
    head, tree = await ann.send({"main.py": b"1", "big": BIG})
    second, other = await ann.send({"main.py": b"2", "big": BIG[:1000]})
    assert await kept.keep(ann.scope, BUNDLE, head, tree, 1.0) == []
    assert await kept.keep(ann.scope, DATA, head, tree, 1.0) == []
    await ben.send({"main.py": b"1"})
    store = ChunkStore(bus)
    before = await store.all_of(ann.scope)
    assert await ChunkSweep(bus, 3600.0).round() == 0  # all of it is young
    assert await ChunkSweep(bus, -60.0).round() == 2 + 2
    named = {*head.digests, *(digest for digest, _ in tree.each_piece())}
    assert before - await store.all_of(ann.scope) == {*second.digests, other.piece(0)[0]}
    assert await store.all_of(ann.scope) == named
    await removed(kept, ann.scope, BUNDLE)
    assert await ChunkSweep(bus, -60.0).round() == 0
    await removed(kept, ann.scope, DATA)
    assert await ChunkSweep(bus, -60.0).round() == len(named)
    assert await store.scopes() == set()


async def removed(kept: Trees, scope: str, kind: str) -> None:
    [(key, (_, revision))] = (await kept.all_of(f"{scope}.{kind}")).items()
    assert await kept.remove(key, revision)


@pytest.mark.parametrize("whole", [False, True], ids=["unfinished", "whole"])
async def test_a_tree_that_is_needed_again_is_not_removed_by_who_looked_before(
    bus: Bus, whole: bool
) -> None:
    ann, kept, day = Sender(bus), Trees(bus), 86_400.0
    head, tree = await ann.send(FILES, but=None if whole else 4)
    lacking = [] if whole else [tree.piece(4)[0]]
    assert await kept.keep(ann.scope, BUNDLE, head, tree, 1.0) == lacking
    [(key, (_, seen))] = (await kept.all_of(ann.scope)).items()
    assert await kept.keep(ann.scope, BUNDLE, head, tree, day) == lacking
    assert not await kept.remove(key, seen)
    await ann.send(FILES)
    assert await kept.keep(ann.scope, BUNDLE, head, tree, day + 1) == []
    [(stored, seen)] = (await kept.all_of(ann.scope)).values()
    assert (stored.whole, stored.at >= day) == (True, True)
    assert await kept.keep(ann.scope, BUNDLE, head, tree, day + 2) == []
    assert await kept.remove(key, seen)  # that young it is no longer written each time


async def test_a_sweep_that_was_halted_goes_no_further_than_its_lease(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, kept, sweep, late = Sender(bus), Trees(bus), ChunkSweep(bus, -60.0), [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late[0])
    monkeypatch.setattr(chunk_sweep, "time", clock)
    await ann.send({"main.py": random.Random(5).randbytes(40)}, every=1)
    pieces = len(await ChunkStore(bus).all_of(ann.scope))

    class Halted(ChunkStore):
        async def remove(self, scope: str, digests: Iterable[bytes]) -> None:
            await super().remove(scope, digests)
            late[0] += trees.SWEEP_SECONDS

    sweep._chunks = Halted(bus)
    assert await sweep.round() == 16
    assert len(await ChunkStore(bus).all_of(ann.scope)) == pieces - 16

    class Unheard(ChunkStore):
        async def remove(self, scope: str, digests: Iterable[bytes]) -> None:
            raise Unanswered("purge", 5.0)

    sweep._chunks = Unheard(bus)
    with pytest.raises(Unanswered):
        await sweep.round()
    assert await kept.begin_sweep(ann.scope) is None  # it may still be done


async def test_a_tree_that_is_named_while_a_sweep_is_at_work_misses_what_that_took(
    bus: Bus,
) -> None:
    ann, kept = Sender(bus), Trees(bus)
    head, tree = await ann.send(FILES)
    sweep = await kept.begin_sweep(ann.scope)
    assert sweep is not None
    assert await kept.begin_sweep(ann.scope) is None
    naming = asyncio.create_task(kept.keep(ann.scope, BUNDLE, head, tree, 1.0))
    async with asyncio.timeout(20):
        while not await kept.all_of(ann.scope):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await kept.find(ann.scope, BUNDLE, tree.id) is None
    await ChunkStore(bus).remove(ann.scope, [tree.piece(1)[0]])
    assert not naming.done()
    await kept.end_sweep(ann.scope, sweep)
    assert await naming == [tree.piece(1)[0]]
    await ann.send(FILES)
    several = (kept.keep(ann.scope, BUNDLE, head, tree, 2.0) for _ in range(5))
    assert await asyncio.gather(*several) == [[]] * 5
    assert (await kept.get(ann.scope, BUNDLE, tree.id)).whole


async def test_a_sweep_whose_owner_died_is_waited_for_no_longer_than_it_may_take(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "SWEEP_SECONDS", 0.5)
    ann, kept = Sender(bus), Trees(bus)
    head, tree = await ann.send(FILES)
    assert await kept.begin_sweep(ann.scope) is not None
    assert await kept.keep(ann.scope, BUNDLE, head, tree, 1.0) == []
    assert await kept.begin_sweep(ann.scope) is not None


async def test_a_tree_becomes_a_job_and_its_bundle_is_known_by_what_is_in_it(ann: Sender) -> None:
    head, tree = await ann.send(FILES)
    first = await ann.submit(tree=head)
    assert (first.record.bundle, first.record.bundle_size) == (tree.id, tree.size)
    again = await ann.submit(tree=head)
    assert (again.created, again.record.id) == (False, first.record.id)
    other, cut_otherwise = await ann.send(FILES, every=100_000)
    second = await ann.submit("k2", tree=other)
    assert second.created
    assert cut_otherwise.id == second.record.bundle == tree.id
    stored = await ann.submit("k3", bundle=tree.id)
    assert (stored.created, stored.record.bundle_scope) == (True, ann.scope)


async def test_what_is_not_whole_is_told_and_can_be_sent_then(ann: Sender) -> None:
    head, _ = await ann.send(FILES, but=4)
    with pytest.raises(Refused, match="1 pieces are not there") as caught:
        await ann.submit(tree=head)
    assert (caught.value.problem.code, caught.value.problem.status) == ("pieces_missing", 409)
    await ann.send(FILES)
    assert (await ann.submit(tree=head)).created
    gone = head.model_copy(update={"chunks": bytes(32)})
    with pytest.raises(Refused) as caught:
        await ann.submit("k2", tree=gone)
    assert caught.value.problem.code == "pieces_missing"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "empty_zip"),
        ({"a.py": b"", "A.py": b"", "main.py": b""}, "name_collision"),
        ({"c:/x": b"", "main.py": b""}, "absolute_path"),
        ({"a\x1b[31m": b"", "main.py": b""}, "bad_name"),
        ({"/".join("d" * 41): b"", "main.py": b""}, "bad_name"),
        ({"train.py": b""}, "no_entry_file"),
        ({"main.py": b"", "requirements.txt": b"\xff\xfe"}, "bad_requirements"),
        ({"main.py": b"", "requirements.txt": b"#" * (1 << 20) + b"#"}, "bad_requirements"),
        ({f"{n}.py": b"" for n in range(51)}, "too_many_files"),
        ({"main.py": b"", "x": bytes(3 << 20)}, "too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_bad_bundle_is_refused_as_a_bad_zip_is(
    bus: Bus, files: dict[str, bytes], code: str
) -> None:
    ann = Sender(bus)
    async with service(bus, UploadConfig(most_files=50, most_bytes=2 << 20)):
        head, _ = await ann.send(files)
        with pytest.raises(Refused) as caught:
            await ann.submit(tree=head)
    assert caught.value.problem.code == code
    assert (await bus.api("STREAM.INFO.JOBS"))["state"]["messages"] == 0


async def test_what_is_no_tree_is_refused(ann: Sender) -> None:
    head = await ann.send_packed(b"stoker-tree 1 0 9\n")
    with pytest.raises(Refused) as caught:
        await ann.submit(tree=head)
    assert caught.value.problem.code == "bad_tree"
    with pytest.raises(Refused) as caught:
        await ann.submit(tree=head.model_copy(update={"size": 1 << 40}))
    assert caught.value.problem.code == "too_many_files"


async def test_a_bundle_is_its_owners_until_a_job_of_it_is_repeated(ann: Sender) -> None:
    head, tree = await ann.send(FILES)
    job = (await ann.submit(tree=head)).record
    ben = Sender(ann.bus, "ben")
    for asked in ({"bundle": tree.id}, {"tree": head}):
        with pytest.raises(Refused) as caught:
            await ben.submit(**asked)
        assert caught.value.problem.code in ("no_such_bundle", "pieces_missing")
    repeated = await ben.submit("k2", bundle=tree.id, retry_of=job.id)
    assert (repeated.record.owner, repeated.record.bundle_scope) == ("ben", ann.scope)
    with pytest.raises(Refused):
        await ben.submit("k3", bundle=tree.id)


@pytest.mark.parametrize(
    "changes", [{"nonce": "x"}, {"attempt": 2}, {"bundle": "0" * 64}], ids=["nonce", "old", "other"]
)
async def test_a_worker_gets_the_pieces_of_what_it_was_granted_and_no_others(
    ann: Sender, changes: dict[str, Any]
) -> None:
    head, tree = await ann.send(FILES)
    grant = await ann.granted((await ann.submit(tree=head)).record)
    asked = {"job": grant.job, "attempt": 1, "nonce": "secret", "bundle": grant.bundle}

    async def pieces(worker: str = "w1", numbers: tuple[int, ...] = (0,), **more: Any) -> Pieces:
        subject = subjects.request("upload", "pieces", worker)
        message = FetchPieces(**{**asked, **more, "numbers": numbers})
        return await ann.bus.request(subject, message, Pieces, timeout=10)

    assert len((await pieces(numbers=(1, 0))).pieces) == 2
    assert len((await pieces(numbers=tuple(range(11)))).pieces) == 3  # as many as a message holds
    for bad in ({"worker": "w2"}, {"numbers": (tree.count,)}, {"numbers": (-1,)}, changes):
        with pytest.raises(Refused):
            await pieces(**bad)
    subject = subjects.request("upload", "tree", "w1")
    with pytest.raises(Refused):
        await ann.bus.request(subject, FetchTree(**{**asked, **changes}), TreePart)


async def test_a_worker_fetches_what_it_has_not_and_checks_all_of_it(
    ann: Sender, tmp_path: Path
) -> None:
    bundles = Bundles(ann.bus, "w1", tmp_path / "bundles")
    asked: list[int] = []

    async def note(message: Any) -> None:
        asked.append(1)

    async def laid(key: str, files: dict[str, bytes], owner: Sender = ann) -> dict[str, bytes]:
        head, _ = await owner.send(files)
        record = (await owner.submit(key, tree=head)).record
        await bundles.copy(await owner.granted(record), tmp_path / key)
        return {
            str(path.relative_to(tmp_path / key)): path.read_bytes()
            for path in (tmp_path / key).rglob("*")
            if path.is_file()
        }

    subject = subjects.request("upload", "pieces", "*")
    async with ann.bus.subscribe(subject, note):
        assert await laid("a", FILES) == FILES
        first, changed = len(asked), {**FILES, "main.py": b"print(2)\n", "new": b"x"}
        assert await laid("b", changed) == changed
        assert (first, len(asked)) == (4, 5)
        asked.clear()
        small = {"main.py": b"print(3)\n"}
        assert await laid("c", small) == small  # which comes with its tree
        assert asked == []
        ben = Sender(ann.bus, "ben")
        assert await laid("d", FILES, ben) == FILES
        assert len(asked) == 4  # nothing of ann's is taken for it
    assert (tmp_path / "a" / "big").stat().st_nlink == 1


async def test_a_tree_that_lies_about_a_file_fails_its_own_jobs_alone(
    ann: Sender, tmp_path: Path
) -> None:
    ben, bundles = Sender(ann.bus, "ben"), Bundles(ann.bus, "w1", tmp_path / "bundles")
    honest, pieces = tree_of(FILES)
    wrong, others = tree_of({**FILES, "main.py": b"print(6)\n"})
    lie = honest.pack()[: -len(honest.pieces)] + wrong.pieces
    head = await ben.send_packed(lie, {**pieces, **others})
    lying = (await ben.submit(tree=head)).record
    assert lying.bundle == honest.id
    with pytest.raises(NoBundle, match=r"main\.py is not what"):
        await bundles.copy(await ben.granted(lying), tmp_path / "ben")
    good, _ = await ann.send(FILES)
    grant = await ann.granted((await ann.submit(tree=good)).record)
    await bundles.copy(grant, tmp_path / "ann")
    assert (tmp_path / "ann" / "main.py").read_bytes() == FILES["main.py"]
