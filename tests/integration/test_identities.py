"""Every part works with rights of its own, and with no more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.connection import Bus
from schemas.job import State
from services.archive.config import ArchiveConfig
from services.archive.service import run as run_archive
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.integration.house import House, dummy
from tests.integration.identified import Identified, identified


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Identified]:
    async with identified(tmp_path) as made:
        yield made


@contextlib.asynccontextmanager
async def house_of(
    secured: Identified, folder: Path, sweep_every: float = SchedulerConfig.sweep_every
) -> AsyncIterator[House]:
    """Each service with its own credentials; agents join as ``w1`` of pool ``default``."""
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        buses = {
            role: await stack.enter_async_context(Bus.connect(secured.config(role)))
            for role in ("scheduler", "upload", "archive", "ui")
        }
        scheduler = SchedulerConfig(sweep_every=sweep_every)
        parts = [
            tasks.create_task(run_scheduler(buses["scheduler"], scheduler)),
            tasks.create_task(run_upload(buses["upload"], UploadConfig())),
            tasks.create_task(run_archive(buses["archive"], ArchiveConfig(seal_after=0.1))),
        ]
        house = House(buses["ui"], secured.worker("w1"), folder, tasks)
        yield house
        for task in (*house.agents, *parts):
            task.cancel()


async def test_a_job_runs_to_its_end_with_no_right_missing(
    secured: Identified, tmp_path: Path
) -> None:
    async with house_of(secured, tmp_path) as house:
        house.agent()
        job = await house.submit(environment=dummy(LINES=50))
        record = await house.ended(job)
        assert record.state is State.SUCCEEDED
        assert (await house.log(record)).count(b"\n") == 50
    assert not secured.violations()
