"""Does a log in the browser stay whole while the page's server dies?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, expect

from benchmarks.entering import enter
from benchmarks.stack import free_port
from stoker.stack import Stack
from tests.browser.log_tools import SHORT, in_view, scroll_to, submit, view_has, zip_of
from tests.crash.front import front

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(200)]

LINES = 1500
COUNTER = f"""
import time
for number in range(1, {LINES + 1}):
    print(f"line {{number}}", flush=True)
    time.sleep(0.01)
"""
STEPS = 150
"""Places of the scrollbar at which the rows are looked at."""


@contextlib.asynccontextmanager
async def own_page(stack: Stack, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server of the page that is a process of its own; its address lies in the folder."""
    port = free_port()
    words = ("-m", "stoker", "serve", "ui", "--nats", stack.nats, "--port", str(port))
    who = ("--credentials", str(stack.data / "identities" / "ui.creds"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, *who, stdout=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await until_it_answers(f"{url}/readyz")
        (folder / str(port)).write_text(url)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def until_it_answers(url: str) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as http:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


async def test_a_log_is_whole_although_its_page_was_killed(
    browser: Browser, stack: Stack, tmp_path: Path
) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    async with contextlib.AsyncExitStack() as running:
        url = await running.enter_async_context(front(pages))
        first = await running.enter_async_context(own_page(stack, pages))
        context = await browser.new_context(base_url=url)
        await enter(context, url, stack.welcome.token)
        page = await context.new_page()
        await submit(page, zip_of(tmp_path / "counter.zip", main__py=COUNTER))
        await page.wait_for_function(f"() => ({SEEN})() > 200", timeout=SHORT)
        await running.enter_async_context(own_page(stack, pages))
        first.kill()
        await expect(page.locator("#live")).to_have_text("complete", timeout=3 * SHORT)
        await view_has(page, LINES + 1, f"line {LINES}")
        seen: dict[str, str] = {}
        for step in range(STEPS + 1):
            await scroll_to(page, step / STEPS)
            await page.wait_for_timeout(20)
            seen |= {number: text for number, text in await in_view(page) if text}
        await context.close()
    wrong = [n for n in range(1, LINES + 1) if seen.get(str(n + 1)) != f"line {n}"]
    assert not wrong, [(n, seen.get(str(n + 1))) for n in wrong[:10]]


SEEN = """() => Math.max(0, ...[...document.querySelectorAll(".log-rows .line")].map(
  (line) => Number(line.dataset.n) || 0))"""
