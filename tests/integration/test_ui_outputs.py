"""Outputs over HTTP: listed, read in parts, zipped, and never run by a browser."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from bus.connection import Bus
from bus.outputs import OutputStore
from schemas.outputs import CHUNK
from tests.integration.output_tools import JOB, Case, serving
from ui.app import serving as serving_ui
from ui.config import UiConfig

HOSTILE = {
    "page.html": b"<script>alert(1)</script>",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    'a "name"; x\n.txt': b"strange",
    "..\\..\\evil.bat": b"windows",
    "model/weights.pt": os.urandom(2 * CHUNK + 5),
    "model/notes.txt": b"notes",
    "loss.png": b"\x89PNG",
    "empty": b"",
}
Session = aiohttp.ClientSession
BASE = f"/api/v1/jobs/{JOB}/outputs"


@pytest.fixture
async def case(bus: Bus, tmp_path: Path) -> Case:
    case = Case(bus, tmp_path)
    grant = await case.attempt(1)
    for name, data in HOSTILE.items():
        (case.root / name).parent.mkdir(exist_ok=True)
        (case.root / name).write_bytes(data)
    (case.root / "link").symlink_to("/etc/passwd")
    async with serving(bus):
        await case.sender(grant).round(str(case.root), final=True)
    return case


@pytest.fixture
async def http(case: Case) -> AsyncIterator[Session]:
    async with serving_ui(case.bus, UiConfig(port=0)) as address, Session(address) as session:
        yield session


async def test_outputs_are_listed(http: Session) -> None:
    async with http.get(BASE) as answer:
        body = await answer.json()
    assert [row["path"] for row in body["files"]] == sorted(HOSTILE)
    assert (body["attempt"], body["attempts"], body["final"]) == (1, [1], True)
    assert body["size"] == sum(map(len, HOSTILE.values()))
    rows = {row["path"]: row for row in body["files"]}
    assert rows["model/notes.txt"]["sha256"] == hashlib.sha256(b"notes").hexdigest()
    assert rows["loss.png"]["kind"] == "image"
    assert body["notes"] == [{"path": "link", "why": "a link to /etc/passwd: links are not kept"}]
    assert "nonce" not in str(body)


async def test_a_long_list_comes_in_pages(http: Session) -> None:
    paths, after, more = [], "", True
    while more:
        async with http.get(BASE, params={"limit": 3, "after": after}) as answer:
            body = await answer.json()
        paths += [row["path"] for row in body["files"]]
        after, more = paths[-1], body["more"]
    assert paths == sorted(HOSTILE)
    async with http.get(BASE, params={"under": "model"}) as answer:
        rows = (await answer.json())["files"]
    assert [row["path"] for row in rows] == ["model/notes.txt", "model/weights.pt"]


@pytest.mark.parametrize("name", sorted(HOSTILE), ids=lambda name: name.split(".")[-1][:8])
async def test_every_file_comes_as_it_is_and_is_not_run(http: Session, name: str) -> None:
    async with http.get(f"{BASE}/{quote(name)}") as answer:
        assert await answer.read() == HOSTILE[name]
        headers = answer.headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''")
    assert "\n" not in headers["Content-Disposition"]
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.html", "text/plain"),
        ("drawing.svg", "text/plain"),
        ("loss.png", "image/png"),
        ("model/weights.pt", "application/octet-stream"),
    ],
)
async def test_what_is_shown_is_text_or_an_image(http: Session, name: str, kind: str) -> None:
    async with http.get(f"{BASE}/{name}", params={"inline": "1"}) as answer:
        assert answer.content_type == kind
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        (f"bytes={CHUNK - 1}-{CHUNK}", CHUNK - 1, CHUNK + 1),
        (f"bytes={2 * CHUNK}-", 2 * CHUNK, 2 * CHUNK + 5),
        ("bytes=-3", 2 * CHUNK + 2, 2 * CHUNK + 5),
    ],
    ids=["start", "seam", "rest", "end"],
)
async def test_a_part_of_a_file_is_read(http: Session, asked: str, start: int, stop: int) -> None:
    name = "model/weights.pt"
    async with http.get(f"{BASE}/{name}", headers={"Range": asked}) as answer:
        assert answer.status == 206
        assert await answer.read() == HOSTILE[name][start:stop]
        size = len(HOSTILE[name])
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"


async def test_a_part_of_another_version_is_not_asked_for(http: Session) -> None:
    headers = {"Range": "bytes=5-", "If-Range": '"of before"'}
    async with http.get(f"{BASE}/model/notes.txt", headers=headers) as answer:
        assert (answer.status, await answer.read()) == (200, b"notes")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nothing", 404, "unknown_output"),
        ("/../spec", 404, "not_found"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "not_found"),
        ("/link", 404, "unknown_output"),
        ("/loss.png?attempt=7", 404, "unknown_attempt"),
        ("?attempt=7", 404, "unknown_attempt"),
        ("?limit=0", 422, "bad_query"),
    ],
)
async def test_what_is_not_there_is_told(http: Session, path: str, status: int, code: str) -> None:
    async with http.get(BASE + path) as answer:
        assert (answer.status, (await answer.json())["code"]) == (status, code)


async def test_a_range_behind_the_end_is_refused(http: Session) -> None:
    async with http.get(f"{BASE}/loss.png", headers={"Range": "bytes=99-"}) as answer:
        assert answer.status == 416


async def test_all_come_in_one_zip(http: Session) -> None:
    async with http.get(f"{BASE}.zip") as answer:
        archive = zipfile.ZipFile(io.BytesIO(await answer.read()))
    assert archive.testzip() is None
    names = archive.namelist()
    assert len(names) == len(HOSTILE)
    assert all(name.startswith(f"{JOB}.1/") and "\\" not in name for name in names)
    assert archive.read(f"{JOB}.1/model/weights.pt") == HOSTILE["model/weights.pt"]
    async with http.get(f"{BASE}.zip", params={"under": "model"}) as answer:
        archive = zipfile.ZipFile(io.BytesIO(await answer.read()))
    assert len(archive.namelist()) == 2


async def test_a_file_whose_chunk_is_lost_is_cut_off(case: Case, http: Session) -> None:
    file = next(f for f in (await case.stored()).files if f.path == "model/weights.pt")
    await OutputStore(case.bus).remove(JOB, [file.chunk(2)])
    for path in (f"{BASE}/model/weights.pt", f"{BASE}.zip"):
        with pytest.raises(aiohttp.ClientError):
            async with http.get(path) as answer:
                await answer.read()


async def test_a_job_without_outputs_has_an_empty_list(bus: Bus, tmp_path: Path) -> None:
    await Case(bus, tmp_path).attempt(1)
    async with serving_ui(bus, UiConfig(port=0)) as address, Session(address) as http:
        async with http.get(BASE) as answer:
            body = await answer.json()
        assert (body["files"], body["attempts"], body["final"]) == ([], [], False)
        async with http.get(f"{BASE}.zip") as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, "no_outputs")
