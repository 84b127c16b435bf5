"""How soon after it was printed in a container is a line seen, by sockets and in a real browser?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from benchmarks import floors
from benchmarks.logs import lines
from benchmarks.logs.browser import AGES, open_browser, open_tab
from benchmarks.logs.reading import ages_in_process
from benchmarks.logs.viewers import SETTLE, Seen, watch_in_process
from benchmarks.stack import Stack, running_stack, zip_of
from benchmarks.table import Figure, percentile

RATE = 10_000
"""Lines a second."""
BEATS = 100
"""Writes a second."""
SOCKETS = 19
"""Beside the one browser."""
SECONDS = 20.0
P50, P99 = 0.060, 0.250
SPEC: dict[str, Any] = {"resources": {"cpus": 1, "memory": "256m"}}
STARTED = 30.0
AROUND = 12.0
"""Seconds that the program prints longer than is measured: viewers come first, and take time."""


async def figures() -> list[Figure]:
    program = lines.paced(RATE, SECONDS + SETTLE + AROUND, BEATS)
    async with running_stack("docker") as stack:
        await stack.stored()
        image = await stack.image()
        job = await stack.upload(zip_of({"main.py": program}), SPEC)
        await running(stack, job["id"])
        seen, painted = await watched(stack, job["id"])
        await stack.http.post(f"{stack.url}/api/v1/jobs/{job['id']}/cancel")
        bare = await bare_ages(stack.folder, image)
    return [*told("in Chromium, painted", painted, bare), *told_of(seen, bare)]


async def running(stack: Stack, job: str) -> None:
    async with asyncio.timeout(STARTED):
        while (await stack.get(f"/api/v1/jobs/{job}"))["job"]["state"] != "running":  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def watched(stack: Stack, job: str) -> tuple[Seen, list[float]]:
    """What the sockets saw, and the ages of the last row in view at each paint of it."""
    port = int(stack.url.rpartition(":")[2])
    path = f"/api/v1/jobs/{job}/log/rows/ws"
    async with (
        open_browser() as browser,
        open_tab(browser, f"{stack.url}/jobs/{job}", stack.token) as page,
    ):
        await page.evaluate("() => firstRows")
        watching = asyncio.create_task(watch_in_process(port, path, SOCKETS, SECONDS, stack.token))
        await asyncio.sleep(SETTLE)
        await page.evaluate(f"() => {{ {AGES} }}")
        seen = await watching
        ages: list[float] = await page.evaluate("() => ages")
    return seen, ages


async def bare_ages(folder: Path, image: str) -> list[float]:
    """The same program read by the Docker SDK alone."""
    with floors.program_folder(folder / "bare") as bare:
        (bare / "job" / "main.py").write_text(lines.paced(RATE, SECONDS / 2, BEATS))
        return await ages_in_process(image, bare)


def told(where: str, ages: list[float], bare: list[float]) -> list[Figure]:
    name = f"{RATE:,} lines/s, {SOCKETS + 1} viewers: line printed → {where}"
    return [
        Figure(f"{name}, p50", percentile(ages, 0.5) * 1000, "ms", P50 * 1000,
               beside="Docker SDK attach", reference=percentile(bare, 0.5) * 1000,
               note=f"{len(ages)} paints"),
        Figure(f"{name}, p99", percentile(ages, 0.99) * 1000, "ms", P99 * 1000,
               beside="Docker SDK attach", reference=percentile(bare, 0.99) * 1000),
    ]  # fmt: skip


def told_of(seen: Seen, bare: list[float]) -> list[Figure]:
    note = f"{seen.skipped} lines skipped, {seen.anew} times all anew, {seen.closed} hung up on"
    name = f"the same → at {SOCKETS} WebSockets"
    return [
        Figure(f"{name}, p50", seen.p50 * 1000, "ms", P50 * 1000, beside="Docker SDK attach",
               reference=percentile(bare, 0.5) * 1000, note=note),
        Figure(f"{name}, p99", seen.p99 * 1000, "ms", P99 * 1000, beside="Docker SDK attach",
               reference=percentile(bare, 0.99) * 1000,
               note=f"of the first line of each of {seen.frames:,} frames"),
    ]  # fmt: skip
