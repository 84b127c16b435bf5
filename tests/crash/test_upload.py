"""An upload service that dies anywhere loses no submission and doubles none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bus import subjects
from bus.objects import Objects
from bus.records import Records
from schemas.job import State
from schemas.requests import Submit, Submitted
from schemas.spec import JobSpec
from tests.crash.child import Program
from tests.crash.harness import Scenario, crash_everywhere
from tests.crash.worlds import Server, World
from tests.integration.house import once
from tests.unit.zips import File, build

NOISE = random.Random(7).randbytes(700_000)
ZIP = build(File(name=b"main.py"), File(name=b"noise", data=NOISE, method=0))
BIG = {"services.upload.service:SMALL": 200_000}
"""The way of a bundle that is too big for memory."""


async def submit(world: World, upload: str) -> Submitted:
    await Objects(world.bus).put("uploads", upload, once(ZIP))
    asked = Submit(owner="me", key="k", spec=JobSpec(), upload=upload)
    return await world.ask(subjects.request("upload", "submit"), asked, Submitted)


async def submit_twice(world: World) -> None:
    """With one key, as a client does that heard no answer."""
    first = await submit(world, "u1")
    again = await submit(world, "u2")
    assert again.record == first.record
    assert not again.created
    await check(world, first)


async def check(world: World, answer: Submitted) -> None:
    stored = await Records(world.bus).get(answer.record.id)
    assert stored.record == answer.record
    assert stored.record.state is State.WAITING
    assert await world.messages("JOBS") == 1
    assert await world.messages("KV_requests") == 1
    objects = Objects(world.bus)
    assert [info.name async for info in objects.list("uploads")] == []
    bundles = [info async for info in objects.list("bundles")]
    assert [info.name for info in bundles] == [answer.record.bundle]
    for bucket in ("uploads", "bundles"):
        await objects.sweep(bucket, -1.0)
    assert len(await world.subjects("OBJ_bundles")) == 2
    assert not [one for one in await world.subjects("OBJ_uploads") if ".C." in one]
    stored_bytes = [data async for data in objects.get("bundles", answer.record.bundle)]
    assert sum(map(len, stored_bytes)) == bundles[0].size


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_submission_survives_a_crash_anywhere(
    worlds: Server, tmp_path: Path, replicas: int
) -> None:
    program = Program("upload", constants=BIG)
    outcome = await crash_everywhere(worlds, Scenario(program, submit_twice, replicas), tmp_path)
    outcome.check(at_least=6)
