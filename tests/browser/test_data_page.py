"""Data in front of a browser: listed, chosen for a job, named on its page, deleted."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from stoker.client import Client
from tests.browser.conftest import Shoot
from tests.browser.log_tools import SHORT, zip_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

MAIN = "import os\nprint('found', sorted(os.listdir(os.environ['STOKER_DATA_LETTERS'])))\n"


async def test_data_is_listed_chosen_used_and_deleted(
    page: Page, tmp_path: Path, shoot: Shoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    await page.goto("/data")
    await expect(page.locator("#data-empty")).to_have_text("No data yet.")
    client, source = Client(page.url.removesuffix("/data")), tmp_path / "letters"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_text(name * 5000)
        await asyncio.to_thread(client.put_data, "letters", source, note=f"up to {name}")
    await page.reload()
    await expect(page.locator("#data-list tbody tr")).to_have_count(2)
    await expect(page.locator("#data-list")).to_contain_text("letters@2")
    await shoot(page, "data-page")

    await page.goto("/")
    await page.set_input_files("#zip-input", zip_of(tmp_path / "a.zip", main__py=MAIN))
    await page.get_by_role("button", name=re.compile("letters")).click()
    await expect(page.locator("[name=data]")).to_have_value("letters:/data/letters")
    await shoot(page, "data-chosen")
    await page.fill("[name=data]", "leters:/data/letters")
    await page.click("#send")
    await expect(page.locator("#submit-error")).to_contain_text("did you mean letters?")
    await expect(page.locator("[name=data]")).to_have_attribute("aria-invalid", "true")
    await page.fill("[name=data]", "letters@1:/data/letters")
    await page.click("#send")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)
    await expect(page.locator("#state")).to_have_text("succeeded", timeout=SHORT * 3)
    await expect(page.locator(".log-rows")).to_contain_text("found ['a']")
    await expect(page.locator("#asked")).to_contain_text("letters@1 at /data/letters")
    await shoot(page, "data-of-a-job")

    await page.goto(f"/?from={page.url.rsplit('/', 1)[1]}")
    await expect(page.locator("[name=data]")).to_have_value("letters@1:/data/letters")
    await page.goto("/data")
    await page.get_by_role("button", name="Delete letters@1").click()
    await page.get_by_role("button", name="Delete letters@1").click()
    await expect(page.locator("#data-list tbody tr")).to_have_count(1)
