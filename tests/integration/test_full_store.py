"""JetStream without room: a submission is refused in clear words, and goes once there is room."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest

from bus import subjects
from bus.connection import Bus
from bus.errors import Refused
from bus.objects import Objects
from schemas.job import State
from schemas.requests import Submit, Submitted
from schemas.spec import JobSpec
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.integration.house import once, zipped
from tests.integration.test_scheduler import Worker, in_state, scheduler, until


@contextlib.asynccontextmanager
async def upload(bus: Bus) -> AsyncIterator[None]:
    task = asyncio.create_task(run_upload(bus, UploadConfig()))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def submit(bus: Bus, key: str, **source: str) -> Submitted:
    asked = Submit(owner="me", key=key, spec=JobSpec(), **source)
    return await bus.request(subjects.request("upload", "submit"), asked, Submitted, timeout=10)


async def test_a_full_stream_of_jobs_refuses_a_submission_and_takes_it_later(bus: Bus) -> None:
    async with upload(bus), scheduler(bus):
        await Worker(bus, "w1").beat()
        name = uuid.uuid4().hex
        await Objects(bus).put("uploads", name, once(zipped({"main.py": "print(1)"})))
        first = (await submit(bus, "first", upload=name)).record
        await until(bus, first.id, in_state(State.QUEUED))
        config = (await bus.api("STREAM.INFO.JOBS"))["config"]
        await bus.api("STREAM.UPDATE.JOBS", {**config, "max_bytes": 1})
        with pytest.raises(Refused) as caught:
            await submit(bus, "second", bundle=first.bundle)
        assert (caught.value.problem.code, caught.value.problem.status) == ("store_full", 507)
        await bus.api("STREAM.UPDATE.JOBS", config)
        again = await submit(bus, "second", bundle=first.bundle)
        await until(bus, again.record.id, in_state(State.QUEUED))
