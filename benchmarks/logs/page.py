"""The page of a log of a million lines in Chromium: first paint, search, scrolling."""

from __future__ import annotations

import statistics

from playwright.async_api import Browser

from benchmarks.logs import training
from benchmarks.logs.browser import SEARCH, frames_while_scrolling, open_browser, open_tab
from benchmarks.logs.sealing import seal_in_process
from benchmarks.logs.store import JOB, Store, open_page, open_store
from benchmarks.table import Figure, percentile

LINES = 1_000_000
VISITS = 5
PAINT = SEARCHED = 1.0
"""Seconds."""
FRAMES = 50.0
"""A second."""
QUERIES = ("step  587654/", "(-3.9", "lr 5.9", "no such", "tok/s")
"""One hit, some, a great many, none, every line."""
FAR = 12_000
SPEED = 4000
"""Pixels of one gesture, and how many a second."""


async def figures() -> list[Figure]:
    async with open_store() as store:
        await write_lines(store)
        async with open_page(store) as page, open_browser() as browser:
            url = f"{page.url}/jobs/{JOB}"
            paints = [await first_rows(browser, url) for _ in range(VISITS)]
            searches = await searched(browser, url)
            frames = await scrolled(browser, url)
    return [painted(paints), *found(searches), smooth(frames)]


async def write_lines(store: Store) -> None:
    """A training that is over, all of it sealed."""
    left = LINES
    for message in training.messages(1 << 30):
        lines = message.split(b"\n")
        # The last piece is the begin of a line that the next message goes on with.
        if len(lines) - 1 >= left:
            await store.print(b"\n".join(lines[:left]) + b"\n")
            break
        left -= len(lines) - 1
        await store.print(message)
    await seal_in_process(store.nats, store.offset)
    await store.write(ended=True)


async def first_rows(browser: Browser, url: str) -> float:
    async with open_tab(browser, url) as page:
        milliseconds: float = await page.evaluate("() => firstRows")
    return milliseconds / 1000


async def searched(browser: Browser, url: str) -> dict[str, tuple[float, str]]:
    """Query to its seconds and what the page said; in one tab, as a person searches."""
    searches = {}
    async with open_tab(browser, url) as page:
        await page.evaluate("() => firstRows")
        for query in QUERIES:
            milliseconds, told = await page.evaluate(SEARCH, query)
            searches[query] = (milliseconds / 1000, told)
    return searches


async def scrolled(browser: Browser, url: str) -> list[float]:
    """Up from the end, then down from the middle of the log; milliseconds between frames."""
    async with open_tab(browser, url) as page:
        await page.evaluate("() => firstRows")
        frames = await frames_while_scrolling(page, FAR, SPEED)
        await page.evaluate(
            "() => { const log = document.querySelector('.log-scroll');"
            " log.scrollTop = log.scrollHeight / 2; }"
        )
        await page.wait_for_timeout(1000)
        frames += await frames_while_scrolling(page, -FAR, SPEED)
        frames += await frames_while_scrolling(page, FAR, SPEED)
    return frames


def painted(paints: list[float]) -> Figure:
    return Figure(
        "page of a log of 1,000,000 lines: navigation → first lines painted", max(paints), "s",
        PAINT, note=f"the slowest of {len(paints)} first visits; "
        f"median {statistics.median(paints):.2f} s",
    )  # fmt: skip


def found(searches: dict[str, tuple[float, str]]) -> list[Figure]:
    told = ", ".join(
        f"“{query}” {words} in {seconds:.2f} s" for query, (seconds, words) in searches.items()
    )
    worst = max(seconds for seconds, _ in searches.values())
    return [
        Figure("search in it: last key → count painted, the slowest", worst, "s", SEARCHED,
               note=told),
    ]  # fmt: skip


def smooth(frames: list[float]) -> Figure:
    rate = 1000 * len(frames) / sum(frames)
    return Figure(
        "scrolling through it", rate, "frames/s", FRAMES, at_most=False,
        note=f"{len(frames)} frames; p99 {percentile(frames, 0.99):.0f} ms, "
        f"longest {max(frames):.0f} ms",
    )  # fmt: skip
