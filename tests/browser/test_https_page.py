"""The page beyond this machine: HTTPS, from the plain address on, in a real browser."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from stoker.agents import AgentFlags
from stoker.client import Client
from stoker.parts import PageFlags
from stoker.stack import UpConfig, running
from stoker.tls import NatsFlags
from tests.browser.conftest import note_complaint
from tests.browser.log_tools import SHORT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def test_sign_in_and_live_log_over_https(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("STOKER_DATA", str(tmp_path / "stoker"))
    asked = UpConfig(
        data=tmp_path / "stoker",
        page=PageFlags(host="0.0.0.0", port=0),
        nats=NatsFlags(host="0.0.0.0"),
        nats_port=-1,
        agent=AgentFlags(runtime="process"),
    )
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "main.py").write_text("print('hello over tls', flush=True)\n")
    async with running(asked) as stack:
        # Nobody has told this browser of our authority; everything else is as it would be.
        context = await browser.new_context(ignore_https_errors=True)
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: note_complaint(message, complaints))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        assert stack.url.startswith("https://")
        await page.goto(stack.welcome.link.replace("https://", "http://"))
        await page.wait_for_url(re.compile("^https://"), timeout=SHORT)
        await page.click("#use-link")
        await page.wait_for_url(re.compile(r"/account"), timeout=SHORT)
        (cookie,) = [one for one in await context.cookies() if "stoker" in one["name"]]
        assert (cookie["name"], cookie["secure"], cookie["httpOnly"]) == (
            "__Host-stoker",
            True,
            True,
        )
        job = await asyncio.to_thread(Client(stack.url).submit, folder)
        await page.goto(f"{stack.url}/jobs/{job.id}")
        await expect(page.locator("body")).to_contain_text("hello over tls", timeout=SHORT)
        await context.close()
        assert not complaints
