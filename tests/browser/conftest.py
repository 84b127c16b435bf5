"""A whole Stoker and a real browser in front of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from benchmarks.entering import enter
from stoker.agents import AgentFlags
from stoker.parts import PageFlags
from stoker.stack import Stack, UpConfig, running

ROOT = Path(__file__).resolve().parents[2]
expect.set_options(timeout=20_000)
"""Milliseconds: a busy machine takes longer than the usual five seconds to open a page."""
SHOTS = ROOT / ".cache" / "screenshots"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
Shoot = Callable[[Page, str], Awaitable[None]]


def chromium() -> str | None:
    names = (
        os.environ.get("STOKER_TEST_CHROMIUM"),
        "chromium",
        "chromium-browser",
        "google-chrome",
    )
    return next((path for name in names if name and (path := shutil.which(name))), None)


@pytest.fixture
async def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    """Everything in this process; jobs run as plain processes, which every machine can."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    asked = UpConfig(
        data=tmp_path / "stoker",
        page=PageFlags(port=0),
        nats_port=-1,
        agent=AgentFlags(runtime="process"),
    )
    async with running(asked) as stack:
        yield stack


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("there is no Chromium on the path")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser, stack: Stack) -> AsyncIterator[Page]:
    """A desktop's page; what its console complains of fails the test."""
    context = await browser.new_context(
        base_url=stack.url, viewport={"width": 1280, "height": 860}, color_scheme="light"
    )
    await enter(context, stack.url, stack.welcome.token)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: note_complaint(message, complaints))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await context.close()
    assert not complaints


def note_complaint(message: ConsoleMessage, complaints: list[str]) -> None:
    """A refused request and a cut line are part of some tests; the page copes with them."""
    expected = ("Failed to load resource", "WebSocket connection")
    if message.type in ("error", "warning") and not message.text.startswith(expected):
        complaints.append(message.text)


@pytest.fixture
def shoot() -> Shoot:
    SHOTS.mkdir(parents=True, exist_ok=True)

    async def shoot(page: Page, name: str) -> None:
        await page.screenshot(path=SHOTS / f"{name}.png")

    return shoot
