"""A catalog that dies anywhere, in the middle of a transaction too, lists every job once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bus import subjects
from bus.records import Records
from schemas.job import Fact, State
from schemas.requests import JobList, ListJobs
from services.catalog.index import Index
from tests.crash.child import Program
from tests.crash.harness import Scenario, crash_everywhere
from tests.crash.worlds import Server, World
from tests.integration.test_catalog import add, record

SMALL_BATCHES = {"services.catalog.service:BATCH": 3, "services.catalog.service:PAUSE": 0.0}


async def listed(world: World, counts: dict[str, int]) -> JobList:
    """The answer, once it has these counts."""
    subject = subjects.request("catalog", "list")
    while True:
        answer = await world.ask(subject, ListJobs(), JobList)
        if answer.counts == counts:
            return answer
        await asyncio.sleep(0.02)


async def jobs_that_come_and_end(world: World) -> None:
    records = [record(n) for n in range(8)]
    await add(world.bus, *records)
    await listed(world, {"waiting": 8})
    for one in records[:4]:
        sequence = (await Records(world.bus).get(one.id)).sequence
        done = one.model_copy(update={"state": State.SUCCEEDED})
        await Records(world.bus).write(done, Fact.SUCCEEDED, sequence)
    answer = await listed(world, {"waiting": 4, "succeeded": 4})
    assert [job.id for job in answer.jobs] == [one.id for one in reversed(records)]
    assert [job.state for job in answer.jobs] == [State.WAITING] * 4 + [State.SUCCEEDED] * 4


def nothing(path: Path) -> None:
    pass


def broken(path: Path) -> None:
    """As a machine leaves it that died in the middle of a write."""
    make(path, 1)
    data = bytearray(path.read_bytes())
    data[3000:7096] = b"?" * 4096
    path.write_bytes(data)


def of_another_stream(path: Path) -> None:
    make(path, 1)


def of_another_version(path: Path) -> None:
    make(path, 1)
    index = Index(path)
    index._db.execute("pragma user_version = 99")
    index._db.commit()
    index.close()


def half_written(path: Path) -> None:
    """Jobs in the log of what is to be written, and not yet in the file itself."""
    index = Index(path)
    index.place(1)
    index.take([(7, record(99))])
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, file.with_name(file.name.replace(path.name, "copy")))
    index.close()
    for file in path.parent.glob("copy*"):
        file.rename(file.with_name(file.name.replace("copy", path.name)))


def make(path: Path, stream: int) -> None:
    index = Index(path)
    index.place(stream)
    index.take([(n, record(90 + n)) for n in range(1, 200)])
    index.close()


BEFORE: list[Callable[[Path], None]] = [
    nothing,
    broken,
    of_another_stream,
    of_another_version,
    half_written,
]


@pytest.mark.parametrize("before", BEFORE)
async def test_the_list_survives_a_crash_anywhere(
    worlds: Server, tmp_path: Path, before: Callable[[Path], None]
) -> None:
    outcome = await crash_everywhere(worlds, scenario(before, 1), tmp_path)
    outcome.check(at_least=8)


async def test_a_replica_lists_on_while_the_other_dies(worlds: Server, tmp_path: Path) -> None:
    outcome = await crash_everywhere(worlds, scenario(None, 2), tmp_path)
    outcome.check(at_least=4)


def scenario(before: Callable[[Path], None] | None, replicas: int) -> Scenario:
    """Replicas keep their index in memory: each has its own."""
    program = Program("catalog", constants=SMALL_BATCHES)
    prepare = partial(on_disk, before) if before is not None else None
    return Scenario(program, jobs_that_come_and_end, replicas, prepare=prepare)


def on_disk(before: Callable[[Path], None], folder: Path) -> dict[str, Any]:
    path = folder / "jobs.sqlite"
    before(path)
    return {"path": path}
