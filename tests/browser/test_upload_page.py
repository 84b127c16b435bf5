"""A big .zip goes on where it was cut: by itself, and after the page was closed."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import Shoot

pytestmark = pytest.mark.browser
LONG = 60_000
"""Milliseconds."""


def big_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("main.py", "import os\nprint('it has', os.path.getsize('noise'))\n")
        archive.writestr("noise", os.urandom(20 << 20))
    return path


async def test_an_upload_goes_on_after_a_cut_and_after_a_reload(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    bundle, sent, online = big_zip(tmp_path / "big.zip"), [], True

    async def part(route: Route) -> None:
        sent.append(int(route.request.url.rpartition("/")[2]))
        await (route.continue_() if online else route.abort())

    await page.route(re.compile(r"/api/v1/uploads/[0-9a-f]+/1$"), part)
    await page.route(re.compile(r"/api/v1/uploads/[0-9a-f]+/[02]$"), part)
    await page.goto("/")
    await page.set_input_files("#zip-input", bundle)
    await expect(page.locator("#bundle-facts")).to_contain_text("to send")
    online = False
    await page.click("#send")
    await expect(page.locator("#progress-text")).to_contain_text("the connection was cut")
    online = True
    await page.wait_for_function(
        "() => /[3-9][0-9] %|Sent/.test(document.getElementById('progress-text').textContent)",
        timeout=LONG,
    )
    online = False
    await shoot(page, "cut")
    done = max(sent)
    await page.reload()
    online = True
    sent.clear()
    await page.set_input_files("#zip-input", bundle)
    await expect(page.locator("#bundle-facts")).to_contain_text("to send")
    await page.click("#send")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=LONG)
    assert sent[0] >= min(1, done)
    await expect(page.locator("#log")).to_contain_text(f"it has {20 << 20}", timeout=LONG)
