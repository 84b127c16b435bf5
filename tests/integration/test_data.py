"""Datasets: put in versions, fetched once by a worker, found by a job that cannot change them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from agent.data import Data
from agent.data_fetch import Source
from agent.data_rules import DataRules
from agent.disk import DiskBounds
from bus import subjects
from bus import trees as trees_of_all
from bus.chunks import ChunkStore
from bus.connection import Bus
from bus.errors import Refused
from bus.server import EmbeddedServer
from bus.trees import DATA, Trees
from schemas.data import DataMount
from schemas.datasets import AskPieces, DataPieces, Dataset, DatasetList, ListDatasets, RemoveData
from schemas.message import Empty
from schemas.placing import data_key
from schemas.reason import Reason
from schemas.tree import Tree, scope_of
from schemas.worker import Grant
from services.datasets.config import DatasetsConfig
from services.datasets.service import run as run_datasets
from services.datasets.shelf import Shelf
from services.datasets.sweeping import Sweeper
from tests.integration.data_tools import commit, put, resolved, stored, tree_of
from tests.integration.house import House, open_house

FILES = {
    "a.txt": b"alpha\n" * 400,
    "b/empty": b"",
    "b/run.sh": b"#!/bin/sh\n",
    "z.bin": b"z" * 5000,
}
READS = """
import os, pathlib
place = pathlib.Path(os.environ["STOKER_DATA_LETTERS"])
print(sorted(str(one.relative_to(place)) for one in place.rglob("*") if one.is_file()))
print(len((place / "a.txt").read_text()), os.access(place / "b/run.sh", os.X_OK))
print(pathlib.Path("data/letters").resolve() == place.resolve())
"""


@pytest.fixture
async def house(server: EmbeddedServer, bus: Bus, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(server.url, bus, tmp_path) as made:
        task = made.tasks.create_task(run_datasets(bus, DatasetsConfig()))
        yield made
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def remove(bus: Bus, name: str, version: int | None = None) -> None:
    asked = RemoveData(owner="tester", name=name, version=version, by="tester")
    await bus.request(subjects.request("datasets", "remove"), asked, Empty)


async def test_a_job_finds_its_data_and_the_next_one_does_not_fetch_it(
    house: House, tmp_path: Path
) -> None:
    first = await put(house.bus, "tester", "letters", FILES)
    house.agent("process")
    for said in ("fetching 7.2 KiB, 4 files", "letters@1: cached, at /data/letters"):
        data = await resolved(house.bus, "tester", "letters")
        assert [(one["version"], one["files"], one["path"]) for one in data] == [
            (1, 4, "/data/letters")
        ]
        job = await house.submit({"main.py": READS}, data=data)
        record = await house.ended(job)
        log = (await house.log(record)).decode()
        assert record.exit_code == 0, log
        assert said in log
        assert "['a.txt', 'b/empty', 'b/run.sh', 'z.bin']\n2400 True\nTrue\n" in log
    key = data_key(DataMount(name="letters", owner="tester", tree=first.versions[0].tree), "tester")
    kept = tmp_path / "w1" / "data" / key / "files"
    assert (kept / "z.bin").read_bytes() == FILES["z.bin"]
    assert (kept / "a.txt").stat().st_mode & 0o777 == 0o444


async def test_what_was_deleted_or_damaged_meanwhile_ends_the_attempt_with_its_words(
    house: House,
) -> None:
    await put(house.bus, "tester", "letters", FILES)
    damaged = await put(house.bus, "tester", "numbers", {"n": bytes(range(250)) * 30})
    mounts = await resolved(house.bus, "tester", "letters")
    lost = await resolved(house.bus, "tester", "numbers")
    await remove(house.bus, "letters", 1)
    scope = scope_of("tester")
    head = (await Trees(house.bus).get(scope, DATA, damaged.versions[0].tree)).head
    tree = await ChunkStore(house.bus).tree(scope, head)
    await ChunkStore(house.bus).remove(scope, [tree.piece(2)[0]])
    house.agent("process")
    for data, words in (
        (mounts, "version 1 was deleted by tester"),
        (lost, "a part of tester/numbers@1 is not stored any more: put it again"),
    ):
        record = await house.ended(await house.submit({"main.py": ""}, data=data, retries=0))
        assert record.reason is Reason.DATA_UNAVAILABLE
        assert words in record.detail


async def test_data_cannot_hide_what_the_bundle_has(house: House) -> None:
    await put(house.bus, "tester", "letters", FILES)
    data = await resolved(house.bus, "tester", "letters:/job/data")
    house.agent("process")
    job = await house.submit({"main.py": "", "data/mine": "x"}, data=data)
    record = await house.ended(job)
    assert record.reason is Reason.BUILD_FAILED
    assert "cannot lie at /job/data: the bundle has a file or folder there" in record.detail


async def test_a_fetch_that_was_cut_off_asks_for_the_rest_alone(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.data_writer.PIECES_MOST", 1)
    monkeypatch.setattr("agent.data_fetch.WINDOW", 1)
    big = {f"f{number:03}": bytes([number]) * 700 for number in range(200)}
    await put(house.bus, "tester", "letters", big)
    data = await resolved(house.bus, "tester", "letters")
    house.agent("dummy")
    job = await house.submit(data=data, environment={"STOKER_DUMMY_SLEEP": "60"})
    record = await house.running(job)
    assert record.current is not None
    grant = Grant(
        job=job, attempt=1, nonce=record.current.nonce, owner="tester", spec=record.spec, bundle="b"
    )
    (tmp_path / "cache").mkdir()
    cache = Data(house.bus, "w1", tmp_path / "cache", DataRules(), DiskBounds(floor=1))
    folder = tmp_path / "cache" / data_key(DataMount.model_validate(data[0]), "tester")
    first = asyncio.create_task(cache.places("a", grant, {}, lambda _: None))
    while not (folder / "files" / "f010").exists():
        assert not first.done()
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    begun = int((folder / "pieces").read_text())
    assert begun > 5
    asked: list[int] = []
    real = Source.pieces

    def pieces(source: Source, tree: Tree, begin: int) -> AsyncGenerator[tuple[bytes, ...], None]:
        asked.append(begin)
        return real(source, tree, begin)

    monkeypatch.setattr(Source, "pieces", pieces)
    (place,) = await cache.places("a", grant, {}, lambda _: None)
    assert asked == [begun]
    assert {one.name: one.read_bytes() for one in place.source.iterdir()} == big


async def test_versions_are_counted_repeated_and_deleted(house: House) -> None:
    bus = house.bus
    head = await stored(bus, "tester", {"one": b"1"})
    first = await commit(bus, "tester", "numbers", head)
    again = await commit(bus, "tester", "numbers", head)
    assert (first.created, again.created, len(again.dataset.versions)) == (True, False, 1)
    await put(bus, "tester", "numbers", {"two": b"2"})
    await remove(bus, "numbers", 2)
    third = await put(bus, "tester", "numbers", {"three": b"3"})
    assert [one.number for one in third.versions] == [1, 3]
    await remove(bus, "numbers")
    await remove(bus, "numbers")
    listed = ListDatasets(owners=("tester",))
    subject = subjects.request("datasets", "list")
    assert (await bus.request(subject, listed, DatasetList)).datasets == ()
    assert (await put(bus, "tester", "numbers", {"one": b"1"})).versions[0].number == 4


NAMES = (
    ("leters", ("tester",), "there is no data leters; did you mean letters?"),
    ("words", ("tester", "ana"), "there is no data words; did you mean ana/words?"),
    ("ana/words", ("tester",), "there is no data ana/words"),
    ("letters@7", ("tester",), "letters has no version 7; newest that are there: 1"),
    ("ana/words@1", ("tester", "ana"), ""),
    ("ana/words@1", None, ""),
)


async def test_a_name_that_does_not_exist_gets_the_nearest_that_may_be_used(house: House) -> None:
    await put(house.bus, "tester", "letters", {"x": b"x"})
    await put(house.bus, "ana", "words", {"x": b"x"})
    for asked, sees, words in NAMES:
        if not words:
            assert (await resolved(house.bus, "tester", asked, sees=sees))[0]["owner"] == "ana"
            continue
        with pytest.raises(Refused) as refused:
            await resolved(house.bus, "tester", asked, sees=sees)
        assert words in str(refused.value)


async def test_nothing_is_committed_whose_pieces_are_not_there_or_that_is_too_much(
    house: House,
) -> None:
    store, scope = ChunkStore(house.bus), scope_of("tester")
    tree, _ = tree_of(FILES)
    head = await store.put_tree(scope, tree)
    with pytest.raises(Refused) as refused:
        await commit(house.bus, "tester", "letters", head)
    assert refused.value.problem.code == "pieces_missing"
    with pytest.raises(Refused, match="'a_b' is no name"):
        await commit(house.bus, "tester", "a_b", head)
    assert await Shelf(house.bus).get("tester", "letters") is None


async def test_a_worker_gets_no_piece_of_what_its_job_does_not_name(house: House) -> None:
    await put(house.bus, "tester", "letters", FILES)
    data = await resolved(house.bus, "tester", "letters")
    house.agent("dummy")
    job = await house.submit(data=data, environment={"STOKER_DUMMY_SLEEP": "60"})
    current = (await house.running(job)).current
    assert current is not None

    async def ask(worker: str = "w1", **changed: object) -> DataPieces:
        key = {"job": job, "attempt": 1, "nonce": current.nonce, "index": 0, "first": 0, "count": 1}
        asked = AskPieces.model_validate({**key, **changed})
        subject = subjects.request("datasets", "pieces", worker)
        return await house.bus.request(subject, asked, DataPieces)

    assert (await ask()).data == (tree_of(FILES)[1][0],)
    for changed in ({"nonce": "other"}, {"index": 1}, {"attempt": 2}, {"worker": "w2"}):
        with pytest.raises(Refused) as refused:
            await ask(**changed)
        assert refused.value.problem.code == "not_granted"


async def test_a_tree_that_is_committed_again_while_it_is_swept_stays(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees_of_all, "FRESH", -60.0)
    bus, files = house.bus, {"x": b"x"}
    tree = (await put(bus, "tester", "letters", files)).versions[0].tree
    await remove(bus, "letters")

    class Late(Shelf):
        """What it tells is old when the sweep goes on."""

        async def all(self, owner: str = "") -> dict[str, Dataset]:
            told = await super().all(owner)
            await put(bus, "tester", "again", files)
            return told

    sweeper = Sweeper(bus, Shelf(bus), DatasetsConfig(abandoned_after=10))
    await sweeper.round(100.0)
    sweeper._shelf = Late(bus)
    await sweeper.round(110.0)
    assert await Trees(bus).find(scope_of("tester"), DATA, tree) is not None


async def test_the_tree_of_a_deleted_version_goes_after_a_day(house: House) -> None:
    bus = house.bus
    kept = await put(bus, "tester", "letters", {"x": b"x"})
    gone = await put(bus, "tester", "numbers", {"y": b"y"})
    await remove(bus, "numbers")
    sweeper, trees = Sweeper(bus, Shelf(bus), DatasetsConfig(abandoned_after=10)), Trees(bus)
    scope = scope_of("tester")
    await sweeper.round(100.0)
    assert await trees.find(scope, DATA, gone.versions[0].tree) is not None
    await sweeper.round(110.0)
    assert await trees.find(scope, DATA, gone.versions[0].tree) is None
    assert await trees.find(scope, DATA, kept.versions[0].tree) is not None
