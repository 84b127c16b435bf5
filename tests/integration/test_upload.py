"""An upload becomes exactly one job, or nothing at all."""

from __future__ import annotations

import asyncio
import io
import random
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import zstandard

from bus import subjects
from bus.connection import Bus
from bus.errors import Refused
from bus.kv import Bucket
from bus.objects import Objects
from bus.records import Records
from schemas.ids import job_id
from schemas.job import Fact, State
from schemas.requests import BundleChunk, FetchBundle, Submit, Submitted
from schemas.spec import JobSpec
from schemas.worker import Claim
from services.scheduler import transitions
from services.upload import fetches
from services.upload.config import UploadConfig
from services.upload.service import request_key, run
from tests.unit.zips import File, build

NOISE = random.Random(7).randbytes(3 << 20)
ZIP = build(File(name=b"p/main.py"), File(name=b"p/notes.txt", data=b"hello"))


@dataclass
class Uploads:
    bus: Bus

    async def put(self, name: str, data: bytes) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield data

        await Objects(self.bus).put("uploads", name, pieces())

    async def submit(self, key: str = "k", **changes: Any) -> Submitted:
        asked = Submit(**{"owner": "me", "key": key, "spec": JobSpec(), **changes})
        return await self.bus.request(
            subjects.request("upload", "submit"), asked, Submitted, timeout=10
        )


@pytest.fixture
async def uploads(bus: Bus) -> AsyncIterator[Uploads]:
    task = asyncio.create_task(run(bus, UploadConfig()))
    yield Uploads(bus)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_answered_submission_is_recorded(uploads: Uploads) -> None:
    await uploads.put("u", ZIP)
    answer = await uploads.submit(upload="u")
    stored = await Records(uploads.bus).get(answer.record.id)
    assert answer.created
    assert stored.record == answer.record
    assert stored.record.state is State.WAITING
    assert "p/" in answer.notes[0]
    assert await Objects(uploads.bus).find("uploads", "u") is None


async def test_the_same_key_is_the_same_job(uploads: Uploads) -> None:
    await uploads.put("u", ZIP)
    first = await uploads.submit(upload="u")
    again = await uploads.submit(upload="gone")
    assert (again.created, again.record.id) == (False, first.record.id)


async def test_eight_at_once_with_one_key_are_one_job(uploads: Uploads) -> None:
    await uploads.put("u", ZIP)
    bundle = (await uploads.submit("other", upload="u")).record.bundle
    answers = await asyncio.gather(*(uploads.submit(bundle=bundle) for _ in range(8)))
    assert len({answer.record.id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1


async def test_a_key_whose_first_owner_died_is_finished_under_its_id(uploads: Uploads) -> None:
    await uploads.put("u", ZIP)
    job = job_id(1.8e9, 7)
    await Bucket(uploads.bus, "requests").create(request_key("me", "k"), job.encode())
    assert (await uploads.submit(upload="u")).record.id == job


async def test_a_refusal_leaves_nothing_and_the_key_stays_free(uploads: Uploads) -> None:
    await uploads.put("bad", b"not a zip")
    with pytest.raises(Refused) as caught:
        await uploads.submit(upload="bad")
    assert caught.value.problem.code == "not_a_zip"
    assert await Objects(uploads.bus).find("uploads", "bad") is None
    assert (await uploads.bus.api("STREAM.INFO.JOBS"))["state"]["messages"] == 0
    await uploads.put("good", ZIP)
    assert (await uploads.submit(upload="good")).created


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"upload": "never-sent"}, "no_such_upload"),
        ({"bundle": "0" * 64}, "no_such_bundle"),
        ({}, "no_bundle"),
    ],
)
async def test_what_is_not_there_cannot_be_submitted(
    uploads: Uploads, changes: dict[str, str], code: str
) -> None:
    with pytest.raises(Refused) as caught:
        await uploads.submit(**changes)
    assert caught.value.problem.code == code


async def test_the_entry_is_checked_for_a_stored_bundle_too(uploads: Uploads) -> None:
    await uploads.put("u", ZIP)
    bundle = (await uploads.submit(upload="u")).record.bundle
    with pytest.raises(Refused, match=r"there is no train\.py in it; there are: main\.py"):
        await uploads.submit("k2", bundle=bundle, spec=JobSpec(entry="train.py"))


async def claimed(uploads: Uploads, bundle: str) -> FetchBundle:
    """A job that w1 holds, and the fetch that it may ask for."""
    records = Records(uploads.bus)
    job = (await uploads.submit("held", bundle=bundle)).record
    for decision in (
        transitions.queue(job, "c", 1.0),
        transitions.claim(
            transitions.queue(job, "c", 1.0).record,  # type: ignore[union-attr]
            Claim(id="c", worker="w1", job=job.id),
            "secret",
            2.0,
        ),
    ):
        assert isinstance(decision, transitions.Step)
        sequence = (await records.get(job.id)).sequence
        await records.write(decision.record, decision.fact, sequence)
    return FetchBundle(job=job.id, attempt=1, nonce="secret", bundle=bundle)


async def fetch(uploads: Uploads, asked: FetchBundle, worker: str = "w1") -> BundleChunk:
    subject = subjects.request("upload", "fetch", worker)
    return await uploads.bus.request(subject, asked, BundleChunk)


async def test_a_worker_fetches_the_bundle_it_was_granted_chunk_by_chunk(uploads: Uploads) -> None:
    await uploads.put("u", build(File(), File(name=b"noise", data=NOISE, method=0)))
    bundle = (await uploads.submit(upload="u")).record.bundle
    asked = await claimed(uploads, bundle)
    data, chunks = b"", 0
    while True:
        chunk = await fetch(uploads, asked)
        data, chunks = data + chunk.data, chunks + 1
        if chunk.next is None:
            break
        asked = asked.model_copy(update={"cursor": chunk.next})
    assert (len(data), chunks) == (chunk.size, 7)
    archive = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["main.py", "noise"]
        assert tar.extractfile("noise").read() == NOISE  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "worker"), [({"nonce": "x"}, "w1"), ({"attempt": 2}, "w1"), ({}, "w2")]
)
async def test_nobody_else_gets_it(uploads: Uploads, changes: dict[str, Any], worker: str) -> None:
    await uploads.put("u", ZIP)
    bundle = (await uploads.submit(upload="u")).record.bundle
    asked = (await claimed(uploads, bundle)).model_copy(update=changes)
    with pytest.raises(Refused) as caught:
        await fetch(uploads, asked, worker)
    assert caught.value.problem.code == "not_granted"


async def test_a_request_that_is_repeated_while_it_is_at_work_gets_the_same_job(
    uploads: Uploads,
) -> None:
    await uploads.put("u", ZIP)
    answers = await asyncio.gather(*(uploads.submit(upload="u") for _ in range(6)))
    assert len({answer.record.id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1


async def test_a_bundle_that_was_deleted_is_stored_anew_when_it_is_sent_again(
    uploads: Uploads,
) -> None:
    await uploads.put("u", ZIP)
    bundle = (await uploads.submit(upload="u")).record.bundle
    await Objects(uploads.bus).delete("bundles", bundle)
    await uploads.put("u", ZIP)
    assert (await uploads.submit("k2", upload="u")).record.bundle == bundle
    assert (await fetch(uploads, await claimed(uploads, bundle))).next is None


async def test_an_upload_that_lost_a_chunk_is_refused_and_can_be_sent_again(
    uploads: Uploads,
) -> None:
    await uploads.put("u", ZIP)
    info = await Objects(uploads.bus).info("uploads", "u")
    await uploads.bus.api("STREAM.PURGE.OBJ_uploads", {"filter": info.chunk_subject})
    with pytest.raises(Refused) as caught:
        await uploads.submit(upload="u")
    assert caught.value.problem.code == "upload_lost"
    await uploads.put("u", ZIP)
    assert (await uploads.submit(upload="u")).created


async def test_a_fetch_stops_where_its_attempt_is_superseded_meanwhile(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetches, "GRANT_HOLDS", 0.0)
    await uploads.put("u", build(File(), File(name=b"noise", data=NOISE, method=0)))
    bundle = (await uploads.submit(upload="u")).record.bundle
    asked = await claimed(uploads, bundle)
    asked = asked.model_copy(update={"cursor": (await fetch(uploads, asked)).next})
    stored = await Records(uploads.bus).get(asked.job)
    ended = stored.record.model_copy(update={"state": State.CANCELLED})
    await Records(uploads.bus).write(ended, Fact.CANCELLED, stored.sequence)
    with pytest.raises(Refused) as caught:
        await fetch(uploads, asked)
    assert caught.value.problem.code == "not_granted"
