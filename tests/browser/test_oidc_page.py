"""Does a real browser come back from a real provider, which is another site to it?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from stoker.agents import AgentFlags
from stoker.oidc import read_flags
from stoker.parts import PageFlags
from stoker.ports import any_free
from stoker.stack import UpConfig, running
from tests.browser.conftest import Shoot
from tests.browser.log_tools import SHORT
from tests.oidc.running import CLIENT, SECRET, provider

pytestmark = [pytest.mark.browser, pytest.mark.oidc, pytest.mark.timeout(300)]


async def test_a_person_comes_back_from_the_provider_signed_in(
    browser: Browser, tmp_path: Path, shoot: Shoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``localhost`` and ``127.0.0.1`` are two sites: the cookie of the way has to survive that."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    own, theirs = any_free("127.0.0.1"), any_free("127.0.0.1")
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    back = f"http://127.0.0.1:{own}/sign-in/oidc/callback"
    async with provider(theirs, back, "localhost") as real:
        flags = read_flags(
            real.issuer, CLIENT, secret, ("profile", "groups"), "groups", "", ("trainers=member",)
        )
        asked = UpConfig(
            data=tmp_path / "stoker",
            page=PageFlags(port=own, oidc=flags),
            nats_port=-1,
            agent=AgentFlags(runtime="process"),
        )
        async with running(asked) as stack:
            context = await browser.new_context(base_url=stack.url)
            page = await context.new_page()
            await page.goto("/workers")
            await expect(page.locator("#provider")).to_have_text("Continue with localhost")
            await shoot(page, "sign-in-oidc")
            await page.click("#provider")
            await page.fill("input[name=login]", "ann+trainers")
            await page.fill("input[name=password]", "whatever")
            await page.click("button[type=submit]")
            await page.click("button[type=submit]")  # The provider asks whether we may know.
            await expect(page).to_have_url(re.compile(r"/workers$"), timeout=SHORT)
            await expect(page.locator(".user-name")).to_have_text("ann")
            await page.goto("/account")
            await expect(page.locator(".role")).to_have_text("member")
            await context.close()
