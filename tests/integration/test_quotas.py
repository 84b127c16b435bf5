"""Nobody submits more than their quota, and everybody is told which limit it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, Refused
from bus.objects import Objects
from bus.quotas import QuotaTable
from schemas.job import Fact, State
from schemas.problem import Problem
from schemas.quota import GetUsage, Kind, Quota, SetQuota, Usage
from schemas.requests import Admit, Admitted, Submit, Submitted
from schemas.spec import JobSpec
from services.catalog.service import CatalogConfig
from services.catalog.service import run as run_catalog
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.integration.house import once
from tests.integration.ui_run import Run
from tests.unit.zips import File, build

ZIP = build(File(name=b"main.py", data=b"print(1)\n"))
OTHER = build(File(name=b"main.py", data=b"print(2)\n" * 1000))


@contextlib.asynccontextmanager
async def services(
    bus: Bus, quota: Quota, replicas: int = 1, *, catalog: bool = True
) -> AsyncIterator[None]:
    parts = [run_upload(bus, UploadConfig(quota=quota)) for _ in range(replicas)]
    if catalog:
        parts.append(run_catalog(bus, CatalogConfig()))
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def submit(
    bus: Bus, key: str, data: bytes = ZIP, owner: str = "ann", attempts: int = 5
) -> Submitted:
    await Objects(bus).put("uploads", f"{owner}-{key}", once(data))
    asked = Submit(owner=owner, key=key, spec=JobSpec(), upload=f"{owner}-{key}", address="::1")
    subject = subjects.request("upload", "submit")
    return await bus.request(subject, asked, Submitted, timeout=15, attempts=attempts)


async def problem_of(bus: Bus, key: str, data: bytes = ZIP) -> Problem:
    with pytest.raises(Refused) as caught:
        await submit(bus, key, data)
    return caught.value.problem


async def used(bus: Bus, owner: str = "ann") -> Usage:
    info = await bus.api("STREAM.INFO.JOBS")
    asked = GetUsage(user=owner, since=info["state"]["last_seq"])
    return await bus.request(subjects.request("catalog", "usage"), asked, Usage, timeout=5)


async def test_a_job_beyond_the_queue_is_refused_with_the_limit_and_what_waits(bus: Bus) -> None:
    async with services(bus, Quota(queued=2)):
        for key in "ab":
            await submit(bus, key)
        problem = await problem_of(bus, "c")
        assert (problem.status, problem.code) == (429, "quota_queued")
        assert problem.retry_after
        assert "2 of your jobs wait already, and your limit is 2" in problem.detail
        assert await Objects(bus).find("uploads", "ann-c") is None
        assert (await submit(bus, "c", owner="ben")).created
        assert (await used(bus)).queued == 2


async def test_a_key_that_stands_for_a_job_is_never_refused(bus: Bus) -> None:
    async with services(bus, Quota(queued=1, storage=2000)):
        first = await submit(bus, "a")
        again = await submit(bus, "a", OTHER)
        assert (again.created, again.record.id) == (False, first.record.id)
        asked = Submit(owner="ann", key="a", spec=JobSpec(), bundle=first.record.bundle)
        subject = subjects.request("upload", "submit")
        stored = await bus.request(subject, asked, Submitted, timeout=15)
        assert (stored.created, stored.record.id) == (False, first.record.id)
        admit = subjects.request("upload", "admit")
        told = await bus.request(admit, Admit(owner="ann", key="a", size=1 << 50), Admitted)
        assert told.earlier is not None
        assert told.earlier.record.id == first.record.id


async def test_it_is_told_before_a_byte_is_sent(bus: Bus) -> None:
    async with services(bus, Quota(queued=1, upload=1000)):
        admit = subjects.request("upload", "admit")
        told = await bus.request(admit, Admit(owner="ann", key="a", size=900), Admitted)
        assert (told.most, told.earlier) == (1000, None)
        with pytest.raises(Refused, match="your limit is 1000 bytes for one upload"):
            await bus.request(admit, Admit(owner="ann", key="a", size=1001), Admitted)
        await submit(bus, "a")
        with pytest.raises(Refused, match="1 of your jobs wait already"):
            await bus.request(admit, Admit(owner="ann", key="b"), Admitted)


async def test_an_upload_of_more_bytes_than_allowed_is_refused_whoever_let_it_in(bus: Bus) -> None:
    async with services(bus, Quota(upload=len(ZIP))):
        problem = await problem_of(bus, "a", OTHER)
        assert (problem.status, problem.code) == (413, "quota_upload")
        assert f"your limit is {len(ZIP)} bytes" in problem.detail
        assert (await submit(bus, "b")).created


async def test_storage_counts_each_bundle_once_and_for_each_owner(bus: Bus) -> None:
    async with services(bus, Quota(storage=9000)):
        for key in "abc":
            await submit(bus, key)
        assert await used(bus) == Usage(queued=3, storage=9, sequence=3)
        problem = await problem_of(bus, "d", OTHER)
        assert (problem.status, problem.code) == (413, "quota_storage")
        assert "have 9 bytes and this one 8.8 KiB; your limit is 8.8 KiB" in problem.detail
        stored = [info.name async for info in Objects(bus).list("bundles")]
        assert len(stored) == 1
        assert (await submit(bus, "d", OTHER, owner="ben")).created
        assert (await used(bus, "ben")).storage == 9000


async def test_jobs_count_as_queued_until_a_worker_has_them(bus: Bus) -> None:
    run = Run(bus)
    await run.step(Fact.SUBMITTED, owner="ann")
    async with services(bus, Quota()):
        assert await used(bus) == Usage(queued=1, sequence=1)
        await run.step(Fact.QUEUED, state=State.QUEUED)
        assert await used(bus) == Usage(running=1, queued=1, sequence=2)
        await run.begin()
        assert await used(bus) == Usage(running=1, sequence=3)
        await run.end()
        assert await used(bus) == Usage(sequence=4)


async def test_what_an_admin_sets_counts_at_once(bus: Bus) -> None:
    table = QuotaTable(bus, Quota(queued=1))
    async with services(bus, Quota(queued=1)):
        await submit(bus, "a")
        await problem_of(bus, "b")
        await table.change(SetQuota(user="ann", limits={Kind.QUEUED: None}, by="root"), 1.0)
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(Refused):
                    await submit(bus, "b")
                    break
        await table.change(SetQuota(user="ann", clear=(Kind.QUEUED,), by="root"), 2.0)
        assert (await table.read("ann")).of("ann").queued == 1


async def test_two_replicas_admit_one_job_too_many_at_most(bus: Bus) -> None:
    async with services(bus, Quota(queued=5), replicas=2):
        await submit(bus, "warm", owner="ben")
        answers = await asyncio.gather(
            *(submit(bus, f"k{n}") for n in range(24)), return_exceptions=True
        )
        made = [one for one in answers if isinstance(one, Submitted)]
        assert 5 <= len(made) <= 6
        refused = [one for one in answers if isinstance(one, Refused)]
        assert {one.problem.code for one in refused} == {"quota_queued"}
        assert len(made) + len(refused) == 24


async def test_nobody_passes_a_limit_while_nobody_can_count(bus: Bus) -> None:
    async with services(bus, Quota(queued=1), catalog=False):
        with pytest.raises(BusError) as caught:
            await submit(bus, "a", attempts=1)
        assert not isinstance(caught.value, Refused) or caught.value.problem.status == 503
        await QuotaTable(bus, Quota()).change(
            SetQuota(user="ben", limits={Kind.QUEUED: None}, by="root"), 1.0
        )
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(BusError):
                    await submit(bus, "b", owner="ben", attempts=1)
                    break
