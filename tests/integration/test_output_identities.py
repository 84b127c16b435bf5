"""Outputs between identities: a worker reaches the service alone, the page reads and writes not."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus import subjects
from bus.connection import Bus
from bus.errors import Refused
from bus.outputs import OutputStore, chunk_subject, head_subject
from schemas.message import Empty
from schemas.outputs import CHUNK, PutChunks
from tests.integration.identified import Identified, identified, probe
from tests.integration.output_tools import JOB, Case, serving


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Identified]:
    async with identified(tmp_path) as made:
        yield made


async def test_each_does_its_part_and_no_more(secured: Identified, tmp_path: Path) -> None:
    data = os.urandom(3 * CHUNK + 1)
    async with (
        Bus.connect(secured.config("admin")) as admin,
        Bus.connect(secured.config("outputs")) as service,
        Bus.connect(secured.config("ui")) as page,
        Bus.connect(secured.worker("w1")) as worker,
    ):
        case = Case(admin, tmp_path)
        grant = await case.attempt(1)
        (case.root / "model").write_bytes(data)
        async with serving(service, asker=admin):
            outputs = Case(worker, tmp_path)
            outputs.record = case.record
            end = await outputs.outputs(grant).at_end()
            assert end is not None
            assert end.stored, end.detail
            seen = OutputStore(page)
            head = await seen.head(JOB, 1)
            assert head is not None
            file = (await seen.manifest(head.head)).files[0]
            assert b"".join([part async for part in seen.read(JOB, file)]) == data
            # Whoever knows the nonce is still not the worker that it was given to.
            async with Bus.connect(secured.worker("eve")) as eve:
                put = PutChunks(job=JOB, attempt=1, nonce="n1", digests=b"", chunks=())
                with pytest.raises(Refused, match="superseded"):
                    await eve.request(subjects.request("outputs", "put", "eve"), put, Empty)
    async with probe(secured.config("ui")) as tries:
        for subject in (chunk_subject(JOB, "00"), head_subject(JOB, 1)):
            assert not await tries.may_publish(subject, b"")
    async with probe(secured.worker("eve")) as tries:
        for subject in (
            subjects.request("outputs", "put", "w1"),
            subjects.request("outputs", "commit", "w1"),
            chunk_subject(JOB, "00"),
            head_subject(JOB, 1),
            "$JS.API.STREAM.INFO.OBJ_outputs",
            "$JS.API.DIRECT.GET.OBJ_outputs",
            "$JS.API.STREAM.PURGE.OBJ_outputs",
        ):
            assert not await tries.may_publish(subject, b"")
