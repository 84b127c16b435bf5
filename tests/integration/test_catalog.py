"""The catalog finds what was submitted, and can be made anew from the facts at any time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bus import subjects
from bus.connection import Bus
from bus.records import Records
from schemas.ids import job_id
from schemas.job import Fact, Record, State
from schemas.requests import JobList, ListJobs
from schemas.spec import JobSpec
from services.catalog.index import Index
from services.catalog.service import CatalogConfig, run


def record(number: int, state: State = State.WAITING, owner: str = "me", **spec: Any) -> Record:
    return Record(
        id=job_id(1.8e9 + number, 0), owner=owner, spec=JobSpec(**spec), bundle="b", state=state,
        submitted_at=float(number), changed_at=float(number),
    )  # fmt: skip


async def add(bus: Bus, *records: Record) -> None:
    for one in records:
        await Records(bus).write(one, Fact.SUBMITTED, 0)


@contextlib.asynccontextmanager
async def catalog(bus: Bus, path: Path | None = None) -> AsyncIterator[None]:
    task = asyncio.create_task(run(bus, CatalogConfig(path)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def listed(bus: Bus, total: int, **asked: Any) -> JobList:
    """The answer, once the catalog knows of ``total`` jobs."""
    subject = subjects.request("catalog", "list")
    async with asyncio.timeout(10):
        while True:
            everything = await bus.request(subject, ListJobs(limit=1), JobList)
            if sum(everything.counts.values()) == total:
                return await bus.request(subject, ListJobs(**asked), JobList)
            await asyncio.sleep(0.02)


async def test_the_newest_job_comes_first_and_pages_have_no_gap(bus: Bus) -> None:
    records = [record(n) for n in range(25)]
    await add(bus, *records)
    async with catalog(bus):
        found: list[str] = []
        page = await listed(bus, 25, limit=10)
        while True:
            found += [job.id for job in page.jobs]
            if not page.more:
                break
            page = await listed(bus, 25, limit=10, before=found[-1])
    assert found == [one.id for one in reversed(records)]


async def test_jobs_are_found_by_state_pool_owner_and_words(bus: Bus) -> None:
    await add(
        bus,
        record(1, name="digits sweep", pool="gpu"),
        record(2, State.FAILED, name="Digits"),
        record(3, owner="ada", name="speech"),
    )
    async with catalog(bus):
        cases: list[tuple[dict[str, Any], int]] = [
            ({"state": (State.FAILED,)}, 1),
            ({"state": (State.FAILED, State.WAITING)}, 3),
            ({"pool": "gpu"}, 1),
            ({"owner": "ada"}, 1),
            ({"owners": ("ada", "nobody")}, 1),
            ({"owners": ("ada", "me")}, 3),
            ({"owners": ()}, 0),
            ({"text": "DIGITS"}, 2),
            ({"text": "digits sweep"}, 1),
            ({"text": "' or 1=1 --"}, 0),
        ]
        for asked, number in cases:
            assert len((await listed(bus, 3, **asked)).jobs) == number, asked
        counts = (await listed(bus, 3, text="digits", state=(State.FAILED,))).counts
        assert counts == {"waiting": 1, "failed": 1}
        assert (await listed(bus, 3, owners=("ada",))).counts == {"waiting": 1}


async def test_a_newer_fact_replaces_the_row(bus: Bus) -> None:
    first = record(1)
    await add(bus, first)
    async with catalog(bus):
        await listed(bus, 1)
        sequence = (await Records(bus).get(first.id)).sequence
        done = first.model_copy(update={"state": State.CANCELLED})
        await Records(bus).write(done, Fact.CANCELLED, sequence)
        async with asyncio.timeout(10):
            while (await listed(bus, 1)).counts != {"cancelled": 1}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_an_index_on_disk_goes_on_where_it_stopped(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    await add(bus, record(1))
    async with catalog(bus, path):
        await listed(bus, 1)
    await add(bus, record(2))
    async with catalog(bus, path):
        assert len((await listed(bus, 2)).jobs) == 2


def test_an_index_of_another_stream_is_made_anew(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    assert index.place(1) == 0
    index.take([(7, record(1))])
    assert index.place(1) == 7
    assert index.place(2) == 0
    assert index.list(ListJobs()).jobs == ()
    index.close()


def test_an_older_fact_changes_nothing(tmp_path: Path) -> None:
    index = Index(None)
    one = record(1)
    index.place(1)
    index.take([(9, one.model_copy(update={"state": State.SUCCEEDED})), (8, one)])
    assert index.list(ListJobs()).counts == {"succeeded": 1}
    index.close()


async def test_an_index_can_be_made_from_nothing_at_any_time(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    await add(bus, *(record(n) for n in range(5)))
    async with catalog(bus, path):
        before = await listed(bus, 5)
    for file in tmp_path.glob("index.sqlite*"):
        file.unlink()
    async with catalog(bus, path):
        assert await listed(bus, 5) == before


@pytest.mark.parametrize("offset", [0, 5000])
async def test_a_broken_index_is_made_anew(bus: Bus, tmp_path: Path, offset: int) -> None:
    """A machine that dies in the middle of a write leaves one behind."""
    path = tmp_path / "index.sqlite"
    await add(bus, *(record(n) for n in range(200)))
    async with catalog(bus, path):
        await listed(bus, 200)
    data = bytearray(path.read_bytes())
    data[offset : offset + 4096] = b"?" * 4096
    path.write_bytes(data)
    async with catalog(bus, path):
        assert (await listed(bus, 200, limit=1)).more


async def test_pages_stay_whole_while_new_jobs_come(bus: Bus) -> None:
    await add(bus, *(record(n) for n in range(20)))
    async with catalog(bus):
        page = await listed(bus, 20, limit=8)
        found = [job.id for job in page.jobs]
        for number in range(20, 24):
            await add(bus, record(number))
            page = await listed(bus, number + 1, limit=4, before=found[-1])
            found += [job.id for job in page.jobs]
    assert found == [record(n).id for n in reversed(range(20))][: len(found)]
    assert len(found) == 20
    assert not page.more
