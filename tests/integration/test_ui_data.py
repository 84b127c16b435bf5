"""Data over HTTP: the client puts, lists, gets and deletes it, and a submission names versions."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from bus.connection import Bus
from services.datasets.config import DatasetsConfig
from services.datasets.service import run as run_datasets
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from stoker.answers import Refused
from stoker.client import Client
from stoker.packing import PackingError
from tests.integration.data_tools import put
from ui.app import serving
from ui.config import UiConfig

T = TypeVar("T")


@dataclass
class Page:
    bus: Bus
    client: Client
    http: aiohttp.ClientSession

    async def do(self, call: Callable[..., T], *given: Any, **named: Any) -> T:
        return await asyncio.to_thread(lambda: call(*given, **named))


@pytest.fixture
async def page(bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Page]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tasks = [
        asyncio.create_task(run_upload(bus, UploadConfig())),
        asyncio.create_task(run_datasets(bus, DatasetsConfig())),
    ]
    async with serving(bus, UiConfig(port=0)) as address, aiohttp.ClientSession(address) as http:
        yield Page(bus, Client(address), http)
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks)


def folder_of(path: Path) -> Path:
    (path / "deep/er").mkdir(parents=True)
    (path / "deep/er/big.bin").write_bytes(os.urandom(900_000))
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / "empty").touch()
    (path / ".gitignore").write_text("*\n")
    return path


async def test_a_folder_comes_back_as_it_was_put_and_only_changes_are_sent(
    page: Page, tmp_path: Path
) -> None:
    client, source = page.client, folder_of(tmp_path / "set")
    sent: list[int] = []
    first, created = await page.do(client.put_data, "set", source, note="all of it")
    assert (created, first.newest.number, first.newest.files) == (True, 1, 4)
    assert (await page.do(client.put_data, "set", source))[1] is False
    (source / "deep/more").write_text("more")
    second, _ = await page.do(
        client.put_data, "set", source, sending=lambda done, _: sent.append(done)
    )
    assert (second.newest.number, max(sent) < 20_000) == (2, True)
    assert [one.name for one in await page.do(client.datasets)] == ["set"]
    assert await page.do(client.get_data, "set", tmp_path / "new") == 2
    assert await page.do(client.get_data, "set@1", tmp_path / "old") == 1
    for name in ("deep/er/big.bin", "run.sh", "empty", ".gitignore"):
        assert (tmp_path / "old" / name).read_bytes() == (source / name).read_bytes()
    assert os.access(tmp_path / "old/run.sh", os.X_OK)
    assert (tmp_path / "new/deep/more").exists()
    assert not (tmp_path / "old/deep/more").exists()
    big = (source / "deep/er/big.bin").read_bytes()
    place, part = "/api/v1/data/~/set/files/deep/er/big.bin", {"Range": "bytes=300000-700000"}
    async with page.http.get(place, headers=part) as answer:
        assert (answer.status, await answer.read()) == (206, big[300_000:700_001])
        assert answer.headers["Content-Disposition"].startswith("attachment")
    await page.do(client.remove_data, "set@1")
    with pytest.raises(Refused, match="has no version 1; newest that are there: 2"):
        await page.do(client.get_data, "set@1", tmp_path / "gone")


async def test_a_submission_names_the_versions_that_it_got(page: Page, tmp_path: Path) -> None:
    await put(page.bus, "local", "letters", {"a": b"a"})
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text("print(1)\n")
    job = await page.do(page.client.submit, code, data=["letters:/data/x"])
    await put(page.bus, "local", "letters", {"a": b"b"})
    given = job.raw["spec"]["data"][0]
    assert (given["owner"], given["version"], given["files"], given["path"]) == (
        "local", 1, 1, "/data/x",
    )  # fmt: skip
    again = await page.do(
        page.client.submit_stored, job.raw["bundle"], data=job.raw["spec"]["data"]
    )
    assert again.raw["spec"]["data"] == job.raw["spec"]["data"]
    lie = [{**given, "tree": "f" * 64, "size": 1 << 40}]
    told = await page.do(page.client.submit_stored, job.raw["bundle"], data=lie)
    assert told.raw["spec"]["data"] == job.raw["spec"]["data"]
    for data, words in (
        ("leters", "did you mean letters?"),
        ("letters@9", "has no version 9"),
        ("nobody/letters", "there is no data nobody/letters"),
        ("letters:/proc/x", "no data can lie at /proc/x"),
    ):
        with pytest.raises(Refused, match=words):
            await page.do(page.client.submit, code, data=[data])
    await page.do(page.client.remove_data, "letters@1")
    with pytest.raises(Refused, match="version 1 was deleted by local"):
        await page.do(page.client.submit_stored, job.raw["bundle"], data=[given])


async def test_what_cannot_be_data_is_refused_before_anything_is_sent(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, odd = page.client, tmp_path / "odd"
    odd.mkdir()
    with pytest.raises(PackingError, match="holds no file"):
        await page.do(client.put_data, "odd", odd)
    (odd / "outside").symlink_to("/etc/hostname")
    os.mkfifo(odd / "pipe")
    (odd / "kept").write_text("kept")
    found, _ = await page.do(client.put_data, "odd", odd)
    assert found.newest.files == 1
    monkeypatch.setattr("stoker.datasets.MOST_FILES", 2)
    for number in range(3):
        (odd / str(number)).touch()
    with pytest.raises(PackingError, match="more than 2 files: put them into archives"):
        await page.do(client.put_data, "odd", odd)
    (tmp_path / "bad").mkdir()
    os.close(os.open(os.fsencode(tmp_path / "bad") + b"/\xff", os.O_CREAT))
    with pytest.raises(PackingError, match="is not UTF-8: rename the file"):
        await page.do(client.put_data, "odd", tmp_path / "bad")
    for path, sent in (
        ("/data/A_b", {"tree": {"chunks": "ab" * 32, "size": 9}}),
        ("/data/odd", {"tree": {"chunks": "zz", "size": 9}}),
        ("/data/odd", {}),
    ):
        async with page.http.post(f"/api/v1{path}", json=sent) as answer:
            assert answer.status == 422, await answer.text()
    async with page.http.post(
        "/api/v1/data/odd", json={"tree": {"chunks": "ab" * 32, "size": 9}}
    ) as answer:
        assert (answer.status, (await answer.json())["code"]) == (409, "pieces_missing")
