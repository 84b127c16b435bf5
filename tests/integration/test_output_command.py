"""``stoker outputs``: a job's files come to the person who asks, and go on after a cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.connection import Bus
from schemas.outputs import CHUNK
from stoker import command
from stoker.answers import StokerError
from stoker.client import Client
from tests.integration.output_tools import JOB, Case, serving
from ui.app import serving as serving_ui
from ui.config import UiConfig

BIG = os.urandom(3 * CHUNK + 1)


@pytest.fixture
async def case(bus: Bus, tmp_path: Path) -> Case:
    case = Case(bus, tmp_path)
    grant = await case.attempt(1)
    (case.root / "ckpt").mkdir()
    (case.root / "ckpt" / "model.pt").write_bytes(BIG)
    (case.root / "..\\x[red]").write_text("strange")
    (case.root / "link").symlink_to("/")
    async with serving(bus):
        await case.sender(grant).round(str(case.root), final=True)
    return case


@pytest.fixture
async def url(case: Case) -> AsyncIterator[str]:
    async with serving_ui(case.bus, UiConfig(port=0)) as address:
        yield address


async def run(*arguments: str) -> int:
    return await asyncio.to_thread(command.run, list(arguments))


async def test_outputs_are_listed(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert await run("outputs", JOB, "--server", url) == 0
    out, err = capfd.readouterr()
    assert "ckpt/model.pt" in out
    assert "..\\x[red]" in out
    assert "left out: link, a link to /: links are not kept" in err
    assert await run("outputs", JOB, "ckpt", "--server", url, "--json") == 0
    assert '"path": "ckpt/model.pt"' in capfd.readouterr().out


async def test_outputs_are_written_into_a_folder(url: str, tmp_path: Path) -> None:
    target = tmp_path / "got"
    assert await run("outputs", JOB, "--server", url, "--get", str(target)) == 0
    assert (target / "ckpt" / "model.pt").read_bytes() == BIG
    assert (target / "..\\x[red]").read_text() == "strange"
    assert len([path for path in target.rglob("*") if path.is_file()]) == 2


async def test_an_unknown_path_is_told(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert await run("outputs", JOB, "nothing", "--server", url) != 0
    assert "has no output 'nothing'" in capfd.readouterr().err
    assert await run("outputs", JOB, "--attempt", "9", "--server", url) != 0
    assert "no attempt 9" in capfd.readouterr().err


async def test_a_download_goes_on_after_the_page_was_restarted(
    case: Case, url: str, tmp_path: Path
) -> None:
    client, target = Client(url), tmp_path / "got"
    file = next(f for f in (await case.stored()).files if f.path == "ckpt/model.pt")
    data = await case.store.chunk(JOB, file.chunk(2))
    await case.store.remove(JOB, [file.chunk(2)])
    with pytest.raises(StokerError), contextlib.suppress(TimeoutError):
        await asyncio.to_thread(client.download, JOB, target, path="ckpt")
    parts = list((target / "ckpt").iterdir())
    assert [part.name.startswith(".stoker-") for part in parts] == [True]
    assert parts[0].stat().st_size > 0
    await case.store.put(JOB, file.chunk(2), data)
    saved = await asyncio.to_thread(client.download, JOB, target, path="ckpt")
    assert saved == [target / "ckpt" / "model.pt"]
    assert saved[0].read_bytes() == BIG
