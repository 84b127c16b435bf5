"""An upload service that dies anywhere loses no submission and doubles none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bus import subjects
from bus.chunk_sweep import ChunkSweep
from bus.objects import Objects
from bus.records import Records
from bus.trees import BUNDLE, Trees
from schemas.job import State
from schemas.requests import Submit, Submitted
from schemas.spec import JobSpec
from tests.crash.child import Program
from tests.crash.harness import MOST, Play, Scenario, cases, crash_everywhere
from tests.crash.worlds import Server, World
from tests.integration.house import once
from tests.integration.piece_tools import Sender
from tests.unit.zips import File, build

NOISE = random.Random(7).randbytes(700_000)
ZIP = build(File(name=b"main.py"), File(name=b"noise", data=NOISE, method=0))
BIG = {"services.upload.archives:SMALL": 200_000}
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


async def submit_a_tree(world: World) -> None:
    """Its pieces are put by the page: here they are there. Twice, with one key."""
    ann = Sender(world.bus, "me")
    head, tree = await ann.send({"main.py": b"print(1)\n", "noise": NOISE})
    asked = Submit(owner="me", key="k", spec=JobSpec(), tree=head)
    subject = subjects.request("upload", "submit")
    first = await world.ask(subject, asked, Submitted)
    again = await world.ask(subject, asked, Submitted)
    assert (again.created, again.record) == (False, first.record)
    assert first.record.bundle == tree.id
    assert await world.messages("JOBS") == 1
    assert (await Trees(world.bus).get(ann.scope, BUNDLE, tree.id)).head.total == tree.size
    before = await world.messages("OBJ_chunks")
    assert await ChunkSweep(world.bus, -60.0).round() == 0
    assert await world.messages("OBJ_chunks") == before == tree.count + 1


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


@pytest.mark.parametrize(("play", "replicas"), cases([submit_twice, submit_a_tree], [submit_twice]))
async def test_a_submission_survives_a_crash_anywhere(
    worlds: Server, tmp_path: Path, play: Play, replicas: int
) -> None:
    program = Program("upload", constants=BIG)
    # A tree is written twice: before its pieces are looked for, and after.
    scenario = Scenario(program, play, replicas, most=max(2, MOST))
    outcome = await crash_everywhere(worlds, scenario, tmp_path)
    outcome.check(at_least=6)
