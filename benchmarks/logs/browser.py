"""How is a real Chromium pointed at a page, and what does it tell of the time of its paints?"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from benchmarks.entering import enter

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
VIEW: ViewportSize = {"width": 1280, "height": 860}
PAINTED = """
window.afterPaint = (call) => requestAnimationFrame(() => {
  const channel = new MessageChannel();
  channel.port1.onmessage = call;
  channel.port2.postMessage(null);
});
window.whenPainted = (holds, call) => {
  const look = () => { if (holds()) afterPaint(call); else requestAnimationFrame(look); };
  look();
};
window.rowsShown = () => document.querySelectorAll(".log-rows .line .tx:not(.pending)");
window.firstRows = new Promise((done) => whenPainted(
  () => document.querySelector(".log-rows .line .tx:not(.pending)")?.textContent.length > 0,
  () => done(performance.now())));
"""
"""In the page: ``firstRows`` is when the first row was painted, in ms since it was asked for."""
AGES = """
window.ages = [];
let newest = "";
const look = () => {
  const rows = rowsShown();
  const found = /(\\d{8}) (\\d{10}\\.\\d{6})/.exec(rows[rows.length - 1]?.textContent ?? "");
  if (found && found[1] !== newest) {
    newest = found[1];
    afterPaint(() => window.ages.push(Date.now() / 1000 - Number(found[2])));
  }
  requestAnimationFrame(look);
};
look();
"""
"""In the page: ``ages`` are the seconds from when the last row in view was printed to its paint."""
STAMPS = """
window.stamps = [];
window.stamping = true;
const stamp = (at) => {
  window.stamps.push(at);
  if (window.stamping) requestAnimationFrame(stamp);
};
requestAnimationFrame(stamp);
"""
SEARCH = """
async (text) => {
  const field = document.getElementById("find");
  const hits = document.getElementById("hits");
  const begun = performance.now();
  let asked = false;
  const look = new MutationObserver(() => { asked ||= hits.textContent === "…"; });
  look.observe(hits, { childList: true, characterData: true, subtree: true });
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((done) => whenPainted(
    () => asked && /\\d|no hit/.test(hits.textContent), done));
  look.disconnect();
  return [performance.now() - begun, hits.textContent];
}
"""
"""Milliseconds from the last key to the painted count, and the count."""


def chromium() -> str:
    names = (os.environ.get("STOKER_TEST_CHROMIUM"), "chromium", "chromium-browser")
    for name in (*names, "google-chrome"):
        if name and (path := shutil.which(name)):
            return path
    raise RuntimeError("there is no Chromium on the path; STOKER_TEST_CHROMIUM may name one")


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_tab(browser: Browser, url: str, token: str = "") -> AsyncIterator[Page]:
    """With empty caches, as a first visit has them; signed in as whoever the token is of."""
    context = await browser.new_context(viewport=VIEW)
    try:
        if token:
            parts = urlsplit(url)
            await enter(context, f"{parts.scheme}://{parts.netloc}", token)
        await context.add_init_script(PAINTED)
        page = await context.new_page()
        await page.goto(url)
        yield page
    finally:
        await context.close()


async def frames_while_scrolling(page: Page, pixels: int, speed: int) -> list[float]:
    """Milliseconds between the frames of one long scroll gesture, as the page's script has them."""
    session = await page.context.new_cdp_session(page)
    await page.evaluate(f"() => {{ {STAMPS} }}")
    await session.send(
        "Input.synthesizeScrollGesture",
        {"x": 600, "y": 600, "yDistance": pixels, "speed": speed, "gestureSourceType": "mouse",
         "preventFling": True},
    )  # fmt: skip
    stamps: list[float] = await page.evaluate("() => { window.stamping = false; return stamps; }")
    await session.detach()
    return [later - earlier for earlier, later in itertools.pairwise(stamps)]
