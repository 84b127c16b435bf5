"""A page that dies in the middle of an upload costs the client one repeat, and makes one job."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bus.errors import Unanswered
from bus.objects import Objects
from bus.records import Records
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.crash.child import Program
from tests.crash.front import front, pages
from tests.crash.harness import EVERYTHING, Scenario, crash_everywhere
from tests.crash.worlds import Server, World
from tests.unit.zips import File, build

NOISE = random.Random(7).randbytes(1_200_000)
ZIP = build(File(name=b"main.py"), File(name=b"noise", data=NOISE, method=0))
TRIES = 200
PAUSE = 0.05
"""Seconds between two tries of a client whose page is gone."""


async def an_upload_that_is_repeated(world: World) -> None:
    """With one Idempotency-Key until it is answered; then once more, as if it had not been."""
    async with (
        serving_uploads(world),
        front(world.folder / "pages") as url,
        aiohttp.ClientSession(url) as http,
    ):
        status, first = await post(http)
        assert status in (200, 201)
        again, second = await post(http)
        assert (again, second["job"]["id"]) == (200, first["job"]["id"])
        stored = await Records(world.bus).get(first["job"]["id"])
        assert stored.record.bundle
        assert await world.messages("JOBS") == 1
        assert await world.messages("KV_requests") == 1
    await swept(world)


async def post(http: aiohttp.ClientSession) -> tuple[int, dict[str, Any]]:
    for _ in range(TRIES):
        form = aiohttp.FormData()
        form.add_field("spec", json.dumps({"name": "digits"}), content_type="application/json")
        form.add_field("bundle", ZIP, filename="job.zip", content_type="application/zip")
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with http.post(
                "/api/v1/jobs", data=form, headers={"Idempotency-Key": "k"}
            ) as answer:
                assert answer.status < 500, await answer.text()
                return answer.status, await answer.json()
        await asyncio.sleep(PAUSE)
    raise AssertionError("the page did not come back")


@contextlib.asynccontextmanager
async def serving_uploads(world: World, **config: float) -> AsyncIterator[None]:
    task = asyncio.create_task(run_upload(world.bus, UploadConfig(**config)))  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def swept(world: World) -> None:
    """What the page had stored of an upload that it never submitted goes with the sweeps."""
    async with serving_uploads(world, abandoned_after=-1.0):
        objects = Objects(world.bus)
        while [info async for info in objects.list("uploads")]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await sweep(objects)
    assert not [one for one in await world.subjects("OBJ_uploads") if ".C." in one]
    bundles = [info async for info in objects.list("bundles")]
    assert len(bundles) == 1


async def sweep(objects: Objects) -> None:
    """Until the store answers: where others write a lot to the same disk, it may take seconds."""
    while True:
        with contextlib.suppress(Unanswered):
            await objects.sweep("uploads", -1.0)
            return


@pytest.mark.parametrize("replicas", [1, 2])
async def test_an_upload_survives_a_crash_anywhere(
    worlds: Server, tmp_path: Path, replicas: int
) -> None:
    """With two replicas it is repeated at the other one."""
    scenario = Scenario(
        Program("ui"),
        an_upload_that_is_repeated,
        replicas,
        prepare=pages,
        most=3 if EVERYTHING else 2,
    )
    outcome = await crash_everywhere(worlds, scenario, tmp_path)
    outcome.check(at_least=5)
