"""Pieces and parts over HTTP: nothing is believed, and what was cut goes on."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from bus.chunks import ChunkStore
from bus.connection import Bus
from bus.objects import Objects
from schemas.quota import Quota
from schemas.tree import PIECE, PIECE_BYTES, scope_of
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.integration.piece_tools import head_of
from tests.unit.trees import tree_of
from tests.unit.zips import File, build
from ui.api import submitting, uploads
from ui.app import serving
from ui.config import UiConfig

FILES = {"main.py": b"print(1)\n", "big": random.Random(9).randbytes(700_000)}
OWNER = scope_of("local")
UPLOAD = "ab" * 16
API = "/api/v1"
JSON = {"Content-Type": "application/json"}


@dataclass
class Page:
    bus: Bus
    http: aiohttp.ClientSession

    async def asked(self, method: str, path: str, **sent: Any) -> tuple[int, dict[str, Any]]:
        async with self.http.request(method, API + path, **sent) as answer:
            return answer.status, json.loads(await answer.text())

    async def refused(self, method: str, path: str, **sent: Any) -> tuple[int, str]:
        status, body = await self.asked(method, path, **sent)
        assert body.get("title"), body
        return status, body["code"]

    async def missing(self, digests: list[bytes], size: int = 0) -> list[str]:
        value = {"digests": b"".join(digests).hex(), "size": size}
        status, body = await self.asked("POST", "/chunks/missing", json=value)
        assert status == 200, body
        return [body["missing"][at : at + 64] for at in range(0, len(body["missing"]), 64)]


@contextlib.asynccontextmanager
async def page_of(
    bus: Bus, quota: Quota | None = None, limit: int = 64 << 20
) -> AsyncIterator[Page]:
    task = asyncio.create_task(run_upload(bus, UploadConfig(quota=quota or Quota())))
    config = UiConfig(port=0, upload_limit=limit)
    try:
        async with serving(bus, config) as address, aiohttp.ClientSession(address) as http:
            yield Page(bus, http)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def page(bus: Bus) -> AsyncIterator[Page]:
    async with page_of(bus) as page:
        yield page


def frame(data: bytes, digest: bytes | None = None, size: int | None = None) -> bytes:
    named = hashlib.sha256(data).digest() if digest is None else digest
    return PIECE.pack(named, len(data) if size is None else size) + data


async def test_what_is_missing_is_sent_and_becomes_a_job(page: Page) -> None:
    tree, pieces = tree_of(FILES)
    head, parts = head_of(tree.pack())
    every = {**pieces, **parts}
    assert await page.missing(list(every), tree.size) == [digest.hex() for digest in every]
    body = b"".join(frame(data) for data in every.values())
    assert await page.asked("PUT", "/chunks", data=body) == (200, {"stored": 4, "new": 4})
    assert await page.asked("PUT", "/chunks", data=body) == (200, {"stored": 4, "new": 0})
    assert await page.missing(list(every)) == []
    named = {"chunks": head.chunks.hex(), "size": head.size}
    status, answer = await page.asked("POST", "/jobs", json={"spec": {}, "tree": named})
    assert (status, answer["job"]["bundle"]) == (201, tree.id)
    lacking = {"spec": {}, "tree": {"chunks": "00" * 32, "size": 9}}
    assert await page.refused("POST", "/jobs", json=lacking) == (409, "pieces_missing")


BAD_BODIES = {
    "a wrong digest": frame(b"x", bytes(32)),
    "an empty piece": frame(b""),
    "a piece that is too large": frame(bytes(PIECE_BYTES + 1)),
    "a length of which less comes": frame(b"x", size=9),
    "half a header": frame(b"x")[:20],
    "noise": b"\xff" * 1000,
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_piece_that_is_not_what_it_says_is_refused(page: Page, body: bytes) -> None:
    good = frame(b"good")
    assert await page.refused("PUT", "/chunks", data=good + body) == (422, "bad_piece")
    assert await page.missing([hashlib.sha256(b"good").digest()]) == []
    assert len(await ChunkStore(page.bus).all_of(OWNER)) == 1


async def test_a_body_that_lies_about_its_length_stores_what_came_whole(page: Page) -> None:
    url = page.http._base_url
    assert url is not None

    async def begun(length: int, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = f"PUT {API}/chunks HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: {length}\r\n\r\n"
        writer.write(head.encode() + body)
        return reader, writer

    reader, writer = await begun(40 << 20, b"")
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    reader, writer = await begun(10_000, frame(b"one") + frame(b"two")[:30])
    async with asyncio.timeout(20):
        while await page.missing([hashlib.sha256(b"one").digest()]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    writer.close()
    assert await page.missing([hashlib.sha256(b"two").digest()])
    assert (await page.asked("PUT", "/chunks", data=b""))[1] == {"stored": 0, "new": 0}


@pytest.mark.parametrize(
    "value",
    [{"digests": "0"}, {"digests": "zz" * 32}, {"digests": "00" * 32 * 4097}, {"size": -1}, []],
    ids=["short", "no digits", "too many", "negative", "no object"],
)
async def test_a_question_that_is_none_is_refused(page: Page, value: Any) -> None:
    status, code = await page.refused("POST", "/chunks/missing", json=value)
    assert (status, code) in ((422, "invalid"), (413, "too_many_digests"), (422, "not_json"))


async def test_quotas_hold_for_pieces_and_for_parts(bus: Bus) -> None:
    async with page_of(bus, Quota(upload=1000)) as page:
        value = {"digests": "", "size": 1001}
        assert await page.refused("POST", "/chunks/missing", json=value) == (413, "quota_upload")
        assert (await page.asked("PUT", "/chunks", data=frame(b"a" * 600)))[0] == 200
        assert (await page.asked("PUT", "/chunks", data=frame(b"a" * 600)))[0] == 413
        assert await page.refused("PUT", "/chunks", data=frame(b"b" * 600)) == (413, "quota_upload")
        part = f"/uploads/{UPLOAD}/0"
        assert await page.refused("PUT", part, data=b"c" * 1001) == (413, "quota_upload")
        tree, pieces = tree_of({"main.py": bytes(2000)})
        head, parts = head_of(tree.pack())
        for digest, data in {**pieces, **parts}.items():
            await ChunkStore(bus).put(OWNER, digest, data)
        named = {"chunks": head.chunks.hex(), "size": head.size}
        sent = {"spec": {}, "tree": named}
        assert await page.refused("POST", "/jobs", json=sent) == (413, "quota_upload")


async def test_an_upload_in_parts_goes_on_where_it_was_cut(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (submitting, uploads):
        monkeypatch.setattr(module, "UPLOAD_PART", 300_000)
    zipped = build(File(name=b"main.py"), File(name=b"big", data=FILES["big"], method=0))
    parts = [zipped[at : at + 300_000] for at in range(0, len(zipped), 300_000)]
    for number in (0, 2):
        path = f"/uploads/{UPLOAD}/{number}"
        status, answer = await page.asked("PUT", path, data=parts[number])
        assert (status, answer["parts"]) == (200, number + 1)
    state = (200, {"parts": 1, "part_bytes": 300_000})
    assert await page.asked("GET", f"/uploads/{UPLOAD}") == state
    sent = {"spec": {}, "upload": UPLOAD, "parts": 3}
    other = {**sent, "upload": "cd" * 16}
    assert await page.refused("POST", "/jobs", json=other) == (404, "no_such_upload")
    await page.asked("PUT", f"/uploads/{UPLOAD}/1", data=parts[1][:-1])  # and again, whole
    await page.asked("PUT", f"/uploads/{UPLOAD}/1", data=parts[1])
    assert (await page.asked("GET", f"/uploads/{UPLOAD}"))[1]["parts"] == 3
    key = {"Idempotency-Key": "one"}
    status, answer = await page.asked("POST", "/jobs", json=sent, headers=key)
    assert (status, answer["job"]["bundle_size"]) == (201, 700_000 + 9)
    assert [info async for info in Objects(page.bus).list("uploads")] == []
    again = await page.asked("POST", "/jobs", json=sent, headers=key)
    assert (again[0], again[1]["job"]["id"]) == (200, answer["job"]["id"])


@pytest.mark.parametrize(
    ("path", "data", "status", "code"),
    [
        ("/uploads/x/0", b"x", 404, "no_such_upload"),
        (f"/uploads/{UPLOAD}/-1", b"x", 422, "bad_part"),
        (f"/uploads/{UPLOAD}/99999", b"x", 422, "bad_part"),
        (f"/uploads/{UPLOAD}/0", bytes((8 << 20) + 1), 413, "body_too_large"),
        (f"/uploads/{UPLOAD}/8", b"x", 413, "bundle_too_large"),
    ],
    ids=["id", "negative", "far", "part", "whole"],
)
async def test_a_part_that_cannot_be_is_refused(
    page: Page, path: str, data: bytes, status: int, code: str
) -> None:
    assert await page.refused("PUT", path, data=data) == (status, code)


@pytest.mark.parametrize(
    "sources", [{}, {"upload": UPLOAD}, {"upload": UPLOAD, "parts": 1, "bundle": "0" * 64}]
)
async def test_a_submission_names_one_source(page: Page, sources: dict[str, Any]) -> None:
    status, _ = await page.refused("POST", "/jobs", json={"spec": {}, **sources})
    assert status == 422
