"""Secrets in front of a browser: set, ticked for a job, used, and nowhere to be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Shoot
from tests.browser.log_tools import SHORT, zip_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

VALUE = "canary-b1f0-value"
MAIN = "import os\nprint('token', len(os.environ['HF_TOKEN']), os.environ['HF_TOKEN'])\n"


async def test_a_secret_is_set_ticked_used_and_removed(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    await page.goto("/secrets")
    await page.fill("[name=name]", "HF-TOKEN")
    await page.fill("[name=value]", VALUE)
    await page.click("#secret-save")
    await expect(page.locator("#secret-error")).to_contain_text("letters, digits")
    await page.fill("[name=name]", "HF_TOKEN")
    await page.click("#secret-save")
    await expect(page.locator("#secrets-rows")).to_contain_text("HF_TOKEN")
    await expect(page.locator("[name=value]")).to_have_value("")
    await shoot(page, "secrets-page")

    await page.goto("/")
    await page.set_input_files("#zip-input", zip_of(tmp_path / "a.zip", main__py=MAIN))
    await page.locator("#secret-ticks label", has_text="HF_TOKEN").click()
    await page.fill("[name=environment]", "MY_PASSWORD=open-sesame")
    await shoot(page, "secrets-ticked")
    await page.click("#send")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)
    await expect(page.locator("#toasts")).to_contain_text("MY_PASSWORD looks like a secret")
    await expect(page.locator("#state")).to_have_text("succeeded", timeout=SHORT * 3)
    await expect(page.locator(".log-rows")).to_contain_text(f"token {len(VALUE)} [redacted")
    await expect(page.locator("#asked")).to_contain_text("HF_TOKEN")
    assert VALUE not in await page.content()

    await page.goto(f"/?from={page.url.rsplit('/', 1)[1]}")
    await expect(page.locator("#secret-ticks input")).to_be_checked()
    await page.goto("/secrets")
    await page.get_by_role("button", name="Remove HF_TOKEN").click()
    await page.get_by_role("button", name="Remove HF_TOKEN").click()
    await expect(page.locator("#secrets-empty")).to_have_text("No secrets yet.")
