"""Does the page of a job stay smooth with 20 curves of 100,000 points, while more come live?

Written as a worker writes them, kept by the service, shown by the page in a real Chromium.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from playwright.async_api import Page as Tab

from benchmarks.chaos.supervised import Part
from benchmarks.logs.browser import STAMPS, open_browser, open_tab
from benchmarks.logs.store import JOB, WORKER, Page, Store, open_page, open_store
from benchmarks.table import Figure, percentile
from bus.metrics import MetricWriter
from schemas.metrics import SAMPLES_POINTS, Column, Points, Samples, Source

SERIES = 20
RATE = 10_000
"""Points a second that come while the page is looked at."""
BEATS = 10
"""Messages a second."""
FRAMES = 50.0
"""A second."""
KEPT = 300.0
"""Seconds in which the service has to have folded all of it."""
DRAWN = 30_000
"""Milliseconds for the first curves."""
MOVES = 240
"""Of the pointer over a chart, one a frame at best."""
Gesture = Callable[[Tab], Awaitable[None]]


async def figures(points: int) -> list[Figure]:
    """``points`` of each of the series."""
    async with open_store() as store, service(store):
        writer = MetricWriter(store.bus, JOB, 1, WORKER)
        await write(writer, 0, points)
        async with open_page(store) as page:
            await folded(page, points)
            flowing = asyncio.create_task(flow(writer, points))
            try:
                rates = await looked_at(page)
            finally:
                flowing.cancel()
                await asyncio.wait((flowing,))
            if not flowing.cancelled():
                flowing.result()  # it broke: what was measured is not what was meant
    told = f"{SERIES} series of {points:,} points"
    return [smooth(f"{told}: {name}", frames) for name, frames in rates.items()]


@contextlib.asynccontextmanager
async def service(store: Store) -> AsyncIterator[None]:
    command = (sys.executable, "-m", "stoker", "serve", "metrics", "--nats", store.nats)
    keeping = asyncio.create_task(Part("metrics", command, store.folder / "metrics.log").keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait((keeping,))


async def write(writer: MetricWriter, first: int, stop: int) -> None:
    """Steps from ``first`` to before ``stop`` of all the series."""
    each = SAMPLES_POINTS // SERIES
    for start in range(first, stop, each):
        await writer.publish(samples(range(start, min(start + each, stop))))


def samples(steps: range) -> Samples:
    now = time.time()
    columns = {}
    for number in range(SERIES):
        points = Points()
        for step in steps:
            points.add(step, now, curve(number, step))
        columns[f"run/s{number:02}"] = Column.packed(points)
    return Samples(source=Source.MLFLOW, columns=columns)


def curve(number: int, step: int) -> float:
    """Falls, with noise that is the same in each run."""
    noise = math.sin(step * 12.9898 + number * 78.233) * 43758.5453
    return 2.0 / (1.0 + step / 9000.0) + 0.1 * number + 0.3 * (noise - math.floor(noise))


async def folded(page: Page, points: int) -> None:
    """Returns when the service has them all."""
    async with asyncio.timeout(KEPT):
        while await counted(page.http, page.url) < points * SERIES:  # noqa: ASYNC110
            await asyncio.sleep(0.5)


async def counted(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(f"{url}/api/v1/jobs/{JOB}/metrics") as answer:
        attempts = (await answer.json())["attempts"] if answer.status == 200 else []
    return sum(one["count"] for attempt in attempts for one in attempt["series"])


async def flow(writer: MetricWriter, step: int) -> None:
    """Until cancelled: what a job tells that logs every step of a fast loop."""
    each = RATE // SERIES // BEATS
    for beat in itertools.count():
        await writer.publish(samples(range(step + beat * each, step + (beat + 1) * each)))
        await asyncio.sleep(1 / BEATS)


async def looked_at(page: Page) -> dict[str, list[float]]:
    """What was done with the page, and the milliseconds between its frames meanwhile."""
    rates = {}
    async with open_browser() as browser, open_tab(browser, f"{page.url}/jobs/{JOB}") as tab:
        await drawn(tab)
        rates[f"{SERIES} charts: pointer across them"] = await frames_during(tab, hover)
        rates[f"{SERIES} charts: scrolled past"] = await frames_during(tab, scroll)
        await tab.select_option("#chart-by", "group")
        await drawn(tab)
        rates["one chart of all: pointer across it"] = await frames_during(tab, hover)
        rates["one chart of all: zoomed into, and back"] = await frames_during(tab, zoom)
        rates["one chart of all: smoothed"] = await frames_during(tab, smoothen)
    return rates


async def drawn(tab: Tab) -> None:
    await tab.locator("#chart-groups").scroll_into_view_if_needed()
    await tab.locator("#chart-groups .uplot canvas").first.wait_for(timeout=DRAWN)
    await tab.locator("#chart-groups .chart").first.scroll_into_view_if_needed()
    await tab.wait_for_timeout(2000)


async def frames_during(tab: Tab, gesture: Gesture) -> list[float]:
    await tab.evaluate(f"() => {{ {STAMPS} }}")
    await gesture(tab)
    stamps: list[float] = await tab.evaluate("() => { window.stamping = false; return stamps; }")
    return [later - earlier for earlier, later in itertools.pairwise(stamps)]


async def over(tab: Tab) -> tuple[float, float, float]:
    """Left, width and the middle height of the first chart."""
    box = await tab.locator("#chart-groups .u-over").first.bounding_box()
    assert box is not None
    return box["x"], box["width"], box["y"] + box["height"] / 2


async def hover(tab: Tab) -> None:
    left, width, middle = await over(tab)
    for move in range(MOVES):
        await tab.mouse.move(left + width * (move % 120) / 120, middle)


async def scroll(tab: Tab) -> None:
    session = await tab.context.new_cdp_session(tab)
    for distance in (-3000, 3000):
        await session.send(
            "Input.synthesizeScrollGesture",
            {"x": 640, "y": 500, "yDistance": distance, "speed": 1500,
             "gestureSourceType": "mouse", "preventFling": True},
        )  # fmt: skip
    await session.detach()


async def zoom(tab: Tab) -> None:
    for share in (0.3, 0.5, 0.7):
        left, width, middle = await over(tab)
        await tab.mouse.move(left + width * share, middle)
        await tab.mouse.down()
        await tab.mouse.move(left + width * (share + 0.2), middle, steps=20)
        await tab.mouse.up()
        await tab.wait_for_timeout(700)
        await tab.click("#chart-all")
        await tab.wait_for_timeout(300)


async def smoothen(tab: Tab) -> None:
    slider = tab.locator("#chart-smoothing")
    for share in range(0, 95, 3):
        await slider.fill(f"{share / 100:.2f}")
    await slider.fill("0")


def smooth(name: str, frames: list[float]) -> Figure:
    rate = 1000 * len(frames) / sum(frames)
    return Figure(
        name, rate, "frames/s", FRAMES, at_most=False,
        note=f"while {RATE:,} points/s come; {len(frames)} frames; "
        f"p99 {percentile(frames, 0.99):.0f} ms, longest {max(frames):.0f} ms",
    )  # fmt: skip
