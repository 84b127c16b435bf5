"""What do ten thousand points a second cost a job that prints them, and a flood that has none?

The job runs as it does for everybody, in a real ``stoker up``. Beside it the same program runs
bare, its output read by nobody but a pipe.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.stack import Stack, running_stack, zip_of
from benchmarks.table import Figure, broken
from schemas.log import LogChunk, Span, Stream
from services.metrics.log_reader import LogReader

SERIES, LINES = 10, 1000
"""Of one line, and in a second."""
SECONDS = 20
PROGRAM = f"""\
import json, time
beat, late = 1 / {LINES // 100}, []
begun = time.perf_counter()
for n in range({SECONDS} * {LINES // 100}):
    for step in range(n * 100, n * 100 + 100):
        values = " ".join(f"s{{k}}={{k / (step + 1):.6f}}" for k in range({SERIES}))
        print(f"step={{step}} {{values}}", flush=True)
    ahead = begun + (n + 1) * beat - time.perf_counter()
    late.append(max(0.0, -ahead))
    time.sleep(max(0.0, ahead))
print(json.dumps({{"late_ms": 1000 * max(late), "took": time.perf_counter() - begun}}), flush=True)
"""
BEHIND = 250.0
"""Milliseconds by which the job may be later than bare: a job that waits falls behind for good."""
TOLD = 30.0
"""Seconds after the job's end in which every point is there."""
PLAIN, FLOOD = 100, 1_000_000
"""Bytes of a line, and lines."""
FLOOD_BAR = 1.0
"""Seconds of a processor."""


async def figures() -> list[Figure]:
    plain = await asyncio.to_thread(flood)
    bare = await asyncio.to_thread(alone)
    async with running_stack("process") as stack:
        return [*await printed(stack, bare), plain]


async def printed(stack: Stack, bare: float) -> list[Figure]:
    job = (await stack.upload(zip_of({"main.py": PROGRAM}), {}))["id"]
    end = await stack.ended(job, SECONDS * 6)
    if end["state"] != "succeeded":
        return [broken("points of a job", BEHIND, "ms", f"it {end['state']}: {end['detail']}")]
    since = time.monotonic()
    wanted = SERIES * LINES * SECONDS
    late = since + 2 * TOLD
    while (count := await counted(stack, job)) < wanted and time.monotonic() < late:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    log = await stack.http.get(f"{stack.url}/api/v1/jobs/{job}/log?tail=1")
    told = json.loads(await log.text())
    rate = SERIES * LINES
    return [
        Figure(
            f"{rate:,} points/s printed: most that the job was late", told["late_ms"], "ms",
            bare + BEHIND, beside="the same program bare", reference=max(bare, 0.01),
        ),
        Figure(f"of {wanted:,} points are there", count, "points", wanted, at_most=False),
        Figure("from the job's end to its last point", time.monotonic() - since, "s", TOLD),
    ]  # fmt: skip


async def counted(stack: Stack, job: str) -> int:
    attempts = (await stack.get(f"/api/v1/jobs/{job}/metrics"))["attempts"]
    series = [one for attempt in attempts for one in attempt["series"]]
    return sum(one["count"] for one in series if one["source"] == "log" and one["name"][0] == "s")


def alone() -> float:
    """Milliseconds by which the program is late at most where nobody runs it."""
    with tempfile.TemporaryDirectory(prefix="stoker-metrics-") as folder:
        path = Path(folder) / "main.py"
        path.write_text(PROGRAM)
        done = subprocess.run([sys.executable, str(path)], capture_output=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["late_ms"])


def flood() -> Figure:
    """Seconds of a processor that lines without numbers take the reader."""
    line = b"the quick brown fox jumps over the lazy dog and runs on through the wood".ljust(
        PLAIN - 1
    )
    part = (line + b"\n") * 5000
    chunk = LogChunk(1, 0, 0, 1.0, (Span(Stream.STDOUT, len(part)),), part)
    reader = LogReader()
    begun = time.process_time()
    for _ in range(FLOOD // 5000):
        reader.feed(chunk)
    took = time.process_time() - begun
    return Figure(f"{FLOOD:,} plain lines of {PLAIN} bytes are read", took, "s", FLOOD_BAR)
